"""`from_onnx`: files of ours come back, those of others come in, and what cannot be read is named."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
from onnx_checks import LAYOUTS, SETTINGS, THOROUGH, expect_close, installed, reference, runtime
from test_contract import EXPORTED
from test_onnx_networks import NETWORKS, spread_statistics

import gridnn as gn
from gridnn import layers
from gridnn.errors import FileFormatError
from gridnn.interop.onnx.reading.steps import HANDLERS
from gridnn.interop.onnx.writer import to_bytes

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier

FILES = Path(__file__).parent / "onnx_files"


@pytest.fixture
def back(tmp_path):
    """Reads the contents of a file."""

    def read(contents, **options):
        path = tmp_path / "net.onnx"
        path.write_bytes(contents if isinstance(contents, bytes) else contents.SerializeToString())
        return gn.from_onnx(path, **options)

    return read


def sample(shape, count=2):
    sizes = [16 if size is None else size for size in shape]
    return np.random.default_rng(3).normal(size=(count, *sizes)).astype(np.float32)


# Files of ours


@pytest.mark.parametrize(("opset", "layout"), SETTINGS)
@pytest.mark.parametrize("case", EXPORTED, ids=str)
def test_rows_come_back(case, opset, layout, back):
    model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
    again = back(to_bytes(model, opset_version=opset, layout=layout))
    assert (again.input_shape, again.output_shape) == (model.input_shape, model.output_shape)
    x = sample(case.shape)
    expect_close(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize(("opset", "layout"), SETTINGS)
@pytest.mark.parametrize("name", [*NETWORKS, "googlenet", "open sizes"])
def test_networks_come_back(name, opset, layout, back):
    more = {
        "googlenet": lambda: gn.models.googlenet((32, 32, 3), 10),
        "open sizes": lambda: gn.models.unet((None, None, 1), width=2, depth=2),
    }
    model = {**NETWORKS, **more}[name]()
    spread_statistics(model)
    again = back(to_bytes(model, opset_version=opset, layout=layout))
    assert again.name == model.name
    assert again.count_params() == model.count_params()
    x = sample(model.input_shape[1:])
    expect_close(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_what_comes_back_trains_on(back):
    model = gn.models.resnet(20, (8, 8, 1), 3, width=2)
    again = back(to_bytes(model))
    again.compile("adam", "sparse_categorical_crossentropy")
    x, y = sample((8, 8, 1), 30), np.arange(30) % 3
    losses = again.fit(x, y, epochs=12, verbose=0, seed=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_names_come_back(back):
    model = gn.Sequential(
        [gn.Input((8, 8, 3)), layers.Conv2D(4, 3, name="edges"), layers.ReLU(name="bend"), layers.Flatten()],
        name="mine",
    )
    assert [layer.name for layer in back(to_bytes(model)).layers] == ["edges", "bend", "flatten"]


def test_names_of_classes_come_back(back):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=1)
    assert back(to_bytes(model, class_names=["cat", "dög"])).class_names == ["cat", "dög"]
    assert back(to_bytes(model)).class_names is None
    for wrong in ("[", "3", '["a"]', '["a", 2]', "[" * 100_000):
        message = onnx.load_from_string(to_bytes(model))
        message.metadata_props.add(key="class_names", value=wrong)
        assert back(message).class_names is None


# Files of PyTorch


@pytest.mark.parametrize("exporter", ["script", "dynamo"])
@pytest.mark.parametrize("name", sorted(path.stem for path in FILES.glob("*.npz")))
def test_files_of_pytorch(name, exporter):
    arrays = np.load(FILES / f"{name}.npz")
    x, y = arrays["x"], arrays["y"]
    model = gn.from_onnx(FILES / f"{name}-{exporter}.onnx")
    expected = np.moveaxis(y, 1, -1)
    np.testing.assert_allclose(
        model.predict(np.moveaxis(x, 1, -1), verbose=0), expected, atol=2e-6, rtol=1e-5
    )
    if x.ndim > 2:
        model = gn.from_onnx(FILES / f"{name}-{exporter}.onnx", layout="channels_first")
        assert model.input_shape[1:] == x.shape[1:]
        np.testing.assert_allclose(model.predict(x, verbose=0), y, atol=2e-6, rtol=1e-5)


def test_residual_networks_of_pytorch_have_their_layers():
    model = gn.from_onnx(FILES / "residual-dynamo.onnx")
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        "Residual",
        "ReLU",
        "Residual",
        "ReLU",
        "Residual",
        "ReLU",
        "GlobalAveragePooling2D",
        "Dense",
    ]


# Operators by the rules of their operator set


def file_of(nodes, shape, output=None, opset=17, constants=None):
    """A file of some operators, from `x` to `y`."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(*node[:3], name=f"n{number}", **node[3]) for number, node in enumerate(nodes)],
        "graph",
        [helper.make_tensor_value_info("x", kind, ["N", *shape])],
        [helper.make_tensor_value_info("y", kind, output)],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def op(kind, inputs="x", outputs="y", **attributes):
    return (kind, inputs.replace("-", "").split(" "), outputs.split(), attributes)


