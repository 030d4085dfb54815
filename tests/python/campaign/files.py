"""Damaged and hostile files: bytes flipped, cut and moved; descriptions that say something else."""

import contextlib
import functools
import gzip
import json
import random
import struct
from pathlib import Path

import numpy as np

import gridnn as gn
from gridnn import _engine, layers
from gridnn.errors import FileFormatError

_EDGES = [0, -1, 1, 2, 3, 7, 2**16, 2**31, 2**33, 2**53, 2**62, 2**63, 2**64, -(2**63), 1e-320, 1e308, 0.5]
_ODDITIES = [None, True, "", "relu", "valid", [], [1], {}, "\u0000", "x" * 5000, [[1, 2], [3, 4]]]
# A description may ask for a model that is merely large; more than this is not built here.
_LARGEST = 1 << 22


def attempt(number, folder):
    """Loads one damaged file; 1."""
    rng = random.Random(number)
    kind = number % 5
    if kind == 4:
        _idx(rng, folder)
    elif kind == 3:
        _description(rng, folder)
    else:
        _bytes(rng, folder)
    return 1


def _models():
    """One model of each kind of layer that a file can hold, small."""
    yield gn.Sequential(
        [
            gn.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip(),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2", padding="same"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Residual([layers.Conv2D(4, 3, padding="same"), layers.PReLU()]),
            layers.SeparableConv2D(6, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(5, kernel_constraint="max_norm"),
        ],
        seed=0,
    )
    yield gn.Sequential(
        [
            gn.Input((20, 2)),
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2),
            layers.GroupNormalization(2),
            layers.DepthwiseConv1D(3),
            layers.UpSampling1D(2),
            layers.Conv1DTranspose(3, 4, strides=2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ],
        seed=0,
    )
    yield gn.Sequential(
        [gn.Input((5, 5, 5, 1)), layers.ZeroPadding3D(1), layers.Conv3D(2, 3), layers.AveragePooling3D(2)],
        seed=0,
    )


@functools.cache
def _originals(folder):
    """(bytes, tensors, metadata) of files that the library wrote."""
    originals = []
    for index, model in enumerate(_models()):
        model.compile("adam", "mse" if index == 2 else "sparse_categorical_crossentropy", metrics=[])
        x = np.zeros((2, *model.input_shape[1:]), np.float32)
        y = np.zeros((2, *model.output_shape[1:])) if index == 2 else np.zeros(2, int)
        model.fit(x, y, epochs=1, verbose=0)
        path = folder / f"original-{index}.gridnn"
        model.save(path)
        originals.append((path.read_bytes(), *_engine.load_tensors(path)))
    return originals


def _load(path):
    """The model, or None where the file was refused with one of the errors that may come."""
    try:
        return gn.load_model(path)
    except (FileFormatError, OSError, MemoryError):
        return None


def _bytes(rng, folder):
    whole, _, _ = rng.choice(_originals(folder))
    damaged = bytearray(whole)
    way = rng.choice(["bit", "bit", "byte", "cut", "insert", "swap", "length", "zeros"])
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    at = rng.randrange(header) if rng.random() < 0.5 else rng.randrange(len(whole))
    if way == "bit":
        damaged[at] ^= 1 << rng.randrange(8)
    elif way == "byte":
        damaged[at] = rng.randrange(256)
    elif way == "cut":
        del damaged[at:]
    elif way == "insert":
        damaged[at:at] = rng.randbytes(rng.choice([1, 8, 4096]))
    elif way == "swap":
        other = rng.randrange(len(whole))
        damaged[at], damaged[other] = damaged[other], damaged[at]
    elif way == "length":
        damaged[:8] = struct.pack("<Q", rng.choice([0, 1, header, len(whole), 2**40, 2**63, 2**64 - 1]))
    else:
        end = min(at + rng.choice([1, 64, 4096]), len(whole))
        damaged[at:end] = bytes(end - at)
    path = folder / "damaged.gridnn"
    path.write_bytes(damaged)
    model = _load(path)
    path.unlink()
    assert model is None or bytes(damaged) == whole, f"{way} at {at} of {len(whole)} was not noticed"


def _mutated(rng, value):
    """`value` with one of its leaves replaced."""
    if isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        if rng.random() < 0.05:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _mutated(rng, value[key])}
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value + [value[at]] * rng.choice([1, 3, 40])
        return [*value[:at], _mutated(rng, value[at]), *value[at + 1 :]]
    return rng.choice(_EDGES if rng.random() < 0.7 else _ODDITIES)


def _description(rng, folder):
    """A whole file whose JSON says something else than the library wrote."""
    _, tensors, metadata = rng.choice(_originals(folder))
    metadata = dict(metadata)
    key = rng.choice(sorted(set(metadata) & {"model", "compile", "progress"}))
    metadata[key] = json.dumps(_mutated(rng, json.loads(metadata[key])))
    path = folder / "described.gridnn"
    try:
        _engine.save_tensors(path, tensors, metadata)
    except ValueError:
        return
    model = _load(path)
    path.unlink()
    if model is None or not model.built:
        return
    shape = [3 if n is None else n for n in model.input_shape[1:]]
    if np.prod([float(n) for n in shape]) > _LARGEST:
        return
    # Open sizes may not do, or a result may not fit.
    with contextlib.suppress(ValueError, MemoryError, ArithmeticError):
        model.predict(np.zeros((1, *shape), np.float32), verbose=0)


@functools.cache
def _idx_files():
    images = struct.pack(">IIII", 0x803, 3, 28, 28) + bytes(range(256)) * 9 + bytes(48)
    labels = struct.pack(">II", 0x801, 3) + bytes([1, 2, 3])
    return {"images-idx3-ubyte": images, "labels-idx1-ubyte": labels}


def _idx(rng, folder):
    data = folder / "idx"
    data.mkdir(exist_ok=True)
    victim = rng.choice(sorted(_idx_files()))
    for part in ("train", "t10k"):
        for name, whole in _idx_files().items():
            contents = gzip.compress(whole, mtime=0) if rng.random() < 0.5 else whole
            if name == victim:
                contents = bytearray(contents)
                at = rng.randrange(len(contents))
                way = rng.randrange(4)
                if way == 0:
                    contents[at] ^= 1 << rng.randrange(8)
                elif way == 1:
                    del contents[at:]
                elif way == 2:
                    contents += rng.randbytes(9)
                else:
                    contents[at % 16] = rng.randrange(256)
            Path(data / f"{part}-{name}").write_bytes(contents)
    try:
        (x, y), _ = gn.datasets.mnist(data)
    except (FileFormatError, OSError):
        return
    assert x.shape[1:] == (28, 28, 1)
    assert len(x) == len(y)
