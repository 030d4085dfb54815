"""Functional convolutions against NumPy twins, SciPy, each other and the rules of the pinned API."""

import itertools
import math
import pickle

import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import functional as F  # noqa: N812
from gridnn.errors import ShapeError

MODES = ("zeros", "reflect", "edge", "wrap", "symmetric")


def function(kind, rank, suffix=""):
    pattern = {
        "plain": "conv{}d",
        "transposed": "conv{}d_transpose",
        "depthwise": "depthwise_conv{}d",
        "separable": "separable_conv{}d",
    }[kind]
    return getattr(F, pattern.format(rank) + suffix)


def per_axis(value, rank):
    return [value] * rank if isinstance(value, int) else list(value)


def canonical(rank, strides=1, padding="valid", dilation_rate=1, **others):
    if isinstance(padding, int):
        padding = [(padding, padding)] * rank
    return {
        "strides": per_axis(strides, rank),
        "padding": padding,
        "dilation_rate": per_axis(dilation_rate, rank),
        **others,
    }


def twin(kind, x, kernels, bias=None, **options):
    """The forward pass in float64."""
    rank = x.ndim - 2
    options = canonical(rank, **options)
    if kind == "plain":
        options.setdefault("groups", 1)
        return twins.convolution(x, kernels[0], bias, **options)
    if kind == "transposed":
        return twins.transposed_convolution(x, kernels[0], bias, **options)
    channels, multiplier = kernels[0].shape[-2:]
    flat = kernels[0].reshape(*kernels[0].shape[:-2], 1, channels * multiplier)
    y = twins.convolution(x, flat, None if kind == "separable" else bias, **options, groups=channels)
    if kind == "separable":
        y = y @ kernels[1].reshape(kernels[1].shape[-2:])
        y = y if bias is None else y + bias
    return y


def random_problem(rng):
    """(kind, shape of x, shapes of the kernels, options)."""
    rank = int(rng.integers(1, 4))
    kind = rng.choice(["plain", "transposed", "depthwise", "separable"])
    sizes = tuple(int(n) for n in rng.integers(1, [14, 9, 6][rank - 1], size=rank))
    kernel = tuple(int(n) for n in rng.integers(1, 5 - rank // 3, size=rank))
    options = {
        "strides": tuple(int(n) for n in rng.integers(1, 4, size=rank)),
        "dilation_rate": tuple(int(n) for n in rng.integers(1, 3, size=rank)),
    }
    paddings = ["valid", "same", 1, [tuple(int(n) for n in rng.integers(0, 5, size=2)) for _ in range(rank)]]
    if rank == 1 and kind != "transposed":
        paddings.append("causal")
    options["padding"] = paddings[rng.integers(len(paddings))]
    if kind != "transposed":
        options["padding_mode"] = str(rng.choice(MODES))
    elif rng.integers(2):
        limits = np.maximum(options["strides"], options["dilation_rate"])
        options["output_padding"] = tuple(int(rng.integers(limit)) for limit in limits)
    samples = int(rng.integers(0, 4))
    if kind in ("plain", "transposed"):
        groups = int(rng.choice([1, 1, 2, 3, 8]))
        c_in, c_out = (groups * int(n) for n in rng.integers(1, 6, size=2))
        options["groups"] = groups
        inner = (c_in // groups, c_out) if kind == "plain" else (c_out // groups, c_in)
        return kind, (samples, *sizes, c_in), [(*kernel, *inner)], options
    c_in, multiplier = int(rng.integers(1, 20)), int(rng.integers(1, 4))
    shapes = [(*kernel, c_in, multiplier)]
    if kind == "separable":
        shapes.append((*[1] * rank, c_in * multiplier, int(rng.integers(1, 9))))
    return kind, (samples, *sizes, c_in), shapes, options


def filters_of(kind, shapes, options):
    if kind == "transposed":
        return shapes[0][-2] * options["groups"]
    if kind == "depthwise":
        return shapes[0][-2] * shapes[0][-1]
    return shapes[-1][-1]


@pytest.mark.parametrize("seed", range(400))
def test_random_problems(seed):
    """Twin, adjoints, float32, `out=`: all of one random problem."""
    rng = np.random.default_rng(seed)
    kind, shape, shapes, options = random_problem(rng)
    rank = len(shape) - 2
    x, kernels = rng.normal(size=shape), [rng.normal(size=s) for s in shapes]
    bias = rng.normal(size=filters_of(kind, shapes, options))
    run, to_input, to_kernel = (function(kind, rank, s) for s in ("", "_input_grad", "_kernel_grad"))
    try:
        expected = twin(kind, x, kernels, bias, **options)
    except ValueError:
        expected = None  # nothing left
    if expected is None:
        with pytest.raises(ShapeError):
            run(x, *kernels, bias, **options)
        return
    y = run(x, *kernels, bias, **options)
    assert y.shape == expected.shape
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-11)

    single = run(*(a.astype(np.float32) for a in (x, *kernels, bias)), **options)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)

    dy = rng.normal(size=y.shape)
    plain = run(x, *kernels, **options)
    dx = to_input(dy, *kernels, x.shape, **options)
    assert dx.shape == x.shape
    scale = 1e-11 * (1 + np.abs(plain).sum())
    assert np.sum(plain * dy) == pytest.approx(np.sum(x * dx), abs=scale)
    if kind == "separable":
        gradients = to_kernel(x, dy, *kernels, **options)
    else:
        gradients = [to_kernel(x, dy, kernels[0].shape, **options)]
    for kernel, gradient in zip(kernels, gradients, strict=True):
        assert gradient.shape == kernel.shape
        assert np.sum(plain * dy) == pytest.approx(np.sum(kernel * gradient), abs=scale)

    out = np.full_like(y, np.nan)
    assert run(x, *kernels, bias, **options, out=out) is out
    assert out.tobytes() == y.tobytes()
    out = np.full_like(dx, np.nan)
    assert to_input(dy, *kernels, x.shape, **options, out=out) is out
    assert out.tobytes() == dx.tobytes()

    views = [np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]]
    for view in views:
        assert run(view, *kernels, bias, **options).tobytes() == y.tobytes()


