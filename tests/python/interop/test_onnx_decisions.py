"""What an ONNX file of ours is like, decision by decision."""

import json

import numpy as np
import pytest
from onnx_checks import expect_close, expect_export, installed, reference, runtime
from test_contract import EXPORTED

import gridnn as gn
from gridnn import layers
from gridnn.interop.onnx import table, verification
from gridnn.interop.onnx.writer import IR_VERSIONS, to_bytes

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier


def network(*more, shape=(8, 8, 3), seed=1):
    return gn.Sequential([gn.Input(shape), *more], seed=seed)


def scores():
    return network(layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(5))


def read(model, **options):
    return onnx.load_from_string(to_bytes(model, **options))


def operators(message, kind=None):
    return [node for node in message.graph.node if kind in (None, node.op_type)]


def attributes(node):
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def metadata(message):
    return {entry.key: entry.value for entry in message.metadata_props}


def run(contents, x):
    return (runtime if installed("onnxruntime") else reference)(contents)({"input": x})[0]


def sizes_of(value):
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


# Outputs


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_an_activation_behind_scores(activation, layout):
    for model in (scores(), network(layers.Conv2D(4, 1))):
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
        y = model.predict(x, verbose=0)
        powers = np.exp(y)
        expected = powers / powers.sum(-1, keepdims=True) if activation == "softmax" else 1 / (1 + np.exp(-y))
        first = layout == "channels_first"
        contents = to_bytes(model, activation=activation, layout=layout)
        assert metadata(onnx.load_from_string(contents)) == {
            "layout": layout,
            "output_activation": activation,
        }
        found = run(contents, np.ascontiguousarray(np.moveaxis(x, -1, 1)) if first else x)
        expect_close(found, np.moveaxis(expected, -1, 1) if first and y.ndim > 2 else expected)


def test_the_activation_that_a_model_has_is_noted():
    assert metadata(read(scores())) == {"layout": "channels_last", "output_activation": "linear"}
    assert (
        metadata(read(network(layers.Flatten(), layers.Dense(2, "softmax"))))["output_activation"]
        == "softmax"
    )


def test_no_second_activation():
    with pytest.raises(ValueError, match="ends in softmax already: leave `activation` out"):
        to_bytes(network(layers.Flatten(), layers.Dense(2, "softmax")), activation="softmax")


def test_class_names():
    names = ["cat", "dog", "Fuß", "x", "y"]
    assert json.loads(metadata(read(scores(), class_names=names))["class_names"]) == names
    single = network(layers.Flatten(), layers.Dense(1))
    assert json.loads(metadata(read(single, class_names=["no", "yes"]))["class_names"]) == ["no", "yes"]
    with pytest.raises(ValueError, match=r"must name the 5 outputs.*Received 2 names"):
        to_bytes(scores(), class_names=["a", "b"])
    with pytest.raises(TypeError, match="`class_names` must be a list of names"):
        to_bytes(scores(), class_names="abcde")


def test_a_model_of_double_precision_is_written_in_single():
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3)], dtype="float64", seed=2)
    expect_export(model)


def test_weights_beyond_single_precision_are_refused():
    model = gn.Sequential([gn.Input((1,)), layers.Dense(1, use_bias=False, name="huge")], dtype="float64")
    model.set_weights([[[1e60]]])
    with pytest.raises(
        ValueError, match=r"layer 'huge'.*'kernel' holds numbers that are not finite as float32"
    ):
        to_bytes(model)


# Versions


@pytest.mark.parametrize("opset", IR_VERSIONS)
def test_versions_are_written_explicitly(opset):
    message = read(scores(), opset_version=opset)
    assert [(entry.domain, entry.version) for entry in message.opset_import] == [("", opset)]
    assert message.ir_version == IR_VERSIONS[opset]
    # What the operator set needs, and no more: runtimes refuse files that are newer than themselves.
    assert message.ir_version == onnx.helper.find_min_ir_version_for(message.opset_import)
    assert (message.producer_name, message.producer_version) == ("gridnn", gn.__version__)


def test_the_default_is_opset_17_of_ir_8():
    message = read(scores())
    assert (message.opset_import[0].version, message.ir_version) == (17, 8)


@pytest.mark.parametrize("opset", [12, 22, True, "17", 17.0, None])
def test_other_versions_are_refused(opset):
    with pytest.raises((ValueError, TypeError), match="opset_version"):
        to_bytes(scores(), opset_version=opset)


@pytest.mark.parametrize(
    "options", [{"layout": "NCHW"}, {"activation": "relu"}, {"batch": 0}, {"compat": "old"}, {"verify": 1}]
)
def test_arguments_are_checked(options, tmp_path):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=f"`{name}`"):
        scores().export(tmp_path / "net.onnx", **options)


# Sizes


