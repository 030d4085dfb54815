"""What people pass as data: it is read as they mean it, or the error says what to pass instead."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

RNG = np.random.default_rng(0)


def compiled(*stack, loss="mse", **arguments):
    model = gn.Sequential(list(stack), seed=0, **arguments)
    model.compile("sgd", loss)
    return model


def images(shape=(28, 28, 1)):
    return compiled(gn.Input(shape), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1))


ENTRIES = {
    "fit": lambda model, x: model.fit(x, np.zeros(len(x)), verbose=0),
    "evaluate": lambda model, x: model.evaluate(x, np.zeros(len(x)), verbose=0),
    "train_on_batch": lambda model, x: model.train_on_batch(x, np.zeros(len(x))),
    "test_on_batch": lambda model, x: model.test_on_batch(x, np.zeros(len(x))),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "call": lambda model, x: model(x),
    "training": lambda model, x: model(x, training=True),
    "activations": lambda model, x: gn.inspect.activations(model, x),
    "gradients": lambda model, x: gn.inspect.gradients(model, x, np.zeros(len(x))),
    "batches": lambda model, x: model.predict(iter([x]), verbose=0),
    "fit batches": lambda model, x: model.fit(iter([(x, np.zeros(len(x)))]), verbose=0),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("open_sizes", [False, True])
def test_one_sample_lacks_the_batch_axis(entry, open_sizes):
    model = images((None, None, 1) if open_sizes else (28, 28, 1))
    with pytest.raises(ShapeError, match=r"`x` does not fit.*Pass x\[numpy.newaxis\]"):
        entry(model, np.zeros((28, 28, 1)))


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_channels_first(entry):
    with pytest.raises(ShapeError, match=r"Channels first\? Pass numpy.moveaxis\(x, 1, -1\)"):
        entry(images((32, 32, 3)), np.zeros((2, 3, 32, 32)))


@pytest.mark.parametrize(
    ("wanted", "received"),
    [
        ((28, 28, 1), (28, 28, 1)),
        ((28, 28, 1), (28, 28)),
        ((28, 28, 1), (7, 28, 28)),
        ((28, 28, 1), (7, 784)),
        ((784,), (7, 28, 28)),
        ((784,), (7, 28, 28, 1)),
        ((784,), (784,)),
        ((None, None, 1), (64, 64, 1)),
        ((None, None, 1), (64, 64)),
        ((None, None, 3), (64, 64, 3)),
        ((None, None, 3), (3, 64, 64)),
        ((None, None, 3), (8, 3, 64, 64)),
        ((32, 32, 3), (32, 32, 3, 50)),
        ((5, 4, 1), (6, 4, 5, 1)),
        ((None, 1), (500,)),
        ((None, 1), (500, 1)),
        ((None, 1), (20, 1, 500)),
        ((40, 64, 64, 1), (2, 64, 64, 40, 1)),
        ((None, None, None, 1), (40, 64, 64)),
        ((None, None, None, 1), (2, 40, 64, 64)),
        ((None, None, None, 2), (2, 2, 40, 64, 64)),
        ((None, None, 1), (1, 5, 64, 64, 1)),
        ((28, 28, 3), (9, 28, 28)),
        ((28, 28, 3), (9, 28, 28, 1)),
        ((28, 28, 1), (9, 28, 28, 3)),
        ((28, 28, 3), (9, 28, 28, 4)),
        ((5, 4, 1), (6, 5, 4, 1, 1)),
        ((5, 4, 1), (6, 4, 5)),
        ((5, 4, 3), (6, 60)),
        ((60,), (6, 3, 4, 5)),
    ],
)
def test_what_the_hint_says_works(wanted, received):
    model = gn.Sequential([gn.Input(wanted), layers.Activation("linear")])
    x = RNG.normal(size=received).astype(np.float32)
    with pytest.raises(ShapeError, match="Pass ") as error:
        model.predict(x, verbose=0)
    for advice in (
        str(error.value).rpartition("Pass ")[2].rstrip(".").split("; if it holds channel by channel, ")
    ):
        meant = eval(advice, {"numpy": np, "x": x})  # noqa: S307
        assert model.predict(meant, verbose=0).shape[1:] == meant.shape[1:]


def test_no_hint_mixes_the_numbers_up():
    """Images of other proportions have as many numbers; to reshape them would be wrong."""
    model = gn.Sequential([gn.Input((6, 4, 1)), layers.Flatten()])
    for shape in ((9, 8, 3), (9, 3, 8, 1), (9, 2, 12), (9, 2, 2, 2, 3, 1)):
        with pytest.raises(ShapeError, match=r"received \([0-9, ]*\)\.$"):
            model.predict(np.zeros(shape), verbose=0)


def test_no_hint_where_nothing_is_likely():
    with pytest.raises(ShapeError, match=r"received \(9, 5\)\.$"):
        gn.Sequential([gn.Input((4,)), layers.Dense(1)]).predict(np.zeros((9, 5)))


def test_one_sample_for_a_model_without_an_input():
    model = gn.Sequential([layers.Conv2D(2, 3)], seed=0)
    with pytest.raises(ShapeError, match=r"read as 64 samples of shape \(64, 3\).*x\[numpy.newaxis\]"):
        model.predict(np.zeros((64, 64, 3)))
    with pytest.raises(ValueError, match=r"x\[numpy.newaxis\]"):
        gn.Sequential([layers.Dense(2)]).predict(np.zeros(4))
    assert model.predict(np.zeros((1, 64, 64, 3)), verbose=0).shape == (1, 62, 62, 2)


def test_one_sample_for_a_layer_and_a_function():
    model = images()
    with pytest.raises(ShapeError, match=r"x\[numpy.newaxis\]"):
        model.layers[0](np.zeros((28, 28, 1)))
    with pytest.raises(ShapeError, match=r"x\[numpy.newaxis\]"):
        gn.functional.conv2d(np.zeros((28, 28, 1)), np.zeros((3, 3, 1, 2)))


# Arrays of all kinds


def same(value, expected):
    """Every entry reads `value` as it reads the plain array."""
    model = compiled(gn.Input(expected.shape[1:]), layers.Flatten(), layers.Dense(1))
    wanted = model.predict(expected, verbose=0)
    assert model.predict(value, verbose=0).tobytes() == wanted.tobytes()
    assert model(value).tobytes() == wanted.tobytes()
    assert model.predict(iter([value]), verbose=0).tobytes() == wanted.tobytes()
    targets = np.arange(len(expected), dtype=np.float32)
    loss = model.evaluate(expected, targets, verbose=0)
    assert model.evaluate(value, targets, verbose=0) == loss
    assert model.evaluate(iter([(value, targets)]), verbose=0) == loss
    model.fit(value, targets, validation_data=(value, targets), verbose=0)


PLAIN = np.arange(12, dtype=np.float32).reshape(4, 3)


class Arraylike:
    """What Dask, xarray and others are: something that gives an array when asked."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def misaligned(array):
    raw = np.zeros(array.nbytes + 2, np.uint8)[2:]
    result = raw.view(array.dtype.str if array.dtype.itemsize == 1 else np.uint8)[: array.nbytes]
    result = np.frombuffer(result.data, dtype=array.dtype).reshape(array.shape)
    result.flags.writeable = True
    result[:] = array
    assert not result.flags.aligned
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", ">f4", "longdouble"])
def test_misaligned_arrays_are_copied(dtype, tmp_path):
    same(misaligned(PLAIN.astype(dtype)), PLAIN)
    same(Arraylike(misaligned(PLAIN.astype(dtype))), PLAIN)


