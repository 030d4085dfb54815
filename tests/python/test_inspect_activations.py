"""Values and gradients of all layers, and what is made of them."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import inspect, layers
from gridnn.inspect._run import Run

RNG = np.random.default_rng(2)
SHAPE = (12, 10, 2)


def branched(**options):
    """A model with everything that is fused, left out or merged elsewhere."""
    return gn.Sequential(
        [
            gn.Input(SHAPE),
            layers.Conv2D(4, 3, activation="relu", padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Residual(
                [layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
            ),
            layers.Dropout(0.5),
            layers.Parallel([[layers.Conv2D(3, 1, name="narrow")], [layers.MaxPooling2D(3, 1, "same")]]),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ],
        dtype="float64",
        seed=0,
        **options,
    )


@pytest.fixture(scope="module")
def model():
    model = branched()
    model.set_weights([np.abs(weight) + 0.1 * RNG.random(weight.shape) for weight in model.get_weights()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(3, *SHAPE))


def every_layer(model):
    return [layer for top in model.layers for layer in top._family()]


def test_activations_are_those_of_the_layers(model, x):
    found = inspect.activations(model, x)
    assert list(found) == [layer.name for layer in every_layer(model)]
    value = x
    for layer in model.layers:
        value = layer(value)
        np.testing.assert_allclose(found[layer.name], value, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[model.layers[-1].name], model.predict(x, verbose=0), rtol=1e-12)
    some = inspect.activations(model, x, ["narrow", 0, model.layers[3]])
    assert list(some) == ["narrow", "conv2d", "max_pooling2d"]
    np.testing.assert_array_equal(some["narrow"], found["narrow"])


def test_gradients_of_every_layer(model, x):
    direction = RNG.normal(size=x.shape)
    step = 1e-6
    for layer in every_layer(model):
        run = Run(model, x)
        position = run.position(layer)
        dy = RNG.normal(size=run.output_of(layer).shape)
        gradient = run.backward(position, dy).gradients[0]
        ahead, behind = (Run(model, x + sign * step * direction).output_of(layer) for sign in (1, -1))
        expected = ((ahead - behind) * dy).sum() / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-7)


def test_gradients_of_the_loss(model, x):
    y = np.array([0, 2, 1])
    weights = model.get_weights()
    found = inspect.gradients(model, x, y, sample_weight=[1.0, 2.0, 0.5])
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)

    def loss(inputs):
        return model.evaluate(inputs, y, sample_weight=np.array([1.0, 2.0, 0.5]), verbose=0)

    np.testing.assert_allclose(found.loss, loss(x), rtol=1e-12)
    step = 1e-6
    direction = RNG.normal(size=x.shape)
    expected = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    np.testing.assert_allclose((found.input * direction).sum(), expected, rtol=1e-5, atol=1e-9)
    assert found.activations["narrow"].shape == (3, 6, 5, 3)
    for layer in every_layer(model):
        if isinstance(layer, (layers.Residual, layers.Parallel)) or not layer.get_weights():
            assert layer.name not in found.weights
            continue
        own = layer.get_weights()
        gradients = found.weights[layer.name]
        assert [g.shape for g in gradients] == [w.shape for w in own]
        learned = 2 if isinstance(layer, layers.BatchNormalization) else len(own)
        for index in range(learned):
            direction = RNG.normal(size=own[index].shape)
            values = []
            for sign in (1, -1):
                changed = [w + sign * step * direction if i == index else w for i, w in enumerate(own)]
                layer.set_weights(changed)
                values.append(loss(x))
            layer.set_weights(own)
            expected = (values[0] - values[1]) / (2 * step)
            np.testing.assert_allclose((gradients[index] * direction).sum(), expected, rtol=1e-5, atol=1e-8)


def test_inspection_does_not_disturb_training():
    def trained(look):
        model = branched()
        model.compile("adam", "sparse_categorical_crossentropy")
        rng = np.random.default_rng(3)
        for _ in range(3):
            batch, labels = rng.normal(size=(4, *SHAPE)), rng.integers(0, 3, 4)
            model.train_on_batch(batch, labels)
            if look:
                inspect.activations(model, batch[:2])
                inspect.gradients(model, batch[:3], labels[:3])
                inspect.saliency(model, batch)
        return [weight.tobytes() for weight in model.get_weights()]

    assert trained(True) == trained(False)


def test_an_uncompiled_model_has_no_loss(x):
    with pytest.raises(ValueError, match="compile"):
        inspect.gradients(branched(), x, [0, 1, 2])


def test_saliency(model, x):
    found = inspect.saliency(model, x, 1)
    assert found.shape == (3, 12, 10)
    step = 1e-6

    def score(inputs):
        return np.log(model.predict(inputs, verbose=0)[:, 1])

    for position in ((0, 0), (5, 7), (11, 9)):
        slopes = []
        for channel in range(2):
            changed = np.repeat(x[None], 2, axis=0)
            changed[0][(slice(None), *position, channel)] += step
            changed[1][(slice(None), *position, channel)] -= step
            slopes.append((score(changed[0]) - score(changed[1])) / (2 * step))
        np.testing.assert_allclose(
            found[(slice(None), *position)], np.abs(slopes).max(0), rtol=1e-4, atol=1e-8
        )
    best = model.predict(x, verbose=0).argmax(-1)
    np.testing.assert_array_equal(inspect.saliency(model, x), inspect.saliency(model, x, best))


def test_grad_cam_by_its_formula():
    # Behind a global mean the gradient of a linear score is the same everywhere: the class activation map.
    stack = [layers.Conv2D(5, 3, padding="same"), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = gn.Sequential([gn.Input((8, 6, 1)), *stack], dtype="float64", seed=1)
    x = RNG.normal(size=(2, 8, 6, 1))
    maps = inspect.activations(model, x)["conv2d"]
    expected = np.maximum(maps @ model.layers[-1].kernel[:, 2] / 48, 0)
    np.testing.assert_allclose(inspect.grad_cam(model, x, 2), expected, atol=1e-12)
    pooled = gn.Sequential(
        [gn.Input((8, 6, 1)), layers.MaxPooling2D(2), *(type(s).from_config(s.get_config()) for s in stack)]
    )
    small = inspect.grad_cam(pooled, x, 0, resize=False)
    large = inspect.grad_cam(pooled, x, 0)
    assert small.shape == (2, 4, 3)
    assert large.shape == (2, 8, 6)
    np.testing.assert_allclose(large[:, 0, 0], small[:, 0, 0])
    assert large.max() <= small.max() * (1 + 1e-6)


@pytest.mark.parametrize(
    "ends",
    [
        [layers.MaxPooling2D(2)],
        [layers.AveragePooling2D(2), layers.Dropout(0.5), layers.SpatialDropout2D(0.1)],
        [layers.AdaptiveMaxPooling2D(2)],
        [layers.GlobalMaxPooling2D(keepdims=True)],
    ],
    ids=["max", "average, dropout", "adaptive", "global"],
)
def test_grad_cam_looks_before_the_pools_at_the_end(ends):
    stack = [layers.Conv2D(4, 3, name="seen"), layers.ReLU(name="here"), *ends, layers.Flatten()]
    model = gn.Sequential([gn.Input((8, 8, 1)), *stack, layers.Dense(3)], seed=0)
    x = RNG.normal(size=(2, 8, 8, 1))
    found = inspect.grad_cam(model, x, 1)
    np.testing.assert_array_equal(found, inspect.grad_cam(model, x, 1, "here"))
    only = gn.Sequential([gn.Input((8, 8, 1)), *ends, layers.Flatten(), layers.Dense(3)], seed=0)
    assert inspect.grad_cam(only, x, 1).shape == (2, 8, 8)


def test_top_patches():
    model = gn.Sequential([gn.Input((9, 9, 1)), layers.Conv2D(1, 3, padding="same", use_bias=False)], seed=0)
    model.layers[0].kernel = gn.filters.bank([np.eye(3)])
    x = np.zeros((4, 9, 9, 1))
    x[1, 2, 3] = 5
    x[2, 3:6, 4:7, 0] = np.eye(3)
    x[3, 0, 0] = 4
    patches = inspect.top_patches(model, 0, 0, x, 3)
    assert [patch.image for patch in patches] == [1, 3, 2]
    assert [patch.value for patch in patches] == [5, 4, 3]
    np.testing.assert_array_equal(patches[2].pixels[..., 0], np.eye(3))
    assert patches[2].position == (4, 5)
    assert patches[2].span == ((3, 5), (4, 6))
    assert patches[1].pixels.shape == (3, 3, 1)
    for patch in patches:
        low = [first for first, _ in patch.span]
        for offset in np.ndindex(3, 3):
            place = tuple(a + b for a, b in zip(low, offset, strict=True))
            inside = all(0 <= p < 9 for p in place)
            assert patch.pixels[(*offset, 0)] == (x[(patch.image, *place, 0)] if inside else 0)


def test_maximize_finds_what_a_filter_looks_for():
    model = gn.Sequential([gn.Input((15, 15, 1)), layers.Conv2D(2, 3, use_bias=False)], seed=0)
    model.layers[0].kernel = gn.filters.bank([gn.filters.sobel(0), gn.filters.sobel(1)])
    start = inspect.maximize(model, 0, 1, steps=1, blur=0)
    found = inspect.maximize(model, 0, 1, steps=60)
    assert found.shape == (15, 15, 1)
    before, after = (
        inspect.activations(model, image[None], [0])["conv2d"][..., 1].mean() for image in (start, found)
    )
    assert after > 3 * before
    np.testing.assert_array_equal(found, inspect.maximize(model, 0, 1, steps=60))
    again = inspect.maximize(model, 0, 1, start=np.ones((15, 15, 1)), steps=2)
    assert again.shape == (15, 15, 1)


def test_effective_receptive_field():
    stack = [layers.Conv1D(1, 3, use_bias=False, padding="same") for _ in range(2)]
    model = gn.Sequential([gn.Input((11, 1)), *stack], dtype="float64")
    for layer in stack:
        layer.kernel = np.array([1.0, 2.0, 1.0])[:, None, None]
    found = inspect.effective_receptive_field(model, 1, np.zeros((2, 11, 1)))
    expected = np.zeros(11)
    expected[3:8] = np.array([1, 4, 6, 4, 1]) / 6
    np.testing.assert_allclose(found, expected)
    field = inspect.receptive_field(model)[1]
    ((first, last),) = field.of(5)
    assert np.flatnonzero(found).tolist() == list(range(first, last + 1))


def test_costs(model):
    found = inspect.costs(model, 4, flops=1e9, bandwidth=1e9)
    by_name = {cost.name: cost for cost in found}
    assert "residual" not in by_name
    conv = by_name["conv2d"]
    assert conv.multiply_adds == 4 * 12 * 10 * 9 * 2 * 4
    assert conv.parameters == 9 * 2 * 4 + 4
    assert conv.bytes == 8 * (4 * 12 * 10 * (2 + 4) + conv.parameters)
    assert conv.intensity == 2 * conv.multiply_adds / conv.bytes
    assert conv.seconds == max(2 * conv.multiply_adds, conv.bytes) / 1e9
    assert sum(cost.parameters for cost in found) == model.count_params()
    assert all(cost.seconds > 0 for cost in inspect.costs(model))
    free = gn.Sequential([gn.Input((None, 1)), layers.Conv1D(2, 3)])
    with pytest.raises(ValueError, match="pass input_shape"):
        inspect.costs(free)
    assert inspect.costs(free, input_shape=(10, 1))[0].multiply_adds == 8 * 3 * 2


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, x: inspect.activations(m, x[:, :5]), gn.errors.ShapeError, "expected shape"),
        (lambda m, x: inspect.activations(m, x, ["nobody"]), ValueError, "No such layer"),
        (lambda m, x: inspect.activations(m, x, [layers.Flatten()]), ValueError, "not a layer of model"),
        (lambda m, x: inspect.activations(layers.Flatten(), x), TypeError, "Sequential"),
        (lambda m, x: inspect.saliency(m, x, 3), ValueError, "from 0 to 2"),
        (lambda m, x: inspect.saliency(m, x, 0.5), TypeError, "integer"),
        (lambda m, x: inspect.grad_cam(m, x, layer=-1), gn.errors.ShapeError, "spatial axes"),
        (lambda m, x: inspect.top_patches(m, 0, 4, x), ValueError, "from -4 to 3"),
        (lambda m, x: inspect.top_patches(m, -1, 0, x), gn.errors.ShapeError, "no spatial axes"),
        (lambda m, x: inspect.effective_receptive_field(m, -1, x), gn.errors.ShapeError, "spatial axes"),
        (lambda m, x: inspect.maximize(m, 0, 9), ValueError, "from -4 to 3"),
        (lambda m, x: inspect.costs(layers.Flatten()), TypeError, "Sequential"),
    ],
)
def test_wrong_arguments(model, x, call, error, match):
    with pytest.raises(error, match=match):
        call(model, x)
