"""Regularizers and constraints of every layer that takes them, against NumPy; initializers with a shape."""

import copy
import json
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import constraints, initializers, layers, optimizers, regularizers
from gridnn._config import serialize

REGULARIZERS = [
    (regularizers.L1(0.1), lambda w: 0.1 * np.abs(w).sum()),
    (regularizers.L2(0.1), lambda w: 0.1 * (w**2).sum()),
    (regularizers.L1L2(0.1, 0.3), lambda w: 0.1 * np.abs(w).sum() + 0.3 * (w**2).sum()),
]
EPSILON = 1e-7
ORTHOGONAL = [regularizers.OrthogonalRegularizer(), regularizers.OrthogonalRegularizer(0.3, "columns")]


def lengths(w, axis):
    return np.sqrt((w**2).sum(axis=axis, keepdims=True))


CONSTRAINTS = [
    (constraints.NonNeg(), lambda w: np.maximum(w, 0)),
    (constraints.MaxNorm(0.5), lambda w: w * np.minimum(lengths(w, 0), 0.5) / (EPSILON + lengths(w, 0))),
    (constraints.UnitNorm(axis=(0, 1)), lambda w: w / (EPSILON + lengths(w, (0, 1)))),
    (
        constraints.MinMaxNorm(0.5, 0.7, rate=0.5, axis=-1),
        lambda w: (
            w * (0.5 * np.clip(lengths(w, -1), 0.5, 0.7) + 0.5 * lengths(w, -1)) / (EPSILON + lengths(w, -1))
        ),
    ),
]
# Every layer that takes limits, with the prefix of the arguments for its first weight.
LAYERS = [
    (layers.Dense, {"units": 3}, "kernel"),
    (layers.Conv1D, {"filters": 3, "kernel_size": 2}, "kernel"),
    (layers.Conv1DTranspose, {"filters": 3, "kernel_size": 2}, "kernel"),
    (layers.DepthwiseConv1D, {"kernel_size": 2}, "depthwise"),
    (layers.SeparableConv1D, {"filters": 3, "kernel_size": 2}, "pointwise"),
    (layers.SeparableConv1D, {"filters": 3, "kernel_size": 2}, "depthwise"),
    (layers.PReLU, {"alpha_initializer": "random_normal"}, "alpha"),
    (layers.Dense, {"units": 3, "bias_initializer": "random_normal"}, "bias"),
    *(
        (cls, {**options, f"{prefix}_initializer": "random_normal"}, prefix)
        for cls, options in (
            (layers.BatchNormalization, {}),
            (layers.LayerNormalization, {}),
            (layers.GroupNormalization, {"groups": 1}),
        )
        for prefix in ("beta", "gamma")
    ),
]
ids = [f"{cls.__name__}-{prefix}" for cls, _, prefix in LAYERS]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def problem(cls, options, rng, dtype="float64", rate=0.0, **compiled):
    model = gn.Sequential([gn.Input((4, 2)), cls(**options)], dtype=dtype, seed=3)
    model.compile(optimizers.SGD(rate, **compiled), "mse")
    x = rng.normal(size=(5, 4, 2))
    return model, x, rng.normal(size=(5, *model.output_shape[1:]))


def weight_of(model, prefix):
    """The weight that arguments of this prefix are about."""
    return getattr(model.layers[0], dict(model.layers[0].limited)[prefix])


@pytest.mark.parametrize(("regularizer", "twin"), REGULARIZERS, ids=[repr(r) for r, _ in REGULARIZERS])
@pytest.mark.parametrize(("cls", "options", "prefix"), LAYERS, ids=ids)
def test_penalty_and_its_gradient(cls, options, prefix, regularizer, twin, rng):
    plain, x, y = problem(cls, options, rng)
    model, _, _ = problem(cls, {**options, f"{prefix}_regularizer": regularizer}, rng)
    expected = plain.test_on_batch(x, y) + twin(weight_of(model, prefix))
    assert model.test_on_batch(x, y) == pytest.approx(expected, rel=1e-12)
    # Batch normalization has another loss in training.
    expected = plain.train_on_batch(x, y) + twin(weight_of(model, prefix))
    assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-12)
    l1, l2 = regularizer.l1, regularizer.l2
    differences = [
        ours - theirs
        for ours, theirs in zip(model.network.get_gradients(), plain.network.get_gradients(), strict=True)
    ]
    weight = weight_of(model, prefix)
    slope = l1 * np.sign(weight) + 2 * l2 * weight
    found = [difference for difference in differences if np.abs(difference).max() > 1e-12]
    assert len(found) == 1
    np.testing.assert_allclose(found[0], slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("regularizer", "twin"), REGULARIZERS, ids=[repr(r) for r, _ in REGULARIZERS])