RNG = np.random.default_rng(0)
CONV = {"w": RNG.normal(size=(4, 3, 3, 3)).astype(np.float32), "b": RNG.normal(size=4).astype(np.float32)}
MATRIX = RNG.normal(size=(4, 5)).astype(np.float32)
SINGLE = {
    "Clip of two attributes": ([op("Clip", min=0.0, max=6.0)], (4,), 10, {}),
    "Clip of two inputs": ([op("Clip", "x l h")], (4,), 13, {"l": np.float32(0), "h": np.float32(0.5)}),
    "Clip of one input": ([op("Clip", "x l")], (4,), 13, {"l": np.float32(0)}),
    "Softmax without an axis": ([op("Softmax")], (4,), 9, {}),
    "Softmax over the last axis": ([op("Softmax")], (3, 4), 13, {}),
    "Softmax over channels": ([op("Conv", "x w b", "c"), op("Softmax", "c", axis=1)], (3, 5, 6), 13, CONV),
    "Dropout with its mask": ([op("Dropout", "x", "y mask", ratio=0.3)], (4,), 9, {}),
    "Pad of attributes": ([op("Conv", "x w b", "c"), op("Pad", "c", pads=[0, 0, 1, 2, 0, 0, 0, 1])],
                          (3, 5, 6), 10, CONV),
    "Pad that crops": ([op("Conv", "x w b", "c"), op("Pad", "c p")], (3, 5, 6), 13,
                       {**CONV, "p": np.array([0, 0, -1, 0, 0, 0, 0, -2])}),
    "Slice of attributes": ([op("Conv", "x w b", "c"), op("Slice", "c", axes=[2], starts=[1], ends=[-1])],
                            (3, 5, 6), 9, CONV),
    "Slice of inputs": ([op("Conv", "x w b", "c"), op("Slice", "c s e a")], (3, 5, 6), 13,
                        {**CONV, "s": np.array([1]), "e": np.array([4]), "a": np.array([3])}),
    "Upsample": ([op("Upsample", "x s", mode="nearest")], (3, 5, 6), 9, {"s": np.float32([1, 1, 2, 3])}),
    "Resize to sizes": ([op("Resize", "x - - n", mode="nearest", nearest_mode="floor",
                            coordinate_transformation_mode="asymmetric")], (3, 5, 6), 13,
                        {"n": np.array([2, 3, 10, 6])}),
    "Gemm": ([op("Gemm", "x w b", alpha=0.5, beta=2.0)], (4,), 13, {"w": MATRIX, "b": MATRIX[0]}),
    "Gemm transposed": ([op("Gemm", "x w", transB=1)], (4,), 13, {"w": MATRIX.T.copy()}),
    "MatMul and Add": ([op("MatMul", "x w", "m"), op("Add", "b m")], (4,), 13, {"w": MATRIX, "b": MATRIX[0]}),
    "MatMul of a grid": ([op("MatMul", "x w", "m"), op("Add", "m b")], (3, 4), 13,
                         {"w": MATRIX, "b": MATRIX[0]}),
    "Sigmoid times x": ([op("Sigmoid", "x", "s"), op("Mul", "s x")], (4,), 13, {}),
    "ReduceMean over space": ([op("Conv", "x w b", "c"), op("ReduceMean", "c", axes=[2, 3], keepdims=0)],
                              (3, 5, 6), 13, CONV),
    "ReduceMean of inputs": ([op("Conv", "x w b", "c"), op("ReduceMean", "c a")], (3, 5, 6), 18,
                             {**CONV, "a": np.array([-1, -2])}),
    "SAME_UPPER": ([op("Conv", "x w b", auto_pad="SAME_UPPER", strides=[2, 2])], (3, 5, 6), 13, CONV),
    "SAME_LOWER": ([op("Conv", "x w b", auto_pad="SAME_LOWER", strides=[2, 2])], (3, 5, 6), 13, CONV),
    "VALID": ([op("Conv", "x w b", auto_pad="VALID")], (3, 5, 6), 13, CONV),
    "Conv and Add": ([op("Conv", "x w", "c"), op("Add", "c b")], (3, 5, 6), 13,
                     {"w": CONV["w"], "b": CONV["b"].reshape(1, 4, 1, 1)}),
    "Conv and Mul": ([op("Conv", "x w b", "c"), op("Mul", "c b4")], (3, 5, 6), 13,
                     {**CONV, "b4": CONV["b"].reshape(4, 1, 1)}),
    "Flatten and Gemm": ([op("Conv", "x w b", "c"), op("Flatten", "c", "f"), op("Gemm", "f m")],
                         (3, 5, 6), 13,
                         {**CONV, "m": RNG.normal(size=(48, 2)).astype(np.float32)}),
    "transposes that cancel": ([op("Transpose", "x", "t", perm=[0, 2, 3, 1]), op("Relu", "t", "r"),
                                op("Transpose", "r", "c", perm=[0, 3, 1, 2]), op("Conv", "c w b")],
                               (3, 5, 6), 13, CONV),
    "constants that fold": ([op("Mul", "two two", "four"), op("Add", "four two", "six"), op("Mul", "x six")],
                            (4,), 13, {"two": np.float32(2)}),
    "Sum and Mean": ([op("Relu", "x", "r"), op("Sum", "x r x", "s"), op("Mean", "s x")], (4,), 13, {}),
    "x - c and c - x": ([op("Sub", "x c", "s"), op("Sub", "c s")], (4,), 13, {"c": np.float32(1.5)}),
    "x / c by channel": ([op("Div", "x c")], (4,), 13, {"c": np.float32([1, -2, 0.5, 4])}),
    "LayerNormalization": ([op("LayerNormalization", "x g b")], (3, 4), 17,
                           {"g": MATRIX[:, 0], "b": MATRIX[:, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_operators(name, back):
    nodes, shape, opset, constants = SINGLE[name]
    message = file_of(nodes, shape, opset=opset, constants=constants)
    x = sample(shape)
    engine = runtime if installed("onnxruntime") and name != "Resize to sizes" else reference
    (y,) = engine(message.SerializeToString())({"x": x})
    model = back(message, layout="channels_first") if len(shape) == 3 else back(message)
    expect_close(model.predict(x, verbose=0), y)


def test_a_flatten_spelled_out(back):
    nodes = [
        op("Conv", "x w b", "c"),
        op("Shape", "c", "s"),
        op("Gather", "s zero", "n", axis=0),
        op("Unsqueeze", "n axes", "u"),
        op("Concat", "u rest", "t", axis=0),
        op("Reshape", "c t", "f"),
        op("Gemm", "f m"),
    ]
    constants = {
        **CONV,
        "zero": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
        "m": RNG.normal(size=(48, 2)).astype(np.float32),
    }
    model = back(file_of(nodes, (3, 5, 6), opset=13, constants=constants))
    assert [type(layer).__name__ for layer in model.layers] == ["Conv2D", "Flatten", "Dense"]


def test_a_model_that_does_nothing(back):
    model = back(file_of([op("Identity")], (4,)))
    x = sample((4,))
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_layouts(back):
    contents = to_bytes(gn.Sequential([gn.Input((6, 5, 2)), layers.Conv2D(3, 2)], seed=1))
    assert back(contents).input_shape == (None, 6, 5, 2)
    turned = back(contents, layout="channels_first")
    assert turned.input_shape == (None, 2, 6, 5)
    assert turned.output_shape == (None, 3, 5, 4)
    x = sample((6, 5, 2))
    found = turned.predict(np.moveaxis(x, -1, 1), verbose=0)
    expect_close(np.moveaxis(found, 1, -1), back(contents).predict(x, verbose=0))
    with pytest.raises(ValueError, match="`layout`"):
        back(contents, layout="NCHW")


# What cannot be read


def test_all_that_cannot_be_read_is_in_one_error(back):
    nodes = [
        op("LSTM", "x w", "a"),
        op("Relu", "x", "r"),
        op("NonZero", "r", "b"),
        op("Add", "a b"),
        op("Einsum", "x x", "c"),
    ]
    with pytest.raises(ValueError, match="operators for which there are no layers") as caught:
        back(file_of(nodes, (4,), constants={"w": MATRIX}))
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "'n0' (LSTM)",
        "'n2' (NonZero)",
        "'n4' (Einsum)",
    ]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([op("Erf")], "there is no layer for it"),
        ([op("Softmax", axis=0)], "along the batch"),
        ([op("Transpose", perm=[1, 0])], "its perm"),
        ([op("Flatten", axis=0)], "its axis is 0"),
        ([op("Gemm", "x w", transA=1)], "it transposes samples"),
        ([op("MatMul", "x x")], "its matrix is not constant"),
        ([op("Reshape", "x two")], "it mixes samples"),
        ([op("Add", "x w")], "an operand of shape"),
        ([op("Cast", to=7)], "integers"),
    ],
)  # fmt: skip
def test_what_no_layer_does(nodes, reason, back):
    with pytest.raises(ValueError, match=reason):
        back(file_of(nodes, (4,), constants={"w": MATRIX, "two": np.array([2, -1, 3])}))


# Graphs that are no chain


def agrees(back, message, shapes, **options):
    """Reads a file as a gn.Model that computes what others do, and returns it."""
    contents = message if isinstance(message, bytes) else message.SerializeToString()
    model = back(contents, **options)
    xs = {name: sample(shape) for name, shape in shapes.items()}
    expected = (runtime if installed("onnxruntime") else reference)(contents)(xs)
    found = model.predict(list(xs.values()) if len(xs) > 1 else next(iter(xs.values())), verbose=0)
    found = found if isinstance(found, list) else [found]
    assert len(found) == len(expected)
    for y, theirs in zip(found, expected, strict=True):
        expect_close(y, theirs)
    assert type(model) is gn.Model
    return model


def with_inputs(message, **shapes):
    for name, shape in shapes.items():
        message.graph.input.append(onnx.helper.make_tensor_value_info(name, 1, ["N", *shape]))
    return message


def test_branches_that_no_sequential_has(back):
    nodes = [op("Relu", "x", "a"), op("Tanh", "a", "b"), op("Exp", "a", "c"), op("Add", "b c", "d"),
             op("Mul", "b d")]  # fmt: skip
    model = agrees(back, file_of(nodes, (4,)), {"x": (4,)})
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Input", "ReLU", "Activation", "Activation", "Add", "Multiply"]
    assert model.layers[0].name == "x"


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Min", "Max"])
def test_several_inputs(kind, back):
    model = agrees(back, with_inputs(file_of([op(kind, "x z")], (4,)), z=(4,)), {"x": (4,), "z": (4,)})
    assert model.input_names == ["x", "z"]
    wide = with_inputs(file_of([op(kind, "x z")], (4, 5, 3)), z=(4, 1, 1))
    model = agrees(back, wide, {"x": (4, 5, 3), "z": (4, 1, 1)})


def test_several_outputs(back):
    nodes = [op("Relu", "x", "a"), op("Tanh", "a"), op("Identity", "a", "again"), op("Identity", "x", "same")]
    message = file_of(nodes, (4,))
    for name in ("again", "same"):
        message.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, ["N", 4]))
    model = agrees(back, message, {"x": (4,)})
    assert model.output_names == ["y", "again", "same"]


