"""Single values out of proportion, and sums of many: what they must not do to results."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import functional as F  # noqa: N812
from gridnn import layers

CASES = {
    "3 x 3": ((20, 18, 24), (3, 3), 1),
    "3 x 3, dilated": ((20, 18, 24), (3, 3), (2, 3)),
    "5 x 5": ((14, 16, 20), (5, 5), 1),
    "series": ((150, 40), (3,), 1),
    "series, 9 taps, dilated": ((150, 20), (9,), 4),
    "volume": ((6, 9, 8, 16), (3, 3, 3), 1),
}
VALUES = [65535.0, -9999.0, -3.4e38]


def problem(case, value):
    """Operands with one value out of proportion in `x` and in `dy`."""
    shape, window, dilation = CASES[case]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, *shape)).astype(np.float32)
    dy = rng.normal(size=(3, *shape[:-1], shape[-1] + 8)).astype(np.float32)
    kernel = rng.normal(0, 0.1, size=(*window, shape[-1], shape[-1] + 8)).astype(np.float32)
    place = tuple(n // 2 for n in shape[:-1])
    for array in (x, dy):
        array[(1, *place, 3)] = value
    return x, dy, kernel, {"padding": "same", "dilation_rate": dilation, "algorithm": "winograd"}


def passes(x, dy, kernel, options):
    rank = x.ndim - 2
    return [
        getattr(F, f"conv{rank}d")(x, kernel, **options),
        getattr(F, f"conv{rank}d_input_grad")(dy, kernel, x.shape, **options),
        getattr(F, f"conv{rank}d_kernel_grad")(x, dy, kernel.shape, **options),
    ]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("case", CASES)
def test_one_value_spoils_only_what_reads_it(case, value):
    x, dy, kernel, options = problem(case, value)
    exact = {name: entry for name, entry in options.items() if name != "algorithm"}
    large = passes(*(a.astype(np.float64) for a in (x, dy, kernel)), exact)
    plain = passes(
        *(np.where(a == np.float32(value), 0.0, a).astype(np.float64) for a in (x, dy, kernel)), exact
    )
    with np.errstate(over="ignore"):
        got = passes(x, dy, kernel, options)
    for result, expected, without in zip(got[:2], large, plain, strict=False):
        unread = (expected == without).all(axis=-1)
        assert unread.mean() > 0.5
        np.testing.assert_allclose(result[unread], expected[unread], rtol=0, atol=1e-4)
        assert np.isfinite(result).all()
    if abs(value) < 1e30:
        np.testing.assert_allclose(got[2], large[2], rtol=0, atol=1e-5 * np.abs(large[2]).max())


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("case", CASES)
def test_bytes_depend_on_neither_threads_nor_batch(case, value):
    x, dy, kernel, options = problem(case, value)
    threads = gn.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            gn.set_num_threads(count)
            results.append(passes(x, dy, kernel, options))
    finally:
        gn.set_num_threads(threads)
    for other in results[1:]:
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(results[0], other, strict=True))
    alone = passes(x[1:2], dy[1:2], kernel, options)
    assert all(np.array_equal(a, b[1:2]) for a, b in zip(alone[:2], results[0][:2], strict=True))


def test_what_one_tap_reads_leaves_the_other_taps_alone():
    """A corner of a valid convolution is read by one tap: the others' gradients do not see its value."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2, 14, 14, 16)).astype(np.float32)
    dy = rng.normal(size=(2, 12, 12, 16)).astype(np.float32)
    x[0, 0, 0, 5] = 65535 * 100
    exact = F.conv2d_kernel_grad(x.astype(np.float64), dy.astype(np.float64), (3, 3, 16, 16))
    got = F.conv2d_kernel_grad(x, dy, (3, 3, 16, 16), algorithm="winograd")
    np.testing.assert_allclose(got[1:], exact[1:], rtol=0, atol=2e-4)
    np.testing.assert_allclose(got[0, 1:], exact[0, 1:], rtol=0, atol=2e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_with_what_reads_it(value):
    x, _, kernel, options = problem("3 x 3", 1.0)
    x[1, 9, 9, 0] = value
    lost = ~np.isfinite(F.conv2d(x, kernel, **options)).all(axis=-1)
    assert np.argwhere(lost).tolist() == [[1, i, j] for i in (8, 9, 10) for j in (8, 9, 10)]


@pytest.mark.parametrize("size", [1024, 4096])
def test_a_mean_over_a_large_window_is_exact(size):
    x = np.full((1, size, size, 1), 0.1, dtype=np.float32)
    for mean in (F.average_pool2d(x, size), layers_mean(x, layers.GlobalAveragePooling2D())):
        np.testing.assert_allclose(mean, 0.1, rtol=2e-6)


def layers_mean(x, layer):
    model = gn.Sequential([gn.Input(x.shape[1:]), layer])
    return model.predict(x, verbose=0)


def test_a_dense_layer_of_a_million_inputs_is_exact():
    rng = np.random.default_rng(5)
    x = rng.uniform(size=(2, 1_000_000)).astype(np.float32)
    model = gn.Sequential([gn.Input((1_000_000,)), layers.Dense(1)])
    kernel = rng.uniform(size=(1_000_000, 1)).astype(np.float32)
    model.set_weights([kernel, np.zeros(1, np.float32)])
    expected = x.astype(np.float64) @ kernel.astype(np.float64)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)


