"""Arguments of layers: canonical forms, errors in Keras' words; layers of a built model."""

import copy
import re

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

BAD_CONVOLUTIONS = [
    (
        {"filters": 0, "kernel_size": 1},
        "Invalid value for argument `filters`. Expected a strictly positive value. Received filters=0.",
    ),
    (
        {"filters": 2, "kernel_size": (1, 0)},
        "The `kernel_size` argument must be a tuple of 2 integers. Received kernel_size=(1, 0), including "
        "values {0} that do not satisfy `value > 0`",
    ),
    (
        {"filters": 2, "kernel_size": (2, 2), "strides": (1, 0)},
        "The `strides` argument must be a tuple of 2 integers. Received strides=(1, 0), including values "
        "{0} that do not satisfy `value > 0`",
    ),
    (
        {"filters": 2, "kernel_size": 2, "groups": 0},
        "The number of groups must be a positive integer. Received: groups=0.",
    ),
    (
        {"filters": 5, "kernel_size": 2, "groups": 2},
        "The number of filters must be evenly divisible by the number of groups. Received: groups=2, "
        "filters=5.",
    ),
    (
        {"filters": 2, "kernel_size": (1, 2, 3)},
        "The `kernel_size` argument must be a tuple of 2 integers. Received kernel_size=(1, 2, 3)",
    ),
    ({"filters": 2, "kernel_size": 2, "padding": "most"}, "`padding` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "padding": "causal"}, "`padding` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "padding": -1}, "`padding` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "padding": [(1, 1)]}, "`padding` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "padding": [(1, 1), (1, 2, 3)]}, "`padding` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "padding_mode": "mirror"}, "`padding_mode` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "activation": "rectify"}, "`activation` argument must be one of"),
    ({"filters": 2, "kernel_size": 2, "kernel_initializer": "xavier"}, "Could not interpret initializer"),
    ({"filters": 2, "kernel_size": 2, "name": "a/b"}, "`name` argument must be"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CONVOLUTIONS)
def test_bad_convolution_values(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        layers.Conv2D(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 2.0, "kernel_size": 2},
        {"filters": True, "kernel_size": 2},
        {"filters": 2, "kernel_size": 2.5},
        {"filters": 2, "kernel_size": "33"},
        {"filters": 2, "kernel_size": 2, "strides": None},
        {"filters": 2, "kernel_size": 2, "padding": None},
        {"filters": 2, "kernel_size": 2, "padding": (1, 1)},
        {"filters": 2, "kernel_size": 2, "use_bias": 1},
        {"filters": 2, "kernel_size": 2, "activation": np.tanh},
        {"filters": 2, "kernel_size": 2, "kernel_initializer": 3},
        {"filters": 2, "kernel_size": 2, "name": 3},
        {"filters": 2, "kernel_size": 2, "data_format": "channels_first"},
    ],
)
def test_wrong_kinds_of_convolution_arguments(arguments):
    with pytest.raises(TypeError):
        layers.Conv2D(**arguments)


def test_canonical_arguments():
    conv = layers.Conv2D(np.int64(4), np.array([3, 5]), padding="SAME", activation=None)
    assert conv.filters == 4
    assert type(conv.filters) is int
    assert conv.kernel_size == (3, 5)
    assert conv.strides == (1, 1)
    assert conv.padding == "same"
    assert conv.activation == "linear"
    assert layers.Conv3D(1, 1, padding=2).padding == ((2, 2), (2, 2), (2, 2))
    assert layers.Conv1D(1, 1, padding=[(2, 1)]).padding == ((2, 1),)
    assert layers.Conv1D(1, 1, padding="causal").padding == "causal"
    assert layers.MaxPooling2D().strides == (2, 2)
    assert layers.MaxPooling3D((1, 2, 3)).strides == (1, 2, 3)
    assert layers.Activation("swish").activation == "silu"