def test_the_batch_is_called_n():
    graph = read(scores()).graph
    assert [value.name for value in (*graph.input, *graph.output)] == ["input", "output"]
    assert sizes_of(graph.input[0]) == ["N", 8, 8, 3]
    assert sizes_of(graph.output[0]) == ["N", 5]
    graph = read(scores(), batch=4).graph
    assert sizes_of(graph.input[0]) == [4, 8, 8, 3]
    assert sizes_of(graph.output[0]) == [4, 5]


def test_channels_first_outside():
    graph = read(network(layers.Conv2D(4, 3)), layout="channels_first").graph
    assert sizes_of(graph.input[0]) == ["N", 3, 8, 8]
    assert sizes_of(graph.output[0]) == ["N", 4, 6, 6]


def test_open_sizes_stay_open():
    model = network(layers.Conv2D(4, 3, padding="same"), layers.MaxPooling2D(2), shape=(None, None, 3))
    graph = read(model).graph
    assert sizes_of(graph.input[0]) == ["N", "input_axis_1", "input_axis_2", 3]
    assert sizes_of(graph.output[0]) == ["N", "output_axis_1", "output_axis_2", 4]
    contents = to_bytes(model)
    for shape in ((1, 6, 7, 3), (2, 11, 4, 3)):
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        expect_close(run(contents, x), model.predict(x, verbose=0))


