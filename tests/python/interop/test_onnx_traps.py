"""Layers that other exporters have written wrongly; each test names the trap."""

import itertools

import numpy as np
import pytest
from onnx_checks import LAYOUTS, THOROUGH, expect_export, layouts, opsets, runtime

import gridnn as gn
from gridnn import layers
from gridnn.interop.onnx.writer import to_bytes

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier

RANKED = {
    rank: {kind: getattr(layers, f"{kind}{rank}D") for kind in ("Conv", "MaxPooling")} for rank in (1, 2, 3)
}
DRAWN = {
    "beta_initializer": "random_normal",
    "gamma_initializer": gn.initializers.RandomUniform(0.5, 2.0),
    "moving_mean_initializer": "random_normal",
    "moving_variance_initializer": gn.initializers.RandomUniform(0.5, 2.0),
}


def network(*more, shape=(7, 6, 3)):
    return gn.Sequential([gn.Input(shape), *more], seed=1)


def conv(filters=4, **options):
    return layers.Conv2D(filters, 3, bias_initializer="random_normal", **options)


def kinds(contents):
    return [node.op_type for node in onnx.load_from_string(contents).graph.node]


# Flatten: right shapes, wrong numbers

BETWEEN = {
    "nothing": list,
    "activation": lambda: [layers.ReLU(), layers.Activation("gelu")],
    "dropout": lambda: [layers.Dropout(0.5)],
    "batch normalization": lambda: [layers.BatchNormalization(**DRAWN)],
    "layer normalization": lambda: [
        layers.LayerNormalization(beta_initializer="random_normal", gamma_initializer="random_normal")
    ],
    "group normalization": lambda: [layers.GroupNormalization(5, beta_initializer="random_normal")],
    "slopes": lambda: [layers.PReLU("random_normal")],
    "normalization": lambda: [layers.Normalization(mean=list(range(80)), variance=list(range(1, 81)))],
    "softmax": lambda: [layers.Softmax()],
    "flatten": lambda: [layers.Flatten()],
    "another shape": lambda: [layers.Reshape((10, 8)), layers.Conv1D(3, 2), layers.Flatten()],
    "repeated": lambda: [layers.RepeatVector(2), layers.Permute((2, 1)), layers.Flatten()],
    "residual": lambda: [layers.Residual([layers.ReLU()])],
    "residual dense": lambda: [layers.Residual([layers.Dense(80)])],
    "side by side": lambda: [layers.Parallel([[], [layers.Dense(3)]])],
}


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("opset", opsets(13, 17))
@pytest.mark.parametrize("between", BETWEEN)
def test_flatten(between, opset, layout):
    model = network(conv(), layers.Flatten(), *BETWEEN[between](), layers.Dense(5, "tanh"))
    expect_export(model, opset, layout)


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize(
    "more",
    [
        (layers.Flatten,),
        (layers.Flatten, layers.ReLU),
        (lambda: layers.Reshape((-1,)),),
        (layers.Flatten, lambda: layers.Dense(2, use_bias=False)),
    ],
)
def test_flatten_at_the_end(more, layout):
    expect_export(network(conv(), *(make() for make in more)), layout=layout)
    expect_export(network(*(make() for make in more)), layout=layout)


@pytest.mark.parametrize("shape", [(7, 6, 1), (1, 1, 5), (1, 6, 5), (7, 1, 1)])
def test_flatten_of_axes_with_one_element(shape):
    expect_export(network(layers.Conv2D(shape[-1], 1), layers.Flatten(), layers.Dense(3), shape=shape))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_flatten_in_every_rank(rank):
    model = network(
        RANKED[rank]["Conv"](3, 2), layers.Flatten(), layers.Dense(4), shape=(*(4, 5, 6)[:rank], 2)
    )
    expect_export(model)


