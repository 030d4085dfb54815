"""Calls of losses, metrics, activations, optimizers and the like on arrays, the same for Keras and gridnn.

Run where Keras is installed, it writes what Keras answers to `keras_calls.json`::

    python tests/python/reference/keras_calls.py
"""

import json
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def arrays():
    """What the calls are made on, float32."""
    rng = np.random.default_rng(7)

    def normalized(x):
        return x / x.sum(axis=-1, keepdims=True)

    made = {
        "x": rng.normal(size=(4, 5)),
        "t": rng.normal(size=(4, 5)),
        "x3": rng.normal(size=(2, 3, 4)),
        "t3": rng.normal(size=(2, 3, 4)),
        "p": normalized(rng.uniform(0.05, 1, size=(4, 5))),
        "d": normalized(rng.uniform(0.05, 1, size=(4, 5))),
        "p3": normalized(rng.uniform(0.05, 1, size=(2, 3, 4))),
        "b": rng.integers(0, 2, size=(4, 5)),
        "b3": rng.integers(0, 2, size=(2, 3, 4)),
        "u": rng.uniform(size=(4, 5)),
        "u3": rng.uniform(size=(2, 3, 4)),
        "positive": rng.uniform(0.1, 3, size=(4, 5)),
        "count": rng.integers(0, 6, size=(4, 5)),
        "column": rng.normal(size=(4, 1)),
        "flat": rng.normal(size=4),
        "flatu": rng.uniform(size=6),
        "flatb": np.array([0, 1, 1, 0, 1, 0]),
        "w": np.array([1.0, 0.5, 0.0, 2.0]),
        "w2": np.array([[1.0, 0.5, 0.0], [2.0, 1.0, 0.5]]),
        "w45": rng.uniform(size=(4, 5)),
        "w6": np.array([1.0, 0.5, 0.0, 2.0, 1.0, 0.25]),
        "square": rng.normal(size=(3, 3)),
    }
    made = {name: np.asarray(value, np.float32) for name, value in made.items()}
    made["onehot"] = np.eye(5, dtype=np.float32)[[0, 3, 2, 4]]
    made["labels"] = np.array([0, 3, 2, 4], np.int32)
    made["labels3"] = np.array([[0, 3, 2], [1, 1, 0]], np.int32)
    made["ignored"] = np.array([[0, -1, 2], [1, -1, 0]], np.int32)
    made["whole"] = np.array([1, 0, 2, 1, 1, 3], np.int32)  # Keras makes integers of the weights of a MeanIoU
    made["ids"] = np.array([0, 1, 2, 1, 1, 0], np.int32)
    made["found"] = np.array([0, 2, 2, 1, 0, 0], np.int32)
    return made


LOSSES = [
    ("MeanSquaredError", {}, "t", "x"),
    ("MeanAbsoluteError", {}, "t3", "x3"),
    ("MeanAbsolutePercentageError", {}, "t", "x"),
    ("MeanSquaredLogarithmicError", {}, "positive", "x"),
    ("Huber", {"delta": 0.7}, "t", "x"),
    ("LogCosh", {}, "t", "x"),
    ("KLDivergence", {}, "d", "p"),
    ("Poisson", {}, "count", "positive"),
    ("CosineSimilarity", {}, "t", "x"),
    ("Hinge", {}, "b", "x"),
    ("SquaredHinge", {}, "b", "x"),
    ("CategoricalHinge", {}, "onehot", "x"),
    ("CategoricalCrossentropy", {}, "onehot", "p"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "onehot", "x"),
    ("SparseCategoricalCrossentropy", {}, "labels", "p"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "labels3", "x3"),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1}, "ignored", "p3"),
    ("BinaryCrossentropy", {}, "b", "u"),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, "b3", "x3"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True}, "b", "u"),
    ("CategoricalFocalCrossentropy", {"gamma": 1.5}, "onehot", "p"),
    ("Dice", {}, "b", "u"),
    ("Dice", {"axis": (1, 2)}, "b3", "u3"),
    ("Tversky", {"alpha": 0.3, "beta": 0.6, "axis": (0, 1)}, "b3", "u3"),
    ("MeanSquaredError", {}, "flat", "column"),
    ("MeanSquaredError", {}, "flat", "flat"),
]
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", None)

