"""What the layers of a chain become: functions that read one array and write another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gridnn.interop.c.code import Code

__all__ = ["RefusalError", "Site", "Sizes", "Step", "size_of"]

Sizes = tuple[int, ...]


class RefusalError(Exception):
    """Why a layer cannot be written."""


@dataclass
class Step:
    """A function ``(const float *x, float *y)``."""

    title: str
    code: Code
    output: Sizes
    in_place: bool
    """Whether `x` and `y` may be the same: no element is read behind the writing of one that stands there."""


@dataclass
class Site:
    """A layer on its way into C.

    Attributes:
        layer: the layer.
        shape: shape of what comes in; of what the last step has made, as steps are added.
        output_shape: shape of what must come out.
        fold: factors and offsets of the outputs, from a batch normalization that follows; None if none does.
        steps: what has been added.
    """

    layer: Any
    shape: Sizes
    output_shape: Sizes
    fold: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """Number of axes of what comes in."""
        return len(self.shape)

    @contextmanager
    def step(self, output: Sequence[int], *, in_place: bool = False, note: str = "") -> Iterator[Code]:
        """Adds a step that makes an array of shape `output`."""
        code, kind = Code(), type(self.layer).__name__
        yield code
        sizes = " x ".join(map(str, self.shape)), " x ".join(map(str, output))
        title = f"{self.layer.name} ({kind}{note and f', {note}'}): {sizes[0]} -> {sizes[1]}"
        self.steps.append(Step(title, code, tuple(output), in_place))
        self.shape = tuple(output)

    def finite(self, values: Any, what: str) -> NDArray[np.float32]:
        """Numbers as float32; refused if float32 cannot hold them."""
        with np.errstate(over="ignore"):
            narrow = np.asarray(values, np.float64).astype(np.float32)
        if not np.isfinite(narrow).all():
            self.refuse(f"'{what}' holds numbers that are not finite as float32")
        return narrow

    def refuse(self, reason: str) -> NoReturn:
        """Raises RefusalError: the layer cannot be written."""
        raise RefusalError(f"{self.layer.label}: {reason}")


def size_of(shape: Sequence[int]) -> int:
    """The number of elements."""
    size = 1
    for length in shape:
        size *= length
    return size
