"""Layers that rearrange values without changing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


@REGISTRY.register()
class Flatten(Layer):
    """Joins all axes but the batch axis into one, in row-major order.

    Args:
        name: see `Layer`.

    Input shape:
        ``(batch, ...)``.

    Output shape:
        ``(batch, features)``.

    Example:
        >>> layers.Flatten()(np.zeros((2, 8, 8, 3))).shape
        (2, 192)
    """

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name=name)


@REGISTRY.register()
class Reshape(Layer):
    """Gives a sample another shape; its elements stay in their order.

    Args:
        target_shape: sizes without the batch axis; one of them may be -1, which stands for what is left.
        name: see `Layer`.

    Input shape:
        Any.

    Output shape:
        ``(batch, *target_shape)``.

    Raises:
        TypeError: not integers.
        ValueError: a size of 0, more than one -1.
        ShapeError: the input has another number of elements; raised when the model is built.

    Example:
        >>> layers.Reshape((4, 2))(np.zeros((2, 8))).shape
        (2, 4, 2)
    """

    config_fields = ("target_shape",)

    def __init__(self, target_shape: Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.target_shape = _integers(target_shape, "target_shape")
        sizes = [size for size in self.target_shape if size != -1]
        if min(sizes, default=1) < 1 or len(self.target_shape) - len(sizes) > 1:
            raise ValueError(
                "The `target_shape` argument must hold positive sizes and at most one -1. Received "
                f"target_shape={self.target_shape}."
            )


@REGISTRY.register()
class Permute(Layer):
    """Puts the axes of a sample in another order.

    Args:
        dims: the axes of the input, from 1 on, in the order of the output.
        name: see `Layer`.

    Input shape:
        Any of as many axes.

    Output shape:
        The sizes of the input, permuted.

    Raises:
        TypeError: not integers.
        ValueError: not the numbers from 1 on, each once.

    Example:
        >>> import gridnn as gn
        >>> gn.Sequential([gn.Input((4, 5)), Permute((2, 1))]).output_shape
        (None, 5, 4)
    """

    config_fields = ("dims",)

    def __init__(self, dims: Sequence[int], *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.dims = _integers(dims, "dims")
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be "
                f"consecutive and start from 1. Received dims={self.dims}"
            )


@REGISTRY.register()
class RepeatVector(Layer):
    """Repeats a vector along a new axis.

    Args:
        n: how many times.
        name: see `Layer`.

    Input shape:
        ``(batch, features)``.

    Output shape:
        ``(batch, n, features)``.

    Raises:
        ValueError: `n` is not positive.

    Example:
        >>> layers.RepeatVector(3)(np.zeros((2, 5))).shape
        (2, 3, 5)
    """

    config_fields = ("n",)

    def __init__(self, n: int, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.n = _validation.positive_integer(n, "n")


def _integers(value: object, name: str) -> tuple[int, ...]:
    """Returns a sequence of integers as a tuple that is not empty."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"The `{name}` argument must be a tuple of integers. Received {name}={value!r}.")
    numbers = tuple(_validation.integer(element, name) for element in value)
    if not numbers:
        raise ValueError(f"The `{name}` argument must not be empty. Received {name}={value!r}.")
    return numbers
