"""`CNNClassifier` and `CNNRegressor` on grids, in scikit-learn's tools."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - opens what is imported next
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import gridnn as gn
from gridnn import layers
from gridnn.sklearn import CNNClassifier, CNNRegressor

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(3)
Y = np.tile(["bar", "dot", "rest"], 20)
IMAGES = RNG.normal(size=(60, 8, 8, 2)).astype(np.float32) * 0.3
IMAGES[Y == "bar", 3, :, 0] += 1
IMAGES[Y == "dot", 5, 5, 1] += 4
SERIES = RNG.normal(size=(60, 24, 3)) * 0.2
SERIES[Y == "bar", 6:9, 1] += 1
FAST = {"epochs": 6, "model__width": 8, "random_state": 0}


def weights(estimator):
    return [weight.tobytes() for weight in estimator.model_.get_weights()]


def tiny(input_shape, outputs, filters=4, activation=None):
    stack = [layers.Conv2D(filters, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    return gn.Sequential([gn.Input(input_shape), *stack, layers.Dense(outputs, activation=activation)])


# How samples are read


@pytest.mark.parametrize(
    ("shape", "options", "grid"),
    [
        ((150,), {}, (150, 1)),
        ((64,), {"input_shape": (8, 8)}, (8, 8, 1)),
        ((8, 8), {}, (8, 8, 1)),
        ((28, 28, 28), {}, (28, 28, 28, 1)),
        ((100, 6), {}, (100, 6)),
        ((6, 100), {"layout": "channels_first"}, (100, 6)),
        ((1, 150), {"layout": "channels_first"}, (150, 1)),
        ((150,), {"layout": "channels_first"}, (150, 1)),
        ((8, 8), {"layout": "channels_first"}, (8, 8)),
        ((600,), {"input_shape": (6, 100), "layout": "channels_first"}, (100, 6)),
        ((9, 7), {"input_shape": (9, 7, 1)}, (9, 7, 1)),
        ((5, 6, 7, 2), {}, (5, 6, 7, 2)),
    ],
)
def test_samples_are_read_as(shape, options, grid):
    x = RNG.normal(size=(10, *shape))
    estimator = CNNRegressor(epochs=1, model__width=2, random_state=0, **options).fit(x, np.arange(10.0))
    assert estimator.model_.input_shape == (None, *grid)
    assert estimator.predict(x).shape == (10,)


def test_folding_keeps_the_order_of_channels():
    channels_first = {"layout": "channels_first", **FAST}
    expected = CNNClassifier(**FAST).fit(SERIES, Y)
    turned = np.moveaxis(SERIES, -1, 1)
    for x, options in ((turned, {}), (turned.reshape(60, -1), {"input_shape": (3, 24)})):
        found = CNNClassifier(**channels_first, **options).fit(x, Y)
        assert weights(found) == weights(expected)
        np.testing.assert_array_equal(found.predict_proba(x), expected.predict_proba(SERIES))


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((6, 10)), {"input_shape": (3, 3)}, "cannot be folded into input_shape"),
        (np.zeros((6, 10)), {"input_shape": "big"}, "'input_shape' parameter"),
        (np.zeros((6, 2, 3, 2, 2, 2)), {}, "at most 3 spatial axes"),
        (np.full((6, 4, 2), np.nan), {}, "Input X contains NaN"),
        (np.full((6, 4, 2), 1e300), {}, r"too large for dtype\('float32'\)"),
        (np.zeros((6, 4, 2), complex), {}, "Complex data not supported"),
        (np.zeros((5, 4, 2)), {}, "inconsistent numbers of samples"),
        (np.zeros(6), {}, "Expected 2D array, got 1D array"),
    ],
)
def test_samples_that_are_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        CNNClassifier(**options).fit(x, [0, 1] * 3)


def test_other_shapes_are_refused_later():
    fitted = CNNClassifier(**FAST).fit(SERIES, Y)
    with pytest.raises(ValueError, match="X has 23 features, but CNNClassifier is expecting 24"):
        fitted.predict(SERIES[:, 1:])
    with pytest.raises(ValueError, match=r"is expecting samples of shape \(24, 3\)"):
        fitted.predict(SERIES[..., 1:])


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool, np.float16])
def test_other_types_of_samples(kind):
    x = (IMAGES > 0.5).astype(kind)
    expected = CNNClassifier(**FAST).fit(x.astype(np.float32), Y)
    assert weights(CNNClassifier(**FAST).fit(x, Y)) == weights(expected)


# Parameters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"epochs": 0},
            r"The 'epochs' parameter of CNNClassifier must be an int in the range \[1, inf\) or a str",
        ),
        ({"batch_size": 2.5}, "'batch_size' parameter"),
        ({"learning_rate": -1.0}, "'learning_rate' parameter"),
        ({"layout": "first"}, "'layout' parameter.*'channels_first', 'channels_last'"),
        ({"normalize": 1}, "'normalize' parameter"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
        ({"n_iter_no_change": 0}, "'n_iter_no_change' parameter"),
        ({"augment": "flip"}, "'augment' parameter"),
        ({"callbacks": [print]}, "'callbacks' parameter"),
        ({"model": "alexnet"}, "'model' parameter.*'auto'"),
        ({"model": "load_model"}, "among .*'lenet5', 'mobilenet'"),
        ({"model": "inception"}, "'model' parameter"),
        ({"model": gn.Sequential([layers.Dense(1)])}, "shared between clones"),
        ({"loss": "likeness"}, "likeness"),
        ({"optimizer": "hill"}, "hill"),
        ({"random_state": "now"}, "now"),
        ({"class_weight": "even"}, "'class_weight' parameter of CNNClassifier .* 'balanced' .*'even'"),
    ],
)
def test_parameters_are_checked_by_fit(options, message):
    estimator = CNNClassifier().set_params(**options)  # which does not look at them
    with pytest.raises(ValueError, match=message):
        estimator.fit(SERIES, Y)


def test_unknown_parameters():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
        CNNClassifier(epoch=3)
    with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
        CNNClassifier().set_params(epoch=3)
    with pytest.raises(TypeError, match="'model__depth' for model auto: it takes model__width"):
        CNNClassifier(model__depth=3).fit(SERIES, Y)


def test_arguments_of_the_network_are_parameters():
    estimator = CNNClassifier(model__width=4)
    assert estimator.get_params()["model__width"] == 4
    assert (
        clone(estimator).set_params(model__width=6, model__dropout=0.1).get_params()["model__dropout"] == 0.1
    )
    assert "model__width=4" in repr(estimator)
    search = GridSearchCV(CNNClassifier(**FAST), {"model__width": [2, 12]}, cv=2).fit(IMAGES, Y)
    assert search.best_params_ == {"model__width": 12}


def test_networks_by_name_and_by_function():
    named = CNNClassifier("resnet", model__depth=20, model__width=2, epochs=1, random_state=1).fit(IMAGES, Y)
    assert named.model_.output_shape == (None, 3)
    made = CNNClassifier(tiny, model__filters=5, epochs=1, random_state=1)
    assert weights(clone(made).fit(IMAGES, Y)) == weights(made.fit(IMAGES, Y))
    with pytest.raises(ValueError, match="must put out 3 numbers"):
        CNNClassifier(lambda shape, outputs: tiny(shape, 7)).fit(IMAGES, Y)
    with pytest.raises(TypeError, match=r"must return a gridnn\.Sequential"):
        CNNClassifier(lambda shape, outputs: None).fit(IMAGES, Y)


def test_the_seed_of_a_function_s_network_leaves_other_models_alone():
    def drawn():
        gn.set_random_seed(5)
        return gn.Sequential([gn.Input((3,)), layers.Dense(2)]).seed

    expected = drawn()
    gn.set_random_seed(5)
    CNNClassifier(tiny, epochs=1, random_state=1).fit(IMAGES, Y)
    assert gn.Sequential([gn.Input((3,)), layers.Dense(2)]).seed == expected == drawn()


# What comes out


def test_labels_stay_what_they_are():
    fitted = CNNClassifier(**{**FAST, "epochs": 30}).fit(IMAGES, Y)
    assert list(fitted.classes_) == ["bar", "dot", "rest"]
    assert fitted.score(IMAGES, Y) > 0.9
    assert fitted.model_.class_names == ["bar", "dot", "rest"]
    for labels in (np.array([-5, 3, 40])[np.searchsorted(fitted.classes_, Y)], Y == "dot"):
        again = CNNClassifier(**FAST).fit(IMAGES, labels)
        assert set(again.predict(IMAGES)) <= set(labels)
        assert again.predict(IMAGES).dtype == labels.dtype


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_probabilities_agree(activation):
    loss = "binary_crossentropy" if activation == "sigmoid" else None
    options = {"model__activation": activation, "loss": loss, "epochs": 2, "random_state": 0}
    fitted = CNNClassifier(tiny, **options).fit(IMAGES, Y)
    found = fitted.predict_proba(IMAGES)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(IMAGES)), found)
    assert (fitted.classes_[found.argmax(axis=1)] == fitted.predict(IMAGES)).all()
    if activation == "softmax":
        np.testing.assert_allclose(found, fitted.model_.predict(IMAGES, verbose=0), rtol=1e-5)
    two = CNNClassifier(tiny, **options).fit(IMAGES, Y == "dot")
    assert two.predict_proba(IMAGES).shape == (60, 2)
    assert ((two.decision_function(IMAGES) > 0) == two.predict(IMAGES)).all()


def test_several_labels_at_once():
    labels = np.stack([Y == "bar", Y != "rest"], axis=1).astype(int)
    fitted = CNNClassifier(**{**FAST, "epochs": 30}).fit(IMAGES, labels)
    assert fitted.score(IMAGES, labels) > 0.8
    assert fitted.predict_proba(IMAGES).shape == (60, 2)
    assert ((fitted.decision_function(IMAGES) > 0) == fitted.predict(IMAGES)).all()


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "binary_focal_crossentropy", "mse"])
def test_losses_that_compare_with_rows(loss):
    assert CNNClassifier(loss=loss, **{**FAST, "epochs": 30}).fit(IMAGES, Y).score(IMAGES, Y) > 0.6


def test_class_weights_are_weights_of_samples():
    rare = np.flatnonzero((Y != "bar") | (np.arange(60) < 12))
    x, y = IMAGES[rare], Y[rare]
    balanced = CNNClassifier(class_weight="balanced", **FAST).fit(x, y)
    factors = sklearn.utils.compute_sample_weight("balanced", y)
    assert weights(balanced) == weights(CNNClassifier(**FAST).fit(x, y, sample_weight=factors))


def test_samples_of_weight_zero_are_not_there():
    weight = np.where(np.arange(60) % 5 == 0, 0.0, 2.0)
    expected = CNNClassifier(**FAST).fit(IMAGES[weight > 0], Y[weight > 0], weight[weight > 0])
    assert weights(CNNClassifier(**FAST).fit(IMAGES, Y, weight)) == weights(expected)
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        CNNClassifier().fit(IMAGES, Y, weight - 1)


def test_targets_are_scaled():
    y = IMAGES[..., 0].mean(axis=(1, 2)) * 1e4 + 7e5
    fitted = CNNRegressor(**{**FAST, "epochs": 60}).fit(IMAGES, y)
    assert fitted.score(IMAGES, y) > 0.8
    both = CNNRegressor(**FAST).fit(IMAGES, np.stack([y, -y], axis=1))
    assert both.predict(IMAGES).shape == (60, 2)
    constant = CNNRegressor(**FAST).fit(IMAGES, np.full(60, 3.0))
    np.testing.assert_allclose(constant.predict(IMAGES), 3.0, atol=3.0)
    positive = CNNRegressor(tiny, model__activation="softplus", loss="poisson", epochs=1)
    counts = positive.fit(IMAGES, np.arange(60.0))
    assert counts.y_scale_ == 1
    assert counts.predict(IMAGES).min() > 0


# Seeds, and going on


def test_random_state():
    fitted = [
        CNNClassifier(**{**FAST, "random_state": state}).fit(IMAGES, Y) for state in (0, 0, 1, None, None)
    ]
    same, again, *others = map(weights, fitted)
    assert same == again
    assert all(same != other for other in others)
    assert others[-1] != others[-2]
    generator = np.random.RandomState(0)
    assert weights(CNNClassifier(**{**FAST, "random_state": generator}).fit(IMAGES, Y)) == same


@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 60)])
def test_parts_come_to_the_whole(weight):
    options = {"batch_size": 16, "augment": layers.RandomFlip(), **FAST}
    expected = CNNClassifier(**options).fit(IMAGES, Y, weight)
    parts = CNNClassifier(**options)
    for _ in range(6):
        parts.partial_fit(IMAGES, Y, classes=["rest", "dot", "bar"], sample_weight=weight)
    warm = CNNClassifier(**{**options, "epochs": 3}, warm_start=True).fit(IMAGES, Y, weight)
    assert warm.n_iter_ == 3
    warm.fit(IMAGES, Y, weight)
    assert weights(parts) == weights(warm) == weights(expected)
    assert parts.loss_curve_ == warm.loss_curve_ == expected.loss_curve_
    assert parts.n_iter_ == warm.n_iter_ == len(parts.history_["accuracy"]) == 6


def test_parts_of_a_regression():
    y = IMAGES.mean(axis=(1, 2, 3))
    expected = CNNRegressor(**FAST).fit(IMAGES, y)
    parts = CNNRegressor(**FAST)
    for _ in range(6):
        parts.partial_fit(IMAGES, y)
    assert weights(parts) == weights(expected)


def test_what_parts_must_know():
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        CNNClassifier().partial_fit(IMAGES, Y)
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        CNNClassifier(class_weight="balanced").partial_fit(IMAGES, Y, classes=np.unique(Y))
    fitted = CNNClassifier(**FAST).partial_fit(IMAGES[Y != "dot"], Y[Y != "dot"], classes=np.unique(Y))
    assert fitted.predict_proba(IMAGES).shape == (60, 3)
    with pytest.raises(ValueError, match=r"has classes not in `self\.classes_`"):
        fitted.partial_fit(IMAGES, np.where(Y == "dot", "spot", Y))
    with pytest.raises(ValueError, match="not the same as on last call"):
        fitted.partial_fit(IMAGES, Y, classes=["a", "b"])


def test_early_stopping():
    options = {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 2, "random_state": 0}
    fitted = CNNClassifier(epochs=200, model__width=8, **options).fit(IMAGES, Y)
    assert fitted.n_iter_ < 200
    losses = fitted.history_["val_loss"]
    assert len(losses) == fitted.n_iter_ == np.argmin(losses) + 3
    steps = make_pipeline(
        FunctionTransformer(lambda x: x * 2), CNNClassifier(epochs=200, model__width=8, **options)
    )
    assert 1 < steps.fit(IMAGES, Y)[-1].n_iter_ < 200


def test_augmentation_is_not_used_up():
    flip = layers.RandomFlip("horizontal")
    estimator = CNNClassifier(augment=[flip], **FAST)
    assert weights(estimator.fit(IMAGES, Y)) == weights(estimator.fit(IMAGES, Y))
    assert weights(clone(estimator).fit(IMAGES, Y)) == weights(estimator)
    assert estimator.get_params()["augment"] == [flip]


def test_optimizers_and_schedules():
    schedule = gn.schedules.CosineDecay(1e-2, 100)
    by_name = CNNClassifier(optimizer="sgd", learning_rate=schedule, **FAST).fit(IMAGES, Y)
    sgd = gn.optimizers.SGD(gn.schedules.CosineDecay(1e-2, 100))
    assert weights(CNNClassifier(optimizer=sgd, **FAST).fit(IMAGES, Y)) == weights(by_name)


# In scikit-learn's tools


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_n_jobs_changes_no_byte(backend):
    import joblib

    expected = cross_val_predict(CNNClassifier(**FAST), IMAGES, Y, cv=4, method="predict_proba")
    with joblib.parallel_config(backend=backend):
        found = cross_val_predict(CNNClassifier(**FAST), IMAGES, Y, cv=4, method="predict_proba", n_jobs=2)
    assert found.tobytes() == expected.tobytes()


def test_searches_stacks_and_calibration():
    options = {"epochs": 4, "random_state": 0}
    halving = HalvingGridSearchCV(
        CNNClassifier(**options), {"model__width": [2, 4, 8]}, cv=2, min_resources=24, random_state=0
    )
    assert halving.fit(IMAGES, Y).predict(IMAGES).shape == (60,)
    calibrated = CalibratedClassifierCV(CNNClassifier(**FAST), cv=2).fit(IMAGES, Y)
    np.testing.assert_allclose(calibrated.predict_proba(IMAGES).sum(axis=1), 1)
    members = [("small", CNNClassifier(model__width=2, **options)), ("large", CNNClassifier(**FAST))]
    stack = StackingClassifier(members, LogisticRegression(max_iter=500), cv=2).fit(IMAGES, Y)
    assert stack.score(IMAGES, Y) > 0.5
    assert cross_val_score(CNNRegressor(**FAST), IMAGES, IMAGES.mean(axis=(1, 2, 3)), cv=2).shape == (2,)


def test_clone_after_fit_is_not_fitted():
    fitted = CNNClassifier(**FAST).fit(IMAGES, Y)
    copied = clone(fitted)
    assert not hasattr(copied, "model_")
    assert weights(copied.fit(IMAGES, Y)) == weights(fitted)


def test_metadata_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = CNNClassifier(**FAST).set_fit_request(sample_weight=True)
        scores = cross_val_score(
            estimator.set_score_request(sample_weight=False),
            IMAGES,
            Y,
            cv=2,
            params={"sample_weight": np.ones(60)},
        )
    assert scores.shape == (2,)


def test_a_fitted_pipeline_in_another_process(tmp_path):
    steps = make_pipeline(FunctionTransformer(np.abs), CNNClassifier(**FAST)).fit(IMAGES, Y)
    (tmp_path / "steps").write_bytes(pickle.dumps(steps))
    np.save(tmp_path / "x.npy", IMAGES)
    code = (
        "import pickle, sys, numpy as np; folder = sys.argv[1]; "
        "steps = pickle.load(open(folder + '/steps', 'rb')); x = np.load(folder + '/x.npy'); "
        "np.save(folder + '/p.npy', steps.predict_proba(x)); "
        "steps[-1].partial_fit(np.abs(x), steps.predict(x))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert np.load(tmp_path / "p.npy").tobytes() == steps.predict_proba(IMAGES).tobytes()


def test_data_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(SERIES[..., 1], columns=[f"t{i}" for i in range(24)])
    fitted = CNNClassifier(**FAST).fit(frame, pandas.Series(Y))
    assert list(fitted.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[frame.columns[::-1]])


# Magnitudes


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_targets_whose_variance_is_no_number(scale):
    y = RNG.normal(size=60)
    expected = CNNRegressor(**FAST).fit(SERIES, y).predict(SERIES)
    found = CNNRegressor(**FAST).fit(SERIES, y * scale).predict(SERIES)
    np.testing.assert_allclose(found / scale, expected, rtol=1e-4, atol=1e-6)
    constant = CNNRegressor(**FAST).fit(SERIES, np.full(60, scale))
    assert constant.y_scale_ == 1


def test_targets_beyond_float32_that_no_scale_brings_down():
    with pytest.raises(
        ValueError, match=r"Input y contains infinity or a value too large for dtype\('float32'\)"
    ):
        CNNRegressor(loss="poisson", **FAST).fit(SERIES, np.full(60, 1e300))


@pytest.mark.parametrize("scale", [1e-10, 1e-30])
def test_samples_smaller_than_normalization_divides_by(scale):
    small = (SERIES * scale).astype(np.float32)
    model = CNNRegressor(**FAST).fit(small, np.arange(60.0)).model_
    front = gn.Sequential([gn.Input(SERIES.shape[1:]), *map(twin, model.layers[:2])])
    normal = front.predict(small, verbose=0)
    np.testing.assert_allclose(normal.mean(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=(0, 1)), 1, rtol=1e-5)


def twin(layer):
    return type(layer).from_config(layer.get_config())
