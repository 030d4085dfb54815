"""Names and arguments that programs written for Keras use, where they are not those of this library."""

import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import constraints, initializers, layers, losses, metrics, optimizers, regularizers

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("options", "shape"),
    [({"input_shape": (5,)}, (5,)), ({"input_dim": 5}, (5,)), ({"batch_input_shape": (None, 3, 5)}, (3, 5))],
)
def test_the_first_layer_takes_the_shape_of_the_input(options, shape):
    with pytest.warns(UserWarning, match="Do not pass an `input_shape`"):
        model = gn.Sequential([layers.Dense(4, **options), layers.Dense(2)])
    assert model.input_shape == (None, *shape)
    assert pickle.loads(pickle.dumps(model)).input_shape == (None, *shape)


def test_layouts_and_types_that_are_those_here_are_taken():
    assert layers.Conv2D(2, 3, data_format="channels_last", dtype="float32").filters == 2
    with pytest.raises(TypeError, match=r"'channels_first'.*numpy.moveaxis"):
        layers.Conv2D(2, 3, data_format="channels_first")
    with pytest.raises(TypeError, match=r"dtype='float16'"):
        layers.Dense(2, dtype="float16")


def test_former_names_are_taken_with_a_warning():
    with pytest.warns(UserWarning, match="`alpha` is deprecated"):
        assert layers.LeakyReLU(alpha=0.1).negative_slope == 0.1
    with pytest.warns(UserWarning, match="`lr` argument is deprecated"):
        assert optimizers.Adam(lr=0.5).learning_rate == 0.5
    with pytest.warns(UserWarning, match="`decay` is no longer supported"):
        optimizers.SGD(0.1, decay=1e-4)


@pytest.mark.parametrize("module", [constraints, initializers, losses, metrics, regularizers])
def test_get_of_none_is_none(module):
    assert module.get(None) is None


def test_names_in_lower_case():
    assert isinstance(regularizers.l2(1e-4), regularizers.L2)
    assert initializers.he_normal is initializers.HeNormal
    assert constraints.max_norm(3).max_value == 3.0
    assert layers.Dense(2, kernel_initializer=None).kernel_initializer.get_config()["seed"] is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (gn.activations.relu, "relu"),
        (layers.ReLU(), "relu"),
        (layers.ReLU(6.0), "relu6"),
        (layers.LeakyReLU(0.2), "leaky_relu"),
        (layers.LeakyReLU(0.1), "leaky_relu(0.1)"),
        (layers.ELU(0.5), "elu(0.5)"),
        (layers.Softmax(), "softmax"),
        (layers.Activation("tanh"), "tanh"),
        (layers.ReLU, "relu"),
    ],
)
def test_activations_may_be_objects(given, name):
    layer = layers.Dense(2, activation=given)
    assert layer.activation == name
    assert layers.Dense.from_config(layer.get_config()).activation == name


@pytest.mark.parametrize("given", [layers.Dense(2), layers.Softmax(1), "leaky_relu(a)", len])
def test_other_objects_are_no_activations(given):
    with pytest.raises((TypeError, ValueError), match="activation"):
        layers.Conv2D(2, 3, activation=given)


def test_compile_takes_what_changes_nothing():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)])
    model.compile(
        "sgd", "mse", run_eagerly=True, steps_per_execution=4, jit_compile=True, auto_scale_loss=False
    )
    with pytest.raises(ValueError, match="steps_per_execution"):
        model.compile("sgd", "mse", steps_per_execution=0)


def test_summary_is_as_wide_as_asked_for():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")])
    lines = []
    model.summary(line_length=120, show_trainable=True, layer_range=["two", "two"], print_fn=lines.append)
    text = lines[0].split("\n")
    assert max(map(len, text)) == 120
    assert "Trainable" in text[1]
    assert not any("one (Dense)" in line for line in text)
    with pytest.raises(ValueError, match="'three'"):
        model.summary(layer_range=["three", "two"])


