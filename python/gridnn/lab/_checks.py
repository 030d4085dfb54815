"""Checks of answers: each returns None, or a sentence that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gridnn import datasets, filters, functional, inspect
from gridnn._arrays import as_array
from gridnn.layers.conv import Convolution
from gridnn.model.sequential import Sequential

__all__ = [
    "edge_kernel",
    "learned_kernel",
    "max_pool",
    "near",
    "number",
    "output_size",
    "pads",
    "pair",
    "reads_digits",
    "rectify",
    "small_model",
]

Check = Callable[[Any], str | None]


def _as_number(answer: Any) -> float | None:
    array = np.asarray(answer)
    return float(array) if array.ndim == 0 and array.dtype.kind in "iuf" else None


def number(right: float, wrong: Mapping[float, str] | None = None) -> Check:
    """A number, with remarks on mistakes that suggest themselves."""

    def checked(answer: Any) -> str | None:
        value = _as_number(answer)
        if value is None:
            return f"The answer is a number. Received {answer!r}."
        if value == right:
            return None
        return (wrong or {}).get(value, f"{value:g} is too {'small' if value < right else 'large'}.")

    return checked


def near(right: float, tolerance: float) -> Check:
    """A number up to a tolerance."""

    def checked(answer: Any) -> str | None:
        value = _as_number(answer)
        if value is None:
            return f"The answer is a number. Received {answer!r}."
        if abs(value - right) <= tolerance:
            return None
        return f"{value:g} is too {'small' if value < right else 'large'}."

    return checked


def pair(right: tuple[int, int], wrong: Mapping[tuple[int, int], str]) -> Check:
    """Two integers."""

    def checked(answer: Any) -> str | None:
        array = np.asarray(answer)
        if array.shape != (2,) or array.dtype.kind not in "iu":
            return f"The answer is a pair of integers. Received {answer!r}."
        given = (int(array[0]), int(array[1]))
        if given == right:
            return None
        return wrong.get(given, f"{given} makes {sum(given)} in all; how many does the last window lack?")

    return checked


def pads(right: Sequence[tuple[int, int]]) -> Check:
    """Pairs for each axis."""

    def checked(answer: Any) -> str | None:
        array = np.asarray(answer)
        if array.shape == (4, 2):
            return "Batch and channels have no pairs here."
        if array.shape != (len(right), 2):
            return f"The answer has one (before, after) pair per spatial axis. Received {answer!r}."
        if not np.array_equal(array, right):
            return "The order of the axes is height, width."
        return None

    return checked


def _kernel_3x3(answer: Any) -> Any:
    array = np.asarray(answer, float)
    return array.reshape(3, 3) if array.size == 9 else None


def edge_kernel(answer: Any) -> str | None:
    """A filter for edges that get brighter downwards."""
    kernel = _kernel_3x3(answer)
    if kernel is None:
        return f"The answer is an array of shape (3, 3). Received shape {np.shape(answer)}."
    if abs(kernel.sum()) > 1e-6:
        return f"On a constant image of ones it answers {kernel.sum():g}: the weights must sum to 0."
    down, right = np.meshgrid(np.arange(3.0), np.arange(3.0), indexing="ij")
    answers = [float((kernel * image).sum()) for image in (down, right)]
    if answers[0] <= 1e-6:
        return f"On an image that gets brighter downwards it answers {answers[0]:g}, which is not positive."
    if abs(answers[1]) > 1e-6:
        return f"On an image that gets brighter to the right it answers {answers[1]:g} instead of 0."
    steps = [np.repeat([[0.0], [float(i < 1)], [1.0]], 3, axis=1) for i in range(2)]
    if min(float((kernel * step).sum()) for step in steps) <= 1e-6:
        return (
            "There is a place of a sharp edge below the centre, or in it, where the answer is not positive."
        )
    return None


def learned_kernel(answer: Any) -> str | None:
    """A kernel close to the horizontal Sobel filter."""
    kernel = _kernel_3x3(answer)
    if kernel is None:
        return f"The answer is the kernel of the layer, (3, 3, 1, 1). Received shape {np.shape(answer)}."
    error = float(np.abs(kernel - filters.sobel()).max())
    if error < 0.05:
        return None
    return f"The largest difference to the filter is {error:.2f}; it should be below 0.05. Train longer?"


def rectify(answer: Any) -> str | None:
    """ReLU."""
    if not callable(answer):
        return f"The answer is a function. Received {answer!r}."
    for x in (np.array([-2.0, 0.0, 3.0]), np.random.default_rng(0).normal(size=(2, 3, 4))):
        found = np.asarray(answer(x.copy()))
        if found.shape != x.shape:
            return f"It makes shape {found.shape} of shape {x.shape}."
        if not np.array_equal(found, np.maximum(x, 0)):
            return f"Of {x.ravel()[:3]} it makes {found.ravel()[:3]}."
    return None


def output_size(answer: Any) -> str | None:
    """The formula of the output size."""
    if not callable(answer):
        return f"The answer is a function. Received {answer!r}."
    random = np.random.default_rng(0)
    for _ in range(200):
        kernel, stride, pad, dilation = (int(random.integers(low, 6)) for low in (1, 1, 0, 1))
        n = int(random.integers(dilation * (kernel - 1) + 1, 40))
        right = inspect.conv_arithmetic(n, kernel, stride, pad, dilation).output
        found = answer(n, kernel, stride, pad, dilation)
        if found != right:
            return (
                f"For n={n}, kernel={kernel}, stride={stride}, pad={pad}, dilation={dilation} it returns "
                f"{found}; there are {right} outputs."
            )
    return None


def max_pool(answer: Any) -> str | None:
    """Pooling of 2 x 2 blocks."""
    if not callable(answer):
        return f"The answer is a function. Received {answer!r}."
    for shape in ((2, 2), (4, 6), (10, 8)):
        x = np.random.default_rng(0).normal(size=shape)
        right = functional.max_pool2d(x[None, ..., None], 2)[0, ..., 0]
        found = np.asarray(answer(x.copy()))
        if found.shape != right.shape:
            return f"It makes shape {found.shape} of shape {shape}."
        if not np.array_equal(found, right):
            return f"For shape {shape} the shape is right, some values are not."
    return None


def _no_model(answer: Any) -> str | None:
    if not isinstance(answer, Sequential):
        return f"The answer is a model. Received {answer!r}."
    if not answer.built:
        return "The model is not built yet: begin it with gn.Input((8, 8, 1))."
    if math.prod(n or 0 for n in answer.output_shape[1:]) != 10:
        return f"It must put out 10 numbers. Its output shape is {answer.output_shape}."
    return None


def small_model(answer: Any) -> str | None:
    """A model of few weights with a convolution."""
    problem = _no_model(answer)
    if problem is not None or not isinstance(answer, Sequential):
        return problem
    if answer.input_shape != (None, 8, 8, 1):
        return f"Its input shape is {answer.input_shape}, not (None, 8, 8, 1)."
    if not any(isinstance(layer, Convolution) for layer in answer.layers):
        return "There is no convolution in it."
    if answer.count_params() > 5000:
        return f"It has {answer.count_params():,} weights."
    return None


def reads_digits(answer: Any) -> str | None:
    """A model that was trained well."""
    problem = _no_model(answer)
    if problem is not None or not isinstance(answer, Sequential):
        return problem
    _, (x, y) = datasets.digits()
    accuracy = float(np.mean(answer.predict(as_array(x, "x"), verbose=0).argmax(axis=-1) == y))
    if accuracy >= 0.93:
        return None
    return f"It reads {accuracy:.1%} of the test digits."
