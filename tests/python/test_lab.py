"""The exercises of the lab: right answers pass, wrong ones get a reason; samples are what they say."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier


def size(n, kernel, stride, pad, dilation):
    return (n + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def small_model(filters=8):
    return gn.Sequential(
        [
            gn.Input((8, 8, 1)),
            layers.Conv2D(filters, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


RIGHT = {
    "place in memory": lambda: 99,
    "edge kernel": lambda: gn.filters.sobel(axis=0),
    "weights of a layer": lambda: 1216,
    "rectify": lambda: lambda x: np.maximum(x, 0),
    "entries of the matrix": lambda: np.int64(324),
    "learn a filter": lambda: gn.filters.sobel()[..., None, None],
    "output size of a valid convolution": lambda: 26,
    "output size": lambda: size,
    "same padding": lambda: (1, 2),
    "receptive field": lambda: 18,
    "price of a stride": lambda: 4.0,
    "separable weights": lambda: 8768,
    "dilated layers": lambda: 10,
    "max pool": lambda: lambda x: x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).max(axis=(1, 3)),
    "where the weights are": lambda: 0.743,
    "translate a call": lambda: [(1, 1), (2, 2)],
    "small model": small_model,
}

WRONG = [
    ("place in memory", 33, "3 channels"),
    ("place in memory", 5, "too small"),
    ("place in memory", "far", "is a number"),
    ("edge kernel", np.ones((3, 3)), "sum to 0"),
    ("edge kernel", np.ones(4), "shape"),
    ("edge kernel", -gn.filters.sobel(axis=0), "not positive"),
    ("edge kernel", gn.filters.sobel(axis=0) + gn.kernels.sobel(axis=1), "to the right"),
    ("rectify", abs, "it makes"),
    ("rectify", 3, "is a function"),
    ("rectify", lambda x: x.sum(), "shape"),
    ("rectify", lambda x: 1 / 0, "raised ZeroDivisionError"),
    ("learn a filter", np.zeros((3, 3)), "largest difference"),
    ("output size", lambda n, k, s, p, d: n, "outputs"),
    ("same padding", (2, 1), "to the end"),
    ("same padding", (4, 4), "8 in all"),
    ("same padding", 3, "pair of integers"),
    ("max pool", lambda x: x[::2, ::2], "some values"),
    ("max pool", lambda x: x, "shape"),
    ("where the weights are", 0.2, "too small"),
    ("translate a call", [[0, 0], [1, 1], [2, 2], [0, 0]], "no pairs"),
    ("translate a call", [(2, 2), (1, 1)], "height, width"),
    ("small model", 7, "is a model"),
    ("small model", gn.Sequential([layers.Dense(10)]), "not built"),
    ("small model", gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(9)]), "10 numbers"),
    (
        "small model",
        gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)]),
        "no convolution",
    ),
    ("small model", small_model(500), "weights"),
    ("read digits", small_model(), "of the test digits"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_answers(name, capsys):
    assert gn.lab.check(name, RIGHT[name]()) is True
    assert capsys.readouterr().out.startswith("Right. ")


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_wrong_answers_get_a_reason(name, answer, words, capsys):
    assert gn.lab.check(name, answer) is False
    said = capsys.readouterr().out
    assert said.startswith("Not yet. ")
    assert words in said


def test_reading_digits(capsys):
    (x, y), _ = gn.datasets.digits()
    model = gn.Sequential(
        [
            gn.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ],
        seed=0,
    )
    model.compile(gn.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=20, verbose=0, seed=0)
    assert gn.lab.check("read digits", model), capsys.readouterr().out


def test_every_exercise_has_its_texts():
    assert set(gn.lab.exercises()) == set(RIGHT) | {"read digits"}
    for name in gn.lab.exercises():
        assert gn.lab.question(name).strip().endswith(("?", "."))
        assert gn.lab.hint(name)
    with pytest.raises(ValueError, match="no exercise 'nonsense'"):
        gn.lab.check("nonsense", 1)


def test_samples():
    assert gn.lab.image(24).shape == (24, 24, 1)
    picture = gn.lab.image(24, colour=True)
    assert picture.shape == (24, 24, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert gn.lab.sound(0.5, 1000).shape == (500, 1)
    assert np.abs(gn.lab.sound()).max() <= 1
    assert gn.lab.volume(8).shape == (8, 8, 8, 1)
    x, y = gn.lab.sounds(30, length=128, seed=3)
    assert x.shape == (30, 128, 1)
    assert np.bincount(y).tolist() == [10, 10, 10]
    np.testing.assert_array_equal(x, gn.lab.sounds(30, length=128, seed=3)[0])
    for wrong in (lambda: gn.lab.image(8), lambda: gn.lab.volume(4), lambda: gn.lab.sounds(0)):
        with pytest.raises(ValueError):
            wrong()
