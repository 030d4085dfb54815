"""What may have been meant by an array that does not fit: one sentence for the end of an error message."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = ["for_input", "for_labels", "for_lengths", "for_rank", "for_targets", "shapes_agree"]

_WHITE = 255


def shapes_agree(expected: Sequence[int | None], actual: Sequence[int]) -> bool:
    """Whether `actual` is `expected` with its unknown sizes filled in."""
    return len(expected) == len(actual) and all(
        want is None or want == got for want, got in zip(expected, actual, strict=True)
    )


def for_rank(received: Sequence[int], axes: int, argument: str) -> str:
    """What an array of one axis too few may be, if all that is known is the number of axes."""
    if len(received) != axes - 1:
        return ""
    return f" One sample? Pass {argument}[numpy.newaxis]. One channel? Pass {argument}[..., numpy.newaxis]."


def for_input(expected: Sequence[int | None], received: tuple[int, ...], argument: str) -> str:
    """What an array of shape `received` may be, where samples of shape `expected` are wanted."""
    meant = _meant(tuple(expected), received, argument)
    return "" if meant is None else f" {meant[0]}? Pass {meant[1]}."


def for_lengths(
    inputs: Sequence[int | None],
    outputs: Sequence[int | None],
    x: tuple[int, ...],
    y: tuple[int, ...],
    prefix: str,
) -> str:
    """What arrays of several lengths may be: one of them a single sample."""
    if not shapes_agree(inputs, x[1:]):
        return for_input(inputs, x, f"{prefix}x")
    one = shapes_agree(outputs, y) or (len(outputs) > 1 and shapes_agree(outputs[:-1], y))
    return f" One sample? Pass {prefix}y[numpy.newaxis]." if one else ""


def for_labels(lowest: int, highest: int, classes: int, argument: str) -> str:
    """What labels that are not from 0 on may be."""
    if classes == 1 and (lowest, highest) == (0, 1):
        return " One output for two classes? Use the loss 'binary_crossentropy'."
    if lowest == 1 and highest == classes:
        return f" Labels that begin with 1? Pass {argument} - 1."
    if lowest < 0:
        return (
            f" {lowest} where there is no label? Give the loss ignore_class={lowest}." if lowest == -1 else ""
        )
    if highest == _WHITE:
        return (
            f" Masks of 0 and 255? Pass {argument} // 255. 255 where there is no label? Give the loss "
            "ignore_class=255."
        )
    return f" For {highest + 1} classes the model needs as many outputs."


def for_targets(
    outputs: Sequence[int | None], received: tuple[int, ...], argument: str, *, labels: bool
) -> str:
    """What targets that do not fit the outputs may be.

    Args:
        outputs: shape of the outputs of a sample.
        received: shape of the targets.
        argument: name of the targets.
        labels: whether numbers of classes are wanted, and not values like the outputs.
    """
    places, sample = outputs[:-1], received[1:]
    fits = shapes_agree(places, sample)
    if labels and shapes_agree(outputs, sample):
        return " For one-hot targets use the loss 'categorical_crossentropy'."
    if not labels and (fits or (shapes_agree(places, sample[:-1]) and sample[-1:] == (1,))):
        return " For class labels use the loss 'sparse_categorical_crossentropy'."
    if places and (sample in ((), (1,)) or (not labels and shapes_agree(outputs[-1:], sample))):
        return (
            " The model has an output at every position; for one a sample, put layers.Flatten() or a global "
            "pool in front of its last layer."
        )
    if places and shapes_agree(places, sample[:-1]) and sample[-1] in (3, 4) and (labels or outputs[-1] == 1):
        return f" Masks that are pictures in colour? Make one number of each, as {argument}[..., 0] is."
    hint = for_input((*places, 1) if labels else outputs, received, argument)
    if not hint and labels:
        hint = for_input(outputs, received, argument)
    if not hint and places and len(sample) in (len(places), len(outputs)):
        return (
            " Targets have the size of the outputs: resize them (class labels to their nearest neighbours), "
            "or let the model end in the size that they have (padding='same', UpSampling, Conv..Transpose)."
        )
    return hint


def _meant(expected: tuple[int | None, ...], received: tuple[int, ...], x: str) -> tuple[str, str] | None:
    axes, channels = len(expected), expected[-1]
    if len(received) == axes:
        guess = _an_axis_too_few(expected, received, x)
    elif len(received) == axes + 1:
        guess = _right_rank(expected, received, x)
    elif len(received) == axes + 2 and received[0] == 1 and shapes_agree(expected, received[2:]):
        guess = "An axis too many", f"{x}[0]"
    elif len(received) == axes + 2 and received[-1] == 1 and shapes_agree(expected, received[1:-1]):
        guess = "An axis too many", f"{x}[..., 0]"
    elif len(received) == axes - 1 and channels == 1 and shapes_agree(expected[:-1], received):
        guess = "One sample, without its axis of channels", f"{x}[numpy.newaxis, ..., numpy.newaxis]"
    else:
        guess = None
    if guess is None and None not in expected and _is_flat(expected) + _is_flat(received[1:]) == 1:
        length = math.prod(size for size in expected if size is not None)
        if length > 1 and length == math.prod(received[1:]) and len(received) != axes + 1:
            sizes = ", ".join(str(size) for size in expected)
            advice = f"{x}.reshape(-1, {sizes})"
            if axes > 1 and channels != 1:
                # The files of CIFAR, for one, hold all red values, then all green ones.
                first = ", ".join(str(size) for size in (channels, *expected[:-1]))
                advice += f"; if it holds channel by channel, numpy.moveaxis({x}.reshape(-1, {first}), 1, -1)"
            return "The same numbers in another shape", advice
    return guess


def _is_flat(sample: Sequence[int | None]) -> bool:
    """Whether only one axis counts, so that there is one order of the numbers."""
    return sum(size != 1 for size in sample) <= 1


def _an_axis_too_few(
    expected: tuple[int | None, ...], received: tuple[int, ...], x: str
) -> tuple[str, str] | None:
    if shapes_agree(expected, received):
        return "One sample", f"{x}[numpy.newaxis]"
    without_channels = shapes_agree(expected[:-1], received[1:])
    if without_channels and expected[-1] == 1:
        return "Is the channel axis missing", f"{x}[..., numpy.newaxis]"
    if len(expected) > 1 and shapes_agree(expected, (*received[1:], received[0])):
        return "One sample, channels first", f"numpy.moveaxis({x}, 0, -1)[numpy.newaxis]"
    if without_channels and expected[-1] == 3 and len(expected) > 2:
        return "Grey images", f"numpy.repeat({x}[..., numpy.newaxis], 3, axis=-1)"
    order = _order(expected[:-1], received)
    if expected[-1] == 1 and order is not None:
        return "Axes in another order", f"numpy.transpose({x}, {order})[..., numpy.newaxis]"
    return None


def _right_rank(
    expected: tuple[int | None, ...], received: tuple[int, ...], x: str
) -> tuple[str, str] | None:
    if shapes_agree(expected, (*received[2:], received[1])):
        return "Channels first", f"numpy.moveaxis({x}, 1, -1)"
    if shapes_agree(expected[:-1], received[1:-1]) and len(expected) > 2:
        change: dict[tuple[int, int | None], tuple[str, str]] = {
            (1, 3): ("Grey images", f"numpy.repeat({x}, 3, axis=-1)"),
            (3, 1): ("Colour images", f"{x}.mean(axis=-1, keepdims=True)"),
            (4, 3): ("Images with an alpha channel", f"{x}[..., :3]"),
        }
        if (received[-1], expected[-1]) in change:
            return change[received[-1], expected[-1]]
    if len(expected) > 1 and shapes_agree(expected, received[:-1]):
        return "Samples along the last axis", f"numpy.moveaxis({x}, -1, 0)"
    order = _order(expected, received)
    return None if order is None else ("Axes in another order", f"numpy.transpose({x}, {order})")


def _order(expected: tuple[int | None, ...], received: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order of axes, batch first, that makes samples of the shape expected; None if there is none."""
    for order in itertools.permutations(range(1, len(received))) if 2 < len(received) < 7 else ():
        if shapes_agree(expected, [received[axis] for axis in order]):
            return (0, *order)
    return None
