"""Texts of files, state dicts and other places that nobody here wrote, made fit for messages.

A name may hold whatever moves the cursor of a terminal, lines that look like ours, half a character that
cannot be printed at all, or a megabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

__all__ = ["listed", "printable", "quoted", "side_by_side"]

_LONGEST = 100
_MOST_ROWS = 20


def quoted(text: object) -> str:
    """A name between quotes, on one line; the middle of a long one is left out."""
    shown = repr(str(text))
    return shown if len(shown) <= _LONGEST else f"{shown[:60]}...{shown[-30:]}"


def printable(text: str) -> str:
    """A message with escapes in place of all but characters that can be seen, blanks and ends of lines."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def listed(names: Sequence[object], most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f", ... and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(map(quoted, names[:most])) or "none at all") + more


def side_by_side(left: tuple[str, Sequence[str]], right: tuple[str, Sequence[str]]) -> str:
    """Two lists as columns under their titles, each on one line a row and cut where it is long."""
    columns = []
    for title, rows in (left, right):
        shown = [quoted(row)[1:-1] for row in rows[:_MOST_ROWS]]
        more = [f"... and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else []
        columns.append([title, *shown, *more])
    width = max(map(len, columns[0]))
    pairs = zip_longest(*columns, fillvalue="")
    return "\n".join(f"  {one:<{width}}  |  {other}".rstrip() for one, other in pairs)
