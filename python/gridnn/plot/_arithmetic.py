"""What a convolution reads for each output: grids with padding and the kernel in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from gridnn import _validation, inspect
from gridnn.plot import _style

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

__all__ = ["conv_animation", "conv_arithmetic"]

Sizes = int | Sequence[int]
Padding = str | int | Sequence[Sequence[int]]

_GREY = "#5F6368"
_INPUT, _OUTPUT, _READ = "#9CC7E6", "#8CCFB0", "#E08B4F"


@dataclass(frozen=True)
class _Axis:
    """One axis of a convolution. A transposed one slides over its input with zeros between the elements."""

    inputs: int
    outputs: int
    before: int
    after: int
    kernel: int
    stride: int
    dilation: int
    transposed: bool

    def window(self, output: int) -> list[int]:
        """Places that an output reads; input element i stands at i, or at ``i * stride`` if transposed."""
        taps = [tap * self.dilation for tap in range(self.kernel)]
        if self.transposed:
            # Element i is added to outputs i * stride - before + tap; solved for the place i * stride.
            return [output + self.before - tap for tap in reversed(taps)]
        return [output * self.stride - self.before + tap for tap in taps]

    def holds_input(self, place: int) -> bool:
        """Whether an input element stands there, and not padding or a zero between two elements."""
        spread = self.stride if self.transposed else 1
        return place % spread == 0 and 0 <= place // spread < self.inputs

    @property
    def places(self) -> range:
        """All places to draw: the input, and whatever an output reads beyond it."""
        spread = self.stride if self.transposed else 1
        last = (self.inputs - 1) * spread
        if self.transposed:
            low, high = self.window(0)[0], self.window(self.outputs - 1)[-1]
        else:
            low, high = -self.before, last + self.after
        return range(min(0, low), max(last, high) + 1)


@dataclass(frozen=True)
class _Picture:
    axes: tuple[_Axis, ...]

    @property
    def outputs(self) -> list[tuple[int, ...]]:
        return list(product(*(range(axis.outputs) for axis in self.axes)))

    def words(self) -> str:
        """The sizes and options in a line."""
        first = self.axes[0]

        def of(values: Sequence[object]) -> str:
            return str(values[0]) if len(set(values)) == 1 else " × ".join(map(str, values))

        sizes = [
            " × ".join(str(n) for n in side)
            for side in zip(*((a.inputs, a.outputs) for a in self.axes), strict=True)
        ]
        parts = [f"kernel {of([a.kernel for a in self.axes])}", f"stride {of([a.stride for a in self.axes])}"]
        if any(a.dilation > 1 for a in self.axes):
            parts.append(f"dilation {of([a.dilation for a in self.axes])}")
        pads = [f"{a.before}+{a.after}" for a in self.axes]
        if any(a.before or a.after for a in self.axes):
            parts.append(f"{'cropped' if first.transposed else 'padding'} {of(pads)}")
        kind = "transposed, " if first.transposed else ""
        return f"{sizes[0]} → {sizes[1]}\n{kind}{', '.join(parts)}"


def _picture(
    n: Sizes, kernel_size: Sizes, strides: Sizes, padding: Padding, dilation_rate: Sizes, transposed: bool
) -> _Picture:
    rank = max((len(value) for value in (n, kernel_size) if not isinstance(value, int)), default=1)
    if rank > 2:
        raise ValueError(f"A picture has one or two axes. Received n={n}, kernel_size={kernel_size}.")
    sizes = _validation.axis_integers(n, rank, "n")
    kernel = _validation.axis_integers(kernel_size, rank, "kernel_size")
    stride = _validation.axis_integers(strides, rank, "strides")
    dilation = _validation.axis_integers(dilation_rate, rank, "dilation_rate")
    pads = _validation.convolution_padding(padding, rank, causal=rank == 1)
    transposed = _validation.boolean(transposed, "transposed")
    axes = []
    for i in range(rank):
        along = pads if isinstance(pads, str) else [pads[i]]
        found = inspect.conv_arithmetic(sizes[i], kernel[i], stride[i], along, dilation[i], transposed)
        axes.append(
            _Axis(found.n, found.output, *found.padding, kernel[i], stride[i], dilation[i], transposed)
        )
    return _Picture(tuple(axes))


def conv_arithmetic(
    n: Sizes,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    transposed: bool = False,
    *,
    position: Sizes = 0,
    ax: Axes | None = None,
) -> Axes:
    """The grids of a convolution: input blue, padding dashed, output green, what the kernel reads orange.

    Of a transposed convolution the equivalent plain one is drawn: the input with zeros between its elements
    (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016).

    Args:
        n: elements of the input: an int for a series, two for an image.
        kernel_size: an int, or one per axis.
        strides: an int, or one per axis.
        padding: as `gridnn.functional.conv2d` takes it.
        dilation_rate: an int, or one per axis.
        transposed: whether the convolution is transposed.
        position: the output whose inputs are marked: a number counted row by row, or one per axis.
        ax: axes to draw on; None makes a figure.

    Raises:
        ValueError: more than two axes, an output that does not exist, or an argument that is not allowed.
        ShapeError: there is no output.
        ImportError: matplotlib is not installed.

    Example:
        >>> ax = gn.plot.conv_arithmetic((5, 5), 3, strides=2, padding="same", position=(1, 1))
    """
    picture = _picture(n, kernel_size, strides, padding, dilation_rate, transposed)
    outputs = picture.outputs
    if isinstance(position, Sequence):
        chosen = tuple(position)
        if chosen not in outputs:
            raise ValueError(f"`position` must be from {outputs[0]} to {outputs[-1]}. Received {position}.")
    else:
        number = _validation.integer(position, "position")
        if not 0 <= number < len(outputs):
            raise ValueError(f"There are {len(outputs)} outputs. Received position={position}.")
        chosen = outputs[number]
    ax = _style.axes(ax, _size(picture))
    _draw(ax, picture, chosen)
    return ax


def conv_animation(
    n: Sizes,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilation_rate: Sizes = 1,
    transposed: bool = False,
    *,
    interval: int = 500,
    ax: Axes | None = None,
) -> FuncAnimation:
    """The kernel on its way over the input, a frame per output.

    Args:
        n: see `conv_arithmetic`, as for all up to `transposed`.
        kernel_size: an int, or one per axis.
        strides: an int, or one per axis.
        padding: as `gridnn.functional.conv2d` takes it.
        dilation_rate: an int, or one per axis.
        transposed: whether the convolution is transposed.
        interval: milliseconds a frame.
        ax: axes to draw on; None makes a figure.

    Returns:
        A matplotlib animation: ``animation.to_jshtml()`` is a player for a notebook or a page,
        ``animation.save("conv.gif")`` writes a file. Keep a reference to it until then.

    Raises:
        ValueError, ShapeError, ImportError: see `conv_arithmetic`.

    Example:
        >>> animation = gn.plot.conv_animation(5, 3)
        >>> page = animation.to_jshtml()
    """
    picture = _picture(n, kernel_size, strides, padding, dilation_rate, transposed)
    canvas = _style.axes(ax, _size(picture))
    outputs = picture.outputs

    def frame(i: int) -> list[Axes]:
        canvas.clear()
        _draw(canvas, picture, outputs[i])
        return [canvas]

    animation: FuncAnimation = _style.require("matplotlib.animation").FuncAnimation(
        canvas.get_figure(), frame, frames=len(outputs), interval=interval
    )
    return animation


def _size(picture: _Picture) -> tuple[float, float]:
    places = [len(axis.places) for axis in picture.axes]
    if len(places) == 1:
        return max(3.2, 0.36 * (places[0] + 1)), 2.1
    width = places[1] + picture.axes[1].outputs + 2
    return max(3.4, 0.3 * width), max(1.8, 0.3 * max(places[0], picture.axes[0].outputs) + 0.9)


def _cell(ax: Axes, x: float, y: float, colour: str, *, dashed: bool = False, label: str = "") -> None:
    patches = _style.require("matplotlib.patches")
    edge = _style.MUTED if dashed else "white"
    ax.add_patch(
        patches.Rectangle(
            (x - 0.46, y - 0.46),
            0.92,
            0.92,
            facecolor=colour,
            edgecolor=edge,
            linewidth=0.8 if dashed else 0.0,
            linestyle=":" if dashed else "-",
            label=label,
        )
    )


def _place_colour(axes: Sequence[_Axis], place: Sequence[int], read: bool) -> tuple[str, bool, str]:
    """Colour of a place, whether its border is dashed, and its name in the picture."""
    if all(axis.holds_input(p) for axis, p in zip(axes, place, strict=True)):
        return (_READ, False, "read") if read else (_INPUT, False, "input")
    return ("#F6D9C3", True, "read zero") if read else ("white", True, "zero")


def _draw(ax: Axes, picture: _Picture, chosen: tuple[int, ...]) -> None:
    windows = [set(axis.window(o)) for axis, o in zip(picture.axes, chosen, strict=True)]
    if len(picture.axes) == 1:
        _draw_series(ax, picture.axes[0], chosen[0], windows[0])
    else:
        _draw_image(ax, picture.axes, chosen, windows)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(picture.words(), fontsize=9)


def _draw_series(ax: Axes, axis: _Axis, chosen: int, window: set[int]) -> None:
    places = axis.places
    top = 2.4
    # Outputs stand above the middle of what they read, or above the end of it if all padding is in front.
    causal = axis.before > 0 == axis.after and not axis.transposed
    windows = [axis.window(o) for o in range(axis.outputs)]
    middles = [float(max(w)) if causal else sum(w) / len(w) for w in windows]
    for place in window:
        ax.plot([place, middles[chosen]], [0.46, top - 0.46], color=_READ, linewidth=1.0, zorder=0)
    for place in places:
        colour, dashed, name = _place_colour([axis], [place], place in window)
        _cell(ax, place, 0.0, colour, dashed=dashed, label=name)
    for o, middle in enumerate(middles):
        _cell(ax, middle, top, _READ if o == chosen else _OUTPUT, label="chosen" if o == chosen else "output")
    left = min(places[0], middles[0]) - 0.8
    ax.text(left, 0.0, "input", ha="right", va="center", fontsize=8, color=_GREY)
    ax.text(left, top, "output", ha="right", va="center", fontsize=8, color=_GREY)
    ax.set_xlim(left - 2.2, max(places[-1], middles[-1]) + 0.8)
    ax.set_ylim(-0.8, top + 0.8)


def _draw_image(
    ax: Axes, axes: Sequence[_Axis], chosen: tuple[int, ...], windows: Sequence[set[int]]
) -> None:
    rows, columns = axes[0].places, axes[1].places
    for y, x in product(rows, columns):
        colour, dashed, name = _place_colour(axes, (y, x), y in windows[0] and x in windows[1])
        _cell(ax, x, y, colour, dashed=dashed, label=name)
    left = columns[-1] + 3.0
    upper = (rows[0] + rows[-1] - axes[0].outputs + 1) / 2
    for y, x in product(range(axes[0].outputs), range(axes[1].outputs)):
        marked = (y, x) == chosen
        _cell(ax, left + x, upper + y, _READ if marked else _OUTPUT, label="chosen" if marked else "output")
    low = min(rows[0], upper) - 0.6
    high = max(rows[-1], upper + axes[0].outputs - 1) + 0.6
    # Lines from the corners of the window to the output, as through a lens.
    corner = max(windows[1]) + 0.46
    for edge, end in ((min(windows[0]) - 0.46, -0.46), (max(windows[0]) + 0.46, 0.46)):
        ends = [corner, left + chosen[1] - 0.46], [edge, upper + chosen[0] + end]
        ax.plot(*ends, color=_READ, linewidth=0.8)
    ax.set_xlim(columns[0] - 0.6, left + axes[1].outputs - 0.4)
    ax.set_ylim(high, low)