def test_misaligned_arrays_everywhere_else(tmp_path):
    (tmp_path / "x.raw").write_bytes(bytes(10) + PLAIN.tobytes())
    same(np.memmap(tmp_path / "x.raw", dtype=np.float32, offset=10, shape=(4, 3), mode="r"), PLAIN)
    record = np.zeros(4, [("flag", "u1"), ("values", "f4", 3)])
    record["values"] = PLAIN
    same(record["values"], PLAIN)
    model = compiled(gn.Input((3,)), layers.Dense(1))
    targets, weights = np.arange(4.0), np.array([1.0, 2, 3, 4])
    expected = model.evaluate(PLAIN, targets, sample_weight=weights, verbose=0)
    assert expected == model.evaluate(
        PLAIN, misaligned(targets), sample_weight=misaligned(weights), verbose=0
    )
    kernel = np.arange(3, dtype=np.float32)[:, np.newaxis]
    model.layers[0].set_weights([misaligned(kernel), np.zeros(1)])
    assert model.layers[0].kernel.tolist() == kernel.tolist()
    normalization = layers.Normalization()
    normalization.adapt(misaligned(PLAIN))
    assert normalization.mean == tuple(PLAIN.mean(axis=0).tolist())


def test_misaligned_operands_of_functions():
    x, kernel = PLAIN.reshape(1, 4, 3), np.ones((2, 3, 1), np.float32)
    expected = gn.functional.conv1d(x, kernel)
    assert gn.functional.conv1d(misaligned(x), misaligned(kernel)).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match=r"`out`.*aligned"):
        gn.functional.conv1d(x, kernel, out=misaligned(expected))


