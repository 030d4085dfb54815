"""``gridnn predict``: what a saved model says of files; maps of them are in `dense`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn._hints import shapes_agree
from gridnn.commands.common import (
    CommandError,
    explained,
    loaded,
    no_pipe,
    positive,
    read_array,
    share,
    sizes,
)
from gridnn.commands.dense import ENDINGS, write_maps
from gridnn.commands.sources import TABLES, Wanted, check_bytes, not_for, samples_of
from gridnn.data._audio import ENDINGS as SOUNDS
from gridnn.data._audio import rate_of, read_audio
from gridnn.data._folders import files_below, listed
from gridnn.data._images import ENDINGS as IMAGES
from gridnn.data._images import read_image
from gridnn.model.trainable import TrainableModel

__all__ = ["add_options", "probabilities", "run"]

_BATCH = 32


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file that train, or `save`, wrote")
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="images, sounds, .npy files of one sample, .npz and .csv files of any number, or folders",
    )
    parser.add_argument("--top", type=positive, default=1, metavar="N", help="classes to print (%(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where maps are written, by a model with an output at each position",
    )
    parser.add_argument(
        "--window", type=sizes, metavar="N,N", help="of such a model (default: that of its inputs)"
    )
    parser.add_argument(
        "--overlap",
        type=share,
        metavar="SHARE",
        help="of neighbouring windows (default: as little as is exact)",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Prints a line for each file: its name, and classes with their probabilities, separated by tabs."""
    model = loaded(arguments.model)
    if len(model.output_shape) == len(model.input_shape) > 2:
        write_maps(model, _all_files(arguments.files, ENDINGS), arguments)
        return
    if len(model.output_shape) != 2:
        raise CommandError(f"{arguments.model}: its outputs have shape {model.output_shape}, and no classes")
    for option in ("out", "window", "overlap"):
        if getattr(arguments, option) is not None:
            raise CommandError(
                f"--{option} is for models with an output at each position; {arguments.model} names classes, "
                "which are printed"
            )
    wanted = Wanted.by_model(model.input_shape[1:], model.class_names)
    files = _all_files(arguments.files, IMAGES | SOUNDS | {".npy"})
    sound = next((file for file in files if file.suffix.lower() in SOUNDS), None)
    if sound is not None and len(model.input_shape) == 3 and wanted.size is not None:
        with explained():
            wanted = replace(wanted, rate=(rate_of(sound), sound))
    for several, group in groupby(files, lambda file: file.suffix.lower() in TABLES):
        if several:
            for file in group:
                x = samples_of(file, wanted, model)
                with explained(file):
                    outputs = model.predict(x, verbose=0)
                _print([f"{file}[{number}]" for number in range(len(x))], outputs, model, arguments.top)
            continue
        alone = list(group)
        for first in range(0, len(alone), _BATCH):
            part = alone[first : first + _BATCH]
            with explained():
                samples = [check_bytes(model, _sample(file, wanted, model), file) for file in part]
                # Files of models that take any size are of several sizes.
                alike = len({sample.shape for sample in samples}) == 1
                groups = [np.stack(samples)] if alike else [sample[np.newaxis] for sample in samples]
                outputs = np.concatenate([model.predict(group, verbose=0) for group in groups])
            _print([str(file) for file in part], outputs, model, arguments.top)


def _print(samples: list[str], outputs: NDArray[Any], model: TrainableModel, top: int) -> None:
    """A line for each sample."""
    rows = probabilities(model, outputs)
    names = model.class_names or [str(number) for number in range(rows.shape[1])]
    for sample, row in zip(samples, rows, strict=True):
        if np.isnan(row).any():
            raise CommandError(
                f"{sample}: the outputs are NaN, and so of no class: the sample holds NaN or infinity, or "
                "the weights of the model do"
            )
        best = np.argsort(-row, kind="stable")[:top]
        print("\t".join([sample, *(f"{names[n]}\t{row[n]:.4f}" for n in best)]))


def probabilities(model: TrainableModel, outputs: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of each class; of two where there is one output."""
    scores = outputs.astype(np.float64)
    if scores.shape[1] == 1:
        if model.output_activation != "sigmoid":
            scores = 1 / (1 + np.exp(-scores.clip(-700, 700)))
        return np.concatenate([1 - scores, scores], axis=1)
    if model.output_activation in ("softmax", "sigmoid"):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def _all_files(paths: list[Path], endings: frozenset[str]) -> list[Path]:
    """The files named, and those in the folders named."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(no_pipe(path))
            continue
        found = files_below(path, endings)
        if not found:
            raise CommandError(f"{path}: there are no files in this folder that are read: {listed(endings)}")
        files += found
    return files


def _sample(file: Path, wanted: Wanted, model: TrainableModel) -> NDArray[Any]:
    """The sample in a file, as the model takes it."""
    ending = file.suffix.lower()
    rank = len(model.input_shape) - 2
    if ending == ".npy":
        array = read_array(file)
        array = array[..., np.newaxis] if array.ndim == rank else array
        expected = model.input_shape[1:]
        if not shapes_agree(expected, array.shape):
            raise CommandError(
                f"{file}: expected one sample of shape {expected}, received an array of shape {array.shape}. "
                "Several samples go into an .npz file, as array x"
            )
        return array
    if ending in SOUNDS and rank == 1:
        if wanted.size is None:
            raise CommandError(f"{file}: the model takes sounds of any length; it is applied in Python")
        # What is heard at another speed is another sound.
        rate, like = wanted.rate or (None, None)
        return read_audio(file, rate, wanted.size[0], mono=model.input_shape[-1] == 1, like=like)
    if ending in IMAGES and rank == 2:
        size = None if wanted.size is None else (wanted.size[0], wanted.size[1])
        return read_image(file, size, wanted.color, "fit")
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    kinds = {1: ("sounds",), 2: ("images",)}.get(rank, ())
    raise not_for(model, file, (*kinds, ".npy", *sorted(TABLES)))
