"""Entry points of gridnn under falling limits of address space, each try in a process of its own.

`ENTRIES` has a function per entry point that prepares what the call needs and returns the call. `attempt`
runs one of them in a child: it prepares, sets the limit some megabytes above what the process has, and calls.
What may come out is a result or MemoryError; a panic, another exception, a signal or no end in time is a
fault. After a MemoryError the limit is lifted and the call must work: nothing is left broken.

    python tests/python/memory_limited.py            # a table of all entries and limits
"""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[], object]

MIB = 1 << 20
LIMITS = (0, 1, 4, 16, 48, 120)
"""Megabytes of address space that a call finds."""
TIMEOUT = 120


def _model(*layers: Any, input_shape: tuple[int | None, ...], compiled: bool = True, **options: Any) -> Any:
    import gridnn as gn

    model = gn.Sequential([gn.Input(input_shape), *layers])
    if compiled:
        model.compile(optimizer="adam", loss="mse", **options)
    return model


def _wide() -> Any:
    from gridnn import layers

    return _model(layers.Dense(2000), layers.Dense(1), input_shape=(1500,))


def _image_model() -> Any:
    from gridnn import layers

    return _model(
        layers.Conv2D(16, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.BatchNormalization(),
        layers.Conv2D(16, 5, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1),
        input_shape=(64, 64, 3),
    )


def get_weights() -> Call:
    return _wide().get_weights


def set_weights() -> Call:
    model = _wide()
    weights = model.get_weights()
    return lambda: model.set_weights(weights)


def set_weights_transposed() -> Call:
    model = _wide()
    weights = [np.asfortranarray(weight) for weight in model.get_weights()]
    return lambda: model.set_weights(weights)


def _unchanged(model: Any, call: Call) -> Call:
    """`call`, which is made again with all memory if there was too little: the model must be as before."""
    before = [weight.copy() for weight in model.get_weights()]
    tries: list[None] = []

    def checked() -> object:
        if tries:
            same = (np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
            assert all(same), "some weights were set before there was a MemoryError"
        tries.append(None)
        return call()

    return checked


def set_layer_weights() -> Call:
    model = _wide()
    weights = [np.asfortranarray(np.zeros_like(weight)) for weight in model.layers[0].get_weights()]
    return _unchanged(model, lambda: model.layers[0].set_weights(weights))


def _file(name: str) -> str:
    """A path in a folder that goes with the process."""
    _FOLDERS.append(tempfile.TemporaryDirectory())
    return os.path.join(_FOLDERS[-1].name, name)


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def save() -> Call:
    model, path = _wide(), _file("model.gridnn")
    return lambda: model.save(path)


def load_model() -> Call:
    import gridnn as gn

    model, path = _wide(), _file("model.gridnn")
    model.save(path)
    return lambda: gn.load_model(path)


def load_weights() -> Call:
    model, other, path = _wide(), _wide(), _file("model.weights.gridnn")
    other.save_weights(path)
    return _unchanged(model, lambda: model.load_weights(path))


def pickle_model() -> Call:
    model = _wide()
    return lambda: pickle.loads(pickle.dumps(model))


def deepcopy_model() -> Call:
    model = _wide()
    return lambda: copy.deepcopy(model)


def build_orthogonal() -> Call:
    from gridnn import layers

    return lambda: _model(layers.Dense(1000, kernel_initializer="orthogonal"), input_shape=(1000,))


def compile_adam() -> Call:
    model = _wide()
    return lambda: model.compile(optimizer="adam", loss="mse")


def optimizer_state() -> Call:
    model = _wide()
    return lambda: model._network.optimizer_state()


def fit() -> Call:
    model = _image_model()
    x, y = np.ones((64, 64, 64, 3), np.float32), np.ones((64, 1), np.float32)
    return lambda: model.fit(x, y, batch_size=32, epochs=1, verbose=0)


def fit_constrained() -> Call:
    from gridnn import layers

    model = _model(
        layers.Dense(600, kernel_constraint="unit_norm", kernel_regularizer="orthogonal_regularizer"),
        layers.Dense(1),
        input_shape=(600,),
    )
    x, y = np.ones((32, 600), np.float32), np.ones((32, 1), np.float32)
    return lambda: model.fit(x, y, epochs=1, verbose=0)


def fit_permutation() -> Call:
    from gridnn import _core

    return lambda: _core.permutation(4_000_000, 1, 1)


def evaluate() -> Call:
    model = _image_model()
    x, y = np.ones((64, 64, 64, 3), np.float32), np.ones((64, 1), np.float32)
    return lambda: model.evaluate(x, y, batch_size=64, verbose=0)


def predict() -> Call:
    from gridnn import layers

    model = _model(layers.Conv2D(8, 3), input_shape=(None, None, 1))
    x = np.ones((1, 900, 900, 1), np.float32)
    return lambda: model.predict(x, verbose=0)


def inspect_model() -> Call:
    from gridnn import inspect

    model = _image_model()
    x = np.ones((32, 64, 64, 3), np.float32)
    return lambda: inspect.activations(model, x)


def fit_large_batch() -> Call:
    from gridnn import layers

    model = _model(layers.Dense(1000), input_shape=(10,), compiled=False)

    model.compile(optimizer="sgd", loss="mae")
    x, y = np.ones((2000, 10), np.float32), np.ones((2000, 1000), np.float32)
    return lambda: model.fit(x, y, batch_size=2000, verbose=0)


def tables_of_layers() -> Call:
    from gridnn import layers

    model = _model(
        layers.ZeroPadding2D(3),
        layers.Permute((2, 1, 3)),
        layers.PReLU(),
        layers.LayerNormalization(),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.SpatialDropout2D(0.1),
        input_shape=(300, 300, 2),
        compiled=False,
    )
    x = np.ones((1, 300, 300, 2), np.float32)
    return lambda: model.predict(x, verbose=0)


def _conv(
    name: str, shapes: tuple[tuple[int, ...], ...], *arguments: Any, dtype: str = "float32", **options: Any
) -> Callable[[], Call]:
    def prepare() -> Call:
        from gridnn import functional

        function = getattr(functional, name)
        arrays = [np.ones(shape, dtype) for shape in shapes]
        return lambda: function(*arrays, *arguments, **options)

    return prepare


def conv_strided_view() -> Call:
    from gridnn import functional

    x, kernel = (
        np.ones((4, 16, 512, 512), np.float32).transpose(0, 2, 3, 1),
        np.ones((3, 3, 16, 4), np.float32),
    )
    return lambda: functional.conv2d(x, kernel)


IMAGE, FEW = (2, 400, 400, 8), (2, 400, 400, 1)
ENTRIES: dict[str, Callable[[], Call]] = {
    function.__name__: function
    for function in (
        get_weights,
        set_weights,
        set_weights_transposed,
        set_layer_weights,
        save,
        load_model,
        load_weights,
        pickle_model,
        deepcopy_model,
        build_orthogonal,
        compile_adam,
        optimizer_state,
        fit,
        fit_constrained,
        fit_permutation,
        evaluate,
        predict,
        inspect_model,
        fit_large_batch,
        tables_of_layers,
        conv_strided_view,
    )
} | {
    "conv1d": _conv("conv1d", ((1, 2_000_000, 2), (5, 2, 4))),
    "conv1d_reflect": _conv("conv1d", ((1, 1_000_000, 1), (3, 1, 2)), padding=1, padding_mode="reflect"),
    "conv2d": _conv("conv2d", (IMAGE, (3, 3, 8, 16)), padding="same"),
    "conv2d_winograd": _conv("conv2d", ((2, 200, 200, 128), (3, 3, 128, 128)), padding="same"),
    "conv2d_float64": _conv("conv2d", (IMAGE, (3, 3, 8, 16)), padding="same", dtype="float64"),
    "conv2d_kernel_grad": _conv("conv2d_kernel_grad", (IMAGE, (2, 398, 398, 64)), (3, 3, 8, 64)),
    "conv2d_kernel_grad_large": _conv(
        "conv2d_kernel_grad", ((4, 12, 12, 1024), (4, 10, 10, 1024)), (3, 3, 1024, 1024)
    ),
    "conv2d_input_grad": _conv("conv2d_input_grad", ((2, 398, 398, 16), (3, 3, 8, 16)), IMAGE),
    "conv2d_transpose": _conv("conv2d_transpose", (IMAGE, (3, 3, 4, 8)), strides=2),
    "conv3d": _conv("conv3d", ((1, 60, 60, 60, 4), (3, 3, 3, 4, 8))),
    "depthwise_conv2d": _conv("depthwise_conv2d", (IMAGE, (5, 5, 8, 1))),
    "separable_conv2d": _conv("separable_conv2d", (IMAGE, (3, 3, 8, 1), (1, 1, 8, 16))),
    "pad1d": _conv("pad1d", ((1, 1_000_000, 1),), (5, 7), mode="reflect"),
    "pad1d_grad": _conv("pad1d_grad", ((1, 1_000_012, 1),), (5, 7), mode="reflect"),
    "max_pool2d": _conv("max_pool2d", (IMAGE,), 3),
    "average_pool2d": _conv("average_pool2d", (IMAGE,), 3),
}


def _child(name: str, megabytes: int) -> None:
    import contextlib
    import importlib
    import pkgutil
    import random  # noqa: F401  # what Python itself loads late is not what is tried
    import resource
    import secrets  # noqa: F401

    import gridnn

    for module in pkgutil.walk_packages(gridnn.__path__, "gridnn."):
        if not module.name.startswith(("gridnn.__main__", "gridnn.bench", "gridnn.lab", "gridnn.plot")):
            with contextlib.suppress(ImportError):  # of a package that is not installed
                importlib.import_module(module.name)
    call = ENTRIES[name]()
    with open("/proc/self/statm", encoding="ascii") as statm:
        have = int(statm.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (have + megabytes * MIB, hard))
    try:
        call()
        outcome = "done"
    except MemoryError:
        outcome = "MemoryError"
    except BaseException as error:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        outcome = f"{type(error).__name__}: {error}"
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if outcome == "MemoryError":
        call()
    print(outcome)


def attempt(name: str, megabytes: int, timeout: float = TIMEOUT) -> str:
    """Calls an entry point with so much memory left: "done", "MemoryError", or what went wrong."""
    source = Path(__file__)
    # OpenBLAS takes address space for each of its threads, and glibc for each arena.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    command = [sys.executable, str(source), name, str(megabytes)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return "no end"
    if child.returncode != 0:
        return f"exit {child.returncode}: {child.stderr.strip()[-600:]}"
    return child.stdout.strip()


def sound(outcome: str) -> bool:
    """Whether an outcome is one that is promised."""
    return outcome in ("done", "MemoryError")


def main() -> None:
    """Tries all entries under all limits, or one of them in this process."""
    if len(sys.argv) == 3:
        _child(sys.argv[1], int(sys.argv[2]))
        return
    names = sys.argv[1:] or list(ENTRIES)
    for name in names:
        outcomes = [attempt(name, megabytes) for megabytes in LIMITS]
        short = ["." if o == "done" else "M" if o == "MemoryError" else "FAULT" for o in outcomes]
        print(name.ljust(28), *short, flush=True)
        for outcome in outcomes:
            if not sound(outcome):
                print("    ", outcome, flush=True)


if __name__ == "__main__":
    main()