# Windows


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("sizes", [(6, 8, 10), (7, 9, 5), (6, 7, 8)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_padding(rank, sizes, stride, dilation):
    shape = (*sizes[:rank], 2)
    for kernel in (2, 3):
        options = {"strides": stride, "padding": "same", "dilation_rate": dilation}
        expect_export(network(RANKED[rank]["Conv"](2, kernel, **options), shape=shape))
    if dilation == 1:
        expect_export(network(RANKED[rank]["MaxPooling"](3, stride, "same"), shape=shape))


WINDOWS = [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 3, 1), (3, 1, 1), (3, 2, 1), (4, 2, 1), (3, 2, 2), (2, 1, 3)]


@pytest.mark.parametrize("compat", [None, "symmetric"])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), WINDOWS)
@pytest.mark.parametrize("padding", ["valid", "same", ((0, 0),), ((1, 0),), ((0, 1),), ((1, 1),)])
def test_transposed_convolutions(kernel, stride, dilation, padding, compat):
    for extra in (None, *range(max(stride, dilation))):
        options = {"dilation_rate": dilation, "bias_initializer": "random_normal", "activation": "sigmoid"}
        try:
            model = network(
                layers.Conv1DTranspose(2, kernel, stride, padding, extra, **options), shape=(5, 3)
            )
        except ValueError:  # nothing is left
            continue
        expect_export(model, compat=compat, samples=(1,))


def test_transposed_convolutions_by_their_own_rules_only():
    model = network(layers.Conv2DTranspose(3, 2, strides=3), layers.Conv2DTranspose(3, 3, 2, "same", 1))
    for node in onnx.load_from_string(to_bytes(model)).graph.node:
        assert {entry.name for entry in node.attribute}.isdisjoint(
            {"output_padding", "output_shape", "auto_pad"}
        )


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise_multiplier(multiplier):
    options = {"depth_multiplier": multiplier, "bias_initializer": "random_normal"}
    contents = expect_export(network(layers.DepthwiseConv2D(3, **options)))
    node = next(node for node in onnx.load_from_string(contents).graph.node if node.op_type == "Conv")
    assert next(entry.i for entry in node.attribute if entry.name == "group") == 3
    expect_export(network(layers.SeparableConv2D(4, 3, depth_multiplier=multiplier)))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same", ((1, 0), (0, 1)), ((1, 1), (1, 1))])
def test_average_pools(padding, ceil, include):
    for size, stride in itertools.product((2, 3), (1, 2, 3)):
        options = {"ceil_mode": ceil, "count_include_pad": include}
        expect_export(network(layers.AveragePooling2D(size, stride, padding, **options)), samples=(1,))


@pytest.mark.parametrize("padding", ["valid", "same", ((1, 0), (0, 1)), ((1, 1), (1, 1))])
def test_max_pools_that_round_up(padding):
    for size, stride in itertools.product((2, 3), (1, 2, 3)):
        expect_export(network(layers.MaxPooling2D(size, stride, padding, ceil_mode=True)), samples=(1,))


