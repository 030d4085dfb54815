"""Data that does not fit: an exception that says what, and a model that keeps its weights; or it works."""

import subprocess
import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import NonFiniteError, ShapeError

N = 6


@pytest.fixture
def model():
    model = gn.Sequential(
        [gn.Input((5, 4, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)], seed=0
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(N, 5, 4, 1)).astype(np.float32)


@pytest.fixture
def y():
    return np.array([0, 1, 2, 0, 1, 2])


def unchanged(model, error, match, call):
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(error, match=match):
        call()
    assert [w.tobytes() for w in model.get_weights()] == before


X = np.zeros((N, 5, 4, 1), np.float32)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (X[..., 0], ShapeError, r"expected shape \(batch, 5, 4, 1\), received \(6, 5, 4\).*newaxis"),
        (X[..., np.newaxis], ShapeError, r"received \(6, 5, 4, 1, 1\)"),
        (np.zeros((N, 5, 4, 3)), ShapeError, r"received \(6, 5, 4, 3\)"),
        (np.zeros((N, 4, 5, 1)), ShapeError, r"received \(6, 4, 5, 1\)"),
        (X[:0], ValueError, "`x` holds no samples"),
        (X[:4], ValueError, "`x` has 4, `y` has 6"),
        (np.float32(1), ValueError, "batch axis"),
        (X.astype(complex), TypeError, "complex"),
        (X.astype(object), TypeError, "object"),
        (X.astype(str), TypeError, "`x`"),
        (np.ma.masked_array(X), TypeError, "masked"),
        (np.zeros((N, 5, 4, 1), "datetime64[s]"), TypeError, "datetime64"),
        ([[1, 2], [3]], TypeError, "`x`"),
        ("images", TypeError, "`x`"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_bad_inputs(model, y, method, x, error, match):
    quiet = {} if method.endswith("batch") else {"verbose": 0}
    unchanged(model, error, match, lambda: getattr(model, method)(x, y, **quiet))


@pytest.mark.parametrize("x", [X[..., 0], np.zeros((N, 5, 4, 3)), X.astype(complex), "images"])
def test_bad_inputs_to_predict(model, x):
    unchanged(model, (ShapeError, TypeError), "`x`", lambda: model.predict(x, verbose=0))
    unchanged(model, (ShapeError, TypeError), "`x`", lambda: model(x))


def test_predict_nothing(model):
    assert model.predict(X[:0], verbose=0).shape == (0, 3)
    assert model(X[:0]).shape == (0, 3)
    anywhere = gn.Sequential([gn.Input((None, None, 1)), layers.Conv2D(2, 3)])
    assert anywhere.predict(X[:0], verbose=0).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        ([0, 1, 2, 3, 0, 1], ValueError, r"`y` holds label 3, but .* first in sample 3 .* For 4 classes"),
        ([0, 1, -1, 0, 0, 1], ValueError, r"`y` holds label -1, .* first in sample 2 .* ignore_class=-1"),
        ([0, 1, 255, 0, 0, 1], ValueError, r"first in sample 2 .* Pass y // 255.* ignore_class=255"),
        ([0, 1, float("nan"), 0, 0, 1], ValueError, "`y` must be finite; it holds NaN, first in sample 2"),
        ([0, 1, float("inf"), 0, 0, 1], ValueError, "`y` must be finite; it holds infinity"),
        ([0, 1, 0.5, 0, 0, 1], ValueError, "whole-number class labels; it holds 0.5, first in sample 2"),
        (np.eye(3)[[0, 1, 2, 0, 1, 2]], ShapeError, "one-hot targets use .* 'categorical_crossentropy'"),
        (np.zeros((N, 2)), ShapeError, r"class labels have shape \(batch\)"),
        (np.zeros(5), ValueError, "`x` has 6, `y` has 5"),
        (["a", "b", "c", "a", "b", "c"], TypeError, "`y`"),
        (None, ValueError, "`y` is missing"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_bad_labels(model, x, method, y, error, match):
    unchanged(model, error, match, lambda: getattr(model, method)(x, y, verbose=0))


def test_a_wrong_first_call_decides_nothing(model, x, y):
    with pytest.raises(ShapeError):
        model.fit(x, np.eye(3)[y], verbose=0)
    model.fit(x, y, verbose=0)


def test_nan_among_values():
    model = gn.Sequential([gn.Input((2,)), layers.Dense(1)], seed=0)
    model.compile("sgd", "mse")
    x = np.ones((2, 2))
    unchanged(model, ValueError, "`y` must be finite", lambda: model.fit(x, [1, np.nan], verbose=0))
    unchanged(model, ShapeError, "`y`", lambda: model.fit(x, np.ones((2, 2)), verbose=0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_inputs(model, x, y, value):
    x[2, 1, 1] = value
    unchanged(model, NonFiniteError, None, lambda: model.fit(x, y, verbose=0))
    assert model.network.iterations == 0


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"sample_weight": np.ones(5)}, ValueError, "`sample_weight`"),
        ({"sample_weight": np.ones((N, 2))}, ValueError, "`sample_weight`"),
        ({"sample_weight": [1, 1, 1, 1, 1, np.nan]}, ValueError, "`sample_weight`"),
        ({"sample_weight": ["a"] * N}, TypeError, "`sample_weight`"),
        ({"class_weight": 3}, TypeError, "`class_weight`"),
        ({"class_weight": [1, 2]}, ValueError, "`class_weight`"),
        ({"class_weight": {3: 1.0}}, ValueError, "`class_weight`"),
        ({"class_weight": {0: -1.0}}, ValueError, r"`class_weight\[0\]`"),
        ({"sample_weight": -np.ones(N)}, ValueError, "`sample_weight`"),
        ({"class_weight": {0: "heavy"}}, TypeError, r"`class_weight\[0\]`"),
        ({"class_weight": {0: float("nan")}}, ValueError, r"`class_weight\[0\]`"),
        ({"class_weight": {0.5: 1}}, TypeError, "`class_weight`"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"batch_size": 2.5}, TypeError, "`batch_size`"),
        ({"epochs": -1}, ValueError, "`epochs`"),
        ({"initial_epoch": "0"}, TypeError, "`initial_epoch`"),
        ({"steps_per_epoch": 0}, ValueError, "`steps_per_epoch`"),
        ({"validation_split": 1.5}, ValueError, "`validation_split`"),
        ({"validation_split": 1.0}, ValueError, "not sufficient to split"),
        ({"validation_split": 0.01, "epochs": 0}, None, ""),
        ({"validation_data": 3}, TypeError, "`validation_data`"),
        ({"validation_data": (X,)}, ValueError, "`validation_data`.*tuple of 1 elements"),
        ({"validation_data": ()}, ValueError, "`validation_data`.*tuple of 0 elements"),
        ({"validation_data": (X, X, X, X)}, ValueError, "`validation_data`.*tuple of 4 elements"),
        ({"validation_data": (X, np.zeros(5))}, ValueError, "`validation_x` has 6, `validation_y` has 5"),
        ({"validation_freq": 0}, ValueError, "`validation_freq`"),
        ({"shuffle": "batch"}, TypeError, "`shuffle`"),
        ({"verbose": 3}, ValueError, "`verbose`"),
        ({"callbacks": [print]}, TypeError, "`callbacks`"),
        ({"seed": -1}, ValueError, "`seed`"),
        ({"seed": 1.0}, TypeError, "`seed`"),
    ],
)
def test_bad_arguments_of_fit(model, x, y, arguments, error, match):
    if error is None:
        model.fit(x, y, **{"verbose": 0, **arguments})
    else:
        unchanged(model, error, match, lambda: model.fit(x, y, **{"verbose": 0, **arguments}))