@pytest.mark.parametrize("inside", [False, True])
def test_penalty_of_outputs(regularizer, twin, inside, rng):
    """As in Keras: of the whole batch, divided by its size. Gradients are checked in test_contract.py."""
    plain, x, y = problem(layers.Conv1D, {"filters": 3, "kernel_size": 2, "activation": "relu"}, rng)
    options = {"filters": 3, "kernel_size": 2, "activation": "relu"}
    own = {**options, "activity_regularizer": regularizer}
    if inside:
        own = {
            "layers": [
                layers.Conv1D(**options),
                layers.ActivityRegularization(regularizer.l1, regularizer.l2),
            ]
        }
    model, _, _ = problem(layers.branches.Chain if inside else layers.Conv1D, own, rng)
    model.set_weights(plain.get_weights())
    expected = plain.test_on_batch(x, y) + twin(plain.predict(x)) / len(x)
    assert model.test_on_batch(x, y) == pytest.approx(expected, rel=1e-12)
    assert model.train_on_batch(x, y) == pytest.approx(expected, rel=1e-12)
    parts = [
        plain.test_on_batch(x[i:j], y[i:j]) + twin(plain.predict(x[i:j])) / (j - i)
        for i, j in ((0, 3), (3, 5))
    ]
    # As every loss: the mean over the batches, by their samples.
    assert model.evaluate(x, y, batch_size=3, verbose=0) == pytest.approx((3 * parts[0] + 2 * parts[1]) / 5)


def angles(w, factor, mode):
    """Keras' `OrthogonalRegularizer`, and its derivative by differences."""

    def penalty(w):
        vectors = w if mode == "rows" else w.T
        directions = vectors * np.minimum(1 / np.sqrt((vectors**2).sum(1, keepdims=True)), 1 / EPSILON)
        products = np.abs(directions @ directions.T)
        pairs = len(vectors) * (len(vectors) - 1) / 2
        return factor * 0.5 * (products.sum() - np.trace(products)) / pairs

    slope = np.empty_like(w)
    for index in np.ndindex(*w.shape):
        shift = np.zeros_like(w)
        shift[index] = 1e-6
        slope[index] = (penalty(w + shift) - penalty(w - shift)) / 2e-6
    return penalty(w), slope


@pytest.mark.parametrize("regularizer", ORTHOGONAL, ids=repr)
@pytest.mark.parametrize("shape", [(2, 3), (9, 4), (3, 17)])
def test_penalty_on_angles(regularizer, shape, rng):
    def trained(**limits):
        layer = layers.Dense(shape[1], **limits)
        model = gn.Sequential([gn.Input((shape[0],)), layer], dtype="float64", seed=3)
        model.compile(optimizers.SGD(0.0), "mse")
        x, y = np.ones((5, shape[0])), np.zeros((5, shape[1]))
        value = model.train_on_batch(x, y)
        assert model.test_on_batch(x, y) == pytest.approx(value, rel=1e-12)
        return value, model.network.get_gradients()[0], layer.kernel

    value, gradient, kernel = trained(kernel_regularizer=regularizer)
    plain, slope, _ = trained()
    penalty, expected = angles(kernel, regularizer.factor, regularizer.mode)
    assert value - plain == pytest.approx(penalty, rel=1e-9)
    np.testing.assert_allclose(gradient - slope, expected, rtol=1e-6, atol=1e-9)


