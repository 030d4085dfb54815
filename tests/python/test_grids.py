"""`Resizing`, `CenterCrop` and `STFT`: against Keras, SciPy and plain sums."""

import json
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

# What tests/python/reference/keras_grids.py has found.
TABLE = json.loads((Path(__file__).parent / "reference" / "keras_grids.json").read_text())
IMAGE = np.sin(0.7 * np.arange(35.0)).reshape(1, 5, 7, 1)
SERIES = np.sin(0.3 * np.arange(100.0)).reshape(1, 50, 2)


def made(layer, x, dtype="float64"):
    model = gn.Sequential([gn.Input(x.shape[1:]), layer], dtype=dtype, seed=0)
    return model.predict(x, verbose=0)


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda c: f"{c['layer']}({c['arguments']})")
def test_the_numbers_of_keras(case):
    x = SERIES if case["layer"] == "STFT" else IMAGE
    y = made(getattr(layers, case["layer"])(**case["arguments"]), x)
    assert list(y.shape[1:]) == case["shape"]
    # In float32 there; logarithms of what is next to nothing are the least exact.
    np.testing.assert_allclose(y.ravel(), case["values"], atol=3e-4 if x is SERIES else 4e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest", "bicubic", "lanczos3"])
def test_axes_are_resampled_one_by_one(interpolation):
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 5, 3))
    whole = made(layers.Resizing(3, 9, interpolation, depth=7), x)
    assert whole.shape == (2, 7, 3, 9, 3)
    expected = x
    for axis, size in ((1, 7), (2, 3), (3, 9)):
        rows = np.moveaxis(expected, axis, -1)
        flat = rows.reshape(-1, rows.shape[-1], 1)
        along = made(layers.Resizing(size, interpolation=interpolation), flat)
        expected = np.moveaxis(along.reshape(*rows.shape[:-1], size), -1, axis)
    np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-12)


def test_axes_that_are_not_asked_for_stay():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 5, 3))
    for pad in (False, True):
        layer = layers.Resizing(3, 10, pad_to_aspect_ratio=pad, crop_to_aspect_ratio=not pad)
        slices = made(layer, x)
        assert slices.shape == (2, 4, 3, 10, 3)
        again = layers.Resizing.from_config(layer.get_config())
        flat = made(again, x.reshape(8, 6, 5, 3)).reshape(slices.shape)
        np.testing.assert_array_equal(slices, flat)
    assert made(layers.CenterCrop(2), np.arange(10.0).reshape(1, 5, 2)).tolist() == [[[2, 3], [4, 5]]]
    assert made(layers.CenterCrop(4, depth=2), x).shape == (2, 2, 4, 5, 3)
    np.testing.assert_array_equal(made(layers.Resizing(6, 5, "lanczos5"), x), x)


def test_constants_stay_constant():
    x = np.full((1, 7, 5, 1), 3.0)
    for interpolation in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"):
        for antialias in (False, True):
            y = made(layers.Resizing(3, 11, interpolation, antialias=antialias), x)
            np.testing.assert_allclose(y, 3.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "error"),
    [
        (lambda: layers.Resizing(0, 4), ValueError),
        (lambda: layers.Resizing(4, 4, "area"), ValueError),
        (lambda: layers.Resizing(4, 4, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), ValueError),
        (lambda: layers.Resizing(4, 4, fill_mode="reflect"), ValueError),
        (lambda: gn.Sequential([gn.Input((8, 1)), layers.Resizing(4, 4)]), ValueError),
        (lambda: gn.Sequential([gn.Input((8, 8, 1)), layers.CenterCrop(4, 4, depth=2)]), ValueError),
        (lambda: gn.Sequential([gn.Input((8,)), layers.Resizing(4)]), ShapeError),
        (lambda: layers.STFT("power"), ValueError),
        (lambda: layers.STFT(frame_length=8, frame_step=9), ValueError),
        (lambda: layers.STFT(frame_length=8, fft_length=4), ValueError),
        (lambda: layers.STFT(frame_length=8, window=[1.0] * 7), ValueError),
        (lambda: layers.STFT(window="kaiser"), ValueError),
        (lambda: layers.STFT(scaling="power"), ValueError),
        (lambda: layers.STFT(padding="causal"), ValueError),
        (lambda: gn.Sequential([gn.Input((8, 1)), layers.STFT(frame_length=9)]), ShapeError),
        (lambda: gn.Sequential([gn.Input((8, 8, 1)), layers.STFT(frame_length=4)]), ShapeError),
    ],
)
def test_what_does_not_fit(layer, error):
    with pytest.raises(error):
        layer()


