"""Branches, nested at will: gradients of random graphs, bytes, names, copies, errors."""

import copy
import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import layers
from gridnn._core import fused_tiers
from gridnn.errors import NonFiniteError, ShapeError
from gridnn.layers.branches import MERGES, Chain

CHANNELS = 3


def random_layers(rng, depth, channels=CHANNELS):
    """A few layers from `channels` to `channels`, with branches in branches down to `depth`."""
    stack = []
    for _ in range(rng.integers(1, 4)):
        kind = rng.integers(0, 9 if depth else 6)
        activation = rng.choice(["tanh", "silu", "linear", "relu"])
        if kind == 0:
            stack += [layers.Conv1D(channels, 3, padding="same", activation=activation)]
        elif kind == 1:
            stack += [layers.Dense(channels, activation=activation)]
        elif kind == 2:
            stack += [layers.Conv1D(channels, 2, padding="causal"), layers.ReLU()]
        elif kind == 3:
            stack += [layers.MaxPooling1D(2, 1, padding="same")]
        elif kind == 4:
            stack += [layers.Activation(activation), layers.Dropout(0.0)]
        elif kind == 5:
            stack += [layers.BatchNormalization(epsilon=0.1)]
        elif kind == 6:
            shortcut = random_layers(rng, depth - 1) if rng.random() < 0.5 else None
            stack += [layers.Residual(random_layers(rng, depth - 1), shortcut)]
        elif kind == 7:
            branches = [random_layers(rng, depth - 1) for _ in range(rng.integers(1, 4))]
            branches += [[]] * rng.integers(0, 3)
            merge = str(rng.choice(MERGES))
            stack += [layers.Parallel(branches, merge)]
            if merge == "concat":
                stack += [layers.Conv1D(channels, 1)]
        else:
            stack += [Chain(random_layers(rng, depth - 1))]
    return stack


def random_model(seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    stack = [layers.Residual(random_layers(rng, 2))]
    head = random_layers(rng, 3)
    model = gn.Sequential([gn.Input((6, CHANNELS)), *head, *stack], dtype=dtype, seed=seed)
    # No weight is 0: an element that is exactly 0 would lie on the kink of a ReLU.
    model.set_weights([w + rng.uniform(0.05, 0.3, w.shape) for w in model.get_weights()])
    x = rng.normal(size=(11, 6, CHANNELS))
    return model, x, rng.normal(size=x.shape), rng


@pytest.mark.parametrize("seed", range(80))
def test_gradients_of_random_graphs(seed):
    model, x, y, rng = random_model(seed)
    model.compile(gn.optimizers.SGD(0.0), "mse")
    weights = model.get_weights()
    learned = [info.trainable for info in model.network.weights]
    model.train_on_batch(x, y)
    gradients = iter(model.network.get_gradients())
    whole = [next(gradients) if own else 0 * w for w, own in zip(weights, learned, strict=True)]
    for _ in range(3):
        way = [rng.normal(size=w.shape) * own for w, own in zip(weights, learned, strict=True)]
        losses = []
        for step in (1e-6, -1e-6):
            model.set_weights([w + step * d for w, d in zip(weights, way, strict=True)])
            losses.append(model.train_on_batch(x, y))
        slope = sum((g * d).sum() for g, d in zip(whole, way, strict=True))
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("seed", range(80, 120))
def test_values_of_random_graphs(seed):
    model, x, y, _ = random_model(seed)
    model.compile("adam", "mse")
    for _ in range(3):
        model.train_on_batch(x, y)
    expected = twins.forward(model, model.get_weights(), x)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-9, atol=1e-11)


def train(count, seed, samples=43):
    """Digest of weights and predictions after some steps of a random graph."""
    gn.set_num_threads(count)
    model, _, _, rng = random_model(seed, "float32")
    x = rng.normal(size=(samples, 6, CHANNELS)).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(x, x[:, ::-1], batch_size=19, epochs=2, seed=1, verbose=0)
    parts = [*model.get_weights(), model.predict(x, verbose=0)]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("seed", range(120, 130))
def test_bytes_do_not_depend_on_threads(seed):
    before = gn.get_num_threads()
    try:
        assert len({train(count, seed) for count in (1, 2, 3, 5)}) == 1
    finally:
        gn.set_num_threads(before)


