"""The compiled engine without a model: settings of the process, values by their descriptions, and files.

With `_network` and `functional` the only module that imports the compiled one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _core, _forks
from gridnn._arrays import as_array
from gridnn._core import (
    available_tiers,
    derive_seed,
    multiply_adds,
    permutation,
    place_window,
)
from gridnn._validation import positive_integer, string

__all__ = [
    "available_tiers",
    "constrained",
    "derive_seed",
    "get_num_threads",
    "initial_values",
    "library",
    "load_tensors",
    "loss_values",
    "metric_counts",
    "metric_values",
    "multiply_adds",
    "optimizer_state",
    "penalty",
    "permutation",
    "place_window",
    "save_tensors",
    "schedule_rate",
    "set_convolution_algorithm",
    "set_num_threads",
    "simd_tier",
    "version",
    "write_file",
]

version: str = _core.__version__

library: str = _core.__file__
"""The file of the compiled module."""

_forks.around(_core.before_fork, _core.after_fork)


def simd_tier() -> str:
    """The instructions that kernels use on this CPU; ``GRIDNN_SIMD`` asks for others before the start.

    Returns:
        "avx512", "avx2", "neon" or "portable".

    Example:
        >>> simd_tier() in ("avx512", "avx2", "neon", "portable")
        True
    """
    return _core.simd_tier()


def get_num_threads() -> int:
    """The number of threads that calls use.

    Example:
        >>> get_num_threads() >= 1
        True
    """
    return _core.get_num_threads()


def set_num_threads(count: int) -> None:
    """Uses `count` threads from the next call on, even if there are fewer cores.

    Args:
        count: number of threads, at least 1.

    Raises:
        ValueError, TypeError: no positive integer.

    Example:
        >>> before = get_num_threads()
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
        >>> set_num_threads(before)
    """
    _core.set_num_threads(positive_integer(count, "count"))


def set_convolution_algorithm(algorithm: str) -> None:
    """Chooses how convolutions are computed: from the next call on, and in models built from now on.

    A call's own `algorithm` comes first, then this setting, then the environment variable
    ``GRIDNN_CONVOLUTION``; without any of them it is "auto". A model keeps what was set when it was built.
    Files and pickles do not store it: a model that is loaded takes what is set then.

    Winograd's algorithm computes 4 x 4 outputs of a 3 x 3 kernel from 6 x 6 inputs with a quarter of the
    multiplications, 2 x 2 of a 5 x 5 kernel with 36 of 100, and 4 of 3 taps of a series with half of them; in
    a dilated convolution, outputs and inputs of such a tile are as far apart as the taps. It rounds
    differently: results differ from those of "direct" in the last bits, by about as much as either differs
    from exact arithmetic, and sums of small integers are no longer exact. Where one value is out of
    proportion (a mark of 65535 or -9999 among values of about 1, infinity, NaN), outputs of its tile that do
    not read it are computed directly, so that it does not spoil them. Both algorithms give the same bytes
    for any number of threads, and on AVX2 and AVX-512.

    Args:
        algorithm: "auto" takes Winograd's algorithm for float32 and steps of 1 where there are enough
            channels for it to be faster (a fixed rule of the shapes): images with kernels of 3 x 3 or 5 x 5,
            series with 3, 5, 6 or 9 taps, volumes with 3 x 3 x 3. "direct" never does.

    Raises:
        ValueError: another name.

    Example:
        >>> gn.set_convolution_algorithm("direct")
        >>> gn.set_convolution_algorithm("auto")
    """
    _core.set_convolution_algorithm(string(algorithm, "algorithm"))


def schedule_rate(schedule: str, step: int) -> float:
    """The learning rate of a step, by the JSON of a schedule's engine description."""
    return _core.learning_rate(schedule, step)


def loss_values(description: Mapping[str, Any], y_true: object, y_pred: object) -> NDArray[np.float64]:
    """Values of a loss, by its engine description, flat and in row-major order.

    Args:
        description: the loss.
        y_true: targets, as `y_pred` or labels without the last axis.
        y_pred: outputs ``(batch, ..., channels)``.
    """
    return _core.loss_values(json.dumps(description), as_array(y_true, "y_true"), as_array(y_pred, "y_pred"))


def metric_counts(
    description: Mapping[str, Any],
    y_true: object,
    y_pred: object,
    labels: bool,
    weights: NDArray[np.float64] | None,
) -> list[float]:
    """What a metric counts over the rows of outputs, each times its weight.

    Args:
        description: engine description of the metric.
        y_true: targets ``(rows, channels)``, or class labels ``(rows,)``.
        y_pred: outputs ``(rows, channels)``.
        labels: whether targets are labels.
        weights: one number a row; None is 1.
    """
    arrays = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    return _core.metric_counts(json.dumps(description), *arrays, labels, weights)


def metric_values(
    description: Mapping[str, Any], y_true: object, y_pred: object, labels: bool
) -> NDArray[np.float64]:
    """What a metric that is a mean has for every row; see `metric_counts`."""
    arrays = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    return _core.metric_values(json.dumps(description), *arrays, labels)


def initial_values(
    description: Mapping[str, Any], shape: Sequence[int], seed: int, dtype: str
) -> NDArray[Any]:
    """What an initializer fills an array with, by its engine description."""
    return _core.initial_values(json.dumps(description), list(shape), seed, dtype)


def penalty(description: Mapping[str, Any], weights: NDArray[Any]) -> float:
    """What a regularizer charges for an array of float32 or float64, by its engine description."""
    return _core.penalty(json.dumps(description), as_array(weights, "x"))


def constrained(description: Mapping[str, Any], weights: NDArray[Any]) -> NDArray[Any]:
    """An array of float32 or float64 held to a constraint, by its engine description."""
    return _core.constrained(json.dumps(description), as_array(weights, "w"))


def optimizer_state(description: Mapping[str, Any], lens: Sequence[int], dtype: str) -> _core.OptimizerState:
    """An optimizer for arrays of these lengths, with its slots, by its engine description."""
    return _core.OptimizerState(json.dumps(description), list(lens), dtype)


def save_tensors(
    path: str | os.PathLike[str], tensors: dict[str, NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Writes one safetensors file atomically."""
    _core.save_tensors(os.fsdecode(path), tensors, metadata)


def write_file(path: str | os.PathLike[str], contents: bytes) -> None:
    """Writes any file as `save_tensors` does: whole or not at all."""
    _core.write_file(os.fsdecode(path), contents)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Reads a safetensors file.

    Raises:
        FileFormatError: the file is damaged, truncated or of another format.
    """
    return _core.load_tensors(os.fsdecode(path))
