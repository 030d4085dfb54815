"""``gridnn report``: a page about a saved model and how it does on data."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gridnn._validation import is_page
from gridnn.commands.common import add_data_options, explained, loaded, positive, share, writable
from gridnn.commands.evaluate import check_outputs, part_for
from gridnn.data import Batches

__all__ = ["add_options", "run"]

_MOST = 2000  # samples that are shown at most: the page is about mistakes, not about speed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that train, or `save`, wrote")
    add_data_options(parser, shaped=False)
    parser.add_argument(
        "--out", type=_page, required=True, metavar="FILE", help="the page to write: report.html"
    )
    parser.add_argument(
        "--validation", type=share, default=0.0, metavar="SHARE", help="as in evaluate (%(default)s)"
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")


def _page(text: str) -> Path:
    if not is_page(Path(text)):
        raise argparse.ArgumentTypeError(f"expected a name that ends in .html; received {text!r}")
    return Path(text)


def run(arguments: argparse.Namespace) -> None:
    """Writes the page; needs gridnn[plot]."""
    out = writable(arguments.out, "--out")
    model = loaded(arguments.model)
    part = part_for(model, arguments)
    # Every n-th sample: files are in the order of their classes.
    rows = np.arange(len(part))[:: -(-len(part) // _MOST)]
    x = part.x.read(rows)[0] if isinstance(part.x, Batches) else part.x[rows]
    with explained():
        check_outputs(model.predict(x, verbose=0), f"--data {arguments.data}")
        model.report(out, x, part.y[rows], title=arguments.title)
    print(f"{out}: {len(rows)} samples")
