"""The text of a header: steps one after the other, and the memory between them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gridnn.interop.c.code import quoted, remark
from gridnn.interop.c.steps import Sizes, Step, size_of

__all__ = ["CHeader", "Placement", "placed", "text"]


@dataclass(frozen=True)
class CHeader:
    """What a header declares, and what it takes; numbers of floats.

    Attributes:
        function: the function's name, ``<name>_predict``.
        input_size: elements of one sample.
        output_size: elements of its outputs.
        arena_size: elements of the memory that the caller lends; at least 1.
        weight_count: constants in the file.
    """

    function: str
    input_size: int
    output_size: int
    arena_size: int
    weight_count: int

    def __str__(self) -> str:
        return (
            f"{self.function}: {_floats(self.input_size)} in, {_floats(self.output_size)} out, arena of "
            f"{_floats(self.arena_size)}, constants of {_floats(self.weight_count)}"
        )


def _floats(count: int) -> str:
    size = 4 * count
    amount = f"{size} bytes" if size < 10_000 else f"{size / 1000:.1f} kB"
    return f"{count:,} float{'' if count == 1 else 's'} ({amount})"


@dataclass(frozen=True)
class Placement:
    """Where each step reads and writes: "input", "output", or an offset in the arena."""

    places: tuple[tuple[str | int, str | int], ...]
    arena: int


def placed(steps: Sequence[Step], source: Sizes) -> Placement:
    """Finds room for what steps make: one array at the beginning of the arena, the next one at its end.

    A step that can write over what it reads does so, unless that is the input, which is the caller's, or
    what comes out is the output.
    """
    sizes = [size_of(source), *(size_of(step.output) for step in steps)]
    # From here on nothing changes its size: it is made in the output, and stays there.
    final = max(
        (n for n, step in enumerate(steps) if n == 0 or not step.in_place or sizes[n] != sizes[n + 1]),
        default=0,
    )
    arrays = list[list[int]]()  # the sizes that each array between input and output has in turn
    own: list[int] = []  # step -> number of the array that it makes, or writes over
    for n, step in enumerate(steps[:final]):
        if not step.in_place or not arrays:
            arrays.append([])
        arrays[-1].append(sizes[n + 1])
        own.append(len(arrays) - 1)
    arena, first = min((_room(arrays, first), first) for first in (0, 1))
    offsets = [0 if n % 2 == first else arena - array[0] for n, array in enumerate(arrays)]
    writes: list[str | int] = [offsets[number] for number in own] + ["output"] * (len(steps) - final)
    return Placement(tuple(zip(["input", *writes], writes, strict=False)), arena)


def _room(arrays: Sequence[Sequence[int]], first: int) -> int:
    """Size of the arena if arrays number `first`, `first` + 2 and so on stand at its beginning."""
    room = max((array[0] for array in arrays), default=0)
    for n, (one, other) in enumerate(pairwise(arrays)):
        # What shrinks keeps its start: at the end of the arena its room stays taken.
        kept = one[-1] if n % 2 == first else one[0]
        room = max(room, kept + other[0])
    return room


def text(
    name: str,
    title: str,
    steps: Sequence[Step],
    shapes: tuple[Sizes, Sizes],
    class_names: Sequence[str] | None,
    notes: Sequence[str],
    weight_count: int,
) -> tuple[bytes, CHeader]:
    """The contents of the file.

    Args:
        name: identifier that all names begin with.
        title: what the file is, for its first line.
        steps: at least one.
        shapes: of a sample and of its outputs.
        class_names: names of the outputs.
        notes: more lines for the comment at the top.
        weight_count: numbers in the constants of the steps.
    """
    placement = placed(steps, shapes[0])
    header = CHeader(
        f"{name}_predict", size_of(shapes[0]), size_of(shapes[1]), max(placement.arena, 1), weight_count
    )
    body = _body(name, steps, placement, header, class_names)
    upper = name.upper()
    checksum = f"0x{zlib.crc32(body.encode()):08X}UL"
    head = [remark(title), ""]
    head += [
        f"void {name}_predict(const float *input, float *output, float *arena);",
        f"    input   {_described(shapes[0])}, one sample, channels last",
        f"    output  {_described(shapes[1])}; input, output and arena must not overlap",
        f"    arena   {_floats(header.arena_size)} for what is in between; need not be cleared",
        f"Constants: {_floats(weight_count)}. No allocation; nothing is kept between calls.",
        f"The function is static inline; with -D{upper}_API= it is global.",
        *notes,
        "",
        *(f"{number}. {remark(step.title)}" for number, step in enumerate(steps, 1)),
    ]
    guard = f"GRIDNN_{upper}_H"
    lines = [
        "/*",
        *(f" * {line}".rstrip() for line in head),
        " */",
        f"#ifndef {guard}",
        f"#define {guard} {checksum}",
        "",
        body,
        f"#elif {guard} != {checksum}",
        f'#error "two different networks are called {name}: give one of the files another name"',
        "#endif",
        "",
    ]
    return "\n".join(lines).encode("ascii"), header


def _described(shape: Sizes) -> str:
    sizes = " x ".join(map(str, shape))
    return f"{sizes} floats" if len(shape) == 1 else f"{sizes} = {size_of(shape)} floats"


def _body(
    name: str,
    steps: Sequence[Step],
    placement: Placement,
    header: CHeader,
    class_names: Sequence[str] | None,
) -> str:
    upper = name.upper()
    lines = [
        "#include <math.h>",
        "",
        f"#define {upper}_INPUT_SIZE {header.input_size}",
        f"#define {upper}_OUTPUT_SIZE {header.output_size}",
        f"#define {upper}_ARENA_SIZE {header.arena_size}",
    ]
    if class_names is not None:
        lines.append(f"#define {upper}_CLASS_NAMES {{{', '.join(map(quoted, class_names))}}}")
    lines += ["", f"#ifndef {upper}_API", f"#define {upper}_API static inline", "#endif", ""]
    for number, step in enumerate(steps, 1):
        lines += [
            f"/* {remark(step.title)} */",
            f"static void {name}_step{number}(const float *x, float *y)",
            "{",
            *(f"    {line}" for line in step.code.constants),
            *step.code.lines,
            "}",
            "",
        ]
    lines += [
        f"{upper}_API void {name}_predict(const float *input, float *output, float *arena)",
        "{",
    ]
    if placement.arena == 0:
        lines.append("    (void)arena;")
    for number, (source, target) in enumerate(placement.places, 1):
        places = [place if isinstance(place, str) else f"arena + {place}" for place in (source, target)]
        lines.append(f"    {name}_step{number}({places[0]}, {places[1]});")
    return "\n".join([*lines, "}", ""])