def test_penalty_on_angles_of_a_large_matrix_does_not_mind_threads(rng):
    # More than one of the optimizer's blocks.
    def kernel(threads, mode):
        gn.set_num_threads(threads)
        layer = layers.Dense(90, kernel_regularizer=regularizers.OrthogonalRegularizer(5.0, mode))
        model = gn.Sequential([gn.Input((700,)), layer], seed=3)
        model.compile("sgd", "mse")
        for _ in range(3):
            model.train_on_batch(np.ones((4, 700), np.float32), np.ones((4, 90), np.float32))
        return layer.kernel

    threads = gn.get_num_threads()
    try:
        for mode in ("rows", "columns"):
            np.testing.assert_array_equal(kernel(1, mode), kernel(3, mode))
    finally:
        gn.set_num_threads(threads)


def test_training_makes_vectors_orthogonal():
    layer = layers.Dense(8, use_bias=False, kernel_regularizer=regularizers.OrthogonalRegularizer(10.0))
    model = gn.Sequential([gn.Input((4,)), layer], seed=3)
    model.compile(optimizers.SGD(0.1), "mse")
    for _ in range(400):
        model.train_on_batch(np.zeros((1, 4)), np.zeros((1, 8)))
    directions = layer.kernel / lengths(layer.kernel, 1)
    assert np.abs(directions @ directions.T - np.eye(4)).max() < 0.15


def test_angles_that_do_not_exist(rng):
    options = {"units": 1, "kernel_regularizer": regularizers.OrthogonalRegularizer(mode="columns")}
    model, x, y = problem(layers.Dense, options, rng)
    plain, _, _ = problem(layers.Dense, {"units": 1}, rng)
    assert model.train_on_batch(x, y) == plain.train_on_batch(x, y)
    options = {"units": 3, "kernel_regularizer": "orthogonal_regularizer", "kernel_initializer": "zeros"}
    model, x, y = problem(layers.Dense, options, rng)
    assert np.isfinite(model.train_on_batch(x, y))
    options = {"filters": 3, "kernel_size": 2, "kernel_regularizer": "orthogonal_regularizer"}
    with pytest.raises(ValueError, match="2 axes"):
        problem(layers.Conv1D, options, rng)
    with pytest.raises(ValueError, match="activity_regularizer"):
        layers.Dense(3, activity_regularizer="orthogonal_regularizer")


def test_penalty_of_frozen_weights_is_left_out(rng):
    model, x, y = problem(layers.Dense, {"units": 3, "kernel_regularizer": "l2"}, rng)
    loss = model.test_on_batch(x, y)
    model.layers[0].trainable = False
    assert model.test_on_batch(x, y) == pytest.approx(loss - 0.01 * (model.layers[0].kernel ** 2).sum())


def test_penalty_with_accumulation_and_epochs(rng):
    options = {"units": 3, "kernel_regularizer": regularizers.L2(0.1)}
    model, x, y = problem(layers.Dense, options, rng, rate=0.1, gradient_accumulation_steps=2)
    twin, _, _ = problem(layers.Dense, options, rng, rate=0.1)
    history = model.fit(x[:4], y[:4], batch_size=2, shuffle=False, verbose=0, validation_data=(x[:4], y[:4]))
    twin.fit(x[:4], y[:4], batch_size=4, shuffle=False, verbose=0)
    for got, want in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    assert history.history["val_loss"][0] == pytest.approx(model.evaluate(x[:4], y[:4], verbose=0))


@pytest.mark.parametrize(("constraint", "twin"), CONSTRAINTS, ids=[repr(c) for c, _ in CONSTRAINTS])
@pytest.mark.parametrize(("cls", "options", "prefix"), LAYERS, ids=ids)
def test_constraint_after_an_update(cls, options, prefix, constraint, twin, rng):
    if prefix in ("bias", "beta", "gamma") and isinstance(constraint, constraints.UnitNorm):
        constraint, twin = constraints.UnitNorm(), lambda w: w / (EPSILON + lengths(w, 0))
    free, x, y = problem(cls, options, rng, rate=0.1)
    held, _, _ = problem(cls, {**options, f"{prefix}_constraint": constraint}, rng, rate=0.1)
    free.train_on_batch(x, y)
    held.train_on_batch(x, y)
    np.testing.assert_allclose(weight_of(held, prefix), twin(weight_of(free, prefix)), rtol=1e-12, atol=1e-15)