# Spectra


@pytest.mark.parametrize("length", [64, 60, 25, 1])
def test_transforms_of_any_length(length):
    x = np.random.default_rng(1).normal(size=(2, 200, 3))
    step = max(length // 3, 1)
    y = made(layers.STFT("stft", length, step, length, None, expand_dims=True), x)
    frames = np.lib.stride_tricks.sliding_window_view(x, length, axis=1)[:, ::step]
    expected = np.fft.rfft(frames, axis=-1).transpose(0, 1, 3, 2)
    count = length // 2 + 1
    np.testing.assert_allclose(y[:, :, :count], expected.real, atol=1e-11)
    np.testing.assert_allclose(y[:, :, count:], expected.imag, atol=1e-11)


@pytest.mark.parametrize(("scaling", "name"), [("spectrum", "spectrum"), ("density", "psd")])
@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "boxcar", "own"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_agrees_with_scipy(scaling, name, window, dtype):
    signal = pytest.importorskip("scipy.signal")
    x = np.random.default_rng(2).normal(size=(3, 1000, 2))
    own = np.linspace(0.1, 1.0, 128) if window == "own" else window
    layer = layers.STFT("stft", 128, 32, 256, own, True, scaling, expand_dims=True)
    y = made(layer, x.astype(dtype), dtype)
    _, _, expected = signal.stft(
        x, 1.0, own, 128, 96, 256, boundary=None, padded=False, axis=1, scaling=name
    )  # (samples, frequencies, channels, frames)
    expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y[:, :, :129], expected.real, atol=1e-4)
    np.testing.assert_allclose(y[:, :, 129:], expected.imag, atol=1e-4)
    power = made(
        layers.STFT("psd", 128, 32, 256, own, True, scaling, expand_dims=True), x.astype(dtype), dtype
    )
    _, _, expected = signal.spectrogram(
        x, 1.0, own, 128, 96, 256, detrend=False, axis=1, scaling=scaling, mode="psd"
    )
    np.testing.assert_allclose(power, expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-6)


def test_angles():
    x = np.random.default_rng(3).normal(size=(2, 64, 1))
    parts = made(layers.STFT("stft", 16), x)
    angles = made(layers.STFT("angle", 16), x)
    np.testing.assert_allclose(angles, np.arctan2(parts[..., 9:], parts[..., :9]), atol=1e-12)
    assert (made(layers.STFT("angle", 16), np.zeros((1, 64, 1))) == 0).all()


def test_silence_is_finite():
    y = made(layers.STFT(), np.zeros((1, 512, 1)))
    np.testing.assert_allclose(y, 0.5 * np.log(1e-7), rtol=1e-12)


def test_a_network_learns_through_spectra():
    x = np.random.default_rng(0).normal(size=(40, 256, 1))
    tones = np.sin(np.arange(256) * np.where(np.arange(40) % 2, 0.4, 1.1)[:, None])
    stack = [
        gn.Input((256, 1)),
        layers.Conv1D(1, 3, padding="same"),
        layers.STFT(frame_length=64, expand_dims=True),
        layers.Conv2D(4, 3, activation="relu"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(2),
    ]
    model = gn.Sequential(stack, seed=0)
    model.compile(gn.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = model.layers[0].kernel
    history = model.fit(0.3 * x + tones[..., None], np.arange(40) % 2, epochs=12, verbose=0, seed=0)
    assert history.history["accuracy"][-1] == 1.0
    assert not np.array_equal(before, model.layers[0].kernel)