def test_forms_of_padding():
    assert layers.ZeroPadding1D().padding == ((1, 1),)
    assert layers.ZeroPadding1D((1, 2)).padding == ((1, 2),)
    assert layers.ZeroPadding1D([(1, 2)]).padding == ((1, 2),)
    assert layers.ZeroPadding2D((1, 2)).padding == ((1, 1), (2, 2))
    assert layers.ZeroPadding2D(((1, 2), (3, 4))).padding == ((1, 2), (3, 4))
    assert layers.ZeroPadding3D(np.array([1, 2, 3])).padding == ((1, 1), (2, 2), (3, 3))
    assert layers.Cropping1D().cropping == ((1, 1),)
    assert layers.Cropping2D().cropping == ((0, 0), (0, 0))
    assert layers.Cropping3D().cropping == ((1, 1), (1, 1), (1, 1))
    assert layers.Padding2D(2, "wrap").padding == ((2, 2), (2, 2))
    assert layers.UpSampling2D((2, 3)).size == (2, 3)
    assert layers.MaxPooling2D(3, padding=1, ceil_mode=True).padding == ((1, 1), (1, 1))


def test_a_grid_without_elements_is_an_error():
    with pytest.raises(gn.errors.ShapeError, match="cropping2d"):
        gn.Sequential([gn.Input((3, 2, 1)), layers.Cropping2D(1)])
    with pytest.raises(gn.errors.ShapeError, match="max_pooling1d"):
        gn.Sequential([gn.Input((2, 1)), layers.MaxPooling1D(5, 1, ceil_mode=True)])


def test_aliases_are_the_same_classes():
    for rank in "123":
        assert getattr(layers, f"GlobalMaxPool{rank}D") is getattr(layers, f"GlobalMaxPooling{rank}D")
        assert getattr(layers, f"MaxPool{rank}D") is getattr(layers, f"MaxPooling{rank}D")
        assert getattr(layers, f"AvgPool{rank}D") is getattr(layers, f"AveragePooling{rank}D")
        assert getattr(layers, f"GlobalAvgPool{rank}D") is getattr(layers, f"GlobalAveragePooling{rank}D")


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(0),
        lambda: layers.Dense(-3),
        lambda: layers.MaxPooling2D(0),
        lambda: layers.MaxPooling1D((1, 2)),
        lambda: layers.AveragePooling2D(2, padding="causal"),
        lambda: layers.MaxPooling1D(2, padding="causal"),
        lambda: layers.MaxPooling2D(2, padding=[(1, 1)]),
        lambda: layers.ZeroPadding2D(-1),
        lambda: layers.ZeroPadding2D((1, 2, 3)),
        lambda: layers.ZeroPadding1D([(1, 2, 3)]),
        lambda: layers.Padding2D(1, "mirror"),
        lambda: layers.Cropping3D((1, 2)),
        lambda: layers.UpSampling2D(0),
        lambda: layers.UpSampling2D(2, "cubic"),
        lambda: layers.Dropout(1.5),
        lambda: layers.Dropout(-0.1),
        lambda: layers.Dropout(float("nan")),
        lambda: layers.Dropout(0.5, seed=-1),
        lambda: layers.ReLU(max_value=-1),
        lambda: layers.ReLU(negative_slope=-0.1),
        lambda: layers.ReLU(threshold=-1),
        lambda: layers.Softmax(axis=0),
        lambda: layers.Rescaling(float("inf")),
        lambda: layers.Input(()),
        lambda: layers.Input((0, 3)),
    ],
)
def test_bad_values(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense("10"),
        lambda: layers.Dense(2.5),
        lambda: layers.AveragePooling2D(),
        lambda: layers.MaxPooling2D(2, ceil_mode=1),
        lambda: layers.GlobalMaxPooling2D(keepdims=1),
        lambda: layers.ZeroPadding2D(1.5),
        lambda: layers.ZeroPadding1D("1"),
        lambda: layers.Cropping2D(None),
        lambda: layers.UpSampling3D(2.0),
        lambda: layers.UpSampling1D(2, interpolation="bilinear"),
        lambda: layers.Dropout("0.5"),
        lambda: layers.Dropout(None),
        lambda: layers.Rescaling("1"),
        lambda: layers.Softmax(axis=1.0),
        lambda: layers.Input(28),
        lambda: layers.Input(("a", 1)),
        lambda: layers.GlobalAveragePooling2D(keepdims="yes"),
        lambda: layers.Dense(3, trainable="no"),
    ],
)
def test_wrong_kinds(make):
    with pytest.raises(TypeError):
        make()


def test_configuration_never_changes():
    layer = layers.Conv2D(4, 3)
    with pytest.raises(AttributeError, match="filters"):
        layer.filters = 8
    assert layer.filters == 4