@pytest.mark.parametrize("kind", ["plain", "transposed", "depthwise", "separable"])
@pytest.mark.parametrize("mode", MODES)
def test_central_differences(kind, mode):
    rng = np.random.default_rng(5)
    shapes = {
        "plain": [(3, 2, 2, 6)],
        "transposed": [(3, 2, 3, 4)],
        "depthwise": [(3, 2, 4, 2)],
        "separable": [(3, 2, 4, 2), (1, 1, 8, 3)],
    }[kind]
    options = {"padding": [(2, 1), (1, 3)], "strides": (2, 1), "dilation_rate": (1, 2), "padding_mode": mode}
    if kind == "transposed":
        del options["padding_mode"]
        options["padding"] = [(1, 0), (0, 1)]
    if kind in ("plain", "transposed"):
        options["groups"] = 2
    x, kernels = rng.normal(size=(2, 4, 5, 4)), [rng.normal(size=s) for s in shapes]
    y = function(kind, 2)(x, *kernels, **options)
    dy = rng.normal(size=y.shape)

    def loss(arrays):
        return np.sum(dy * function(kind, 2)(*arrays, **options))

    expected = twins.gradients(loss, [x, *kernels], 1e-5)
    got = [function(kind, 2, "_input_grad")(dy, *kernels, x.shape, **options)]
    if kind == "separable":
        got += function(kind, 2, "_kernel_grad")(x, dy, *kernels, **options)
    else:
        got.append(function(kind, 2, "_kernel_grad")(x, dy, shapes[0], **options))
    for gradient, difference in zip(got, expected, strict=True):
        np.testing.assert_allclose(gradient, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["plain", "transposed", "depthwise", "separable"])