def looks(model, x):
    return model.predict(x, verbose=0).tobytes()


def test_layouts_types_and_read_only_arrays_work(model, x, y):
    whole = np.round(x * 20).clip(0, 100)
    expected = looks(model, whole)
    integers = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
    for dtype in (*integers, "float64", ">f4", ">i2"):
        assert looks(model, whole.astype(dtype)) == expected, dtype
    assert looks(model, whole.astype("float16")) == expected
    assert looks(model, whole.astype("longdouble")) == expected
    assert looks(model, whole.tolist()) == expected
    assert looks(model, np.asfortranarray(whole)) == expected
    assert looks(model, np.repeat(whole, 2, axis=1)[:, ::2]) == expected
    assert looks(model, whole[::-1][::-1]) == expected
    frozen = whole.copy()
    frozen.flags.writeable = False
    assert looks(model, frozen) == expected
    assert looks(model, whole > 10) == looks(model, (whole > 10).astype(np.float32))
    labels = y.copy()
    labels.flags.writeable = False
    model.fit(frozen, labels, verbose=0)


def test_training_does_not_depend_on_the_layout(x, y):
    def trained(x, y):
        model = gn.Sequential([gn.Input((5, 4, 1)), layers.Flatten(), layers.Dense(3)], seed=0)
        model.compile("sgd", "ce")
        model.fit(x, y, batch_size=4, epochs=2, seed=1, verbose=0)
        return [w.tobytes() for w in model.get_weights()]

    expected = trained(x, y)
    assert trained(np.asfortranarray(x), y.astype(np.uint8)) == expected
    assert trained(x, y.astype(np.float64)) == expected
    assert trained(x, y[:, np.newaxis]) == expected
    assert trained(x.tolist(), y.tolist()) == expected


