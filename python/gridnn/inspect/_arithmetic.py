"""`conv_arithmetic`: the output size of a window, with the reasoning in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridnn import _validation
from gridnn._engine import place_window

__all__ = ["ConvArithmetic", "conv_arithmetic"]


@dataclass(frozen=True)
class ConvArithmetic:
    """One axis under a window; `str` gives the reasoning.

    Example:
        >>> gn.inspect.conv_arithmetic(7, kernel=3, stride=2).output
        3
    """

    n: int
    """Input elements."""
    output: int
    """Output elements."""
    padding: tuple[int, int]
    """Elements added before and after the input; for a transposed window those cut off the result."""
    sees: tuple[tuple[int, ...], ...]
    """For every output element the input elements that it is computed from. Indices below 0 and from `n` on
    are padding; a transposed window has none."""
    steps: tuple[str, ...]
    """The reasoning, sentence by sentence."""

    def __str__(self) -> str:
        return "\n".join(self.steps)


def conv_arithmetic(
    n: int,
    kernel: int,
    stride: int = 1,
    padding: str | int | Sequence[Sequence[int]] = "valid",
    dilation: int = 1,
    transposed: bool = False,
) -> ConvArithmetic:
    """How many outputs a convolution or pool has along an axis, why, and which inputs each of them sees.

    Args:
        n: elements of the axis.
        kernel: taps of the window.
        stride: elements between windows; transposed: between the places that elements are spread to.
        padding: "valid", "same", "causal", an int for both sides, or one pair ``[(before, after)]``.
        dilation: elements between taps.
        transposed: whether the window spreads elements instead of gathering them.

    Returns:
        Sizes, pads, the inputs of every output, and the reasoning.

    Raises:
        ShapeError: there is no output.
        ValueError, TypeError: a number that is not positive, an unknown padding.

    Example:
        >>> import gridnn as gn
        >>> answer = gn.inspect.conv_arithmetic(7, kernel=3, stride=2)
        >>> answer.output, answer.sees
        (3, ((0, 1, 2), (2, 3, 4), (4, 5, 6)))
        >>> print(answer)
        The kernel has 3 taps and covers 3 elements.
        Padding "valid" adds nothing: 7 elements.
        The first window fits; the remaining 7 - 3 = 4 elements leave room for 4 // 2 = 2 more steps of 2.
        Output size: 2 + 1 = 3.
    """
    n, kernel = _validation.positive_integer(n, "n"), _validation.positive_integer(kernel, "kernel")
    stride = _validation.positive_integer(stride, "stride")
    dilation = _validation.positive_integer(dilation, "dilation")
    transposed = _validation.boolean(transposed, "transposed")
    rule = _validation.convolution_padding(padding, 1, causal=not transposed)
    placed = place_window((n,), (kernel,), (stride,), rule, (dilation,), transposed, None)
    span = dilation * (kernel - 1) + 1
    covers = f"The kernel has {kernel} taps and covers {_count(span)}"
    covers += f": {dilation} * ({kernel} - 1) + 1." if dilation > 1 else "."
    if transposed:
        return _transposed(n, kernel, stride, dilation, placed[0], covers)
    ((_, output, before, after),) = placed
    padded = before + n + after
    name = rule if isinstance(rule, str) else "given in numbers"
    steps = (
        covers,
        _padding_step(name, n, before, after, output, stride),
        f"The first window fits; the remaining {padded} - {span} = {_count(padded - span)} leave room for "
        f"{padded - span} // {stride} = {output - 1} more steps of {stride}.",
        f"Output size: {output - 1} + 1 = {output}.",
    )
    sees = tuple(tuple(o * stride - before + t * dilation for t in range(kernel)) for o in range(output))
    return ConvArithmetic(n, output, (before, after), sees, steps)


def _count(elements: int) -> str:
    return f"{elements} element" + ("" if elements == 1 else "s")


def _padding_step(name: str, n: int, before: int, after: int, output: int, stride: int) -> str:
    if not before and not after:
        return (
            f'Padding "{name}" adds nothing: {_count(n)}.'
            if name != "given in numbers"
            else (f"There is no padding: {_count(n)}.")
        )
    total = f"{before} + {n} + {after} = {_count(before + n + after)}"
    if name == "same":
        return (
            f'Padding "same" wants ceil({n} / {stride}) = {output} outputs and adds what the last window '
            f"lacks, the odd one at the end: {total}."
        )
    if name == "causal":
        return f'Padding "causal" puts {before} in front, so that no output sees what comes later: {total}.'
    return f"The padding adds {before} before and {after} after: {total}."


def _transposed(
    n: int, kernel: int, stride: int, dilation: int, placed: tuple[int, int, int, int], covers: str
) -> ConvArithmetic:
    output, _, before, _ = placed
    span = dilation * (kernel - 1) + 1
    full = (n - 1) * stride + span
    after = full - before - output
    steps = [
        covers,
        f"Each of the {n} elements is spread over {span}, {stride} further on every time: "
        f"({n} - 1) * {stride} + {span} = {full}.",
    ]
    if before or after > 0:
        steps.append(f"{before} in front and {max(after, 0)} at the end are cut off.")
    if after < 0:
        steps.append(f"No tap reaches the end: {_count(-after)} of zeros follow.")
    steps.append(f"Output size: {output}.")
    reached: list[list[int]] = [[] for _ in range(output)]
    for i in range(n):
        for tap in range(kernel):
            place = i * stride + tap * dilation - before
            if 0 <= place < output:
                reached[place].append(i)
    return ConvArithmetic(n, output, (before, after), tuple(tuple(seen) for seen in reached), tuple(steps))
