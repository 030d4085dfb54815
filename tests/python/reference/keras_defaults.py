"""Writes what the constructors of Keras take, for the classes that are ours too: `keras_defaults.json`.

Run where Keras is installed::

    KERAS_BACKEND=numpy python tests/python/reference/keras_defaults.py
"""

import inspect
import json
from pathlib import Path

import keras

MODULES = {
    "layers": keras.layers,
    "losses": keras.losses,
    "metrics": keras.metrics,
    "optimizers": keras.optimizers,
    "schedules": keras.optimizers.schedules,
    "initializers": keras.initializers,
    "regularizers": keras.regularizers,
    "constraints": keras.constraints,
    "callbacks": keras.callbacks,
}
HERE = Path(__file__).parent


def arguments(cls):
    """Name -> repr of the default; None where there is none."""
    found = {}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name != "self" and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            found[name] = None if parameter.default is parameter.empty else repr(parameter.default)
    return found


def main():
    source = HERE.parents[2] / "python" / "gridnn"
    ours = {path.stem: path.read_text() for path in source.rglob("*.py")}
    text = "\n".join(ours.values())
    table = {"version": keras.__version__}
    for name, module in MODULES.items():
        classes = {key: value for key, value in vars(module).items() if inspect.isclass(value)}
        table[name] = {
            key: arguments(value) for key, value in sorted(classes.items()) if f"class {key}(" in text
        }
    (HERE / "keras_defaults.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
