"""Functions that take the rank from their first array, their names for one rank, forms of their options."""

import inspect
import pickle
import re

import numpy as np
import pytest

from gridnn import functional as F  # noqa: N812
from gridnn.errors import ShapeError

RANK_FREE = [name for name in F.__all__ if not re.search(r"\dd|output_shape", name)]


def pinned(name, rank):
    return re.sub("(conv|pool|pad)", rf"\g<1>{rank}d", name, count=1)


def arrays(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def arguments(name, rank):
    """Arguments of a small call, by position, and options by keyword."""
    grid, small = (6,) * rank, (2,) * rank
    x, y, pooled = (2, *grid, 4), (2, *(5,) * rank, 4), (2, *(3,) * rank, 4)
    kernel, depthwise, pointwise = (*small, 4, 4), (*small, 4, 1), (*(1,) * rank, 4, 4)
    window = depthwise if name.startswith("depthwise") else kernel
    if name.startswith("separable"):
        operands = {
            "separable_conv": arrays(x, depthwise, pointwise),
            "separable_conv_input_grad": [*arrays(y, depthwise, pointwise), x],
            "separable_conv_kernel_grad": arrays(x, y, depthwise, pointwise),
        }[name]
    elif "transpose" in name:
        y = (2, *(7,) * rank, 4)
        operands = {
            "conv_transpose": arrays(x, window),
            "conv_transpose_input_grad": [*arrays(y, window), x],
            "conv_transpose_kernel_grad": [*arrays(x, y), window],
        }[name]
    elif "conv" in name:
        operands = arrays(x, window)
        if name.endswith("input_grad"):
            operands = [*arrays(y, window), x]
        elif name.endswith("kernel_grad"):
            operands = [*arrays(x, y), window]
    else:
        operands = {
            "max_pool": arrays(x),
            "max_pool_grad": arrays(pooled, x),
            "average_pool": arrays(x),
            "average_pool_grad": [*arrays(pooled), x],
            "global_max_pool": arrays(x),
            "global_max_pool_grad": arrays((2, 4), x),
            "global_average_pool": arrays(x),
            "global_average_pool_grad": [*arrays((2, 4)), x],
            "pad": [*arrays(x), [(1, 2)] * rank],
            "pad_grad": [*arrays(x), [(1, 2)] * rank],
        }[name]
    return operands


def equal(a, b):
    if isinstance(a, tuple):
        return all(equal(one, other) for one, other in zip(a, b, strict=True))
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_every_function_has_its_three_names():
    assert len(RANK_FREE) == 22
    assert {pinned(name, rank) for name in RANK_FREE for rank in (1, 2, 3)} < set(F.__all__)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", RANK_FREE)
def test_the_rank_comes_from_the_first_array(name, rank):
    operands = arguments(name, rank)
    result = getattr(F, name)(*operands)
    assert equal(result, getattr(F, pinned(name, rank))(*operands))
    # Lists are read as well.
    if not name.endswith(("input_grad", "average_pool_grad", "kernel_grad")):
        wide = [
            value.astype(float).tolist() if isinstance(value, np.ndarray) else value for value in operands
        ]
        assert equal(getattr(F, name)(*wide), getattr(F, pinned(name, rank))(*wide))


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        ("conv", [(10, 10, 3), (3, 3, 3, 4)], r"`x` .* 4 axes .*Pass x\[numpy\.newaxis\]\.$"),
        ("conv", [(10, 3), (3, 3, 4)], r"`x` .*\(batch, steps, channels\).*Pass x\[numpy\.newaxis\]\.$"),
        ("conv", [(2, 9, 9, 3), (3, 3, 3)], r"`kernel` .*\(height, width, .*filters.*of size 1\.$"),
        ("conv2d", [(2, 9, 9, 3), (3, 3, 4)], r"`kernel` .*\(height, width, .*filters.*of size 1\.$"),
        ("conv_transpose", [(9, 9, 3), (3, 3, 4, 3)], r"`x` .*Pass x\[numpy\.newaxis\]\.$"),
        ("depthwise_conv", [(9, 9, 3), (3, 3, 3, 1)], r"`x` .*Pass x\[numpy\.newaxis\]\.$"),
        ("separable_conv", [(9, 9, 3), (3, 3, 3, 1), (1, 1, 3, 2)], r"`x` .*Pass x\[numpy\.newaxis\]\.$"),
        (
            "separable_conv",
            [(1, 9, 9, 3), (3, 3, 3), (1, 1, 3, 2)],
            r"\(height, width, channels, multiplier\)",
        ),
        ("separable_conv", [(1, 9, 9, 3), (3, 3, 3, 1), (3, 2)], r"multiplier, filters\)"),
        ("conv_kernel_grad", [(9, 9, 3), (1, 7, 7, 4), None], r"`x` .*Pass x\[numpy\.newaxis\]\.$"),
        ("max_pool_grad", [(8, 8, 4), (1, 8, 8, 4)], r"`dy` .*Pass dy\[numpy\.newaxis\]\.$"),
    ],
)
def test_the_operand_without_its_batch_axis_is_named(name, shapes, message):
    with pytest.raises(ShapeError, match=message):
        getattr(F, name)(*[(3, 3, 3, 4) if shape is None else np.ones(shape) for shape in shapes])


