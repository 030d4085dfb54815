"""`gridnn.utils`: results are those of Keras' functions of the same names."""

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


def test_pad_sequences_of_vectors():
    result = utils.pad_sequences([np.ones((1, 2)), np.ones((3, 2))], dtype="float32")
    assert (result.shape, result.dtype) == ((2, 3, 2), np.float32)
    with pytest.raises(ValueError, match="those of number 1 have shape"):
        utils.pad_sequences([np.ones((1, 2)), np.ones((3, 3))])
    with pytest.raises(ValueError, match="number 0 is 1"):
        utils.pad_sequences([1, 2])


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
