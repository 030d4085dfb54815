"""What ``mpiexec`` starts in the tests: trains a small model with all ranks, prints digests of what is left.

    mpiexec -n 3 python mpi_program.py CASE [RANK]

RANK does something that the others do not: see `trouble`.
"""

import argparse
import hashlib
import json
import os
import signal
import sys

import numpy as np

import gridnn as gn
from gridnn import layers


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--alone", action="store_true", help="a single process, without MPI")
    parser.add_argument("--trouble", default="")
    parser.add_argument("--rank", type=int, default=0, help="of the trouble")
    parser.add_argument("--backup", default="")
    return parser.parse_args()


def images(channels=2, size=8, samples=44):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, size, size, channels)).astype("float32")
    return x, rng.integers(0, 3, samples)


def norm_dropout():
    return [
        gn.Input((8, 8, 2)),
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.1, 0.1),
        layers.Conv2D(6, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Residual([layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization()]),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(16, activation="relu"),
        layers.Dropout(0.3),
        layers.Dense(3),
    ]


def sequential(own, optimizer="adam"):
    model = gn.Sequential(own, seed=1)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def cases(name):
    """Model, data and arguments of `fit`."""
    options = {"batch_size": 12, "epochs": 2, "validation_split": 0.2, "seed": 5}
    if name == "norm-dropout":
        return sequential(norm_dropout()), *images(), options
    if name == "clipping":
        adam = gn.optimizers.AdamW(0.01, global_clipnorm=0.3, use_ema=True)
        return sequential(norm_dropout(), adam), *images(), options
    if name == "resnet18":
        model = gn.models.resnet(18, input_shape=(16, 16, 3), classes=3, width=8)
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model, *images(3, 16, 16), {"batch_size": 12, "epochs": 1, "seed": 5}
    if name == "unet3d":
        rng = np.random.default_rng(4)
        model = gn.models.unet(input_shape=(8, 8, 8, 1), classes=2, width=4, depth=2)
        model.compile("adam", "sparse_categorical_crossentropy")
        x = rng.normal(size=(10, 8, 8, 8, 1)).astype("float32")
        return model, x, rng.integers(0, 2, (10, 8, 8, 8)), {"batch_size": 9, "epochs": 1, "seed": 5}
    raise SystemExit(f"no case {name}")


class Trouble(gn.callbacks.Callback):
    """Makes one rank fail in some way, at the second batch."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def on_train_batch_end(self, batch, logs=None):
        if batch != 1:
            return
        if self.kind == "raise":
            raise ValueError("the disk is full")
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.kind == "hook":
            os._exit(3)


def digest(model, history):
    whole = hashlib.sha256()
    for weights in model.get_weights():
        whole.update(weights.tobytes())
    for _, slot in sorted(model.network.optimizer_state().items()):
        whole.update(slot.tobytes())
    whole.update(json.dumps(history.history).encode())
    return whole.hexdigest()


def main():
    own = arguments()
    dist = None if own.alone else gn.distribute.MPI()
    rank = 0 if dist is None else dist.rank
    if dist is None:
        gn.set_num_threads(1)
    gn.set_random_seed(1)
    model, x, y, options = cases(own.case)
    troubled = bool(own.trouble) and rank == own.rank
    if own.trouble == "outside" and troubled:
        raise RuntimeError("this rank never comes to fit")
    if own.trouble == "infinity":
        x = x.copy()
        x[own.rank * 5 % len(x)] = np.inf
    if own.trouble == "weights" and troubled:
        model.set_weights([weights + 1 for weights in model.get_weights()])
    if own.trouble == "targets" and troubled:
        y = y[::-1].copy()
    if own.trouble == "batch" and troubled:
        options["batch_size"] = 7
    callbacks = [Trouble(own.trouble if troubled else "")]
    if own.backup:
        callbacks.append(gn.callbacks.BackupAndRestore(own.backup, save_freq=1))
    history = model.fit(x, y, verbose=0, callbacks=callbacks, distribute=dist, **options)
    result = [digest(model, history), hashlib.sha256(model.predict(x, distribute=dist).tobytes()).hexdigest()]
    if dist is not None:
        everyone = dist.values(result)
        assert all(each == result for each in everyone), everyone
    if rank == 0:
        print("DIGEST", json.dumps(result), flush=True)


if __name__ == "__main__":
    sys.exit(main())
