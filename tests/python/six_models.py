"""The six models of the training-step bench, small batches for them, and what the exactness tests do.

Run as a script in a process of its own: `six_models.py steps NAME STEPS THREADS` trains and prints a digest
of the weights, `six_models.py epoch NAME FILE EPOCH` trains the model in FILE for one more epoch.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benches" / "python"))
from models import CLASSES, MODELS

__all__ = ["BATCHES", "CLASSES", "MODELS", "OPTIMIZER", "batches", "first_weights"]

# Smaller than those of the bench where a step is long, but always several samples.
BATCHES = {
    "mnist-convnet": 32,
    "lenet5": 32,
    "cifar-vgg": 8,
    "seed-128": 2,
    "audio-1d": 8,
    "voxel-3d": 4,
}
# Numbers that float32 holds exactly: Keras rounds them to it in either precision.
OPTIMIZER = {"learning_rate": 2**-10, "beta_1": 1 - 2**-3, "beta_2": 1 - 2**-10, "epsilon": 2**-23}


def batches(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs `(count, batch, ...)` and labels; RandomState's streams are frozen for good."""
    random = np.random.RandomState(7)
    x = random.standard_normal((count, BATCHES[name], *MODELS[name].input_shape))
    return x.astype(np.float32), random.randint(0, CLASSES, (count, BATCHES[name]))


def first_weights(shapes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Glorot's uniform kernels and small biases, for whoever asks: gridnn or Keras."""
    random = np.random.RandomState(11)
    weights = []
    for shape in shapes:
        fans = np.prod(shape[:-2]) * (shape[-2] + shape[-1]) if len(shape) > 1 else 600
        limit = np.sqrt(6 / fans)
        weights.append(random.uniform(-limit, limit, shape).astype(np.float32))
    return weights


def build(name: str, dtype: str = "float32", optimizer: dict[str, Any] | None = None) -> Any:
    """A compiled gridnn model with `first_weights`."""
    import gridnn as gn
    from gridnn.bench import _own

    plain = _own.build(MODELS[name])
    model = gn.Sequential.from_config({**plain.get_config(), "dtype": dtype})
    model.set_weights(first_weights([weight.shape for weight in model.get_weights()]))
    model.compile(gn.optimizers.Adam(**(optimizer or {})), "sparse_categorical_crossentropy")
    return model


def digest(model: Any) -> str:
    """Of all weights."""
    return hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights())).hexdigest()


def after_steps(name: str, steps: int) -> str:
    """Digest of the weights after some steps on batches that come round."""
    model = build(name)
    x, y = batches(name, 4)
    for step in range(steps):
        model.train_on_batch(x[step % len(x)], y[step % len(y)])
    return digest(model)


def epochs(model: Any, name: str, first: int, last: int) -> None:
    """Trains epochs `first` to `last`, shuffled, the last batch of each smaller than the others."""
    x, y = batches(name, 3)
    x, y = x.reshape(-1, *x.shape[2:])[:-1], y.reshape(-1)[:-1]
    seed = {"seed": 5} if first == 0 else {}  # afterwards the file knows it
    model.fit(x, y, BATCHES[name], initial_epoch=first, epochs=last, verbose=0, **seed)


def main() -> None:
    """See the top of this file."""
    import gridnn as gn

    if sys.argv[1] == "steps":
        name, steps, threads = sys.argv[2:]
        gn.set_num_threads(int(threads))
        print(after_steps(name, int(steps)))
    else:
        name, path, epoch = sys.argv[2:]
        model = gn.load_model(path)
        epochs(model, name, int(epoch), int(epoch) + 1)
        model.save(path)


if __name__ == "__main__":
    main()
