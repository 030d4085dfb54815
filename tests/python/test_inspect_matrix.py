"""Convolutions as matrices, and what shifts do."""

import numpy as np
import pytest
from scipy import linalg, ndimage, sparse

import gridnn as gn
from gridnn import inspect, layers

RNG = np.random.default_rng(4)
SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
PLAIN = [
    {},
    {"strides": 2, "padding": "same", "groups": 2},
    {"dilation_rate": 2, "padding": 2, "padding_mode": "reflect", "use_bias": False},
    {"padding": "same", "padding_mode": "wrap"},
    {"padding": 1, "padding_mode": "edge", "strides": 2},
    {"padding": 2, "padding_mode": "symmetric"},
]
DEPTHWISE = [
    {},
    {"depth_multiplier": 3, "padding": "same", "strides": 2},
    {"padding": 1, "padding_mode": "wrap"},
]
TRANSPOSED = [
    {},
    {"strides": 2, "padding": "same", "groups": 2},
    {"strides": 3, "padding": 1, "output_padding": 1},
    {"dilation_rate": 2, "padding": "same"},
    {"strides": 3},
]


def cases():
    for rank, sizes in SIZES.items():
        for options in PLAIN:
            yield getattr(layers, f"Conv{rank}D")(4, 3 if rank < 3 else 2, **options), (*sizes, 2)
        for options in DEPTHWISE:
            yield getattr(layers, f"DepthwiseConv{rank}D")(2, **options), (*sizes, 3)
        for options in TRANSPOSED:
            yield getattr(layers, f"Conv{rank}DTranspose")(4, 2, **options), (*sizes, 2)
    yield layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (8, 2)


def built(layer, shape):
    model = gn.Sequential([gn.Input(shape), layer], dtype="float64", seed=3)
    layer.set_weights([RNG.normal(size=weight.shape) for weight in layer.get_weights()])
    return model


@pytest.mark.parametrize(("layer", "shape"), list(cases()), ids=lambda value: repr(value)[:60])
def test_matrix_does_what_the_layer_does(layer, shape):
    layer = type(layer).from_config(layer.get_config())
    model = built(layer, shape)
    matrix = inspect.as_matrix(layer)
    x = RNG.normal(size=(3, *shape))
    np.testing.assert_allclose(matrix(x), layer(x), rtol=1e-12, atol=1e-12)
    assert matrix.output_shape == model.output_shape[1:]
    assert matrix.input_shape == shape
    thin = inspect.as_matrix(layer, sparse=True)
    assert sparse.issparse(thin.matrix)
    np.testing.assert_allclose(thin.matrix.toarray(), matrix.matrix, atol=1e-15)
    np.testing.assert_allclose(thin(x), matrix(x), rtol=1e-12, atol=1e-12)


def test_which_weight_stands_where():
    layer = layers.Conv2D(2, 2, padding="same")
    built(layer, (3, 3, 2))
    matrix = inspect.as_matrix(layer)
    at = matrix.weight_at()
    assert at.shape == matrix.matrix.shape == (18, 18)
    kernel = layer.kernel.ravel()
    np.testing.assert_array_equal(matrix.matrix, np.where(at >= 0, kernel[at], 0))
    assert (at[0] >= 0).sum() == 2 * 2 * 2  # the receptive field of an inner output, in both channels
    assert set(at[at >= 0]) == set(range(kernel.size))  # every weight is shared by several rows


def test_against_scipy():
    layer = layers.Conv1D(1, 3, padding="same", padding_mode="wrap", use_bias=False)
    built(layer, (6, 1))
    a, b, c = layer.kernel.ravel()
    np.testing.assert_allclose(inspect.as_matrix(layer).matrix, linalg.circulant([b, a, 0, 0, 0, c]))
    layer = layers.Conv1D(1, 2, use_bias=False)
    built(layer, (5, 1))
    a, b = layer.kernel.ravel()
    np.testing.assert_allclose(
        inspect.as_matrix(layer).matrix, linalg.toeplitz([a, 0, 0, 0], [a, b, 0, 0, 0])
    )


def test_a_transposed_convolution_is_the_transposed_matrix():
    forward = layers.Conv2D(3, 3, strides=2, use_bias=False)
    built(forward, (7, 9, 2))
    back = layers.Conv2DTranspose(2, 3, strides=2, use_bias=False)
    built(back, (3, 4, 3))
    back.kernel = forward.kernel
    np.testing.assert_array_equal(inspect.as_matrix(back).matrix, inspect.as_matrix(forward).matrix.T)