def test_other_byte_orders_and_strides_of_zero():
    same(PLAIN.astype(">f8"), PLAIN)
    same(PLAIN.astype(">i2")[::-1][::-1], PLAIN)
    constant = np.broadcast_to(np.float32(2), (4, 3))
    assert constant.strides == (0, 0)
    same(constant, np.full((4, 3), 2, np.float32))
    rows = np.broadcast_to(np.arange(3, dtype=">f4"), (4, 3))
    same(rows, np.ascontiguousarray(rows, np.float32))
    model = compiled(gn.Input((3,)), layers.Dense(1))
    weights = [np.broadcast_to(np.array(3, ">f8"), (3, 1)), np.zeros(1, ">f4")]
    model.set_weights(weights)
    assert model.predict(np.ones((1, 3)), verbose=0) == [[9.0]]
    expected = gn.functional.pad1d(np.full((1, 4, 3), 2, np.float32), 1)
    swapped = np.broadcast_to(np.array(2, ">f4"), (1, 4, 3))
    assert gn.functional.pad1d(swapped, 1).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "int4"])
def test_types_of_other_libraries(name):
    extension = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
    small = np.arange(12).reshape(4, 3) % 7
    same(small.astype(np.float32).astype(extension), small.astype(np.float32))
    model = compiled(gn.Input((3,)), layers.Dense(1))
    model.set_weights([np.ones((3, 1)).astype(extension), np.zeros(1).astype(extension)])
    assert model.predict(np.ones((1, 3)).astype(extension), verbose=0) == [[3.0]]
    assert model.evaluate(small, np.zeros(4).astype(extension), verbose=0) > 0
    x = np.ones((1, 4, 3)).astype(extension)
    assert gn.functional.max_pool1d(x, 2).dtype == np.float32


def test_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    model = compiled(gn.Input((3,)), layers.Dense(1))
    for x in (sparse.csr_matrix(PLAIN), sparse.coo_array(PLAIN)):
        for call in (
            lambda x=x: model.fit(x, np.zeros(4), verbose=0),
            lambda x=x: model.predict(x, verbose=0),
            lambda x=x: model.evaluate(x, np.zeros(4), verbose=0),
            lambda x=x: gn.functional.pad1d(x, 1),
            lambda x=x: layers.Normalization().adapt(x),
        ):
            with pytest.raises(TypeError, match=r"sparse matrix.*\.toarray\(\)"):
                call()
        with pytest.raises(TypeError, match=r"validation_x.*sparse matrix"):
            model.fit(PLAIN, np.zeros(4), validation_data=(x, np.zeros(4)), verbose=0)


def test_frames_with_columns_of_several_types():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "c": [0.5, 1, 2]})
    expected = np.array([[1, 1, 0.5], [2, 0, 1], [3, 1, 2]], np.float32)
    same(frame, expected)
    same(frame.convert_dtypes(), expected)
    same(frame[["a", "b"]].astype({"a": "Int64", "b": "boolean"}), expected[:, :2].copy())
    model = compiled(gn.Input((3,)), layers.Dense(2), loss="sparse_categorical_crossentropy")
    model.fit(frame, frame["b"].astype("boolean"), sample_weight=frame["c"].astype("Float64"), verbose=0)
    missing = pandas.array([True, None, False], dtype="boolean")
    with pytest.raises(ValueError, match="`y` must be finite; it holds NaN"):
        model.fit(frame, pandas.Series(missing), verbose=0)
    frame["name"] = pandas.Categorical(["u", "v", "u"])
    frame["when"] = pandas.date_range("2020", periods=3)
    with pytest.raises(TypeError, match=r"'name' \(category\), 'when' \(datetime64.*cat.codes"):
        model.predict(frame)


