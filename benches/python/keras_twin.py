"""Makes of a model of gridnn the same model in Keras on TensorFlow: layers, weights, optimizer, schedule.

Layers have the same names and arguments in both libraries, so a twin is made of their configurations; what
Keras does not have (a padding mode, say) is an error. A padding by a number becomes a layer of its own.
"""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any

from gridnn import Sequential, layers, optimizers, schedules
from gridnn.layers import Layer

__all__ = ["load", "model", "optimizer", "version"]

# Arguments that Keras' layers do not have, with the values that change nothing.
_OWN = {"padding_mode": "zeros", "ceil_mode": False}


def load(threads: int) -> Any:
    """Keras on TensorFlow, on so many threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    tensorflow = importlib.import_module("tensorflow")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    return importlib.import_module("keras")


def version(keras: Any) -> str:
    """Both versions in words."""
    return f"Keras {keras.__version__} on TensorFlow {importlib.import_module('tensorflow').__version__}"


def model(keras: Any, own: Sequential) -> Any:
    """The twin of a built model, with its weights."""
    inputs = keras.Input(own.input_shape[1:])
    return keras.Model(inputs, _chain(keras, own.layers, inputs))


def optimizer(keras: Any, own: optimizers.Optimizer) -> Any:
    """The twin of an optimizer with a rate or a schedule."""
    rate = own.learning_rate
    if isinstance(rate, schedules.LearningRateSchedule):
        rate = getattr(keras.optimizers.schedules, type(rate).__name__)(**rate.get_config())
    return getattr(keras.optimizers, type(own).__name__)(**{**own.get_config(), "learning_rate": rate})


def _chain(keras: Any, stack: Any, tensor: Any) -> Any:
    for layer in stack:
        tensor = _apply(keras, layer, tensor)
    return tensor


def _apply(keras: Any, layer: Layer, tensor: Any) -> Any:
    """What the twin of `layer` makes of a tensor of Keras."""
    if isinstance(layer, layers.Residual):
        branches = (layer.layers, layer.shortcut or ())
        return keras.layers.add([_chain(keras, branch, tensor) for branch in branches])
    if isinstance(layer, layers.Parallel):
        assert layer.merge == "concat"
        return keras.layers.concatenate([_chain(keras, branch, tensor) for branch in layer.branches])
    if isinstance(layer, layers.Input):
        return tensor
    if hasattr(layer, "layers"):
        return _chain(keras, layer.layers, tensor)
    config = layer.get_config()
    for name, neutral in _OWN.items():
        assert config.pop(name, neutral) == neutral, f"{layer.name}: Keras has no {name}"
    if isinstance(config.get("padding"), (int, list, tuple)):
        rank = len(tensor.shape) - 2
        tensor = getattr(keras.layers, f"ZeroPadding{rank}D")(config["padding"])(tensor)
        config["padding"] = "valid"
    kind = getattr(keras.layers, type(layer).__name__)
    known = inspect.signature(kind.__init__).parameters
    twin = kind(**{key: value for key, value in config.items() if key in known or key == "name"})
    outputs = twin(tensor)
    if layer.get_weights():
        twin.set_weights(layer.get_weights())
    return outputs
