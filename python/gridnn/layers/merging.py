"""Layers that make one tensor of several, and the same as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gridnn import _validation
from gridnn.layers.base import REGISTRY, Layer
from gridnn.layers.symbolic import ARITHMETIC

__all__ = [
    "Add",
    "Average",
    "Concatenate",
    "Dot",
    "Maximum",
    "Minimum",
    "Multiply",
    "Subtract",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]


class Merging(Layer):
    """Base of the layers that are called on a list of tensors; they stand in a `Model`."""

    merges = True

    @property
    def output_activation(self) -> str | None:
        """Always "linear": what comes out is put together."""
        return "linear"


@REGISTRY.register()
class Add(Merging):
    """The sum of tensors, element by element.

    It is called on a list of symbolic tensors, or of arrays. Axes of size 1, and axes that a tensor lacks in
    front, are stretched to the size of the others, as NumPy does.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors of one shape, or of shapes that stretch to one.

    Output shape:
        That shape.

    Raises:
        ShapeError: the shapes do not fit each other.

    Example:
        >>> import gridnn as gn
        >>> a, b = gn.Input((8, 8, 3)), gn.Input((1, 1, 3))
        >>> gn.layers.Add()([a, b]).shape
        (None, 8, 8, 3)
    """


@REGISTRY.register()
class Subtract(Merging):
    """The first of two tensors less the second, element by element; see `Add` for shapes.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of two tensors.

    Output shape:
        Their shape.

    Raises:
        ShapeError: the shapes do not fit each other, or there are not two.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.Subtract()([a, b])
        array([[-2.,  3.]])
    """


@REGISTRY.register()
class Multiply(Merging):
    """The product of tensors, element by element; see `Add` for shapes.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors.

    Output shape:
        Their shape.

    Raises:
        ShapeError: the shapes do not fit each other.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.Multiply()([a, b])
        array([[ 3., 10.]])
    """


ARITHMETIC.update(Add=Add, Subtract=Subtract, Multiply=Multiply)


@REGISTRY.register()
class Average(Merging):
    """The mean of tensors, element by element; see `Add` for shapes.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors.

    Output shape:
        Their shape.

    Raises:
        ShapeError: the shapes do not fit each other.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.Average()([a, b])
        array([[2. , 3.5]])
    """


@REGISTRY.register()
class Maximum(Merging):
    """The largest of tensors, element by element; of equals the first gets the gradient. Shapes: see `Add`.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors.

    Output shape:
        Their shape.

    Raises:
        ShapeError: the shapes do not fit each other.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.Maximum()([a, b])
        array([[3., 5.]])
    """


@REGISTRY.register()
class Minimum(Merging):
    """The smallest of tensors, element by element; of equals the first gets the gradient. Shapes: see `Add`.

    Args:
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors.

    Output shape:
        Their shape.

    Raises:
        ShapeError: the shapes do not fit each other.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.Minimum()([a, b])
        array([[1., 2.]])
    """


@REGISTRY.register()
class Concatenate(Merging):
    """Tensors side by side, along an axis.

    Args:
        axis: the axis; the batch is axis 0 and cannot be meant, -1 is the channels.
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of tensors whose shapes are equal but for that axis.

    Output shape:
        The same with the sum of their sizes along it.

    Raises:
        ShapeError: the shapes do not fit each other.
        ValueError: they have no such axis.

    Example:
        >>> import gridnn as gn
        >>> a, b = gn.Input((8, 8, 3)), gn.Input((8, 8, 5))
        >>> gn.layers.Concatenate()([a, b]).shape
        (None, 8, 8, 8)
    """

    config_fields = ("axis",)

    def __init__(self, axis: int = -1, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.axis = _validation.integer(axis, "axis")


@REGISTRY.register()
class Dot(Merging):
    """Products of two tensors, summed along one axis of each.

    Args:
        axes: the axis of both, or one for each; the batch is axis 0 and cannot be meant.
        normalize: whether tensors are divided by their Euclidean norms along the axis first, so that the
            result is the cosine of the angle between them.
        name: see `Layer`.
        trainable: see `Layer`.

    Input shape:
        A list of two tensors, of the same size along those axes.

    Output shape:
        The other axes of the first tensor, then those of the second; ``(batch, 1)`` if there are none.

    Raises:
        ShapeError: the sizes are not the same, or there are not two tensors.

    Example:
        >>> import gridnn as gn
        >>> a, b = gn.Input((5, 3)), gn.Input((7, 3))
        >>> gn.layers.Dot(axes=2)([a, b]).shape
        (None, 5, 7)
    """

    config_fields = ("axes", "normalize")

    def __init__(
        self,
        axes: int | Sequence[int],
        normalize: bool = False,
        *,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        pair = tuple(axes) if isinstance(axes, (list, tuple)) else (axes, axes)
        if len(pair) != 2:
            raise ValueError(
                f"`axes` must be an axis, or one for each of two tensors. Received axes={axes!r}."
            )
        self.axes = tuple(_validation.integer(axis, "axes") for axis in pair)
        self.normalize = _validation.boolean(normalize, "normalize")


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Add(**kwargs)(inputs)``: their sum.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.add([a, b])
        array([[4., 7.]])
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Subtract(**kwargs)(inputs)``: the first less the second.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.subtract([a, b])
        array([[-2.,  3.]])
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Multiply(**kwargs)(inputs)``: their product.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.multiply([a, b])
        array([[ 3., 10.]])
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Average(**kwargs)(inputs)``: their mean.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.average([a, b])
        array([[2. , 3.5]])
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Maximum(**kwargs)(inputs)``: the largest.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.maximum([a, b])
        array([[3., 5.]])
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """``Minimum(**kwargs)(inputs)``: the smallest.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.minimum([a, b])
        array([[1., 2.]])
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """``Concatenate(axis, **kwargs)(inputs)``: side by side.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.concatenate([a, b])
        array([[1., 5., 3., 2.]])
    """
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> Any:
    """``Dot(axes, normalize, **kwargs)(inputs)``: products summed along an axis.

    Example:
        >>> a, b = np.array([[1.0, 5.0]]), np.array([[3.0, 2.0]])
        >>> layers.dot([a, b], axes=1)
        array([[13.]])
    """
    return Dot(axes, normalize, **kwargs)(inputs)