@pytest.mark.one_tier  # starts the tiers itself
def test_bytes_do_not_depend_on_the_tier():
    fused = fused_tiers()
    if len(fused) < 2:
        pytest.skip("the CPU has one tier that fuses multiply and add, or none")
    code = "import test_branches as t; print([t.train(2, seed) for seed in range(120, 130)])"
    results = {
        subprocess.check_output(
            [sys.executable, "-c", code],
            env=os.environ | {"GRIDNN_SIMD": tier, "PYTHONPATH": os.path.dirname(__file__)},
        )
        for tier in fused
    }
    assert len(results) == 1


@pytest.mark.parametrize("seed", range(130, 140))
def test_a_prediction_does_not_depend_on_its_batch(seed):
    model, x, y, _ = random_model(seed, "float32")
    model.compile("sgd", "mse")
    model.train_on_batch(x, y)
    together = model.predict(x, verbose=0)
    assert together.tobytes() == b"".join(model.predict(x[i : i + 1], verbose=0).tobytes() for i in range(11))


@pytest.mark.parametrize("seed", range(140, 145))
def test_training_goes_on_from_a_file(seed, tmp_path):
    model, x, y, _ = random_model(seed, "float32")
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=4, epochs=2, seed=3, verbose=0)
    model.save(tmp_path / "model.gridnn")
    copies = [
        gn.load_model(tmp_path / "model.gridnn"),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
    ]
    model.fit(x, y, batch_size=4, epochs=4, initial_epoch=2, verbose=0)
    for again in copies:
        assert again.get_config() == model.get_config()
        again.fit(x, y, batch_size=4, epochs=4, initial_epoch=2, verbose=0)
        assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in model.get_weights()]


def residual():
    return layers.Residual(
        [layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()], [layers.Conv2D(3, 1)]
    )


def test_names_and_positions():
    model = gn.Sequential([gn.Input((5, 4, 2)), residual(), layers.Parallel([[layers.Conv2D(1, 1)], []])])
    assert [layer.name for layer in model.layers] == ["residual", "parallel"]
    names = ["residual", "conv2d", "batch_normalization", "conv2d_1", "parallel", "conv2d_2"]
    assert [layer.name for layer in model._family()] == names
    assert model.get_layer("conv2d_2").output_shape == (None, 5, 4, 1)
    assert model.get_layer("conv2d_1").input_shape == (None, 5, 4, 2)
    assert model.get_layer("residual").output_shape == (None, 5, 4, 3)
    assert model.output_shape == (None, 5, 4, 4)
    assert model.get_layer("residual").count_params() == 57 + 12 + 9
    shapes = [w.shape for w in model.get_layer("residual").get_weights()]
    assert shapes == [(3, 3, 2, 3), (3,), (3,), (3,), (3,), (3,), (1, 1, 2, 3), (3,)]
    with pytest.raises(ValueError, match="conv2d_2"):
        model.get_layer("conv2d_3")


def test_a_container_alone():
    model = gn.Sequential([gn.Input((5, 4, 2)), residual()], seed=1)
    x = np.random.default_rng(1).normal(size=(3, 5, 4, 2)).astype(np.float32)
    assert model.layers[0](x).tobytes() == model(x).tobytes()


def test_summary_shows_what_is_inside():
    lines = []
    model = gn.Sequential([gn.Input((5, 4, 2)), residual()], name="net")
    model.summary(print_fn=lines.append)
    assert "\n  conv2d_1 (Conv2D)" in lines[0]
    assert "Parameters: 78 (0.3 KiB), trainable: 72" in lines[0]