def test_axes_and_products_of_tensors(back):
    nodes = [op("Concat", "x z", "c", axis=1), op("Transpose", "z", "t", perm=[0, 2, 1]), op("MatMul", "c t")]
    agrees(back, with_inputs(file_of(nodes, (3, 5)), z=(2, 5)), {"x": (3, 5), "z": (2, 5)})
    with pytest.raises(ValueError, match="it works along the batch"):
        back(file_of([op("Concat", "x x", axis=0)], (3, 5)))


def test_squeeze_and_excitation(back):
    nodes = [
        op("Conv", "x w b", "c"),
        op("GlobalAveragePool", "c", "g"),
        op("Sigmoid", "g", "s"),
        op("Mul", "c s"),
    ]
    contents = file_of(nodes, (3, 5, 6), constants=CONV)
    model = agrees(back, contents, {"x": (3, 5, 6)}, layout="channels_first")
    model.compile("sgd", "mse")
    assert np.isfinite(
        model.fit(sample((3, 5, 6)), sample(model.output_shape[1:]), verbose=0).history["loss"][0]
    )


def test_layers_called_twice_come_back_as_one(back):
    image = gn.Input((6, 5, 2))
    eye = gn.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3)(image))), name="eye")
    left, right = gn.Input((6, 5, 2), name="left"), gn.Input((6, 5, 2), name="right")
    seen = eye(left)
    model = gn.Model([left, right], [layers.subtract([seen, eye(right)]), layers.Dense(3)(seen)])
    again = back(to_bytes(model))
    assert again.count_params() == model.count_params()
    xs = [sample((6, 5, 2)), sample((6, 5, 2)) + 1]
    for y, theirs in zip(model.predict(xs, verbose=0), again.predict(xs, verbose=0), strict=True):
        expect_close(theirs, y)