def test_no_weights_before_the_model_is_built():
    layer = layers.Dense(2)
    assert not layer.built
    with pytest.raises(AttributeError, match="dense"):
        _ = layer.kernel
    with pytest.raises(ValueError, match="not built"):
        layer.get_weights()
    with pytest.raises(ValueError, match="not built"):
        _ = layer.output_shape


@pytest.fixture
def model():
    return gn.Sequential([gn.Input((4, 4, 1)), layers.Conv2D(2, 3, use_bias=False), layers.Dense(3)], seed=0)


def test_weights_through_the_layer(model):
    conv, dense = model.layers
    assert conv.kernel.shape == (3, 3, 1, 2)
    assert conv.bias is None
    assert dense.bias.shape == (3,)
    assert conv.count_params() == 18
    dense.kernel = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(model.get_weights()[1], [[0, 1, 2], [3, 4, 5]])
    dense.kernel[:] = 7  # a copy: the model does not change
    np.testing.assert_array_equal(dense.kernel, [[0, 1, 2], [3, 4, 5]])
    dense.set_weights([np.zeros((2, 3)), np.ones(3)])
    np.testing.assert_array_equal(dense.bias, [1, 1, 1])
    with pytest.raises(gn.errors.ShapeError, match="dense"):
        dense.kernel = np.zeros((3, 2))
    with pytest.raises(ValueError, match="2 weights"):
        dense.set_weights([np.zeros((2, 3))])
    with pytest.raises(gn.errors.ShapeError):
        dense.set_weights([np.ones((2, 3)), np.ones(2)])
    np.testing.assert_array_equal(dense.kernel, np.zeros((2, 3)))
    with pytest.raises(AttributeError, match="conv2d"):
        conv.bias = np.zeros(2)


