"""Hand-made filters against SciPy and against what they are made for."""

import numpy as np
import pytest
from scipy import ndimage

import gridnn as gn
from gridnn import filters

RNG = np.random.default_rng(5)
SHAPES = {1: (40,), 2: (24, 31), 3: (12, 13, 14)}
ranks = pytest.mark.parametrize("rank", SHAPES)


def image(rank):
    return RNG.normal(size=SHAPES[rank])


def agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@ranks
def test_smoothing(rank):
    x = image(rank)
    agree(filters.filter_image(x, filters.box(3, rank)), ndimage.uniform_filter(x, 3))
    for sigma in (0.6, 1.0, 1.9):
        agree(filters.filter_image(x, filters.gaussian(sigma, rank)), ndimage.gaussian_filter(x, sigma))


def test_gaussian_of_a_given_size():
    kernel = filters.gaussian(1.0, 1, size=3)
    side = np.exp(-0.5)
    agree(kernel, np.array([side, 1, side]) / (1 + 2 * side))


@ranks
def test_second_derivatives(rank):
    x = image(rank)
    agree(filters.filter_image(x, filters.laplacian(rank)), ndimage.laplace(x))
    assert filters.log is filters.laplacian_of_gaussian
    for sigma in (0.8, 1.5):
        agree(filters.filter_image(x, filters.log(sigma, rank)), ndimage.gaussian_laplace(x, sigma))
    all_neighbours = filters.laplacian(rank, diagonals=True)
    assert all_neighbours.sum() == 0
    assert (all_neighbours != 1).sum() == 1


@ranks
def test_edges(rank):
    x = image(rank)
    for axis in range(-rank, rank):
        agree(filters.filter_image(x, filters.sobel(axis, rank)), ndimage.sobel(x, axis))
        agree(filters.filter_image(x, filters.prewitt(axis, rank)), ndimage.prewitt(x, axis))
        smoothing = [np.array([3.0, 10.0, 3.0])] * rank
        smoothing[axis] = np.array([-1.0, 0.0, 1.0])
        expected = x
        for other, line in enumerate(smoothing):
            expected = ndimage.correlate1d(expected, line, other)
        agree(filters.filter_image(x, filters.scharr(axis, rank)), expected)


@ranks
def test_sharpening(rank):
    x = image(rank)
    agree(filters.filter_image(x, filters.sharpen(0.5, rank)), x - 0.5 * ndimage.laplace(x))
    expected = x + 2 * (x - ndimage.gaussian_filter(x, 1.2))
    agree(filters.filter_image(x, filters.unsharp(1.2, 2, rank)), expected)