def test_same_bytes_for_any_number_of_threads(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 30, 31, 16)).astype(np.float32)
    shapes = {
        "plain": [(3, 3, 16, 24)],
        "transposed": [(3, 3, 24, 16)],
        "depthwise": [(3, 3, 16, 2)],
        "separable": [(3, 3, 16, 2), (1, 1, 32, 24)],
    }[kind]
    kernels = [rng.normal(size=s).astype(np.float32) for s in shapes]
    options = {"strides": 2, "padding": "same"}
    before = gn.get_num_threads()
    results = set()
    try:
        for threads in (1, 2, 3, 5):
            gn.set_num_threads(threads)
            y = function(kind, 2)(x, *kernels, activation="gelu", **options)
            dx = function(kind, 2, "_input_grad")(y, *kernels, x.shape, **options)
            rest = kernels if kind == "separable" else [shapes[0]]
            dk = function(kind, 2, "_kernel_grad")(x, y, *rest, **options)
            arrays = [y, dx, *(dk if kind == "separable" else [dk])]
            results.add(b"".join(a.tobytes() for a in arrays))
    finally:
        gn.set_num_threads(before)
    assert len(results) == 1


def test_a_sample_does_not_depend_on_its_batch():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(6, 17, 19, 8)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 8, 20)).astype(np.float32)
    y = F.conv2d(x, kernel, padding="same", padding_mode="reflect")
    for i in range(6):
        one = F.conv2d(x[i : i + 1], kernel, padding="same", padding_mode="reflect")
        assert one.tobytes() == y[i].tobytes()


def test_scipy_agrees():
    ndimage = pytest.importorskip("scipy.ndimage")
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(3)
    for rank in (1, 2, 3):
        x, kernel = rng.normal(size=(9, 8, 7)[:rank]), rng.normal(size=(3,) * rank)
        wide, narrow = x[np.newaxis, ..., np.newaxis], kernel[..., np.newaxis, np.newaxis]
        y = function("plain", rank)(wide, narrow)[0, ..., 0]
        np.testing.assert_allclose(y, signal.correlate(x, kernel, mode="valid"), rtol=1e-10, atol=1e-12)
        names = {"zeros": "constant", "reflect": "mirror", "edge": "nearest", "wrap": "wrap"}
        for mode, theirs in {**names, "symmetric": "reflect"}.items():
            y = function("plain", rank)(wide, narrow, padding="same", padding_mode=mode)[0, ..., 0]
            np.testing.assert_allclose(y, ndimage.correlate(x, kernel, mode=theirs), rtol=1e-10, atol=1e-12)
        full = function("transposed", rank)(wide, narrow)[0, ..., 0]
        np.testing.assert_allclose(full, signal.convolve(x, kernel), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_pads_longer_than_the_input_are_numpys(mode):
    rng = np.random.default_rng(4)
    x, kernel = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 2, 3))
    border = {"mode": "constant"} if mode == "zeros" else {"mode": mode}
    padded = np.pad(x, [(0, 0), (11, 8), (0, 0)], **border)
    y = F.conv1d(x, kernel, padding=[(11, 8)], padding_mode=mode)
    np.testing.assert_allclose(y, F.conv1d(padded, kernel), rtol=1e-12)


@pytest.mark.parametrize(
    ("n", "kernel", "strides", "padding", "extra", "expected"),
    [
        # Output sizes of keras.layers.Conv1DTranspose.
        (4, 3, 2, "valid", None, 9),
        (4, 2, 3, "valid", None, 12),
        (4, 3, 2, "valid", 0, 9),
        (4, 3, 2, "valid", 1, 10),
        (4, 3, 2, "same", None, 8),
        (4, 5, 3, "same", None, 12),
        (4, 4, 2, "same", None, 8),
        (4, 3, 2, "same", 0, 7),
        (4, 3, 2, "same", 1, 8),
        (4, 4, 2, "same", 1, 7),
        (4, 3, 2, 1, 1, 8),
    ],
)
def test_transposed_sizes(n, kernel, strides, padding, extra, expected):
    options = {"strides": strides, "padding": padding, "output_padding": extra}
    assert F.conv_transpose_output_shape((0, n, 2), 3, kernel, **options) == (0, expected, 3)
    assert F.conv1d_transpose(np.ones((1, n, 2)), np.ones((kernel, 3, 2)), **options).shape[1] == expected