def test_memory_mapped_files_are_not_copied(model, x, y, tmp_path):
    from gridnn._arrays import as_array

    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(as_array(mapped, "x"), mapped)
    assert looks(model, mapped) == looks(model, x)
    model.fit(mapped, y, verbose=0)


def test_rank_errors_name_the_layer():
    with pytest.raises(ShapeError, match="conv2d"):
        gn.Sequential([gn.Input((8, 1)), layers.Conv2D(2, 3)])
    with pytest.raises(ShapeError, match="max_pooling3d"):
        gn.Sequential([gn.Input((8, 8, 1)), layers.MaxPooling3D()])
    with pytest.raises(ShapeError, match="conv1d"):
        gn.Sequential([gn.Input((2, 1)), layers.Conv1D(2, 3)])  # the kernel is larger than the input
    with pytest.raises(ValueError, match="groups"):
        gn.Sequential([gn.Input((8, 3)), layers.Conv1D(2, 3, groups=2)])


def test_not_compiled_and_not_built(x, y):
    model = gn.Sequential([layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, y)
    with pytest.raises(ValueError, match="not built"):
        gn.Sequential([layers.Dense(3)]).get_weights()
    model.compile("sgd")
    with pytest.raises(ValueError, match="no loss"):
        model.fit(x, y, verbose=0)
    assert model.predict(x, verbose=0).shape == (N, 3)
    with pytest.raises(ValueError, match="no layers"):
        gn.Sequential().predict(x)


def test_more_weights_than_memory(x, y):
    too_large = layers.Dense(10**13, name="too_large")  # 240 TB: no machine's address space
    with pytest.raises(MemoryError, match="cannot allocate"):
        gn.Sequential([gn.Input((6,)), too_large])
    model = gn.Sequential([gn.Input((5, 4, 1)), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [w.tobytes() for w in model.get_weights()]
    with pytest.raises(MemoryError, match="cannot allocate"):
        model.add(too_large)
    assert [w.tobytes() for w in model.get_weights()] == before
    model.fit(x, y, verbose=0)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: [gn.Input((2**40, 2**40)), layers.Flatten()], ShapeError, "input: .*at most"),
        (lambda: [gn.Input((2**64, 1)), layers.Flatten()], ValueError, "`shape`"),
        (lambda: [gn.Input((8, 8, 3)), layers.UpSampling2D(2**40)], ShapeError, "up_sampling2d: .*at most"),
        (lambda: [gn.Input((8, 8, 3)), layers.UpSampling2D(2**62)], ValueError, "up_sampling2d: .*address"),
        (lambda: [gn.Input((8, 8, 3)), layers.ZeroPadding2D(2**40)], ShapeError, "zero_padding2d: .*at most"),
        (lambda: [gn.Input((8,)), layers.RepeatVector(2**62)], ShapeError, "repeat_vector: .*at most"),
        (lambda: [gn.Input((8,)), layers.Reshape((2**40, 2**40))], ShapeError, "reshape: .*target_shape"),
        (lambda: [gn.Input((8, 8, 3)), layers.AdaptiveMaxPooling2D(2**40)], ShapeError, "at most"),
        (lambda: [gn.Input((8, 8, 3)), layers.Conv2D(2**64, 3)], ValueError, "`filters`"),
        (lambda: [gn.Input((8, 8, 3)), layers.MaxPooling2D(2**64)], ValueError, "`pool_size`"),
        (lambda: [gn.Input((2**39,)), layers.Dense(2**30)], (MemoryError, ValueError), "."),
    ],
)
def test_sizes_that_nobody_can_have(make, error, match):
    with pytest.raises(error, match=match):
        gn.Sequential(make())


@pytest.mark.parametrize("layer", [layers.UpSampling1D(2**36), layers.ZeroPadding1D((2**39, 0))], ids=repr)
def test_samples_that_do_not_fit_into_memory(layer):
    """Sizes are known with the data only; tables of positions must not be tried."""
    model = gn.Sequential([gn.Input((None, 1)), layer], seed=0)
    with pytest.raises((MemoryError, ShapeError)):
        model.predict(np.zeros((1, 8, 1)), verbose=0)
    assert model.count_params() == 0


def test_numpys_masked_arrays_are_not_imported_to_look_for_them():
    code = """
import sys
import numpy as np
already = "numpy.ma" in sys.modules
import gridnn as gn
gn.functional.pad1d([[[1.0]]], 1)
model = gn.Sequential([gn.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit([[1.0]], [[1.0]], verbose=0)
model.predict([[1.0]], verbose=0)
assert already or "numpy.ma" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
