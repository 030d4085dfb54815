"""Runs a program under Keras or under gridnn, and records what its models do.

The programs are written for Keras. Under gridnn their imports say `gridnn` instead, and nothing else changes.
Every `fit` is recorded: the outputs before training, the losses and metrics, unshuffled. The weights that
each of them begins with may be those of another run::

    python tests/python/programs/running.py keras mnist_convnet --weights in.npz --record out.json

This file needs NumPy and the package that is asked for.
"""

import argparse
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
NAMES = sorted(
    path.stem for path in FOLDER.glob("*.py") if re.search(r"^import keras$", path.read_text(), re.MULTILINE)
)

_FACTORS = re.compile(
    r"(\w*Dropout(?:\dD)?|GaussianNoise|Random(?:Rotation|Zoom|Translation))\(([\w=., ]*?)\)"
)


def source(name, package, *, quiet=False):
    """The text of a program.

    Args:
        name: of the program.
        package: "keras" or "gridnn".
        quiet: whether layers that draw random numbers get a rate or factor of 0; flips are left out.
    """
    text = (FOLDER / f"{name}.py").read_text()
    if package != "keras":
        text = re.sub(r"^import keras$", f"import {package} as keras", text, flags=re.MULTILINE)
        text = re.sub(r"^from keras\b", f"from {package}", text, flags=re.MULTILINE)
    if quiet:
        text = re.sub(r"^.*layers\.RandomFlip\(.*\n", "", text, flags=re.MULTILINE)
        text = _FACTORS.sub(lambda found: f"{found[1]}({re.sub(r'[0-9.]+', '0.0', found[2])})", text)
    return text


def is_random(name):
    """Whether a program has layers that draw random numbers."""
    return source(name, "keras") != source(name, "keras", quiet=True)


class Recorder:
    """Stands in front of `fit` while a program runs.

    Args:
        weights: those that every `fit` begins with; None for the model's own.
    """

    def __init__(self, weights=None):
        self.given = weights
        self.weights = []
        self.outputs = []
        self.histories = []
        self.models = []

    def around(self, fit):
        """`fit`, recorded."""

        def recorded(model, x=None, y=None, *args, **kwargs):
            number = len(self.weights)
            if self.given is not None:
                model.set_weights(self.given[number])
            self.weights.append([np.array(weight) for weight in model.get_weights()])
            self.models.append(model)
            made = model.predict(first_rows(x), verbose=0)
            self.outputs.append([np.asarray(one) for one in (made if isinstance(made, list) else [made])])
            history = fit(model, x, y, *args, **{**kwargs, "shuffle": False})
            self.histories.append(
                {key: [float(v) for v in values] for key, values in history.history.items()}
            )
            return history

        return recorded


def first_rows(x):
    """A few samples of what `fit` was given."""
    if isinstance(x, (list, tuple)):
        return [rows[:16] for rows in x]
    return x[:16] if isinstance(x, np.ndarray) else x[0][0][:16]


def run(name, package, *, weights=None, quiet=False):
    """Runs a program in a temporary folder.

    Returns:
        The names it has defined, what was recorded, and what it has printed.
    """
    keras = __import__(package)
    recorder, fit = Recorder(weights), keras.Model.fit
    module = types.ModuleType(f"{package}_{name}")
    sys.modules[module.__name__] = module  # classes of the program can be pickled
    printed = io.StringIO()
    before = os.getcwd()
    sys.path.insert(0, str(FOLDER))
    try:
        with tempfile.TemporaryDirectory(prefix="program-") as folder, contextlib.redirect_stdout(printed):
            os.chdir(folder)
            keras.Model.fit = recorder.around(fit)
            code = compile(source(name, package, quiet=quiet), str(FOLDER / f"{name}.py"), "exec")
            exec(code, vars(module))  # noqa: S102
    finally:
        os.chdir(before)
        keras.Model.fit = fit
        sys.path.remove(str(FOLDER))
    return vars(module), recorder, printed.getvalue()


def plain(value):
    """Numbers as JSON has them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, str) else float(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", choices=["keras", "gridnn"])
    parser.add_argument("program", choices=NAMES)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--weights", help="a file that holds them, of every `fit` one after the other")
    parser.add_argument("--record", help="where to write what was recorded, and beside it the outputs")
    options = parser.parse_args()
    weights = None if options.weights is None else read_weights(options.weights)
    names, recorder, printed = run(options.program, options.package, weights=weights, quiet=options.quiet)
    if options.record:
        record = {"histories": recorder.histories, "results": plain(names["results"])}
        Path(options.record).write_text(json.dumps(record))
        write_weights(Path(options.record).with_suffix(".npz"), recorder.outputs)
    else:
        print(printed)


def write_weights(path, groups):
    """Lists of arrays as one file."""
    np.savez(path, **{f"{i}/{j}": array for i, group in enumerate(groups) for j, array in enumerate(group)})


def read_weights(path):
    """What `write_weights` wrote."""
    with np.load(path) as arrays:
        groups = {}
        for key in arrays.files:
            groups.setdefault(int(key.partition("/")[0]), []).append(arrays[key])
    return [groups[number] for number in sorted(groups)]


if __name__ == "__main__":
    main()
