"""`gridnn.Model`: symbolic calls, merging layers, several inputs and outputs, shared weights, files."""

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 8, 8, 1)).astype(np.float32)
AGES = RNG.normal(size=(24, 2)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 24)
VALUES = RNG.normal(size=(24, 1)).astype(np.float32)


def two_sided(**arguments):
    image, age = gn.Input((8, 8, 1), name="image"), gn.Input((2,), name="age")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(x)
    y = layers.Dense(4, activation="tanh")(age)
    both = layers.concatenate([x, y])
    kind = layers.Dense(3, name="kind")(both)
    size = layers.Dense(1, name="size")(both)
    return gn.Model([image, age], [kind, size], seed=1, **arguments)


def compiled(model, **arguments):
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile("adam", losses, metrics={"kind": ["accuracy"]}, **arguments)
    return model


def test_a_chain_is_the_same_as_a_sequential():
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    sequential = gn.Sequential([gn.Input((8, 8, 1)), *copy.deepcopy(stack)], seed=3)
    x = inputs = gn.Input((8, 8, 1))
    for layer in stack:
        x = layer(x)
    assert (x.shape, x.dtype, x.name) == ((None, 3), "float32", "dense")
    model = gn.Model(inputs, x, seed=3)
    assert [layer.name for layer in model.layers] == ["input", "conv2d", "flatten", "dense"]
    for one in (sequential, model):
        one.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    histories = [one.fit(IMAGES, CLASSES, epochs=2, verbose=0, seed=5).history for one in (sequential, model)]
    assert histories[0] == histories[1]
    assert model.predict(IMAGES).tobytes() == sequential.predict(IMAGES).tobytes()
    assert isinstance(sequential, gn.Model)


def test_several_inputs_and_outputs():
    model = compiled(two_sided(), loss_weights=[1.0, 0.5])
    assert (model.input_names, model.output_names) == (["image", "age"], ["kind", "size"])
    assert (model.input_shape, model.output_shape) == ([(None, 8, 8, 1), (None, 2)], [(None, 3), (None, 1)])
    history = model.fit([IMAGES, AGES], [CLASSES, VALUES], epochs=2, verbose=0, seed=1, validation_split=0.25)
    names = ["loss", "kind_loss", "size_loss", "kind_accuracy"]
    assert list(history.history) == [*names, *(f"val_{name}" for name in names)]
    logs = model.evaluate({"age": AGES, "image": IMAGES}, {"size": VALUES, "kind": CLASSES}, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["kind_loss"] + 0.5 * logs["size_loss"])
    kind, size = model.predict([IMAGES, AGES])
    assert (kind.shape, size.shape) == ((24, 3), (24, 1))
    assert logs["size_loss"] == pytest.approx(np.mean((size - VALUES) ** 2), rel=1e-5)
    assert logs["kind_accuracy"] == pytest.approx(np.mean(kind.argmax(-1) == CLASSES))
    assert [part.tobytes() for part in model([IMAGES, AGES])] == [kind.tobytes(), size.tobytes()]
    batches = [(([IMAGES[:8], AGES[:8]]), (CLASSES[:8], VALUES[:8]))] * 2
    model.fit(batches, verbose=0)
    model.fit((batch for batch in batches), verbose=0)
    assert model.predict(iter([[IMAGES[:8], AGES[:8]]]))[1].shape == (8, 1)
    values = model.train_on_batch([IMAGES, AGES], [CLASSES, VALUES])
    assert len(values) == len(model.metrics_names) == 4


def test_weights_of_samples_are_those_of_an_output():
    model = compiled(two_sided(), weighted_metrics={"size": ["mae"]})
    weights = np.arange(24.0)
    data = [IMAGES, AGES], [CLASSES, VALUES]
    plain = model.evaluate(*data, return_dict=True)
    own = model.evaluate(*data, sample_weight={"size": weights}, return_dict=True)
    size = model.predict(data[0])[1]
    assert own["kind_loss"] == plain["kind_loss"]
    assert own["size_loss"] == pytest.approx(np.mean(weights[:, None] * (size - VALUES) ** 2), rel=1e-5)
    errors = np.abs(size - VALUES)[:, 0]
    assert own["size_mae"] == pytest.approx(np.average(errors, weights=weights), rel=1e-5)
    assert plain["size_mae"] == pytest.approx(errors.mean(), rel=1e-5)


