"""Handles of weights, and optimizers that move them."""

import copy
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn._variables import Variable
from gridnn.errors import NonFiniteError, ShapeError

pytestmark = pytest.mark.one_tier


@pytest.fixture
def model():
    stack = [gn.Input((4,)), layers.Dense(3), layers.BatchNormalization(), layers.Dense(2, name="end")]
    return gn.Sequential(stack, seed=0, name="net")


def test_what_a_handle_says(model):
    paths = [weight.path for weight in model.weights]
    assert paths[:2] == ["net/dense/kernel", "net/dense/bias"]
    assert paths[4:] == [
        "net/batch_normalization/moving_mean",
        "net/batch_normalization/moving_variance",
        "net/end/kernel",
        "net/end/bias",
    ]
    kernel = model.weights[0]
    assert (kernel.name, kernel.shape, kernel.dtype, kernel.trainable) == ("kernel", (4, 3), "float32", True)
    assert [w.name for w in model.non_trainable_weights] == ["moving_mean", "moving_variance"]
    assert len(model.trainable_weights) == 6
    for weight, value in zip(model.weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    model.layers[0].trainable = False
    assert len(model.trainable_weights) == 4


def test_assign_and_arithmetic(model):
    bias = model.layers[0].weights[1]
    bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(model.get_weights()[1], [1, 2, 3])
    bias.assign_add([1.0, 0.0, 0.0])
    bias.assign_sub(np.ones(3))
    np.testing.assert_array_equal(bias * 2 + np.ones(3), [3, 3, 5])
    np.testing.assert_array_equal(np.maximum(bias, 1.5), [1.5, 1.5, 2])
    copied = bias.numpy()
    copied[:] = 7
    np.testing.assert_array_equal(model.layers[0].bias, [1, 1, 2])
    assert len(bias) == 3
    assert bias[2] == 2
    with pytest.raises(ShapeError, match=r"'dense/bias' has shape \(3,\)"):
        bias.assign([1.0, 2.0])
    with pytest.raises(ValueError, match="cannot hold"):
        bias.assign([1e300, 0.0, 0.0])


def test_no_weights_before_a_layer_is_built():
    layer = layers.Dense(3)
    assert layer.weights == []
    assert gn.Sequential([layer]).weights == []


def test_handles_of_shared_and_nested_layers():
    inner = gn.Sequential([gn.Input((3,)), layers.Dense(3, name="own")], name="inner")
    x = gn.Input((3,))
    model = gn.Model(x, layers.Dense(1, name="end")(inner(inner(x))))
    assert [w.path for w in model.weights] == ["inner/own/kernel", "inner/own/bias", "end/kernel", "end/bias"]
    model.weights[1].assign([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(inner.get_weights()[1], 1)
    inner.layers[0].weights[1].assign(0)
    np.testing.assert_array_equal(model.get_weights()[1], 0)


def test_a_variable_of_ones_own():
    total = Variable(np.zeros(2), "total")
    total.assign_add([1, 2])
    assert total.dtype == "float64"
    assert float(total.numpy().sum()) == 3
    count = Variable(0, "count", dtype="int64")
    count.assign_add(2)
    assert int(count) == 2
    assert f"{count}" == "2"
    assert repr(count) == "<Variable 'count': int64 of shape (), 2>"
    assert count == 2
    assert range(5)[count] == 2


def test_steps_on_handles_are_those_of_training(model):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(8, 2)).astype(np.float32)
    net = gn.Sequential([gn.Input((4,)), layers.Dense(2)], seed=0)
    by_hand = copy.deepcopy(net)
    net.compile(gn.optimizers.Adam(0.01), "mse")
    optimizer = gn.optimizers.Adam(0.01)
    for _ in range(3):
        net.train_on_batch(x, y)
        error = 2 * (by_hand(x) - y) / y.size
        optimizer.apply([x.T @ error, error.sum(axis=0)], by_hand.trainable_weights)
    for ours, theirs in zip(by_hand.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert optimizer.iterations == 3
    assert net.optimizer.iterations == 3
    assert int(net.optimizer.iterations) == net.iterations


def test_a_constraint_holds_after_a_step():
    layer = layers.Dense(2, kernel_constraint="non_neg")
    layer([[1.0]])
    optimizer = gn.optimizers.SGD(1.0)
    optimizer.apply_gradients([(np.full((1, 2), 100.0), layer.weights[0])])
    np.testing.assert_array_equal(layer.kernel, 0)


def test_a_schedule_goes_by_steps():
    weight = np.zeros(1)
    optimizer = gn.optimizers.SGD(gn.schedules.ExponentialDecay(1.0, 1, 0.5))
    for _ in range(3):
        optimizer.apply([np.ones(1)], [weight])
    assert weight[0] == pytest.approx(-1.75)


def test_a_moving_average_of_weights():
    weight = np.zeros(1)
    optimizer = gn.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(2):
        optimizer.apply([np.ones(1)], [weight])
    optimizer.finalize_variable_values([weight])
    assert weight[0] == pytest.approx(-1.5)


def test_steps_that_are_refused():
    weight, other = np.ones(2), np.ones(2)
    optimizer = gn.optimizers.Adam(0.1)
    optimizer.apply([np.ones(2)], [weight])
    before = weight.copy()
    with pytest.raises(NonFiniteError):
        optimizer.apply([np.array([1.0, np.nan])], [weight])
    np.testing.assert_array_equal(weight, before)
    assert optimizer.iterations == 1
    with pytest.raises(ValueError, match="others"):
        optimizer.apply([np.ones(2)], [other])
    with pytest.raises(ShapeError, match=r"gradients\[0\]"):
        optimizer.apply([np.ones(3)], [weight])
    with pytest.raises(ValueError, match="an entry for each"):
        optimizer.apply([], [weight])
    with pytest.raises(ValueError, match="None for weight number 0"):
        optimizer.apply([None], [weight])
    with pytest.raises(TypeError, match="handle"):
        gn.optimizers.SGD().apply([[1.0]], [[1.0]])
    with pytest.raises(TypeError, match="float32 or float64"):
        gn.optimizers.SGD().apply([[1.0]], [np.ones(1, int)])
    with pytest.raises(ValueError, match="at least one"):
        gn.optimizers.SGD().apply([], [])


def test_copies_of_optimizers_begin_anew():
    optimizer = gn.optimizers.SGD(0.5)
    weight = np.ones(1)
    optimizer.apply([weight.copy()], [weight])
    for twin in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert twin.iterations == 0
        assert twin.learning_rate == 0.5


def test_output_shapes_of_models():
    stack = gn.Sequential([layers.Conv2D(4, 3), layers.Residual([layers.Conv2D(4, 3, padding="same")])])
    assert stack.compute_output_shape((2, 8, 8, 1)) == (2, 6, 6, 4)
    a, b = gn.Input((3,), name="a"), gn.Input((None, 2), name="b")
    model = gn.Model([a, b], {"one": layers.Dense(2)(a), "two": layers.GlobalMaxPooling1D()(b)})
    assert model.compute_output_shape([(None, 3), (None, 5, 2)]) == {"one": (None, 2), "two": (None, 2)}
    assert model.compute_output_shape({"b": (7, 5, 2), "a": (7, 3)})["one"] == (7, 2)
    with pytest.raises(ShapeError):
        model.compute_output_shape([(None, 3), (None, 5)])
    with pytest.raises(ValueError, match="2 inputs"):
        model.compute_output_shape((None, 3))


def test_json():
    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    x = gn.Input((3,))
    model = gn.Model(x, Doubled(name="twice")(layers.Dense(2)(x)), seed=4)
    text = model.to_json(indent=1)
    other = gn.models.model_from_json(text, {"Doubled": Doubled})
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    assert other.get_config() == model.get_config()
    with pytest.raises(ValueError, match="to_json"):
        gn.models.model_from_json("{}")
