"""The command line, ``python -m gridnn``; also installed as ``gridnn``.

Commands on one's own data and models are in `gridnn.commands`.

Exit codes: 0 done, 2 wrong arguments, unreadable files or a missing library (one line on standard error says
which), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gridnn as gn
from gridnn import layers
from gridnn._validation import meant
from gridnn.commands import evaluate, info, predict, report, train
from gridnn.commands.common import CommandError, explained, positive, seed
from gridnn.errors import FileFormatError

__all__ = ["main"]

_INK = " .:-=+*#%@"
_SCANS_PER_ROW = 4


_TOLD = (OSError, FileFormatError, ImportError, LookupError, ArithmeticError, MemoryError, CommandError)
"""Errors that are told in a line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments after the program's name; None takes those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: argparse found the arguments wrong (code 2), or printed help or version (code 0).
    """
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        known = arguments.parser.format_help().replace(",", " ").split()
        options = [word for word in known if word.startswith("--")] if unknown[0].startswith("-") else []
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}.{meant(unknown[0], options)}")
    try:
        if getattr(arguments, "threads", None) is not None:
            with explained("--threads"):
                gn.set_num_threads(arguments.threads)
        with _warnings_in_words(arguments.command):
            arguments.run(arguments)
        sys.stdout.flush()  # here, where what goes wrong is heard
    except BrokenPipeError:
        # Whoever read has had enough, as `head` has: no mistake. What is still in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _TOLD as error:
        print(f"gridnn {arguments.command}: error: {_in_words(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _warnings_in_words(command: str) -> Iterator[None]:
    """Warnings within are lines like those of errors, each said once: no line of the library's source."""
    said = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if (text := str(message)) not in said:
            said.add(text)
            print(f"gridnn {command}: warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _in_words(error: Exception) -> str:
    """What an error says; of one of the system's the file first, and no number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="gridnn", description="Convolutional networks on grids, trained on the CPU."
    )
    parser.add_argument("--version", action="version", version=f"gridnn {gn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train on scans of handwritten digits, in seconds")
    _add_training_options(demo, epochs=40, batch_size=64)
    demo.set_defaults(run=_demo)

    for name, command, text in (
        ("train", train, "train a classifier on your own data and save it"),
        ("evaluate", evaluate, "loss and accuracy of a saved model, and what becomes of each class"),
        ("predict", predict, "the classes of files, by a saved model"),
        ("report", report, "a page about a saved model (needs gridnn[plot])"),
        ("info", info, "versions, instruction set and threads in use; or what is in a saved model"),
    ):
        parser_of = commands.add_parser(name, help=text)
        command.add_options(parser_of)
        parser_of.set_defaults(run=command.run)

    export = commands.add_parser(
        "export", help="write a saved model as an ONNX file (needs gridnn[onnx]) or a C header"
    )
    _add_export_options(export)
    export.set_defaults(run=_export)

    bench = commands.add_parser("bench", help="compare the speed with NumPy's, and with other libraries'")
    bench.add_argument("names", nargs="*", metavar="NAME", help="parts of names; only these comparisons")
    bench.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    bench.add_argument(
        "--peers", action="store_true", help="with PyTorch, TensorFlow, JAX, SciPy if installed"
    )
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw a bar chart (needs gridnn[plot])")
    bench.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")
    bench.set_defaults(run=_bench)

    for each in commands.choices.values():
        each.set_defaults(parser=each)  # whose usage is shown where an option is wrong
    return parser


def _add_training_options(parser: argparse.ArgumentParser, *, epochs: int, batch_size: int) -> None:
    """Adds the options that the commands that train share, with their defaults."""
    parser.add_argument(
        "--epochs", type=positive, default=epochs, metavar="N", help="passes over the data (%(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=batch_size, metavar="N", help="samples a step (%(default)s)"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="seed of every random draw (%(default)s)"
    )


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `Sequential.export`; those that are left out have its defaults."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that `save` wrote")
    parser.add_argument("out", type=Path, metavar="FILE", help="the file to write: model.onnx or model.h (C)")
    onnx = parser.add_argument_group("options of ONNX files")
    onnx.add_argument(
        "--opset", dest="opset_version", type=positive, metavar="N", help="operator set, 13 to 21 (17)"
    )
    onnx.add_argument(
        "--layout",
        choices=("channels_last", "channels_first"),
        help="of inputs and outputs (channels_last)",
    )
    onnx.add_argument("--batch", type=positive, metavar="N", help="samples at once (default: any number)")
    onnx.add_argument("--compat", choices=("symmetric",), help="no padding that differs before and after")
    parser.add_argument("--activation", choices=("softmax", "sigmoid"), help="put behind the last layer")
    parser.add_argument("--class-names", nargs="+", metavar="NAME", help="of the outputs")
    parser.add_argument("--no-verify", action="store_true", help="leave the checks of the file out")


_EXPORT_OPTIONS = ("opset_version", "layout", "batch", "compat", "activation", "class_names")


def _threads() -> str:
    """The number of threads in words."""
    count = gn.get_num_threads()
    return "1 thread" if count == 1 else f"{count} threads"


def _export(arguments: argparse.Namespace) -> None:
    """Writes a saved model for other programs."""
    model = gn.load_model(arguments.model)
    given = {key: value for key in _EXPORT_OPTIONS if (value := getattr(arguments, key)) is not None}
    try:
        header = model.export(arguments.out, verify=not arguments.no_verify, **given)
    except (ValueError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: model '{model.name}', {model.count_params():,} weights, {size:,} bytes")
    if header is not None:
        print(header)


def _bench(arguments: argparse.Namespace) -> None:
    """Compares, times and prints a table."""
    from gridnn import bench  # the only command that needs it

    bench.run(
        arguments.names,
        quick=arguments.quick,
        with_peers=arguments.peers,
        json=arguments.json,
        plot=arguments.plot,
    )


def _demo(arguments: argparse.Namespace) -> None:
    """Trains on the digits of the package and shows how it reads scans it has not seen."""
    (x, y), (xt, yt) = gn.datasets.digits()
    print(f"gridnn {gn.__version__}, tier {gn.simd_tier()}, {_threads()}")
    print(f"Training on {len(x)} scans of handwritten digits; {len(xt)} more are held out.\n")
    model = gn.Sequential(
        [
            gn.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        seed=arguments.seed,
    )
    model.compile(gn.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs, seed=arguments.seed)
    seconds = time.perf_counter() - start

    probabilities = model.predict(xt, verbose=0)
    guesses = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guesses != yt)
    accuracy = np.mean(guesses == yt)
    print(f"\nTrained in {seconds:.1f} s. Accuracy on the {len(xt)} held-out scans: {accuracy:.1%}")
    right = np.flatnonzero(guesses == yt)[:_SCANS_PER_ROW]
    _print_scans("Some that it read correctly:", right, xt, yt, probabilities)
    _print_scans("Some that it did not:", wrong[:_SCANS_PER_ROW], xt, yt, probabilities)


def _print_scans(
    title: str,
    rows: NDArray[np.intp],
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
) -> None:
    """Prints the scans of these rows side by side, with what was read, and how surely, below each."""
    if len(rows) == 0:
        return
    print(f"\n{title}\n")
    # Characters are about twice as high as wide: two of them make a square pixel.
    shades = images[rows, ..., 0].astype(int) * (len(_INK) - 1) // 16
    for line in range(shades.shape[1]):
        print("  ".join("".join(_INK[shade] * 2 for shade in scan[line]) for scan in shades).rstrip())
    captions = []
    for row in rows:
        guess = int(probabilities[row].argmax())
        truth = "" if guess == labels[row] else f", is {labels[row]}"
        captions.append(f"{guess} ({probabilities[row, guess]:.0%}){truth}".center(2 * shades.shape[2]))
    print("  ".join(captions).rstrip())