def test_freezing_a_container():
    model = gn.Sequential([gn.Input((5, 4, 2)), residual(), layers.Flatten(), layers.Dense(2)], seed=0)
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    assert not model.get_layer("conv2d_1").trainable
    before = model.get_weights()
    model.train_on_batch(np.ones((3, 5, 4, 2)), np.ones((3, 2)))
    same = [np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert same == [True] * 8 + [False] * 2
    model.get_layer("conv2d_1").trainable = True
    again = copy.deepcopy(model)
    assert [layer.trainable for layer in again._family()] == [layer.trainable for layer in model._family()]
    assert layers.Residual([layers.Dense(1)], trainable=False).layers[0].trainable is False


def test_branches_that_do_not_fit():
    def build(layer):
        return gn.Sequential([gn.Input((6, 5, 2)), layer])

    with pytest.raises(ShapeError, match=r"block: branch 1: .*\(batch, 6, 5, 3\).*\(batch, 6, 5, 2\)"):
        build(layers.Residual([layers.Conv2D(3, 1)], name="block"))
    with pytest.raises(ShapeError, match="parallel: branch 2"):
        build(layers.Parallel([[], [], [layers.MaxPooling2D()]]))
    with pytest.raises(ShapeError, match="inner"):
        build(layers.Residual([layers.Residual([layers.Flatten()], name="inner")]))
    # Where sizes are not known at build, the first data tells.
    model = gn.Sequential([gn.Input((None, 2)), layers.Residual([layers.MaxPooling1D()])])
    with pytest.raises(ShapeError, match="residual"):
        model.predict(np.zeros((1, 6, 2)), verbose=0)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: layers.Residual(layers.Dense(1)), TypeError),
        (lambda: layers.Residual([np.tanh]), TypeError),
        (lambda: layers.Residual([layers.Input((2,))]), TypeError),
        (lambda: layers.Residual("dense"), TypeError),
        (lambda: layers.Parallel([]), ValueError),
        (lambda: layers.Parallel([layers.Dense(1)]), TypeError),
        (lambda: layers.Parallel([[]], merge="subtract"), ValueError),
        (lambda: layers.Parallel(3), TypeError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()


def test_a_layer_has_one_place():
    dense = layers.Dense(2)
    with pytest.raises(ValueError, match="already belongs"):
        gn.Sequential([gn.Input((2,)), layers.Parallel([[dense], [dense]])])
    gn.Sequential([gn.Input((2,)), layers.Residual([dense])])  # it was set free
    with pytest.raises(ValueError, match="unique names"):
        gn.Sequential([layers.Dense(2, name="a"), layers.Residual([layers.Dense(2, name="a")])])


def test_the_error_names_the_nested_layer():
    model = gn.Sequential(
        [gn.Input((4,)), layers.Residual([layers.Dense(4, name="inside"), layers.Dense(4)])]
    )
    model.compile("sgd", "mse")
    inside = model.get_layer("inside")
    inside.kernel = np.full((4, 4), np.nan)
    with pytest.raises(NonFiniteError, match="inside"):
        model.train_on_batch(np.ones((2, 4)), np.ones((2, 4)))


def test_a_model_in_a_model():
    x = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    inner = gn.Sequential(
        [gn.Input((5, 2)), layers.Conv1D(3, 2, activation="relu"), residual_1d()], name="base", seed=1
    )
    inner.layers[0].trainable = False
    outer = gn.Sequential([inner, layers.Flatten(), layers.Dense(2)], seed=2)
    assert outer.built
    assert [layer.name for layer in outer.layers] == ["base", "flatten", "dense"]
    np.testing.assert_array_equal(outer.get_layer("base")(x), inner(x))
    assert not outer.get_layer("conv1d").trainable
    before = outer.predict(x, verbose=0)
    inner.get_layer("conv1d").kernel = np.zeros((2, 2, 3))  # which is the other model's too
    assert (outer.predict(x, verbose=0) != before).any()
    again = copy.deepcopy(outer)
    assert again.predict(x, verbose=0).tobytes() == outer.predict(x, verbose=0).tobytes()
    # Not built yet, and inside a branch.
    free = gn.Sequential([layers.Dense(2, activation="softmax")])
    model = gn.Sequential([gn.Input((4, 2)), layers.Residual([free]), free])
    assert model.output_activation == "softmax"
    assert [layer.name for layer in model.layers] == ["residual", "sequential"]
    model.add(gn.Sequential([layers.Flatten()], name="end"))
    assert model.output_shape == (None, 8)


def residual_1d():
    return layers.Residual(
        [layers.Conv1D(3, 2, padding="causal", activation="tanh"), layers.BatchNormalization()]
    )
