"""Transposed convolutions against sums in float64: functional calls in all passes, and the layers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gridnn
from gridnn import functional as F  # noqa: N812
from gridnn import layers
from gridnn.errors import ShapeError

RANKS = [
    [getattr(F, f"conv{n}d_transpose{p}") for p in ("", "_input_grad", "_kernel_grad")] for n in (1, 2, 3)
]
LAYERS = [layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose]


def transposed(x, kernel, strides, dilation, before, sizes, groups):
    """The defining sum: element ``i`` meets result ``i * stride + tap * dilation - before``."""
    filters, c_in = kernel.shape[-2] * groups, kernel.shape[-1]
    y = np.zeros((x.shape[0], *sizes, filters))
    per_group = c_in // groups
    for position in np.ndindex(*x.shape[1:-1]):
        for tap in np.ndindex(*kernel.shape[:-2]):
            at = [
                p * s + t * d - b
                for p, t, s, d, b in zip(position, tap, strides, dilation, before, strict=True)
            ]
            if any(a < 0 or a >= n for a, n in zip(at, sizes, strict=True)):
                continue
            for g in range(groups):
                own = slice(g * per_group, (g + 1) * per_group)
                filters_own = slice(g * kernel.shape[-2], (g + 1) * kernel.shape[-2])
                y[(slice(None), *at, filters_own)] += (
                    x[(slice(None), *position, own)] @ kernel[(*tap, slice(None), own)].T
                )
    return y


def adjoints(x, kernel, dy, *geometry):
    """Gradients of ``<dy, transposed(x, kernel)>``, which is linear in both, by unit vectors."""
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for at in np.ndindex(*x.shape):
        unit = np.zeros_like(x)
        unit[at] = 1
        dx[at] = np.vdot(dy, transposed(unit, kernel, *geometry))
    for at in np.ndindex(*kernel.shape):
        unit = np.zeros_like(kernel)
        unit[at] = 1
        dkernel[at] = np.vdot(dy, transposed(x, unit, *geometry))
    return dx, dkernel


def draw(rng, rank):
    """A problem with pairs or "valid" as padding, whose place in front is plain."""
    pick = lambda low, high: tuple(int(n) for n in rng.integers(low, high, rank))  # noqa: E731
    one_tap = rng.random() < 0.6
    kernel = (1,) * rank if one_tap else pick(1, 4)
    strides, dilation = pick(1, 4), pick(1, 4)
    if rng.random() < 0.5:
        strides = (1,) * rank
    extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(strides, dilation, strict=True))
    sizes = pick(1, 5 if rank < 3 else 4)
    pads = tuple((int(rng.integers(0, 2)), int(rng.integers(0, 2))) for _ in range(rank))
    padding = "valid" if rng.random() < 0.5 else pads
    return kernel, strides, dilation, extra, sizes, padding


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_transposed_convolutions_are_the_defining_sum_in_all_passes(rank, dtype):
    rng = np.random.default_rng(rank)
    forward, to_input, to_kernel = RANKS[rank - 1]
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-10}
    done = 0
    for _ in range(100 if rank < 3 else 50):
        kernel_size, strides, dilation, extra, sizes, padding = draw(rng, rank)
        groups = int(rng.integers(1, 3))
        c_in, filters = groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
        x = rng.standard_normal((2, *sizes, c_in))
        kernel = rng.standard_normal((*kernel_size, filters, c_in))
        options = {
            "strides": strides,
            "dilation_rate": dilation,
            "padding": padding,
            "output_padding": extra,
            "groups": groups,
        }
        try:
            y = forward(x.astype(dtype), kernel.astype(dtype), **options)
        except ShapeError:
            if padding == "valid":
                raise
            continue  # more is cropped than there is
        done += 1
        before = [
            0 if padding == "valid" else pair[0] for pair in ([0] * rank if padding == "valid" else padding)
        ]
        geometry = (strides, dilation, before, y.shape[1:-1], groups)
        np.testing.assert_allclose(y, transposed(x, kernel, *geometry), **tolerance, err_msg=str(options))
        dy = rng.standard_normal(y.shape)
        dx, dkernel = adjoints(x, kernel, dy, *geometry)
        got = to_input(dy.astype(dtype), kernel.astype(dtype), input_shape=x.shape, **options)
        np.testing.assert_allclose(got, dx, **tolerance, err_msg=str(options))
        got = to_kernel(x.astype(dtype), dy.astype(dtype), kernel_shape=kernel.shape, **options)
        np.testing.assert_allclose(got, dkernel, **tolerance, err_msg=str(options))
    assert done > 25


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_one_tap_kernel_with_an_output_padding_is_right_in_functions_and_layers(rank):
    """``join_pointwise`` once took an input for one as long as the output."""
    rng = np.random.default_rng(7)
    (forward, to_input, to_kernel), layer = RANKS[rank - 1], LAYERS[rank - 1]
    kernel = rng.standard_normal((*(1,) * rank, 3, 2))
    for extra in itertools.product((0, 1), repeat=rank):
        sizes = (6, 1, 4)[:rank]
        x = rng.standard_normal((2, *sizes, 2))
        options = {"dilation_rate": 2, "output_padding": extra}
        expected = np.zeros((2, *(n + e for n, e in zip(sizes, extra, strict=True)), 3))
        expected[(slice(None), *(slice(n) for n in sizes))] = x @ kernel[(0,) * rank].T
        np.testing.assert_allclose(forward(x, kernel, **options), expected, rtol=1e-12)
        dy = rng.standard_normal(expected.shape)
        inside = dy[(slice(None), *(slice(n) for n in sizes))]
        got = to_input(dy, kernel, input_shape=x.shape, **options)
        np.testing.assert_allclose(got, inside @ kernel[(0,) * rank], rtol=1e-12, atol=1e-12)
        got = to_kernel(x, dy, kernel_shape=kernel.shape, **options)
        want = np.tensordot(inside, x, axes=(range(rank + 1),) * 2)
        np.testing.assert_allclose(got[(0,) * rank], want, rtol=1e-12, atol=1e-12)

        model = gridnn.Sequential([layer(3, 1, use_bias=False, **options)])
        model.build((None, *sizes, 2))
        model.set_weights([kernel.astype("float32")])
        np.testing.assert_allclose(model.predict(x.astype("float32")), expected, rtol=1e-4, atol=1e-5)
        model.compile(gridnn.optimizers.SGD(0.0), "mse")
        model.fit(x.astype("float32"), expected.astype("float32"), epochs=1, verbose=0)
