"""gridnn: convolutional networks on grids (series, images, volumes), trained on the CPU.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> from gridnn import layers
    >>> model = gn.Sequential([
    ...     gn.Input((8, 8, 1)),
    ...     layers.Conv2D(4, 3, activation="relu"),
    ...     layers.GlobalAveragePooling2D(),
    ...     layers.Dense(10),
    ... ])
    >>> model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> history = model.fit(np.zeros((20, 8, 8, 1)), np.zeros(20, int), epochs=2, verbose=0, seed=0)
    >>> sorted(history.history)
    ['accuracy', 'loss']

Only the compiled engine is loaded at once; everything else when it is first used.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from gridnn._engine import get_num_threads, set_convolution_algorithm, set_num_threads, simd_tier
from gridnn._engine import version as __version__

if TYPE_CHECKING:
    from gridnn import (
        activations,
        callbacks,
        constraints,
        data,
        datasets,
        distribute,
        errors,
        filters,
        functional,
        initializers,
        inspect,
        interop,
        kernels,
        lab,
        layers,
        losses,
        metrics,
        models,
        optimizers,
        plot,
        regularizers,
        schedules,
        utils,
    )
    from gridnn._lr_finder import lr_finder
    from gridnn._report import report
    from gridnn._seeding import set_random_seed
    from gridnn._versions import show_versions
    from gridnn.interop.onnx.reader import from_onnx
    from gridnn.layers import Input
    from gridnn.model.functional import Model
    from gridnn.model.loading import load_model
    from gridnn.model.sequential import Sequential
    from gridnn.model.trainer import Trainer

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "Trainer",
    "__version__",
    "activations",
    "callbacks",
    "constraints",
    "data",
    "datasets",
    "distribute",
    "errors",
    "filters",
    "from_onnx",
    "functional",
    "get_num_threads",
    "initializers",
    "inspect",
    "interop",
    "kernels",
    "lab",
    "layers",
    "load_model",
    "losses",
    "lr_finder",
    "metrics",
    "models",
    "optimizers",
    "plot",
    "regularizers",
    "report",
    "schedules",
    "set_convolution_algorithm",
    "set_num_threads",
    "set_random_seed",
    "show_versions",
    "simd_tier",
    "utils",
]

_SUBMODULES = (
    "activations",
    "callbacks",
    "constraints",
    "data",
    "datasets",
    "distribute",
    "errors",
    "filters",
    "functional",
    "initializers",
    "inspect",
    "interop",
    "kernels",
    "lab",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "regularizers",
    "plot",
    "schedules",
    "utils",
)

_HOMES = {
    "Input": "gridnn.layers",
    "Model": "gridnn.model.functional",
    "Sequential": "gridnn.model.sequential",
    "Trainer": "gridnn.model.trainer",
    "from_onnx": "gridnn.interop.onnx.reader",
    "load_model": "gridnn.model.loading",
    "lr_finder": "gridnn._lr_finder",
    "report": "gridnn._report",
    "set_random_seed": "gridnn._seeding",
    "show_versions": "gridnn._versions",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"gridnn.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value  # found without this function from now on
        return value
    # Only what is imported already is asked: programs ask for names that they do not count on.
    homes = [
        home for home in _SUBMODULES if name in getattr(sys.modules.get(f"gridnn.{home}"), "__all__", ())
    ]
    cure = f"; it is gridnn.{homes[0]}.{name}" if homes else ""
    raise AttributeError(f"module 'gridnn' has no attribute {name!r}{cure}")


def __dir__() -> list[str]:
    return sorted(__all__)
