"""Strides, dilations, paddings and windows beyond all sizes: right where there is a result, else an error."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

import gridnn
from gridnn import functional as F  # noqa: N812
from gridnn import layers

BIG = 2**40
MODES = ["zeros", "edge", "reflect", "symmetric", "wrap"]


def source(p: int, n: int, mode: str) -> int | None:
    """The element of an axis of `n` that stands at position `p` of its extension."""
    if 0 <= p < n:
        return p
    if mode == "zeros":
        return None
    if mode == "edge" or n == 1:
        return min(max(p, 0), n - 1)
    if mode == "wrap":
        return p % n
    if mode == "symmetric":
        p %= 2 * n
        return p if p < n else 2 * n - 1 - p
    p %= 2 * (n - 1)
    return p if p < n else 2 * (n - 1) - p


def links(n, kernel, stride, dilation, padding, mode):
    """What every output of an axis reads: ``(output, tap, input)``; and the number of outputs."""
    span = dilation * (kernel - 1) + 1
    if padding == "same":
        outputs = -(-n // stride)
        total = max((outputs - 1) * stride + span - n, 0)
        before = total // 2
    else:
        before, after = {"causal": (span - 1, 0), "valid": (0, 0)}.get(padding, padding)
        outputs = (n + before + after - span) // stride + 1
    found = []
    for o, t in itertools.product(range(outputs), range(kernel)):
        i = source(o * stride + t * dilation - before, n, mode)
        if i is not None:
            found.append((o, t, i))
    return outputs, found


def convolution(x, kernel, dy, axes, groups):
    """``y``, and with `dy` the gradients to input and kernel, as sums over links of all axes, in float64."""
    sizes, found = zip(*axes, strict=True)
    c_in, c_out = x.shape[-1] // groups, kernel.shape[-1] // groups
    y = np.zeros((x.shape[0], *sizes, kernel.shape[-1]))
    dx, dkernel = np.zeros_like(x), np.zeros_like(kernel)
    for chosen in itertools.product(*found):
        o, t, i = zip(*chosen, strict=True)
        for g in range(groups):
            own, out = slice(g * c_in, (g + 1) * c_in), slice(g * c_out, (g + 1) * c_out)
            at_x, at_y, at_k = (slice(None), *i, own), (slice(None), *o, out), (*t, slice(None), out)
            y[at_y] += x[at_x] @ kernel[at_k]
            if dy is not None:
                dx[at_x] += dy[at_y] @ kernel[at_k].T
                dkernel[at_k] += x[at_x].T @ dy[at_y]
    return y, dx, dkernel


def functions(rank, kind=""):
    return [getattr(F, f"{kind}conv{rank}d{part}") for part in ("", "_input_grad", "_kernel_grad")]


def check(rank, shape, kernel_shape, axes, groups, **options):
    """All three passes of a problem, in both types."""
    rng = np.random.default_rng(3)
    x, kernel = rng.standard_normal(shape), rng.standard_normal(kernel_shape)
    mode = options.get("padding_mode", "zeros")
    axes = [links(n, *axis, mode) for n, axis in zip(shape[1:-1], axes, strict=True)]
    dy = rng.standard_normal((shape[0], *(size for size, _ in axes), kernel_shape[-1]))
    y, dx, dkernel = convolution(x, kernel, dy, axes, groups)
    forward, to_input, to_kernel = functions(rank)
    for dtype, tolerance in (("float32", 2e-4), ("float64", 1e-10)):
        a, k, d = (array.astype(dtype) for array in (x, kernel, dy))
        close = {"rtol": tolerance, "atol": tolerance, "err_msg": str((shape, kernel_shape, options))}
        np.testing.assert_allclose(forward(a, k, groups=groups, **options), y, **close)
        got = to_input(d, k, input_shape=shape, groups=groups, **options)
        np.testing.assert_allclose(got, dx, **close)
        got = to_kernel(a, d, kernel_shape=kernel_shape, groups=groups, **options)
        np.testing.assert_allclose(got, dkernel, **close)


@pytest.mark.parametrize(
    "channels", [(2, 2, 1), (1, 9, 1), (16, 3, 1), (40, 6, 1), (4, 4, 4), (4, 6, 2), (64, 64, 1)]
)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dilation", [3, 49, 50, 51, 99, 1000, BIG, 2**61])
def test_a_causal_series_reads_what_its_taps_meet_whatever_the_dilation(channels, mode, dilation):
    c_in, c_out, groups = channels
    check(
        1,
        (2, 50, c_in),
        (2, c_in // groups, c_out),
        [(2, 1, dilation, "causal")],
        groups,
        padding="causal",
        dilation_rate=dilation,
        padding_mode=mode,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_same_padding_takes_any_stride_and_dilation_along_any_axis(rank, mode, groups):
    for axis, (stride, dilation, kernel) in itertools.product(
        range(rank),
        [(1, BIG, 3), (BIG, BIG, 3), (BIG, 1, 2), (1, 300, 2), (3, 300, 3), (2, 7, 5), (300, 300, 2)],
    ):
        sizes = (5, 4, 3)[:rank]
        strides, dilations, kernels = [1] * rank, [1] * rank, [2] * rank
        strides[axis], dilations[axis], kernels[axis] = stride, dilation, kernel
        axes = [(kernels[i], strides[i], dilations[i], "same") for i in range(rank)]
        check(
            rank,
            (2, *sizes, 2),
            (*kernels, 2 // groups, 4),
            axes,
            groups,
            padding="same",
            strides=tuple(strides),
            dilation_rate=tuple(dilations),
            padding_mode=mode,
        )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pads"),
    [
        (2, BIG, 1, (BIG, BIG)),
        (3, BIG, BIG, (BIG, BIG)),
        (2, BIG + 1, 3, (BIG, 2 * BIG)),
        (2, 10**9, 10**9 + 1, (3 * 10**9, 5)),
        (1, 2**61, 1, (0, 0)),
        (3, 997, 1001, (2000, 3000)),
        (2, 1, 1, (700, 3)),
        (4, 7, 500, (1500, 1700)),
    ],
)
def test_explicit_padding_of_any_size_is_right_where_there_are_few_results(
    mode, kernel, stride, dilation, pads
):
    options = {"padding_mode": mode, "padding": [pads]}
    for c_in, c_out, groups in [(2, 3, 1), (4, 4, 4), (4, 6, 2), (8, 2, 1)]:
        axes = [(kernel, stride, dilation, pads)]
        shape = (kernel, c_in // groups, c_out)
        check(1, (1, 4, c_in), shape, axes, groups, strides=stride, dilation_rate=dilation, **options)


def test_all_axes_of_a_volume_may_be_dilated_beyond_its_size_at_once():
    for mode in MODES:
        axes = [(3, 1, BIG, "same")] * 3
        options = {"padding": "same", "dilation_rate": BIG, "padding_mode": mode}
        check(3, (1, 3, 2, 3, 2), (3, 3, 3, 2, 3), axes, 1, **options)


def test_random_wide_geometries_are_their_defining_sums():
    rng = np.random.default_rng(11)
    for _ in range(150):
        rank = int(rng.integers(1, 3))
        axes, n = [], []
        for _ in range(rank):
            size, kernel = int(rng.integers(1, 7)), int(rng.integers(1, 4))
            stride, dilation = (int(10 ** rng.uniform(0, 4)) for _ in range(2))
            spans = int(rng.integers(1, 4)) * max(stride, dilation * (kernel - 1) + 1)
            total = max(spans + dilation * (kernel - 1) + 1 - size, 0)
            before = int(rng.integers(0, total + 1))
            if (size + total) // stride > 300:
                stride = total // 100 + 1
            axes.append((kernel, stride, dilation, (before, total - before)))
            n.append(size)
        c_in, c_out, groups = [(1, 1, 1), (2, 3, 1), (4, 4, 4), (4, 2, 2), (6, 9, 1)][int(rng.integers(5))]
        mode = MODES[int(rng.integers(5))]
        check(
            rank,
            (2, *n, c_in),
            (*(axis[0] for axis in axes), c_in // groups, c_out),
            axes,
            groups,
            strides=tuple(axis[1] for axis in axes),
            dilation_rate=tuple(axis[2] for axis in axes),
            padding=[axis[3] for axis in axes],
            padding_mode=mode,
        )


def test_layers_train_with_dilations_beyond_the_series():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 50, 2)).astype("float32")
    for dilation in (64, 10**8, BIG):
        model = gridnn.Sequential([layers.Conv1D(3, 2, dilation_rate=dilation, padding="causal")])
        model.build((None, 50, 2))
        kernel, bias = model.get_weights()
        # The tap in front reads nothing.
        np.testing.assert_allclose(model.predict(x), x @ kernel[1] + bias, rtol=1e-4, atol=1e-5)
        model.compile("sgd", "mse")
        model.fit(x, x @ np.ones((2, 3), "float32"), epochs=1, verbose=0)
        np.testing.assert_array_equal(model.get_weights()[0][0], kernel[0])
        assert not np.array_equal(model.get_weights()[0][1], kernel[1])


def test_transposed_convolutions_take_any_stride_that_is_cropped_again():
    rng = np.random.default_rng(5)
    kernel = rng.standard_normal((3, 2, 2))
    x = rng.standard_normal((1, 2, 2))
    crop = (BIG - 2, 3)
    y = F.conv1d_transpose(x, kernel, strides=BIG, padding=[crop])
    assert y.shape == (1, 2, 2)
    # Element 1 stands at BIG; result r is position r + BIG - 2.
    np.testing.assert_allclose(y, np.zeros_like(y))
    crop = (BIG - 1, 0)
    y = F.conv1d_transpose(x, kernel, strides=BIG, padding=[crop])
    want = np.concatenate([np.zeros((1, 2)), np.stack([kernel[t] @ x[0, 1] for t in range(3)])])[np.newaxis]
    np.testing.assert_allclose(y, want)
    dy = rng.standard_normal(y.shape)
    options = {"strides": BIG, "padding": [crop]}
    dx = F.conv1d_transpose_input_grad(dy, kernel, x.shape, **options)
    want = np.stack([np.zeros(2), sum(kernel[t].T @ dy[0, 1 + t] for t in range(3))])[np.newaxis]
    np.testing.assert_allclose(dx, want)
    dkernel = F.conv1d_transpose_kernel_grad(x, dy, kernel.shape, **options)
    np.testing.assert_allclose(dkernel, np.stack([np.outer(dy[0, 1 + t], x[0, 1]) for t in range(3)]))


@pytest.mark.parametrize("size", [2**33, BIG, 2**50])
def test_pools_over_windows_beyond_the_input_pool_the_input(size):
    x = np.random.default_rng(2).standard_normal((2, 5, 3))
    y = F.max_pool1d(x, size, strides=1, padding="same")
    np.testing.assert_array_equal(y, np.broadcast_to(x.max(axis=1, keepdims=True), x.shape))
    y = F.average_pool1d(x, size, strides=1, padding="same")
    np.testing.assert_allclose(y, np.broadcast_to(x.mean(axis=1, keepdims=True), x.shape))
    y, at = F.max_pool1d(x, size, padding="same", return_indices=True)
    np.testing.assert_array_equal(y[:, 0], x.max(axis=1))
    np.testing.assert_array_equal(at[:, 0], x.argmax(axis=1))
    dx = F.max_pool1d_grad(np.ones_like(y), x, size, padding="same")
    np.testing.assert_array_equal(dx, x == x.max(axis=1, keepdims=True))
    model = gridnn.Sequential([layers.MaxPooling1D(size, padding="same"), layers.Flatten()])
    np.testing.assert_array_equal(model.predict(x.astype("float32")), x.astype("float32").max(axis=1))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, k: F.conv1d(x, k, padding=2**60),
        lambda x, k: F.conv1d(x, k, dilation_rate=2**62, padding="causal"),
        lambda x, k: F.conv1d(x, k, strides=2**63, padding="same"),
        lambda x, k: F.conv1d_transpose(x, k, strides=2**62),
        lambda x, _: F.max_pool1d(x, 2**62, padding="same"),
        lambda x, _: F.max_pool1d(x, 2, strides=1, padding=2**61),
    ],
)
def test_sizes_beyond_counting_are_errors_that_a_user_can_read(call):
    x, k = np.ones((1, 5, 2), "float32"), np.ones((2, 2, 2), "float32")
    with pytest.raises((ValueError, MemoryError)) as caught:
        call(x, k)
    text = str(caught.value)
    assert not any(part in text for part in ("Geometry", "Window", "{")), text


HOSTILE = r"""
import resource, sys
import numpy as np
from gridnn import functional as F
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
rng = np.random.default_rng(int(sys.argv[1]))
WILD = [1, 1, 1, 2, 3, 5, 100, *(2**n for n in (20, 31, 33, 40, 52, 60, 61, 62, 63)), 2**63 - 1, 2**64 - 1]
pick = lambda: WILD[int(rng.integers(len(WILD)))]
answered = refused = 0
for _ in range(int(sys.argv[2])):
    rank = int(rng.integers(1, 4))
    sizes = (4, 3, 2)[:rank]
    x = np.ones((2, *sizes, 2), "float32")
    padding = [lambda: "same", lambda: "valid", pick, lambda: [(pick(), pick()) for _ in range(rank)],
               lambda: "causal" if rank == 1 else "same"][int(rng.integers(5))]()
    options = {"padding": padding, "strides": tuple(pick() for _ in range(rank)),
               "dilation_rate": tuple(pick() for _ in range(rank))}
    if rng.random() < 0.5:
        options["dilation_rate"] = 1
    k = np.ones((*(int(n) for n in rng.integers(1, 4, rank)), 2, 2), "float32")
    kind = int(rng.integers(6))
    # Large results that can be computed are right to take their time.
    width = padding if isinstance(padding, int) else 0
    pads = padding if isinstance(padding, list) else [(width, width)] * rank
    total = 1
    for n, (before, after), stride in zip(sizes, pads, options["strides"]):
        wide = n * stride if kind == 1 else (n + before + after) / stride
        total *= max(wide, 1)
    if 1e5 < total < 1e13:
        continue
    try:
        if kind == 0:
            mode = ["zeros", "edge", "reflect", "wrap", "symmetric"][int(rng.integers(5))]
            y = getattr(F, f"conv{rank}d")(x, k, padding_mode=mode, **options)
            getattr(F, f"conv{rank}d_input_grad")(y, k, x.shape, padding_mode=mode, **options)
            getattr(F, f"conv{rank}d_kernel_grad")(x, y, k.shape, padding_mode=mode, **options)
        elif kind == 1:
            y = getattr(F, f"conv{rank}d_transpose")(x, k, **options)
            getattr(F, f"conv{rank}d_transpose_input_grad")(y, k, x.shape, **options)
            getattr(F, f"conv{rank}d_transpose_kernel_grad")(x, y, k.shape, **options)
        elif kind == 2:
            y = getattr(F, f"depthwise_conv{rank}d")(x, k, **options)
            getattr(F, f"depthwise_conv{rank}d_input_grad")(y, k, x.shape, **options)
            getattr(F, f"depthwise_conv{rank}d_kernel_grad")(x, y, k.shape, **options)
        elif kind == 3:
            size = tuple(pick() for _ in range(rank))
            y, _ = getattr(F, f"max_pool{rank}d")(x, size, return_indices=True, **options)
            getattr(F, f"max_pool{rank}d_grad")(y, x, size, **options)
        elif kind == 4:
            size = tuple(pick() for _ in range(rank))
            options["ceil_mode"] = bool(rng.integers(2))
            del options["dilation_rate"]
            y = getattr(F, f"average_pool{rank}d")(x, size, **options)
            getattr(F, f"average_pool{rank}d_grad")(y, x.shape, size, **options)
        else:
            k = np.ones((*k.shape[:-1], 9), "float32")
            y = getattr(F, f"conv{rank}d")(x, k, activation="relu", **options)
        answered += 1
    except (ValueError, MemoryError, OverflowError) as error:
        refused += 1
        assert "Geometry" not in str(error) and "{" not in str(error), error
