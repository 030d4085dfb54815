"""`gridnn.utils`: results are those of Keras' functions of the same names."""

import re

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, utils
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)


def test_to_categorical():
    assert utils.to_categorical([1, 0, 2]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert utils.to_categorical(np.array([[1], [0]]), 4).shape == (2, 4)
    assert utils.to_categorical(np.zeros((2, 3, 1), int), 2).shape == (2, 3, 2)
    assert utils.to_categorical(np.array([1.0])).tolist() == [[0, 1]]
    for labels, message in (([0, -1], "-1"), ([0.5], "0.5"), ([0, 3], "label 3, but there are 2 classes")):
        with pytest.raises(ValueError, match=message):
            utils.to_categorical(labels, 2)


def test_normalize():
    x = RNG.normal(size=(4, 5))
    x[1] = 0
    scaled = utils.normalize(x)
    assert np.allclose(np.linalg.norm(scaled, axis=1), [1, 0, 1, 1])
    assert np.allclose(np.abs(utils.normalize(x, axis=0, order=1)).sum(axis=0), 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [2, 3, 4], [0, 0, 0]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 4], [0, 0, 0]]),
        ({"maxlen": 2}, [[0, 1], [3, 4], [0, 0]]),
        ({"maxlen": 2, "truncating": "post", "value": 9}, [[9, 1], [2, 3], [9, 9]]),
    ],
)
def test_pad_sequences(options, expected):
    result = utils.pad_sequences([[1], [2, 3, 4], []], **options)
    assert result.tolist() == expected
    assert result.dtype == np.int32


def test_pad_sequences_warns_of_measurements_that_become_whole():
    with pytest.warns(UserWarning, match="pass dtype='float32'"):
        assert utils.pad_sequences([[0.5, 1.5], [2.0]]).tolist() == [[0, 1], [0, 2]]


def test_pad_sequences_of_vectors():
    result = utils.pad_sequences([np.ones((1, 2)), np.ones((3, 2))], dtype="float32")
    assert (result.shape, result.dtype) == ((2, 3, 2), np.float32)
    with pytest.raises(ValueError, match="those of number 1 have shape"):
        utils.pad_sequences([np.ones((1, 2)), np.ones((3, 3))])
    with pytest.raises(ValueError, match="number 0 is 1"):
        utils.pad_sequences([1, 2])


def test_pad_sequences_with_a_value_for_each_channel():
    series = [np.ones((1, 2)), np.ones((2, 2))]
    result = utils.pad_sequences(series, dtype="float32", padding="post", value=np.array([5.0, 7.5]))
    assert result.tolist() == [[[1, 1], [5, 7.5]], [[1, 1], [1, 1]]]
    assert utils.pad_sequences(series, value=[5, 7])[0].tolist() == [[5, 7], [1, 1]]
    with pytest.raises(ValueError, match=r"have the shape \(2,\) of an element .* shape \(3,\)"):
        utils.pad_sequences(series, value=[1, 2, 3])
    with pytest.raises(TypeError, match="value"):
        utils.pad_sequences(series, value=["a", "b"])


def test_get_file_says_that_nothing_is_downloaded():
    with pytest.raises(NotImplementedError, match=r"downloads nothing. Fetch https://x/y\.zip with"):
        utils.get_file("y.zip", origin="https://x/y.zip")