def test_frames_of_arrow():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [True, False, True], "c": [0.5, 1, 2]})
    same(frame.convert_dtypes(dtype_backend="pyarrow"), frame.to_numpy(np.float32))


def test_series_of_several_lengths():
    ragged = [np.zeros((9, 1)), np.zeros((7, 1))]
    model = compiled(gn.Input((None, 1)), layers.GlobalAveragePooling1D(), layers.Dense(1))
    told = r"samples of several shapes, \(9, 1\) and \(7, 1\) among them.*[Pp]ad.*batches"
    with pytest.raises(TypeError, match=told):
        model.fit(ragged, np.zeros(2))
    with pytest.raises(TypeError, match=told):
        model.predict(ragged)
    with pytest.raises(TypeError, match=r"numpy\.stack"):
        model.predict(np.array([*ragged, None], dtype=object)[:2])
    model.fit([(x[np.newaxis], np.zeros(1)) for x in ragged], verbose=0)  # as it is told
    model.predict([np.zeros((9, 1)), np.ones((9, 1))], verbose=0)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (None, "must be an array. Received NoneType"),
        ({"a": [1.0]}, "must be an array. Received dict"),
        ([[1.0, None, 2.0]], r"It holds 'None' \(NoneType\)"),
        (np.array([[1, 2, 3.5]], dtype=object), r"x.astype\(float\)"),
        ([["a", "b", "c"]], r"numpy.unique\(x, return_inverse=True\)"),
    ],
)
def test_what_is_no_array_of_numbers(x, match):
    with pytest.raises(TypeError, match=match):
        compiled(gn.Input((3,)), layers.Dense(1)).predict(x, verbose=0)


def test_weights_beyond_float32():
    model = compiled(gn.Input((3,)), layers.Dense(1))
    with pytest.raises(ValueError, match=r"'kernel' holds 1e\+39, which float32 cannot hold.*float64"):
        model.set_weights([np.full((3, 1), 1e39), np.zeros(1)])
    compiled(gn.Input((3,)), layers.Dense(1), dtype="float64").set_weights([np.full((3, 1), 1e39), [0.0]])


# Numbers that are not finite


def series(samples=40):
    """A model of several layers, of which none is to blame, and data for it."""
    stack = [layers.Conv1D(2, 3), layers.MaxPooling1D(2), layers.Flatten(), layers.Dense(1)]
    return compiled(gn.Input((8, 1)), *stack), np.ones((samples, 8, 1), np.float32), np.zeros(samples)


@pytest.mark.parametrize(
    ("value", "said", "dtype"),
    [
        (np.nan, "NaN", "float32"),
        (-np.inf, "infinity", "float32"),
        (np.nan, "NaN", "float64"),
        (1e300, r"1e\+300, which float32 cannot hold", "float64"),
    ],
)
def test_a_bad_sample_is_named(value, said, dtype):
    model, x, y = series()
    x = x.astype(dtype)
    x[17, 3, 0] = x[38] = value
    before = [weight.tobytes() for weight in model.get_weights()]
    told = rf"^`x` holds {said}: the first sample with it is number 17, counted from 0"
    for call in (
        lambda: model.fit(x, y, verbose=0, seed=0),
        lambda: model.fit(x, y, batch_size=40, validation_split=0.1, verbose=0),
        lambda: model.fit(x, y, batch_size=40, class_weight={0: 2.0}, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.train_on_batch(x, y),
        lambda: model.test_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=told) as error:
            call()
        assert isinstance(error.value, gn.errors.NonFiniteInputError)
        assert isinstance(error.value, gn.errors.NonFiniteError)
    model.fit(x[:17], y[:17], verbose=0)
    x[17] = x[38] = 1
    assert np.isfinite(model.evaluate(x, y, verbose=0))
    assert before != [weight.tobytes() for weight in model.get_weights()]


def test_a_bad_sample_for_validation_is_named():
    model, x, y = series()
    x[37, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"^`x` holds NaN.*number 37"):
        model.fit(x, y, validation_split=0.25, verbose=0)
    with pytest.raises(ValueError, match=r"^`validation_x` holds NaN.*number 37"):
        model.fit(x[:30], y[:30], validation_data=(x, y), verbose=0)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8)]
    where = r"of batch 4 \(counted from 0\) of"
    with pytest.raises(ValueError, match=rf"^`x` {where} `validation_data` holds NaN.*number 5"):
        model.fit(x[:30], y[:30], validation_data=batches, verbose=0)
    with pytest.raises(ValueError, match=rf"^`x` {where} `x` holds NaN.*number 5"):
        model.fit(batches, verbose=0)


