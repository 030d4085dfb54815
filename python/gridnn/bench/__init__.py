"""``python -m gridnn bench``: gridnn against NumPy on this machine, and against other installed libraries.

Convolutions of each rank and pass, pooling and a whole training step are solved by gridnn and by NumPy
written three ways (plain loops on tiny cases, sliding windows with `einsum`, matrices with BLAS). Results are
compared before anything is timed. Blocks of a few milliseconds take turns; figures are medians with a warm
cache, of calls that return arrays (gridnn writes into one given with ``out=``).

The comparison in separate processes on larger problems is `benches/python` in the source repository.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import gridnn as gn
from gridnn.bench import peers
from gridnn.bench._own import Library, peak
from gridnn.bench._problems import OWN, Comparison, comparisons
from gridnn.bench._report import Row, about, chart, require_matplotlib, table, write_json
from gridnn.bench._timing import interleave

__all__ = ["Row", "run"]


def run(
    names: Sequence[str] = (),
    *,
    quick: bool = False,
    with_peers: bool = False,
    json: Path | None = None,
    plot: Path | None = None,
) -> list[Row]:
    """Compares, times and prints a table.

    Args:
        names: parts of names; only comparisons that contain one of them. None given: all.
        quick: fewer and shorter rounds.
        with_peers: PyTorch, TensorFlow with Keras, JAX and SciPy too, where they can be imported.
        json: a file for the figures.
        plot: a file for a bar chart; needs matplotlib.

    Returns:
        One row per comparison.

    Raises:
        ArithmeticError: two of the subjects disagree.
        ImportError: `plot` is given and matplotlib is not installed.
        LookupError: no comparison has such a name.
    """
    if plot:
        require_matplotlib()  # found out now rather than afterwards
    threads = gn.get_num_threads()
    others = {name: peers.load(name, threads) for name in peers.installed()} if with_peers else {}
    # The number of threads is the caller's, and the same afterwards.
    versions = [Library(threads).version, *(peer.version for peer in others.values())]
    facts = about(threads, versions)
    print("\n".join(f"{key:<10} {_text(value)}" for key, value in facts.items()))
    print("The numbers below the other names say how many times as long as gridnn they take.")
    if others:
        print("Thread pools in one process disturb each other: take these for hints, and see benches/python.")
    print()
    rows, known = [], dict[str, None]()
    for comparison in comparisons(threads, others):
        known[comparison.name] = None
        if not names or any(name in f"{comparison.name} {comparison.which}" for name in names):
            rows.append(_measure(comparison, threads, quick))
    if not rows:
        raise LookupError(
            f"there is no comparison named {' or '.join(names)}. There are {', '.join(known)}; a part of a "
            "name will do"
        )
    print(table(rows))
    if json:
        write_json(json, facts, rows)
    if plot:
        chart(plot, facts, rows)
    return rows


def _text(value: object) -> str:
    """A fact on one line."""
    return ", ".join(value) if isinstance(value, list) else str(value)


def _measure(comparison: Comparison, threads: int, quick: bool) -> Row:
    """Checks that all agree, then times them."""
    differences = comparison.differences()
    for name, difference in differences.items():
        if not difference <= comparison.tolerance:
            raise ArithmeticError(
                f"{comparison.name}, {comparison.which}: {name} and gridnn differ by {difference:.1e} of the "
                f"largest element; {comparison.tolerance:.0e} is allowed. Nothing was timed."
            )
    calls = {name: task.call for name, task in comparison.tasks.items()}
    seconds = interleave(
        calls, rounds=5 if quick else 11, block=1e-3 if quick else 1e-2, slow=0.01 if quick else 0.2
    )
    percent = None
    if comparison.flops:
        best = statistics.median(peak(threads) for _ in range(3))
        percent = 100 * comparison.flops / seconds[OWN] / best
    return Row(
        comparison.name,
        comparison.which,
        percent,
        {name: time * 1e3 for name, time in seconds.items()},
        differences,
    )