def test_matrix_of_another_size():
    layer = layers.Conv1D(2, 3)
    gn.Sequential([gn.Input((None, 1)), layer])
    with pytest.raises(ValueError, match="pass input_shape"):
        inspect.as_matrix(layer)
    assert inspect.as_matrix(layer, (5, 1)).matrix.shape == (6, 5)
    with pytest.raises(gn.errors.ShapeError, match="takes samples of shape"):
        inspect.as_matrix(layer, (5, 2))
    with pytest.raises(ValueError, match="sparse=True"):
        inspect.as_matrix(layer, (20_000, 1))
    with pytest.raises(gn.errors.ShapeError, match="batch of samples"):
        inspect.as_matrix(layer, (5, 1))(np.zeros((1, 6, 1)))
    with pytest.raises(TypeError, match="convolution"):
        inspect.as_matrix(layers.Flatten())


@pytest.mark.parametrize("rank", SIZES)
def test_circular_convolutions_commute_with_shifts(rank):
    x = RNG.normal(size=(2, *SIZES[rank], 2))
    for mode, exact in (("wrap", True), ("zeros", False)):
        layer = getattr(layers, f"Conv{rank}D")(3, 3, padding="same", padding_mode=mode)
        model = built(layer, x.shape[1:])
        shift = (2, 1, 3)[:rank]
        result = inspect.equivariance(model, x, shift)
        assert result.shift == shift
        assert (result.error < 1e-12) == exact
        assert result.difference.shape == (2, *SIZES[rank], 3)


@pytest.mark.parametrize("mode", ["wrap", "constant"])
def test_equivariance_against_scipy(mode):
    x, kernel, shift = RNG.normal(size=(7, 8)), RNG.normal(size=(3, 3)), (2, -3)

    def moved(image):
        return ndimage.shift(image, shift, order=0, mode="grid-wrap")

    def filtered(batch):
        return ndimage.correlate(batch[0, ..., 0], kernel, mode=mode)[None, ..., None]

    expected = np.abs(
        ndimage.correlate(moved(x), kernel, mode=mode) - moved(ndimage.correlate(x, kernel, mode=mode))
    )
    found = inspect.equivariance(filtered, x[None, ..., None], shift)
    np.testing.assert_allclose(found.difference[0, ..., 0], expected, atol=1e-14)
    assert (found.error < 1e-14) == (mode == "wrap")


def test_zero_padding_is_felt_at_the_border_only():
    model = built(layers.Conv1D(1, 3, padding="same"), (12, 1))
    difference = inspect.equivariance(model, RNG.normal(size=(1, 12, 1)), 4).difference[0, :, 0]
    touched = {0, 11, 3, 4}  # both ends, and where they come to lie
    assert set(np.flatnonzero(difference > 1e-12)) <= touched


def test_strides_commute_with_their_multiples():
    model = built(layers.MaxPooling1D(2), (12, 1))
    x = RNG.normal(size=(1, 12, 1))
    assert inspect.equivariance(model, x, 4).error == 0
    assert inspect.equivariance(model, x, 4).shift == (2,)
    assert inspect.equivariance(model, x, 3).error > 0


def test_invariance():
    circular = layers.Conv2D(3, 3, padding="same", padding_mode="wrap", activation="relu")
    model = gn.Sequential([gn.Input((6, 6, 1)), circular, layers.GlobalAveragePooling2D()], dtype="float64")
    x = RNG.normal(size=(2, 6, 6, 1))
    assert inspect.invariance(model, x, (2, 3)).error < 1e-12
    assert inspect.invariance(lambda batch: batch, x, 1).error > 0.1
    with pytest.raises(gn.errors.ShapeError, match="keep the spatial axes"):
        inspect.equivariance(model, x, 1)


@pytest.mark.parametrize("shift", [(1,), (1, 2, 3), 1.5])
def test_wrong_shifts(shift):
    with pytest.raises((ValueError, TypeError), match="shift"):
        inspect.invariance(lambda x: x, np.zeros((1, 4, 4, 1)), shift)


def test_no_spatial_axes():
    with pytest.raises(gn.errors.ShapeError, match="spatial"):
        inspect.invariance(lambda x: x, np.zeros((1, 4)), 1)
