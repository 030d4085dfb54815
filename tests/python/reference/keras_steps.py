"""Writes six_models.json: five training steps of the six models in Keras on TensorFlow.

Run it with a Python that has TensorFlow and Keras; gridnn is not needed:

    python tests/python/reference/keras_steps.py            # the committed file
    python tests/python/reference/keras_steps.py FILE NAME  # one model, to another file

For every model the file holds the losses, and of every weight after the steps up to 32 elements, all from a
float64 run; and how far a float32 run was from it (the largest deviation over all elements).
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import six_models

STEPS = 5
ELEMENTS = 32


@keras.saving.register_keras_serializable()
class Blocks(keras.layers.Layer):
    """Maximum of blocks that do not overlap: TensorFlow has no three-dimensional pools in float64."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def call(self, x: Any) -> Any:
        """One spatial axis after the other; TensorFlow's gradient of a maximum knows few axes."""
        shape = list(x.shape[1:])
        for axis in range(len(shape) - 1):
            kept = shape[axis] // self.size
            x = keras.ops.take(x, range(kept * self.size), axis=axis + 1)
            shape[axis] = kept
            x = keras.ops.reshape(x, [-1, kept, self.size, math.prod(shape[axis + 1 :])])
            x = keras.ops.reshape(keras.ops.max(x, axis=2), [-1, *shape])
        return x


def build(name: str) -> keras.Sequential:
    """The model with the first weights of the tests."""
    network = six_models.MODELS[name]
    stack: list[Any] = [keras.Input(network.input_shape)]
    for (kind, *numbers), end in zip(network.layers, network.ends(), strict=True):
        relu = None if end else "relu"
        if kind == "conv":
            stack.append(getattr(keras.layers, f"Conv{network.rank}D")(*numbers, activation=relu))
        elif kind == "pool":
            stack.append(Blocks(numbers[0]))
        elif kind == "gap":
            stack.append(getattr(keras.layers, f"GlobalAveragePooling{network.rank}D")())
        elif kind == "flatten":
            stack.append(keras.layers.Flatten())
        else:
            stack.append(keras.layers.Dense(numbers[0], activation=relu))
    model = keras.Sequential(stack)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(**six_models.OPTIMIZER), loss)
    model.set_weights(six_models.first_weights([weight.shape for weight in model.get_weights()]))
    return model


def train(name: str, dtype: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Losses, and the weights after the steps, as float64."""
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    model = build(name)
    x, y = six_models.batches(name, STEPS)
    losses = []
    for batch in zip(x.astype(dtype), y, strict=True):
        model.reset_metrics()  # what train_on_batch returns is else the mean over the steps
        losses.append(float(model.train_on_batch(*batch)))
    return np.array(losses), [np.asarray(weight, np.float64) for weight in model.get_weights()]


def reference(name: str) -> dict[str, Any]:
    """What the file says of a model."""
    (losses, weights), (rough_losses, rough_weights) = train(name, "float64"), train(name, "float32")
    rows = []
    for weight, rough in zip(weights, rough_weights, strict=True):
        at = np.unique(np.linspace(0, weight.size - 1, ELEMENTS).round().astype(int))
        rows.append(
            {
                "at": at.tolist(),
                "values": weight.ravel()[at].tolist(),
                "rounding": float(np.abs(rough - weight).max()),
            }
        )
    return {
        "losses": losses.tolist(),
        "losses_rounding": float(np.abs(rough_losses - losses).max()),
        "weights": rows,
    }


if __name__ == "__main__":
    default = Path(__file__).with_name("six_models.json")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    found = {name: reference(name) for name in sys.argv[2:] or six_models.MODELS}
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{path.name}: Keras {keras.__version__}, {path.stat().st_size} bytes")
