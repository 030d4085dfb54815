"""Losses and metrics written in Python by the user."""

import copy

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses, metrics


class Squares(losses.Loss):
    """The built-in mean squared error once more."""

    def call(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).mean(axis=-1)

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


class Labelled(losses.Loss):
    """Cross-entropy of labels, times a factor."""

    config_fields = ("reduction", "name", "factor")
    targets = "labels"

    def __init__(self, reduction="sum_over_batch_size", name=None, factor=1.0):
        super().__init__(reduction, name)
        self.factor = factor

    def _probabilities(self, y_pred):
        p = np.exp(y_pred - y_pred.max(axis=-1, keepdims=True))
        return p / p.sum(axis=-1, keepdims=True)

    def call(self, y_true, y_pred):
        p = np.take_along_axis(self._probabilities(y_pred), y_true[..., None], axis=-1)[..., 0]
        return -self.factor * np.log(p)

    def gradient(self, y_true, y_pred):
        return self.factor * (self._probabilities(y_pred) - np.eye(y_pred.shape[-1])[y_true])


def _model(loss, chosen=(), outputs=3, dtype="float64"):
    stack = [
        gn.Input((6, 6, 2)),
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Dropout(0.3),
        layers.Flatten(),
        layers.Dense(outputs),
    ]
    model = gn.Sequential(stack, seed=1, dtype=dtype)
    model.compile("adam", loss, metrics=list(chosen))
    return model


def _data(n=20, outputs=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6, 6, 2)), rng.normal(size=(n, outputs)), rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_a_loss_in_python_trains_as_the_same_one_in_the_engine(reduction):
    x, y, weight = _data()
    trained = []
    for loss in (losses.MeanSquaredError(reduction), Squares(reduction)):
        model = _model(loss, ["mae"])
        history = model.fit(x, y, 8, epochs=3, sample_weight=weight, seed=3, verbose=0).history
        trained.append((history, model.get_weights(), model.evaluate(x, y, verbose=0)))
    for name, values in trained[0][0].items():
        np.testing.assert_allclose(trained[1][0][name], values, rtol=1e-9)
    for own, theirs in zip(trained[1][1], trained[0][1], strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(trained[1][2], trained[0][2], rtol=1e-9)


def test_labels_are_checked_and_metrics_work_beside_a_loss_in_python():
    x, _, _ = _data()
    y = np.arange(20) % 3
    own = _model(Labelled(), ["accuracy"])
    theirs = _model(losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
    for _ in range(3):
        np.testing.assert_allclose(own.train_on_batch(x, y), theirs.train_on_batch(x, y), rtol=1e-9)
    with pytest.raises(ValueError, match="label"):
        own.train_on_batch(x, y + 1)


def test_a_batch_that_needs_several_workers_keeps_its_outputs():
    # The second half of a step counts more work than the first, and may want more workers.
    x, y, _ = _data(64)
    threads = gn.get_num_threads()
    trained = []
    try:
        for count in (1, 3):
            gn.set_num_threads(count)
            model = _model(Squares(), dtype="float32")
            model.fit(x, y, 32, epochs=2, seed=1, verbose=0)
            trained.append(model.get_weights())
    finally:
        gn.set_num_threads(threads)
    for one, three in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, three)


def test_a_loss_that_is_not_finite_changes_nothing():
    class Broken(Squares):
        def call(self, y_true, y_pred):
            return super().call(y_true, y_pred) * np.nan

    class Steep(Squares):
        def gradient(self, y_true, y_pred):
            return super().gradient(y_true, y_pred) * np.inf

    x, y, _ = _data()
    for loss in (Broken(), Steep()):
        model = _model(loss)
        before = model.get_weights()
        with pytest.raises(gn.errors.NonFiniteError):
            model.train_on_batch(x, y)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_what_python_raises_comes_out_and_changes_nothing():
    class Failing(Squares):
        def gradient(self, y_true, y_pred):
            raise ZeroDivisionError("no slope")

    class Flat(Squares):
        def gradient(self, y_true, y_pred):
            return np.zeros(3)

    x, y, _ = _data()
    for loss, error in ((Failing(), ZeroDivisionError), (Flat(), gn.errors.ShapeError)):
        model = _model(loss)
        before = model.get_weights()
        with pytest.raises(error):
            model.train_on_batch(x, y)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        assert model.predict(x, verbose=0).shape == (20, 3)


def test_any_function_is_a_metric():
    def worst(y_true, y_pred):
        return np.abs(y_pred - y_true).max(axis=-1)

    x, y, _ = _data()
    model = _model("mse", ["mae", worst, lambda y_true, y_pred: len(y_pred)])
    model.evaluate(x, y, verbose=0)
    logs = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)
    errors = np.abs(model.predict(x, verbose=0) - y)
    assert list(logs) == ["loss", "mae", "worst", "<lambda>"]
    assert logs["worst"] == pytest.approx(errors.max(axis=-1).mean())
    assert logs["mae"] == pytest.approx(errors.mean())
    assert logs["<lambda>"] == pytest.approx((8 + 8 + 4) / 3)
    history = model.fit(x, y, epochs=2, verbose=0, validation_split=0.25).history
    assert len(history["worst"]) == len(history["val_worst"]) == 2