def test_shapes_of_one_sample_are_named():
    dy, kernel = np.ones((1, 8, 8, 4)), np.ones((3, 3, 3, 4))
    with pytest.raises(ShapeError, match=r"\(1, \*input_shape\)"):
        F.conv_input_grad(dy, kernel, (10, 10, 3))
    with pytest.raises(ShapeError, match=r"`kernel_shape` .*\(steps, .*filters.*x\[numpy\.newaxis\]"):
        F.conv_kernel_grad(np.ones((10, 10, 3)), dy[0], (3, 3, 3, 4))


@pytest.mark.parametrize("name", RANK_FREE)
def test_another_rank_is_refused(name):
    operands = arguments(name, 2)
    with pytest.raises(ShapeError, match=r"must have 3 axes \(batch, steps, channels\)"):
        getattr(F, pinned(name, 1))(*operands)
    if name != "global_average_pool_grad":
        operands[1 if name == "global_max_pool_grad" else 0] = np.ones((2, 3), np.float32)
        with pytest.raises(ShapeError, match="3 to 5 axes"):
            getattr(F, name)(*operands)


def test_the_shape_tells_the_rank_where_no_array_does():
    with pytest.raises(ShapeError, match="3 to 5 axes"):
        F.global_average_pool_grad(np.ones((2, 4)), (2, 4))
    with pytest.raises(TypeError, match="tuple of 3 to 5 sizes"):
        F.global_average_pool_grad(np.ones((2, 4)), "(2, 4)")


@pytest.mark.parametrize(
    "name", ["conv2d", "max_pool1d_grad", "separable_conv3d_kernel_grad", "pad3d", "conv"]
)
def test_names_look_like_functions_written_out(name):
    function = getattr(F, name)
    assert (function.__name__, function.__qualname__) == (name, name)
    assert "_rank" not in inspect.signature(function).parameters
    assert pickle.loads(pickle.dumps(function)) is function
    text = inspect.getdoc(function)
    if name[-1] != "v":
        assert "[depth" not in text
        rank = re.search(r"(\d)d", name)[1]
        assert f"for {rank} spatial ax" in text


PLAIN = {"strides": (2, 1), "padding": ((1, 0), (0, 2)), "dilation_rate": (1, 2), "groups": 2}


