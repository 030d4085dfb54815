"""``gridnn train``: a classifier of one's own data."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import gridnn as gn
from gridnn import layers, models
from gridnn._auto import auto
from gridnn._ranks import warn_if_alone
from gridnn.commands.common import (
    CommandError,
    above_zero,
    add_data_options,
    explained,
    given,
    positive,
    share,
    writable,
)
from gridnn.commands.sources import Part, Source, Wanted, read_source
from gridnn.errors import DistributedError
from gridnn.model.sequential import Sequential

__all__ = ["add_options", "run"]

_NAMED: dict[str, Any] = {
    "googlenet": models.googlenet,
    "lenet5": models.lenet5,
    "mobilenet": models.mobilenet,
    "tcn": models.tcn,
}
_NUMBERED: dict[str, Any] = {"resnet": models.resnet, "vgg": models.vgg}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    add_data_options(parser, shaped=True)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the trained model is written"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="auto, simple, resnet20, resnet18, vgg11, mobilenet, lenet5, googlenet, tcn (auto; simple for "
        "the files of MNIST)",
    )
    parser.add_argument(
        "--epochs", type=positive, default=8, metavar="N", help="passes over the data (%(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=positive, default=128, metavar="N", help="samples a step (%(default)s)"
    )
    parser.add_argument(
        "--learning-rate",
        type=above_zero,
        default=1e-3,
        metavar="RATE",
        help="of Adam, at its highest (%(default)s)",
    )
    parser.add_argument(
        "--validation",
        type=share,
        default=0.2,
        metavar="SHARE",
        help="of each class, held out and evaluated on, unless the data has a test set (%(default)s)",
    )
    parser.add_argument("--augment", action="store_true", help="mirror and shift images in training")
    parser.add_argument(
        "--distribute",
        choices=("mpi",),
        help="share each batch among the processes that mpiexec has started (needs gridnn[mpi])",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: one a core)")


def run(arguments: argparse.Namespace) -> None:
    """Trains, says how well the model does on what was held out, and saves it."""
    if not arguments.distribute:
        with warnings.catch_warnings():
            if warn_if_alone("`--distribute mpi` has them share the batches", stacklevel=2):
                warnings.filterwarnings("ignore", message=".*pass `distribute=")  # the same, said by `fit`
            _train(arguments, None)
        return
    ranks = None
    try:
        ranks = gn.distribute.MPI()
        # Of all that happens, so that data which one rank cannot read end the others as well.
        with contextlib.ExitStack() as stack:
            if not ranks.is_main:
                nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
                stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(ranks.session("gridnn train"))
            _train(arguments, ranks)
    except (Exception, KeyboardInterrupt) as error:
        if ranks is not None and not ranks.is_main and ranks.all_raise(error):
            # Rank 0 says what is wrong; these are its exit codes.
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        if isinstance(error, (ImportError, DistributedError)):
            raise CommandError(str(error)) from error
        raise


def _train(arguments: argparse.Namespace, ranks: gn.distribute.MPI | None) -> None:
    out = writable(arguments.out, "--out")
    if out.exists() and arguments.data.exists() and out.samefile(arguments.data):
        raise CommandError(f"--out {out}: this is the data, which would be lost: give another name")
    gn.set_random_seed(arguments.seed)
    wanted = Wanted(
        arguments.size,
        arguments.color or "rgb",
        arguments.shape,
        arguments.label_column,
        batch_size=arguments.batch_size,
        given=given(arguments),
    )
    with explained():
        source = read_source(arguments.data, wanted, arguments.validation, arguments.seed)
    _print_source(source)
    if len(source.class_names) < 2:
        raise CommandError(f"--data {arguments.data}: a classifier needs two classes or more")
    with explained():
        model = _built(arguments, source)
        model.class_names = source.class_names
    model.summary()
    steps = arguments.epochs * -(-len(source.train) // arguments.batch_size)
    rate: Any = arguments.learning_rate
    if not source.is_mnist:
        rate = gn.schedules.CosineDecay(rate, steps)
    model.compile(gn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = source.held_out
    options: dict[str, Any] = {"epochs": arguments.epochs, "seed": arguments.seed}
    if source.is_mnist:
        options["validation_split"] = 0.1  # the test set is for the end
    elif held_out is not None:
        options["validation_data"] = held_out.x if "y" not in held_out.arguments else (held_out.x, held_out.y)
    if "y" in source.train.arguments:
        options["batch_size"] = arguments.batch_size
    start = time.perf_counter()
    with explained():
        model.fit(**source.train.arguments, **options, distribute=ranks)
    seconds = (time.perf_counter() - start) / arguments.epochs
    if ranks is None or ranks.is_main:
        model.save(out)
    threads = gn.get_num_threads()
    print(f"{seconds:.1f} s an epoch on {threads} thread{'s' * (threads > 1)}, tier {gn.simd_tier()}")
    if held_out is not None:
        result = model.evaluate(**held_out.arguments, verbose=0, return_dict=True, distribute=ranks)
        print(f"test accuracy {result['accuracy']:.2%}, test loss {result['loss']:.4f}")
    print(f"saved as {out}")


def _print_source(source: Source) -> None:
    sample = source.train.sample
    names = ", ".join(source.class_names[:8]) + (", ..." if len(source.class_names) > 8 else "")
    print(f"{len(source.train)} samples of shape {sample.shape}, {sample.dtype}", end="")
    print("" if source.held_out is None else f"; {len(source.held_out)} more are held out")
    print(f"{len(source.class_names)} classes: {names}\n")


def _built(arguments: argparse.Namespace, source: Source) -> Sequential:
    """The network that was asked for, behind what scales and varies the samples."""
    sample = source.train.sample
    shape = sample.shape
    name = arguments.model or ("simple" if source.is_mnist else "auto")
    with explained(f"--model {name}"):
        body = _body(name, shape, len(source.class_names), len(source.train))
    front: list[Any] = [_scaling(source.train)]
    if arguments.augment:
        if sample.ndim != 3:
            raise CommandError(f"--augment is for images; the samples have shape {shape}")
        front += [layers.RandomFlip("horizontal"), layers.RandomTranslation(0.1, 0.1)]
    return Sequential([layers.Input(shape), *front, *body], seed=arguments.seed)


def _scaling(train: Part) -> Any:
    """A layer that brings values to about 1."""
    sample = train.sample
    if sample.dtype == np.uint8:
        return layers.Rescaling(1 / 255)
    scaling = layers.Normalization()
    scaling.adapt(train.x)
    return scaling


def _body(name: str, shape: tuple[int, ...], classes: int, samples: int) -> list[Any]:
    """The layers of a network by its name on the command line."""
    if name == "auto":
        return auto(shape, classes, samples)
    if len(shape) != 3 and name != "tcn":
        raise CommandError(f"--model {name} is for images; the samples have shape {shape}: take auto")
    if name == "simple":
        return _simple(classes)
    options: dict[str, Any] = {"input_shape": shape, "classes": classes}
    match = re.fullmatch(rf"({'|'.join(_NUMBERED)})(\d+)", name)
    if match:
        # The papers' 0.99 would not settle in as few steps.
        if match[1] == "resnet":
            options["momentum"] = 0.9
        return [_NUMBERED[match[1]](int(match[2]), **options)]
    if name not in _NAMED:
        known = ", ".join(("auto", "simple", *_NAMED, *(f"{kind}N" for kind in _NUMBERED)))
        raise CommandError(f"--model {name}: expected one of {known} (resnet20, vgg11)")
    if name == "mobilenet":
        options["momentum"] = 0.9
    return [_NAMED[name](**options)]


def _simple(classes: int) -> list[Any]:
    """The network of the README."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(classes),
    ]
