"""Layers that change samples at random in training."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

LAYERS = {
    "flip": lambda: layers.RandomFlip(),
    "shift": lambda: layers.RandomTranslation(0.3, (-0.2, 0.4)),
    "shift, wrap": lambda: layers.RandomTranslation(0.5, 0.5, "wrap", "nearest"),
    "turn": lambda: layers.RandomRotation(0.2, "constant", fill_value=2.0),
    "turn, nearest": lambda: layers.RandomRotation((-0.1, 0.3), "nearest"),
    "zoom": lambda: layers.RandomZoom(0.4),
    "zoom of both": lambda: layers.RandomZoom((-0.3, 0.1), (0.0, 0.5), "constant"),
    "noise": lambda: layers.RandomNoise((0.5, 1.0)),
    "brightness": lambda: layers.RandomBrightness(0.5, (-1, 1)),
    "contrast": lambda: layers.RandomContrast((0.9, 0.5), (-1, 1)),
    "erasing": lambda: layers.RandomErasing(1.0, value_range=(-1, 1)),
    "erasing, one value": lambda: layers.RandomErasing((0.5, 1.0), (0.1, 0.5), 3.0, (-9, 9)),
    "erasing, a value each": lambda: layers.RandomErasing(1.0, 0.5, (1, 2), (-9, 9)),
    "crop": lambda: layers.RandomCrop(4, 3),
}
SERIES, IMAGES, VOLUMES = (9, 6, 2), (9, 6, 7, 2), (9, 4, 6, 7, 2)
OF_OTHER_RANKS = {
    "shift of series": (SERIES, lambda: layers.RandomTranslation(0.4)),
    "zoom of series": (SERIES, lambda: layers.RandomZoom(0.4, fill_mode="wrap")),
    "crop of series": (SERIES, lambda: layers.RandomCrop(4)),
    "shift of volumes": (VOLUMES, lambda: layers.RandomTranslation(0.2, 0.3, "constant", depth_factor=0.4)),
    "shift of slices": (VOLUMES, lambda: layers.RandomTranslation(0.2, 0.3, interpolation="nearest")),
    "turn of slices": (VOLUMES, lambda: layers.RandomRotation(0.2)),
    "zoom of volumes": (VOLUMES, lambda: layers.RandomZoom(0.4)),
    "zoom of all axes": (VOLUMES, lambda: layers.RandomZoom(0.1, 0.2, "nearest", depth_factor=(0.2, 0.5))),
    "contrast of series": (SERIES, lambda: layers.RandomContrast(0.5, (-9, 9))),
    "erasing of series": (SERIES, lambda: layers.RandomErasing(1.0, (0.2, 0.6))),
    "erasing of volumes": (VOLUMES, lambda: layers.RandomErasing(1.0, (0.2, 0.6))),
    "crop of volumes": (VOLUMES, lambda: layers.RandomCrop(4, 3, depth=2)),
    "crop of slices": (VOLUMES, lambda: layers.RandomCrop(4)),
}
EACH = {name: (IMAGES, make) for name, make in LAYERS.items()} | OF_OTHER_RANKS
each = pytest.mark.parametrize(("shape", "make"), EACH.values(), ids=EACH)


def _middle(layer, x):
    """What a crop leaves of `x` in inference; what other layers do."""
    if not isinstance(layer, layers.RandomCrop):
        return x
    for axis, size in enumerate(layer.part(x.shape[1:-1]), 1):
        start = (x.shape[axis] - size) // 2
        x = np.take(x, range(start, start + size), axis)
    return x


def _changed(layer, x, seed=1, training=True):
    model = gn.Sequential([gn.Input(x.shape[1:]), layer], dtype="float64", seed=seed)
    return model(x, training=training)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(9, 6, 7, 2))


@each
def test_samples_change_in_training_only(shape, make):
    x = np.random.default_rng(0).normal(size=shape)
    y = _changed(make(), x)
    plain = _middle(make(), x)
    assert y.shape == plain.shape
    assert not np.array_equal(y, plain)
    np.testing.assert_array_equal(_changed(make(), x, training=False), plain)
    same = _changed(make(), np.repeat(x[:1], 9, axis=0))
    assert len({sample.tobytes() for sample in same}) > 1


@each
def test_the_same_bytes_for_any_number_of_threads(shape, make):
    x = np.random.default_rng(0).normal(size=shape)
    x = np.tile(x, (8, *(4,) * (len(shape) - 2), 1))
    outputs = []
    threads = gn.get_num_threads()
    try:
        for count in (1, 3):
            gn.set_num_threads(count)
            outputs.append(_changed(make(), x))
    finally:
        gn.set_num_threads(threads)
    np.testing.assert_array_equal(*outputs)


@each
def test_gradients_pass_through(shape, make):
    # The dense layer in front makes of the gradient a derivative by one number, which a difference of losses
    # must agree with; every model draws the same.
    x = np.random.default_rng(0).normal(size=shape)

    def loss(shift):
        stack = [gn.Input(x.shape[1:]), layers.Dense(2), make()]
        model = gn.Sequential(stack, dtype="float64", seed=3)
        dense = model.layers[0]
        dense.kernel = np.array([[1.0 + shift, 0.3], [0.2, -0.5]])
        dense.bias = np.array([0.1, 0.2])
        model.compile(gn.optimizers.SGD(0.0), "mse")
        y = np.zeros((len(x), *model.output_shape[1:]))
        value = model.train_on_batch(x, y, augment_targets=False)
        return value, model.network.get_gradients()[0][0, 0]

    _, gradient = loss(0.0)
    h = 1e-5
    assert gradient == pytest.approx((loss(h)[0] - loss(-h)[0]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(
    ("shape", "mode", "axes"),
    [
        ((5, 2), "horizontal", [1]),
        ((4, 5, 2), "horizontal", [2]),
        ((4, 5, 2), "vertical", [1]),
        ((4, 5, 2), "horizontal_and_vertical", [1, 2]),
        ((3, 4, 5, 2), "vertical", [2]),
        ((3, 4, 5, 2), [0, 1, 2], [1, 2, 3]),
    ],
)
def test_flips_in_every_rank(shape, mode, axes):
    x = np.random.default_rng(0).normal(size=(64, *shape))
    y = _changed(layers.RandomFlip(mode), x)
    seen = set()
    for one, flipped in zip(x, y, strict=True):
        choices = []
        for chosen in range(2 ** len(axes)):
            some = [axis - 1 for i, axis in enumerate(axes) if chosen >> i & 1]
            if np.array_equal(np.flip(one, some), flipped):
                choices.append(chosen)
        assert len(choices) == 1
        seen.add(choices[0])
    assert len(seen) == 2 ** len(axes)


@pytest.mark.parametrize(
    ("mode", "padding"),
    [("reflect", "symmetric"), ("wrap", "wrap"), ("nearest", "edge"), ("constant", "constant")],
)
def test_fill_modes_are_those_of_numpy(mode, padding, x):
    # Shifts by whole pixels: 3 of 6 rows down, 0 of 7 columns.
    y = _changed(layers.RandomTranslation((0.5, 0.5), (0.0, 0.0), mode, fill_value=0.0), x)
    padded = np.pad(x, [(0, 0), (3, 0), (0, 0), (0, 0)], mode=padding)[:, :6]
    np.testing.assert_allclose(y, padded, atol=1e-12)


def test_maps_by_known_angles_and_factors(x):
    square = x[:, :6, :6]
    turned = _changed(layers.RandomRotation((0.25, 0.25)), square)
    np.testing.assert_allclose(turned, np.rot90(square, 1, axes=(1, 2)), atol=1e-9)
    half = _changed(layers.RandomRotation((0.5, 0.5)), x)
    np.testing.assert_allclose(half, x[:, ::-1, ::-1], atol=1e-9)
    # Twice as much is seen: the middle of 5 pixels stays, its neighbours are two pixels away.
    odd = x[:, :5, :5]
    zoomed = _changed(layers.RandomZoom((1.0, 1.0)), odd)
    np.testing.assert_allclose(zoomed[:, 1:4, 1:4], odd[:, ::2, ::2], atol=1e-12)


def _sampled(x, rows, columns, fill_mode, interpolation, fill_value):
    """Every image of `x` read at fractional places, by SciPy."""
    ndimage = pytest.importorskip("scipy.ndimage")
    mode = {"constant": "grid-constant", "wrap": "grid-wrap"}.get(fill_mode, fill_mode)
    options = {"order": int(interpolation == "bilinear"), "mode": mode, "cval": fill_value}
    places = np.stack([rows, columns])
    y = np.empty_like(x)
    for sample, channel in np.ndindex(len(x), x.shape[-1]):
        image = x[sample, :, :, channel]
        y[sample, :, :, channel] = ndimage.map_coordinates(image, places, **options)
    return y


MAPS = {
    "turn": (layers.RandomRotation, {"factor": (0.0625, 0.0625)}),
    "turn back": (layers.RandomRotation, {"factor": (-0.15, -0.15)}),
    "shift": (layers.RandomTranslation, {"height_factor": (0.23, 0.23), "width_factor": (-0.37, -0.37)}),
    "zoom out": (layers.RandomZoom, {"height_factor": (0.3, 0.3), "width_factor": (0.7, 0.7)}),
    "zoom in": (layers.RandomZoom, {"height_factor": (-0.35, -0.35)}),
}


def _places(cls, options, height, width):
    """Where the rows and columns of the output come from, by the definition of the layers."""
    i, j = np.meshgrid(np.arange(height, dtype=float), np.arange(width, dtype=float), indexing="ij")
    middle, centre = (height - 1) / 2, (width - 1) / 2
    if cls is layers.RandomTranslation:
        return i - options["height_factor"][0] * height, j - options["width_factor"][0] * width
    if cls is layers.RandomZoom:
        tall = 1 + options["height_factor"][0]
        wide = 1 + options.get("width_factor", options["height_factor"])[0]
        return (i - middle) * tall + middle, (j - centre) * wide + centre
    angle = 2 * np.pi * options["factor"][0]
    cosine, sine = np.cos(angle), np.sin(angle)
    return (
        middle + (i - middle) * cosine + (j - centre) * sine,
        centre - (i - middle) * sine + (j - centre) * cosine,
    )


@pytest.mark.parametrize("fill_mode", ["constant", "reflect", "wrap", "nearest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", MAPS)
def test_maps_against_a_twin(name, interpolation, fill_mode, x):
    cls, options = MAPS[name]
    more = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.5}
    rows, columns = _places(cls, options, *x.shape[1:3])
    expected = _sampled(x, rows, columns, **more)
    np.testing.assert_allclose(_changed(cls(**options, **more), x), expected, atol=1e-9)


GRIDS = {
    "shift of series": (layers.RandomTranslation, {"height_factor": 0.23}, (11,)),
    "zoom of series": (layers.RandomZoom, {"height_factor": -0.35}, (11,)),
    "shift of volumes": (
        layers.RandomTranslation,
        {"height_factor": 0.23, "width_factor": -0.37, "depth_factor": 0.31},
        (5, 6, 7),
    ),
    "shift of slices": (layers.RandomTranslation, {"height_factor": 0.23}, (5, 6, 7)),
    "zoom of volumes": (layers.RandomZoom, {"height_factor": 0.3}, (5, 6, 7)),
    "zoom of all axes": (
        layers.RandomZoom,
        {"height_factor": 0.3, "width_factor": -0.2, "depth_factor": 0.45},
        (5, 6, 7),
    ),
}


@pytest.mark.parametrize("fill_mode", ["constant", "reflect", "wrap", "nearest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", GRIDS)
def test_maps_of_series_and_volumes_against_a_twin(name, interpolation, fill_mode):
    ndimage = pytest.importorskip("scipy.ndimage")
    cls, factors, sizes = GRIDS[name]
    zooms = cls is layers.RandomZoom
    kept = factors["height_factor"] if zooms else 0.0  # of an axis without a factor
    named = ("depth_factor", "height_factor", "width_factor") if len(sizes) == 3 else ("height_factor",)
    places = np.indices(sizes, dtype=float)
    for place, size, argument in zip(places, sizes, named, strict=True):
        factor = factors.get(argument, kept)
        if zooms:
            place[...] = (place - (size - 1) / 2) * (1 + factor) + (size - 1) / 2
        else:
            place -= factor * size
    mode = {"constant": "grid-constant", "wrap": "grid-wrap"}.get(fill_mode, fill_mode)
    options = {"order": int(interpolation == "bilinear"), "mode": mode, "cval": 0.5}
    x = np.random.default_rng(0).normal(size=(3, *sizes, 2))
    expected = np.empty_like(x)
    for sample, channel in np.ndindex(3, 2):
        grid = x[sample, ..., channel]
        expected[sample, ..., channel] = ndimage.map_coordinates(grid, places, **options)
    fixed = {argument: (factor, factor) for argument, factor in factors.items()}
    layer = cls(**fixed, fill_mode=fill_mode, interpolation=interpolation, fill_value=0.5)
    np.testing.assert_allclose(_changed(layer, x), expected, atol=1e-9)


def test_slices_of_a_volume_turn_alike():
    slices = np.random.default_rng(0).normal(size=(9, 6, 7, 2))
    volume = np.stack([slices] * 3, axis=1)
    turned = _changed(layers.RandomRotation(0.2, seed=5), volume)
    for position in range(3):
        np.testing.assert_allclose(turned[:, position], _changed(layers.RandomRotation(0.2, seed=5), slices))


def test_crops_of_series_and_volumes_lie_everywhere():
    x = np.arange(6.0).reshape(1, 6, 1).repeat(300, axis=0)
    assert set(_changed(layers.RandomCrop(4), x)[:, 0, 0]) == {0.0, 1.0, 2.0}
    x = np.arange(4.0 * 3 * 2).reshape(1, 4, 3, 2, 1).repeat(300, axis=0)
    corners = _changed(layers.RandomCrop(2, depth=3), x)[:, 0, 0, 0, 0]
    assert set(corners) == {6.0 * depth + 2.0 * row for depth in range(2) for row in range(2)}


def test_crops_lie_everywhere():
    x = np.arange(6.0 * 7).reshape(1, 6, 7, 1).repeat(300, axis=0)
    corners = _changed(layers.RandomCrop(4, 5), x)[:, 0, 0, 0]
    assert set(corners) == {7.0 * row + column for row in range(3) for column in range(3)}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: layers.RandomFlip("diagonal"), ValueError),
        (lambda: layers.RandomRotation((0.2, -1.1)), ValueError),
        (lambda: layers.RandomRotation((0.2, 0.1, 0.3)), ValueError),
        (lambda: layers.RandomTranslation(0.1, 0.1, "mirror"), ValueError),
        (lambda: layers.RandomZoom(2.0), ValueError),
        (lambda: layers.RandomNoise(-1.0), ValueError),
        (lambda: layers.RandomCrop(2.5, 3), TypeError),
        (lambda: gn.Sequential([gn.Input((6, 2)), layers.RandomFlip("vertical")]), ValueError),
        (lambda: gn.Sequential([gn.Input((6, 2)), layers.RandomZoom(0.1, 0.1)]), ValueError),
        (lambda: gn.Sequential([gn.Input((6, 6, 2)), layers.RandomCrop(3, 3, depth=3)]), ValueError),
        (lambda: gn.Sequential([gn.Input((6, 2)), layers.RandomRotation(0.1)]), ValueError),
        (lambda: gn.Sequential([gn.Input((2, 2, 2, 2, 2)), layers.RandomTranslation(0.1)]), ValueError),
        (lambda: gn.Sequential([gn.Input((2, 6, 6, 2)), layers.RandomCrop(3, 3, depth=3)]), ValueError),
        (lambda: gn.Sequential([gn.Input((3, 6, 2)), layers.RandomCrop(4, 4)]), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


@pytest.mark.parametrize(
    ("make", "unit"),
    [
        (lambda: layers.RandomRotation(90), "a share of a whole turn: 90 degrees are 0.25"),
        (lambda: layers.RandomRotation((-90, 90)), "a share of a whole turn"),
        (lambda: layers.RandomTranslation(4, 0.1), "a share of the axis' length"),
        (lambda: layers.RandomTranslation(0.1, 4), "a share of the axis' length"),
        (lambda: layers.RandomTranslation(0.1, 0.1, depth_factor=4), "a share of the axis' length"),
        (lambda: layers.RandomZoom((0.8, 1.2)), r"what more is seen, as a share: \(-0.2, 0.2\) shows"),
        (lambda: layers.RandomBrightness(30), "a share of the width of `value_range`"),
        (lambda: layers.RandomContrast((0.8, 1.2)), "how far the contrast goes below and above 1"),
        (lambda: layers.RandomErasing(50), "the probability that a sample is changed"),
        (lambda: layers.RandomErasing(scale=(2, 30)), "the share that the box has of the sample"),
    ],
)
def test_who_takes_another_unit_is_told_which_it_is(make, unit):
    with pytest.raises(ValueError, match=rf"between -?\d and 1\. Received \w+=.*\. It is {unit}"):
        make()


def test_ranges_as_in_keras():
    assert layers.RandomRotation((0.2, -0.1)).factor == (-0.1, 0.2)
    assert layers.RandomRotation(-0.2).factor == (-0.2, 0.2)
    assert layers.RandomNoise(0.2).factor == (0.0, 0.2)


@pytest.mark.parametrize("axis", [-1, 1, (1, 3), None])
def test_normalization_adapts_to_data(axis, x):
    layer = layers.Normalization(axis)
    layer.adapt(x)
    kept = () if axis is None else tuple(a % 4 for a in np.atleast_1d(axis))
    others = tuple(a for a in range(4) if a not in kept)
    expected = (x - x.mean(others, keepdims=True)) / x.std(others, keepdims=True)
    np.testing.assert_allclose(_changed(layer, x, training=False), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, (1, 3), None])
def test_normalization_adapts_to_batches(axis, x):
    whole, parts, pairs = (layers.Normalization(axis) for _ in range(3))
    whole.adapt(x)
    parts.adapt(part for part in (x[:2], x[2:2], x[2:]))
    pairs.adapt(iter([(x[:1], 0), (x[1:], 1)]))
    for layer in (parts, pairs):
        np.testing.assert_allclose(layer.mean, whole.mean, rtol=1e-12)
        np.testing.assert_allclose(layer.variance, whole.variance, rtol=1e-12)
    with pytest.raises(ValueError, match="no samples"):
        layers.Normalization().adapt(iter(()))
    with pytest.raises(ValueError, match="differ along"):
        layers.Normalization(1).adapt(iter([x[:, :2], x]))


def test_normalization_needs_numbers(x):
    with pytest.raises(ValueError, match="adapt"):
        gn.Sequential([gn.Input((3,)), layers.Normalization()])
    with pytest.raises(ValueError, match="both"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ValueError, match="mean"):
        gn.Sequential([gn.Input((3,)), layers.Normalization(mean=[0, 1], variance=1.0)])
    layer = layers.Normalization(mean=0.0, variance=1.0)
    gn.Sequential([gn.Input((3,)), layer])
    with pytest.raises(ValueError, match="before"):
        layer.adapt(np.ones((2, 3)))


# Layers that change values


def test_brightness_is_a_share_of_the_range(x):
    shifts = _changed(layers.RandomBrightness((0.1, 0.3), (-100, 100)), x) - x
    assert np.ptp(shifts.reshape(9, -1), axis=1).max() < 1e-12
    drawn = shifts.reshape(9, -1)[:, 0]
    assert 20 <= drawn.min() < drawn.max() <= 60
    clipped = _changed(layers.RandomBrightness((0.9, 1.0), (0, 2)), x)
    assert clipped.min() >= 0
    assert clipped.max() <= 2


def test_contrast_keeps_the_means_of_the_channels(x):
    y = _changed(layers.RandomContrast((0.5, 0.2), (-100, 100)), x)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), x.mean(axis=(1, 2)), atol=1e-12)
    factors = y.std(axis=(1, 2)) / x.std(axis=(1, 2))
    np.testing.assert_allclose(factors[:, 0], factors[:, 1])
    assert 0.5 <= factors.min() < 0.9 < factors.max() <= 1.2


def test_erasing_fills_a_box_of_the_share():
    x = np.zeros((200, 40, 50, 1))
    y = _changed(layers.RandomErasing((0.4, 0.6), (0.1, 0.3), 7.0, (0, 9)), x)[..., 0]
    erased = (y == 7).any(axis=(1, 2))
    assert 70 <= erased.sum() <= 130
    for sample in y[erased]:
        rows, columns = (sample == 7).any(axis=1), (sample == 7).any(axis=0)
        np.testing.assert_array_equal(sample == 7, np.outer(rows, columns))
        assert (np.diff(np.flatnonzero(rows)) == 1).all()
    shares = (y[erased] == 7).mean(axis=(1, 2))
    assert 0.08 <= shares.min() < 0.15 < 0.25 < shares.max() <= 0.33
    noise = _changed(layers.RandomErasing(1.0, (0.9, 1.0), None, (-1, 1)), x)
    assert (noise.min(), noise.max()) == (-1, 1)
    assert abs(noise.mean()) < 0.05


def test_factors_of_values():
    assert layers.RandomBrightness((0.3, -0.1)).factor == (-0.1, 0.3)
    assert layers.RandomContrast(0.2).factor == (0.2, 0.2)
    assert layers.RandomErasing(0.3).factor == (0.0, 0.3)
    for make in (
        lambda: layers.RandomBrightness(2.0),
        lambda: layers.RandomBrightness(0.1, value_range=(0, 1, 2)),
        lambda: layers.RandomContrast(-0.1),
        lambda: layers.RandomContrast((0.1, 0.2, 0.3)),
        lambda: layers.RandomErasing(1.5),
        lambda: layers.RandomErasing(fill_value=()),
        lambda: layers.MixUp(0.0),
        lambda: gn.Sequential([gn.Input((6, 6, 2)), layers.RandomErasing(fill_value=(1, 2, 3))]),
        lambda: gn.Sequential([gn.Input((6,)), layers.RandomErasing()]),
    ):
        with pytest.raises(ValueError):
            make()
