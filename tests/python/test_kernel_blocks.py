"""Every way to gradients of kernels that are large beside their map, which are computed in blocks."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import functional, layers

SIZE, CHANNELS, FILTERS = 8, 64, 128  # the smallest with two blocks
# Without ReLU, whose mask two roundings of the same output may see differently.


def plain():
    return gn.Sequential(
        [gn.Input((SIZE, SIZE, CHANNELS)), layers.Conv2D(FILTERS, 3, padding="same"), layers.Flatten()],
        seed=1,
    )


def transposed():
    convolution = layers.Conv2DTranspose(FILTERS, 3, padding="same")
    return gn.Sequential([gn.Input((SIZE, SIZE, CHANNELS)), convolution, layers.Flatten()], seed=1)


def reflected():
    convolution = layers.Conv2D(FILTERS, 3, padding="same", padding_mode="reflect")
    return gn.Sequential([gn.Input((SIZE, SIZE, CHANNELS)), convolution, layers.Flatten()], seed=1)


def over_time():
    convolution = layers.TimeDistributed(layers.Conv2D(FILTERS, 3, padding="same"))
    return gn.Sequential([gn.Input((3, SIZE, SIZE, CHANNELS)), convolution, layers.Flatten()], seed=1)


def shared():
    """Two calls of a layer, whose gradients are added."""
    inputs = gn.Input((SIZE, SIZE, CHANNELS))
    convolution = layers.Conv2D(FILTERS, 3, padding="same")
    both = layers.Add()([convolution(inputs), convolution(layers.Rescaling(-0.5)(inputs))])
    return gn.Model(inputs, layers.Flatten()(both), seed=1)


MODELS = (plain, transposed, reflected, over_time, shared)


def trained(build, batch, algorithm, threads=1):
    """Weights after two steps, and how far they went."""
    before = gn.get_num_threads()
    gn.set_convolution_algorithm(algorithm)
    gn.set_num_threads(threads)
    try:
        model = build()
        random = np.random.default_rng(0)
        x = random.standard_normal((batch, *model.input_shape[1:]), np.float32)
        y = random.standard_normal((batch, *model.output_shape[1:]), np.float32)
        start = model.get_weights()
        model.compile(gn.optimizers.SGD(10.0), "mse")
        for _ in range(2):
            model.train_on_batch(x, y)
        return model.get_weights(), [w - s for w, s in zip(model.get_weights(), start, strict=True)]
    finally:
        gn.set_num_threads(before)
        gn.set_convolution_algorithm("auto")


@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("build", MODELS)
def test_training_goes_where_direct_sums_go(build, batch):
    moved, expected = (trained(build, batch, algorithm)[1] for algorithm in ("auto", "direct"))
    for own, direct in zip(moved, expected, strict=True):
        largest = np.abs(direct).max()
        assert largest > 0
        # Differences of weights near 0.05 are exact to 4e-9; sums of thousands of products to some 1e-5.
        np.testing.assert_allclose(own, direct, rtol=0, atol=1e-4 * largest + 1e-8)


@pytest.mark.parametrize("build", MODELS)
def test_threads_change_no_byte(build):
    one = trained(build, 9, "auto")[0]
    for threads in (2, 3):
        for own, other in zip(one, trained(build, 9, "auto", threads)[0], strict=True):
            assert own.tobytes() == other.tobytes()


def alone(convolution, shape):
    """A model with a single op before its dense layer, which therefore reads the inputs itself."""
    return gn.Sequential([gn.Input(shape), convolution, layers.Flatten(), layers.Dense(4)], seed=1)


ALONE = {
    "series": (layers.Conv1D(256, 3, padding="same"), (24, 256)),
    "images": (layers.Conv2D(96, 3, padding="same", activation="relu"), (6, 6, 96)),
    "larger images": (layers.Conv2D(128, 3, padding="same"), (12, 12, 128)),
    "small images": (layers.Conv2D(256, 3, padding="same"), (4, 4, 256)),
    "volumes": (layers.Conv3D(96, 3, padding="same"), (4, 6, 6, 96)),
    "transposed": (layers.Conv2DTranspose(96, 3, padding="same"), (6, 6, 96)),
    "over time": (layers.TimeDistributed(layers.Conv2D(96, 3, padding="same")), (2, 6, 6, 96)),
    "reflected": (layers.Conv2D(96, 3, padding="same", padding_mode="reflect"), (6, 6, 96)),
}


@pytest.mark.parametrize("head", [True, False], ids=["head", "bare"])
@pytest.mark.parametrize("name", ALONE)
def test_a_lone_convolution_predicts_what_it_does_for_single_samples(name, head):
    convolution, shape = ALONE[name]
    convolution = type(convolution).from_config(convolution.get_config())
    model = alone(convolution, shape) if head else gn.Sequential([gn.Input(shape), convolution], seed=1)
    x = np.random.default_rng(0).standard_normal((11, *shape), np.float32)
    model.compile("sgd", "mse")
    single = np.concatenate([model.predict_on_batch(x[i : i + 1]) for i in range(len(x))])
    assert np.abs(single).max() > 0.1
    for batch in (2, 8, 11):
        assert model.predict(x, batch_size=batch, verbose=0).tobytes() == single.tobytes()
        assert model.evaluate(x, single, batch_size=batch, verbose=0) == 0.0


@pytest.mark.parametrize("samples", [1, 5])
def test_calls(samples):
    random = np.random.default_rng(1)
    x = random.standard_normal((samples, SIZE, SIZE, CHANNELS), np.float32)
    dy = random.standard_normal((samples, SIZE, SIZE, FILTERS), np.float32)
    shape = (3, 3, CHANNELS, FILTERS)
    found = functional.conv2d_kernel_grad(x, dy, shape, padding="same")
    exact = functional.conv2d_kernel_grad(x.astype(float), dy.astype(float), shape, padding="same")
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    assert (
        found.tobytes()
        != functional.conv2d_kernel_grad(x, dy, shape, padding="same", algorithm="direct").tobytes()
    )
