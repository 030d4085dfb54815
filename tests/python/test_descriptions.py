"""Ids, arguments and errors of initializers, losses, metrics and optimizers; the registry behind them."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import (
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
    schedules,
)
from gridnn._config import Configurable, Registry, snake_case
from gridnn.layers.base import REGISTRY as LAYERS

pytestmark = pytest.mark.one_tier

Sparse, Categorical = losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("sparse_categorical_crossentropy", Sparse),
        ("SparseCategoricalCrossentropy", Sparse),
        ("categorical_crossentropy", Categorical),
        ("CategoricalCrossentropy", Categorical),
        ("mean_squared_error", losses.MeanSquaredError),
        ("MeanSquaredError", losses.MeanSquaredError),
        ("mse", losses.MeanSquaredError),
        ("MSE", losses.MeanSquaredError),
        ("mae", losses.MeanAbsoluteError),
        ("MAPE", losses.MeanAbsolutePercentageError),
        ("msle", losses.MeanSquaredLogarithmicError),
        ("bce", losses.BinaryCrossentropy),
        ("BCE", losses.BinaryCrossentropy),
        ("kld", losses.KLDivergence),
        ("KLD", losses.KLDivergence),
        *(
            (name, cls)
            for cls in losses.REGISTRY.classes()
            for name in (cls.__name__, snake_case(cls.__name__))
        ),
        ("kl_divergence", losses.KLDivergence),
        (Sparse, Sparse),
        ({"class_name": "MeanSquaredError", "config": {}}, losses.MeanSquaredError),
    ],
)
def test_loss_ids(identifier, cls):
    assert type(losses.get(identifier)) is cls


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("adam", optimizers.Adam),
        ("Adam", optimizers.Adam),
        ("ADAM", optimizers.Adam),
        ("sgd", optimizers.SGD),
        ("SGD", optimizers.SGD),
        ("rmsprop", optimizers.RMSprop),
        ("adamw", optimizers.AdamW),
        ("adagrad", optimizers.Adagrad),
        ("adadelta", optimizers.Adadelta),
        ("adamax", optimizers.Adamax),
        ("nadam", optimizers.Nadam),
        ("lion", optimizers.Lion),
        ({"class_name": "sGd", "config": {"momentum": 0.5}}, optimizers.SGD),
    ],
)
def test_optimizer_ids(identifier, cls):
    assert type(optimizers.get(identifier)) is cls


@pytest.mark.parametrize(
    ("identifier", "cls"),
    [
        ("glorot_uniform", initializers.GlorotUniform),
        ("GlorotUniform", initializers.GlorotUniform),
        ("he_normal", initializers.HeNormal),
        ("lecun_uniform", initializers.LecunUniform),
        ("zeros", initializers.Zeros),
        ("zero", initializers.Zeros),
        ("ones", initializers.Ones),
        ("one", initializers.Ones),
        ("constant", initializers.Constant),
        ("uniform", initializers.RandomUniform),
        ("normal", initializers.RandomNormal),
        ("random_normal", initializers.RandomNormal),
        ("truncated_normal", initializers.TruncatedNormal),
        ("variance_scaling", initializers.VarianceScaling),
    ],
)
def test_initializer_ids(identifier, cls):
    assert type(initializers.get(identifier)) is cls


@pytest.mark.parametrize(
    ("identifier", "cls", "name"),
    [
        ("mse", metrics.MeanSquaredError, "mse"),
        ("MAE", metrics.MeanAbsoluteError, "MAE"),
        ("sparse_categorical_accuracy", metrics.SparseCategoricalAccuracy, "sparse_categorical_accuracy"),
        ("BinaryAccuracy", metrics.BinaryAccuracy, "BinaryAccuracy"),
        (metrics.CategoricalAccuracy(), metrics.CategoricalAccuracy, "categorical_accuracy"),
        (metrics.CategoricalAccuracy(name="top"), metrics.CategoricalAccuracy, "top"),
        ("accuracy", metrics.AutomaticAccuracy, "accuracy"),
        ("Acc", metrics.AutomaticAccuracy, "Acc"),
        ("crossentropy", metrics.AutomaticCrossentropy, "crossentropy"),
        ("ce", metrics.AutomaticCrossentropy, "ce"),
    ],
)
def test_metric_ids_and_names(identifier, cls, name):
    metric = metrics.get(identifier)
    assert type(metric) is cls
    assert metric.name == name


# What `keras.<module>.get` 3.15 takes besides class names, for our classes.
KERAS_IDS = [
    (constraints, "max_norm min_max_norm non_neg unit_norm"),
    (regularizers, "l1 l2 l1l2 orthogonal_regularizer"),
    (
        initializers,
        "constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform ones "
        "orthogonal random_normal random_uniform truncated_normal variance_scaling zeros "
        "IdentityInitializer normal one OrthogonalInitializer uniform zero",
    ),
    (
        metrics,
        "mean_squared_error mse MSE root_mean_squared_error mean_absolute_error mae MAE "
        "mean_absolute_percentage_error mape MAPE mean_squared_logarithmic_error msle MSLE cosine_similarity "
        "log_cosh_error r2_score auc precision recall hinge squared_hinge categorical_hinge kl_divergence "
        "poisson binary_crossentropy bce BCE categorical_crossentropy sparse_categorical_crossentropy "
        "binary_accuracy categorical_accuracy sparse_categorical_accuracy top_k_categorical_accuracy "
        "sparse_top_k_categorical_accuracy f1_score",
    ),
]


@pytest.mark.parametrize(
    ("module", "identifier"),
    [(module, identifier) for module, identifiers in KERAS_IDS for identifier in identifiers.split()],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_id_of_keras(module, identifier):
    short = {"uniform": "RandomUniform", "normal": "RandomNormal", "one": "Ones", "zero": "Zeros"}
    short |= {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "bce": "BinaryCrossentropy"}
    short |= {"mape": "MeanAbsolutePercentageError", "msle": "MeanSquaredLogarithmicError"}
    name = short.get(identifier.lower(), identifier.removesuffix("Initializer")).replace("_", "").lower()
    assert type(module.get(identifier)).__name__.lower() == name


@pytest.mark.parametrize("module", [initializers, losses, metrics, optimizers, schedules])
def test_unknown_ids(module):
    with pytest.raises(ValueError, match=r"'nonsense'.*Known are"):
        module.get("nonsense")
    with pytest.raises(ValueError, match="'nonsense'"):
        module.get({"class_name": "nonsense", "config": {}})
    # Keras' getters of what may be left out take None for none.
    optional = module in (initializers, losses, metrics)
    if optional:
        assert module.get(None) is None
    for wrong in (
        3,
        [] if optional else None,
        {"config": {}},
        {"class_name": "SGD", "config": 3},
        object(),
    ):
        with pytest.raises(TypeError):
            module.get(wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: initializers.VarianceScaling(scale=0),
        lambda: initializers.VarianceScaling(mode="fan"),
        lambda: initializers.VarianceScaling(distribution="cauchy"),
        lambda: initializers.RandomUniform(1, 0),
        lambda: initializers.RandomNormal(stddev=-1),
        lambda: initializers.Constant(float("nan")),
        lambda: initializers.GlorotUniform(seed=-1),
        lambda: losses.MeanSquaredError(reduction="median"),
        lambda: Categorical(label_smoothing=1.5),
        lambda: metrics.BinaryAccuracy(threshold=2),
        lambda: metrics.MeanSquaredError(name=""),
        lambda: optimizers.SGD(-0.1),
        lambda: optimizers.SGD(float("inf")),
        lambda: optimizers.SGD(momentum=1.5),
        lambda: optimizers.Adam(beta_1=1.0),
        lambda: optimizers.Adam(epsilon=-1),
        lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0),
        lambda: optimizers.Adam(clipnorm=0.0),
        lambda: optimizers.Adam(gradient_accumulation_steps=1),
        lambda: optimizers.Adam(use_ema=True, ema_momentum=1.5),
        lambda: optimizers.Adam(use_ema=True, ema_overwrite_frequency=0),
        lambda: optimizers.AdamW(weight_decay=None),
        lambda: optimizers.Lion(beta_1=0.0),
        lambda: schedules.ExponentialDecay(0.1, 0, 0.9),
        lambda: schedules.PiecewiseConstantDecay([1], [0.1]),
        lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.1, 0.1]),
        lambda: schedules.CosineDecayRestarts(0.1, 10, t_mul=0.5),
        lambda: schedules.OneCycle(0.1, 1),
        lambda: schedules.CosineDecay(0.1, 10)(-1),
    ],
)
def test_bad_values(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: initializers.RandomNormal(mean="0"),
        lambda: losses.MeanSquaredError(reduction=3),
        lambda: Sparse(from_logits=1),
        lambda: Sparse(ignore_class=1.0),
        lambda: optimizers.SGD("fast"),
        lambda: optimizers.SGD(nesterov=1),
        lambda: optimizers.SGD(learning_rate=None),
        lambda: optimizers.Adam(amsgrad=1),
        lambda: optimizers.Adam(dict),
    ],
)
def test_wrong_kinds(make):
    with pytest.raises(TypeError):
        make()


def test_learning_rate_is_the_only_setting_that_changes():
    adam = optimizers.Adam()
    adam.learning_rate = np.float32(0.5)
    assert adam.learning_rate == 0.5
    assert adam.get_config()["learning_rate"] == 0.5
    with pytest.raises(ValueError, match="learning_rate"):
        adam.learning_rate = -1
    with pytest.raises(AttributeError, match="beta_1"):
        adam.beta_1 = 0.5
    planned = optimizers.Adam(schedules.CosineDecay(0.1, 10))
    with pytest.raises(TypeError, match="not settable"):
        planned.learning_rate = 0.1
    planned.learning_rate = schedules.CosineDecay(0.2, 10)
    assert planned.rate(0) == 0.2


def test_named_scalings_are_lowered_for_the_engine():
    description = initializers.HeNormal(seed=3).engine_description()
    assert description == {
        "class_name": "VarianceScaling",
        "config": {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal", "seed": 3},
    }


def last_activation(*stack):
    return gn.Sequential(stack).output_activation


def test_last_activation():
    dense = lambda name=None: layers.Dense(3, activation=name)  # noqa: E731
    assert last_activation(dense("softmax")) == "softmax"
    assert last_activation(dense("sigmoid")) == "sigmoid"
    assert last_activation(dense("softmax"), dense()) == "linear"
    assert last_activation(dense(), layers.Softmax()) == "softmax"
    assert last_activation(dense(), layers.Activation("softmax"), layers.Flatten()) == "softmax"
    segmentation = layers.Conv2D(3, 1, activation="softmax")
    assert last_activation(segmentation, layers.GlobalAveragePooling2D()) == "softmax"
    assert last_activation(dense("softmax"), layers.ReLU()) == "relu"
    assert last_activation(dense("softmax"), layers.Rescaling(2.0)) == "linear"
    assert last_activation(layers.Flatten()) is None


def resolved(loss, metric_ids=(), *, targets=(5,), output=(3,), last="linear"):
    from gridnn.model.compilation import Compilation

    return Compilation("sgd", loss, list(metric_ids)).resolve([targets], [output], [last]).outputs[0]


@pytest.mark.parametrize(
    ("given", "last", "expected"),
    [
        (None, "linear", True),
        (None, None, True),
        (None, "relu", True),
        (None, "softmax", False),
        (None, "sigmoid", False),
        (True, "softmax", True),
        (False, "linear", False),
    ],
)
def test_from_logits(given, last, expected):
    assert resolved(Sparse(from_logits=given), last=last).loss.from_logits is expected
    assert resolved(Categorical(from_logits=given), last=last).loss.from_logits is expected


@pytest.mark.parametrize("name", ["crossentropy", "ce", "CE"])
def test_crossentropy_by_its_targets(name):
    assert type(resolved(name, targets=(5,)).loss) is Sparse
    assert type(resolved(name, targets=(5, 1)).loss) is Sparse
    assert type(resolved(name, targets=(5, 4), output=(4, 3)).loss) is Sparse
    assert type(resolved(name, targets=(5, 3)).loss) is Categorical
    assert type(resolved(name, targets=(5, 1), output=(1,)).loss) is losses.BinaryCrossentropy


def test_accuracy_by_its_targets():
    def kind(loss, **shapes):
        return type(resolved(loss, ["accuracy"], **shapes).metrics[0])

    assert kind("sparse_categorical_crossentropy") is metrics.SparseCategoricalAccuracy
    assert kind("categorical_crossentropy", targets=(5, 3)) is metrics.CategoricalAccuracy
    assert kind("mse", targets=(5, 1), output=(1,)) is metrics.BinaryAccuracy
    assert kind("ce", targets=(5,)) is metrics.SparseCategoricalAccuracy
    assert [metric.name for metric in resolved("ce", ["acc"]).metrics] == ["acc"]


def test_metric_must_fit_the_loss():
    with pytest.raises(ValueError, match=r"'mse'.*SparseCategoricalCrossentropy takes labels"):
        resolved("sparse_categorical_crossentropy", ["mse"])


def test_compile_arguments():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="called 'acc'"):
        model.compile("sgd", "mse", ["acc", "acc"])
    with pytest.raises(ValueError, match="called 'loss'"):
        model.compile("sgd", "mse", [metrics.MeanSquaredError(name="loss")])
    with pytest.raises(TypeError, match="`metrics`"):
        model.compile("sgd", "mse", "accuracy")
    with pytest.raises(TypeError, match="loss"):
        model.compile("sgd", lambda y, p: 0)
    with pytest.raises(TypeError, match="optimizer"):
        model.compile(None, "mse")
    with pytest.raises(ValueError, match="compile"):
        _ = model.optimizer
    model.compile()
    assert type(model.optimizer) is optimizers.Adam
    assert model.loss is None


def test_classes_of_ones_own_are_refused_clearly():
    class MyLoss(losses.Loss):
        targets = "values"

    class MyLayer(layers.Dense):
        pass

    with pytest.raises(TypeError, match="MyLoss"):
        losses.get(MyLoss())
    with pytest.raises(TypeError, match="MyLayer"):
        gn.Sequential([MyLayer(3)])


def test_registry_refuses_two_of_a_name():
    registry = Registry("thing", Configurable)
    registry.register("x")(type("A", (Configurable,), {}))
    with pytest.raises(RuntimeError, match="'x'"):
        registry.register("x")(type("B", (Configurable,), {}))


def test_names_in_snake_case():
    expected = "average_pooling1d conv2d dense global_average_pooling3d max_pooling2d re_lu rescaling"
    names = {snake_case(cls.__name__) for cls in LAYERS.classes()}
    assert set(expected.split()) <= names


@pytest.mark.parametrize(
    ("thing", "attribute"),
    [
        (losses.MeanSquaredError(), "reduction"),
        (metrics.BinaryAccuracy(), "threshold"),
        (metrics.MeanSquaredError(), "name"),
        (optimizers.SGD(), "momentum"),
        (initializers.HeNormal(), "seed"),
        (layers.Dense(3), "units"),
    ],
)
def test_descriptions_never_change(thing, attribute):
    with pytest.raises(AttributeError, match=attribute):
        setattr(thing, attribute, 0.5)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("one_hot", [False, True])
def test_crossentropy_suits_loss_and_targets(outputs, one_hot):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(outputs, 2), 12)
    y = np.eye(outputs)[labels] if one_hot and outputs > 1 else labels
    model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(outputs)], seed=1, dtype="float64")
    model.compile("sgd", "crossentropy", metrics=["crossentropy"])
    logs = model.evaluate(rng.normal(size=(12, 4)), y, verbose=0, return_dict=True)
    assert logs["crossentropy"] == pytest.approx(logs["loss"], rel=1e-5)