FUNCTIONS = [
    ("losses", "mean_squared_error", {}, "t3", "x3"),
    ("losses", "mean_absolute_error", {}, "t", "x"),
    ("losses", "mean_absolute_percentage_error", {}, "t", "x"),
    ("losses", "mean_squared_logarithmic_error", {}, "positive", "x"),
    ("losses", "huber", {"delta": 0.5}, "t", "x"),
    ("losses", "log_cosh", {}, "t", "x"),
    ("losses", "kl_divergence", {}, "d", "p"),
    ("losses", "poisson", {}, "count", "positive"),
    ("losses", "cosine_similarity", {}, "t", "x"),
    ("losses", "cosine_similarity", {"axis": 1}, "t3", "x3"),
    ("losses", "hinge", {}, "b", "x"),
    ("losses", "squared_hinge", {}, "b", "x"),
    ("losses", "categorical_hinge", {}, "onehot", "x"),
    ("losses", "categorical_crossentropy", {"label_smoothing": 0.1}, "onehot", "p"),
    ("losses", "categorical_focal_crossentropy", {}, "onehot", "p"),
    ("losses", "sparse_categorical_crossentropy", {}, "labels3", "p3"),
    ("losses", "sparse_categorical_crossentropy", {"ignore_class": -1}, "ignored", "p3"),
    ("losses", "binary_crossentropy", {}, "b3", "u3"),
    ("losses", "binary_crossentropy", {"axis": 1, "from_logits": True}, "b3", "x3"),
    ("losses", "binary_focal_crossentropy", {"gamma": 1.0}, "b", "u"),
    ("losses", "dice", {"axis": (1,)}, "b", "u"),
    ("losses", "tversky", {"alpha": 0.2}, "b", "u"),
    ("metrics", "binary_crossentropy", {}, "b", "u"),
    ("metrics", "mean_squared_error", {}, "t", "x"),
    ("metrics", "binary_accuracy", {"threshold": 0.4}, "b3", "u3"),
    ("metrics", "categorical_accuracy", {}, "onehot", "p"),
    ("metrics", "sparse_categorical_accuracy", {}, "labels3", "p3"),
    ("metrics", "top_k_categorical_accuracy", {"k": 2}, "onehot", "p"),
    ("metrics", "sparse_top_k_categorical_accuracy", {"k": 3}, "labels", "p"),
]

METRICS = [  # name, arguments, batches of (targets, outputs, weights)
    ("Accuracy", {}, [("ids", "found", None), ("ids", "found", "w6")]),
    ("BinaryAccuracy", {}, [("b", "u", None), ("b", "u", "w")]),
    ("BinaryAccuracy", {"threshold": 0.3}, [("flatb", "flatu", "w6")]),
    ("CategoricalAccuracy", {}, [("onehot", "p", None), ("onehot", "x", "w")]),
    ("SparseCategoricalAccuracy", {}, [("labels3", "p3", None), ("labels3", "p3", "w2")]),
    ("TopKCategoricalAccuracy", {"k": 2}, [("onehot", "p", "w")]),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, [("labels", "p", None), ("labels", "x", "w")]),
    ("MeanSquaredError", {}, [("t", "x", None), ("t3", "x3", "w2")]),
    ("RootMeanSquaredError", {}, [("t", "x", None), ("t", "x", "w")]),
    ("MeanAbsoluteError", {}, [("t", "x", "w")]),
    ("MeanAbsolutePercentageError", {}, [("t", "x", "w")]),
    ("MeanSquaredLogarithmicError", {}, [("positive", "x", "w")]),
    ("LogCoshError", {}, [("t", "x", "w")]),
    ("Poisson", {}, [("count", "positive", "w")]),
    ("KLDivergence", {}, [("d", "p", "w")]),
    ("CosineSimilarity", {}, [("t", "x", None), ("t", "x", "w")]),
    ("Hinge", {}, [("b", "x", "w")]),
    ("SquaredHinge", {}, [("b", "x", None)]),
    ("CategoricalHinge", {}, [("onehot", "x", None)]),
    ("BinaryCrossentropy", {}, [("b", "u", "w")]),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, [("onehot", "p", None), ("onehot", "p", "w")]),
    ("SparseCategoricalCrossentropy", {}, [("labels", "p", "w")]),
    ("R2Score", {}, [("t", "x", None), ("t", "x", "w")]),
    ("Precision", {}, [("b", "u", None), ("b", "u", "w45")]),
    ("Precision", {"top_k": 2}, [("b", "u", None)]),
    ("Precision", {"class_id": 2}, [("b", "u", None), ("b", "u", "w")]),
    ("Recall", {"thresholds": 0.3}, [("flatb", "flatu", "w6"), ("b3", "u3", None)]),
    ("F1Score", {"average": "micro"}, [("onehot", "p", None), ("onehot", "p", "w")]),
    ("F1Score", {"average": "weighted", "threshold": 0.2}, [("b", "u", "w")]),
    ("AUC", {"num_thresholds": 50}, [("b", "u", None), ("flatb", "flatu", "w6")]),
    ("AUC", {"curve": "PR"}, [("b", "u", "w45")]),
    ("MeanIoU", {"num_classes": 3}, [("ids", "found", None), ("ids", "found", "whole")]),
    ("OneHotMeanIoU", {"num_classes": 5}, [("onehot", "p", None)]),
]
VALUES = [
    ("Mean", "x", None),
    ("Mean", "x3", "w2"),
    ("Mean", "flat", "w"),
    ("Sum", "x3", "w2"),
    ("Sum", "x", "w45"),
]