def test_who_is_to_blame_where_the_inputs_are_finite():
    model, x, y = series()
    model.compile(gn.optimizers.SGD(1e30), "mse")
    with pytest.raises(gn.errors.NonFiniteError) as error:
        model.fit(x, y + 1, epochs=9, verbose=0)
    assert not isinstance(error.value, ValueError)


def test_predictions_pass_nan_on():
    model, x, _ = series()
    x[17] = np.nan
    outputs = model.predict(x, verbose=0)
    assert np.isnan(outputs[17]).all()
    assert np.isfinite(np.delete(outputs, 17, axis=0)).all()


def test_terminate_on_nan_still_ends_the_training(capsys):
    model, x, y = series()
    x[17] = np.nan
    model.fit(x, y, callbacks=gn.callbacks.TerminateOnNaN(), verbose=0)
    assert "`x` holds NaN" in capsys.readouterr().out


def test_targets_that_are_no_numbers_of_the_model():
    model, x, y = series()
    y[[5, 7]] = 1e39
    with pytest.raises(ValueError, match=r"`y` holds 1e\+39, which float32 cannot hold.*float64"):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match=r"`validation_y` holds 1e\+39"):
        model.fit(x, np.zeros(40), validation_data=(x, y), verbose=0)
    y[[5, 7]] = np.nan
    with pytest.raises(ValueError, match=r"`y` must be finite; it holds NaN, first in sample 5"):
        model.evaluate(x, y, verbose=0)


def test_nan_in_the_data_of_adapt():
    data = np.ones((9, 2))
    data[4, 1] = np.nan
    with pytest.raises(ValueError, match="`data` holds nan: the first sample with it is number 4"):
        layers.Normalization().adapt(data)


# Batches


def test_a_bad_batch_is_named():
    model, x, y = series()
    good, short = (x[:8], y[:8]), (x[:8, :7], y[:8])
    for call, argument in (
        (lambda: model.fit(iter([good, short]), verbose=0), "x"),
        (lambda: model.evaluate(iter([good, short]), verbose=0), "x"),
        (lambda: model.predict(iter([good, short]), verbose=0), "x"),
        (lambda: model.fit(x, y, validation_data=iter([good, short]), verbose=0), "validation_data"),
        (lambda: model.fit(x, y, validation_data=[good, short], verbose=0), "validation_data"),
    ):
        with pytest.raises(ShapeError, match=rf"^`{argument}`, batch 1 \(counted from 0\): `x` does not fit"):
            call()
    with pytest.raises(TypeError, match=r"^`validation_data`, batch 0 .*real numbers"):
        model.fit(x, y, validation_data=iter([(x, ["a"] * 40)]), verbose=0)
    with pytest.raises(ValueError, match=r"^`validation_data`, batch 0 .*same number of samples"):
        model.fit(x, y, validation_data=iter([(x, y[1:])]), verbose=0)
    with pytest.raises(TypeError, match=r"^`data`, batch 1"):
        layers.Normalization().adapt(iter([x, "x"]))


def listed(*batches):
    return [list(batch) for batch in batches]


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, listed, lambda b: tuple(listed(*b)), lambda b: iter(listed(*b))]
)
def test_batches_of_every_kind_everywhere(kind):
    model, x, y = series()
    x += RNG.normal(size=x.shape)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8)]
    if kind is listed:
        kind = lambda b: listed(*b)  # noqa: E731
    expected = model.predict(x, verbose=0)
    assert model.predict(kind(batches), verbose=0).tobytes() == expected.tobytes()
    # The smallest numbers of batches are where (x, y) could be meant.
    for count in (1, 2, 3, 5):
        some = x[: 8 * count], y[: 8 * count]
        loss = model.evaluate(*some, batch_size=8, verbose=0)
        assert model.evaluate(kind(batches[:count]), verbose=0) == loss
        history = model.fit(x, y, epochs=1, verbose=0, validation_data=kind(batches[:count])).history
        assert history["val_loss"] == [model.evaluate(*some, batch_size=8, verbose=0)]
        model.fit(kind(batches[:count]), verbose=0)
        one, other = layers.Normalization(), layers.Normalization()
        one.adapt(x[: 8 * count])
        other.adapt(kind(batches[:count]))
        assert np.allclose([*one.mean, *one.variance], [*other.mean, *other.variance])