def test_the_same_weights_in_layers_that_differ(back):
    nodes = [
        op("Conv", "x w b", "l"),
        op("Conv", "z w b", "r", pads=[1, 1, 1, 1]),
        op("GlobalMaxPool", "l", "m"),
        op("GlobalMaxPool", "r", "n"),
        op("Sub", "m n"),
    ]
    message = with_inputs(file_of(nodes, (3, 5, 6), constants=CONV), z=(3, 5, 6))
    model = agrees(back, message, {"x": (3, 5, 6), "z": (3, 5, 6)}, layout="channels_first")
    assert sum(isinstance(layer, layers.Conv2D) for layer in model.layers) == 2


def test_inputs_that_lead_nowhere(back):
    with pytest.raises(ValueError, match="input 'z' leads to none of the outputs"):
        back(with_inputs(file_of([op("Relu", "x")], (4,)), z=(4,)))
    message = file_of([op("Identity", "w")], (4,), constants={"w": MATRIX})
    with pytest.raises(ValueError, match="does not come from the input"):
        back(message)
    del message.graph.input[:]
    with pytest.raises(ValueError, match="has no inputs"):
        back(message)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_models_of_ours_come_back(layout, back):
    image, age = gn.Input((6, 5, 2), name="image"), gn.Input((3,), name="age")
    conv = layers.Conv2D(4, 3, activation="relu")(image)
    apart = layers.subtract([conv, layers.Conv2D(4, 1, name="look")(conv)])
    rows = layers.Reshape((6, 8))(layers.Flatten()(apart))
    both = layers.concatenate([layers.Flatten()(conv), layers.Dense(4)(age)])
    outputs = [layers.Dense(2, name="kind")(both), layers.dot([rows, rows], 2), layers.minimum([apart, conv])]
    model = gn.Model([image, age], outputs)
    again = back(to_bytes(model, layout=layout))
    assert (again.input_names, again.output_names) == (model.input_names, model.output_names)
    xs = [sample((6, 5, 2)), sample((3,))]
    for y, theirs in zip(model.predict(xs, verbose=0), again.predict(xs, verbose=0), strict=True):
        expect_close(theirs, y)
    again.compile("sgd", "mse")
    before = again.get_layer("look").kernel.copy()
    again.fit(xs, [np.zeros_like(y) for y in model.predict(xs, verbose=0)], verbose=0)
    assert not np.array_equal(before, again.get_layer("look").kernel)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ((5,), (5,), 1),
        ((5, 3), (7, 3), 2),
        ((5, 3), (3, 2), (2, 1)),
        ((4, 5, 3), (3, 2, 5), (-2, 3)),
        ((5,), (4, 5), (1, 2)),
        ((3, 3, 3), (3, 3), (1, 2)),
    ],
)
def test_dots_come_back(first, second, axes, opset, normalize, back):
    a, b = gn.Input(first, name="a"), gn.Input(second, name="b")
    model = gn.Model([a, b], layers.Dot(axes, normalize)([a, b]))
    again = back(to_bytes(model, opset_version=opset))
    assert sum(isinstance(layer, layers.Dot) for layer in again.layers) == 1
    xs = [sample(first), sample(second)]
    expect_close(again.predict(xs, verbose=0), model.predict(xs, verbose=0))