print(answered, refused)
"""


@pytest.mark.parametrize("seed", range(3))
def test_hostile_sizes_never_end_the_process(seed):
    command = [sys.executable, "-c", HOSTILE, str(seed), "600"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    answered, refused = map(int, result.stdout.split())
    assert min(answered, refused) > 50


@pytest.mark.parametrize("part", ["forward", "to the input", "to the kernel"])
def test_groups_that_are_far_apart_spread_nothing_between_their_taps(part):
    """Once every window copied what lies between its taps: minutes, in which Ctrl-C was not heard."""
    rng = np.random.default_rng(1)
    x, kernel = rng.standard_normal((1, 60_000, 4)), rng.standard_normal((2, 2, 6))
    options = {"groups": 2, "dilation_rate": 40_000, "padding": "causal"}
    shifted = np.concatenate([np.zeros((1, 40_000, 4)), x[:, :20_000]], axis=1)
    halves = [(slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6))]
    dy = rng.standard_normal((1, 60_000, 6))
    if part == "forward":
        want = [shifted[..., i] @ kernel[0][:, o] + x[..., i] @ kernel[1][:, o] for i, o in halves]
        np.testing.assert_allclose(F.conv1d(x, kernel, **options), np.concatenate(want, axis=-1), rtol=1e-10)
    elif part == "to the input":
        later = np.concatenate([dy[:, 40_000:], np.zeros((1, 40_000, 6))], axis=1)
        want = [later[..., o] @ kernel[0][:, o].T + dy[..., o] @ kernel[1][:, o].T for _, o in halves]
        got = F.conv1d_input_grad(dy, kernel, x.shape, **options)
        np.testing.assert_allclose(got, np.concatenate(want, axis=-1), rtol=1e-10, atol=1e-12)
    else:
        got = F.conv1d_kernel_grad(x, dy, kernel.shape, **options)
        for i, o in halves:
            np.testing.assert_allclose(got[0][:, o], shifted[0][:, i].T @ dy[0][:, o], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(got[1][:, o], x[0][:, i].T @ dy[0][:, o], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda n: F.pad1d(np.ones((1, 4, 1)), [(n, 0)]),
        lambda n: F.pad2d_grad(np.ones((1, 4, 4, 1)), n),
        lambda n: F.conv1d(np.ones((1, 4, 1)), np.ones((1, 1, 1)), padding=n),
        lambda n: F.conv1d(np.ones((1, 4, 1)), np.ones((1, 1, 1)), strides=n, padding=[(n, n)]),
        lambda n: F.conv1d_transpose(np.ones((1, 4, 1)), np.ones((1, 1, 1)), output_padding=n),
        lambda n: F.conv1d_input_grad(np.ones((1, 4, 1)), np.ones((1, 1, 1)), (1, n, 1)),
        lambda n: F.average_pool1d_grad(np.ones((1, 4, 1)), (n, 4, 1), 1),
        lambda n: F.max_pool1d(np.ones((1, 4, 1)), n),
        lambda n: gridnn.layers.ZeroPadding1D(n),
        lambda n: gridnn.layers.Cropping2D(n),
        lambda n: gridnn.schedules.ExponentialDecay(0.1, 10, 0.9)(n),
    ],
)
@pytest.mark.parametrize("number", [2**64, 10**30])
def test_numbers_that_no_machine_counts_to_are_value_errors(call, number):
    with pytest.raises(ValueError):
        call(number)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: layers.Dense(n),
        lambda n: layers.Reshape((n, 1)),
        lambda n: layers.BatchNormalization(axis=n),
        lambda n: layers.LayerNormalization(axis=[1, n]),
        lambda n: layers.GroupNormalization(n),
        lambda n: gridnn.optimizers.SGD(gradient_accumulation_steps=n),
        lambda n: gridnn.optimizers.Adam(use_ema=True, ema_overwrite_frequency=n),
        lambda n: gridnn.metrics.AUC(n),
        lambda n: gridnn.metrics.Precision(class_id=n),
        lambda n: gridnn.metrics.Recall(top_k=n),
    ],
)
@pytest.mark.parametrize("number", [2**63, 2**70])
def test_a_number_beyond_the_engine_is_an_error_that_names_the_argument(make, number):
    with pytest.raises(ValueError, match=r"must be below 2\*\*63"):
        make(number)


@pytest.mark.parametrize("kind", ["residual", "parallel", "model"])
def test_layers_that_are_nested_too_deep_are_told_so(kind):
    def inside(layer):
        if kind == "residual":
            return layers.Residual([layer])
        if kind == "parallel":
            return layers.Parallel([[layer]])
        return gridnn.Sequential([gridnn.Input((2,)), layer])

    def nested(levels):
        layer = layers.Dense(2, kernel_regularizer="l2", activity_regularizer="l1")
        for _ in range(levels):
            layer = inside(layer)
        return gridnn.Sequential([gridnn.Input((2,)), layer])

    most = {"residual": 36, "parallel": 27, "model": 99}[kind]
    model = nested(most)
    assert model.predict(np.ones((1, 2)), verbose=0).shape == (1, 2)
    with pytest.raises(ValueError, match="nested too deep"):
        nested(most + 1)
    with pytest.raises(ValueError, match="nested too deep"):
        nested(5000)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux'")
@pytest.mark.parametrize(
    "layer", ["ZeroPadding2D(2**19)", "UpSampling2D(2**18)", "Conv2DTranspose(1, 1, strides=2**19)"]
)
def test_a_small_file_whose_model_needs_more_than_there_is_raises(layer, tmp_path):
    source = f"""
import resource, sys
import numpy as np
import gridnn as gn
from gridnn import layers

path = sys.argv[1]
gn.Sequential([gn.Input((None, None, 1)), layers.{layer}]).save(path)
resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32))
model = gn.load_model(path)
try:
    model.predict(np.ones((1, 2, 2, 1), np.float32), verbose=0)
except MemoryError:
    print("MemoryError")
"""
    path = tmp_path / "small.gridnn"
    child = subprocess.run(
        [sys.executable, "-c", source, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (child.returncode, child.stdout.strip()) == (0, "MemoryError"), child.stderr
    assert path.stat().st_size < 4096
