"""The graph that diagrams, tables, receptive fields and exporters read."""

import pytest

import gridnn as gn
from gridnn import layers
from gridnn._graph import graph_of

pytestmark = pytest.mark.one_tier


def nested():
    inner = gn.Sequential(
        [layers.Conv2D(4, 3, padding="same", name="c"), layers.ReLU(name="d")], name="inner"
    )
    block = layers.Residual([layers.BatchNormalization(name="b"), inner], name="block")
    sides = layers.Parallel([[layers.Conv2D(2, 1, name="left")], [block], []], name="sides")
    return [layers.Conv2D(4, 3, name="a"), sides, layers.Flatten(name="flat")]


def test_a_model_of_branches():
    model = gn.Sequential([gn.Input((6, 6, 1)), *nested()])
    graph = model.graph
    read = {node.name: [graph.nodes[number].name for number in node.inputs] for node in graph.nodes}
    assert list(read) == ["input", "a", "left", "b", "c", "d", "inner", "block", "sides", "flat"]
    assert read == {
        "input": [],
        "a": ["input"],
        "left": ["a"],
        "b": ["a"],
        "c": ["b"],
        "d": ["c"],
        "inner": ["d"],
        "block": ["inner", "a"],
        "sides": ["left", "block", "a"],
        "flat": ["sides"],
    }
    kinds = {node.name: node.kind for node in graph.nodes if node.kind != "layer"}
    assert kinds == {"input": "input", "inner": "alias", "block": "merge", "sides": "merge"}
    merges = {node.name: (node.merge, graph.nodes[node.fork].name) for node in graph.nodes if node.merge}
    assert merges == {"block": ("add", "a"), "sides": ("concat", "a")}
    assert [node.number for node in graph.nodes] == list(range(10))
    assert (graph.inputs, [graph.nodes[number].name for number in graph.outputs]) == ((0,), ["flat"])
    depths = {node.name: node.depth for node in graph.nodes if node.depth}
    assert depths == {"left": 1, "block": 1, "b": 2, "inner": 2, "c": 3, "d": 3}


def test_nodes_are_numbered_as_the_engine_does():
    model = gn.Sequential([gn.Input((6, 6, 1)), *nested()])
    graph, network = model.graph, model.network
    assert [node.position for node in graph.by_position] == list(range(len(network.output_shapes)))
    for node in graph.by_position:
        assert node.output_shape == network.output_shapes[node.position]
        assert node.macs == network.macs[node.position]
    names = {info.layer: graph.by_position[info.layer].name for info in network.weights}
    assert set(names.values()) == {"a", "left", "b", "c"}
    assert [layer.name for layer in graph.layers][:3] == ["a", "sides", "left"]
    sides = graph.node(model.get_layer("sides"))
    assert [node.name for node in graph.held(sides)] == ["sides", "left", "block", "b", "inner", "c", "d"]
    assert graph.input_shapes(sides) == ((4, 4, 2), (4, 4, 4), (4, 4, 4))
    assert sides.output_shape == (4, 4, 10)
    with pytest.raises(KeyError):
        graph.node(layers.Flatten())


def test_chains():
    graph = gn.Sequential([gn.Input((6, 6, 1)), *nested()]).graph
    (start,), (end,) = graph.inputs, graph.outputs
    assert [node.name for node in graph.chain(start, end)] == ["a", "sides", "flat"]
    sides = next(node for node in graph.nodes if node.name == "sides")
    branches = [[node.name for node in graph.chain(sides.fork, end)] for end in sides.inputs]
    assert branches == [["left"], ["block"], []]
    with pytest.raises(ValueError, match="does not come from 'left' alone"):
        graph.chain(sides.inputs[0], end)


def test_the_graph_follows_the_model():
    model = gn.Sequential([layers.Dense(3, name="first")])
    assert [(node.name, node.layer, node.output_shape) for node in model.graph.nodes] == [
        ("input", None, None),
        ("first", model.layers[0], None),
    ]
    model.build((None, 5))
    assert [node.output_shape for node in model.graph.nodes] == [(5,), (3,)]
    assert model.graph is model.graph
    model.add(layers.Dense(2, name="second"))
    assert [node.output_shape for node in model.graph.nodes] == [(5,), (3,), (2,)]
    model.pop()
    assert [node.name for node in model.graph.nodes] == ["input", "first"]
    model.pop()
    assert [node.name for node in model.graph.nodes] == ["input"]
    assert graph_of(None, [], None).outputs == (0,)