def test_frozen_layer_does_not_learn(model):
    conv, dense = model.layers
    x, y = np.ones((4, 4, 4, 1)), np.ones((4, 2, 2, 3))
    model.compile(gn.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.train_on_batch(x, y)
    conv.trainable = False
    kernel, other = conv.kernel, dense.kernel
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(conv.kernel, kernel)
    assert not np.array_equal(dense.kernel, other)
    assert len(model.network.get_gradients()) == 2
    conv.trainable = True
    model.train_on_batch(x, y)
    assert not np.array_equal(conv.kernel, kernel)


def test_frozen_from_the_start():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(2, trainable=False), layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    kernel = model.layers[0].kernel
    model.train_on_batch(np.ones((3, 2)), np.ones(3))
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    assert copy.deepcopy(model.layers[0]).trainable is False


def test_layer_alone_checks_its_channels(model):
    with pytest.raises(gn.errors.ShapeError, match="conv2d"):
        model.layers[0](np.ones((1, 4, 4, 2)))
    assert model.layers[0](np.ones((1, 7, 5, 1))).shape == (1, 5, 3, 2)


def test_dropout_keeps_the_mean_and_depends_on_the_seed():
    def run(seed):
        model = gn.Sequential([gn.Input((1000,)), layers.Dropout(0.25)], seed=seed)
        return model(np.ones((20, 1000)), training=True)

    y = run(1)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert run(1).tobytes() == y.tobytes()
    assert run(2).tobytes() != y.tobytes()
    model = gn.Sequential([gn.Input((10,)), layers.Dropout(0.25)])
    np.testing.assert_array_equal(model(np.ones((2, 10))), np.ones((2, 10)))
    first, second = (model(np.ones((9, 10)), training=True).tobytes() for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("shape", "alike"),
    [
        ((None, 1, 1, None), (1, 2)),
        ((None, None, 1, 3), (2,)),
        ((1, 5, None, None), (0,)),
        ((1, 1, 1, 1), (0, 1, 2, 3)),
        ((8, None, 4, 3), ()),
    ],
)
def test_dropout_in_the_shape_of_its_draws(shape, alike):
    model = gn.Sequential([gn.Input((5, 4, 3)), layers.Dropout(0.5, shape)], seed=3, dtype="float64")
    y = model(np.ones((8, 5, 4, 3)), training=True)
    assert set(np.unique(y)) <= {0.0, 2.0}
    for axis in range(4):
        assert (y == y.take([0], axis)).all() == (axis in alike)
    rounds = 3000 if len(alike) == 4 else 60
    found = [model(np.ones((8, 5, 4, 3)), training=True).mean() for _ in range(rounds)]
    assert np.mean(found) == pytest.approx(1, abs=0.1)


def test_dropout_checks_the_shape_of_its_draws():
    for shape in ((None, 1), (None, 2, None)):
        with pytest.raises(ShapeError, match="noise_shape"):
            gn.Sequential([gn.Input((5, 4)), layers.Dropout(0.5, shape)])


def test_dropout_of_everything_gives_zeros():
    model = gn.Sequential([gn.Input((6,)), layers.Dropout(1.0)], seed=0)
    np.testing.assert_array_equal(model(np.ones((2, 6)), training=True), np.zeros((2, 6)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_spatial_dropout_drops_whole_channels(rank):
    cls = (layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)[rank - 1]
    model = gn.Sequential([gn.Input((*[3] * rank, 400)), cls(0.25)], seed=1)
    y = model(np.ones((5, *[3] * rank, 400)), training=True).reshape(5, -1, 400)
    assert (y == y[:, :1]).all()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert y[:, 0].mean() == pytest.approx(1, abs=0.06)
    with pytest.raises(gn.errors.ShapeError, match="spatial_dropout"):
        gn.Sequential([gn.Input((3,)), cls(0.5)])


@pytest.mark.parametrize(
    ("layer", "stddev"), [(layers.GaussianNoise(0.5), 0.5), (layers.GaussianDropout(0.2), 0.5)]
)
def test_gaussian_layers(layer, stddev):
    model = gn.Sequential([gn.Input((999,)), layer], seed=1)
    y = model(np.ones((50, 999)), training=True)
    assert y.mean() == pytest.approx(1, abs=0.01)
    assert y.std() == pytest.approx(stddev, abs=0.01)
    assert np.unique(y).size > 40_000
    np.testing.assert_array_equal(model(np.ones((2, 999))), np.ones((2, 999)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dropout(0.5),
        lambda: layers.SpatialDropout1D(0.5),
        lambda: layers.GaussianDropout(0.3),
        lambda: layers.Residual([layers.Dropout(0.5)]),
    ],
)
def test_the_backward_pass_draws_what_the_forward_pass_drew(make):
    # If m is the same in both passes, the loss mean((m z)^2) has twice itself as z times its gradient.
    model = gn.Sequential([gn.Input((6, 4)), layers.Dense(40), make()], dtype="float64", seed=3)
    dense = model.layers[0]
    dense.bias = np.random.default_rng(2).normal(size=40)
    model.compile(gn.optimizers.SGD(0.0), "mse")
    loss = model.train_on_batch(np.zeros((7, 6, 4)), np.zeros((7, 6, 40)))
    _, gradient = model.network.get_gradients()
    assert (gradient * dense.bias).sum() == pytest.approx(2 * loss, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: layers.SpatialDropout2D(2), ValueError),
        (lambda: layers.GaussianDropout(1.0), ValueError),
        (lambda: layers.GaussianNoise(-1), ValueError),
        (lambda: layers.Reshape((0, 2)), ValueError),
        (lambda: layers.Reshape((-1, -1)), ValueError),
        (lambda: layers.Reshape(4), TypeError),
        (lambda: layers.Permute((1, 3)), ValueError),
        (lambda: layers.Permute("21"), TypeError),
        (lambda: layers.RepeatVector(0), ValueError),
        (lambda: layers.GroupNormalization(0), ValueError),
        (lambda: layers.GroupNormalization(2, axis=0), ValueError),
        (lambda: layers.LayerNormalization(axis=()), ValueError),
        (lambda: layers.LayerNormalization(axis="last"), TypeError),
        (lambda: gn.Sequential([gn.Input((3, 5)), layers.GroupNormalization(2)]), gn.errors.ShapeError),
        (lambda: gn.Sequential([gn.Input((3, 5)), layers.LayerNormalization((1, -2))]), ValueError),
        (lambda: gn.Sequential([gn.Input((3, 5)), layers.Reshape((2, -1))]), gn.errors.ShapeError),
        (lambda: gn.Sequential([gn.Input((3, 5)), layers.Permute((1,))]), gn.errors.ShapeError),
        (lambda: gn.Sequential([gn.Input((3, 5)), layers.RepeatVector(2)]), gn.errors.ShapeError),
    ],
)
def test_bad_arguments_of_small_layers(make, error):
    with pytest.raises(error):
        make()