def test_norms_along_another_axis_are_refused(back):
    nodes = [
        op("ReduceL2", "x", "norm", axes=[2]),
        op("Div", "x norm", "unit"),
        op("Transpose", "unit", "turned", perm=[0, 2, 1]),
        op("MatMul", "turned unit", "y"),
    ]
    with pytest.raises(ValueError, match=r"\(Div\)"):
        back(file_of(nodes, (3, 3), opset=13))


def test_variances_below_zero_are_refused(back):
    numbers = {"g": MATRIX[0, :3], "b": MATRIX[0, :3], "m": MATRIX[0, :3], "v": np.float32([1, -2, 1])}
    message = file_of([op("BatchNormalization", "x g b m v")], (3, 4, 4), constants=numbers)
    with pytest.raises(ValueError, match=r"moving_variance of layer .* is -2"):
        back(message)
    numbers["v"] = np.float32([1, np.nan, 1])
    message = file_of([op("BatchNormalization", "x g b m v")], (3, 4, 4), constants=numbers)
    with pytest.warns(RuntimeWarning, match="moving_variance of layer .* holds NaN"):
        back(message)


# Hostile files


def tensor(name, **fields):
    return onnx.TensorProto(name=name, data_type=1, **fields)


def external(location, offset=0, length=16):
    entries = {"location": location, "offset": str(offset), "length": str(length)}
    return [onnx.StringStringEntryProto(key=key, value=value) for key, value in entries.items()]