def test_a_model_without_input_takes_another_size():
    def stack():
        grid = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()]
        return [*grid, layers.GlobalAveragePooling2D(), layers.Dense(2)]

    small, large = RNG.normal(size=(8, 6, 6, 1)), RNG.normal(size=(8, 9, 7, 1))
    y = RNG.normal(size=(8, 2))
    closed = gn.Sequential(stack(), seed=1)
    opened = gn.Sequential([gn.Input((None, None, 1)), *stack()], seed=1)
    for model in (closed, opened):
        model.compile("adam", "mse")
        model.fit(small, y, verbose=0, seed=0)
    assert closed.input_shape == (None, 6, 6, 1)
    histories = [model.fit(large, y, verbose=0, seed=0).history for model in (closed, opened)]
    assert closed.input_shape == (None, None, None, 1)
    assert closed.iterations == 2
    assert histories[0] == histories[1]
    dense = gn.Sequential([layers.Flatten(), layers.Dense(2)])
    dense.predict(small)
    with pytest.raises(ValueError, match=r"expected shape \(batch, 6, 6, 1\)"):
        dense.predict(large)


def test_lambda_works_at_inference_and_behind_nothing_that_is_trained():
    model = gn.Sequential([gn.Input((3,)), layers.Lambda(lambda x: x**2), layers.Dense(2)], seed=0)
    model.compile("sgd", "mse")
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
    model.fit(x, y, verbose=0)
    twin = gn.models.clone_model(model)
    twin.set_weights(model.get_weights())
    assert np.array_equal(twin.predict(x), model.predict(x))
    with pytest.raises(ValueError, match=r"layer 'lambda' \(Lambda\).*files do not keep"):
        model.save("never.gridnn")
    last = gn.Sequential([gn.Input((3,)), layers.Dense(2), layers.Lambda(abs)])
    last.compile("sgd", "mse")
    with pytest.raises(NotImplementedError, match=r"'lambda'.*`backward`"):
        last.fit(x, y, verbose=0)


def test_weights_without_decay():
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2, bias_initializer="ones")])
    model.compile(optimizer, "mse")
    kernel, _ = model.get_weights()
    model.train_on_batch(np.zeros((2, 3)), np.ones((2, 2)))
    np.testing.assert_allclose(model.get_weights()[0], 0.95 * kernel, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[1], 1.0)
    assert pickle.loads(pickle.dumps(model)).optimizer.undecayed(["a/kernel", "a/bias"]) == [1]


@pytest.mark.parametrize("on_epoch", [False, True])
def test_averages_are_there_for_validation(on_epoch):
    x, y = RNG.normal(size=(16, 3)), RNG.normal(size=(16, 1))

    def trained(callbacks):
        model = gn.Sequential([gn.Input((3,)), layers.Dense(1)], seed=1)
        model.compile(optimizers.SGD(0.3, use_ema=True, ema_momentum=0.5), "mse")
        seen = model.fit(x, y, 8, 3, 0, callbacks, validation_data=(x, y), seed=0).history
        return model, seen

    swapped, seen = trained([gn.callbacks.SwapEMAWeights(on_epoch)])
    plain, other = trained([])
    assert seen["loss"] == other["loss"]
    assert seen["val_loss"] != other["val_loss"]
    assert all(map(np.array_equal, swapped.get_weights(), plain.get_weights()))


def test_results_of_each_class_and_of_several_thresholds():
    wanted = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    found = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    assert metrics.Precision(average=None)(wanted, found).tolist() == [0.5, 1.0, 1.0]
    assert metrics.Recall(average=None)(wanted, found).tolist() == [1.0, 0.5, 1.0]
    assert metrics.Recall(average="macro")(wanted, found) == pytest.approx(2.5 / 3)
    assert metrics.Precision([0.15, 0.5])(wanted, found).tolist() == [0.5, 0.75]
    np.testing.assert_allclose(metrics.F1Score(None)(wanted, found), [2 / 3, 2 / 3, 1], rtol=1e-5)
    assert metrics.FalseNegatives()(wanted, found) == 1.0
    assert metrics.TrueNegatives()(wanted, found) == 7.0
    model = gn.Sequential([gn.Input((3,)), layers.Softmax()])
    model.compile("sgd", "categorical_crossentropy", [metrics.Recall(average=None, name="recall")])
    history = model.fit(found, wanted, verbose=0)
    assert np.shape(history.history["recall"]) == (1, 3)
