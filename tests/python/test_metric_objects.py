"""Losses and metrics by themselves, and metrics that users write."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses, metrics
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier


class Largest(metrics.Metric):
    """The largest error so far: batches cannot be added up."""

    def __init__(self, name="largest", **kwargs):
        super().__init__(name=name, **kwargs)
        self.error = self.add_variable(shape=(), initializer="zeros", name="error")
        self.batches = self.add_weight(name="batches", initializer="zeros")
        self.weights = None

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = np.abs(y_true - y_pred)
        self.weights = sample_weight
        self.error.assign(max(self.error, errors.max()))
        self.batches.assign_add(1)

    def result(self):
        return self.error


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, 3)), rng.normal(size=(20, 2))


def small(**options):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0)
    model.compile("sgd", "mse", **options)
    return model


def test_a_metric_of_the_users_own_in_fit(data):
    x, y = data
    metric = Largest()
    model = small(metrics=[metric, "mae"])
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, batch_size=6, epochs=2, validation_data=(x[:5], y[:5]), verbose=0).history
    errors = np.abs(model.predict(x, verbose=0) - y)
    np.testing.assert_allclose(history["largest"], errors.max(), rtol=1e-6)
    np.testing.assert_allclose(history["val_largest"], errors[:5].max(), rtol=1e-6)
    np.testing.assert_allclose(history["mae"], errors.mean(), rtol=1e-6)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["largest"] == pytest.approx(errors.max())
    assert metric.batches == 1
    assert metric.variables[0].path == "largest/error"
    metric.reset_state()
    assert metric.result() == 0


def test_what_the_users_metric_gets(data):
    x, y = data
    metric, weighted = Largest(), Largest("heavy")
    model = small(metrics=[metric], weighted_metrics=[weighted])
    weights = np.arange(20.0)
    model.evaluate(x, y, sample_weight=weights, verbose=0)
    assert metric.weights is None
    np.testing.assert_array_equal(weighted.weights, weights)


def test_functions_among_weighted_metrics(data):
    x, y = data

    def error(y_true, y_pred):
        return np.abs(y_true - y_pred).mean(axis=-1)

    model = small(metrics=[error], weighted_metrics=[metrics.MeanMetricWrapper(error, "heavy"), "mae"])
    weights = np.arange(20.0)
    found = model.evaluate(x, y, sample_weight=weights, batch_size=7, verbose=0, return_dict=True)
    errors = np.abs(model.predict(x, verbose=0) - y).mean(axis=-1)
    assert found["error"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["heavy"] == pytest.approx((errors * weights).sum() / weights.sum(), rel=1e-5)
    assert found["heavy"] == pytest.approx(found["mae"], rel=1e-5)


def test_a_result_that_is_not_one_number(data):
    class Both(Largest):
        def result(self):
            return [1.0, 2.0]

    with pytest.raises(TypeError, match="must return one number"):
        small(metrics=[Both()]).evaluate(*data, verbose=0)


def test_what_compares_nothing_is_no_metric_of_a_model():
    with pytest.raises(TypeError, match="takes values of yours"):
        small(metrics=[metrics.Mean()])
    with pytest.raises(TypeError, match="metric"):
        small(metrics=[losses.MeanSquaredError()])


def test_functions_stand_for_losses_and_metrics(data):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0)
    model.compile("sgd", losses.mean_squared_error, metrics=[metrics.mean_absolute_error])
    other = small(metrics=["mae"])
    found = model.evaluate(*data, verbose=0)
    assert found == other.evaluate(*data, verbose=0)
    assert model.metrics_names == ["loss", "mean_absolute_error"]


@pytest.mark.parametrize("reduction", [None, "none", "mean_with_sample_weight"])
def test_reductions_for_arrays_alone(reduction):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="for calls on arrays"):
        model.compile("sgd", losses.MeanSquaredError(reduction=reduction))


def test_mean_is_another_name(data):
    first, second = (gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0) for _ in range(2))
    first.compile("sgd", losses.MeanSquaredError(reduction="mean"))
    second.compile("sgd", "mse")
    histories = [model.fit(*data, epochs=2, seed=0, verbose=0).history for model in (first, second)]
    assert histories[0] == histories[1]


def test_a_loss_is_that_of_training(data):
    x, y = data
    model = small()
    weights = np.arange(20.0)
    outputs = model.predict(x, verbose=0)
    found = losses.MeanSquaredError()(y, outputs, sample_weight=weights)
    assert float(found) == pytest.approx(model.evaluate(x, y, 20, sample_weight=weights, verbose=0), rel=1e-6)
    assert found.dtype == np.float32
    assert losses.MeanSquaredError()(y, outputs.astype(np.float64)).dtype == np.float64


def test_a_loss_of_the_users_own():
    class Quartic(losses.Loss):
        def call(self, y_true, y_pred):
            return ((y_pred - y_true) ** 4).mean(axis=-1)

    np.testing.assert_allclose(Quartic(reduction=None)([[0.0, 1.0]], [[1.0, 1.0]]), [0.5])
    assert Quartic()([0.0, 2.0], [[1.0], [0.0]]) == pytest.approx(8.5)
    with pytest.raises(TypeError, match="gradient"):
        small().compile("sgd", Quartic())


@pytest.mark.parametrize(
    ("loss", "targets", "outputs", "message"),
    [
        ("MeanSquaredError", (2, 3), (2, 4), r"expected `y_true` of shape \(2, 4\)"),
        ("SparseCategoricalCrossentropy", (3,), (2, 4), r"expected `y_true` of shape \(2,\)"),
        ("MeanSquaredError", (), (), "at least one axis"),
    ],
)
def test_losses_of_shapes_that_do_not_fit(loss, targets, outputs, message):
    with pytest.raises(ShapeError, match=message):
        getattr(losses, loss)()(np.zeros(targets), np.zeros(outputs))


def test_labels_out_of_range_and_weights_that_do_not_fit():
    with pytest.raises(ValueError, match="class labels from 0 to 3"):
        losses.sparse_categorical_crossentropy([4], np.ones((1, 4)))
    with pytest.raises(ShapeError, match="sample_weight"):
        losses.MeanSquaredError()(np.zeros((2, 3)), np.zeros((2, 3)), sample_weight=[1, 2, 3])
    with pytest.raises(ShapeError, match="sample_weight"):
        metrics.Precision().update_state(np.zeros((2, 3)), np.zeros((2, 3)), [1, 2, 3, 4])
    accuracy = metrics.F1Score()
    accuracy.update_state(np.eye(3), np.eye(3))
    with pytest.raises(ShapeError, match="reset_state"):
        accuracy.update_state(np.eye(4), np.eye(4))
    with pytest.raises(ShapeError, match="expected `y_true`"):
        metrics.MeanSquaredError().update_state(np.zeros((2, 3)), np.zeros((2, 4)))


def test_metrics_by_themselves_are_those_of_evaluate():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 4)), rng.integers(0, 3, 50)
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3, activation="softmax")], seed=0)
    chosen = [metrics.SparseCategoricalAccuracy(), metrics.F1Score(), metrics.MeanIoU(3), metrics.AUC()]
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=chosen)
    _, *found = model.evaluate(x, y, verbose=0)
    outputs = model.predict(x, verbose=0)
    for metric, expected in zip(chosen, found, strict=True):
        for part in np.split(np.arange(50), [13, 40]):
            metric.update_state(y[part], outputs[part])
        assert metric.result() == pytest.approx(expected, rel=1e-6)


def test_nothing_counted():
    for metric in (metrics.Mean(), metrics.Precision(), metrics.AUC(), metrics.MeanIoU(3), metrics.R2Score()):
        assert metric.result() == 0


def test_initializers_on_shapes():
    gn.set_random_seed(5)
    glorot = gn.initializers.GlorotUniform()
    first = glorot((50, 40))
    np.testing.assert_array_equal(first, glorot((50, 40)))
    assert np.abs(first).max() <= np.sqrt(6 / 90)
    assert (gn.initializers.GlorotUniform()((50, 40)) != first).any()
    np.testing.assert_array_equal(
        gn.initializers.RandomNormal(seed=3)((4,)), gn.initializers.RandomNormal(seed=3)(4)
    )
    q = gn.initializers.Orthogonal()((6, 4), dtype="float64")
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    with pytest.raises(ShapeError, match="two axes"):
        gn.initializers.Identity()((2, 2, 2))
    assert gn.initializers.Ones()((0, 3)).shape == (0, 3)


def test_regularizers_and_constraints_refuse_shapes():
    with pytest.raises(ShapeError, match="axes"):
        gn.regularizers.OrthogonalRegularizer()(np.ones(3))
    with pytest.raises(ValueError, match="axis"):
        gn.constraints.MaxNorm(axis=2)(np.ones(3))