def with_tensor(**fields):
    message = file_of([op("Add", "x w")], (4,))
    message.graph.initializer.append(tensor("w", **fields))
    return message


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dims": [2**40], "raw_data": b"\0" * 16}, "holds 16 bytes"),
        ({"dims": [2**62, 2**62], "raw_data": b""}, "holds 0 bytes"),
        ({"dims": [0, 2**40], "raw_data": b""}, "has no elements"),
        ({"dims": [-4], "raw_data": b"\0" * 16}, "cannot have the shape"),
        ({"dims": [1] * 40, "raw_data": b"\0" * 4}, "cannot have the shape"),
        ({"dims": [4], "float_data": [1.0]}, "has 1 elements instead of 4"),
        ({"dims": [4]}, "has 0 elements instead of 4"),
    ],
)
def test_tensors_that_are_not_what_they_say(fields, reason, back):
    with pytest.raises(FileFormatError, match=reason):
        back(with_tensor(**fields))


@pytest.mark.parametrize(
    "location", ["../secret", "{folder}/secret", "sub/../../secret", "link", "", ".", "none"]
)
def test_external_data_outside_the_folder(location, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    os.symlink(tmp_path / "secret", inner / "link")
    place = location.format(folder=tmp_path)
    message = with_tensor(dims=[4], data_location=1, external_data=external(place))
    (inner / "net.onnx").write_bytes(message.SerializeToString())
    with pytest.raises(FileFormatError, match=r"outside the folder|no file here"):
        gn.from_onnx(inner / "net.onnx")


@pytest.mark.parametrize(("offset", "length"), [(8, 16), (0, 8), (-4, 16), (2**70, 16), ("a", 16), (0, "b")])
def test_external_data_that_is_not_there(offset, length, tmp_path):
    (tmp_path / "data").write_bytes(b"\0" * 20)
    message = with_tensor(dims=[4], data_location=1, external_data=external("data", offset, length))
    (tmp_path / "net.onnx").write_bytes(message.SerializeToString())
    with pytest.raises(FileFormatError, match=r"not all in|invalid literal"):
        gn.from_onnx(tmp_path / "net.onnx")


def test_external_data_that_tensors_share(tmp_path):
    (tmp_path / "data").write_bytes(b"\0" * 2**16)
    message = file_of([op("Relu")], (4,))
    for number in range(64):
        fields = {"dims": [2**14], "data_location": 1, "external_data": external("data", 0, 2**16)}
        message.graph.initializer.append(tensor(f"w{number}", **fields))
    (tmp_path / "net.onnx").write_bytes(message.SerializeToString())
    with pytest.raises(FileFormatError, match="together they are larger"):
        gn.from_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([op("Relu", "z", "y"), op("Relu", "y", "z")], "reads 'z', which is not made before it"),
        ([op("Relu", "x", "y"), op("Relu", "x", "y")], "makes 'y', which is there already"),
    ],
)
def test_cycles_and_names_twice(nodes, reason, back):
    with pytest.raises(FileFormatError, match=reason):
        back(file_of(nodes, (4,)))


