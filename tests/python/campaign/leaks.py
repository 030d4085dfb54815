"""Memory after many repetitions of the same, failures included."""

import copy
import pickle

import numpy as np

import gridnn as gn
from gridnn import functional, layers

_REPETITIONS = 200
# Allocators keep what they have been given back for a while; a leak of 400 bytes a repetition is found.
_SLACK = 80 * 1024


def attempt(number, folder):
    """Repeats one operation; the number of repetitions."""
    names = sorted(_OPERATIONS)
    name = names[number % len(names)]
    work = _OPERATIONS[name](folder)
    for _ in range(_REPETITIONS // 2):
        work()
    # What has been allocated may come in steps: the smallest growth of three counts.
    growths = []
    for _ in range(3):
        before = _resident()
        for _ in range(_REPETITIONS):
            work()
        growths.append(_resident() - before)
    assert min(growths) <= _SLACK, f"{name}: {growths} bytes more after {_REPETITIONS} repetitions each"
    return 3 * _REPETITIONS


def _resident():
    """Bytes of anonymous memory of this process."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


def _built():
    model = gn.Sequential(
        [
            gn.Input((8, 8, 2)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3),
        ],
        seed=0,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, np.ones((8, 8, 8, 2), np.float32), np.arange(8) % 3


def _refused(call):
    try:
        call()
    except (ValueError, ArithmeticError):
        return
    raise AssertionError("was not refused")


def _fit(folder):
    model, x, y = _built()
    return lambda: model.fit(x, y, verbose=0)


def _predict(folder):
    model, x, _ = _built()
    return lambda: model.predict(x, verbose=0)


def _make(folder):
    return lambda: _built()[0].get_weights()


def _save(folder):
    model, _, _ = _built()
    return lambda: (model.save(folder / "leak.gridnn"), gn.load_model(folder / "leak.gridnn"))


def _copy(folder):
    model, _, _ = _built()
    return lambda: (copy.deepcopy(model), pickle.loads(pickle.dumps(model)))


def _functional(folder):
    x, kernel = np.ones((1, 9, 9, 2), np.float32), np.ones((3, 3, 2, 4), np.float32)
    return lambda: (functional.conv2d(x, kernel), functional.max_pool2d(x), functional.pad2d(x, [(1, 1)] * 2))


def _bad_call(folder):
    x, kernel = np.ones((1, 9, 9, 2), np.float32), np.ones((3, 3, 3, 4), np.float32)
    return lambda: _refused(lambda: functional.conv2d(x, kernel))


def _bad_step(folder):
    model, x, y = _built()
    return lambda: _refused(lambda: model.train_on_batch(np.full_like(x, np.nan), y))


def _shapes(folder):
    model = gn.Sequential([gn.Input((None, 2)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D()], seed=0)
    lengths = iter(range(10**9))
    return lambda: model.predict(np.ones((1, 8 + next(lengths) % 60, 2), np.float32), verbose=0)


_OPERATIONS = {
    "bad call": _bad_call,
    "bad step": _bad_step,
    "copy": _copy,
    "fit": _fit,
    "functional": _functional,
    "make": _make,
    "predict": _predict,
    "save and load": _save,
    "many shapes": _shapes,
}
