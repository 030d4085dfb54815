"""Compares what onnxruntime computes from a file with what the model does."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn.errors import ShapeError
from gridnn.interop._differences import activated, difference
from gridnn.interop.onnx.tensors import Order

if TYPE_CHECKING:
    from gridnn._network import Shape
    from gridnn.model.protocol import Model

__all__ = ["verify_outputs"]

_TOLERANCE = 1e-4
"""Of the largest value: float32 sums in another order."""

_SIZES = (32, 64, 128, 256, 16, 8)
"""Tried in turn for sizes that are not known."""


def verify_outputs(model: Model, contents: bytes, order: Order, activation: str | None) -> None:
    """Runs a random batch through onnxruntime, where that is installed, and through the model.

    Raises:
        RuntimeError: onnxruntime does not run the file, or computes something else.
    """
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = 1
    advice = "nothing was written; verify=False writes it all the same"
    try:
        session = runtime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
        inputs, expected = _sample(model, session.get_inputs()[0].shape[0])
        if expected is None:
            return
        feed = {
            node.name: _turned(x, order, "first")
            for node, x in zip(session.get_inputs(), inputs, strict=True)
        }
        found = session.run(None, feed)
    except ShapeError:
        raise
    except Exception as error:
        raise RuntimeError(
            f"onnxruntime {runtime.__version__} does not run model '{model.name}' ({advice}): {error}"
        ) from error
    for y, theirs in zip(expected, found, strict=True):
        ours = _turned(activated(y, activation), order, "first")
        apart = difference(ours, theirs)
        if not apart <= _TOLERANCE:
            raise RuntimeError(
                f"onnxruntime {runtime.__version__} and model '{model.name}' differ by {apart:.1e} of "
                f"the largest output for the same input; {advice}."
            )


def _sample(model: Model, batch: object) -> tuple[list[NDArray[Any]], list[NDArray[Any]] | None]:
    """A batch and the model's outputs for it; None if no size is known that it takes."""
    samples = batch if isinstance(batch, int) else 1
    shapes: list[Shape] = [model.graph.nodes[number].output_shape or () for number in model.graph.inputs]
    for size in _SIZES:
        rng = np.random.default_rng(0)
        inputs = [
            rng.standard_normal((samples, *(size if n is None else n for n in shape)), np.float32)
            for shape in shapes
        ]
        try:
            outputs: Any = model.predict(inputs[0] if len(inputs) == 1 else inputs, verbose=0)
        except ShapeError:
            if all(None not in shape for shape in shapes):
                raise
            continue
        if isinstance(outputs, dict):
            return inputs, list(outputs.values())
        return inputs, list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    return [], None


def _turned(values: NDArray[Any], order: Order, to: Order) -> NDArray[Any]:
    """A batch with channels last as the file has it."""
    turned = np.moveaxis(values, -1, 1) if order == to else values
    return np.ascontiguousarray(turned)
