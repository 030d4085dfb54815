"""The writer reads a model as a graph: several inputs and outputs, layers that are called twice."""

import contextlib

import numpy as np
import pytest
from onnx_checks import expect_close, installed, other_order, reference, runtime

import gridnn as gn
from gridnn import layers
from gridnn._graph import Graph, Node
from gridnn.interop.onnx.writer import to_bytes

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier


class Drawn:
    """As much of a model as the writer needs, with a graph drawn by hand."""

    name = "drawn"
    output_activation = "linear"
    network = None

    def __init__(self, graph):
        self.graph = graph
        self.input_names, self.output_names = (
            [graph.nodes[number].name for number in numbers] for numbers in (graph.inputs, graph.outputs)
        )

    def locked(self):
        return contextlib.nullcontext()


def node(number, kind, layer, inputs, shape, name="", merge=None):
    return Node(number, number, kind, name or layer.name, layer, inputs, shape, merge=merge)


def built(layer, shape):
    gn.Sequential([gn.Input(shape), layer], seed=len(shape))
    return layer


@pytest.fixture
def graph():
    """Two images through one convolution, what both see together, and how they differ."""
    left, right = layers.Input((6, 5, 2), name="left"), layers.Input((6, 5, 2), name="right")
    conv = built(layers.Conv2D(3, 3, activation="tanh", name="eyes"), (6, 5, 2))
    both = built(layers.Dense(2, name="both"), (72,))
    flat = layers.Flatten(name="flat")
    nodes = (
        node(0, "input", left, (), (6, 5, 2)),
        node(1, "input", right, (), (6, 5, 2)),
        node(2, "layer", conv, (0,), (4, 3, 3)),
        node(3, "layer", conv, (1,), (4, 3, 3)),
        node(4, "merge", None, (2, 3), (4, 3, 6), "together", merge="concat"),
        node(5, "layer", flat, (4,), (72,)),
        node(6, "layer", both, (5,), (2,)),
        node(7, "merge", None, (2, 3), (4, 3, 3), "apart", merge="subtract"),
    )
    named = [n if n.layer is not None else _with_layer(n) for n in nodes]
    return Graph(tuple(named), (0, 1), (6, 7, 2, 7)), conv, both


def _with_layer(n):
    layer = layers.Parallel([[]], name=n.name)
    return Node(n.number, n.position, n.kind, n.name, layer, n.inputs, n.output_shape, merge=n.merge)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_several_inputs_and_outputs(graph, layout):
    drawn, conv, both = graph
    contents = to_bytes(Drawn(drawn), layout=layout)
    onnx.checker.check_model(contents, full_check=True)
    message = onnx.load_from_string(contents)
    assert [value.name for value in message.graph.input] == ["left", "right"]
    assert [value.name for value in message.graph.output] == ["both", "apart", "eyes", "apart_1"]
    # The weights of a layer that is called twice are there once.
    assert [c.name for c in message.graph.initializer if "eyes" in c.name] == ["eyes/kernel", "eyes/bias"]
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 6, 5, 2)).astype(np.float32) for _ in range(2))
    seen = conv(a), conv(b)
    together = both(np.concatenate(seen, axis=-1).reshape(2, -1))
    expected = [together, seen[0] - seen[1], seen[0], seen[0] - seen[1]]
    run = (runtime if installed("onnxruntime") else reference)(contents)
    found = run({"left": other_order(a, layout), "right": other_order(b, layout)})
    for y, theirs in zip(expected, found, strict=True):
        expect_close(theirs, other_order(y, layout) if y.ndim > 2 else y)


def test_what_needs_one_output(graph):
    with pytest.raises(ValueError, match="`activation` is for models of one output"):
        to_bytes(Drawn(graph[0]), activation="softmax")
    with pytest.raises(ValueError, match="`class_names` must name"):
        to_bytes(Drawn(graph[0]), class_names=["a", "b"])


def agree(model, layout="channels_last", **options):
    """The file of a model computes what the model does; returns names of its inputs and outputs."""
    contents = to_bytes(model, layout=layout, **options)
    onnx.checker.check_model(contents, full_check=True)
    graph = onnx.load_from_string(contents).graph
    rng = np.random.default_rng(1)
    xs = [
        rng.normal(size=(3, *(4 if size is None else size for size in tensor.shape[1:]))).astype(np.float32)
        for tensor in model.inputs
    ]
    expected = model.predict(xs if len(xs) > 1 else xs[0], verbose=0)
    expected = list(expected.values()) if isinstance(expected, dict) else expected
    expected = expected if isinstance(expected, list) else [expected]
    run = (runtime if installed("onnxruntime") else reference)(contents)
    names = [value.name for value in graph.input], [value.name for value in graph.output]
    found = run({name: other_order(x, layout) for name, x in zip(names[0], xs, strict=True)})
    for y, theirs in zip(expected, found, strict=True):
        expect_close(theirs, other_order(y, layout) if y.ndim > 2 else y)
    return names


def two_sided(form=list):
    image, age = gn.Input((6, 5, 2), name="image"), gn.Input((3,), name="age")
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(image))
    both = layers.concatenate([x, layers.Dense(4)(age)])
    kind, risk = layers.Dense(2, name="kind")(both), layers.Dense(1, activation="sigmoid", name="risk")(both)
    if form is dict:
        return gn.Model({"picture": image, "years": age}, {"class": kind, "years": risk})
    return gn.Model([image, age], [kind, risk])


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_models_with_several_inputs_and_outputs_are_exported(layout, tmp_path):
    assert agree(two_sided(), layout) == (["image", "age"], ["kind", "risk"])
    assert agree(two_sided(dict), layout) == (["picture", "years"], ["class", "years_1"])
    two_sided().export(tmp_path / "m.onnx", layout=layout)
    assert (tmp_path / "m.onnx").stat().st_size


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_models_within_models_and_layers_called_twice(layout):
    image = gn.Input((6, 5, 2))
    eyes = gn.Model(image, layers.Conv2D(3, 3, activation="tanh")(image), name="eyes")
    left, right = gn.Input((6, 5, 2), name="left"), gn.Input((6, 5, 2), name="right")
    apart = layers.subtract([eyes(left), eyes(right)])
    scaled = layers.multiply([apart, layers.Conv2D(1, 1)(apart)])
    rows = layers.concatenate([eyes(left), apart], axis=1)
    least = layers.minimum([apart, scaled, eyes(right)])
    alone = layers.Add(name="alone")([rows])
    outputs = [layers.average([apart, scaled]), rows, least, eyes(left), alone]
    _, names = agree(gn.Model([left, right], outputs), layout)
    assert names[1:4] == ["concatenate", "minimum", "eyes"]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ((5,), (5,), 1),
        ((5, 3), (7, 3), 2),
        ((5, 3), (5, 2), 1),
        ((5, 3), (3, 2), (2, 1)),
        ((4, 5, 3), (2, 5), (2, -1)),
        ((4, 5, 3), (3, 2, 5), (-2, 3)),
        ((5,), (4, 5), (1, 2)),
        ((None, 3), (7, 3), 2),
    ],
)
def test_dot(first, second, axes, opset, normalize):
    a, b = gn.Input(first, name="a"), gn.Input(second, name="b")
    agree(gn.Model([a, b], layers.Dot(axes, normalize)([a, b])), opset_version=opset)


def test_dot_of_vectors_that_were_grids():
    a, b = gn.Input((6, 5, 2), name="a"), gn.Input((48,), name="b")
    x = layers.Flatten()(layers.Conv2D(4, 3)(a))
    agree(gn.Model([a, b], layers.Dot(1)([x, b])))
