"""Weights of single positions, of their own or by their class."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses, metrics
from gridnn.errors import ShapeError

RNG = np.random.default_rng(7)
N, GRID, CHANNELS = 5, (3, 4), 3
X = RNG.normal(size=(N, *GRID, 2))
LABELS = RNG.integers(0, CHANNELS, size=(N, *GRID))
WEIGHTS = RNG.uniform(0.0, 2.0, size=(N, *GRID)).round(2)
FACTORS = np.array([0.5, 2.0, 1.25])


def model_of(loss, channels=CHANNELS, top=None, grid=GRID, **options):
    stack = [gn.Input((*grid, 2)), layers.Dense(4, "tanh"), layers.Dense(channels, top)]
    model = gn.Sequential(stack, dtype="float64", seed=3)
    model.compile(gn.optimizers.SGD(0.0), loss, **options)
    return model


def binary(y):
    return (y > 0)[..., np.newaxis].astype(float)


# Loss, targets, channels, last activation.
ONE_HOT = np.eye(CHANNELS)[LABELS]
LOSSES = {
    "sparse": (losses.SparseCategoricalCrossentropy(), LABELS, CHANNELS, None),
    "sparse, ignored": (losses.SparseCategoricalCrossentropy(ignore_class=1), LABELS, CHANNELS, None),
    "categorical": (losses.CategoricalCrossentropy(label_smoothing=0.1), ONE_HOT, CHANNELS, "softmax"),
    "focal": (losses.CategoricalFocalCrossentropy(), ONE_HOT, CHANNELS, None),
    "binary": (losses.BinaryCrossentropy(), binary(LABELS), 1, None),
    "binary focal": (losses.BinaryFocalCrossentropy(), binary(LABELS), 1, "sigmoid"),
    "mse": (losses.MeanSquaredError(), ONE_HOT, CHANNELS, None),
    "mae, sum": (losses.MeanAbsoluteError(reduction="sum"), ONE_HOT, CHANNELS, None),
    "huber": (losses.Huber(0.3), ONE_HOT, CHANNELS, None),
    "log cosh": (losses.LogCosh(), ONE_HOT, CHANNELS, None),
    "hinge": (losses.Hinge(), 2 * binary(LABELS) - 1, 1, None),
    "squared hinge": (losses.SquaredHinge(), binary(LABELS), 1, None),
    "categorical hinge": (losses.CategoricalHinge(), ONE_HOT, CHANNELS, None),
    "divergence": (losses.KLDivergence(), ONE_HOT, CHANNELS, "softmax"),
    "poisson": (losses.Poisson(), ONE_HOT, CHANNELS, "softplus"),
    "cosine": (losses.CosineSimilarity(), ONE_HOT, CHANNELS, None),
    "squared log": (losses.MeanSquaredLogarithmicError(), ONE_HOT, CHANNELS, "softplus"),
    "percentage": (losses.MeanAbsolutePercentageError(), ONE_HOT + 1, CHANNELS, None),
}
SETS = {
    "dice": (losses.Dice(), ONE_HOT, CHANNELS, "softmax"),
    "dice by sample": (losses.Dice(axis=(1, 2, 3)), ONE_HOT, CHANNELS, "softmax"),
    "tversky by class": (losses.Tversky(0.3, 0.7, axis=(0, 1, 2)), ONE_HOT, CHANNELS, "softmax"),
}
each = pytest.mark.parametrize(("loss", "y", "channels", "top"), LOSSES.values(), ids=LOSSES)
every = pytest.mark.parametrize(
    ("loss", "y", "channels", "top"), [*LOSSES.values(), *SETS.values()], ids=[*LOSSES, *SETS]
)


def step(model, *data, **options):
    value = model.train_on_batch(*data, **options)
    return value, model.network.get_gradients()


def same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-12)
    for own, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-14)


@each
def test_positions_count_like_samples(loss, y, channels, top):
    # The same positions as samples of a model without a grid, whose weights are those of samples.
    dense, flat = model_of(loss, channels, top), model_of(loss, channels, top, grid=())
    dense.set_weights(flat.get_weights())
    rows = y.reshape(-1) if y.ndim == 3 else y.reshape(-1, y.shape[-1])
    expected = step(flat, X.reshape(-1, 2), rows, sample_weight=WEIGHTS.reshape(-1))
    same(step(dense, X, y, sample_weight=WEIGHTS), expected)
    assert dense.test_on_batch(X, y, sample_weight=WEIGHTS) == pytest.approx(expected[0], rel=1e-12)
    # Not needed where there is a last axis of size 1, which weights may have too.
    same(step(dense, X, y, sample_weight=WEIGHTS[..., np.newaxis]), expected)


@every
def test_gradients_are_derivatives(loss, y, channels, top):
    model = model_of(loss, channels, top)
    weights = model.get_weights()
    classes = {0: 0.5, 1: 2.0} if loss.target_range or loss.targets == "labels" else None
    if isinstance(loss, losses.Hinge):
        classes = {-1: 0.5, 1: 2.0}
    options = {"sample_weight": WEIGHTS, "class_weight": classes}
    _, gradients = step(model, X, y, **options)
    h = 1e-6
    for at in ((0, 1), (1, 2)):
        values = []
        for shift in (h, -h):
            moved = [w.copy() for w in weights]
            moved[0][at] += shift
            model.set_weights(moved)
            values.append(model.train_on_batch(X, y, **options))
        difference = (values[0] - values[1]) / (2 * h)
        assert gradients[0][at] == pytest.approx(difference, rel=2e-4, abs=1e-8)


@every
def test_equal_weights_are_a_factor(loss, y, channels, top):
    model = model_of(loss, channels, top)
    plain = step(model, X, y)
    if type(loss) in (losses.Dice, losses.Tversky):
        # Sums are divided by sums: all that is left of a factor is in the epsilon.
        value = model.train_on_batch(X, y, sample_weight=np.full((N, *GRID), 3.0))
        assert value == pytest.approx(plain[0], rel=1e-5)
        return
    thrice = step(model, X, y, sample_weight=np.full((N, *GRID), 3.0))
    same((thrice[0] / 3, [g / 3 for g in thrice[1]]), plain)


@pytest.mark.parametrize(("loss", "y", "channels", "top"), SETS.values(), ids=SETS)
def test_sets_leave_out_what_has_no_weight(loss, y, channels, top):
    model = model_of(loss, channels, top)
    kept = np.zeros((N, *GRID))
    kept[:, :2] = 1
    found = step(model, X, y, sample_weight=kept)
    smaller = model_of(loss, channels, top, grid=(2, 4))
    smaller.set_weights(model.get_weights())
    same(found, step(smaller, X[:, :2], y[:, :2]))


def test_weights_of_0_and_1_are_labels_that_are_ignored():
    kept = WEIGHTS > 1.0
    ignoring = model_of(losses.SparseCategoricalCrossentropy(ignore_class=-1))
    weighing = model_of("sparse_categorical_crossentropy")
    value, gradients = step(ignoring, X, np.where(kept, LABELS, -1))
    share = kept.mean()
    same(
        step(weighing, X, LABELS, sample_weight=kept.astype(np.uint8)),
        (value * share, [g * share for g in gradients]),
    )


@pytest.mark.parametrize("kind", ["labels", "one-hot", "binary", "signs"])
@pytest.mark.parametrize("form", ["dict", "array", "balanced"])
def test_class_weights_are_looked_up(kind, form):
    loss, y, channels = {
        "labels": ("sparse_categorical_crossentropy", LABELS, CHANNELS),
        "one-hot": ("categorical_crossentropy", ONE_HOT, CHANNELS),
        "binary": ("binary_crossentropy", binary(LABELS), 1),
        "signs": ("hinge", 2 * binary(LABELS) - 1, 1),
    }[kind]
    classes = LABELS if channels > 1 else (LABELS > 0).astype(int)
    count = int(classes.max()) + 1
    balanced = classes.size / (count * np.bincount(classes.reshape(-1)))
    factors = balanced if form == "balanced" else FACTORS[:count]
    keys = [-1, 1] if kind == "signs" else range(count)
    given = {
        "dict": dict(zip(keys, factors.tolist(), strict=True)),
        "array": factors,
        "balanced": "balanced",
    }[form]
    model = model_of(loss, channels)
    expected = step(model, X, y, sample_weight=WEIGHTS * factors[classes])
    same(step(model, X, y, sample_weight=WEIGHTS, class_weight=given), expected)
    expected = step(model, X, y, sample_weight=factors[classes])
    same(step(model, X, y, class_weight=given), expected)
    history = model.fit(X, y, class_weight=given, verbose=0, batch_size=N, validation_data=(X, y)).history
    assert history["loss"][0] == pytest.approx(expected[0])
    # Weights of classes are for training, as in Keras.
    assert history["val_loss"][0] == pytest.approx(model.evaluate(X, y, verbose=0))
    if form != "balanced":
        again = model.fit([(X, y)], class_weight=given, verbose=0).history
        assert again["loss"] == pytest.approx(history["loss"])


def test_ignored_labels_have_no_part_in_the_balance():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=255)
    y = np.where(WEIGHTS > 1.5, 255, LABELS)
    counts = np.bincount(y[y != 255])
    factors = np.append(counts.sum() / (3 * counts), np.ones(253))
    model = model_of(loss)
    same(step(model, X, y, class_weight="balanced"), step(model, X, y, sample_weight=factors[y]))


WEIGHTED = {
    "accuracy": (lambda: metrics.SparseCategoricalAccuracy(), "labels"),
    "top 2": (lambda: metrics.SparseTopKCategoricalAccuracy(2), "labels"),
    "iou": (lambda: metrics.MeanIoU(CHANNELS), "labels"),
    "f1": (lambda: metrics.F1Score(), "one-hot"),
    "precision": (lambda: metrics.Precision(), "one-hot"),
    "recall": (lambda: metrics.Recall(class_id=1), "one-hot"),
    "auc": (lambda: metrics.AUC(), "one-hot"),
    "r2": (lambda: metrics.R2Score(), "one-hot"),
    "mse": (lambda: metrics.MeanSquaredError(), "one-hot"),
    "rmse": (lambda: metrics.RootMeanSquaredError(), "one-hot"),
    "entropy": (lambda: metrics.CategoricalCrossentropy(), "one-hot"),
}


@pytest.mark.parametrize(("make", "kind"), WEIGHTED.values(), ids=WEIGHTED)
def test_weighted_metrics_divide_by_the_weights(make, kind):
    loss = "sparse_categorical_crossentropy" if kind == "labels" else "categorical_crossentropy"
    y = LABELS if kind == "labels" else ONE_HOT
    weights = (WEIGHTS * 2).astype(int).astype(float)
    dense = model_of(loss, top="softmax", weighted_metrics=[make()])
    flat = model_of(loss, top="softmax", grid=(), weighted_metrics=[make()])
    flat.set_weights(dense.get_weights())
    rows = y.reshape(-1) if kind == "labels" else y.reshape(-1, CHANNELS)
    expected = flat.evaluate(X.reshape(-1, 2), rows, sample_weight=weights.reshape(-1), verbose=0)[1]
    assert dense.evaluate(X, y, sample_weight=weights, verbose=0)[1] == pytest.approx(expected, rel=1e-12)
    # A weight of k is to be there k times.
    often = np.repeat(np.arange(weights.size), weights.reshape(-1).astype(int))
    repeated = flat.evaluate(X.reshape(-1, 2)[often], rows[often], verbose=0)[1]
    assert expected == pytest.approx(repeated, rel=1e-9)
    plain = flat.evaluate(X.reshape(-1, 2), rows, verbose=0)[1]
    assert dense.evaluate(X, y, verbose=0)[1] == pytest.approx(plain, rel=1e-12)


def test_metrics_that_are_not_weighted():
    model = model_of("sparse_categorical_crossentropy", metrics=["accuracy"])
    plain = model.evaluate(X, LABELS, verbose=0)[1]
    assert model.evaluate(X, LABELS, sample_weight=WEIGHTS, verbose=0)[1] == plain


class Squares(losses.Loss):
    """The mean squared error, in Python; of whole samples if asked."""

    def __init__(self, whole=False):
        super().__init__()
        self.whole = whole

    def call(self, y_true, y_pred):
        values = ((y_pred - y_true) ** 2).mean(axis=-1)
        return values.mean(axis=(1, 2)) if self.whole else values

    def gradient(self, y_true, y_pred):
        return 2 * (y_pred - y_true) / y_pred.shape[-1]


def test_losses_in_python():
    own, built_in = model_of(Squares()), model_of("mse")
    for options in ({"sample_weight": WEIGHTS}, {"sample_weight": np.arange(1.0, N + 1)}, {}):
        same(step(own, X, ONE_HOT, **options), step(built_in, X, ONE_HOT, **options))
    with pytest.raises(ShapeError, match="for every position"):
        model_of(Squares(whole=True)).train_on_batch(X, ONE_HOT, sample_weight=WEIGHTS)


def several():
    image = gn.Input((*GRID, 2), name="image")
    mask = layers.Dense(CHANNELS, name="mask")(image)
    kind = layers.Dense(2, name="kind")(layers.GlobalAveragePooling2D()(image))
    model = gn.Model(image, [mask, kind], dtype="float64", seed=0)
    model.compile(
        gn.optimizers.SGD(0.0), "sparse_categorical_crossentropy", weighted_metrics=[["accuracy"]] * 2
    )
    return model, {"mask": LABELS, "kind": np.array([0, 1, 1, 0, 1])}


def test_several_outputs():
    model, y = several()
    kinds = np.array([1.0, 4.0])
    both = {"mask": WEIGHTS * FACTORS[LABELS], "kind": kinds[y["kind"]]}
    expected = model.train_on_batch(X, y, sample_weight=both, return_dict=True)
    given = {"mask": FACTORS, "kind": {1: 4.0}}
    found = model.train_on_batch(X, y, sample_weight={"mask": WEIGHTS}, class_weight=given, return_dict=True)
    assert found == pytest.approx(expected, rel=1e-12)
    history = model.fit(X, y, class_weight={"mask": "balanced"}, verbose=0).history
    assert history["kind_loss"][0] == pytest.approx(
        model.evaluate(X, y, verbose=0, return_dict=True)["kind_loss"]
    )
    # Weights of samples are for all outputs.
    model.fit(X, y, sample_weight=np.arange(N), verbose=0)
    single = {"mask": np.arange(N), "kind": np.arange(N)}
    assert model.evaluate(X, y, sample_weight=np.arange(N), verbose=0) == model.evaluate(
        X, y, sample_weight=single, verbose=0
    )


def test_errors_name_the_argument_and_the_output():
    model, y = several()

    def refused(match, **options):
        with pytest.raises(ValueError, match=match):
            model.fit(X, y, verbose=0, **options)

    refused("dict by their names, which are 'mask', 'kind'", class_weight={0: 1.0})
    refused("dict by their names", class_weight="balanced")
    refused("'other'", class_weight={"other": {0: 1.0}, "mask": {0: 1.0}})
    refused("class 7", class_weight={"mask": {7: 1.0}})
    refused(r"sample_weight\['kind'\]", sample_weight={"kind": WEIGHTS})
    refused(r"sample_weight\['mask'\].*\(5, 3, 4\)", sample_weight={"mask": WEIGHTS[:, :2]})
    refused(r"sample_weight\['mask'\].*not be negative", sample_weight={"mask": WEIGHTS - 5})
    alone = model_of("categorical_crossentropy")
    soft = ONE_HOT.copy()
    soft[1, 2, 3] = 0.5
    with pytest.raises(ValueError, match="sample 1, 2, 3 of `y`"):
        alone.fit(X, soft, class_weight={0: 2.0}, verbose=0)
    alone.fit(X, ONE_HOT, class_weight={"dense_1": {0: 2.0}}, verbose=0)
    with pytest.raises(ValueError, match="`sample_weight`"):
        alone.fit(X, ONE_HOT, sample_weight=np.ones((N, *GRID, CHANNELS)), verbose=0)
    numbers = model_of("mse", 1)
    with pytest.raises(ValueError, match="needs class labels"):
        numbers.fit(X, X[..., :1], class_weight={0: 2.0}, verbose=0)


def test_validation_with_weights_of_positions():
    model = model_of("sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    history = model.fit(X, LABELS, validation_data=(X, LABELS, WEIGHTS), verbose=0).history
    expected = model.evaluate(X, LABELS, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert history["val_loss"][0] == expected["loss"]
    assert history["val_accuracy"][0] == expected["accuracy"]
    held = model.fit(X, LABELS, sample_weight=WEIGHTS, validation_split=0.4, verbose=0).history
    assert held["val_loss"][0] == model.evaluate(X[3:], LABELS[3:], sample_weight=WEIGHTS[3:], verbose=0)[0]