def test_outputs_without_a_loss_and_dicts():
    source = gn.Input((2,))
    x = layers.Dense(3, activation="relu", name="hidden")(source)
    model = gn.Model({"data": source}, {"hidden": x, "out": layers.Dense(1)(x)})
    model.compile("sgd", {"out": "mse"})
    history = model.fit({"data": AGES}, {"out": VALUES}, verbose=0)
    assert list(history.history) == ["loss"]
    found = model.predict({"data": AGES})
    assert {name: part.shape for name, part in found.items()} == {"hidden": (24, 3), "out": (24, 1)}


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Add(), lambda a, b: a + b),
        (layers.Subtract(), lambda a, b: a - b),
        (layers.Multiply(), lambda a, b: a * b),
        (layers.Average(), lambda a, b: (a + b) / 2),
        (layers.Maximum(), np.maximum),
        (layers.Minimum(), np.minimum),
        (layers.Concatenate(), lambda a, b: np.concatenate([a, b], -1)),
        (layers.Concatenate(axis=1), lambda a, b: np.concatenate([a, b], 1)),
        (layers.Dot(2), lambda a, b: np.einsum("nic,njc->nij", a, b)),
        (layers.Dot((1, 2)), lambda a, b: np.einsum("nic,nji->ncj", a, b[:, :, [0, 1, 2, 2]][..., :4])),
    ],
)
def test_merging_layers(layer, expected):
    shapes = (
        ((4, 3), (4, 3)) if not isinstance(layer, layers.Dot) or layer.axes == (2, 2) else ((4, 3), (5, 4))
    )
    a, b = (RNG.normal(size=(2, *shape)) for shape in shapes)
    if isinstance(layer, layers.Dot) and layer.axes == (1, 2):
        wanted = np.einsum("nic,nji->ncj", a, b)
    else:
        wanted = expected(a, b)
    np.testing.assert_allclose(layer([a, b]), wanted, rtol=1e-12, atol=1e-12)
    inputs = [gn.Input(shape) for shape in shapes]
    again = type(layer).from_config(layer.get_config())
    model = gn.Model(inputs, again(inputs), dtype="float64")
    assert model.output_shape == (None, *wanted.shape[1:])
    np.testing.assert_allclose(model.predict([a, b]), wanted, rtol=1e-12, atol=1e-12)


def test_axes_are_stretched():
    a, b = RNG.normal(size=(2, 4, 5, 3)), RNG.normal(size=(2, 1, 1, 3))
    np.testing.assert_allclose(layers.multiply([a, b]), a * b)
    np.testing.assert_allclose(layers.add([a, b[:, 0, 0]]), a + b)
    cosine = layers.dot([a[:, :, 0], a[:, :, 1]], axes=-1, normalize=True)
    unit = [part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (a[:, :, 0], a[:, :, 1])]
    np.testing.assert_allclose(cosine, np.einsum("nic,njc->nij", *unit))


def test_shared_layers_have_one_set_of_weights():
    left, right = gn.Input((2,)), gn.Input((2,))
    dense = layers.Dense(3, activation="tanh", name="shared")
    model = gn.Model([left, right], layers.subtract([dense(left), dense(right)]), seed=1)
    assert len(model.get_weights()) == 2
    model.compile("sgd", "mse")
    model.fit([AGES, AGES[::-1]], np.ones((24, 3)), verbose=0, epochs=2)
    alone = gn.Model(left, dense(left))
    difference = alone.predict(AGES) - alone.predict(AGES[::-1])
    np.testing.assert_allclose(model.predict([AGES, AGES[::-1]]), difference, atol=1e-6)
    assert len([node for node in model.graph.nodes if node.layer is dense]) == 2