ACTIVATIONS = [
    ("elu", {"alpha": 0.5}),
    ("exponential", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("hard_sigmoid", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.5}),
    ("linear", {}),
    ("log_softmax", {}),
    ("mish", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.1, "max_value": 0.5, "threshold": 0.2}),
    ("relu6", {}),
    ("selu", {}),
    ("sigmoid", {}),
    ("silu", {}),
    ("softmax", {}),
    ("softmax", {"axis": 1}),
    ("softplus", {}),
    ("softsign", {}),
    ("tanh", {}),
]
REGULARIZERS = [
    ("L1", {"l1": 0.3}),
    ("L2", {}),
    ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {}),
]
CONSTRAINTS = [
    ("NonNeg", {}),
    ("MaxNorm", {"max_value": 1.0}),
    ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.7}),
]
FILLINGS = [("Zeros", {}), ("Ones", {}), ("Constant", {"value": 2.5}), ("Identity", {"gain": 2.0})]
OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    ("Adam", {"learning_rate": 0.01, "clipnorm": 0.5}),
    ("Adam", {"learning_rate": 0.01, "amsgrad": True, "global_clipnorm": 1.0}),
    ("AdamW", {"learning_rate": 0.01, "clipvalue": 0.3}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adamax", {"learning_rate": 0.01}),
    ("Nadam", {"learning_rate": 0.01}),
    ("Lion", {"learning_rate": 0.01}),
    ("SGD", {"learning_rate": 0.1, "gradient_accumulation_steps": 2}),
]
STEPS = 5


def answers(package, variable):
    """What a package answers to all of it: a list of (call, numbers).

    Args:
        package: `keras` or `gridnn`.
        variable: makes a weight that an optimizer moves, of an array.
    """
    given = arrays()
    found = []

    def add(label, value):
        found.append((label, np.asarray(value, np.float64)))

    for name, options, t, p in LOSSES:
        for reduction in REDUCTIONS:
            loss = getattr(package.losses, name)(reduction=reduction, **options)
            label = f"{name}({options}, {reduction}) of {t}, {p}"
            add(label, loss(given[t], given[p]))
            if name not in ("Dice", "Tversky"):
                weights = given["w" if len(given[p]) == 4 else "w2"]
                add(f"{label}, weighted", loss(given[t], given[p], sample_weight=weights))
    for module, name, options, t, p in FUNCTIONS:
        function = getattr(getattr(package, module), name)
        add(f"{module}.{name}({t}, {p}, {options})", function(given[t], given[p], **options))
    for name, options, batches in METRICS:
        metric = getattr(package.metrics, name)(**options)
        for t, p, w in batches:
            metric.update_state(given[t], given[p], sample_weight=None if w is None else given[w])
            add(f"{name}({options}) after {t}, {p}, {w}", metric.result())
        metric.reset_state()
        t, p, w = batches[0]
        add(f"{name}({options}) anew", metric(given[t], given[p], None if w is None else given[w]))
    for name, values, w in VALUES:
        metric = getattr(package.metrics, name)()
        for _ in range(2):
            metric.update_state(given[values], sample_weight=None if w is None else given[w])
        add(f"{name} of {values}, {w}", metric.result())
    for name, options in ACTIVATIONS:
        add(f"{name}({options})", getattr(package.activations, name)(given["x3"], **options))
    for name, options in REGULARIZERS:
        add(f"{name}({options})", getattr(package.regularizers, name)(**options)(given["square"]))
    for name, options in CONSTRAINTS:
        add(f"{name}({options})", getattr(package.constraints, name)(**options)(given["x"]))
    for name, options in FILLINGS:
        add(f"{name}({options})", getattr(package.initializers, name)(**options)((3, 3)))
    for name, options in OPTIMIZERS:
        optimizer = getattr(package.optimizers, name)(**options)
        weights = [variable(given["x"]), variable(given["flat"])]
        rng = np.random.default_rng(1)
        for step in range(STEPS):
            grads = [np.asarray(rng.normal(size=np.shape(w)), np.float32) for w in weights]
            optimizer.apply(grads, weights)
            for number, weight in enumerate(weights):
                add(f"{name}({options}): weight {number} after step {step}", weight)
        add(f"{name}({options}): steps", int(np.asarray(optimizer.iterations)))
    return found


def main():
    """Writes the file."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    found = answers(keras, lambda array: keras.Variable(array, trainable=True))
    lines = [json.dumps([label, list(v.shape), [float(f"{n:.7g}") for n in v.ravel()]]) for label, v in found]
    (HERE / "keras_calls.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
