"""The rule behind ``model="auto"``: a network by the shape of a sample and how many there are."""

from __future__ import annotations

from collections.abc import Sequence

from gridnn import layers
from gridnn.errors import ShapeError
from gridnn.layers.base import Layer

__all__ = ["auto"]

_KERNELS = {1: (7, 5, 3), 2: (3,), 3: (3,)}  # of the stages; the last one repeats
_WIDTHS = {1: 32, 2: 32, 3: 8}
_LARGE = {1: 1024, 2: 96, 3: 48}  # axes longer than this are halved by the first convolution
_POSITIONS = {1: 16, 2: 4, 3: 3}  # that are left of an axis at most
_MANY = 500  # samples from which on images have two convolutions in a stage


def auto(
    input_shape: Sequence[int],
    outputs: int,
    samples: int,
    *,
    width: int | None = None,
    dropout: float = 0.3,
) -> list[Layer]:
    """Layers of a small network for grids of a size and a number of samples.

    Stages of a convolution, batch normalization, ReLU and a pool that halves the axes, each with twice as
    many channels as the one before, up to four times the first, until few positions are left of every axis;
    then dropout and a dense layer. What is where is kept, not averaged away: from 50 samples a network does
    not learn to tell places by itself.

    Args:
        input_shape: shape of a sample, ``(*spatial, channels)``.
        outputs: numbers wanted for each sample.
        samples: how many there are to train on.
        width: channels of the first stage; None takes 32 for series and images, 8 for volumes.
        dropout: share of the last features that is dropped in training.

    Raises:
        ShapeError: samples are no series, images or volumes.
    """
    sizes = list(input_shape[:-1])
    rank = len(sizes)
    if rank not in _WIDTHS:
        raise ShapeError(
            "Expected samples that are series (length, channels), images (height, width, channels) or "
            f"volumes (depth, height, width, channels). Received samples of shape {tuple(input_shape)}."
        )
    width = _WIDTHS[rank] if width is None else width
    conv, pool = (getattr(layers, f"{kind}{rank}D") for kind in ("Conv", "MaxPooling"))
    repeats = 2 if rank == 2 and samples >= _MANY else 1
    stack: list[Layer] = []
    stage = 0
    while True:
        kernel = _KERNELS[rank][min(stage, len(_KERNELS[rank]) - 1)]
        for repeat in range(repeats):
            strides = [2 if size > _LARGE[rank] and not (stage or repeat) else 1 for size in sizes]
            sizes = [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
            filters = width * 2 ** min(stage, 2)
            stack += [
                conv(filters, kernel, strides=strides, padding="same", use_bias=False),
                layers.BatchNormalization(momentum=0.9),  # 0.99 would not settle in some hundred steps
                layers.ReLU(),
            ]
        stage += 1
        halved = [2 if size >= 4 else 1 for size in sizes]
        if max(halved) > 1:
            stack.append(pool(halved))
            sizes = [size // step for size, step in zip(sizes, halved, strict=True)]
        if max(sizes) <= _POSITIONS[rank] and stage > 1:
            break
    return [*stack, layers.Flatten(), layers.Dropout(dropout), layers.Dense(outputs)]
