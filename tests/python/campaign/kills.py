"""SIGKILL at random moments of training with a backup, and of saving."""

import functools
import hashlib
import shutil

import numpy as np

import gridnn as gn
from campaign import forked
from gridnn import layers

_EPOCHS = 4


def attempt(number, folder):
    """Kills one training, or one loop of saves, several times; the number of kills."""
    return _training(number, folder) if number % 2 else _saving(number, folder)


def _data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(48, 12, 2)).astype(np.float32), rng.integers(0, 3, size=48)


def _run(backup, result, save_freq, plateau):
    """The script of a user: a model, callbacks, and the digest of what comes out in a file."""
    x, y = _data()
    model = gn.Sequential(
        [
            gn.Input((12, 2)),
            layers.Conv1D(4, 3),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(3),
        ],
        seed=1,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = [] if backup is None else [gn.callbacks.BackupAndRestore(backup, save_freq=save_freq)]
    if plateau:
        callbacks += [
            gn.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=0.5, factor=0.5),
            gn.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=0.01, restore_best_weights=True),
        ]
    model.fit(x, y, epochs=_EPOCHS, batch_size=8, verbose=0, seed=7, callbacks=callbacks)
    digest = hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()
    result.write_text(digest)


@functools.cache
def _uninterrupted(folder, plateau):
    result = folder / "uninterrupted"
    forked.finish(forked.start(lambda: _run(None, result, "epoch", plateau)))
    return result.read_text()


def _training(number, folder):
    rng = forked.moments(number)
    plateau = rng.random() < 0.5
    save_freq = rng.choice(["epoch", 1, 2, 5])
    expected = _uninterrupted(folder, plateau)
    backup, result = folder / "backup", folder / "result"
    shutil.rmtree(backup, ignore_errors=True)
    result.unlink(missing_ok=True)
    kills = 0
    # Kills come later and later, so that training ends at last.
    moment = 0.02
    while forked.killed_after(lambda: _run(backup, result, save_freq, plateau), rng.uniform(0.0, moment)):
        kills += 1
        moment *= 1.2
    assert result.read_text() == expected, f"other bytes, save_freq={save_freq}, plateau={plateau}"
    assert not backup.exists(), f"the backup's folder is left: {list(backup.iterdir())}"
    return max(kills, 1)


def _saving(number, folder):
    rng = forked.moments(number)
    path = folder / "saved" / "model.gridnn"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    kinds = {}
    for filters in (2, 3):
        model = gn.Sequential(
            [gn.Input((6, 6, 1)), layers.Conv2D(filters, 3), layers.Flatten()], seed=filters
        )
        kinds[filters] = model

    def save_for_ever():
        while True:
            for model in kinds.values():
                model.save(path)

    kinds[2].save(path)
    kills = 10
    for _ in range(kills):
        assert forked.killed_after(save_for_ever, rng.uniform(0.0, 0.01)), "the loop ended by itself"
        loaded = gn.load_model(path)
        filters = loaded.layers[-2].filters
        for found, expected in zip(loaded.get_weights(), kinds[filters].get_weights(), strict=True):
            assert found.tobytes() == expected.tobytes(), "a file that is neither the old nor the new one"
    kinds[3].save(path)
    left = sorted(p.name for p in path.parent.iterdir())
    assert left == [path.name], f"temporary files are left: {left}"
    return kills
