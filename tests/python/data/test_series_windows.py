"""Windows of a series: which target belongs to which, and that nothing is copied."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("horizon", [0, 1, 4])
@pytest.mark.parametrize("steps", [7, 8, 20])
def test_windows_and_targets_are_those_of_the_definition(length, stride, horizon, steps):
    series = np.arange(steps * 2).reshape(steps, 2)
    targets = 100 + np.arange(steps)
    x, y = gn.data.windows(series, targets, length, stride, horizon)
    starts = [s for s in range(0, steps, stride) if s + length - 1 + horizon < steps]
    assert len(x) == len(y) == len(starts)
    for window, target, start in zip(x, y, starts, strict=True):
        assert np.array_equal(window, series[start : start + length])
        assert target == targets[start + length - 1 + horizon]


def test_windows_share_the_memory_of_the_series():
    series = np.zeros((1_000_000, 3), np.float32)
    x, y = gn.data.windows(series, series, length=1000, horizon=1)
    assert x.shape == (999_000, 1000, 3)
    assert np.shares_memory(x, series)
    assert np.shares_memory(y, series)
    assert not x.flags.writeable  # writing to one window would change its neighbours


def test_windows_alone():
    x = gn.data.windows(np.arange(5), length=2, stride=2)
    assert x.shape == (2, 2, 1)
    assert x[..., 0].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"length": 6}, ValueError, "The series has 5 steps: too few for a window of 6"),
        ({"length": 4, "horizon": 2, "targets": np.zeros(5)}, ValueError, "window of 4 and a horizon of 2"),
        ({"length": 2, "horizon": 1}, ValueError, "give `targets`, perhaps the series itself"),
        ({"length": 2, "targets": np.zeros(4)}, ShapeError, "one entry for each of the 5 steps"),
        ({}, TypeError, "`length` argument is missing"),
        ({"length": 0}, ValueError, "`length` argument must be a positive integer"),
        ({"length": 2, "stride": 0}, ValueError, "`stride` argument must be a positive integer"),
        ({"length": 2, "horizon": -1}, ValueError, "`horizon` argument must be at least 0"),
    ],
)
def test_wrong_arguments_are_explained(arguments, error, message):
    with pytest.raises(error, match=message):
        gn.data.windows(np.zeros(5), **arguments)


def test_series_of_three_axes_are_refused():
    with pytest.raises(ShapeError, match=r"must have shape \(time,\) or \(time, channels\)"):
        gn.data.windows(np.zeros((5, 2, 2)), length=2)


def forecaster():
    model = gn.Sequential([gn.Input((8, 1)), layers.Flatten(), layers.Dense(1)], seed=0)
    model.compile("adam", "mse")
    return model


def test_batches_of_windows_train_as_the_arrays_do():
    series = np.sin(np.arange(200) / 5).astype(np.float32)
    x, y = gn.data.windows(series, series, 8, horizon=1)
    batches = gn.data.windows(series, series, 8, horizon=1, batch_size=16)
    one, other = forecaster(), forecaster()
    one.fit(x, y, batch_size=16, epochs=2, seed=3, verbose=0)
    other.fit(batches, epochs=2, seed=3, verbose=0)
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    alone = gn.data.windows(series, length=8, batch_size=16)
    assert np.array_equal(other.predict(alone)[:-1], one.predict(x))
    with pytest.raises(ValueError, match=r"`x` must give batches \(x, y\)"):
        other.fit(alone, verbose=0)
