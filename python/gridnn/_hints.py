"""What may have been meant by an array that does not fit: one sentence for the end of an error message."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

__all__ = ["for_input", "for_rank", "shapes_agree"]


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
    if guess is None and None not in expected:
        length = math.prod(size for size in expected if size is not None)
        if length > 1 and length == math.prod(received[1:]) and len(received) != axes + 1:
            sizes = ", ".join(str(size) for size in expected)
            return "The same numbers in another shape", f"{x}.reshape(-1, {sizes})"
    return guess


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
    for order in itertools.permutations(range(1, len(received))) if len(received) < 7 else ():
        if shapes_agree(expected, [received[axis] for axis in order]):
            return "Axes in another order", f"numpy.transpose({x}, {(0, *order)})"
    return None