def test_py_datasets_are_read_by_number():
    class Squares(utils.PyDataset):
        ended = 0

        def __len__(self):
            return 3

        def __getitem__(self, index):
            x = np.arange(4.0).reshape(4, 1) + index
            return x, x**2

        def on_epoch_end(self):
            self.ended += 1

    data = Squares(workers=2, use_multiprocessing=False)
    assert (data.num_batches, data.workers, utils.Sequence) == (3, 2, utils.PyDataset)
    model = gn.Sequential([gn.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(data, epochs=2, verbose=0)
    assert data.ended == 2
    assert model.predict(data).shape == (12, 1)
    with pytest.raises(NotImplementedError, match="PyDataset must have a method __len__"):
        model.fit(utils.PyDataset(), verbose=0)


def keras_windows(data, targets, length, stride, rate, start, end):
    """The definition, element by element."""
    start, end = start or 0, len(data) if end is None else end
    count = end - start - (length - 1) * rate
    if targets is not None:
        count = min(count, len(targets[start:end]))
    firsts = range(0, count, stride)
    x = [[data[start:end][first + k * rate] for k in range(length)] for first in firsts]
    return np.array(x), None if targets is None else np.array([targets[start:end][first] for first in firsts])


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize(("start", "end"), [(None, None), (2, 17)])
@pytest.mark.parametrize("shape", [(20,), (20, 2)])
@pytest.mark.parametrize("with_targets", [True, False])
def test_timeseries_follow_the_rules_of_keras(stride, rate, start, end, shape, with_targets):
    data = RNG.normal(size=shape)
    targets = RNG.normal(size=20) if with_targets else None
    batches = utils.timeseries_dataset_from_array(
        data, targets, 4, stride, rate, batch_size=3, start_index=start, end_index=end
    )
    x, y = keras_windows(data, targets, 4, stride, rate, start, end)
    read = list(batches)
    if with_targets:
        assert np.array_equal(np.concatenate([part for _, part in read]), y)
        read = [part for part, _ in read]
    assert np.array_equal(np.concatenate(read), x)


def test_timeseries_that_are_too_short():
    with pytest.raises(ValueError, match=r"There are 5 steps and 5 targets: too few .* takes 7"):
        utils.timeseries_dataset_from_array(np.zeros(5), np.zeros(5), 4, sampling_rate=2)


@pytest.fixture
def photos(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            array = RNG.integers(0, 256, (6, 8, 3), np.uint8)
            image_module.fromarray(array).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_images_are_loaded_and_made_arrays(photos):
    image = utils.load_img(photos / "cat" / "0.png")
    assert image.size == (8, 6)
    array = utils.img_to_array(image)
    assert (array.shape, array.dtype, array.max() > 1) == ((6, 8, 3), np.float32, True)
    gray = utils.load_img(photos / "cat" / "0.png", "grayscale", (3, 4), "bilinear", True)
    assert utils.img_to_array(gray, dtype="uint8").shape == (3, 4, 1)
    assert utils.load_img(str(photos / "cat" / "0.png"), color_mode="rgba").mode == "RGBA"
    with pytest.raises(ValueError, match="`color_mode` argument must be one of 'rgb', 'grayscale', 'rgba'"):
        utils.load_img(photos / "cat" / "0.png", "hsv")
    with pytest.raises(ValueError, match="channels last everywhere"):
        utils.img_to_array(image, "channels_first")
    with pytest.raises(ValueError, match="two or three axes"):
        utils.img_to_array(np.zeros(3))
    (photos / "cat" / "0.png").write_bytes(b"none")
    with pytest.raises(FileFormatError, match=r"0\.png"):
        utils.load_img(photos / "cat" / "0.png")


def test_image_datasets(photos, capsys):
    batches = utils.image_dataset_from_directory(photos, image_size=(6, 8), batch_size=4, shuffle=False)
    assert capsys.readouterr().out == "Found 10 files belonging to 2 classes.\n"
    x, y = gn.data.image_folder(photos)
    assert batches.class_names == ["cat", "dog"]
    read = list(batches)
    assert np.array_equal(np.concatenate([part for part, _ in read]), x)
    assert np.array_equal(np.concatenate([part for _, part in read]), y)
    model = gn.Sequential([gn.Input((6, 8, 3)), layers.Flatten(), layers.Dense(2)], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    other = gn.Sequential.from_config(model.get_config())
    other.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(batches, seed=1, verbose=0)  # not shuffled, as was said
    other.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))


@pytest.mark.parametrize(
    ("mode", "shape"), [("int", (10,)), ("binary", (10, 1)), ("categorical", (10, 2)), (None, None)]
)
def test_labels_have_the_form_asked_for(photos, mode, shape):
    batches = utils.image_dataset_from_directory(photos, label_mode=mode, batch_size=10, verbose=False)
    batch = batches[0]
    if shape is None:
        assert batch.shape == (10, 256, 256, 3)
    else:
        assert batch[1].shape == shape


def test_labels_may_be_given(photos):
    numbers = list(range(10))
    batches = utils.image_dataset_from_directory(photos, numbers, image_size=4, batch_size=10, verbose=False)
    assert batches[0][1].tolist() == numbers
    alone = utils.image_dataset_from_directory(
        photos / "cat", None, image_size=4, batch_size=3, verbose=False
    )
    assert [len(batch) for batch in alone] == [3, 2]
    with pytest.raises(ValueError, match="list of 10 whole numbers"):
        utils.image_dataset_from_directory(photos, [1, 2])


def test_subsets_have_no_image_in_common(photos):
    def read(subset):
        return utils.image_dataset_from_directory(
            photos, image_size=4, validation_split=0.2, subset=subset, seed=3, verbose=False
        )

    train, held_out = read("both")
    assert (train.samples, held_out.samples) == (8, 2)
    assert read("training").files == train.files
    assert read("validation").files == held_out.files
    assert not {*train.files} & {*held_out.files}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_split": 0.2}, "go together"),
        ({"validation_split": 0.2, "subset": "training"}, "needs a `seed`"),
        ({"validation_split": 0.2, "subset": "test", "seed": 0}, "`subset` argument must be one of"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "Only one of"),
        ({"data_format": "channels_first"}, "channels last everywhere"),
        ({"follow_links": True}, "not supported"),
        ({"label_mode": "text"}, "`label_mode` argument must be one of"),
        ({"interpolation": "cubic"}, "`interpolation` argument must be one of"),
        ({"labels": "given"}, "`labels` argument must be one of 'inferred'"),
        ({"labels": None, "class_names": ["a"]}, "labels='inferred' only"),
    ],
)
def test_wrong_arguments_are_explained(photos, arguments, message):
    with pytest.raises(ValueError, match=message):
        utils.image_dataset_from_directory(photos, verbose=False, **arguments)


