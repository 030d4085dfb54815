"""A run that was interrupted and goes on ends with the bytes of the run that was not."""

import copy
import json
import pickle
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(8)
X = RNG.normal(size=(28, 4)).astype(np.float32)
Y = (X[:, :3] + RNG.normal(size=(28, 3))).argmax(axis=1)
EPOCHS, SIZE = 6, 6


@pytest.fixture
def tmp_path(folder_in_memory):
    # A file in memory outlives its process as one on a disk does, where most of the time went to `fsync`.
    return folder_in_memory


class PowerCutError(Exception):
    pass


class Cut(callbacks.Callback):
    """Ends the run at a place: ``(hook, epoch, batch)``."""

    def __init__(self, place=None):
        super().__init__()
        self.place, self.epoch = place, 0

    def _at(self, *place):
        if self.place == place:
            raise PowerCutError

    def on_train_begin(self, logs=None):
        self._at("on_train_begin", 0, 0)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._at("on_epoch_begin", epoch, 0)

    def on_train_batch_begin(self, batch, logs=None):
        self._at("on_train_batch_begin", self.epoch, batch)

    def on_train_batch_end(self, batch, logs=None):
        self._at("on_train_batch_end", self.epoch, batch)

    def on_test_batch_end(self, batch, logs=None):
        self._at("on_test_batch_end", self.epoch, batch)

    def on_epoch_end(self, epoch, logs=None):
        self._at("on_epoch_end", epoch, 0)

    def on_train_end(self, logs=None):
        self._at("on_train_end", 0, 0)


class Dictate(callbacks.Callback):
    """Logs a value of its own."""

    values = (3.0, 2.0, 2.5, 1.5, 1.75, 1.6, 1.0)

    def on_epoch_end(self, epoch, logs=None):
        logs["noise"] = self.values[epoch]


class Own(callbacks.Callback):
    """A user's: it changes the learning rate by what it has counted, and keeps all kinds of values."""

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.values = [np.arange(3, dtype=">i2"), float("nan"), "text", None, {2: [True]}, np.float32(0.1)]

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen % 5 == 0:
            self.model.optimizer.learning_rate = self.model.optimizer.learning_rate * 0.9

    def state(self):
        return {"seen": self.seen, "values": self.values, "shape": np.ones((2, 0, 3)), "one": np.array(3.5)}

    def restore(self, state):
        assert state["values"][0].dtype == np.dtype(">i2")
        assert state["values"][0].tolist() == [0, 1, 2]
        assert np.isnan(state["values"][1])
        assert state["values"][2:5] == ["text", None, {2: [True]}]
        assert state["values"][5] == np.float32(0.1)
        assert state["shape"].shape == (2, 0, 3)
        assert state["one"].shape == ()
        self.seen = state["seen"]


def halve(epoch, rate):
    return rate * 0.8 if epoch in (1, 2) else rate


def watchers(folder):
    """Callbacks that remember something, with what they are to be compared by."""
    return [
        Dictate(),
        callbacks.EarlyStopping("noise", mode="min", patience=2, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.01, cooldown=1),
        callbacks.LearningRateScheduler(halve),
        callbacks.ModelCheckpoint(folder / "best.gridnn", "val_accuracy", save_best_only=True),
        callbacks.ModelCheckpoint(folder / "s-{epoch}-{batch}", save_freq=3, save_weights_only=True),
        callbacks.CSVLogger(folder / "log.csv"),
        callbacks.History(),
        Own(),
    ]


def batches():
    for start in range(1000):
        rows = np.arange(start * SIZE, start * SIZE + SIZE) % len(X)
        yield X[rows], Y[rows]


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": SIZE, "validation_split": 0.25},
    "steps": lambda: {"x": X, "y": Y, "batch_size": SIZE, "steps_per_epoch": 3, "validation_data": (X, Y)},
    "list": lambda: {"x": [(X[:9], Y[:9]), (X[9:11], Y[9:11]), (X[11:], Y[11:])], "validation_data": (X, Y)},
    "list, steps": lambda: {
        "x": [(X[i::5], Y[i::5]) for i in range(5)],
        "steps_per_epoch": 3,
        "validation_data": (X, Y),
    },
    "generator": lambda: {
        "x": batches(),
        "steps_per_epoch": 4,
        "validation_data": batches(),
        "validation_steps": 2,
    },
}


