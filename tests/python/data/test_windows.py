"""`predict_windows` and `evaluate_windows`: the whole image from windows, to the byte where that can be."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

RNG = np.random.default_rng(0)


@pytest.fixture
def direct(convolution_algorithm):
    convolution_algorithm("direct")


def same(rank, *, width=4, filters=3):
    """Two padded convolutions of stride 1."""
    conv = getattr(layers, f"Conv{rank}D")
    stack = [
        gn.Input((*(None,) * rank, 2)),
        conv(width, 3, padding="same", activation="relu"),
        conv(filters, 5, padding="same"),
    ]
    return gn.Sequential(stack, seed=1)


def encoder():
    """Steps and a pool, so that outputs are an eighth of the inputs."""
    stack = [
        gn.Input((None, None, 2)),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(4, 3, strides=2, padding="same"),
    ]
    return gn.Sequential(stack, seed=1)


def valid():
    return gn.Sequential([gn.Input((None, None, 2)), layers.Conv2D(4, 3), layers.Conv2D(3, 4)], seed=1)


def twice_as_large():
    stack = [
        gn.Input((None, None, 2)),
        layers.Conv2D(4, 3, padding="same"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Conv2DTranspose(3, 3, padding="same"),
    ]
    return gn.Sequential(stack, seed=1)


def dilated():
    stack = [
        gn.Input((None, None, 2)),
        layers.Conv2D(4, 3, dilation_rate=3, padding="same"),
        layers.Conv2D(3, 1),
    ]
    return gn.Sequential(stack, seed=1)


def unet():
    return gn.models.unet((None, None, 2), 3, width=4, depth=2)


def whole(model, x):
    return model.predict(x[np.newaxis], verbose=0)[0]


def sample(*shape):
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize(
    ("make", "shape", "window"),
    [
        (lambda: same(1), (500, 2), 64),
        (lambda: same(1), (501, 2), 61),
        (lambda: same(2), (90, 70, 2), 32),
        (lambda: same(2), (90, 70, 2), (21, 40)),
        (lambda: same(2), (20, 90, 2), 32),
        (lambda: same(3), (30, 24, 20, 2), 16),
        (encoder, (208, 144, 2), 64),
        (encoder, (203, 141, 2), 64),
        (encoder, (100, 77, 2), 90),
        (valid, (90, 71, 2), 32),
        (twice_as_large, (50, 61, 2), 24),
        (dilated, (70, 61, 2), 32),
        (unet, (160, 128, 2), 96),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_windows_give_the_bytes_of_the_whole(make, shape, window, batch_size):
    model, x = make(), sample(*shape)
    result = model.predict_windows(x, window, batch_size=batch_size)
    assert result.dtype == np.float32
    assert np.array_equal(result, whole(model, x))


@pytest.mark.parametrize("make", [lambda: same(2, width=32, filters=32), lambda: same(3, width=16)])
def test_winograd_gives_the_whole_to_the_last_bits(make, convolution_algorithm):
    convolution_algorithm("auto")
    model = make()
    x = sample(*((120, 100, 2) if len(model.input_shape) == 4 else (40, 30, 30, 2)))
    expected = whole(model, x)
    result = model.predict_windows(x, 48 if x.ndim == 3 else 24)
    assert np.abs(result - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("mode", ["reflect", "zeros", "edge", "wrap", "symmetric"])
def test_where_the_whole_does_not_fit_its_end_is_padded(mode):
    model, x = unet(), sample(150, 101, 2)
    with pytest.raises(ShapeError):
        whole(model, x)
    result = model.predict_windows(x, 96, padding=mode)
    assert result.shape == (150, 101, 3)
    padded = np.pad(x, ((0, 2), (0, 3), (0, 0)), "constant" if mode == "zeros" else mode)
    assert np.array_equal(result, whole(model, padded)[:150, :101])


@pytest.mark.usefixtures("direct")
def test_a_model_of_one_size_takes_windows_of_that_size():
    model = gn.models.unet((64, 64, 2), 3, width=4, depth=1)
    free = gn.models.unet((None, None, 2), 3, width=4, depth=1)
    free.set_weights(model.get_weights())
    x = sample(150, 64, 2)
    assert np.array_equal(model.predict_windows(x, 64), whole(free, x))
    assert model.predict_windows(sample(40, 50, 2), 64).shape == (40, 50, 3)  # smaller than a window
    with pytest.raises(ValueError, match=r"`window` argument is \(32, 32\), but .* takes inputs"):
        model.predict_windows(x, 32)


@pytest.mark.usefixtures("direct")
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0, 10, 0.5, (0.25, 20)])
def test_overlapping_windows_are_weighted_means(blend, overlap):
    model, x = same(2), sample(75, 90, 2)
    window = 32
    overlaps = overlap if isinstance(overlap, tuple) else (overlap, overlap)
    steps = [window - (round(o * window) if isinstance(o, float) else o) for o in overlaps]
    starts = [[*range(0, n - window, step), n - window] for n, step in zip((75, 90), steps, strict=True)]
    places = np.arange(window) - (window - 1) / 2
    bell = np.maximum(np.exp(-0.5 * (places / 4) ** 2), 1e-3) if blend == "gaussian" else np.ones(window)
    weights = np.multiply.outer(bell, bell)[..., None]
    total, sums = np.zeros((75, 90, 1)), np.zeros((75, 90, 3))
    for a in starts[0]:
        for b in starts[1]:
            inside = slice(a, a + window), slice(b, b + window)
            sums[inside] += weights * whole(model, x[inside])
            total[inside] += weights
    result = model.predict_windows(x, window, overlap=overlap, blend=blend)
    assert np.abs(result - sums / total).max() < 1e-5
    again = model.predict_windows(x, window, overlap=overlap, blend=blend, batch_size=1)
    assert np.array_equal(result, again)


def test_windows_that_see_less_than_an_output_need_an_overlap():
    model = gn.models.unet((None, None, 2), 3, width=4, depth=3)
    x = sample(128, 128, 2)
    with pytest.raises(
        ValueError, match=r"Windows of 32 along axis 0 are too small for model 'unet'.*overlap=0.5"
    ):
        model.predict_windows(x, 32)
    assert model.predict_windows(x, 32, overlap=0.5).shape == (128, 128, 3)


@pytest.mark.one_tier
def test_classes_are_chosen_and_written_where_they_shall_be(tmp_path):
    model, x = same(2), sample(70, 50, 2)
    expected = whole(model, x).argmax(axis=-1)
    classes = model.predict_windows(x, 32, reduce="argmax")
    assert classes.dtype == np.uint8
    assert np.array_equal(classes, expected)
    out = np.memmap(tmp_path / "classes.bin", np.uint8, "w+", shape=(70, 50))
    assert model.predict_windows(x, 32, reduce="argmax", out=out) is out
    assert np.array_equal(out, expected)
    with pytest.raises(
        ShapeError, match=r"`out` argument must have shape \(70, 50, 3\). Received \(70, 50\)"
    ):
        model.predict_windows(x, 32, out=out)


class Recorder:
    """An array that notes how much is read at once."""

    def __init__(self, array):
        self.array, self.shape, self.most = array, array.shape, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.most = max(self.most, len(part))
        return part


@pytest.mark.one_tier
@pytest.mark.parametrize("overlap", [None, 0.5])
def test_no_more_than_a_slab_is_read_or_held_at_a_time(overlap):
    model = same(2)
    x, out = Recorder(sample(500, 50, 2)), Recorder(np.zeros((500, 50, 3), np.float32))
    written = []
    type(out).__setitem__ = lambda self, key, value: (
        written.append(len(value)),
        self.array.__setitem__(key, value),
    )
    model.predict_windows(x, 32, overlap=overlap, out=out)
    assert x.most == 32
    assert max(written) <= 32
    assert sum(written) == 500
    assert np.allclose(out.array, whole(model, x.array), atol=10 if overlap else 1e-6)


@pytest.mark.one_tier
@pytest.mark.parametrize("kind", ["hdf5", "zarr"])
def test_arrays_on_disk_are_read_and_written(tmp_path, kind):
    model, x = same(2), sample(70, 50, 2)
    if kind == "hdf5":
        file = pytest.importorskip("h5py").File(tmp_path / "x.h5", "w")
        source, out = file.create_dataset("x", data=x), file.create_dataset("y", (70, 50, 3), "f4")
    else:
        zarr = pytest.importorskip("zarr")
        source = zarr.open(str(tmp_path / "x.zarr"), mode="w", shape=x.shape, chunks=(16, 16, 2), dtype="f4")
        source[:] = x
        out = zarr.open(str(tmp_path / "y.zarr"), mode="w", shape=(70, 50, 3), chunks=(16, 16, 3), dtype="f4")
    model.predict_windows(source, 32, out=out)
    assert np.allclose(out[:], whole(model, x), atol=1e-6)


@pytest.mark.one_tier
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.bool_, np.float64])
def test_inputs_may_have_any_type(dtype):
    model, x = same(2), (sample(40, 50, 2) > 0).astype(dtype)
    assert np.allclose(model.predict_windows(x, 32), whole(model, x), atol=1e-6)


def classifier():
    return gn.Sequential([gn.Input((32, 32, 2)), layers.Flatten(), layers.Dense(3)])


def normalized():
    return gn.Sequential([gn.Input((None, None, 2)), layers.GroupNormalization(1), layers.Conv2D(3, 3)])


@pytest.mark.one_tier
@pytest.mark.parametrize(
    ("make", "shape", "arguments", "error", "message"),
    [
        (classifier, (64, 64, 2), {}, ValueError, "need a model whose outputs have the spatial axes"),
        (normalized, (64, 64, 2), {}, ValueError, r"sees the whole input \(through group_norm.*`predict`"),
        (
            lambda: same(2),
            (64, 64),
            {},
            ShapeError,
            r"2 spatial axes and 2 channels. Received shape \(64, 64\)",
        ),
        (lambda: same(2), (1, 64, 64, 2), {}, ShapeError, r"has a batch axis: pass x\[0\]"),
        (lambda: same(2), (5, 64, 64, 2), {}, ShapeError, "several samples: pass them one by one"),
        (lambda: same(2), (64, 64, 3), {}, ShapeError, "2 channels"),
        (lambda: same(2), (64, 64, 2), {"window": 0}, ValueError, "`window`"),
        (
            lambda: same(2),
            (64, 64, 2),
            {"window": (3, 4, 5)},
            ValueError,
            "`window` argument must be an integer or a tuple of 2",
        ),
        (lambda: same(2), (64, 64, 2), {"overlap": 32}, ValueError, "must be below the size of a window, 32"),
        (lambda: same(2), (64, 64, 2), {"overlap": 2.5}, ValueError, "whole numbers, or shares below 1"),
        (lambda: same(2), (64, 64, 2), {"overlap": 1.0}, ValueError, "`overlap`=1.0 .* or the integer 1"),
        (lambda: same(2), (64, 64, 2), {"overlap": (1, 2, 3)}, ValueError, "must have 2 elements"),
        (lambda: same(2), (64, 64, 2), {"blend": "mean"}, ValueError, "`blend` argument must be one of"),
        (lambda: same(2), (64, 64, 2), {"padding": "same"}, ValueError, "`padding` argument must be one of"),
        (lambda: same(2), (64, 64, 2), {"reduce": "max"}, ValueError, "`reduce` argument must be one of"),
        (
            lambda: same(2, filters=1),
            (64, 64, 2),
            {"reduce": "argmax"},
            ValueError,
            "needs an output for each class",
        ),
    ],
)
def test_wrong_arguments_are_explained(make, shape, arguments, error, message):
    with pytest.raises(error, match=message):
        make().predict_windows(np.zeros(shape), **{"window": 32, **arguments})


@pytest.mark.one_tier
def test_progress_is_shown_on_request(capsys):
    same(2).predict_windows(sample(64, 64, 2), 32, verbose=2)
    assert "Predict" in capsys.readouterr().out


LOSSES = [
    ("sparse_categorical_crossentropy", ["accuracy", gn.metrics.MeanIoU(3)]),
    (gn.losses.SparseCategoricalCrossentropy(ignore_class=0), ["accuracy"]),
    ("categorical_crossentropy", ["accuracy"]),
    ("mse", ["mae"]),
    ("crossentropy", []),
    (gn.losses.Dice(from_logits=True), ["accuracy"]),
    (gn.losses.MeanSquaredError(reduction="sum"), []),
]


@pytest.mark.one_tier
@pytest.mark.parametrize(("loss", "metrics"), LOSSES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_evaluation_is_that_of_the_whole(loss, metrics, rank):
    model = same(rank)
    model.compile("sgd", loss, metrics)
    shape = {1: (300,), 2: (70, 50), 3: (26, 20, 22)}[rank]
    x = sample(*shape, 2)
    y = RNG.integers(0, 3, shape)
    if not isinstance(loss, gn.losses.SparseCategoricalCrossentropy) and loss not in (
        "sparse_categorical_crossentropy",
        "crossentropy",
    ):
        y = np.eye(3, dtype=np.float32)[y]
    expected = model.evaluate(x[np.newaxis], y[np.newaxis], verbose=0, return_dict=True)
    result = model.evaluate_windows(x, y, 16 if rank == 3 else 32, return_dict=True)
    assert result == pytest.approx(expected, rel=1e-5)
    values = model.evaluate_windows(x, y, 16 if rank == 3 else 32)
    assert values == (list(result.values()) if metrics else result["loss"])


@pytest.mark.one_tier
def test_probabilities_are_not_taken_for_scores():
    model = gn.Sequential(
        [gn.Input((None, None, 2)), layers.Conv2D(3, 3, padding="same", activation="softmax")], seed=0
    )
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    x, y = sample(70, 50, 2), RNG.integers(0, 3, (70, 50))
    expected = model.evaluate(x[np.newaxis], y[np.newaxis], verbose=0)
    assert model.evaluate_windows(x, y, 32) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ShapeError, match=r"`y` argument must have a label for each output, shape \(70, 50\)"):
        model.evaluate_windows(x, y[:-1], 32)


@pytest.mark.one_tier
def test_errors_of_evaluation_speak_of_rows_of_the_sample():
    model = same(2)
    x, y = sample(70, 50, 2), RNG.integers(0, 3, (70, 50))
    y[61, 4] = 9
    for loss in ("sparse_categorical_crossentropy", gn.losses.SparseCategoricalCrossentropy(reduction="sum")):
        model.compile("sgd", loss)
        by_row = loss == "sparse_categorical_crossentropy"
        place = r", first in row 61 \(counted from 0\)" if by_row else ""
        with pytest.raises(ValueError, match=rf"^`y` holds label 9, .* from 0 to 2{place}\. For 10 classes"):
            model.evaluate_windows(x, y, 32)
    model.compile("sgd", "mse")
    values = np.zeros((70, 50, 3))
    values[33, 1, 2] = np.nan
    with pytest.raises(ValueError, match=r"^`y` must be finite; it holds NaN, first in row 33 \(counted"):
        model.evaluate_windows(x, values, 32)
    x[40, 20] = np.inf
    with pytest.raises(gn.errors.NonFiniteInputError, match=r"^The outputs at position \(3\d, 1\d\) are not"):
        model.evaluate_windows(x, np.zeros((70, 50, 3)), 32)


@pytest.mark.parametrize(
    ("reduce", "dtype", "classes", "words"),
    [
        (None, np.int32, 3, "cut off fractions"),
        (None, np.uint8, 3, "cut off"),
        ("argmax", np.uint8, 300, "300 classes"),
    ],
)
def test_an_array_that_cannot_hold_the_results_is_refused(reduce, dtype, classes, words):
    model = gn.Sequential([gn.Input((None, 1)), layers.Conv1D(classes, 3, padding="same")])
    out = np.zeros((64,) if reduce else (64, classes), dtype)
    with pytest.raises(TypeError, match=words):
        model.predict_windows(np.ones((64, 1), np.float32), 32, reduce=reduce, out=out)


def test_a_source_that_gives_fewer_rows_than_its_shape_promises_is_an_error():
    class Short:
        shape, dtype, ndim = (64, 1), np.dtype("f4"), 2

        def __getitem__(self, rows):
            return np.ones((1, 1), np.float32)

    model = gn.Sequential([gn.Input((None, 1)), layers.Conv1D(3, 3, padding="same")])
    with pytest.raises(ShapeError, match=r"came with shape \(1, 1\)"):
        model.predict_windows(Short(), 32)


@pytest.mark.one_tier
@pytest.mark.parametrize("overlap", [None, 0.5])
@pytest.mark.parametrize("reduce", [None, "argmax"])
def test_a_result_that_does_not_fit_into_memory_is_an_error_at_once(overlap, reduce):
    class Volume:
        shape = (10**9, 10**9, 10**9, 2)

    with pytest.raises(MemoryError, match="more than can be had: pass a file as `out`"):
        same(3).predict_windows(Volume(), 32, overlap=overlap, reduce=reduce)


@pytest.mark.one_tier
@pytest.mark.parametrize("overlap", [None, 0.5])
def test_more_windows_than_can_be_listed_are_an_error_at_once(overlap):
    class Volume:
        shape, dtype = (10**9, 10**9, 10**9, 2), np.dtype("f4")

        def __getitem__(self, rows):
            raise AssertionError("nothing is to be read")

    class Result(Volume):
        shape = (10**9, 10**9, 10**9, 3)

    model = same(3)
    with pytest.raises(ValueError, match=r"windows along an axis, more than .*take larger windows"):
        model.predict_windows(Volume(), 32, overlap=overlap, out=Result())
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="take larger windows"):
        model.evaluate_windows(Volume(), Result(), 32, overlap=overlap)


def test_windows_far_beyond_the_sample_are_those_of_its_size():
    model, x = same(2), sample(40, 50, 2)
    assert np.array_equal(model.predict_windows(x, 10**12), model.predict_windows(x, 64))
    assert unet().predict_windows(x[:, :48], 2880 * 10**9).shape == (40, 48, 3)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_share_is_one_in_any_type_of_float(kind):
    model, x = same(2), sample(70, 50, 2)
    expected = model.predict_windows(x, 32, overlap=0.5)
    assert np.array_equal(model.predict_windows(x, 32, overlap=kind(0.5)), expected)


def test_a_result_over_the_sample_is_refused(tmp_path):
    model, x = same(1, filters=2), sample(200, 2)
    expected = model.predict_windows(x, 32)
    with pytest.raises(ValueError, match="`out` argument shares memory with `x`"):
        model.predict_windows(x, 32, out=x)
    with pytest.raises(ValueError, match="shares memory"):
        model.predict_windows(x[:150], 32, out=x[50:])
    both = np.concatenate([x, x], axis=1)  # beside each other is not over each other
    assert np.array_equal(model.predict_windows(both[:, :2], 32, out=both[:, 2:]), expected)
    file = tmp_path / "x.bin"
    x.tofile(file)
    views = [np.memmap(file, x.dtype, "r+", shape=x.shape) for _ in range(2)]
    with pytest.raises(ValueError, match="shares memory"):
        model.predict_windows(views[0], 32, out=views[1])
    with file.open("ab") as more:
        more.truncate(2 * x.nbytes)
    behind = np.memmap(file, x.dtype, "r+", offset=x.nbytes, shape=x.shape)
    assert np.array_equal(model.predict_windows(views[0], 32, out=behind), expected)
    assert np.array_equal(views[0], x)


def test_a_result_over_the_dataset_that_is_read_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    x = sample(200, 2)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = x
        with pytest.raises(ValueError, match="shares memory"):
            same(1, filters=2).predict_windows(file["x"], 32, out=file["x"])


@pytest.mark.one_tier
def test_arguments_that_cannot_be_used_are_refused_before_any_window():
    model, x = same(1, filters=2), sample(200, 2)
    fixed = np.empty_like(x)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="`out` argument is an array that is read-only"):
        model.predict_windows(x, 32, out=fixed)
    with pytest.raises(ValueError, match="`verbose` argument must be"):
        model.predict_windows(x, 32, verbose="x")
    with pytest.raises(TypeError, match="`overlap` argument must be a number"):
        model.predict_windows(x, 32, overlap="0.5")
    expected = model.predict_windows(x, 32, overlap=0.5)
    assert np.array_equal(model.predict_windows(x, 32, overlap=np.array([0.5])), expected)