def test_models_share_the_weights_of_their_layers():
    model = gn.Sequential(
        [gn.Input((8, 8, 1)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(3)]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    features = gn.Model(model.inputs, model.get_layer("conv").output)
    before = features.predict(IMAGES)
    model.fit(IMAGES, CLASSES, verbose=0)
    after = features.predict(IMAGES)
    assert (before != after).any()
    np.testing.assert_array_equal(after, gn.inspect.activations(model, IMAGES)["conv"])
    # And the other way.
    model.get_layer("conv").kernel = np.zeros((3, 3, 1, 4))
    assert (features.get_weights()[0] == 0).all()
    assert (model.get_weights()[0] == 0).all()
    features.set_weights([np.ones((3, 3, 1, 4)), np.zeros(4)])
    assert (model.get_layer("conv").kernel == 1).all()


def test_models_are_called_like_layers():
    base = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="base")
    base.trainable = False
    inputs = gn.Input((8, 8, 1))
    x = base(inputs, training=False)
    x = layers.GlobalAveragePooling2D()(x)
    model = gn.Model(inputs, layers.Dense(3)(x))
    assert model.get_layer("base") is base
    assert model.layers[1] is base
    model.compile("adam", "sparse_categorical_crossentropy")
    frozen = base.get_weights()
    model.fit(IMAGES, CLASSES, verbose=0)
    assert all((a == b).all() for a, b in zip(frozen, base.get_weights(), strict=True))
    base.trainable = True
    model.fit(IMAGES, CLASSES, verbose=0)
    now = base.get_weights()
    # The call acts as at inference for ever: moving statistics stay, kernels move.
    assert (now[0] != frozen[0]).any()
    assert (now[4] == frozen[4]).all()
    twice = gn.Model(inputs, layers.add([base(inputs), base(layers.Rescaling(2.0)(inputs))]))
    assert len(twice.get_weights()) == 6
    np.testing.assert_allclose(
        twice.predict(IMAGES), base.predict(IMAGES) + base.predict(2 * IMAGES), atol=1e-5
    )


@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
def test_files_and_copies(way, tmp_path):
    model = compiled(two_sided())
    data = [IMAGES, AGES], [CLASSES, VALUES]
    model.fit(*data, epochs=2, verbose=0, seed=1)
    if way == "file":
        model.save(tmp_path / "model.gridnn")
        again = gn.load_model(tmp_path / "model.gridnn")
        again.save(tmp_path / "again.gridnn")
        assert (tmp_path / "model.gridnn").read_bytes() == (tmp_path / "again.gridnn").read_bytes()
    else:
        again = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    expected, found = model.predict(data[0]), again.predict(data[0])
    assert [a.tobytes() for a in expected] == [a.tobytes() for a in found]
    histories = [one.fit(*data, epochs=4, initial_epoch=2, verbose=0).history for one in (model, again)]
    assert histories[0] == histories[1]


def test_files_of_nested_and_shared_models(tmp_path):
    base = gn.Sequential([gn.Input((2,)), layers.Dense(3, activation="tanh")], name="base")
    left, right = gn.Input((2,), name="left"), gn.Input((2,), name="right")
    model = gn.Model([left, right], layers.subtract([base(left), base(right, training=False)]))
    model.save(tmp_path / "model.gridnn")
    again = gn.load_model(tmp_path / "model.gridnn")
    assert len(again.get_weights()) == 2
    assert again.predict([AGES, AGES[::-1]]).tobytes() == model.predict([AGES, AGES[::-1]]).tobytes()
    assert again.get_layer("base").predict(AGES).tobytes() == base.predict(AGES).tobytes()


def test_instruments_take_graphs():
    model = compiled(two_sided())
    text = []
    model.summary(print_fn=text.append)
    assert "conv (Conv2D)" in text[0]
    assert "concatenate (Concatenate)" in text[0]
    assert model.count_params() == sum(w.size for w in model.get_weights())
    assert model.memory(32) > 0
    source = gn.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", name="a")(source)
    x = layers.add([x, layers.Conv2D(4, 5, padding="same", name="b")(x)])
    single = gn.Model(source, layers.GlobalAveragePooling2D()(x))
    fields = {field.name: field.size for field in gn.inspect.receptive_field(single)}
    assert (fields["a"], fields["add"]) == ((3, 3), (7, 7))
    assert set(gn.inspect.activations(single, IMAGES)) == {"a", "b", "add", "global_average_pooling2d"}


def test_clones_and_diagrams():
    model = two_sided()
    twin = gn.models.clone_model(model)
    assert [w.shape for w in twin.get_weights()] == [w.shape for w in model.get_weights()]
    assert (twin.get_weights()[0] != model.get_weights()[0]).any()
    assert set(gn.inspect.activations(model, [IMAGES, AGES])) == {n.name for n in model.graph.nodes[2:]}
    pytest.importorskip("matplotlib")
    gn.plot.diagram(model)


def refused(make, *parts):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_bad_graphs():
    a, b = gn.Input((2,), name="a"), gn.Input((3,), name="b")
    x = layers.Dense(2)(a)
    refused(lambda: gn.Model(b, x), "'a'", "not among the inputs", "'b'")
    refused(lambda: gn.Model([a, b], x), "'b'", "leads to none of the outputs")
    refused(lambda: gn.Model([a, a], x), "twice")
    refused(lambda: gn.Model(a, layers.Dense(2, name="a")(x)), "two layers are called 'a'")
    refused(lambda: gn.Model(a, AGES), "symbolic tensors")
    refused(lambda: layers.Add()([a, b]), "add", "(batch, 2)", "(batch, 3)")
    refused(lambda: layers.Dense(2)([a, b]), "takes one tensor", "2")
    refused(lambda: layers.Add()(a), "takes a list")
    refused(lambda: layers.Conv2D(2, 3)(a), "conv2d")
    refused(lambda: gn.Sequential([gn.Input((2,)), layers.Add()]), "call it in a gn.Model")
    dense = layers.Dense(2)
    gn.Model([a, b], layers.add([dense(a), layers.Dense(2)(b)]))
    refused(lambda: gn.Model([a, b], layers.add([dense(a), dense(b)])), "share weights")
    refused(lambda: gn.Sequential([dense, dense]), "already belongs to this model")
    with pytest.raises(TypeError, match="no values"):
        np.asarray(x)


def test_bad_data():
    model = compiled(two_sided())
    good = [IMAGES, AGES], [CLASSES, VALUES]
    refused(lambda: model.predict(IMAGES), "list of 2 arrays", "'image', 'age'", "(24, 8, 8, 1)")
    refused(lambda: model.predict({"image": IMAGES, "weight": AGES}), "'weight'", "no input")
    refused(lambda: model.predict({"image": IMAGES}), "no entry for input 'age'")
    refused(lambda: model.predict([IMAGES, AGES[:5]]), "same number of samples")
    refused(lambda: model.predict([AGES, IMAGES]), "x['image']", "(batch, 8, 8, 1)")
    refused(lambda: model.fit(good[0], [CLASSES]), "list of 2 arrays", "output")
    refused(lambda: model.fit(good[0], {"kind": CLASSES}), "y['size']", "missing")
    refused(lambda: model.fit(*good, class_weight={0: 1.0}), "`class_weight`", "by their names")
    refused(lambda: model.compile("sgd", {"other": "mse"}), "'other'", "no output")
    refused(lambda: model.compile("sgd", ["mse"]), "2 outputs", "list of 1")
    refused(lambda: model.compile("sgd", "mse", loss_weights=[1.0]), "loss_weights")
    assert len(model.predict(good[0])) == 2


def test_layers_of_other_types_are_not_shared():
    a = gn.Input((2,))
    x = layers.Dense(2)(a)
    gn.Model(a, x)
    with pytest.raises(ValueError, match="compute in one type"):
        gn.Model(a, x, dtype="float64")
    with pytest.raises(ShapeError):
        layers.Dense(2)(gn.Input((None,)))


def test_the_page_runs(capsys):
    page = (Path(__file__).parents[2] / "docs" / "graph-models.md").read_text("utf-8")
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(compile("\n".join(cells), "graph-models.md", "exec"), names)  # noqa: S102 - our own page
    assert names["head"].output_shape == (None, 3)
    assert "kind (Dense)" in capsys.readouterr().out
