"""Which algorithm computes a convolution: what calls, setting and environment say, and what differs."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import functional as F  # noqa: N812
from gridnn import layers

rng = np.random.default_rng(5)
X = rng.normal(size=(3, 18, 15, 40)).astype(np.float32)
KERNEL = rng.normal(0, 0.05, size=(3, 3, 40, 36)).astype(np.float32)
BIAS = rng.normal(size=36).astype(np.float32)
DY = rng.normal(size=(3, 18, 15, 36)).astype(np.float32)


pytestmark = pytest.mark.usefixtures("convolution_algorithm")


def passes(algorithm=None, padding_mode="zeros", **changes):
    arguments = {"padding": "same", "padding_mode": padding_mode, "algorithm": algorithm} | changes
    return [
        F.conv2d(X, KERNEL, BIAS, activation="tanh", **arguments),
        F.conv2d_input_grad(DY, KERNEL, X.shape, **arguments),
        F.conv2d_kernel_grad(X, DY, KERNEL.shape, **arguments),
    ]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "edge", "wrap", "symmetric"])
def test_winograd_differs_from_direct_in_the_last_bits_only(padding_mode):
    direct, winograd = (passes(name, padding_mode) for name in ("direct", "winograd"))
    for a, b in zip(direct, winograd, strict=True):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max(), rtol=0)


FORMS = {
    "5 x 5": ((18, 15, 24), (5, 5), 20),
    "series": ((70, 40), (3,), 36),
    "series, 5 taps": ((70, 70), (5,), 64),
    "series, 9 taps": ((70, 20), (9,), 33),
    "volume": ((9, 10, 12, 18), (3, 3, 3), 20),
}
DILATIONS = {"5 x 5": (1, 2), "series": 20, "series, 5 taps": 2, "series, 9 taps": 3, "volume": (2, 1, 2)}


@pytest.mark.parametrize("dilated", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_every_form_is_taken_and_differs_in_the_last_bits_only(form, padding_mode, dilated):
    (*sizes, c_in), window, c_out = FORMS[form]
    dilation_rate = DILATIONS[form] if dilated else 1
    rank = len(window)
    x = rng.normal(size=(2, *sizes, c_in)).astype(np.float32)
    dy = rng.normal(size=(2, *sizes, c_out)).astype(np.float32)
    kernel = rng.normal(0, 0.05, size=(*window, c_in, c_out)).astype(np.float32)
    results = {}
    for name in ("direct", "winograd", "auto"):
        options = {"padding": "same", "padding_mode": padding_mode, "algorithm": name}
        options["dilation_rate"] = dilation_rate
        results[name] = [
            getattr(F, f"conv{rank}d")(x, kernel, **options),
            getattr(F, f"conv{rank}d_input_grad")(dy, kernel, x.shape, **options),
            getattr(F, f"conv{rank}d_kernel_grad")(x, dy, kernel.shape, **options),
        ]
    assert same(results["auto"], results["winograd"])
    for a, b in zip(results["direct"], results["winograd"], strict=True):
        assert not np.array_equal(a, b)
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(a).max(), rtol=0)


@pytest.mark.parametrize("dilation", [1, 2, 32, 700])
@pytest.mark.parametrize("padding", ["same", "causal"])
def test_a_series_has_the_same_bytes_on_any_number_of_threads(padding, dilation):
    x = rng.normal(size=(2, 3000, 32)).astype(np.float32)
    kernel = rng.normal(0, 0.05, size=(3, 32, 40)).astype(np.float32)
    dy = rng.normal(size=(2, 3000, 40)).astype(np.float32)
    options = {"padding": padding, "dilation_rate": dilation, "algorithm": "winograd"}
    threads = gn.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 5):
            gn.set_num_threads(count)
            results.append(
                [
                    F.conv1d(x, kernel, activation="tanh", **options),
                    F.conv1d_input_grad(dy, kernel, x.shape, **options),
                    F.conv1d_kernel_grad(x, dy, kernel.shape, **options),
                ]
            )
    finally:
        gn.set_num_threads(threads)
    assert all(same(results[0], result) for result in results[1:])


def test_auto_takes_winograd_where_it_is_faster():
    assert same(passes("auto"), passes("winograd"))
    few = F.conv2d(X[..., :3], KERNEL[:, :, :3], algorithm="auto")
    assert np.array_equal(few, F.conv2d(X[..., :3], KERNEL[:, :, :3], algorithm="direct"))


@pytest.mark.parametrize("dilation", [1, 2, (3, 4)])
def test_a_result_does_not_depend_on_threads_or_batch(dilation):
    options = {"padding": "same", "dilation_rate": dilation, "algorithm": "winograd"}
    threads = gn.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3, 5):
            gn.set_num_threads(count)
            results.append(passes("winograd", dilation_rate=dilation))
    finally:
        gn.set_num_threads(threads)
    assert all(same(results[0], result) for result in results[1:])
    alone = F.conv2d(X[1:2], KERNEL, BIAS, activation="tanh", **options)
    assert np.array_equal(alone[0], results[0][0][1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(X.astype(float), KERNEL, algorithm="winograd"),
        lambda: F.conv2d_kernel_grad(X, DY.astype(float), KERNEL.shape, padding="same", algorithm="winograd"),
        lambda: F.conv2d(X, KERNEL, strides=2, algorithm="winograd"),
        lambda: F.conv2d(X, KERNEL[:, :, :20], groups=2, algorithm="winograd"),
        lambda: F.conv2d(X, KERNEL[:2], algorithm="winograd"),
        lambda: F.conv1d(X[:, 0], KERNEL[0, :2], algorithm="winograd"),
        lambda: F.conv3d(X[:, None], KERNEL[None, :2], algorithm="winograd"),
        lambda: F.depthwise_conv2d(X, KERNEL[..., :1], algorithm="winograd"),
        lambda: F.separable_conv2d(X, KERNEL[..., :1], KERNEL[:1, :1], algorithm="winograd"),
        lambda: F.conv2d(X, KERNEL, algorithm="fft"),
        lambda: gn.set_convolution_algorithm("winograd"),
        lambda: gn.set_convolution_algorithm("fastest"),
    ],
)
def test_what_does_not_apply_is_a_value_error(call):
    with pytest.raises(ValueError, match="algorithm"):
        call()


@pytest.mark.parametrize("value", [None, 1, b"auto"])
def test_the_setting_is_a_string(value):
    with pytest.raises(TypeError, match="algorithm"):
        gn.set_convolution_algorithm(value)


def test_a_call_comes_before_the_setting():
    gn.set_convolution_algorithm("direct")
    assert same(passes(), passes("direct"))
    assert same(passes("auto"), passes("winograd"))
    gn.set_convolution_algorithm("auto")
    assert same(passes(), passes("winograd"))


SHOW = "from gridnn import _core, set_convolution_algorithm as set; print(_core.get_convolution_algorithm());"


def fresh(variable, code=SHOW):
    environment = os.environ | {"GRIDNN_CONVOLUTION": variable}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_the_setting_comes_before_the_environment():
    assert fresh("direct").stdout.split() == ["direct"]
    assert fresh("").stdout.split() == ["auto"]
    code = f"{SHOW} set('auto'); print(_core.get_convolution_algorithm())"
    assert fresh("direct", code).stdout.split() == ["direct", "auto"]
    failed = fresh("winograd")
    assert failed.returncode != 0
    assert "convolution algorithm" in failed.stderr


def model(seed=3):
    net = gn.Sequential(
        [
            gn.Input((18, 15, 40)),
            layers.Conv2D(36, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ],
        seed=seed,
    )
    net.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return net


def test_a_model_keeps_what_was_set_when_it_was_built(tmp_path):
    gn.set_convolution_algorithm("direct")
    built = model()
    expected = built.predict(X, verbose=0)
    gn.set_convolution_algorithm("auto")
    assert np.array_equal(built.predict(X, verbose=0), expected)
    other = model().predict(X, verbose=0)
    assert not np.array_equal(other, expected)
    # What is loaded is built anew.
    built.save(tmp_path / "model.safetensors")
    for copy in (gn.load_model(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(built))):
        assert np.array_equal(copy.predict(X, verbose=0), other)


def test_training_follows_the_same_curve():
    labels = rng.integers(4, size=24)
    images = rng.normal(size=(24, 18, 15, 40)).astype(np.float32) + labels[:, None, None, None] / 4
    losses = {}
    for name in ("direct", "auto"):
        gn.set_convolution_algorithm(name)
        history = model().fit(images, labels, batch_size=8, epochs=4, verbose=0, seed=1)
        losses[name] = history.history["loss"]
    assert losses["direct"] != losses["auto"]
    np.testing.assert_allclose(losses["auto"], losses["direct"], rtol=1e-4)


def test_training_gives_the_same_bytes_on_any_number_of_threads():
    labels = rng.integers(4, size=24)
    threads = gn.get_num_threads()
    results = []
    try:
        for count in (1, 3):
            gn.set_num_threads(count)
            net = model()
            net.fit(np.tile(X, (8, 1, 1, 1)), labels, batch_size=8, epochs=2, verbose=0, seed=1)
            results.append(net.get_weights())
    finally:
        gn.set_num_threads(threads)
    assert same(*results)