def test_plot_model_writes_a_picture(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    axes = utils.plot_model(model, tmp_path / "model.png", show_shapes=True, dpi=50)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    pyplot.close(axes.figure)


@pytest.mark.parametrize("label", [1e300, np.nan, np.inf, -np.inf, 2.0**63])
def test_numbers_that_are_no_labels_are_named(label):
    with pytest.raises(ValueError, match=re.escape(f"2 and so on. It holds {label:g}.")):
        utils.to_categorical([0, label])
    with pytest.raises(ValueError, match=r"It holds 1\.84467e"):
        utils.to_categorical(np.array([2**64 - 1], np.uint64))


def test_more_classes_than_fit_into_memory():
    with pytest.raises(MemoryError, match="2 rows of 1000000000000001 classes take"):
        utils.to_categorical([0, 10**15])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324])
def test_normalize_scales_what_has_no_squares(order, scale):
    x = np.array([[1.0, -1.0], [0.0, 1.0]])
    assert np.allclose(utils.normalize(x * scale, order=order), utils.normalize(x, order=order), rtol=1e-15)
    assert (
        utils.normalize(np.float16([[300, 400]])).tolist() == utils.normalize(np.float16([[3, 4]])).tolist()
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_normalize_is_the_plain_formula_to_the_byte(dtype):
    x = (100 * RNG.normal(size=(50, 7))).astype(dtype)
    for axis in (0, 1):
        assert np.array_equal(utils.normalize(x, axis), x / np.linalg.norm(x, axis=axis, keepdims=True))
    assert utils.normalize(np.zeros((0, 3)), 0).shape == (0, 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (np.nan, "int32"),
        (np.inf, "int8"),
        (1e10, "int32"),
        (300, "int8"),
        (-1, "uint8"),
        (-1, "uint64"),
        (2.0**63, "int64"),
        (np.uint64(2**64 - 1), "int64"),
        (1e300, "float32"),
        (70000, "float16"),
    ],
)
def test_numbers_that_a_type_cannot_hold_are_refused(value, dtype):
    with pytest.raises(
        ValueError, match=f"Number 1 of the `sequences` argument holds .* {dtype} cannot hold"
    ):
        utils.pad_sequences([[1], np.array([1, value]) if isinstance(value, int) else [value]], dtype=dtype)
    with pytest.raises(ValueError, match=f"`value` argument holds .* {dtype} cannot hold"):
        utils.pad_sequences([[1], [2, 3]], dtype=dtype, value=value)
    with pytest.raises(ValueError, match=f"`img` argument holds .* {dtype} cannot hold"):
        utils.img_to_array(np.full((2, 2), value), dtype=dtype)


def test_numbers_at_the_limits_of_a_type_are_kept():
    assert utils.pad_sequences([[127.9, -128.9, 0.5]], dtype="int8").tolist() == [[127, -128, 0]]
    assert utils.pad_sequences([[-(2**63), 2**63 - 1]], dtype="int64").tolist() == [[-(2**63), 2**63 - 1]]
    assert np.isnan(utils.pad_sequences([[1.0], [np.nan, np.inf]], dtype="float32", value=np.nan)).sum() == 2
    assert utils.pad_sequences([["a"], ["b", "c"]], dtype=object, value="-").tolist() == [
        ["-", "a"],
        ["b", "c"],
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: utils.pad_sequences(3), "`sequences` argument must be a list of sequences. Received 3"),
        (lambda: utils.pad_sequences([["a"]]), "`sequences` argument must hold real numbers"),
        (lambda: utils.pad_sequences([[1]], value="x"), "`value` argument must be a number"),
        (lambda: utils.img_to_array("a.png"), "`img` argument .* A text is no data: if it names a file"),
        (lambda: utils.img_to_array(None), "`img` argument must be an array. Received NoneType"),
        (lambda: utils.normalize([1.0], axis="x"), "`axis` argument must be an integer"),
    ],
)
def test_what_is_no_number_is_explained(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_what_is_no_model_is_not_drawn():
    pytest.importorskip("matplotlib")
    model = gn.Sequential([gn.Input((4,)), layers.Dense(1)])
    for path in (None, "", 3):
        with pytest.raises((TypeError, ValueError), match="`to_file` argument must be a path"):
            utils.plot_model(model, path)
    with pytest.raises(TypeError, match="`dpi` argument must be an integer"):
        utils.plot_model(model, dpi="a")
    for draw in (utils.plot_model, gn.plot.diagram):
        with pytest.raises(TypeError, match=r"`model` must be a Sequential or another model. Received 3"):
            draw(3)