def test_published_tables():
    np.testing.assert_array_equal(filters.sharpen(), [[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    np.testing.assert_array_equal(filters.emboss(), [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    np.testing.assert_array_equal(filters.emboss(1), [-1, 1, 1])
    np.testing.assert_array_equal(filters.sobel(), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def test_motion():
    level = filters.motion(5, 0)
    np.testing.assert_allclose(level[2].sum(), 1)
    assert level.shape == (5, 5)
    np.testing.assert_allclose(filters.motion(5, 90), level.T, atol=1e-12)
    np.testing.assert_allclose(filters.motion(5, (1, 0)), level.T, atol=1e-12)
    diagonal = filters.motion(7, 45)
    np.testing.assert_allclose(diagonal.sum(), 1)
    np.testing.assert_allclose(diagonal, diagonal.T, atol=1e-12)
    assert np.argmax(diagonal[0]) == 0  # towards the end of both axes, and from their start
    np.testing.assert_array_equal(filters.motion(3, rank=1), filters.box(3, 1))
    through = filters.motion(5, (1, 0, 0), rank=3)
    np.testing.assert_allclose(through[:, 2, 2].sum(), 1)


@ranks
def test_gabor_finds_its_own_wave(rank):
    direction = (1.0, 2.0, -1.0)[:rank]
    unit = np.array(direction) / np.linalg.norm(direction)
    kernel = filters.gabor(6.0, direction, rank=rank)
    offsets = np.meshgrid(*[np.arange(n) - n // 2 for n in kernel.shape], indexing="ij")
    waves = {
        length: np.cos(2 * np.pi * sum(o * u for o, u in zip(offsets, unit, strict=True)) / length)
        for length in (3, 6, 12)
    }
    answers = {length: abs((kernel * wave).sum()) for length, wave in waves.items()}
    assert answers[6] > 1.5 * max(answers[3], answers[12])
    odd = filters.gabor(6.0, direction, phase=90, rank=rank)
    np.testing.assert_allclose(odd.sum(), 0, atol=1e-12)


def test_gabor_by_its_formula():
    kernel = filters.gabor(5.0, 30, sigma=2.0, phase=20, aspect=0.5)
    assert kernel.shape == (25, 25)
    y, x = 3, -4
    angle = np.radians(30)
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    expected = np.exp(-(u**2 + 0.25 * v**2) / 8) * np.cos(2 * np.pi * u / 5 + np.radians(20))
    np.testing.assert_allclose(kernel[12 + y, 12 + x], expected)


def test_filter_image_takes_channels_and_batches():
    x = RNG.normal(size=(2, 9, 8, 3))
    kernel = RNG.normal(size=(3, 2))
    filtered = filters.filter_image(x, kernel, padding_mode="wrap")
    for sample, channel in np.ndindex(2, 3):
        expected = ndimage.correlate(x[sample, ..., channel], kernel, mode="wrap")
        agree(filtered[sample, ..., channel], expected)
        agree(filters.filter_image(x[sample], kernel, padding_mode="wrap")[..., channel], expected)


def test_bank_in_a_frozen_layer():
    chosen = [filters.sobel(0), filters.gaussian(1.0)]
    kernel = filters.bank(chosen, channels=2)
    assert kernel.shape == (9, 9, 2, 2)
    model = gn.Sequential(
        [
            gn.Input((20, 20, 2)),
            gn.layers.Conv2D(2, 9, padding="same", padding_mode="symmetric", use_bias=False),
            gn.layers.Flatten(),
            gn.layers.Dense(1),
        ],
        seed=0,
    )
    first = model.layers[0]
    first.kernel = kernel
    first.trainable = False
    model.compile("sgd", "mse")
    x = RNG.normal(size=(4, 20, 20, 2)).astype(np.float32)
    model.fit(x, np.ones(4), verbose=0)
    np.testing.assert_array_equal(first.kernel, kernel)
    expected = filters.filter_image(x.mean(-1, keepdims=True), filters.gaussian(1.0))
    np.testing.assert_allclose(first(x)[..., 1:], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: filters.box(0), "positive"),
        (lambda: filters.box(3, 4), "1, 2 or 3"),
        (lambda: filters.gaussian(0.0), "positive"),
        (lambda: filters.gaussian(1.0, size=4), "odd"),
        (lambda: filters.sobel(2), "from -2 to 1"),
        (lambda: filters.motion(4), "odd"),
        (lambda: filters.motion(5, 30, rank=3), "vector with 3 numbers"),
        (lambda: filters.motion(5, (0, 0)), "not all 0"),
        (lambda: filters.gabor(4.0, (1, 2, 3)), "2 finite numbers"),
        (lambda: filters.filter_image(np.ones(4), np.ones((3, 3))), "Received kernel of shape"),
        (lambda: filters.bank([]), "1, 2 or 3 axes"),
        (lambda: filters.bank([np.ones(3), np.ones((3, 3))]), "as many in each"),
        (lambda: filters.bank([np.ones(3), np.ones(2)]), "centres agree"),
    ],
)
def test_wrong_arguments(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_the_former_name_is_the_same_module():
    import gridnn.kernels
    from gridnn.kernels import sobel

    assert gn.kernels is gridnn.kernels is filters
    assert sobel is filters.sobel
