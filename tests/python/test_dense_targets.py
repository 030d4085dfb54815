"""Targets of single positions that follow the layers which move samples."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses
from gridnn.errors import ShapeError

CLASSES = 4
SERIES, IMAGES, VOLUMES = (12,), (8, 10), (4, 6, 8)
FILLS = ("reflect", "wrap", "nearest", "constant")
NEAREST = {"interpolation": "nearest"}


def geometric(rank):
    """Name -> a layer that moves samples of this rank, one of each kind and fill."""
    side = {} if rank == 1 else {"width_factor": 0.4}
    part = [{"height": 5}, {"height": 5, "width": 7}, {"height": 5, "width": 6, "depth": 3}][rank - 1]
    yield "flip", layers.RandomFlip(list(range(rank)))
    yield "crop", layers.RandomCrop(**part)
    yield "centre", layers.CenterCrop(**part)
    yield "grown centre", layers.CenterCrop(**{axis: size + 6 for axis, size in part.items()})
    yield "resized", layers.Resizing(**part, interpolation="nearest")
    yield "cut and resized", layers.Resizing(**part, **NEAREST, crop_to_aspect_ratio=True)
    yield "filled and resized", layers.Resizing(**part, **NEAREST, pad_to_aspect_ratio=True)
    for fill in FILLS:
        yield f"shift, {fill}", layers.RandomTranslation(0.4, **side, fill_mode=fill, **NEAREST)
        yield f"zoom, {fill}", layers.RandomZoom((-0.4, 0.5), fill_mode=fill, **NEAREST)
        if rank > 1:
            yield f"turn, {fill}", layers.RandomRotation(0.4, fill_mode=fill, **NEAREST)


EACH = {
    f"{name}, {len(grid)} axes": (grid, layer)
    for grid in (SERIES, IMAGES, VOLUMES)
    for name, layer in geometric(len(grid))
}
each = pytest.mark.parametrize(("grid", "layer"), EACH.values(), ids=EACH)


def problem(grid, samples=5):
    """Labels, and inputs that are scores for them."""
    y = np.random.default_rng(3).integers(0, CLASSES, size=(samples, *grid)).astype(np.uint8)
    return np.eye(CLASSES)[y] * 100.0, y


def alone(grid, layer, loss, **options):
    """A model that is nothing but the layer."""
    twin = type(layer).from_config(layer.get_config())
    model = gn.Sequential([gn.Input((*grid, CLASSES)), twin], dtype="float64", seed=1)
    model.compile(gn.optimizers.SGD(0.0), loss, **options)
    return model


def scores(ignored=None):
    return losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignored)


def moved_by(model, x, y, seed, weights=None):
    """The targets that a step with this seed compares outputs with, and their weights."""
    model.test_on_batch(x, y)  # the engine knows the loss from then on
    (found,) = model.network.moved_targets([x], [(y, weights, (), "nearest")], None, seed)
    return found


@each
def test_a_pair_is_moved_like_the_stack_of_both(grid, layer):
    if (layer.get_config().get("height") or 0) > grid[0]:
        pytest.skip("what is resampled bilinearly mixes inputs")
    x, y = problem(grid)
    model = alone(grid, layer, "mse")
    twin = type(layer).from_config(layer.get_config())
    both = gn.Sequential([gn.Input((*grid, 2 * CLASSES)), twin], dtype="float64", seed=1)
    y_values = np.random.default_rng(4).normal(size=x.shape)
    for seed in range(4):
        moved, _ = moved_by(model, x, y_values, seed)
        (stack,) = both.network.forward([np.concatenate([x, y_values], axis=-1)], True, seed)
        np.testing.assert_array_equal(moved, stack[..., CLASSES:])
        np.testing.assert_array_equal(model.network.forward([x], True, seed)[0], stack[..., :CLASSES])
    # By way of the loss: it is 0 only where inputs and targets agree, shuffled or not, again and again.
    history = model.fit(x, x, batch_size=2, epochs=3, verbose=0, seed=5)
    assert history.history["loss"] == [0.0] * 3
    # What comes in is scores of 0 for all classes, and a label that is not counted.
    labels = alone(grid, layer, scores(-1), metrics=["accuracy"])
    history = labels.fit(x, y.astype(int), batch_size=2, epochs=3, verbose=0, seed=5).history
    assert max(history["loss"]) < 1e-30
    assert history["accuracy"] == [1.0] * 3


@each
def test_inference_compares_with_the_middle(grid, layer):
    x, y = problem(grid)
    model = alone(grid, layer, scores())
    smooth = isinstance(layer, layers.CenterCrop) and layer.height > grid[0]
    padded = getattr(layer, "pad_to_aspect_ratio", False)
    if not smooth and not padded:
        assert model.evaluate(x, y, verbose=0) < 1e-30
    else:
        assert model.evaluate(x, y, verbose=0) < 2.0
    # Targets of the output's own sizes are compared as they are.
    found = model.predict(x, verbose=0).argmax(axis=-1)
    assert model.evaluate(x, found, verbose=0) < 60.0


def test_labels_are_never_mixed():
    x, y = problem(IMAGES)
    y = np.where(y > 1, 9, 2).astype(np.uint8)
    model = gn.Sequential(
        [gn.Input((*IMAGES, CLASSES)), layers.RandomRotation(0.3), layers.RandomZoom(0.3), layers.Dense(10)],
        seed=0,
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    for seed in range(5):
        moved, _ = moved_by(model, x, y, seed)
        assert set(np.unique(moved)) == {2, 9}
        # Images are mixed between pixels, and their masks are where they are.
        assert not np.isin(model.network.forward([x], True, seed)[0], [0.0, 100.0]).all()


def test_masks_lie_on_images_that_are_mixed():
    # A disc: turned and zoomed bilinearly, and its mask. Half a pixel between both would show in the middle.
    rows, columns = np.mgrid[:32, :32]
    disc = (((rows - 12) ** 2 + (columns - 18) ** 2) < 49)[np.newaxis, ..., np.newaxis]
    x = np.repeat(disc, 16, axis=0).astype(float)
    model = gn.Sequential(
        [gn.Input((32, 32, 1)), layers.RandomRotation(0.5), layers.RandomZoom(0.2)], dtype="float64", seed=0
    )
    model.compile("sgd", "mse")
    mask, _ = moved_by(model, x, x, 3)
    (image,) = model.network.forward([x], True, 3)
    weights = np.stack([rows, columns], axis=-1)

    def middles(z):
        return (z * weights).sum(axis=(1, 2)) / z.sum(axis=(1, 2))

    away = middles(image) - middles(mask)
    assert np.abs(away).max() < 0.35
    assert np.abs(away.mean(axis=0)).max() < 0.1


def test_what_comes_in_from_outside():
    x, y = problem(IMAGES)
    y = np.full_like(y, 3)
    shift = layers.RandomTranslation((0.5, 0.5), 0.0, "constant", "nearest")
    for ignored, expected in ((None, 0), (255, 255), (-1, -1)):
        model = alone(IMAGES, shift, scores(ignored))
        moved, _ = moved_by(model, x, np.asarray(y, int), 0)
        assert (moved[:, :4] == expected).all()
        assert (moved[:, 4:] == 3).all()


def test_numbers_are_mixed_on_request():
    x = np.random.default_rng(0).normal(size=(6, *IMAGES, 2))
    stack = [gn.Input((*IMAGES, 2)), layers.RandomRotation(0.3), layers.RandomZoom(0.3)]
    model = gn.Sequential(stack, dtype="float64", seed=0)
    model.compile(gn.optimizers.SGD(0.0), "mse")
    assert model.fit(x, x, verbose=0, seed=1).history["loss"][0] > 0.1
    assert model.fit(x, x, verbose=0, seed=1, augment_targets="bilinear").history["loss"][0] < 1e-30
    assert model.fit(x, x, verbose=0, seed=1, augment_targets=False).history["loss"][0] > 0.1


def test_crops_take_targets_of_the_inputs_sizes():
    x, y = problem(IMAGES)
    crop = layers.RandomCrop(4, 5)
    model = alone(IMAGES, crop, scores())
    history = model.fit(x, y, validation_split=0.4, verbose=0, epochs=2).history
    assert max(history["loss"] + history["val_loss"]) < 1e-30
    with pytest.raises(ShapeError, match=r"\(batch, 8, 10\)"):
        model.fit(x, y[:, :4, :5], verbose=0)
    model.fit(x, y[:, :4, :5], verbose=0, augment_targets=False)
    with pytest.raises(ShapeError):
        model.fit(x, y, verbose=0, augment_targets=False)


def test_layers_in_front_of_the_first_random_one_may_have_been_done_already():
    x, y = problem(IMAGES)
    stack = [gn.Input((*IMAGES, CLASSES)), layers.CenterCrop(6, 6), layers.RandomFlip()]
    model = gn.Sequential(stack, dtype="float64", seed=0)
    model.compile(gn.optimizers.SGD(0.0), scores())
    for labels in (y, y[:, 1:7, 2:8]):
        assert model.fit(x, labels, verbose=0).history["loss"][0] < 1e-30
        assert model.evaluate(x, labels, verbose=0) < 1e-30


def test_weights_of_positions_move_too():
    x = np.random.default_rng(0).uniform(1.0, 2.0, size=(6, *IMAGES, 1))
    model = gn.Sequential([gn.Input(x.shape[1:]), layers.RandomFlip(), layers.RandomCrop(5, 6)], seed=0)
    model.compile(gn.optimizers.SGD(0.0), "mse", weighted_metrics=["mse"])
    weights = 1 / x[..., 0] ** 2
    history = model.fit(x, np.zeros_like(x), sample_weight=weights, verbose=0, batch_size=2).history
    assert history["loss"][0] == pytest.approx(1.0, rel=1e-6)
    # Those of samples go with their samples.
    numbers = np.arange(1.0, 7.0)
    x = np.ones((6, *IMAGES, 1)) * numbers[:, None, None, None]
    history = model.fit(x, np.zeros_like(x), sample_weight=1 / numbers**2, verbose=0, batch_size=4).history
    assert history["loss"][0] == pytest.approx(1.0, rel=1e-6)
    # Nothing is known of what comes in from outside.
    shift = layers.RandomTranslation((0.5, 0.5), 0.0, "constant", "nearest", fill_value=7.0)
    model = gn.Sequential([gn.Input(x.shape[1:]), shift], seed=0)
    model.compile(gn.optimizers.SGD(0.0), "mse")
    weights = np.broadcast_to(1 / numbers**2, (8, 10, 6)).transpose(2, 0, 1)
    loss = model.train_on_batch(x, np.zeros_like(x), sample_weight=weights)
    assert loss == pytest.approx(0.5, rel=1e-6)


def test_batches_of_an_iterable_and_of_validation():
    x, y = problem(IMAGES, samples=8)
    model = alone(IMAGES, layers.RandomRotation(0.5, "wrap", "nearest"), scores())
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    history = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    assert max(history["loss"] + history["val_loss"]) < 1e-30
    assert model.train_on_batch(x, y) < 1e-30
    assert model.train_on_batch(x, y, augment_targets=False) > 1.0


class Squares(losses.Loss):
    """The mean squared error, in Python."""

    def call(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).mean(axis=-1)

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


def test_losses_and_metrics_in_python_see_targets_that_have_moved():
    x = np.random.default_rng(0).normal(size=(6, *IMAGES, 3))

    def trained(loss):
        stack = [gn.Input((*IMAGES, 3)), layers.RandomFlip(), layers.RandomCrop(5, 5), layers.Dense(3)]
        model = gn.Sequential(stack, dtype="float64", seed=4)
        model.compile(gn.optimizers.SGD(0.1), loss)
        history = model.fit(x, x, batch_size=4, epochs=3, verbose=0, seed=2, validation_data=(x, x))
        return history.history, model.get_weights()

    (plain, weights), (own, own_weights) = trained("mse"), trained(Squares())
    assert own["loss"] == pytest.approx(plain["loss"], rel=1e-12)
    assert own["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-12)
    for a, b in zip(weights, own_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def u_net(*stack):
    """A small network that pools and comes back, with a way past the pool."""
    image = gn.Input((8, 8, 1), name="image")
    x = image
    for layer in stack:
        x = layer(x)
    low = layers.UpSampling2D(2)(layers.Conv2D(2, 3, padding="same")(layers.MaxPooling2D(2)(x)))
    merged = layers.Concatenate()([x, low])
    return image, layers.Dense(2, name="mask")(merged), layers.Dense(1, name="height")(merged)


def test_graphs_with_several_outputs():
    image, mask, height = u_net(layers.RandomFlip(), layers.RandomRotation(0.2))
    kind = layers.Dense(3, name="kind")(layers.GlobalAveragePooling2D()(mask))
    model = gn.Model(image, [mask, height, kind], seed=0)
    model.compile("adam", ["sparse_categorical_crossentropy", "mse", "sparse_categorical_crossentropy"])
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 1))
    y = {"mask": (x[..., 0] > 0).astype(int), "height": x, "kind": np.arange(6) % 3}
    for mode in ("auto", "bilinear", {"height": "bilinear"}, {"mask": True, "height": False}, False):
        model.fit(x, y, verbose=0, augment_targets=mode)
    grids = model.network.target_grids([x])
    assert [len(own.grids) for own in grids] == [3, 3, 1]
    assert not any(own.refusal for own in grids)


def test_masks_follow_within_a_whole_network():
    # What the network sees and what it is compared with are moved alike, or it would not learn to copy.
    image, mask, _ = u_net(layers.RandomFlip(), layers.RandomTranslation(0.3, 0.3, "wrap", "nearest"))
    model = gn.Model(image, mask, seed=0)
    x = np.random.default_rng(0).normal(size=(32, 8, 8, 1))
    y = (x[..., 0] > 0).astype(np.uint8)

    def accuracy(mode):
        trained = gn.models.clone_model(model)
        trained.compile(gn.optimizers.Adam(0.03), "sparse_categorical_crossentropy", metrics=["accuracy"])
        trained.fit(x, y, epochs=40, batch_size=8, verbose=0, seed=0, augment_targets=mode)
        return trained.evaluate(x, y, verbose=0)[1]

    assert accuracy("auto") > 0.95
    assert accuracy(False) < 0.75


def around():
    image = gn.Input((8, 8, 1))
    flipped = layers.RandomFlip(name="mirror")(image)
    return gn.Model(image, layers.Dense(2)(layers.Concatenate()([image, flipped])), seed=0)


def two_inputs():
    first, second = gn.Input((8, 8, 1), name="a"), gn.Input((8, 8, 1), name="b")
    both = layers.Add()([layers.RandomFlip()(first), layers.RandomFlip(name="mirror")(second)])
    return gn.Model([first, second], layers.Dense(2)(both), seed=0)


def stacked(*stack, shape=(8, 8, 1)):
    return lambda: gn.Sequential(
        [gn.Input(shape), *[type(s).from_config(s.get_config()) for s in stack]], seed=0
    )


MIRROR = layers.RandomFlip(name="mirror")
REFUSED = {
    "smaller outputs": (
        stacked(MIRROR, layers.MaxPooling2D(2), layers.Dense(2)),
        (4, 4),
        r"\(8, 8\).*\(4, 4\)",
    ),
    "a way around": (around, (8, 8), "not all ways"),
    "two inputs": (two_inputs, (8, 8), "not all ways"),
    "turned axes": (stacked(MIRROR, layers.Permute((2, 1, 3)), layers.Dense(2)), (8, 8), "order of axes"),
    "behind a pool": (
        stacked(layers.MaxPooling2D(2), MIRROR, layers.UpSampling2D(2), layers.Dense(2)),
        (8, 8),
        r"\(4, 4\).*\(8, 8\)",
    ),
    "other axes": (stacked(MIRROR, layers.Reshape((64, 1)), layers.Dense(2)), (64,), r"\(8, 8\).*\(64\)"),
}


@pytest.mark.parametrize(("make", "grid", "match"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_follow_is_an_error(make, grid, match):
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = [np.zeros((4, 8, 8, 1))] * len(model.inputs)
    x = x if len(x) > 1 else x[0]
    y = np.zeros((4, *grid), int)
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match=match) as error:
            train(x, y)
        assert "'mirror'" in str(error.value)
        assert "augment_targets=False" in str(error.value)
    model.fit(x, y, verbose=0, augment_targets=False)
    model.evaluate(x, y, verbose=0)


def test_inputs_without_positions_need_not_be_moved():
    image, number = gn.Input((8, 8, 1), name="image"), gn.Input((3,), name="number")
    spread = layers.Reshape((1, 1, 2))(layers.Dense(2)(number))
    mask = layers.Dense(2)(layers.Add()([layers.Dense(2)(layers.RandomFlip()(image)), spread]))
    model = gn.Model([image, number], mask, seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit([np.zeros((4, 8, 8, 1)), np.zeros((4, 3))], np.zeros((4, 8, 8), int), verbose=0)


def test_a_layer_that_acts_as_in_inference_moves_nothing():
    image = gn.Input((8, 8, 1))
    model = gn.Model(image, layers.Dense(2)(layers.RandomFlip()(image, training=False)), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="no layer moves"):
        model.fit(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8), int), augment_targets=True)


@pytest.mark.parametrize(
    ("given", "error"),
    [("yes", ValueError), (3, TypeError), (None, TypeError), ({"other": True}, ValueError), ([], ValueError)],
)
def test_modes_that_there_are_not(given, error):
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.RandomFlip(), layers.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(error, match="augment_targets"):
        model.fit(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8), int), augment_targets=given, verbose=0)


def test_nothing_moves():
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Dense(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8), int)
    model.fit(x, y, verbose=0)
    # Without such layers nobody asks.
    model.fit(x, y, verbose=0, augment_targets=False)


# Mixing


def test_mix_up_mixes_targets_by_the_same_shares():
    x = np.eye(6).reshape(6, 6)
    model = gn.Sequential([gn.Input((6,)), layers.MixUp(0.5)], dtype="float64", seed=0)
    model.compile(gn.optimizers.SGD(0.0), "mse")
    history = model.fit(x, x, batch_size=4, epochs=4, verbose=0).history
    assert max(history["loss"]) < 1e-30
    assert model.fit(x, x, verbose=0, augment_targets=False).history["loss"][0] > 0.01
    assert model.evaluate(x, x, verbose=0) == 0.0
    weights = np.arange(6.0)
    y, moved = moved_by(model, x, x, 2, weights)
    np.testing.assert_allclose(moved, y @ weights)
    assert set((y > 0).sum(axis=1)) <= {1, 2}
    np.testing.assert_allclose(y.sum(axis=1), 1.0)


def test_mix_up_refuses_class_labels():
    model = gn.Sequential([gn.Input((6,)), layers.MixUp(), layers.Dense(3)], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.zeros((4, 6)), np.arange(4) % 3
    with pytest.raises(ValueError, match="to_categorical"):
        model.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0, augment_targets=False)
    model.compile("sgd", "categorical_crossentropy")
    model.fit(x, gn.utils.to_categorical(y, 3), verbose=0)
    first, second = gn.Input((6,)), gn.Input((2,))
    mixed = layers.Concatenate()([layers.MixUp()(first), second])
    model = gn.Model([first, second], layers.Dense(3)(mixed))
    model.compile("sgd", "mse")
    assert "not all ways" in model.network.target_grids([x, np.zeros((4, 2))])[0].refusal


def test_mix_up_passes_gradients_on():
    x, y = np.random.default_rng(0).normal(size=(5, 4)), np.random.default_rng(1).normal(size=(5, 2))

    def loss(shift):
        model = gn.Sequential(
            [gn.Input((4,)), layers.Dense(3, "tanh"), layers.MixUp(0.7), layers.Dense(2)],
            dtype="float64",
            seed=3,
        )
        kernel = model.layers[0].kernel
        kernel[1, 2] += shift
        model.layers[0].kernel = kernel
        model.compile(gn.optimizers.SGD(0.0), "mse")
        return model.train_on_batch(x, y), model.network.get_gradients()[0][1, 2]

    h = 1e-5
    assert loss(0.0)[1] == pytest.approx((loss(h)[0] - loss(-h)[0]) / (2 * h), rel=1e-6)


def test_the_bytes_do_not_depend_on_threads():
    x, y = problem((32, 32), samples=6)
    threads, found = gn.get_num_threads(), []
    try:
        for count in (1, 3):
            gn.set_num_threads(count)
            stack = [gn.Input((32, 32, CLASSES)), layers.RandomRotation(0.2), layers.RandomCrop(24, 24)]
            model = gn.Sequential([*stack, layers.Conv2D(CLASSES, 3, padding="same")], seed=0)
            model.compile("adam", scores(), metrics=["accuracy"])
            history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, seed=1).history
            found.append((repr(history), [w.tobytes() for w in model.get_weights()]))
    finally:
        gn.set_num_threads(threads)
    assert found[0] == found[1]
