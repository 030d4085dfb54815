"""`inspect.calibration` against counting by hand."""

import numpy as np
import pytest

import gridnn as gn

pytestmark = pytest.mark.one_tier


def test_several_classes():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.45, 0.55]])
    found = gn.inspect.calibration([0, 1, 1, 1], probabilities, bins=5)
    np.testing.assert_array_equal(found.count, [0, 0, 1, 1, 2])
    np.testing.assert_allclose(found.confidence, [np.nan, np.nan, 0.55, 0.7, 0.9])
    np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 1.0, 1.0, 0.5])
    assert found.error == pytest.approx((0.45 + 0.3 + 2 * 0.4) / 4)
    np.testing.assert_allclose(found.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])


def test_a_single_probability_is_that_of_class_1():
    labels, likely = [0, 0, 1, 1], [0.0, 0.2, 0.8, 1.0]
    found = gn.inspect.calibration(labels, likely, bins=2)
    np.testing.assert_allclose(found.accuracy, [0, 1])
    np.testing.assert_allclose(found.confidence, [0.1, 0.9])
    column = gn.inspect.calibration(labels, np.reshape(likely, (4, 1)), bins=2)
    assert column.error == found.error == pytest.approx(0.1)


def test_positions_and_one_hot_rows():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), size=(5, 4, 4))
    labels = rng.integers(0, 3, size=(5, 4, 4))
    found = gn.inspect.calibration(labels, shares)
    assert found.count.sum() == 80
    for same in (labels[..., None], np.eye(3)[labels]):
        assert gn.inspect.calibration(same, shares).error == found.error
    flat = gn.inspect.calibration(labels.ravel(), shares.reshape(-1, 3))
    np.testing.assert_array_equal(flat.accuracy, found.accuracy)


def test_perfect_probabilities_have_a_small_error():
    rng = np.random.default_rng(0)
    likely = rng.uniform(size=100_000)
    labels = rng.uniform(size=100_000) < likely
    assert gn.inspect.calibration(labels, likely).error < 0.01
    assert gn.inspect.calibration(labels, likely**3).error > 0.1


@pytest.mark.parametrize(
    ("labels", "probabilities", "error", "words"),
    [
        ([0, 1, 2], [0.1, 0.2], gn.errors.ShapeError, "do not fit"),
        ([], [], ValueError, "empty"),
        ([0, 1], [0.1, 1.2], ValueError, "softmax or sigmoid first. Received values from 0.1 to 1.2"),
        ([0, 1], [0.1, np.nan], ValueError, "between 0 and 1"),
        ([0, 2], [0.1, 0.2], ValueError, "classes from 0 to 1. Received 0 to 2"),
        ([0, 3], [[0.1, 0.9], [0.5, 0.5]], ValueError, "classes from 0 to 1. Received 0 to 3"),
    ],
)
def test_wrong_arguments(labels, probabilities, error, words):
    with pytest.raises(error, match=words):
        gn.inspect.calibration(labels, probabilities)
    with pytest.raises(ValueError, match="`bins`"):
        gn.inspect.calibration([0], [0.1], bins=0)