@pytest.mark.parametrize("kind", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("padding", [((2, 0), (0, 0)), ((0, 5), (0, 0))])
def test_windows_in_the_padding_are_refused(kind, padding):
    with pytest.raises(ValueError, match=r"layer 'it'.*a window lies in the padding altogether"):
        to_bytes(network(kind(2, 1, padding, name="it")))


@pytest.mark.parametrize("kind", ["AdaptiveAveragePooling", "AdaptiveMaxPooling"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pools(kind, rank):
    shape = (6, 4, 8, 2)[3 - rank :]
    cls = getattr(layers, f"{kind}{rank}D")
    contents = expect_export(network(cls((3, 2, 4)[3 - rank :]), shape=shape))
    assert kinds(contents)[1:-1] == ["AveragePool" if "Average" in kind else "MaxPool"]
    for sizes in ((4, 3, 5), (7, 4, 1), (1, 1, 3), (5, 9, 9)):
        expect_export(network(cls(sizes[3 - rank :]), shape=shape))


@pytest.mark.parametrize("kind", ["GlobalAveragePooling", "GlobalMaxPooling"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("opset", opsets(13, 17, 18, 21))
def test_global_pools(kind, keepdims, opset):
    pool = getattr(layers, f"{kind}2D")
    for layout in layouts():
        more = [layers.Dense(4)] if keepdims else [layers.Dense(4), layers.Softmax()]
        expect_export(network(conv(), pool(keepdims=keepdims), *more), opset, layout)
        expect_export(network(pool(keepdims=keepdims)), opset, layout)


# Borders, sizes


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap", "symmetric"])
@pytest.mark.parametrize("pair", [(0, 0), (1, 2), (3, 0), (0, 4), (5, 13)])
def test_borders(mode, pair):
    for shape in ((4, 2), (1, 2), (6, 2)):
        contents = expect_export(network(layers.Padding1D([pair], mode=mode), shape=shape))
        assert "Transpose" not in kinds(contents)
        options = {"padding": [pair], "padding_mode": mode}
        expect_export(network(layers.Conv1D(2, 1, **options), shape=shape))
    two = [pair, (1, 1)]
    expect_export(network(layers.Padding2D(two, mode=mode)))


@pytest.mark.parametrize("size", [(2, 2), (3, 1), (1, 4), (2, 5)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("opset", opsets(13, 17, 18, 19, 21))
def test_up_sampling(size, interpolation, opset):
    for shape in ((5, 4, 2), (1, 3, 1)):
        expect_export(network(layers.UpSampling2D(size, interpolation), shape=shape), opset, samples=(1,))


@pytest.mark.parametrize("part", [{"height": 3, "width": 2}, {"height": 4, "width": 6}, {"height": 7}])
@pytest.mark.parametrize("layout", layouts())
def test_random_crops_take_the_middle(part, layout):
    contents = expect_export(network(layers.RandomCrop(**part), conv(padding="same")), layout=layout)
    assert kinds(contents).count("Slice") == (part != {"height": 7})


# Along axes


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("axis", [-1, 1, 2, 3])
@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("opset", opsets(13, 17))
def test_layers_with_an_axis(axis, front, layout, opset):
    own = {key: DRAWN[key] for key in ("beta_initializer", "gamma_initializer")}
    size = (7, 6, 3)[axis if axis < 0 else axis - 1]
    for make in (
        lambda: layers.Softmax(axis),
        lambda: layers.BatchNormalization(axis, **DRAWN),
        lambda: layers.LayerNormalization(axis, **own),
        lambda: layers.GroupNormalization(size if axis == 2 else -1, axis, **own),
        lambda: layers.Normalization(axis, mean=list(range(size)), variance=list(range(1, size + 1))),
    ):
        before = [conv(3, padding="same")] if front else []
        expect_export(network(*before, make()), opset, layout, samples=(2,))


@pytest.mark.parametrize("axes", [(1, 2), (1, 3), (2, 3), (1, 2, 3), (3, 1)])
@pytest.mark.parametrize("opset", opsets(13, 17))
def test_layers_with_several_axes(axes, opset):
    own = {key: DRAWN[key] for key in ("beta_initializer", "gamma_initializer")}
    count = int(np.prod([(7, 6, 3)[axis - 1] for axis in axes]))
    for layout in layouts():
        for make in (
            lambda: layers.LayerNormalization(axes, **own),
            lambda: layers.LayerNormalization(axes, center=False, scale=False),
            lambda: layers.PReLU("random_normal", axes),
            lambda: layers.Normalization(axes, mean=list(range(count)), variance=[2.0] * count),
        ):
            expect_export(network(conv(3, padding="same"), make()), opset, layout, samples=(2,))


def test_layer_normalization_over_a_grid_is_one_operator():
    model = network(conv(), layers.LayerNormalization((1, 2, 3), gamma_initializer="random_normal"))
    assert kinds(expect_export(model)) == ["Transpose", "Conv", "LayerNormalization", "Transpose"]


@pytest.mark.parametrize("groups", [1, 2, 4, -1])
@pytest.mark.parametrize("shape", [(5, 4, 4), (4,), (6, 4), (2, 3, 2, 4)])
@pytest.mark.parametrize("opset", opsets(17, 18, 21))
def test_group_normalization(groups, shape, opset):
    own = {key: DRAWN[key] for key in ("beta_initializer", "gamma_initializer")}
    expect_export(network(layers.GroupNormalization(groups, **own), shape=shape), opset)


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("dims", list(itertools.permutations((1, 2, 3))))
def test_permutations(dims, layout):
    expect_export(network(layers.Permute(dims)), layout=layout)
    expect_export(network(conv(2), layers.Permute(dims), conv(2, padding="same")), layout=layout)


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("target", [(3, 6, 7), (14, -1), (126,), (7, 3, 2, 3), (1, 1, 126)])
def test_reshapes_go_by_channels_last(target, layout):
    expect_export(network(layers.Reshape(target)), layout=layout)
    expect_export(network(conv(3, padding="same"), layers.Reshape(target), layers.Dense(2)), layout=layout)


# Values


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.ReLU(),
        lambda: layers.ReLU(0.5),
        lambda: layers.ReLU(0.0),
        lambda: layers.ReLU(None, 0.1),
        lambda: layers.ReLU(0.5, 0.1),
        lambda: layers.ReLU(None, 0.0, 0.3),
        lambda: layers.ReLU(0.5, 0.2, 0.3),
        lambda: layers.ReLU(0.1, 0.2, 0.3),
    ],
)
def test_relu(layer):
    model = network(layer(), shape=(9,))
    expect_export(model)
    x = np.array([[-2.0, -1e-3, 0.0, 1e-3, 0.1, 0.3, 0.5, 0.7, 9.0]], np.float32)
    pytest.importorskip("onnxruntime")
    (y,) = runtime(to_bytes(model))({"input": x})
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", gn.layers.activation.ACTIVATIONS)
@pytest.mark.parametrize("opset", opsets(13, 17, 18, 20, 21))
def test_activations_far_out(name, opset):
    pytest.importorskip("onnxruntime")
    model = network(layers.Activation(name), shape=(3,))
    x = np.array([[-30.0, -4.0, -1.0], [-0.1, 0.0, 0.2], [1.0, 5.0, 30.0], [0.0, 6.0, 80.0]], np.float32)
    (y,) = runtime(to_bytes(model, opset_version=opset))({"input": x})
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=2e-5, atol=2e-6)


def test_normalization_of_large_numbers_keeps_their_digits():
    # As x * scale + shift it would have none left.
    layer = layers.Normalization(mean=[1e6, 0.0, 7.0], variance=[1.0, 1e-20, 0.0])
    model = network(layer, shape=(3,))
    x = np.array([[1e6 + 0.5, 3e-8, 9.0], [1e6 - 0.25, 0.0, 7.0]], np.float32)
    pytest.importorskip("onnxruntime")
    (y,) = runtime(to_bytes(model))({"input": x})
    np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-6)
    inverse = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0], invert=True)
    expect_export(network(inverse, shape=(2,)))


@pytest.mark.parametrize("merge", ["concat", "add", "multiply", "average", "maximum"])
@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("layout", layouts())
def test_merges(merge, branches, layout):
    ends = [[], [conv(3, padding="same")], [layers.Dense(3, "tanh")]][:branches]
    expect_export(network(layers.Parallel(ends, merge)), layout=layout)
    expect_export(
        network(conv(3), layers.Parallel([[], [layers.ReLU()], []][:branches], merge)), layout=layout
    )
    flat = [[], [layers.ReLU()], [layers.Dense(80)]][:branches]
    expect_export(
        network(conv(), layers.Flatten(), layers.Parallel(flat, merge), layers.Dense(3)), layout=layout
    )


@pytest.mark.skipif(not THOROUGH, reason="part of `make test-interchange`")
@pytest.mark.parametrize("seed", range(8))
def test_random_windows(seed):
    rng = np.random.default_rng(seed)

    def draw(*choices):
        return choices[rng.integers(len(choices))]

    for _ in range(60):
        rank = int(rng.integers(1, 4))
        kernel, strides, dilation = (tuple(map(int, rng.integers(1, n, rank))) for n in (5, 5, 4))
        pairs = [tuple(map(int, pair)) for pair in rng.integers(0, 4, (rank, 2))]
        window = {"strides": strides, "padding": draw("same", "valid", pairs)}
        mode = {"padding_mode": draw("zeros", "reflect", "edge", "wrap", "symmetric")}
        groups = {"filters": 4, "kernel_size": kernel, "dilation_rate": dilation, "groups": draw(1, 2)}
        kind, options = draw(
            ("Conv{}D", {**groups, **window, **mode}),
            ("Conv{}DTranspose", {**groups, **window}),
            ("MaxPooling{}D", {"pool_size": kernel, **window, "ceil_mode": draw(True, False)}),
            (
                "AveragePooling{}D",
                {
                    "pool_size": kernel,
                    **window,
                    "ceil_mode": draw(True, False),
                    "count_include_pad": draw(True, False),
                },
            ),
        )
        shape = (*map(int, rng.integers(1, 9, rank)), 2)
        settings = {"layout": draw(*LAYOUTS), "compat": draw(None, "symmetric")}
        try:
            model = network(getattr(layers, kind.format(rank))(**options), shape=shape)
            to_bytes(model)
        except ValueError:  # nothing is left, or a window lies in the padding
            continue
        expect_export(model, draw(13, 17, 18, 21), **settings, samples=(1,))
