"""``gridnn info``: what is installed, or what is in a saved model."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np

import gridnn as gn
from gridnn.commands.common import loaded

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="a saved model to describe instead"
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints what a bug report should contain, or the layers, classes and progress of a model."""
    if arguments.model is not None:
        _describe(arguments.model)
        return
    print(f"gridnn   {gn.__version__}")
    print(f"tier     {gn.simd_tier()}")
    print(f"threads  {gn.get_num_threads()}")
    print(f"numpy    {np.__version__}")
    print(f"python   {platform.python_version()} on {platform.system()} {platform.machine()}")


def _describe(path: Path) -> None:
    model = loaded(path)
    model.summary()
    rows = {"file": f"{path}, {path.stat().st_size / 1e6:.2f} MB"}
    if model.built:
        rows["inputs"] = f"{model.input_shape}, {model.dtype}"
    if model.class_names is not None:
        rows["classes"] = ", ".join(model.class_names)
    if model.compiled:
        rows["loss"] = type(model.loss).__name__
        rows["optimizer"] = f"{type(model.optimizer).__name__}, {model.iterations} steps"
        rows["epochs"] = str(model.epoch)
    if model.history is not None:
        last: dict[str, Any] = {name: values[-1] for name, values in model.history.history.items() if values}
        numbers = [f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, (int, float))]
        rows["last epoch"] = ", ".join(numbers)
    width = max(map(len, rows))
    print()
    for name, text in rows.items():
        print(f"{name:<{width}}  {text}")
