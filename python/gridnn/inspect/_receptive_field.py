"""`receptive_field`: which part of the input the layers of a model look at."""

from __future__ import annotations

from collections.abc import Sequence

from gridnn import _validation
from gridnn._receptive_field import ReceptiveField, grid_inputs, receptive_fields
from gridnn.model.protocol import Model
from gridnn.model.trainable import TrainableModel

__all__ = ["ReceptiveField", "receptive_field"]


def receptive_field(
    model: Model, input_shape: Sequence[int] | None = None, *, input_name: str | None = None
) -> list[ReceptiveField]:
    """Receptive fields of all layers, through branches.

    Size and jump follow ``size += (span - 1) * jump; jump *= stride`` with ``span = dilation * (kernel - 1)
    + 1`` and start from 1 and 1 (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional
    Neural Networks", Distill 2019); a merge of branches sees what any of them sees. Layers that see all
    positions (global pools, dense layers behind `Flatten`, group normalization; whatever moves elements
    between axes) have the jump 0. Holes of dilated kernels are not left out, and padding that repeats the
    input (`padding_mode`) counts as the place it stands for beyond the border.

    Args:
        model: a built model with at least one spatial axis.
        input_shape: shape of a sample; needed where the model leaves sizes open.
        input_name: which of several inputs the fields are parts of; None for the only one with spatial axes.

    Returns:
        One entry per layer, in their order; the layers inside a container stand in front of it. Those that do
        not depend on the input are left out.

    Raises:
        ValueError: the model is not built, sizes are unknown, or several inputs have spatial axes.

    Example:
        >>> import gridnn as gn
        >>> model = gn.Sequential([
        ...     gn.Input((32, 32, 3)),
        ...     gn.layers.Conv2D(8, 3, padding="same"),
        ...     gn.layers.MaxPooling2D(2),
        ...     gn.layers.Conv2D(8, 3),
        ... ])
        >>> for field in gn.inspect.receptive_field(model):
        ...     print(field.name, field.size, field.jump, field.start)
        conv2d (3, 3) (1, 1) (-1, -1)
        max_pooling2d (4, 4) (2, 2) (-1, -1)
        conv2d_1 (8, 8) (2, 2) (-1, -1)
    """
    if not isinstance(model, TrainableModel):
        raise TypeError(f"`model` must be a Sequential or another model. Received {model!r}.")
    source = _source(model, input_name)
    own = model.network.sources[source]
    shape = own if input_shape is None else tuple(input_shape)
    sizes = tuple(_validation.positive_integer(n, "input_shape") for n in shape if n is not None)
    if len(sizes) < len(shape):
        raise ValueError(
            f"Sizes of the input of model '{model.name}' are unknown: pass input_shape=(...), for instance "
            f"{tuple(n or 64 for n in shape)}."
        )
    if len(sizes) < 2:
        raise ValueError(f"Model '{model.name}' has no spatial axes: its input shape is {(None, *own)}.")
    return receptive_fields(model.graph, sizes[:-1], source)


def _source(model: Model, name: str | None) -> int:
    """Which input the fields are parts of."""
    names = model.input_names
    if name is not None:
        if name not in names:
            raise ValueError(f"`input_name` must be one of {', '.join(names)}. Received {name!r}.")
        return names.index(name)
    grids = grid_inputs(model.network.sources) if len(names) > 1 else [0]
    if len(grids) != 1:
        raise ValueError(
            f"Receptive fields are parts of one input. Model '{model.name}' has {len(names)}: "
            f"{', '.join(names)}; choose one by input_name=."
        )
    return grids[0]
