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