def test_types():
    x = np.arange(2 * 5 * 5 * 2).reshape(2, 5, 5, 2)
    kernel = np.ones((3, 3, 2, 1))
    expected = F.conv2d(x.astype(np.float64), kernel)
    for dtype, result in [
        (np.int64, np.float32),
        (np.uint8, np.float32),
        (bool, np.float32),
        (np.float16, np.float32),
        (">f4", np.float32),
        (np.float64, np.float64),
    ]:
        y = F.conv2d(x.astype(dtype), kernel.astype(np.float32))
        assert y.dtype == result
        if dtype is not bool:
            np.testing.assert_array_equal(y, expected)
    assert F.conv2d(x.astype(np.float32), kernel).dtype == np.float64
    assert F.conv2d(x.tolist(), kernel.tolist()).dtype == np.float64
    for bad in (x.astype(complex), x.astype(object), np.array([["a"]])):
        with pytest.raises(TypeError):
            F.conv2d(bad, kernel)


def test_out_is_checked():
    x, kernel = np.ones((1, 5, 5, 2), np.float32), np.ones((3, 3, 2, 4), np.float32)
    with pytest.raises(ShapeError):
        F.conv2d(x, kernel, out=np.empty((1, 3, 3, 3), np.float32))
    with pytest.raises(TypeError):
        F.conv2d(x, kernel, out=np.empty((1, 3, 3, 4)))
    with pytest.raises(TypeError):
        F.conv2d(x, kernel, out=[1])
    with pytest.raises(ValueError):
        F.conv2d(x, kernel, out=np.empty((4, 3, 3, 1), np.float32).T)
    square = np.ones((1, 5, 5, 2), np.float32)
    with pytest.raises(ValueError):
        F.depthwise_conv2d(square, np.ones((1, 1, 2, 1), np.float32), out=square)
    with pytest.raises(TypeError):
        F.separable_conv2d_kernel_grad(
            x, x, np.ones((1, 1, 2, 1), np.float32), np.ones((1, 1, 2, 2), np.float32), out=x
        )


BAD = [
    (ShapeError, lambda: F.conv2d(np.ones((1, 2, 2, 1)), np.ones((3, 3, 1, 1)))),
    (ShapeError, lambda: F.conv2d(np.ones((1, 4, 1)), np.ones((3, 3, 1, 1)))),
    (ShapeError, lambda: F.conv2d(np.ones((1, 4, 4, 1)), np.ones((3, 1, 1)))),
    (ShapeError, lambda: F.conv2d(np.ones((1, 4, 4, 2)), np.ones((3, 3, 1, 1)))),
    (ShapeError, lambda: F.conv2d(np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 2)), np.ones(3))),
    (ShapeError, lambda: F.conv2d(np.ones((1, 4, 4, 3)), np.ones((1, 1, 3, 2)), groups=2)),
    (ValueError, lambda: F.conv2d(np.ones((1, 4, 4, 2)), np.ones((1, 1, 1, 3)), groups=2)),
    (ShapeError, lambda: F.depthwise_conv1d(np.ones((1, 4, 2)), np.ones((1, 3, 1)))),
    (ShapeError, lambda: F.separable_conv1d(np.ones((1, 4, 2)), np.ones((1, 2, 1)), np.ones((2, 2, 3)))),
    (ShapeError, lambda: F.separable_conv1d(np.ones((1, 4, 2)), np.ones((1, 2, 1)), np.ones((1, 3, 3)))),
    (ShapeError, lambda: F.conv1d_transpose(np.ones((1, 4, 2)), np.ones((3, 2, 3)))),
    (ShapeError, lambda: F.conv1d_transpose(np.ones((1, 2, 2)), np.ones((3, 3, 2)), padding=2)),
    (ShapeError, lambda: F.conv1d_transpose(np.ones((1, 0, 2)), np.ones((3, 3, 2)))),
    (ShapeError, lambda: F.conv1d_input_grad(np.ones((1, 4, 2)), np.ones((3, 3, 2)), (1, 4, 3))),
    (ShapeError, lambda: F.conv1d_kernel_grad(np.ones((1, 4, 2)), np.ones((1, 4, 2)), (3, 2, 2))),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), padding_mode="mirror")),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), padding="most")),
    (ValueError, lambda: F.conv2d(np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 2)), padding="causal")),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), strides=0)),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), activation="step")),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), algorithm="winograd")),
    (ValueError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), algorithm="fft")),
    (ValueError, lambda: F.conv1d(np.ones((1, 0, 2)), np.ones((3, 2, 2)), padding=3, padding_mode="edge")),
    (ValueError, lambda: F.conv1d_transpose(np.ones((1, 4, 2)), np.ones((3, 3, 2)), output_padding=1)),
    (ValueError, lambda: F.conv1d_transpose(np.ones((1, 4, 2)), np.ones((3, 3, 2)), padding="causal")),
    (TypeError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), strides=1.5)),
    (TypeError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), activation=np.tanh)),
    (TypeError, lambda: F.conv1d(np.ones((1, 4, 2)), np.ones((3, 2, 2)), groups=None)),
    (TypeError, lambda: F.conv1d_input_grad(np.ones((1, 2, 2)), np.ones((3, 2, 2)), "142")),
]