def test_batches_that_are_lists_of_samples():
    model, x, _ = series(6)
    x += RNG.normal(size=x.shape)
    expected = model.predict(x, verbose=0)
    for size in (1, 2, 3, 6):
        batches = [list(x[i : i + size]) for i in range(0, 6, size)]
        assert model.predict(iter(batches), verbose=0).tobytes() == expected.tobytes()
        nested = [batch.tolist() for batch in map(np.array, batches)]
        assert model.predict(iter(nested), verbose=0).tobytes() == expected.tobytes()
    assert model.predict(list(x), verbose=0).tobytes() == expected.tobytes()
    plain = layers.Normalization()
    plain.adapt(iter([[[1.0, 2.0], [3.0, 5.0]]]))
    assert plain.mean == (2.0, 3.5)


def test_a_pair_in_the_place_of_its_first():
    model, x, y = series()
    with pytest.raises(ValueError, match="`y` is missing, and `x` is a tuple of 2 arrays"):
        model.evaluate((x, y), verbose=0)
    with pytest.raises(ValueError, match=r"`y` cannot be given.*type zip.*numpy.asarray"):
        model.fit(zip(x, y, strict=True), y)


# Targets

LABELS, ONE_HOT = "sparse_categorical_crossentropy", "categorical_crossentropy"
FLAT = "an output at every position.*Flatten"


@pytest.mark.parametrize(
    ("loss", "classes", "shape", "told"),
    [
        (LABELS, 3, (4, 1, 16, 12), r"Channels first\? Pass numpy.moveaxis\(y, 1, -1\)"),
        (LABELS, 3, (4, 3, 16, 12), r"Channels first\? Pass numpy.moveaxis\(y, 1, -1\)"),
        (LABELS, 3, (16, 12), r"y` has 16. One sample\? Pass y\[numpy.newaxis\]"),
        (LABELS, 3, (4, 16, 12, 3), "'categorical_crossentropy'"),
        (LABELS, 5, (4, 16, 12, 3), "pictures in colour"),
        (
            LABELS,
            3,
            (4, 12, 16),
            r"Axes in another order\? Pass numpy.transpose\(y, \(0, 2, 1\)\)\[..., numpy.newaxis\]",
        ),
        (LABELS, 3, (4, 8, 6), "size of the outputs: resize them"),
        (LABELS, 3, (4, 192), r"y.reshape\(-1, 16, 12, 1\)"),
        (LABELS, 3, (4,), FLAT),
        (ONE_HOT, 3, (4, 16, 12), "'sparse_categorical_crossentropy'"),
        (ONE_HOT, 3, (4, 16, 12, 1), "'sparse_categorical_crossentropy'"),
        (ONE_HOT, 3, (4, 3, 16, 12), r"numpy.moveaxis\(y, 1, -1\)"),
        (ONE_HOT, 3, (4, 3), FLAT),
        ("binary_crossentropy", 1, (4, 1, 16, 12), r"numpy.moveaxis\(y, 1, -1\)"),
        ("binary_crossentropy", 1, (4, 16, 12, 3), r"pictures in colour.*y\[..., 0\]"),
        ("binary_crossentropy", 1, (4, 8, 6, 1), "size of the outputs: resize them"),
        ("mse", 1, (4,), FLAT),
    ],
)
def test_masks_of_another_shape(loss, classes, shape, told):
    model = compiled(gn.Input((16, 12, 1)), layers.Conv2D(classes, 3, padding="same"), loss=loss)
    x, y = np.zeros((4, 16, 12, 1)), np.zeros(shape, int)
    for call in (
        lambda: model.fit(x, y, verbose=0),
        lambda: model.evaluate(x, y, verbose=0),
        lambda: model.train_on_batch(x, y),
        lambda: model.test_on_batch(x, y),
    ):
        with pytest.raises(ValueError, match=told):
            call()
    with pytest.raises(
        ValueError,
        match=rf"validation_.*{told.replace('(y', '(validation_y').replace('Pass y', 'Pass validation_y')}",
    ):
        model.fit(
            x,
            np.zeros_like(model.predict(x, verbose=0)) if loss != LABELS else np.zeros((4, 16, 12)),
            validation_data=(x, y),
            verbose=0,
        )