def make(more=()):
    model = gn.Sequential([layers.Dense(6, activation="relu"), layers.Dropout(0.3), layers.Dense(3)], seed=2)
    model.compile(gn.optimizers.Adam(0.05), "sparse_categorical_crossentropy", ["accuracy", "ce", *more])
    return model


def accuracy(y_true, y_pred):
    return y_pred.argmax(axis=-1) == y_true


accuracy.__name__ = "own_accuracy"


def train(folder, data, *, save_freq="epoch", place=None, order=1, seed=None, chosen=watchers, epochs=EPOCHS):
    """One run; the backup stands first in the list, or last, and so does what cuts it off."""
    folder.mkdir(exist_ok=True)
    model, others = make([accuracy]), chosen(folder)
    ends = [callbacks.BackupAndRestore(folder / "backup", save_freq), Cut(place)][::order]
    members = [ends[0], *others, ends[1]]
    history = model.fit(
        **DATA[data](), epochs=epochs, verbose=0, callbacks=members, validation_freq=1, seed=seed
    )
    return model, history, others


def outcome(folder, model, history, others):
    """All that a run leaves."""
    network = model.network
    return {
        "weights": [w.tobytes() for w in model.get_weights()],
        "slots": {name: slot.tobytes() for name, slot in network.optimizer_state().items()},
        "rate": model.optimizer.learning_rate,
        "steps": network.iterations,
        "epoch": model.epoch,
        "history": history.history,
        "epochs": history.epoch,
        "states": [repr(callback.state()) for callback in others],
        "files": {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()},
        "backup": (folder / "backup").exists(),
    }


PLACES = [
    ("on_train_begin", 0, 0),
    ("on_epoch_begin", 1, 0),
    ("on_train_batch_begin", 0, 2),
    ("on_train_batch_begin", 2, 0),
    ("on_train_batch_end", 0, 0),
    ("on_train_batch_end", 0, 1),
    ("on_train_batch_end", 1, 2),
    ("on_train_batch_end", 2, 1),
    ("on_test_batch_end", 1, 0),
    ("on_epoch_end", 0, 0),
    ("on_epoch_end", 1, 0),
    ("on_epoch_end", 3, 0),
    ("on_train_end", 0, 0),
]


@pytest.mark.parametrize(
    ("data", "save_freq", "order"),
    [
        *(("arrays", save_freq, order) for save_freq in ("epoch", 1, 3) for order in (1, -1)),
        *((data, save_freq, 1) for data in DATA if data != "arrays" for save_freq in ("epoch", 2)),
    ],
)
def test_a_run_goes_on_to_the_byte(tmp_path, data, save_freq, order):
    whole = tmp_path / "whole"
    wanted = outcome(whole, *train(whole, data, save_freq=save_freq, order=order, seed=5))
    assert not wanted["backup"]
    for number, place in enumerate(PLACES):
        folder = tmp_path / str(number)
        reached = True
        try:
            train(folder, data, save_freq=save_freq, order=order, place=place, seed=5)
            reached = False
        except PowerCutError:
            pass
        if reached:
            got = outcome(folder, *train(folder, data, save_freq=save_freq, order=order, seed=5))
            for key, value in wanted.items():
                assert got[key] == value, (place, key)


def test_what_the_runs_above_do(tmp_path):
    """They would prove little if nothing happened in them."""
    _, history, (_, stopping, *_, own) = train(tmp_path, "arrays", seed=5)
    assert stopping.stopped_epoch
    assert 0 < stopping.best_epoch < stopping.stopped_epoch
    assert len(set(history.history["learning_rate"])) > 2
    assert (tmp_path / "best.gridnn").exists()
    assert own.seen == 4 * len(history.epoch)


