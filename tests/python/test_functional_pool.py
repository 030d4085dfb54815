"""Pools on arrays, against loops written here, SciPy and differences."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import functional as F  # noqa: N812
from gridnn._engine import available_tiers
from gridnn.errors import ShapeError

RANKS = (1, 2, 3)


def call(name, rank, suffix=""):
    return getattr(F, f"{name}{rank}d{suffix}")


def axis(n, kernel, stride, dilation, before, after, ceil):
    """Number of outputs, by PyTorch's rule."""
    span = dilation * (kernel - 1) + 1
    rest = n + before + after - span
    out = (-(-rest // stride) if ceil else rest // stride) + 1
    if ceil and (out - 1) * stride >= n + before:
        out -= 1
    return out


def reference(x, size, strides, pads, dilation, ceil):
    """For every output: maximum, its position, sum, elements inside the input and inside the padded input."""
    grid = x.shape[1:-1]
    out = [
        axis(*each, ceil)
        for each in zip(grid, size, strides, dilation, *zip(*pads, strict=True), strict=True)
    ]
    shape = (len(x), *out, x.shape[-1])
    top, at = np.full(shape, -np.inf), np.full(shape, -1, np.int64)
    total, real, padded = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for place in itertools.product(*map(range, out)):
        where = (slice(None), *place)
        for tap in itertools.product(*map(range, size)):
            from_ = [
                p * s + t * d - b
                for p, s, t, d, (b, _) in zip(place, strides, tap, dilation, pads, strict=True)
            ]
            if all(i < n + a for i, n, (_, a) in zip(from_, grid, pads, strict=True)):
                padded[where] += 1
            if all(0 <= i < n for i, n in zip(from_, grid, strict=True)):
                values = x[(slice(None), *from_)].astype(float)
                better = (values > top[where]) | (at[where] < 0) | (np.isnan(values) & ~np.isnan(top[where]))
                top[where] = np.where(better, values, top[where])
                at[where] = np.where(better, np.ravel_multi_index(from_, grid), at[where])
                total[where] += values
                real[where] += 1
    return top, at, total, real, padded


def random_case(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    while True:
        grid = rng.integers(1, [0, 14, 9, 6][rank], size=rank).tolist()
        size = rng.integers(1, 4, size=rank).tolist()
        strides = rng.integers(1, 4, size=rank).tolist()
        dilation = rng.integers(1, 3, size=rank).tolist()
        pads = [tuple(rng.integers(0, 3, size=2).tolist()) for _ in range(rank)]
        ceil = bool(rng.integers(2))
        each = zip(grid, size, strides, dilation, *zip(*pads, strict=True), strict=True)
        if all(axis(*one, ceil) > 0 for one in each):
            break
    channels = int(rng.choice([1, 2, 3, 5, 8, 16, 17, 33]))
    dtype = rng.choice([np.float32, np.float64])
    # Few values, so that there are ties.
    x = rng.integers(-4, 5, size=(int(rng.integers(1, 4)), *grid, channels)).astype(dtype)
    return rank, x, size, strides, pads, dilation, ceil, rng


@pytest.mark.parametrize("seed", range(120))
def test_pools_against_loops(seed):
    rank, x, size, strides, pads, dilation, ceil, rng = random_case(seed)
    options = {"strides": strides, "padding": pads, "ceil_mode": ceil}
    top, at, total, real, padded = reference(x, size, strides, pads, dilation, ceil)
    y, indices = call("max_pool", rank)(x, size, dilation_rate=dilation, return_indices=True, **options)
    assert y.dtype == x.dtype
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(y, top)
    np.testing.assert_array_equal(indices, at)
    np.testing.assert_array_equal(call("max_pool", rank)(x, size, dilation_rate=dilation, **options), top)
    assert F.pool_output_shape(x.shape, size, dilation_rate=dilation, **options) == y.shape

    dy = rng.integers(-8, 9, size=y.shape).astype(x.dtype)
    expected = np.zeros((len(x), np.prod(x.shape[1:-1]), x.shape[-1]))
    n, c = np.ogrid[: len(x), : x.shape[-1]]
    for place in itertools.product(*map(range, y.shape[1:-1])):
        chosen = at[(slice(None), *place)]
        np.add.at(expected, (n, np.maximum(chosen, 0), c), np.where(chosen < 0, 0, dy[(slice(None), *place)]))
    dx = call("max_pool", rank, "_grad")(dy, x, size, dilation_rate=dilation, **options)
    np.testing.assert_array_equal(dx, expected.reshape(x.shape))

    ones = [1] * rank
    _, _, total, real, padded = reference(x, size, strides, pads, ones, ceil)
    for count, divisor in ((False, real), (True, padded)):
        y = call("average_pool", rank)(x, size, count_include_pad=count, **options)
        np.testing.assert_allclose(y, total / np.maximum(divisor, 1), rtol=1e-6, atol=1e-6)
        dy = rng.normal(size=y.shape)
        dx = call("average_pool", rank, "_grad")(dy, x.shape, size, count_include_pad=count, **options)
        assert dx.shape == x.shape
        whole = call("average_pool", rank)(x.astype(float), size, count_include_pad=count, **options)
        np.testing.assert_allclose((dy * whole).sum(), (dx * x).sum(), rtol=1e-10, atol=1e-10)


def test_ceil_cases_whose_last_window_is_dropped_at_random():
    """The random cases above hold what they are meant to hold."""
    cases = [random_case(seed) for seed in range(120)]
    assert {case[0] for case in cases} == set(RANKS)
    assert sum(case[6] for case in cases) > 30


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_padding_by_name(rank, padding):
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(2, *range(6, 6 + rank), 3))
    y = call("max_pool", rank)(x, 3, strides=2, padding=padding)
    sizes = [-(-n // 2) if padding == "same" else (n - 3) // 2 + 1 for n in x.shape[1:-1]]
    assert y.shape == (2, *sizes, 3)
    pairs = [
        ((t := max((o - 1) * 2 + 3 - n, 0)) // 2, t - t // 2)
        for n, o in zip(x.shape[1:-1], sizes, strict=True)
    ]
    np.testing.assert_array_equal(y, call("max_pool", rank)(x, 3, strides=2, padding=pairs))
    np.testing.assert_array_equal(
        call("average_pool", rank)(x, 3, strides=2, padding=padding),
        call("average_pool", rank)(x, 3, strides=2, padding=pairs),
    )


def test_causal_and_defaults():
    x = np.arange(5.0).reshape(1, 5, 1)
    assert F.max_pool1d(-x, 3, strides=1, padding="causal").ravel().tolist() == [0, 0, 0, -1, -2]
    assert F.max_pool1d(x).ravel().tolist() == [1, 3]
    assert F.average_pool1d(x, 2, strides=1, padding=[(1, 0)]).ravel().tolist() == [0, 0.5, 1.5, 2.5, 3.5]
    with pytest.raises(ValueError, match="padding"):
        F.max_pool2d(np.ones((1, 4, 4, 1)), padding="causal")


@pytest.mark.parametrize("rank", RANKS)
def test_against_scipy(rank):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(3).normal(size=(2, *range(5, 5 + rank), 3))
    window = (1, *[3] * rank, 1)
    expected = ndimage.maximum_filter(x, window, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(call("max_pool", rank)(x, 3, strides=1, padding="same"), expected)
    expected = ndimage.uniform_filter(x, window, mode="constant")
    y = call("average_pool", rank)(x, 3, strides=1, padding="same", count_include_pad=True)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    # The adjoint of a symmetric filter is the filter.
    dx = call("average_pool", rank, "_grad")(x, x.shape, 3, strides=1, padding="same", count_include_pad=True)
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-12)


def differences(function, x, dy, step=1e-6):
    grad = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        moved = x.copy()
        moved[i] += step
        up = (function(moved) * dy).sum()
        moved[i] -= 2 * step
        grad[i] = (up - (function(moved) * dy).sum()) / (2 * step)
    return grad


@pytest.mark.parametrize("rank", RANKS)
def test_gradients_by_differences(rank):
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(2, *[5, 4, 3][:rank], 2))
    options = {"strides": 2, "padding": 1, "ceil_mode": True}
    pairs = [
        (call("max_pool", rank), lambda dy: call("max_pool", rank, "_grad")(dy, x, 3, **options)),
        (
            call("average_pool", rank),
            lambda dy: call("average_pool", rank, "_grad")(dy, x.shape, 3, **options),
        ),
    ]
    for function, grad in pairs:
        dy = rng.normal(size=function(x, 3, **options).shape)
        expected = differences(lambda x, f=function: f(x, 3, **options), x, dy)
        np.testing.assert_allclose(grad(dy), expected, rtol=1e-6, atol=1e-8)
    for keepdims in (False, True):
        dy = rng.normal(size=(2, *([1] * rank if keepdims else []), 2))
        top, mean = call("global_max_pool", rank), call("global_average_pool", rank)
        np.testing.assert_allclose(
            call("global_max_pool", rank, "_grad")(dy, x, keepdims),
            differences(lambda x, f=top, k=keepdims: f(x, k), x, dy),
            rtol=1e-6,
            atol=1e-8,
        )
        np.testing.assert_allclose(
            call("global_average_pool", rank, "_grad")(dy, x.shape, keepdims=keepdims),
            differences(lambda x, f=mean, k=keepdims: f(x, k), x, dy),
            rtol=1e-6,
            atol=1e-8,
        )


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("channels", [1, 3, 64, 130])
def test_global_pools(rank, channels):
    rng = np.random.default_rng(4)
    x = rng.integers(-9, 10, size=(3, *range(5, 5 + rank), channels)).astype(np.float32)
    axes = tuple(range(1, rank + 1))
    for keepdims in (False, True):
        np.testing.assert_array_equal(
            call("global_max_pool", rank)(x, keepdims), x.max(axes, keepdims=keepdims)
        )
        np.testing.assert_allclose(
            call("global_average_pool", rank)(x, keepdims=keepdims),
            x.mean(axes, keepdims=keepdims),
            rtol=1e-5,
            atol=1e-5,
        )
    dy = rng.normal(size=(3, channels)).astype(np.float32)
    first = x.reshape(3, -1, channels).argmax(1)
    expected = np.zeros((3, x[0, ..., 0].size, channels), np.float32)
    np.put_along_axis(expected, first[:, None], dy[:, None], axis=1)
    np.testing.assert_array_equal(call("global_max_pool", rank, "_grad")(dy, x), expected.reshape(x.shape))


def test_the_mean_of_many_is_accurate():
    x = np.full((1, 1 << 21, 1), 0.1, np.float32)
    assert F.global_average_pool1d(x)[0, 0] == pytest.approx(np.float32(0.1), rel=1e-5)


def test_nan_and_ties():
    x = np.array([1.0, np.nan, 5.0, np.nan, 2.0, 2.0]).reshape(1, 6, 1)
    y, indices = F.max_pool1d(x, 2, strides=1, return_indices=True)
    np.testing.assert_array_equal(y.ravel(), [np.nan, np.nan, np.nan, np.nan, 2])
    assert indices.ravel().tolist() == [1, 1, 3, 3, 4]
    y, indices = F.max_pool1d(x, 4, strides=4, return_indices=True)
    assert indices.ravel().tolist() == [1]
    assert F.max_pool1d_grad(np.ones((1, 1, 1)), x, 4, strides=4).ravel().tolist() == [0, 1, 0, 0, 0, 0]
    assert np.isnan(F.global_max_pool1d(x)).all()
    assert F.global_max_pool1d_grad([[1.0]], x).ravel().tolist() == [0, 1, 0, 0, 0, 0]


def test_windows_of_more_than_256_elements():
    rng = np.random.default_rng(5)
    x = rng.integers(-20, 21, size=(2, 30, 25, 3)).astype(np.float32)
    size, strides, pads = (17, 16), (3, 4), [(4, 5), (3, 0)]
    top, at, *_ = reference(x, size, strides, pads, (1, 1), False)
    y, indices = F.max_pool2d(x, size, strides=strides, padding=pads, return_indices=True)
    np.testing.assert_array_equal(y, top)
    np.testing.assert_array_equal(indices, at)
    dy = rng.integers(-5, 6, size=y.shape)
    expected = np.zeros((2, 750, 3))
    for n, h, w, c in np.ndindex(*y.shape):
        expected[n, at[n, h, w, c], c] += dy[n, h, w, c]
    dx = F.max_pool2d_grad(dy, x, size, strides=strides, padding=pads)
    np.testing.assert_array_equal(dx, expected.reshape(x.shape))


def test_types():
    x = np.arange(8).reshape(1, 8, 1)
    for dtype in (np.int8, np.uint16, np.int64, np.bool_, np.float16, np.float32, ">f4"):
        assert F.max_pool1d(x.astype(dtype)).dtype == np.float32
    for dtype in (np.float64, ">f8", np.longdouble):
        assert F.average_pool1d(x.astype(dtype)).dtype == np.float64
    mixed = F.max_pool1d_grad(np.ones((1, 4, 1), np.float32), x.astype(float))
    assert mixed.dtype == np.float64
    assert F.max_pool1d_grad(np.ones((1, 4, 1), np.float32), x).dtype == np.float32
    assert F.max_pool1d(x.tolist()).tolist() == [[[1], [3], [5], [7]]]
    for bad in (
        x.astype(complex),
        x.astype(object),
        np.ma.array(x),
        "text",
        [[1], [2, 3]],
        x.astype("M8[s]"),
    ):
        with pytest.raises(TypeError, match="`x`"):
            F.max_pool1d(bad)


def test_any_memory_order():
    x = np.random.default_rng(6).normal(size=(2, 9, 8, 3))
    expected = F.max_pool2d(x)
    others = [np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2], x[:, ::-1].copy()[:, ::-1]]
    others.append(x.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1))
    for other in others:
        assert not other.flags.c_contiguous
        assert F.max_pool2d(other).tobytes() == expected.tobytes()
        assert F.average_pool2d(other).tobytes() == F.average_pool2d(x).tobytes()
    frozen = x.copy()
    frozen.flags.writeable = False
    assert F.max_pool2d(frozen).tobytes() == expected.tobytes()


def test_out():
    x = np.random.default_rng(7).normal(size=(2, 8, 6, 3)).astype(np.float32)
    out = np.full((2, 4, 3, 3), np.nan, np.float32)
    assert F.max_pool2d(x, out=out) is out
    assert out.tobytes() == F.max_pool2d(x).tobytes()
    assert F.max_pool2d(x, out=out, return_indices=True)[0] is out
    assert F.average_pool2d(x, 2, out=out) is out
    dx = np.full_like(x, np.nan)
    assert F.max_pool2d_grad(out, x, out=dx) is dx
    assert np.isfinite(dx).all()
    assert F.average_pool2d_grad(out, x.shape, out=dx) is dx
    for bad in (out.tolist(), out.astype(float), out.astype(">f4")):
        with pytest.raises(TypeError, match="out"):
            F.max_pool2d(x, out=bad)
    with pytest.raises(ShapeError, match="out"):
        F.max_pool2d(x, out=np.empty((2, 4, 3, 2), np.float32))
    frozen = out.copy()
    frozen.flags.writeable = False
    for bad in (np.empty((2, 4, 3, 6), np.float32)[..., ::2], frozen):
        with pytest.raises(ValueError, match="out"):
            F.max_pool2d(x, out=bad)
    with pytest.raises(ValueError, match="shares no memory"):
        F.max_pool2d(x, 1, out=x)


@pytest.mark.parametrize("rank", RANKS)
def test_a_batch_of_none(rank):
    x = np.ones((0, *range(4, 4 + rank), 3), np.float32)
    y, indices = call("max_pool", rank)(x, return_indices=True)
    assert y.shape == indices.shape == (0, *(n // 2 for n in range(4, 4 + rank)), 3)
    assert call("max_pool", rank, "_grad")(y, x).shape == x.shape
    assert call("average_pool", rank)(x).shape == y.shape
    assert call("average_pool", rank, "_grad")(y, x.shape).shape == x.shape
    assert call("global_max_pool", rank)(x).shape == (0, 3)
    assert call("global_max_pool", rank, "_grad")(np.ones((0, 3)), x).shape == x.shape
    assert call("global_average_pool", rank)(x, True).shape == (0, *[1] * rank, 3)
    assert call("global_average_pool", rank, "_grad")(np.ones((0, 3)), x.shape).shape == x.shape


def test_wrong_shapes_and_values():
    x = np.ones((1, 4, 4, 2))
    for bad in (
        lambda: F.max_pool2d(x[0]),
        lambda: F.max_pool2d(x, 5),
        lambda: F.average_pool2d(x, (1, 5)),
        lambda: F.max_pool2d(np.ones((1, 0, 4, 2)), 1),
        lambda: F.max_pool2d(np.ones((1, 4, 4, 0))),
        lambda: F.max_pool2d_grad(x, x),
        lambda: F.average_pool2d_grad(x, x.shape),
        lambda: F.average_pool2d_grad(x, x.shape[1:]),
        lambda: F.global_max_pool2d(np.ones((1, 0, 4, 2))),
        lambda: F.global_average_pool1d(x),
        lambda: F.global_max_pool2d_grad(np.ones((1, 3)), x),
        lambda: F.global_average_pool2d_grad(np.ones((1, 2)), x.shape, keepdims=True),
        lambda: F.pool_output_shape((1, 2), 1),
        lambda: F.pool_output_shape((1, 2, 2), 3),
    ):
        with pytest.raises(ShapeError):
            bad()
    for bad in (
        lambda: F.max_pool2d(x, 0),
        lambda: F.max_pool2d(x, strides=(1, 0)),
        lambda: F.max_pool2d(x, dilation_rate=0),
        lambda: F.max_pool2d(x, padding="full"),
        lambda: F.max_pool2d(x, padding=-1),
        lambda: F.max_pool2d(x, padding=[(1, 1)]),
    ):
        with pytest.raises(ValueError):
            bad()
    for bad in (
        lambda: F.max_pool2d(x, 2.0),
        lambda: F.max_pool2d(x, ceil_mode=1),
        lambda: F.max_pool2d(x, return_indices=None),
        lambda: F.average_pool2d(x, count_include_pad="yes"),
        lambda: F.average_pool2d_grad(x, 4),
        lambda: F.global_max_pool2d(x, keepdims=0),
    ):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(ValueError):
        F.max_pool2d(x, padding=[(2**62, 2**62)] * 2)


HASHES = """
import hashlib, numpy as np, gridnn as gn
from gridnn import functional as F
rng = np.random.default_rng(8)
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    x = rng.normal(size=(3, 61, 57, 19)).astype(dtype)
    for options in ({"strides": 1, "padding": "same"}, {"strides": 2, "ceil_mode": True}):
        y, at = F.max_pool2d(x, 3, return_indices=True, **options)
        mean = F.average_pool2d(x, 3, **options)
        dx = F.average_pool2d_grad(mean, x.shape, 3, **options)
        for part in (y, at, mean, dx, F.max_pool2d_grad(y, x, 3, **options)):
            digest.update(part.tobytes())
    top, mean = F.global_max_pool2d(x), F.global_average_pool2d(x)
    for part in (top, mean, F.global_max_pool2d_grad(top, x), F.global_average_pool2d_grad(mean, x.shape)):
        digest.update(part.tobytes())
    for mode in ("zeros", "reflect", "edge", "wrap", "symmetric"):
        y = F.pad2d(x, [(70, 3), (5, 60)], mode)
        digest.update(y.tobytes() + F.pad2d_grad(y, [(70, 3), (5, 60)], mode).tobytes())
"""


def test_the_same_bytes_for_any_number_of_threads():
    before = gn.get_num_threads()
    digests = set()
    try:
        for count in (1, 2, 3, 5):
            gn.set_num_threads(count)
            names = {}
            exec(HASHES, names)  # noqa: S102
            digests.add(names["digest"].hexdigest())
    finally:
        gn.set_num_threads(before)
    assert len(digests) == 1


@pytest.mark.one_tier  # starts the tiers itself
def test_the_same_bytes_on_every_tier():
    # Pools compare, add and multiply, but never multiply and add in one: the portable tier is no exception.
    def run(tier):
        environment = {**os.environ, "GRIDNN_SIMD": tier}
        code = HASHES + "print(gn.simd_tier(), digest.hexdigest())"
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout.split()

    results = [run(tier) for tier in available_tiers()]
    assert [tier for tier, _ in results] == available_tiers()
    assert len({digest for _, digest in results}) == 1
