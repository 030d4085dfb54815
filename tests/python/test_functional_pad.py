"""Padding against numpy.pad, and its adjoint."""

import numpy as np
import pytest

from gridnn import functional as F  # noqa: N812
from gridnn.errors import ShapeError

NUMPY = {"zeros": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap", "symmetric": "symmetric"}
RANKS = (1, 2, 3)


def pad(rank):
    return getattr(F, f"pad{rank}d"), getattr(F, f"pad{rank}d_grad")


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("seed", range(30))
def test_against_numpy(mode, seed):
    rng = np.random.default_rng(seed)
    rank = 1 + seed % 3
    # Paddings longer than the axis among them: they mirror or repeat it several times.
    grid = rng.integers(1, 6, size=rank)
    pairs = rng.integers(0, 14 if rank < 3 else 8, size=(rank, 2))
    dtype = rng.choice([np.float32, np.float64])
    x = rng.normal(size=(int(rng.integers(0, 3)), *grid, int(rng.choice([1, 2, 5])))).astype(dtype)
    forward, adjoint = pad(rank)
    y = forward(x, pairs, mode)
    expected = np.pad(x, [(0, 0), *pairs, (0, 0)], mode=NUMPY[mode]) if len(x) else np.empty(y.shape, dtype)
    assert y.dtype == dtype
    assert y.tobytes() == expected.tobytes()
    assert y.shape == expected.shape == F.pad_output_shape(x.shape, pairs, mode)
    dy = rng.normal(size=y.shape)
    dx = adjoint(dy, pairs, mode)
    assert dx.shape == x.shape
    np.testing.assert_allclose((dx * x).sum(), (dy * y).sum(), rtol=1e-12, atol=1e-12)
    # Every element on its own: the adjoint is linear and this is its matrix.
    if len(x) and rank == 1:
        identity = np.eye(grid[0])[:, :, None]
        columns = forward(identity, pairs, mode)[:, :, 0]
        np.testing.assert_allclose(dx[:, :, 0], dy[:, :, 0] @ columns.T, rtol=1e-12, atol=1e-12)


def test_large_arrays_are_cut_among_tasks():
    x = np.random.default_rng(0).normal(size=(3, 70, 90, 7))
    pairs = [(3, 100), (0, 5)]
    for mode, name in NUMPY.items():
        y = F.pad2d(x, pairs, mode)
        assert y.tobytes() == np.pad(x, [(0, 0), *pairs, (0, 0)], mode=name).tobytes()


def test_bad_arguments():
    x = np.ones((1, 3, 3, 1))
    for bad in (
        lambda: F.pad2d(x, [(1, 1)]),
        lambda: F.pad2d(x, [(1, 1), (1, -1)]),
        lambda: F.pad2d(x, [(1, 1), (1, 1, 1)]),
        lambda: F.pad2d(x, [(1, 1), (1, 1)], "mirror"),
        lambda: F.pad2d(x, [(2**62, 2**62), (2**62, 1)]),
        lambda: F.pad2d(np.ones((1, 0, 3, 1)), [(1, 1), (1, 1)], "edge"),
        lambda: F.pad2d(np.ones((1, 0, 3, 1)), [(1, 1), (1, 1)], "reflect"),
    ):
        with pytest.raises(ValueError):
            bad()
    for bad in (
        lambda: F.pad2d(x, [(1.0, 1), (1, 1)]),
        lambda: F.pad2d(x, "same"),
        lambda: F.pad2d(1j * x, 1),
    ):
        with pytest.raises(TypeError):
            bad()
    for bad in (
        lambda: F.pad1d(x, [(1, 1)]),
        lambda: F.pad2d_grad(x, [(2, 2), (0, 0)]),
        lambda: F.pad2d(np.ones((1, 0, 3, 1)), [(0, 0), (1, 1)]),
        lambda: F.pad_output_shape((1, 2), [(1, 1)]),
    ):
        with pytest.raises(ShapeError):
            bad()
    assert F.pad2d(np.ones((1, 0, 3, 1)), [(1, 1), (0, 0)]).shape == (1, 2, 3, 1)
    assert F.pad2d(np.ones((0, 2, 3, 1), np.int8), [(1, 1), (0, 0)], "wrap").shape == (0, 4, 3, 1)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_integers_stand_for_pairs_of_the_same(rank):
    x = np.arange(2 * 3**rank * 2, dtype=np.float32).reshape(2, *(3,) * rank, 2)
    sizes = tuple(range(1, rank + 1))
    for short, pairs in ((2, ((2, 2),) * rank), (sizes, tuple((n, n) for n in sizes)), (0, ((0, 0),) * rank)):
        if rank == 1 and isinstance(short, tuple):
            short = short[0]
        for given in (short, list(short) if isinstance(short, tuple) else np.int64(short)):
            expected = F.pad(x, pairs)
            assert np.array_equal(F.pad(x, given), expected)
            assert np.array_equal(F.pad_grad(expected, given), F.pad_grad(expected, pairs))
    if rank == 1:
        assert np.array_equal(F.pad(x, (1, 2)), F.pad(x, ((1, 2),)))
