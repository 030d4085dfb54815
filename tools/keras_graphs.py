"""Files that Keras writes of graphs that are no chain, for the tests.

It needs nothing of gridnn, and no backend that trains:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" jax scipy h5py
    KERAS_BACKEND=numpy keras-env/bin/python tools/keras_graphs.py tests/python/interop/keras_graphs.zip
"""

import importlib
import io
import os
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "numpy")
keras: Any = importlib.import_module("keras")
L = keras.layers


def two_sided() -> Any:
    """Two inputs and two outputs."""
    image, age = keras.Input((6, 5, 2), name="image"), keras.Input((3,), name="age")
    x = L.Flatten()(L.Conv2D(4, 3, activation="relu")(image))
    both = L.Concatenate()([x, L.Dense(4)(age)])
    return keras.Model(
        [image, age], [L.Dense(2, name="kind")(both), L.Dense(1, activation="sigmoid", name="risk")(both)]
    )


def siamese() -> Any:
    """A model and a layer that are called twice."""
    left, right, one = (keras.Input((6, 5, 2)) for _ in range(3))
    eye = keras.Model(one, L.Dense(3)(L.Flatten()(L.Conv2D(2, 3)(one))), name="eye")
    seen, known, conv = eye(left), eye(right), L.Conv2D(2, 1)
    outputs = [L.Dot(1, normalize=True)([seen, known]), seen - known, conv(left) + conv(right)]
    return keras.Model([left, right], outputs)


def squeeze() -> Any:
    """Squeeze and excitation: a product of maps and of a number for each."""
    image = keras.Input((6, 5, 4))
    x = L.Conv2D(4, 3, padding="same")(image)
    share = L.Dense(2, activation="relu")(L.GlobalAveragePooling2D(keepdims=True)(x))
    x = L.BatchNormalization()(x * L.Dense(4, activation="sigmoid")(share))
    return keras.Model(image, L.Dense(3)(L.GlobalMaxPooling2D()(x)))


def crossing() -> Any:
    """Branches that leave and join others halfway."""
    x = keras.Input((4,))
    a, b, c = (L.Dense(4)(x) for _ in range(3))
    first, second = L.Add()([a, b]), L.Maximum()([b, c])
    return keras.Model(x, L.Concatenate()([first, L.Minimum()([first, second]), x]))


def in_sequential() -> Any:
    """A graph as a layer of a Sequential."""
    return keras.Sequential([keras.Input((6, 5, 4)), squeeze(), L.Dense(2)])


def outputs_by_name() -> Any:
    """A model of two outputs within one whose outputs have names."""
    x, one = keras.Input((4,), name="x"), keras.Input((4,))
    two = keras.Model(one, [L.Dense(2)(one), L.Dense(3)(one)], name="two")
    first, second = two(x, training=False)
    return keras.Model({"x": x}, {"p": L.ReLU()(first), "q": second})


def rows() -> Any:
    """Joins and products along other axes than the last one."""
    a, b = keras.Input((3, 5)), keras.Input((2, 5))
    both = L.Concatenate(axis=1)([a, b])
    mean = L.Average()([both, L.Dense(5)(both)])
    return keras.Model([a, b], [L.Dot((2, 2))([both, b]), L.Subtract()([mean, both])])


def main(path: Path) -> None:
    """Writes the archive."""
    arrays: dict[str, Any] = {}
    models = (two_sided, siamese, squeeze, crossing, in_sequential, outputs_by_name, rows)
    with tempfile.TemporaryDirectory() as folder:
        for build in models:
            name = build.__name__
            keras.backend.clear_session()
            keras.utils.set_random_seed(1)
            net, rng = build(), np.random.default_rng(1)
            moved = [array + 0.3 * np.abs(rng.normal(size=array.shape)) for array in net.get_weights()]
            net.set_weights(moved)
            xs = [rng.normal(size=(2, *source.shape[1:])).astype("float32") for source in net.inputs]
            outputs = net(xs[0] if len(xs) == 1 else xs, training=False)
            outputs = outputs.values() if isinstance(outputs, dict) else outputs
            outputs = outputs if isinstance(outputs, (list, tuple)) or len(net.outputs) > 1 else [outputs]
            arrays |= {f"{name}.x{number}": x for number, x in enumerate(xs)}
            arrays |= {f"{name}.y{number}": np.asarray(y) for number, y in enumerate(outputs)}
            for ending in ("keras", "h5"):
                net.save(f"{folder}/{name}.{ending}")
            net.save_weights(f"{folder}/{name}.weights.h5")
        with io.BytesIO() as buffer, zipfile.ZipFile(path, "w") as archive:
            np.savez(buffer, **arrays)
            for file in sorted(Path(folder).iterdir()):
                archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
            archive.writestr(zipfile.ZipInfo("expected.npz"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