@pytest.mark.parametrize(
    "options",
    [
        {"strides": [2, 1], "padding": [[1, 0], [0, 2]], "dilation_rate": [1, 2], "groups": np.int64(2)},
        {
            "strides": np.array([2, 1]),
            "padding": np.array([[1, 0], [0, 2]]),
            "dilation_rate": (np.int8(1), 2),
        },
        {"padding_mode": "zeros", "algorithm": "direct", "activation": np.str_("linear")},
        {"out": np.empty((2, 3, 3, 4), np.float32)},
    ],
)
def test_options_in_other_forms_mean_the_same(options):
    x, kernel = arrays((2, 6, 6, 4), (2, 3, 2, 4))
    plain = F.conv2d(x, kernel, **PLAIN)
    out = options.get("out")
    if out is not None:
        options["out"] = np.empty(plain.shape, np.float32)
    assert equal(F.conv2d(x, kernel, **{**PLAIN, **options}), plain)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"strides": True}, TypeError, "tuple of 2 integers"),
        ({"strides": (1, True)}, TypeError, "tuple of 2 integers"),
        ({"strides": (1, 1.0)}, TypeError, "tuple of 2 integers"),
        ({"strides": 0}, ValueError, "value > 0"),
        ({"strides": (1, 2, 3)}, ValueError, "tuple of 2 integers"),
        ({"strides": 2**63}, ValueError, "below 2\\*\\*63"),
        ({"padding": "causal"}, ValueError, "must be one of"),
        ({"padding": ((1, 0),)}, ValueError, "pairs"),
        ({"padding": -1}, ValueError, "pairs"),
        ({"padding_mode": "mirror"}, ValueError, "padding_mode"),
        ({"padding_mode": None}, TypeError, "padding_mode"),
        ({"dilation_rate": "2"}, TypeError, "dilation_rate"),
        ({"groups": 0}, ValueError, "groups"),
        ({"algorithm": "fft"}, ValueError, "algorithm"),
        ({"activation": 3}, TypeError, "activation"),
        ({"out": np.empty((2, 5, 5, 4))}, TypeError, "float32"),
        ({"out": [0.0]}, TypeError, "array or None"),
    ],
)
def test_wrong_options_are_refused_whatever_was_called_before(options, error, text):
    x, kernel = arrays((2, 6, 6, 4), (2, 2, 4, 4))
    F.conv2d(x, kernel, strides=1)
    F.conv2d(x, kernel, strides=(1, 1))
    with pytest.raises(error, match=text):
        F.conv2d(x, kernel, **options)


def test_flags_are_bools():
    x = arrays((2, 6, 6, 4))[0]
    assert len(F.max_pool2d(x, return_indices=np.bool_(True))) == 2
    for call in (
        lambda: F.max_pool2d(x, return_indices=1),
        lambda: F.max_pool2d(x, ceil_mode=1),
        lambda: F.average_pool2d(x, count_include_pad="no"),
        lambda: F.global_max_pool2d(x, keepdims=0),
    ):
        with pytest.raises(TypeError, match="True or False"):
            call()


class Float(np.ndarray):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.view(Float),
        lambda x: x[::-1][::-1].transpose(0, 2, 1, 3).copy().transpose(0, 2, 1, 3),
        lambda x: x.astype(">f4"),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: x.tolist(),
    ],
    ids=["subclass", "other order", "big-endian", "misaligned", "list"],
)
def test_arrays_in_other_forms_give_the_same_numbers(make):
    x, kernel = arrays((2, 6, 5, 4), (2, 2, 4, 4))
    result = F.conv2d(make(x), kernel)
    np.testing.assert_allclose(result, F.conv2d(x, kernel), rtol=1e-5, atol=1e-6)


def test_masked_arrays_and_mixed_types():
    x, kernel = arrays((2, 6, 5, 4), (2, 2, 4, 4))
    with pytest.raises(TypeError, match="mask"):
        F.conv2d(np.ma.masked_array(x), kernel)
    assert F.conv2d(x, kernel.astype(np.float64)).dtype == np.float64
    assert F.conv2d(x.astype(np.int8), kernel).dtype == np.float32
    assert F.conv2d(x, kernel, bias=[1, 2, 3, 4]).dtype == np.float32
