"""What callbacks make of the values that they watch: which way is better, NaN, values that are missing."""

import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers, metrics

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(12, 3)).astype(np.float32), RNG.integers(0, 2, size=12)
NAN = float("nan")


def make(chosen=("accuracy",), loss="sparse_categorical_crossentropy", outputs=2):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(outputs)], seed=1)
    model.compile("adam", loss, list(chosen))
    return model


def fit(chosen, epochs=4, model=None, **more):
    model = model or make()
    return model, model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=chosen, seed=2, **more)


class Dictate(callbacks.Callback):
    """Replaces a value of the logs, or removes it where it is to be None."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]
        if self.values[epoch] is None:
            del logs[self.name]


# Missing values, and NaN


def saved_epochs(folder):
    return sorted(int(path.name) for path in folder.iterdir())


def test_a_checkpoint_of_the_best_waits_for_the_validation(tmp_path):
    best = callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True)
    # No warning either: the value is going to come.
    fit([best], validation_data=(X, Y), validation_freq=2)
    assert saved_epochs(tmp_path) == [2, 4]


def test_a_checkpoint_of_the_best_saves_nothing_where_the_value_is_missing(tmp_path):
    best = callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True)
    with pytest.warns(UserWarning, match="val_loss.*not available. There are: loss"):
        fit([best], epochs=1)
    within = callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, save_freq=1)
    with pytest.warns(UserWarning, match="val_loss.*not available within an epoch"):
        fit([within], epochs=1, validation_data=(X, Y))
    assert saved_epochs(tmp_path) == []
    fit([callbacks.ModelCheckpoint(tmp_path / "{epoch}", "loss", save_best_only=True, save_freq=1)], 1)
    assert saved_epochs(tmp_path) == [1]


@pytest.mark.parametrize("missing", [NAN, np.nan, np.float32("nan")])
def test_nan_is_never_the_best(tmp_path, missing):
    values = [missing, 5.0, 6.0, missing, 4.0, 4.5]
    best = callbacks.ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, verbose=1)
    stopping = callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    plateau = callbacks.ReduceLROnPlateau(patience=9)
    fit([Dictate(values), best, stopping, plateau], epochs=6)
    assert saved_epochs(tmp_path) == [2, 5]
    assert best.best == stopping.best == plateau.best == 4.0
    assert stopping.best_epoch == 4
    assert stopping.wait == plateau.wait == 1


@pytest.mark.parametrize("mode", ["min", "max"])
def test_nothing_but_nan(tmp_path, mode):
    best = callbacks.ModelCheckpoint(tmp_path / "{epoch}", mode=mode, save_best_only=True, verbose=1)
    stopping = callbacks.EarlyStopping(mode=mode, patience=2, restore_best_weights=True)
    plateau = callbacks.ReduceLROnPlateau(mode=mode, patience=1, factor=0.5)
    _, history = fit([Dictate([NAN] * 5), best, stopping, plateau], epochs=5)
    assert saved_epochs(tmp_path) == []
    assert history.epoch == [0, 1]
    np.testing.assert_allclose(history.history["learning_rate"], [0.001, 0.0005])


def test_infinity_is_worse_than_any_number():
    stopping = callbacks.EarlyStopping(patience=9)
    fit([Dictate([np.inf, 3.0, -1.0]), stopping], epochs=3)
    assert stopping.best == -1.0


@pytest.mark.parametrize("value", ["text", None, [1, 2], np.ones(2), {}, b"1"])
@pytest.mark.parametrize(
    "make_callback",
    [
        lambda folder: callbacks.EarlyStopping(patience=1),
        lambda folder: callbacks.ReduceLROnPlateau(patience=0),
        lambda folder: callbacks.ModelCheckpoint(folder / "x", save_best_only=True),
    ],
)
def test_what_is_no_number_does_not_count(tmp_path, make_callback, value):
    class Put(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = value

    with pytest.warns(UserWarning, match=r"val_loss`, which is not"):
        _, history = fit([Put(), make_callback(tmp_path)], epochs=3)
    assert history.epoch == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_the_best_value_lasts_where_training_goes_on(tmp_path):
    """From a file that was saved after `fit` as well, which knows nothing of callbacks."""

    def best():
        return callbacks.ModelCheckpoint(tmp_path / "best", save_best_only=True)

    model, _ = fit([Dictate([3.0, 1.0, 2.0]), best()], epochs=3)
    model.save(tmp_path / "last")
    before = (tmp_path / "best").read_bytes()
    again = gn.load_model(tmp_path / "last")
    fit([Dictate([0, 0, 0, 1.5]), checkpoint := best()], model=again, initial_epoch=again.epoch)
    assert checkpoint.best == 1.0
    assert (tmp_path / "best").read_bytes() == before
    # Another training does not care for files that lie there.
    fit([Dictate([7.0]), checkpoint := best()], epochs=1)
    assert checkpoint.best == 7.0


# Which way is better

RISING = [
    "accuracy",
    "acc",
    metrics.SparseCategoricalAccuracy(name="hits"),
    metrics.SparseTopKCategoricalAccuracy(k=1, name="top"),
    metrics.AUC(name="under"),
    metrics.Precision(name="p"),
    metrics.Recall(name="r"),
    metrics.F1Score(name="loss_of_face"),
    metrics.MeanIoU(2),
]
FALLING = ["ce", "crossentropy", metrics.SparseCategoricalCrossentropy(name="accuracy_in_bits")]
VALUES = [
    ("max", metrics.R2Score()),
    ("max", metrics.CosineSimilarity(name="c")),
    ("max", metrics.Accuracy()),
    ("max", metrics.BinaryAccuracy(name="b")),
    ("max", metrics.CategoricalAccuracy()),
    ("max", metrics.TopKCategoricalAccuracy()),
    ("max", metrics.OneHotMeanIoU(2)),
    *(
        ("min", name)
        for name in (
            "mse",
            "rmse",
            "mae",
            "mape",
            "msle",
            "logcosh",
            "poisson",
            "kld",
            "hinge",
            "squared_hinge",
        )
    ),
    ("min", "categorical_hinge"),
    ("min", metrics.MeanSquaredError(name="previous_accuracy")),
    ("min", metrics.BinaryCrossentropy()),
    ("min", metrics.CategoricalCrossentropy()),
]


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize(
    ("mode", "metric", "loss"),
    [
        *(("max", metric, "sparse_categorical_crossentropy") for metric in RISING),
        *(("min", metric, "sparse_categorical_crossentropy") for metric in FALLING),
        *((mode, metric, "mse") for mode, metric in VALUES),
    ],
)
def test_a_metric_says_which_way_is_better(mode, metric, loss, prefix):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2, activation="softmax")], seed=1)
    model.compile("adam", loss, [metric])
    monitor = prefix + model.metrics_names[1]
    watching = callbacks.EarlyStopping(monitor, patience=9)
    values = [2.0, 3.0, 1.0]
    y = Y if loss != "mse" else np.eye(2)[Y]
    model.fit(X, y, epochs=3, verbose=0, callbacks=[Dictate(values, monitor), watching])
    assert watching.best == (3.0 if mode == "max" else 1.0)


def test_every_metric_has_a_direction():
    # Of what is averaged or added up nobody knows whether more is better.
    neutral = {metrics.Metric, metrics.Mean, metrics.Sum, metrics.MeanMetricWrapper}
    classes = {cls for name in metrics.__all__ if isinstance(cls := getattr(metrics, name), type)}
    assert all(cls.direction in ("min", "max") for cls in classes - neutral)
    assert all(cls.direction is None for cls in neutral)


def dice(y_true, y_pred):
    return y_pred[:, 0] * 0 + 1


@pytest.mark.parametrize("prefix", ["", "val_"])
@pytest.mark.parametrize("made", [callbacks.EarlyStopping, callbacks.ReduceLROnPlateau])
def test_a_function_says_it_by_an_attribute(made, prefix):
    with pytest.raises(
        ValueError, match=rf'{made.__name__}\(monitor="{prefix}dice", mode="auto"\).*"min" or'
    ):
        fit([made(prefix + "dice")], model=make([dice]))
    rising = lambda y_true, y_pred: dice(y_true, y_pred)  # noqa: E731
    rising.__name__, rising.direction = "dice", "max"
    watching = made(prefix + "dice", patience=9)
    fit([Dictate([1.0, 2.0, 1.5, 1.0], prefix + "dice"), watching], model=make([rising]))
    assert watching.best == 2.0
    rising.direction = "up"
    with pytest.raises(ValueError, match="direction"):
        make([rising])


@pytest.mark.parametrize("name", ["val_acc", "previous_loss", "mean_io_u", "learning_rate", "val_dice", ""])
def test_other_names_want_a_mode(tmp_path, name):
    for chosen in (
        callbacks.EarlyStopping(name),
        callbacks.ReduceLROnPlateau(name),
        callbacks.ModelCheckpoint(tmp_path / "x", name, save_best_only=True),
    ):
        started = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: pytest.fail("too late"))
        with pytest.raises(ValueError, match=r'Pass mode="min" or mode="max"'):
            fit([chosen, started])
    # Where nothing is compared nothing need be known.
    fit([callbacks.ModelCheckpoint(tmp_path / "x", name)])
    watching = callbacks.EarlyStopping("made_up", mode="max", patience=9)
    fit([Dictate([1.0, 2.0, 3.0], "made_up"), watching], epochs=3)
    assert watching.best == 3.0


def test_a_loss_that_a_metric_follows_in_name():
    """'val_loss' is the loss of the validation, whatever metrics are called."""
    watching = callbacks.EarlyStopping(patience=9)
    fit([Dictate([2.0, 1.0, 3.0]), watching], 3, make([metrics.SparseCategoricalAccuracy(name="best_loss")]))
    assert watching.best == 1.0


# What callbacks tell, and what they carry


def test_attributes_of_keras():
    stopping = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    plateau = callbacks.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=3)
    fit([Dictate([2.0, 1.0, 1.0, 1.0, 1.0]), stopping, plateau], epochs=5)
    assert (stopping.wait, stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (2, 1.0, 1, 3)
    assert [w.shape for w in stopping.best_weights] == [(3, 2), (2,)]
    assert (stopping.monitor, stopping.mode, stopping.patience, stopping.min_delta) == (
        "val_loss",
        "auto",
        2,
        0,
    )
    assert (plateau.wait, plateau.best, plateau.cooldown_counter) == (0, 1.0, 2)
    assert plateau.in_cooldown()
    assert callbacks.EarlyStopping().best_weights is None


def test_copies_of_callbacks_have_no_model():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2), layers.Dense(20_000), layers.Dense(2)], seed=1)
    model.compile("sgd", "sparse_categorical_crossentropy")
    stopping = callbacks.EarlyStopping("loss")
    history = model.fit(X, Y, verbose=0, callbacks=[stopping])
    for callback in (history, stopping):
        kept = pickle.dumps(callback)
        assert len(kept) < 2000
        assert not hasattr(pickle.loads(kept), "model")
    assert pickle.loads(pickle.dumps(history)).history == history.history
    assert history.model is model


def test_a_model_knows_its_epochs_and_its_history(tmp_path):
    model, history = fit([], epochs=3, validation_data=(X, Y))
    model.save(tmp_path / "model")
    for again in (gn.load_model(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert again.epoch == model.epoch == 3
        assert again.history.history == history.history
        assert again.history.epoch == [0, 1, 2]
        assert again.history.model is again
    assert make().epoch == 0
    make().save(tmp_path / "new")
    assert gn.load_model(tmp_path / "new").history is None
    seen = []
    count = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.epoch))
    fit([count], epochs=5, model=model, initial_epoch=3)
    assert seen == [4, 5]


def test_a_history_of_anything_is_kept(tmp_path):
    class Put(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(a=np.arange(2.0), b="text", c=None, d=NAN, e=[1, (2, np.inf)], f=object)

    model, _ = fit([Put()], epochs=1)
    model.save(tmp_path / "model")
    kept = gn.load_model(tmp_path / "model").history.history
    np.testing.assert_array_equal(kept["a"], [[0.0, 1.0]])
    assert np.isnan(kept["d"]).all()
    assert (kept["b"], kept["c"], kept["e"], kept["f"]) == (
        ["text"],
        [None],
        [[1, [2, np.inf]]],
        [str(object)],
    )


def test_values_know_their_epochs(tmp_path):
    """A validation after every second epoch was drawn as if it were one after the first epochs."""
    model, history = fit([], epochs=5, validation_data=(X, Y), validation_freq=2)
    model.save(tmp_path / "model")
    for known in (history, gn.load_model(tmp_path / "model").history):
        assert known.epochs_of("loss") == [0, 1, 2, 3, 4]
        assert known.epochs_of("val_loss") == [1, 3]
    pytest.importorskip("matplotlib")
    lines = gn.plot.history(history).lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3, 4, 5], [2, 4]]
    model.report(tmp_path / "report.html")


# Schedules


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (lambda epoch: 0.1 / (1 + epoch), [0.1, 0.05]),
        (lambda epoch, rate: 0.1 + rate, [0.101, 0.201]),
        (lambda epoch, rate=7: rate, [0.001, 0.001]),
        (lambda *both: 0.5 ** both[0], [1.0, 0.5]),
        (gn.schedules.ExponentialDecay(0.1, 1, 0.5), [0.1, 0.05]),
        ({0: 0.3, 1: 0.2}.get, [0.3, 0.2]),
    ],
)
def test_a_schedule_of_the_epoch_alone(schedule, rates):
    _, history = fit([callbacks.LearningRateScheduler(schedule)], epochs=2)
    np.testing.assert_allclose(history.history["learning_rate"], rates)


@pytest.mark.parametrize("schedule", [lambda: 0.1, lambda epoch, rate, more: rate])
def test_a_schedule_of_something_else(schedule):
    with pytest.raises(TypeError, match=r"must take the epoch"):
        callbacks.LearningRateScheduler(schedule)