@pytest.mark.parametrize("case", [case for case in EXPORTED if case.free and len(case.shape) > 1], ids=str)
def test_rows_of_open_sizes_are_right_or_refused(case):
    shape = (*[None] * (len(case.shape) - 1), case.shape[-1])
    model = gn.Sequential([gn.Input(shape), case.layer()], seed=1)
    try:
        contents = to_bytes(model)
    except ValueError as error:
        names = [layer.label for layer in model.graph.layers]
        assert any(name in str(error) for name in names)  # noqa: PT017
        assert "not known" in str(error)  # noqa: PT017
        return
    onnx.checker.check_model(contents, full_check=True)
    # Pad mirrors once: where it would have to twice, runtimes refuse the input.
    for more in (7, 8) if "reflect" in str(case) else (0, 1):
        x = np.random.default_rng(1).normal(size=(2, *(n + more for n in case.shape[:-1]), case.shape[-1]))
        x = x.astype(np.float32)
        expect_close(run(contents, x), model.predict(x, verbose=0))


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(2, 3, strides=2, padding="same", name="it"),
        layers.MaxPooling2D(3, strides=2, padding="same", name="it"),
        layers.MaxPooling2D(3, strides=2, ceil_mode=True, name="it"),
        layers.AveragePooling2D(3, 1, padding="same", name="it"),
        layers.AdaptiveMaxPooling2D(3, name="it"),
        layers.Padding2D(1, mode="symmetric", name="it"),
        layers.RandomCrop(2, 2, name="it"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_depend_on_open_sizes_are_named(layer):
    model = network(layers.ReLU(), layer, shape=(None, None, 3))
    with pytest.raises(
        ValueError, match=rf"layer 'it' \({type(layer).__name__}\) cannot be exported.*not known"
    ):
        to_bytes(model)


# Layout


def deep():
    block = [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    return network(
        layers.Rescaling(0.5),
        layers.Conv2D(4, 3, activation="silu"),
        layers.Residual(block),
        layers.MaxPooling2D(2),
        layers.Parallel([[layers.DepthwiseConv2D(3, padding="same")], []]),
        layers.UpSampling2D(2),
        layers.Conv2D(2, 1),
    )


def test_one_transpose_in_and_one_out():
    kinds = [node.op_type for node in operators(read(deep()))]
    assert kinds.count("Transpose") == 2
    # Elementwise work in front of the first convolution need not wait for it.
    assert kinds[:3] == ["Mul", "Transpose", "Conv"]
    assert kinds[-1] == "Transpose"


def test_no_transpose_with_channels_first():
    assert not operators(read(deep(), layout="channels_first"), "Transpose")


def test_a_reshape_where_there_is_one_channel():
    message = read(network(layers.Conv2D(1, 3), shape=(8, 8, 1)))
    assert [node.op_type for node in operators(message)] == ["Reshape", "Conv", "Reshape"]


def test_flatten_needs_no_transpose():
    message = read(network(layers.Conv2D(4, 3), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(3)))
    kinds = [node.op_type for node in operators(message)]
    assert kinds == ["Transpose", "Conv", "MaxPool", "Reshape", "Gemm"]


# Padding


def padded():
    return network(
        layers.Conv2D(4, 2, padding="same"),
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.DepthwiseConv2D(2, padding=((1, 0), (0, 1))),
        layers.MaxPooling2D(2, 1, padding="same"),
        layers.AveragePooling2D(2, 1, padding="same"),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same"),
        shape=(9, 8, 3),
    )


def test_pads_are_explicit():
    message = read(padded())
    for node in operators(message):
        assert "auto_pad" not in attributes(node)
        assert not attributes(node).get("ceil_mode")
        assert not attributes(node).get("count_include_pad")
        if node.op_type in ("Conv", "ConvTranspose", "MaxPool"):
            assert "pads" in attributes(node)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_symmetric_pads_for_those_who_read_no_others(layout):
    contents = expect_export(padded(), layout=layout, compat="symmetric")
    assert contents != to_bytes(padded(), layout=layout)
    for node in operators(onnx.load_from_string(contents)):
        pads = attributes(node).get("pads", [])
        assert pads[: len(pads) // 2] == pads[len(pads) // 2 :]


# What stays, what goes


def test_batch_normalization_stays_a_node():
    (node,) = operators(
        read(network(layers.Conv2D(4, 3), layers.BatchNormalization(momentum=0.9))), "BatchNormalization"
    )
    assert attributes(node)["epsilon"] == pytest.approx(1e-3)
    assert attributes(node)["momentum"] == pytest.approx(0.9)


def test_layers_of_training_are_gone():
    model = network(
        layers.RandomFlip(),
        layers.RandomNoise(0.1),
        layers.GaussianNoise(0.1),
        layers.Dropout(0.5),
        layers.SpatialDropout2D(0.5),
        layers.ActivityRegularization(0.1),
        layers.Conv2D(2, 3),
        layers.GaussianDropout(0.5),
    )
    assert [node.op_type for node in operators(read(model))] == ["Transpose", "Conv", "Transpose"]


def test_a_model_that_does_nothing():
    assert [node.op_type for node in operators(read(network(layers.Dropout(0.5))))] == ["Identity"]
    expect_export(network(layers.Dropout(0.5)))


def test_preprocessing_travels_along():
    model = network(
        layers.Rescaling(1 / 255, -0.5), layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3])
    )
    assert [node.op_type for node in operators(read(model))] == ["Mul", "Add", "Sub", "Div"]
    expect_export(model)


# Bytes and names


def test_the_same_model_is_the_same_file(tmp_path):
    deep().export(tmp_path / "a.onnx")
    deep().save(tmp_path / "net.gridnn")
    gn.load_model(tmp_path / "net.gridnn").export(tmp_path / "b.onnx", verify=False)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    again = network(*[type(layer).from_config(layer.get_config()) for layer in deep().layers], seed=2)
    assert to_bytes(again) != to_bytes(deep())


def test_names_are_those_of_the_layers():
    model = network(layers.Conv2D(4, 3, activation="relu", name="edges"), layers.Flatten(), layers.Dense(2))
    message = read(model)
    assert [node.name for node in operators(message)] == [
        "input/channels_first",
        "edges",
        "edges/relu",
        "flatten",
        "dense",
    ]
    assert {constant.name for constant in message.graph.initializer} == {
        "edges/kernel",
        "edges/bias",
        "flatten/shape",
        "dense/kernel",
        "dense/bias",
    }


def test_layers_with_names_of_the_graph():
    expect_export(
        network(
            layers.Conv2D(4, 3, name="output"),
            layers.ReLU(name="N"),
            layers.Conv2D(4, 3, name="größer als 2"),
            layers.ReLU(name="a" * 300),
        )
    )


# Checks


class Wrong:
    def __enter__(self):
        self.before = table.CONVERTERS[layers.LeakyReLU]
        table.CONVERTERS[layers.LeakyReLU] = lambda site: site.x

    def __exit__(self, *_):
        table.CONVERTERS[layers.LeakyReLU] = self.before


def test_a_difference_is_an_error_and_leaves_no_file(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    path.write_bytes(b"as before")
    with Wrong():
        with pytest.raises(RuntimeError, match=r"differ by .* of the largest output.*nothing was written"):
            network(layers.LeakyReLU()).export(path)
        assert path.read_bytes() == b"as before"
        network(layers.LeakyReLU()).export(path, verify=False)
    assert path.read_bytes() != b"as before"


def test_open_sizes_are_verified_with_a_size_that_fits(tmp_path):
    pytest.importorskip("onnxruntime")
    model = gn.models.unet((None, None, 1), width=2, depth=2)
    model.export(tmp_path / "net.onnx")
    with Wrong(), pytest.raises(RuntimeError, match="differ"):
        network(layers.LeakyReLU(), shape=(None, 3)).export(tmp_path / "net.onnx")
    assert verification.verify_outputs(model, to_bytes(model), "last", None) is None


def test_a_fixed_batch_is_verified(tmp_path):
    scores().export(tmp_path / "net.onnx", batch=3, activation="softmax", layout="channels_first")