def hostile(rng, shape):
    """Values with one far off, with scales of their own, sparse ones, or with an edge."""
    values = rng.uniform(-1, 1, size=shape)
    kind, exponent = rng.integers(4), int(rng.integers(-40, 60))
    place = tuple(rng.integers(0, n) for n in shape)
    if kind == 0:
        values[place] = 2.0**exponent
    elif kind == 1:
        most = abs(exponent) % 31 + 1
        values *= (2.0 ** rng.integers(-most, most + 1, size=shape[:3]))[..., None]
    elif kind == 2:
        values *= (rng.integers(0, 8, size=shape[:3]) >= rng.integers(1, 9))[..., None]
        values[place] = 2.0 ** (exponent / 2)
    else:
        values[:, :, shape[2] // 2 + rng.integers(-3, 3) :] *= 2.0 ** -abs(exponent)
    return values.astype(np.float32)


def test_no_result_errs_by_64_times_what_a_direct_sum_may():
    """`1.1 n u W X`, see docs/performance.md; a search of 5400 problems found 17 times as much.

    To the kernel, zeros beside a map count as what stands at its border.
    """
    rng = np.random.default_rng(6)
    for _ in range(300):
        taps, c_in, c_out = rng.choice([3, 5]), rng.choice([1, 2, 4, 16]), rng.choice([1, 3, 8])
        height, width = rng.integers(5, 15, size=2)
        x, dy = hostile(rng, (1, height, width, c_in)), hostile(rng, (1, height, width, c_out))
        kernel = rng.uniform(-1, 1, size=(taps, taps, c_in, c_out)).astype(np.float32)
        got = passes(x, dy, kernel, {"padding": "same", "algorithm": "winograd"})
        expected = passes(*(a.astype(np.float64) for a in (x, dy, kernel)), {"padding": "same"})

        def windows(values, mode="constant", taps=taps, height=height, width=width):
            border = taps // 2
            peaks = np.pad(np.abs(values.astype(np.float64)).max(-1)[0], border, mode)
            return [[peaks[i : i + height, j : j + width] for j in range(taps)] for i in range(taps)]

        norms = np.abs(kernel.astype(np.float64))
        read = np.max(windows(x), axis=(0, 1))[..., None] * norms.sum((0, 1, 2))
        read_back = np.max(windows(dy), axis=(0, 1))[..., None] * norms.sum((0, 1, 3))
        grads = np.abs(dy.astype(np.float64)).max(-1)[0]
        products = np.sum(windows(x, "edge") * grads, axis=(2, 3))[..., None, None]
        terms = [taps * taps * c_in, taps * taps * c_out, height * width]
        for result, exact, scale, n in zip(got, expected, (read, read_back, products), terms, strict=True):
            allowed = 64 * 1.1 * (n + 1) * 2.0**-24 * scale + 2.0**-140
            assert (np.abs(result - exact) <= allowed).all()
