"""Lines of C, numbers and names in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

__all__ = ["Code", "identifier", "number", "quoted", "remark", "table"]

_WIDTH = 100
"""Of lines of numbers."""


class Code:
    """The body of a function, indented as it is nested."""

    def __init__(self) -> None:
        self.constants: list[str] = []
        self.lines: list[str] = []
        self.numbers = 0
        """Elements of all constants."""
        self._depth = 1

    def add(self, *lines: str) -> None:
        """Adds lines at the depth that has been reached."""
        self.lines += ["    " * self._depth + line for line in lines]

    @contextmanager
    def braces(self, head: str) -> Iterator[None]:
        """What is added meanwhile stands in braces behind `head`."""
        self.add(f"{head} {{" if head else "{")
        self._depth += 1
        yield
        self._depth -= 1
        self.add("}")

    @contextmanager
    def loop(self, name: str, end: object, start: object = 0, step: int = 1) -> Iterator[None]:
        """A loop over ``start <= name < end``. ``long`` has 32 bits where ``int`` has 16."""
        forward = f"{name}++" if step == 1 else f"{name} += {step}"
        with self.braces(f"for (long {name} = {start}; {name} < {end}; {forward})"):
            yield

    @contextmanager
    def loops(self, names: Sequence[str], ends: Sequence[object]) -> Iterator[None]:
        """Loops within each other."""
        if not names:
            yield
            return
        with self.loop(names[0], ends[0]), self.loops(names[1:], ends[1:]):
            yield

    def constant(self, name: str, values: NDArray[np.float32]) -> None:
        """Declares numbers of the name `name` that the function reads."""
        self.constants += table("static const float", name, values)
        self.numbers += values.size

    def indices(self, name: str, values: Sequence[int]) -> None:
        """Declares places; -1 is allowed."""
        rows = _rows([str(value) for value in values])
        self.numbers += len(values)
        self.constants += [f"static const long {name}[{len(values)}] = {{", *rows, "};"]


def table(kind: str, name: str, values: NDArray[np.float32]) -> list[str]:
    """The declaration of an array."""
    rows = _rows([number(value) for value in values.ravel().tolist()])
    return [f"{kind} {name}[{values.size}] = {{", *rows, "};"]


def _rows(words: Sequence[str]) -> list[str]:
    rows, row, length = [], list[str](), 0
    for word in words:
        if row and length + len(word) + 2 > _WIDTH:
            rows.append("    " + ", ".join(row) + ",")
            row, length = [], 0
        row.append(word)
        length += len(word) + 2
    rows.append("    " + ", ".join(row))
    return rows


def number(value: float) -> str:
    """A number that float32 holds as a constant of type float: nine digits give the same one again."""
    digits = f"{value:.9g}"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def identifier(path: str | os.PathLike[str]) -> str:
    """A valid name from that of a file: "5x5 net.h" -> "net_5x5_net".

    Names with two underscores, or one at the beginning, belong to compilers.
    """
    stem = os.path.splitext(os.path.basename(os.fsdecode(path)))[0]
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_") or "net"
    return f"net_{name}" if name[0].isdigit() else name


def remark(text: str) -> str:
    """Text for a comment: nothing in it ends the comment, begins another one or joins lines."""
    return re.sub(r"[^A-Za-z0-9 _.,:;()<>=+'-]", "_", text)


def quoted(text: str) -> str:
    """Text as a string constant, in UTF-8; question marks could be trigraphs."""
    safe = re.compile(rb"[A-Za-z0-9 _.,:;()<>=+'/*-]")
    octets = text.encode("utf-8", "surrogatepass")
    return '"' + "".join(chr(c) if safe.match(bytes([c])) else f"\\{c:03o}" for c in octets) + '"'