def test_one_sample_with_its_target():
    model = images()
    with pytest.raises(ValueError, match=r"`x` has 28, `y` has 1. One sample\? Pass x\[numpy.newaxis\]"):
        model.evaluate(np.zeros((28, 28, 1)), [1.0], verbose=0)


# Sizes that branches cannot agree on


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_sides_that_a_unet_does_not_divide(rank, depth):
    bad, good = 2**depth * 3 + 2, 2**depth * 3
    told = rf"multiples of {2**depth}; received {bad}$"
    with pytest.raises(ShapeError, match=told):
        gn.models.unet((*[good] * (rank - 1), bad, 1), depth=depth, width=1)
    model = gn.models.unet((*[None] * rank, 1), depth=depth, width=1)
    x = np.zeros((1, *[good] * (rank - 1), bad, 1), np.float32)
    for call in (lambda: model.predict(x, verbose=0), lambda: model(x, training=True)):
        with pytest.raises(ShapeError, match=told):
            call()
    assert model.predict(x[..., :good, :], verbose=0).shape == (1, *[good] * rank, 2)


def test_sides_that_other_branches_do_not_divide():
    down_and_up = [layers.MaxPooling1D(3), layers.UpSampling1D(3)]
    with pytest.raises(ShapeError, match=r"residual: .*multiples of 3; received 10"):
        gn.Sequential([gn.Input((10, 1)), layers.Residual(down_and_up)])
    pools = [[layers.MaxPooling2D(2)], [layers.MaxPooling2D(2, padding="same")]]
    with pytest.raises(ShapeError, match=r"parallel: .*multiples of 2; received 7, 9"):
        gn.Sequential([gn.Input((7, 9, 1)), layers.Parallel(pools)])


def test_inputs_of_different_sizes_get_no_such_advice():
    inputs = [gn.Input((size, size, 1)) for size in (30, 32)]
    with pytest.raises(ShapeError) as caught:
        gn.Model(inputs, layers.Concatenate()(inputs))
    assert "multiples" not in str(caught.value)


def test_branches_that_never_agree_get_no_such_advice():
    for branch in ([layers.Conv2D(1, 3)], [layers.Conv2D(2, 1)], [layers.UpSampling2D(2)]):
        with pytest.raises(ShapeError, match=r"residual: .*received \(batch, \d+, \d+, 1\)$"):
            gn.Sequential([gn.Input((7, 7, 1)), layers.Residual(branch)])


# What a first day brings


def test_labels_that_do_not_begin_with_zero():
    model = compiled(gn.Input((2,)), layers.Dense(3), loss=LABELS)
    with pytest.raises(ValueError, match=r"label 3, but the model has 3 classes.*Pass y - 1"):
        model.fit(np.zeros((3, 2)), [1, 2, 3], verbose=0)


@pytest.mark.parametrize("loss", [LABELS, ONE_HOT, "categorical_focal_crossentropy"])
def test_one_output_is_no_output_for_each_of_two_classes(loss):
    model = compiled(gn.Input((2,)), layers.Dense(1), loss=loss)
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="'binary_crossentropy'"):
            call(np.zeros((4, 2)), [0, 1, 1, 0], verbose=0)


def test_arguments_that_only_keras_has():
    with pytest.warns(UserWarning, match=r"`input_shape`.*`Input\(shape\)`"):
        layers.Conv2D(4, 3, input_shape=(8, 8, 1))
    with pytest.raises(TypeError, match=r"'data_format'.*numpy.moveaxis"):
        layers.Conv2D(4, 3, data_format="channels_first")


def test_a_function_and_the_name_of_a_file_are_no_data():
    model = compiled(gn.Input((2,)), layers.Dense(1))
    with pytest.raises(TypeError, match=r"`x` is a function: pass what it returns, x\(\)"):
        model.fit(lambda: iter(()), verbose=0)
    with pytest.raises(TypeError, match="names a file, read that first"):
        model.predict("image.png", verbose=0)