@pytest.mark.parametrize(
    ("loss", "targets", "outputs"),
    [("sparse_categorical_crossentropy", np.arange(20) % 3, 3), ("bce", np.arange(20) % 2, 1)],
)
def test_functions_see_probabilities(loss, targets, outputs):
    seen = []

    def spy(y_true, y_pred):
        seen.append(y_pred)
        return 0.0

    x, _, _ = _data()
    _model(loss, [spy], outputs).evaluate(x, targets, verbose=0)
    assert seen[0].shape == (20, outputs)
    assert (seen[0] > 0).all()
    assert (seen[0] < 1).all()
    if outputs > 1:
        np.testing.assert_allclose(seen[0].sum(axis=-1), 1.0)


def test_gradients_of_a_loss_in_python_are_inspected():
    x, y, _ = _data(4)
    own, theirs = _model(Squares()), _model("mse")
    found = [gn.inspect.gradients(model, x, y) for model in (own, theirs)]
    for a, b in zip(found[0].input.ravel(), found[1].input.ravel(), strict=True):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12)


def test_files_keep_a_loss_by_its_name(tmp_path):
    x, _, _ = _data()
    y = np.arange(20) % 3
    model = _model(Labelled(factor=2.0), ["accuracy", metrics.FunctionMetric(lambda t, p: 0.0, "zero")])
    model.fit(x, y, epochs=1, verbose=0, seed=1)
    model.save(tmp_path / "model.gridnn")
    for other in (gn.load_model(tmp_path / "model.gridnn"), copy.deepcopy(model)):
        assert type(other.loss) is Labelled
        assert other.loss.factor == 2.0
        own, theirs = model.evaluate(x, y, verbose=0), other.evaluate(x, y, verbose=0)
        assert own[:2] == theirs
        assert own[2] == 0.0


def test_a_loss_needs_both_methods():
    class Half(losses.Loss):
        def call(self, y_true, y_pred):
            return y_pred

    with pytest.raises(TypeError, match="gradient"):
        losses.get(Half())
    with pytest.raises(TypeError):
        losses.get(losses.Loss())


@pytest.mark.parametrize("method", ["call", "gradient"])
def test_exceptions_of_a_loss_say_where_they_were_raised(method):
    def fail(self, y_true, y_pred):
        raise ZeroDivisionError("of my own")

    loss = type("Bad", (Squares,), {method: fail})()
    with pytest.raises(ZeroDivisionError, match="of my own") as caught:
        _model(loss).fit(*_data()[:2], verbose=0)
    if hasattr(caught.value, "__notes__"):
        assert caught.value.__notes__ == [f"Raised in `{method}` of Bad."]


def test_exceptions_of_a_metric_say_where_they_were_raised():
    def culprit(y_true, y_pred):
        raise ZeroDivisionError("of my own")

    with pytest.raises(ZeroDivisionError, match="of my own") as caught:
        _model("mse", [culprit]).evaluate(*_data()[:2], verbose=0)
    if hasattr(caught.value, "__notes__"):
        assert caught.value.__notes__ == ["Raised in metric 'culprit'."]


def test_what_makes_a_class_custom():
    class Mixed:
        def call(self, y_true, y_pred):
            return y_pred

    assert not losses.MeanSquaredError().in_python
    assert Squares.is_custom()
    assert type("First", (Mixed, losses.Loss), {}).is_custom()
    assert not type("Last", (losses.Loss, Mixed), {}).is_custom()
    assert not metrics.MeanSquaredError.is_custom()