@pytest.mark.parametrize(("error", "call"), BAD, ids=range(len(BAD)))
def test_bad_calls(error, call):
    with pytest.raises(error):
        call()


def test_padding_of_an_empty_axis():
    y = F.conv1d(np.ones((2, 0, 3)), np.ones((2, 3, 4)), np.arange(4.0), padding=1, activation="relu")
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(4.0), (2, 1, 4)))
    assert F.conv1d_input_grad(y, np.ones((2, 3, 4)), (2, 0, 3), padding=1).shape == (2, 0, 3)
    np.testing.assert_array_equal(F.conv1d_kernel_grad(np.ones((2, 0, 3)), y, (2, 3, 4), padding=1), 0)


def test_activations():
    rng = np.random.default_rng(6)
    x, kernel, bias = rng.normal(size=(2, 6, 6, 3)), rng.normal(size=(3, 3, 3, 4)), rng.normal(size=4)
    sums = F.conv2d(x, kernel, bias)
    separable = (x, rng.normal(size=(3, 3, 3, 1)), rng.normal(size=(1, 1, 3, 4)), bias)
    for name, activation in twins.ACTIVATIONS.items():
        y = F.conv2d(x, kernel, bias, activation=name)
        np.testing.assert_allclose(y, activation(sums), rtol=1e-9, atol=1e-11)
        y = F.separable_conv2d(*separable, activation=name)
        np.testing.assert_allclose(y, activation(F.separable_conv2d(*separable)), rtol=1e-9, atol=1e-11)


def test_output_shapes():
    for strides, padding, dilation in itertools.product((1, 2, 3), ("valid", "same", 2), (1, 2)):
        options = {"strides": strides, "padding": padding, "dilation_rate": dilation}
        y = F.conv2d(np.ones((2, 9, 8, 3)), np.ones((3, 2, 3, 5)), **options)
        assert F.conv_output_shape((2, 9, 8, 3), 5, (3, 2), **options) == y.shape
        y = F.conv2d_transpose(np.ones((2, 9, 8, 3)), np.ones((3, 2, 5, 3)), **options)
        assert F.conv_transpose_output_shape((2, 9, 8, 3), 5, (3, 2), **options) == y.shape
    with pytest.raises(ShapeError):
        F.conv_output_shape((2, 3), 5, 3)


def test_functions_are_picklable():
    assert pickle.loads(pickle.dumps(F.conv2d)) is F.conv2d


def test_large_kernels_are_summed_in_chunks():
    rng = np.random.default_rng(7)
    x, dy = rng.normal(size=(40, 12, 12, 3)), rng.normal(size=(40, 10, 10, 4))
    whole = F.conv2d_kernel_grad(x, dy, (3, 3, 3, 4))
    parts = sum(F.conv2d_kernel_grad(x[i : i + 1], dy[i : i + 1], (3, 3, 3, 4)) for i in range(40))
    np.testing.assert_allclose(whole, parts, rtol=1e-10)
    assert math.isfinite(whole.sum())


def test_large_results_start_on_a_cache_line():
    x, kernel = np.ones((2, 40, 40, 3), np.float32), np.ones((3, 3, 3, 5), np.float32)
    for _ in range(3):
        y = F.conv2d(x, kernel)
        assert y.ctypes.data % 64 == 0
        assert y.flags.c_contiguous
        assert y.flags.writeable
        assert F.conv2d(2 * x, kernel, out=y) is y
        assert np.all(y == 54)
    pooled, indices = F.max_pool2d(y.astype(np.float64), 1, return_indices=True)
    assert pooled.ctypes.data % 64 == indices.ctypes.data % 64 == 0