def test_a_run_of_a_seed_of_its_own_goes_on(tmp_path):
    """Without a seed it is drawn, and the backup keeps it, within the first epoch as well."""
    with pytest.raises(PowerCutError):
        train(tmp_path / "a", "arrays", save_freq=1, place=("on_train_batch_end", 0, 2))
    seed = callbacks.BackupAndRestore(tmp_path / "a" / "backup").progress()[1]
    continued = outcome(tmp_path / "a", *train(tmp_path / "a", "arrays", save_freq=1))
    wanted = outcome(tmp_path / "b", *train(tmp_path / "b", "arrays", save_freq=1, seed=seed))
    assert continued == wanted


@pytest.mark.parametrize(
    "optimizer",
    [
        gn.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        gn.optimizers.Nadam(0.05, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
        gn.optimizers.RMSprop(0.05, gradient_accumulation_steps=3),
        gn.optimizers.Adam(gn.schedules.CosineDecay(0.05, 20)),
        gn.optimizers.AdamW(lambda: 0.03),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_optimizers_go_on_within_an_epoch(tmp_path, optimizer):
    def run(folder, place=None):
        stack = [layers.Dense(6), layers.BatchNormalization(), layers.GaussianNoise(0.1), layers.Dense(3)]
        model = gn.Sequential(stack, seed=2)
        model.compile(copy.deepcopy(optimizer), "ce", [gn.metrics.AUC(), gn.metrics.MeanIoU(3)])
        chosen = [callbacks.BackupAndRestore(tmp_path / folder, 1), Cut(place)]
        history = model.fit(X, Y, SIZE, 3, 0, chosen, seed=5)
        return [w.tobytes() for w in model.get_weights()], history.history

    wanted = run("a")
    for batch in range(4):
        with pytest.raises(PowerCutError):
            run("b", ("on_train_batch_begin", 1, batch))
    assert run("b") == wanted


def test_several_interruptions(tmp_path):
    wanted = outcome(tmp_path / "a", *train(tmp_path / "a", "arrays", save_freq=2, seed=5))
    for place in (PLACES[2], PLACES[6], PLACES[8], PLACES[7], PLACES[11]):
        with pytest.raises(PowerCutError):
            train(tmp_path / "b", "arrays", save_freq=2, place=place, seed=5)
    assert outcome(tmp_path / "b", *train(tmp_path / "b", "arrays", save_freq=2, seed=5)) == wanted


class Saver(callbacks.Callback):
    """Saves the model from a method of its own, once."""

    def __init__(self, path, hook, epoch, batch=0):
        super().__init__()
        self.path, self.at, self.epoch = path, (hook, epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._save("on_epoch_begin", 0)

    def on_train_batch_begin(self, batch, logs=None):
        self._save("on_train_batch_begin", batch)

    def on_train_batch_end(self, batch, logs=None):
        self._save("on_train_batch_end", batch)

    def on_test_batch_end(self, batch, logs=None):
        self._save("on_test_batch_end", batch)

    def on_epoch_end(self, epoch, logs=None):
        self._save("on_epoch_end", 0)

    def _save(self, hook, batch):
        if self.at == (hook, self.epoch, batch) and not self.path.exists():
            self.model.save(self.path)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "at",
    [
        ("on_epoch_end", 0),
        ("on_epoch_end", 1),
        ("on_epoch_end", 2),
        ("on_epoch_begin", 1),
        ("on_train_batch_begin", 1, 1),
        ("on_train_batch_end", 1, 0),
        ("on_train_batch_end", 2, 3),
        ("on_test_batch_end", 1, 0),
    ],
)
def test_a_model_saved_within_a_run_goes_on_to_the_byte(tmp_path, at, first):
    def fit(model, folder, **more):
        folder.mkdir(exist_ok=True)
        others, saver = watchers(folder), Saver(tmp_path / "kept.gridnn", *at)
        chosen = [saver, *others] if first else [*others, saver]
        history = model.fit(X, Y, SIZE, EPOCHS, 0, chosen, validation_split=0.25, seed=5, **more)
        return outcome(folder, model, history, others)

    model = make()
    wanted = fit(model, tmp_path / "files")
    again = gn.load_model(tmp_path / "kept.gridnn")
    assert again.epoch == at[1] + (at[0] == "on_epoch_end")
    again.save(tmp_path / "copy.gridnn")
    assert (tmp_path / "copy.gridnn").read_bytes() == (tmp_path / "kept.gridnn").read_bytes()
    again = pickle.loads(pickle.dumps(again))
    got = fit(again, tmp_path / "files", initial_epoch=again.epoch)
    assert got == wanted


SCRIPT = """
    import os, signal, sys, traceback
    import numpy as np
    import gridnn as gn
    from gridnn import callbacks, layers

    class Kill(callbacks.Callback):
        def __init__(self, place):
            super().__init__()
            self.place = place.split(":")
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
            self.at("begin", 0)
        def on_train_batch_end(self, batch, logs=None):
            self.at("batch", batch)
        def on_epoch_end(self, epoch, logs=None):
            self.at("end", 0)
        def on_train_end(self, logs=None):
            self.epoch = 0
            self.at("over", 0)
        def at(self, *place):
            if self.place == [place[0], str(self.epoch), str(place[1])]:
                os.kill(os.getpid(), signal.SIGKILL)

    def train(folder, kill, freq):
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(40, 4)), rng.integers(0, 3, size=40)
        model = gn.Sequential([gn.Input((4,)), layers.Dropout(0.3), layers.Dense(3)], seed=2)
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        chosen = [
            callbacks.BackupAndRestore(folder + "/backup", int(freq) if freq != "epoch" else freq),
            callbacks.ReduceLROnPlateau("loss", 0.5, patience=0, min_delta=10.0),
            callbacks.EarlyStopping("loss", 10.0, patience=5, restore_best_weights=True),
            callbacks.CSVLogger(folder + "/log.csv"),
            Kill(kill),
        ]
        model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=chosen, seed=3)
        model.save(folder + "/model.gridnn")

    # Nothing but imports has happened where these fork, and those take longer than all that follows.
    folder, freq, *kills = sys.argv[1:]
    for kill in kills:
        child = os.fork()
        if child == 0:
            try:
                train(folder, kill, freq)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run(script, folder, freq, *kills):
    """Runs the script's training in one process after the other; returns how each ended."""
    folder.mkdir(exist_ok=True)
    arguments = [sys.executable, str(script), str(folder), freq, *kills]
    done = subprocess.run(arguments, timeout=100, check=True, stdout=subprocess.PIPE, text=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("freq", ["epoch", "3"])
def test_killed_processes_go_on_to_the_byte(tmp_path, freq):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    assert run(script, tmp_path / "whole", freq, "never:0:0") == [0]
    kills = ("batch:0:3", "batch:1:1", "begin:2:0", "end:2:0", "over:0:0")
    assert run(script, tmp_path / "killed", freq, *kills) == [-signal.SIGKILL] * len(kills)
    (tmp_path / "killed" / "backup" / ".latest.gridnn.123.tmp").touch()  # what a kill within a save leaves
    assert run(script, tmp_path / "killed", freq, "never:0:0") == [0]
    for folder in ("whole", "killed"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["log.csv", "model.gridnn"]
    for name in ("log.csv", "model.gridnn"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# What a file keeps, and what it does with files that have something else


@pytest.mark.parametrize("name", [".latest.gridnn.123.tmp", ".tmpAb3xyz", ".gridnn-4f.tmp"])
def test_what_killed_processes_left_goes_with_the_folder(tmp_path, name):
    for folder, others in (("own", []), ("shared", ["notes.txt", ".tmp-of-others"])):
        (tmp_path / folder).mkdir()
        for file in (name, *others):
            (tmp_path / folder / file).touch()
        make().fit(X, Y, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path / folder)])
    assert not (tmp_path / "own").exists()
    assert {path.name for path in (tmp_path / "shared").iterdir()} >= {"notes.txt", ".tmp-of-others"}
    assert not (tmp_path / "shared" / "latest.gridnn").exists()


def test_a_state_that_files_cannot_hold(tmp_path):
    class Wrong(callbacks.Callback):
        def state(self):
            return {"seen": {1, 2}}

    with pytest.raises(TypeError, match=r"Wrong\.state\(\) must consist of .* Received set"):
        train(tmp_path, "arrays", chosen=lambda _: [Wrong()])


def test_an_attribute_called_state_is_left_alone(tmp_path):
    class Older(callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.state = {"mine": 1}

    _, history, _ = train(tmp_path, "arrays", chosen=lambda _: [Older()], epochs=2)
    assert history.epoch == [0, 1]


def test_other_callbacks_than_before(tmp_path):
    """States go to the n-th of their class; others begin afresh."""
    chosen = {
        "then": lambda folder: [callbacks.EarlyStopping("loss", patience=9), callbacks.History()],
        "now": lambda folder: [
            callbacks.ReduceLROnPlateau("loss", patience=9),
            callbacks.EarlyStopping("loss", patience=9),
            callbacks.EarlyStopping("loss", patience=9),
        ],
    }
    with pytest.raises(PowerCutError):
        train(tmp_path, "arrays", chosen=chosen["then"], place=("on_epoch_begin", 2, 0))
    _, history, (plateau, first, second) = train(tmp_path, "arrays", chosen=chosen["now"], epochs=2)
    assert first.best == min(history.history["loss"])
    assert second.best is None
    assert plateau.best is None


def test_other_data_than_before(tmp_path):
    with pytest.raises(PowerCutError):
        train(tmp_path, "arrays", save_freq=1, place=("on_train_batch_end", 1, 2))
    with pytest.warns(UserWarning, match=r"interrupted within epoch 2, on other data.*begins anew"):
        train(tmp_path, "steps", save_freq=1)


def test_an_iterable_that_is_shorter_than_before(tmp_path, monkeypatch):
    with pytest.raises(PowerCutError):
        train(tmp_path, "list", save_freq=1, place=("on_train_batch_end", 1, 2))
    monkeypatch.setitem(DATA, "list", lambda: {"x": [(X[:9], Y[:9])]})
    with pytest.raises(ValueError, match=r"`x` gave 1 batches, but 2 had been used"):
        train(tmp_path, "list", save_freq=1)


def test_an_iterable_that_is_empty_now(tmp_path, monkeypatch):
    with pytest.raises(PowerCutError):
        train(tmp_path, "list", place=("on_epoch_begin", 1, 0))
    monkeypatch.setitem(DATA, "list", lambda: {"x": iter(())})
    with pytest.raises(ValueError, match=r"`x` gave no batch"):
        train(tmp_path, "list")


def test_callbacks_in_a_list_of_their_own(tmp_path):
    model = make()
    several = callbacks.CallbackList([callbacks.BackupAndRestore(tmp_path), Own()], model, {})
    with pytest.raises(PowerCutError):
        model.fit(X, Y, SIZE, 4, 0, [several, Cut(("on_epoch_begin", 2, 0))], seed=5)
    own, begun = Own(), []
    count = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: begun.append(epoch))
    several = callbacks.CallbackList([callbacks.BackupAndRestore(tmp_path), own, count], model, {})
    history = model.fit(X, Y, SIZE, 4, 0, several, seed=5)
    assert begun == [2, 3]
    assert history.epoch == [0, 1, 2, 3]
    assert own.seen == 4 * 5


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize("save_freq", [1, "epoch"])
def test_the_progress_line_goes_on(tmp_path, capsys, verbose, save_freq):
    def fit(place):
        chosen = [callbacks.BackupAndRestore(tmp_path, save_freq), Cut(place)]
        make().fit(X, Y, SIZE, 3, verbose, chosen, validation_split=0.25)

    with pytest.raises(PowerCutError):
        fit(("on_train_batch_end", 1, 1))
    capsys.readouterr()
    fit(None)
    lines = capsys.readouterr().out.split("\n")
    assert [line.split("\r")[-1].split("  ")[0] for line in lines] == ["Epoch 2/3", "Epoch 3/3", ""]


def test_an_iterator_of_callbacks(tmp_path):
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    make().fit(X, Y, epochs=1, verbose=0, callbacks=iter([backup, callbacks.TerminateOnNaN()]))
    assert backup.path.exists()


def test_files_of_before(tmp_path):
    """Backups and models that know nothing of callbacks and histories are taken up as they were."""
    from gridnn._engine import load_tensors, save_tensors

    for folder in ("a", "b"):
        with pytest.raises(PowerCutError):
            train(tmp_path / folder, "arrays", chosen=lambda _: [], place=("on_epoch_begin", 2, 0), seed=5)
    path = tmp_path / "b" / "backup" / "latest.gridnn"
    tensors, metadata = load_tensors(path)
    del metadata["run"], metadata["history"]
    save_tensors(path, tensors, metadata)
    model = gn.load_model(path)
    assert model.history is None
    assert model.epoch == 2
    results = [train(tmp_path / folder, "arrays", chosen=lambda _: [], seed=5)[:2] for folder in ("a", "b")]
    weights = [[w.tobytes() for w in model.get_weights()] for model, _ in results]
    assert weights[0] == weights[1]
    assert results[1][1].epoch == [2, 3, 4, 5]


def test_a_run_that_a_callback_had_ended_is_another_one(tmp_path):
    stopping = callbacks.EarlyStopping("loss", min_delta=100.0, patience=1)
    best = callbacks.ModelCheckpoint(tmp_path / "last")
    make().fit(X, Y, epochs=9, verbose=0, callbacks=[stopping, best])
    model = gn.load_model(tmp_path / "last")
    assert model.epoch == 2
    history = model.fit(
        X, Y, epochs=4, initial_epoch=2, verbose=0, callbacks=[callbacks.EarlyStopping("loss")]
    )
    assert history.epoch == [2, 3]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run", "[]"),
        ("run", "{}"),
        ("run", '{"$array": [7, "float32", [1]]}'),
        ("run", {"callbacks": None}),
        ("run", {"callbacks": [{"class_name": 3, "state": None}]}),
        ("run", {"called": []}),
        ("run", {"hook": "__init__"}),
        ("run", {"arguments": []}),
        ("run", {"step": -1}),
        ("run", {"step": 3}),
        ("run", {"position": 0.5}),
        ("run", {"data": [1]}),
        ("run", {"stopped": "yes"}),
        ("run", {"logs": {"$number": "seven"}}),
        ("history", "{}"),
        ("history", '{"epoch": ["a"], "history": {}}'),
        ("history", '{"epoch": [], "history": {"loss": 3}}'),
        ("history", '{"epoch": [], "history": {"loss": [{"$array": [0, "float32", [5]]}]}}'),
    ],
)
def test_damaged_records(tmp_path, key, value):
    from gridnn._engine import load_tensors, save_tensors

    saver = Saver(tmp_path / "good", "on_epoch_end", 0)
    make().fit(X, Y, verbose=0, callbacks=[saver])
    tensors, metadata = load_tensors(tmp_path / "good")
    if isinstance(value, dict):
        value = json.dumps({**json.loads(metadata[key]), **value})
    save_tensors(tmp_path / "bad", tensors, {**metadata, key: value})
    with pytest.raises(gn.errors.FileFormatError, match="bad"):
        gn.load_model(tmp_path / "bad")


def test_a_state_that_a_callback_cannot_take_up(tmp_path):
    with pytest.raises(PowerCutError):
        train(
            tmp_path, "arrays", chosen=lambda _: [callbacks.EarlyStopping()], place=("on_epoch_begin", 1, 0)
        )

    class EarlyStopping(callbacks.Callback):
        def restore(self, state):
            raise KeyError("waited")

    with pytest.raises(ValueError, match=r"EarlyStopping cannot take up the state .*waited"):
        train(tmp_path, "arrays", chosen=lambda _: [EarlyStopping()])
