"""`FeatureExtractor`."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import gridnn as gn
from gridnn import layers
from gridnn.sklearn import CNNClassifier, FeatureExtractor

pytestmark = pytest.mark.one_tier

X = np.random.default_rng(0).normal(size=(70, 8, 8, 2)).astype(np.float32)
Y = (X[:, 2, 2, 0] > 0).astype(int)


@pytest.fixture
def model():
    stack = [
        layers.Conv2D(4, 3, name="maps"),
        layers.Flatten(),
        layers.Dense(5, name="code"),
        layers.Dense(2),
    ]
    return gn.Sequential([gn.Input((8, 8, 2)), *stack], seed=0)


def test_layers_and_pools(model):
    activations = gn.inspect.activations(model, X)
    cases = {
        ("code", "average"): activations["code"],
        (-2, None): activations["code"],
        ("maps", "average"): activations["maps"].mean(axis=(1, 2)),
        (0, "max"): activations["maps"].max(axis=(1, 2)),
        ("maps", None): activations["maps"].reshape(70, -1),
    }
    for (layer, pooling), expected in cases.items():
        extractor = FeatureExtractor(model, layer, pooling).fit(X)
        np.testing.assert_array_equal(extractor.transform(X), expected)
        names = extractor.get_feature_names_out()
        assert len(names) == expected.shape[1] == extractor.n_features_out_
        assert names[0] == "featureextractor0"
    assert extractor.model_ is model


def test_an_estimator_is_trained(model):
    network = CNNClassifier(epochs=5, model__width=4, random_state=0)
    steps = make_pipeline(FeatureExtractor(network), LogisticRegression())
    found = steps.fit(X, Y).predict_proba(X)
    assert not hasattr(network, "model_")
    assert found.tobytes() == clone(steps).fit(X, Y).predict_proba(X).tobytes()
    flat = FeatureExtractor(network, input_shape=(8, 8, 2)).fit(X.reshape(70, -1), Y)
    np.testing.assert_array_equal(flat.transform(X.reshape(70, -1)), steps[0].transform(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"layer": "nowhere"},
            "'layer' parameter of FeatureExtractor must be one of maps, flatten, code, dense",
        ),
        ({"layer": 4}, "'layer' parameter"),
        ({"pooling": "min"}, "'pooling' parameter"),
        ({"model": "auto"}, "'model' parameter"),
        ({"layout": "last"}, "'layout' parameter"),
    ],
)
def test_parameters_that_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(**{"model": model, **options}).fit(X)


def test_samples_that_are_refused(model):
    with pytest.raises(ValueError, match="does not fit"):
        FeatureExtractor(model).fit(X[..., :1])
    fitted = FeatureExtractor(model).fit(X)
    with pytest.raises(ValueError, match="is expecting samples of shape"):
        fitted.transform(X[:, :, 1:])
