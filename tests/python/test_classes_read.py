"""Whatever reads classes decides as the model does, and labels and weights are what the loss is for."""

import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers, losses, metrics

RNG = np.random.default_rng(5)
X = RNG.normal(size=(200, 3))
TRUTH = (X @ [1.0, -2.0, 0.5] + 0.3 > 0).astype(int)


def fixed(loss, chosen, *, activation=None, units=1, kernel=None, bias=0.1):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(units, activation=activation)], seed=0)
    kernel = np.array([[1.0], [-1.5], [0.2]]) if kernel is None else kernel
    model.set_weights([kernel, np.full(units, bias)])
    model.compile("sgd", loss, metrics=chosen)
    return model


def counted(found, truth):
    hits = int((found & truth).sum())
    return hits, int((found & ~truth).sum()), int((~found & truth).sum())


def expected(found, truth):
    found, truth = found.astype(bool), truth.astype(bool)
    hits, alarms, misses = counted(found, truth)
    rest, _, _ = counted(~found, ~truth)
    return {
        "f1_score": 2 * hits / (2 * hits + alarms + misses),
        "precision": hits / (hits + alarms),
        "recall": hits / (hits + misses),
        "first": hits / (hits + alarms),
        "categorical_accuracy": (found == truth).mean(),
        "top_k_categorical_accuracy": (found == truth).mean(),
        "binary_accuracy": (found == truth).mean(),
        "accuracy": (found == truth).mean(),
        "iou": (hits / (hits + alarms + misses) + rest / (rest + alarms + misses)) / 2,
    }