def test_limits_do_not_mind_threads_or_files(rng, tmp_path):
    def trained(threads):
        before = gn.get_num_threads()
        gn.set_num_threads(threads)
        try:
            options = {
                "filters": 3,
                "kernel_size": 2,
                "kernel_regularizer": "l1_l2",
                "kernel_constraint": "max_norm",
            }
            model, x, y = problem(layers.Conv1D, options, np.random.default_rng(1), "float32", rate=0.1)
            model.train_on_batch(x, y)
            return model
        finally:
            gn.set_num_threads(before)

    one, three = trained(1), trained(3)
    assert [w.tobytes() for w in one.get_weights()] == [w.tobytes() for w in three.get_weights()]
    one.save(tmp_path / "model.gridnn")
    for again in (
        gn.load_model(tmp_path / "model.gridnn"),
        pickle.loads(pickle.dumps(one)),
        copy.deepcopy(one),
    ):
        assert again.get_config() == one.get_config()
        assert repr(again.layers[0].kernel_constraint) == "MaxNorm(max_value=2.0, axis=0)"


@pytest.mark.parametrize(
    ("module", "instances"),
    [(regularizers, [r for r, _ in REGULARIZERS] + ORTHOGONAL), (constraints, [c for c, _ in CONSTRAINTS])],
    ids=["regularizers", "constraints"],
)
def test_descriptions(module, instances):
    assert {type(instance) for instance in instances} == set(module.REGISTRY.classes())
    for instance in instances:
        config = serialize(instance)
        assert serialize(module.get(json.loads(json.dumps(config)))) == config
        assert type(module.get(type(instance).__name__)) is type(instance)
    with pytest.raises(ValueError, match="Known are"):
        module.get("nonsense")


def test_string_ids():
    assert [type(regularizers.get(name)) for name in ("l1", "l2", "l1_l2")] == [
        regularizers.L1,
        regularizers.L2,
        regularizers.L1L2,
    ]
    orthogonal = regularizers.get("orthogonal_regularizer")
    assert (orthogonal.factor, orthogonal.mode) == (0.01, "rows")
    names = ("non_neg", "max_norm", "unit_norm", "min_max_norm")
    assert [type(constraints.get(name)) for name in names] == [type(c) for c, _ in CONSTRAINTS]


def test_wrong_arguments(rng):
    with pytest.raises(ValueError, match="l2"):
        regularizers.L2(-1)
    with pytest.raises(ValueError, match="mode"):
        regularizers.OrthogonalRegularizer(mode="both")
    with pytest.raises(TypeError, match="depthwise_constraint"):
        layers.Dense(3, depthwise_constraint="non_neg")
    with pytest.raises(ValueError, match="axis of a constraint"):
        problem(layers.Dense, {"units": 3, "kernel_constraint": constraints.MaxNorm(axis=2)}, rng)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 2, 5)])
def test_orthogonal(shape):
    if len(shape) == 2:
        layer = layers.Dense(shape[1], kernel_initializer=initializers.Orthogonal(2.0))
        inputs = gn.Input((shape[0],))
    else:
        layer = layers.Conv2D(shape[-1], shape[:2], kernel_initializer=initializers.Orthogonal(2.0))
        inputs = gn.Input((4, 4, shape[2]))
    kernel = gn.Sequential([inputs, layer], dtype="float64", seed=1).get_weights()[0]
    assert kernel.shape == shape
    matrix = kernel.reshape(-1, shape[-1])
    product = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_identity():
    layer = layers.Dense(3, kernel_initializer=initializers.Identity(2.0))
    np.testing.assert_array_equal(gn.Sequential([gn.Input((2,)), layer]).get_weights()[0], 2 * np.eye(2, 3))
    with pytest.raises(ValueError, match="two axes"):
        gn.Sequential([gn.Input((4, 2)), layers.Conv1D(2, 2, kernel_initializer="identity")])
