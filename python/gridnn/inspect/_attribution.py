"""Which part of an input a model's answer hangs on: saliency, Grad-CAM, effective receptive fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridnn.errors import ShapeError
from gridnn.inspect._run import Run, present
from gridnn.layers import adaptive, pooling, regularization
from gridnn.layers.base import Layer
from gridnn.model.protocol import Model

__all__ = ["effective_receptive_field", "grad_cam", "saliency"]

# Those that `grad_cam` looks behind by default: pools, and what hands on the maps of a pool as they are.
_PASSED_OVER = (
    pooling.MaxPooling,
    pooling.AveragePooling,
    pooling.GlobalMaxPooling,
    pooling.GlobalAveragePooling,
    adaptive.AdaptiveMaxPooling,
    adaptive.AdaptiveAveragePooling,
    regularization.ActivityRegularization,
    regularization.Dropout,
    regularization.GaussianDropout,
    regularization.GaussianNoise,
    regularization.SpatialDropout,
)


def saliency(model: Model, x: ArrayLike, target: int | ArrayLike | None = None) -> NDArray[Any]:
    """How much the score of a class changes with every input element (Simonyan, Vedaldi and Zisserman 2013).

    That is the largest absolute gradient over the channels. Where the last activation is a softmax or
    sigmoid the score is the logarithm of the probability, which does not fade where the model is sure.

    Args:
        model: a model with outputs ``(batch, classes)``.
        x: a batch.
        target: class of all samples, or one per sample; None for the class the model finds.

    Returns:
        Array ``(batch, *spatial)``.

    Raises:
        ShapeError: outputs of another shape.
        ValueError, TypeError: `x` or `target` does not fit.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> gn.inspect.saliency(model, np.ones((2, 8, 8, 1)), target=1).shape
        (2, 8, 8)
    """
    run = Run(model, x)
    position, dy = _score_gradient(run, target)
    gradient = present(run.backward(position, dy).gradients[0])
    result: NDArray[Any] = np.abs(gradient).max(axis=-1)
    return result


def _score_gradient(run: Run, target: int | ArrayLike | None) -> tuple[int, NDArray[Any]]:
    """Position of the last layer, and what a class's score changes with its outputs."""
    last = run.model.layers[-1]
    output = run.output_of(last)
    if output.ndim != 2:
        raise ShapeError(
            f"The model must put out (batch, classes). Received outputs of shape {output.shape}."
        )
    if target is None:
        classes = output.argmax(axis=-1)
    else:
        classes = np.asarray(target)
        if classes.shape not in ((), (1,), (len(output),)):
            raise ValueError(
                f"`target` must be an integer or one per sample, {len(output)}. Received an array of shape "
                f"{classes.shape}."
            )
        classes = np.broadcast_to(classes, len(output))
        if classes.dtype.kind not in "iu":
            raise TypeError(f"`target` must be an integer or one per sample. Received target={target!r}.")
        if ((classes < 0) | (classes >= output.shape[1])).any():
            raise ValueError(f"`target` must be from 0 to {output.shape[1] - 1}. Received target={target!r}.")
    dy = np.zeros_like(output)
    rows = np.arange(len(output))
    probabilities = run.model.output_activation in ("softmax", "sigmoid")
    tiny = np.finfo(output.dtype).tiny
    dy[rows, classes] = 1 / np.maximum(output[rows, classes], tiny) if probabilities else 1
    return run.position(last), dy


def grad_cam(
    model: Model,
    x: ArrayLike,
    target: int | ArrayLike | None = None,
    layer: Layer | str | int | None = None,
    *,
    resize: bool = True,
) -> NDArray[Any]:
    """Where a layer sees evidence for a class: Grad-CAM (Selvaraju and others 2017).

    The layer's maps are added with the mean gradients of the class's score as weights, and what is negative
    is cut off: ``relu(sum_k mean(d score / d A_k) A_k)``. A map of nothing but zeros says that no position
    of this layer speaks for the class more than against it; an earlier layer may show more.

    Args:
        model: a model with outputs ``(batch, classes)``.
        x: a batch.
        target: as for `saliency`.
        layer: a layer with spatial axes, its name or its index; None for the last one of the model that is no
            pool: a pool mixes what speaks for the class with what speaks against it.
        resize: whether to interpolate the result linearly to the size of the input.

    Returns:
        Array ``(batch, *spatial)``, not negative.

    Raises:
        ShapeError: the layer has no spatial axes, or the model's outputs another shape.
        ValueError, TypeError: `x`, `target` or `layer` does not fit.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> gn.inspect.grad_cam(model, np.ones((2, 8, 8, 1)), target=1).shape
        (2, 8, 8)
    """
    run = Run(model, x)
    if layer is None:
        grids = [each for each in run.layers if len(each.output_shape) == run.x.ndim]
        if not grids:
            raise ShapeError(f"Model '{model.name}' has no layer with spatial axes.")
        layer = next((each for each in reversed(grids) if not isinstance(each, _PASSED_OVER)), grids[-1])
    position = run.position(layer)
    last, dy = _score_gradient(run, target)
    found = run.backward(last, dy)
    maps, slopes = present(found.values[position]), present(found.gradients[position])
    if maps.ndim < 3:
        raise ShapeError(
            f"The `layer` argument must be a layer with spatial axes, such as a convolution or a pool. "
            f"Received {layer!r}, whose outputs have shape {maps.shape}."
        )
    axes = tuple(range(1, maps.ndim - 1))
    evidence = np.maximum((maps * slopes.mean(axis=axes, keepdims=True)).sum(axis=-1), 0)
    return _resized(evidence, run.x.shape[1:-1]) if resize else evidence


def _resized(maps: NDArray[Any], sizes: tuple[int, ...]) -> NDArray[Any]:
    """Linear interpolation of every spatial axis, with pixel centres in the middle of their cells."""
    for axis, size in enumerate(sizes, start=1):
        n = maps.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, n - 1)
        share = (at - low).astype(maps.dtype).reshape([-1 if i == axis else 1 for i in range(maps.ndim)])
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


def effective_receptive_field(model: Model, layer: Layer | str | int, x: ArrayLike) -> NDArray[Any]:
    """How much each input element counts for the unit in the middle of a layer (Luo and others 2016).

    That is the gradient of the middle position, summed over the layer's channels, to the input: its
    absolute value, summed over the input's channels, averaged over the samples and scaled to a largest
    element of 1. It is smaller than the receptive field and usually shaped like a bell.

    Args:
        model: a model.
        layer: a layer with spatial axes, its name or its index.
        x: a batch to average over.

    Returns:
        Array of the spatial shape of the input.

    Raises:
        ShapeError: the layer has no spatial axes.
        ValueError, TypeError: `x` or `layer` does not fit.

    Example:
        >>> stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
        >>> gn.inspect.effective_receptive_field(model, "conv2d", np.ones((2, 8, 8, 1))).shape
        (8, 8)
    """
    run = Run(model, x)
    position = run.position(layer)
    output = run.output_of(layer)
    if output.ndim != run.x.ndim:
        raise ShapeError(f"The layer must have spatial axes. Received outputs of shape {output.shape}.")
    dy = np.zeros_like(output)
    middle = (slice(None), *(n // 2 for n in output.shape[1:-1]))
    dy[middle] = 1
    gradient: NDArray[Any] = (
        np.abs(present(run.backward(position, dy).gradients[0])).sum(axis=-1).mean(axis=0)
    )
    largest = gradient.max()
    return gradient / largest if largest > 0 else gradient
