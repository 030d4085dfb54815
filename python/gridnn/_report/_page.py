"""The page itself: its head and style, sections, figures and tables.

Every picture is an image inside the page (SVG in a data URI), the style is in its head, and there is no
script: the page can be mailed, archived and read offline, on a phone as well.
"""

from __future__ import annotations

import base64
import datetime
import html
import io
import os
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from gridnn._engine import version, write_file
from gridnn.plot._style import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drawing", "figures", "picture", "section", "table", "tiles", "write_page"]


def write_page(path: str | os.PathLike[str], title: str, sections: Iterable[str]) -> None:
    """Writes a page of these sections; empty ones are left out."""
    heading = html.escape(title)
    style = resources.files("gridnn").joinpath("assets/report.css").read_text("utf-8")
    when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # An empty icon, or browsers ask a server for one.
        f'<link rel="icon" href="data:,">\n<title>{heading}</title>\n<style>\n{style}</style>\n</head>\n'
        f"<body>\n<header>\n<h1>{heading}</h1>\n<p>{when}, gridnn {version}</p>\n</header>\n<main>\n"
        f"{''.join(section for section in sections if section)}</main>\n</body>\n</html>\n"
    )
    write_file(path, page.encode())


def section(title: str, *parts: str, note: str = "", half: bool = False) -> str:
    """A part of the page with a heading; nothing if there are no parts.

    Args:
        title: the heading.
        parts: HTML.
        note: words below the heading.
        half: stand beside another one where the screen is wide enough.
    """
    body = "".join(parts)
    if not body:
        return ""
    words = f"<p>{note}</p>\n" if note else ""
    kind = ' class="half"' if half else ""
    return f"<section{kind}>\n<h2>{html.escape(title)}</h2>\n{words}{body}</section>\n"


def figures(*parts: str) -> str:
    """Figures beside each other, as many as fit."""
    shown = [part for part in parts if part]
    return f'<div class="figures">\n{"".join(shown)}</div>\n' if shown else ""


def drawing(ax: Axes, alt: str, caption: str = "") -> str:
    """A figure of lines and words, which on a dark screen is drawn light on dark."""
    return _figure(ax, alt, caption, "drawing")


def picture(ax: Axes, alt: str, caption: str = "") -> str:
    """A figure that shows data, whose colours stay as they are."""
    return _figure(ax, alt, caption, "picture")


def _figure(ax: Axes, alt: str, caption: str, kind: str) -> str:
    pyplot = require("matplotlib.pyplot")
    figure = ax.get_figure()
    buffer = io.BytesIO()
    figure.savefig(  # type: ignore[union-attr]
        buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
    )
    pyplot.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    image = f'<img class="{kind}" alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{words}{image}</figure>\n"


def _row(cells: Sequence[object], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>\n"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, words: bool = False) -> str:
    """Rows of words and numbers, which scroll sideways where they are too wide; of words, set to the left."""
    head = _row(headings, "th") if headings else ""
    kind = ' class="words"' if words else ""
    return f'<div class="wide"><table{kind}>\n{head}{"".join(map(_row, rows))}</table></div>\n'


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """Numbers to see first, each with what it is."""
    cells = "".join(f"<li><b>{html.escape(a)}</b>{html.escape(b)}</li>\n" for a, b in values)
    return f'<ul class="tiles">\n{cells}</ul>\n'