def of_classes():
    return [
        "f1_score",
        "precision",
        "recall",
        metrics.Precision(top_k=1, name="first"),
        "categorical_accuracy",
        "top_k_categorical_accuracy",
        "binary_accuracy",
        "accuracy",
        metrics.MeanIoU(2, name="iou"),
    ]


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("binary_crossentropy", "sigmoid"),
        ("binary_crossentropy", None),
        ("mse", "sigmoid"),
        ("dice", "sigmoid"),
        ("dice", None),
        ("tversky", None),
        ("binary_focal_crossentropy", None),
    ],
)
def test_one_output(loss, activation):
    model = fixed(loss, of_classes(), activation=activation)
    scores = X @ model.get_weights()[0][:, 0] + 0.1
    logs = model.evaluate(X, TRUTH, verbose=0, return_dict=True)
    for name, value in expected(scores > 0, TRUTH).items():
        assert logs[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
@pytest.mark.parametrize("labels", ["signs", "bits"])
@pytest.mark.parametrize("batch_size", [32, 3])
def test_hinge_decides_by_sign(loss, labels, batch_size):
    model = fixed(loss, [*of_classes(), "auc"], activation="tanh")
    y = 2 * TRUTH - 1 if labels == "signs" else TRUTH
    scores = X @ model.get_weights()[0][:, 0] + 0.1
    logs = model.evaluate(X, y, verbose=0, return_dict=True, batch_size=batch_size)
    for name, value in expected(scores > 0, TRUTH).items():
        assert logs[name] == pytest.approx(value, abs=1e-6), name
    ranks = scores[TRUTH == 1][:, None] > scores[TRUTH == 0]
    assert logs["auc"] == pytest.approx(ranks.mean(), abs=0.02)


def test_thresholds_that_are_given_count():
    model = fixed("binary_crossentropy", [metrics.F1Score(threshold=0.8), metrics.Precision(0.8)])
    scores = 1 / (1 + np.exp(-(X @ model.get_weights()[0][:, 0] + 0.1)))
    logs = model.evaluate(X, TRUTH, verbose=0, return_dict=True)
    wanted = expected(scores > 0.8, TRUTH)
    assert logs["f1_score"] == pytest.approx(wanted["f1_score"], abs=1e-6)
    assert logs["precision"] == pytest.approx(wanted["precision"])
    assert metrics.BinaryAccuracy(0.7).get_config() == {"threshold": 0.7, "name": "binary_accuracy"}


# Pictures


@pytest.fixture(autouse=True)
def _figures():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def shown(ax):
    title = ax.get_title()
    sys.modules["matplotlib.pyplot"].close(ax.figure)
    return title


def test_confusion_matrices():
    pytest.importorskip("matplotlib")
    chance = 1 / (1 + np.exp(-(X @ [1.0, -1.5, 0.2])))
    right = f"{np.mean((chance > 0.5) == TRUTH):.1%} of 200 right"
    for outputs in (chance, chance[:, None], chance.astype(np.float32), (chance > 0.5), (chance > 0.5) * 1.0):
        assert shown(gn.plot.confusion_matrix(TRUTH, outputs)) == right
        assert shown(gn.plot.confusion_matrix(TRUTH[:, None], outputs)) == right
    assert shown(gn.plot.confusion_matrix(2 * TRUTH - 1, chance - 0.5)) == right
    two = np.stack([1 - chance, chance], axis=-1)
    assert shown(gn.plot.confusion_matrix(TRUTH, two)) == right
    assert shown(gn.plot.confusion_matrix(np.eye(2)[TRUTH], two)) == right
    maps = two.reshape(10, 4, 5, 2)
    assert shown(gn.plot.confusion_matrix(TRUTH.reshape(10, 4, 5), maps)) == right
    assert shown(gn.plot.confusion_matrix(TRUTH.reshape(10, 4, 5, 1), maps[..., 1:])) == right
    with pytest.raises(ValueError, match="predictions > 0"):
        gn.plot.confusion_matrix(TRUTH, X[:, 0] * 3)
    with pytest.raises(ValueError, match="`labels` must hold classes"):
        gn.plot.confusion_matrix(TRUTH - 3, chance)
    with pytest.raises(ValueError, match="`labels` must hold classes"):
        gn.plot.confusion_matrix(TRUTH + 0.5, chance)


@pytest.mark.parametrize("loss", ["hinge", "dice", "binary_crossentropy"])
def test_the_report_reads_classes(loss, tmp_path):
    pytest.importorskip("matplotlib")
    model = fixed(loss, [])
    y = 2 * TRUTH - 1 if loss == "hinge" else TRUTH
    model.report(tmp_path / "report.html", X, y)
    found = X @ model.get_weights()[0][:, 0] + 0.1 > 0
    assert f"{np.mean(found == TRUTH):.4g}" in (tmp_path / "report.html").read_text()


# Losses of probabilities


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("loss", [losses.Dice, losses.Tversky, losses.KLDivergence])
def test_scores_become_probabilities(loss, units):
    kernel = RNG.normal(size=(3, units))
    y = RNG.uniform(size=(200, units))
    y = y if units == 1 else y / y.sum(axis=1, keepdims=True)
    last = "sigmoid" if units == 1 else "softmax"
    inside = fixed(loss(), ["mse"], activation=last, units=units, kernel=kernel)
    outside = fixed(loss(), ["mse"], units=units, kernel=kernel)
    np.testing.assert_allclose(inside.evaluate(X, y, verbose=0), outside.evaluate(X, y, verbose=0), rtol=1e-5)
    for model in (inside, outside):
        model.train_on_batch(X, y)
    np.testing.assert_allclose(inside.get_weights()[0], outside.get_weights()[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [losses.Dice, losses.Tversky, losses.KLDivergence])
def test_from_logits_can_be_said(loss):
    assert loss().from_logits is None
    assert loss.from_config(loss(from_logits=True).get_config()).from_logits is True
    y = np.full((200, 1), 0.5)
    raw = fixed(loss(from_logits=False), [], activation=None).evaluate(X, y, verbose=0)
    squashed = fixed(loss(from_logits=True), [], activation=None).evaluate(X, y, verbose=0)
    assert raw != squashed


def test_dice_trains_a_model_that_ends_in_scores():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(1)], seed=0)
    model.compile(gn.optimizers.Adam(0.1), "dice", metrics=["accuracy"])
    history = model.fit(X, TRUTH, epochs=20, verbose=0).history
    assert 0 < history["loss"][-1] < 0.2
    assert history["accuracy"][-1] > 0.9


# Labels


@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "binary_focal_crossentropy", "dice", "tversky", "crossentropy"]
)
@pytest.mark.parametrize(
    ("y", "match"),
    [
        (2 * TRUTH - 1, r"holds -1, but .* from 0 to 1.*\(y \+ 1\) / 2"),
        (255 * TRUTH, r"holds 255.*y / 255"),
        (TRUTH + TRUTH * (X[:, 0] > 0), "holds 2.*sparse_categorical_crossentropy.*3 classes"),
        (TRUTH - 7.5, "holds -7.5.*Scale them"),
    ],
    ids=["signs", "mask", "classes", "numbers"],
)
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_labels_that_the_loss_is_not_for(loss, y, match, method):
    model = fixed(loss, [])
    before = model.get_weights()[0].tobytes()
    with pytest.raises(ValueError, match="`y` " + match):
        getattr(model, method)(X, y, verbose=0)
    with pytest.raises(ValueError, match="validation_y"):
        model.fit(X, TRUTH, validation_data=(X, y), verbose=0)
    with pytest.raises(ValueError, match="`y` " + match):
        model.fit([(X, y)], verbose=0)
    assert model.get_weights()[0].tobytes() == before


