"""``gridnn evaluate``: how well a saved model does on data."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._hints import shapes_agree
from gridnn.commands.common import CommandError, add_data_options, explained, given, loaded, positive, share
from gridnn.commands.predict import probabilities
from gridnn.commands.sources import Part, Wanted, check_bytes, read_part
from gridnn.data import Batches
from gridnn.model.trainable import TrainableModel

__all__ = ["add_options", "check_outputs", "part_for", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that train, or `save`, wrote")
    add_data_options(parser, shaped=False)
    parser.add_argument(
        "--validation",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="evaluate on what train with this share and seed held out (default: a test set if there is one, "
        "else all samples)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Prints loss, accuracy, and what becomes of each class."""
    model = loaded(arguments.model)
    part = part_for(model, arguments)
    if not model.compiled:
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with explained():
        result = model.evaluate(**part.arguments, verbose=0, return_dict=True)
        rows = probabilities(model, model.predict(part.x, verbose=0))
    check_outputs(rows, f"--data {arguments.data}")
    text = ", ".join(f"{name} {value:.4f}" for name, value in result.items())
    print(f"{len(part)} samples: {text}\n")
    guesses = rows.argmax(axis=1)
    names = model.class_names or [str(number) for number in range(rows.shape[1])]
    width = max(5, *map(len, names))
    print(f"{'class':<{width}}  samples  right  most often taken for")
    for number, name in enumerate(names):
        own = guesses[part.y == number]
        wrong = own[own != number]
        other = np.bincount(wrong, minlength=len(names))
        taken = f"{names[int(other.argmax())]} ({other.max()})" if len(wrong) else ""
        right = f"{np.mean(own == number):6.1%}" if len(own) else "     -"
        print(f"{name:<{width}}  {len(own):7}  {right}  {taken}".rstrip())


def check_outputs(outputs: NDArray[Any], where: str) -> None:
    """Raises CommandError if outputs are NaN; `where` begins the message."""
    if len(unknown := np.flatnonzero(np.isnan(outputs).any(axis=1))):
        raise CommandError(
            f"{where}: the outputs for {len(unknown)} of {len(outputs)} samples are NaN, the first is number "
            f"{unknown[0]}, counted from 0: these samples hold NaN or infinity, or the weights of the "
            "model do"
        )


def part_for(model: TrainableModel, arguments: argparse.Namespace) -> Part:
    """The samples of `--data`, read as the model takes them."""
    shape = model.input_shape[1:]
    if len(model.output_shape) != 2:
        raise CommandError(
            f"{arguments.model}: not a classifier; its outputs have shape {model.output_shape}"
        )
    outputs = model.output_shape[-1]
    wanted = replace(
        Wanted.by_model(shape, model.class_names),
        label_column=arguments.label_column,
        given=given(arguments),
        outputs=None if outputs is None else max(outputs, 2),
    )
    with explained():
        part = read_part(arguments.data, wanted, arguments.validation, arguments.seed)
    if outputs is not None and len(part) and part.y.max() >= max(outputs, 2):
        raise CommandError(
            f"--data {arguments.data} has more than the {outputs} classes of {arguments.model}"
        )
    if not shapes_agree(tuple(shape), part.sample.shape):
        raise CommandError(
            f"--data {arguments.data}: expected samples of shape {tuple(shape)}, as {arguments.model} "
            f"takes them; received {part.sample.shape}"
        )
    # Files are of one type: what holds for the first sample does for all.
    check_bytes(model, part.sample if isinstance(part.x, Batches) else part.x, f"--data {arguments.data}")
    return part