def test_absurd_shapes_take_no_memory(back):
    shape = {"s": np.array([2**40, 2**20]), "v": np.float32(1)}
    with pytest.raises(ValueError, match="a constant of shape"):
        back(file_of([op("ConstantOfShape", "s", "c"), op("Add", "x c")], (4,), constants=shape))
    for size in (2**40, 2**62):
        with pytest.raises(ValueError):
            back(file_of([op("BatchNormalization", "x v v v v")], (size,), constants={"v": MATRIX[0]}))


@pytest.mark.parametrize("opset", [8, 22, 2**40])
def test_operator_sets_that_are_not_known(opset, back):
    with pytest.raises(FileFormatError, match="9 to 21 can be read"):
        back(file_of([op("Relu")], (4,), opset=opset))


@pytest.mark.parametrize(
    "contents", [b"", b"\x08\x08", b"PK\x03\x04" + b"\0" * 64, b"\xff" * 100, b"\x3a\xff\xff\xff\x7f"]
)
def test_what_is_no_onnx_file(contents, back):
    with pytest.raises(FileFormatError, match="no ONNX file"):
        back(contents)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        gn.from_onnx(tmp_path / "none.onnx")


def mutated(rng, contents):
    """A file with some fields or bytes changed."""
    message = onnx.ModelProto()
    message.ParseFromString(contents)
    graph = message.graph
    numbers = (0, 1, 2, -1, 7, 65536, 2**31, 2**40, 2**62, -(2**63))
    for _ in range(rng.randint(1, 4)):
        node, kind = rng.choice(graph.node), rng.randrange(7)
        constant = rng.choice(graph.initializer) if graph.initializer else None
        if kind == 0 and constant is not None and constant.dims:
            constant.dims[rng.randrange(len(constant.dims))] = rng.choice(numbers)
        elif kind == 1 and node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.type == attribute.INT:
                attribute.i = rng.choice(numbers)
            elif attribute.type == attribute.INTS:
                attribute.ints[:] = [rng.choice(numbers) for _ in range(rng.randint(0, 6))]
            elif attribute.type == attribute.FLOAT:
                attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
        elif kind == 2:
            node.op_type = rng.choice([*sorted(HANDLERS), "Loop", "LSTM", "ConstantOfShape", "Range"])
        elif kind == 3 and node.input:
            made = [name for other in graph.node for name in other.output]
            names = [*made, *(constant.name for constant in graph.initializer), "", graph.input[0].name]
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        elif kind == 4 and graph.input[0].type.tensor_type.shape.dim:
            rng.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = rng.choice(numbers)
        elif kind == 5 and constant is not None:
            constant.data_type = rng.randrange(20)
        elif kind == 6 and node.attribute:
            node.attribute.remove(rng.choice(node.attribute))
    contents = bytearray(message.SerializeToString())
    for _ in range(rng.choice((0, 0, 1, 3))):
        contents[rng.randrange(len(contents))] = rng.randrange(256)
    return bytes(contents)


@pytest.mark.parametrize("seed", range(10 if THOROUGH else 1))
@pytest.mark.filterwarnings("ignore:.*holds NaN or infinite:RuntimeWarning")
def test_mutated_files_are_read_or_refused(seed, back):
    rng = random.Random(seed)
    seeds = [path.read_bytes() for path in sorted(FILES.glob("*.onnx"))]
    for number, case in enumerate(EXPORTED):
        model = gn.Sequential([gn.Input(case.shape), case.layer()], seed=1)
        seeds.append(to_bytes(model, opset_version=(13, 17, 21)[number % 3], layout=LAYOUTS[number % 2]))
    read = 0
    for _ in range(2000 if THOROUGH else 300):
        try:
            back(mutated(rng, rng.choice(seeds)))
            read += 1
        except (FileFormatError, ValueError):  # noqa: PERF203 (the latter for operators that were others)
            continue
    assert read > 20