def test_labels_of_hinge_and_categorical_losses():
    for loss in ("hinge", "squared_hinge"):
        with pytest.raises(ValueError, match="from -1 to 1"):
            fixed(loss, []).evaluate(X, 255 * TRUTH, verbose=0)
    for loss in ("categorical_crossentropy", "categorical_focal_crossentropy", "kld", "categorical_hinge"):
        with pytest.raises(ValueError, match="from 0 to 1"):
            fixed(loss, [], units=3, kernel=np.zeros((3, 3))).evaluate(X, 255 * np.eye(3)[TRUTH], verbose=0)


def test_soft_and_rounded_labels_are_taken():
    model = fixed("binary_crossentropy", [])
    model.fit(X, TRUTH * 0.8 + 0.1, verbose=0)
    model.fit(X, TRUTH * (1 + 2e-7) - 1e-9, verbose=0)


# Weights of samples and classes


def trained(class_weight=None, sample_weight=None, *, loss="binary_crossentropy", y=TRUTH, units=1):
    model = fixed(loss, [], units=units, kernel=np.full((3, units), 0.1))
    model.fit(X, y, verbose=0, class_weight=class_weight, sample_weight=sample_weight, shuffle=False)
    return [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize(
    "given",
    [
        {0: 1.0, 1: 3.0},
        {1: 3},
        {0.0: 1, 1.0: 3},
        {False: 1, True: 3},
        {"0": 1, "1": 3},
        {np.int64(0): 1, np.float32(1): np.float64(3)},
        [1, 3],
        np.array([1.0, 3.0]),
    ],
    ids=repr,
)
def test_class_weights(given):
    assert trained(given) == trained(sample_weight=np.where(TRUTH == 1, 3.0, 1.0))
    one_hot = np.eye(2)[TRUTH]
    weighted = trained(given, loss="categorical_crossentropy", y=one_hot, units=2)
    assert weighted == trained(given, loss="sparse_categorical_crossentropy", units=2)
    assert weighted != trained(loss="categorical_crossentropy", y=one_hot, units=2)


def test_balanced_weights():
    counts = np.bincount(TRUTH)
    balanced = len(TRUTH) / (2 * counts)
    assert trained("balanced") == trained(balanced) == trained(dict(enumerate(balanced)))
    signs = 2 * TRUTH - 1
    assert trained("balanced", loss="hinge", y=signs) == trained(
        {-1: balanced[0], 1: balanced[1]}, loss="hinge", y=signs
    )
    assert trained(balanced, loss="hinge", y=signs) == trained("balanced", loss="hinge", y=signs)
    ignoring = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    y = np.where(np.arange(200) % 3 == 0, -1, TRUTH)
    kept = np.bincount(y[y >= 0])
    assert trained("balanced", loss=ignoring, y=y, units=2) == trained(
        kept.sum() / (2 * kept), loss=ignoring, y=y, units=2
    )
    model = fixed("binary_crossentropy", [])
    with pytest.raises(ValueError, match="all labels at once"):
        model.fit([(X, TRUTH)], class_weight="balanced", verbose=0)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({2: 1.0}, ValueError, "weight for class 2, but the classes are 0 to 1"),
        ({-1: 1.0}, ValueError, "class -1"),
        ({1: -2.0}, ValueError, "at least 0"),
        ({1: 2.0, "1": 3.0}, ValueError, "two weights for class 1"),
        ({0.5: 1.0}, TypeError, "whole numbers"),
        ({"cat": 1.0}, TypeError, "whole numbers"),
        ([1, 2, 3], ValueError, "each of the 2 classes"),
        (np.ones((2, 2)), TypeError, "one weight per class"),
        ("balance", TypeError, "'balanced'"),
        (3, TypeError, "dict"),
    ],
    ids=str,
)
def test_class_weights_that_fit_nothing(given, error, match):
    for model, y in [
        (fixed("binary_crossentropy", []), TRUTH),
        (fixed("ce", [], units=2, kernel=np.zeros((3, 2))), TRUTH),
    ]:
        with pytest.raises(error, match=match):
            model.fit(X, y, class_weight=given, verbose=0)
        with pytest.raises(error, match=match):
            model.train_on_batch(X, y, class_weight=given)
        with pytest.raises(error, match=match):
            model.fit([(X, y)], class_weight=given, verbose=0)


def test_class_weights_where_samples_have_several_classes():
    model = fixed("binary_crossentropy", [], units=3, kernel=np.zeros((3, 3)))
    y = np.eye(3)[np.arange(200) % 3]
    model.fit(X, y, class_weight={0: 2.0}, verbose=0)
    y[7] = [1, 1, 0]
    with pytest.raises(ValueError, match=r"sample 7 of `y` has several.*sample_weight"):
        model.fit(X, y, class_weight={0: 2.0}, verbose=0)
    y[7] = 0
    with pytest.raises(ValueError, match="or none"):
        model.fit(X, y, class_weight={0: 2.0}, verbose=0)
    numbers = fixed("mse", [])
    with pytest.raises(ValueError, match="class labels"):
        numbers.fit(X, X[:, 0], class_weight={0: 2.0}, verbose=0)


def test_negative_sample_weights():
    model = fixed("mse", [])
    weights = np.ones(200)
    weights[3] = -1
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="must not be negative"):
            call(X, TRUTH, sample_weight=weights, verbose=0)


# Means


@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_the_mean_with_ignored_classes_does_not_depend_on_the_batch(regularizer):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2, kernel_regularizer=regularizer)], seed=0)
    model.compile("sgd", losses.SparseCategoricalCrossentropy(ignore_class=-1))
    y = np.where(np.arange(200) < 110, -1, TRUTH)
    whole = model.evaluate(X, y, batch_size=200, verbose=0)
    for size in (1, 7, 64):
        assert model.evaluate(X, y, batch_size=size, verbose=0) == pytest.approx(whole, rel=1e-6)
    model.compile(gn.optimizers.SGD(0.0), losses.SparseCategoricalCrossentropy(ignore_class=-1))
    for size in (1, 7, 64):
        loss = model.fit(X, y, batch_size=size, verbose=0).history["loss"][0]
        assert loss == pytest.approx(whole, rel=1e-6)
    only = y >= 0
    assert model.evaluate(X[only], y[only], verbose=0) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3e7, 1e-12])
def test_constant_features_keep_their_scale(constant):
    layer = layers.Normalization()
    data = np.full((1000, 2), constant)
    data[:, 1] = np.arange(1000)
    layer.adapt(data)
    model = gn.Sequential([gn.Input((2,)), layer], dtype="float64")
    out = model.predict(data[:1] + np.array([1.0, 0.0]), verbose=0)
    assert out[0, 0] == pytest.approx(1.0, abs=1e-6)
    inverse = gn.Sequential(
        [gn.Input((2,)), layers.Normalization(mean=layer.mean, variance=layer.variance, invert=True)],
        dtype="float64",
    )
    np.testing.assert_allclose(inverse.predict(out, verbose=0), data[:1] + np.array([1.0, 0.0]), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, 1e6 + 0.1, 3e-20, -7e18])
@pytest.mark.parametrize("number", [7, 1000, 200_000])
def test_the_coefficient_of_targets_that_are_all_alike_is_zero(constant, number):
    model = gn.Sequential([gn.Input((1,)), layers.Activation("linear")])
    model.compile("sgd", "mae", metrics=["r2_score"])
    y = np.full((number, 1), constant, np.float32)
    values = model.evaluate(np.full_like(y, 0.5), y, batch_size=999, verbose=0)
    assert values[1] == 0.0


@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
def test_the_coefficient_does_not_depend_on_an_offset(offset):
    model = gn.Sequential([gn.Input((1,)), layers.Activation("linear")])
    model.compile("sgd", "mse", metrics=["r2_score"])
    y = (RNG_OF_OFFSETS.normal(size=(20_000, 1)) + offset).astype(np.float32)
    x = (y + RNG_OF_OFFSETS.normal(size=y.shape) / 2).astype(np.float32)
    exact = y.astype(np.float64)
    want = 1 - np.square(exact - x).sum() / np.square(exact - exact.mean()).sum()
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(want, abs=1e-6)


RNG_OF_OFFSETS = np.random.default_rng(12)
