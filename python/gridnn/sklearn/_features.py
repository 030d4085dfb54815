"""`FeatureExtractor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from gridnn import inspect
from gridnn.layers.base import Layer
from gridnn.model.sequential import Sequential
from gridnn.sklearn._base import BaseCNN
from gridnn.sklearn._grids import LAYOUTS, as_grids, checked
from gridnn.sklearn._parameters import Parameters

__all__ = ["FeatureExtractor"]

_BATCH = 32  # samples whose activations are held at once


class FeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What a layer of a network says of every sample, as features for other estimators.

    Args:
        model: a trained model, which is left as it is; or a `CNNClassifier` or `CNNRegressor`, of which
            `fit` trains a clone.
        layer: name of a layer, or its number, counted over all layers, those within others included; -2 is
            the last one before the outputs.
        pooling: "average" or "max" over all positions, which leaves a feature for each channel; None keeps
            all values.
        input_shape: shape that samples are brought to, see `CNNClassifier`; None takes that of an estimator.
        layout: where channels are, see `CNNClassifier`.

    Attributes:
        model_: the model.
        n_features_in_: size of the first axis of samples.
        n_features_out_: number of features.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from gridnn.sklearn import CNNClassifier, FeatureExtractor
        >>> images, labels = load_digits(return_X_y=True)
        >>> network = CNNClassifier(input_shape=(8, 8), epochs=2, random_state=0)
        >>> pipeline = make_pipeline(FeatureExtractor(network), LogisticRegression(max_iter=1000))
        >>> pipeline.fit(images[:200], labels[:200]).predict(images[200:]).shape
        (1597,)
    """

    def __init__(
        self,
        model: Any,
        layer: Any = -2,
        pooling: Any = "average",
        *,
        input_shape: Any = None,
        layout: str = "channels_last",
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.input_shape = input_shape
        self.layout = layout

    def fit(self, X: Any, y: Any = None) -> FeatureExtractor:
        """Checks that samples fit the model, or trains it.

        Args:
            X: samples, see `CNNClassifier.fit`.
            y: targets, if `model` is an estimator.

        Returns:
            The transformer.

        Raises:
            ValueError: a parameter or the data is not usable.
        """
        rules = Parameters(self)
        rules.choice("layout", LAYOUTS)
        if self.pooling is not None:
            rules.choice("pooling", ("average", "max"))
        samples = checked(self, X, reset=True)
        self._reading = (self.input_shape, self.layout)
        if isinstance(self.model, BaseCNN):
            trained = clone(self.model)
            if self.input_shape is not None:
                trained.set_params(input_shape=self.input_shape, layout=self.layout)
            self.model_ = trained.fit(X, y).model_
            self._reading = (trained.input_shape, trained.layout)
        elif isinstance(self.model, Sequential):
            self.model_ = self.model
        else:
            raise ValueError(
                f"The 'model' parameter of {type(self).__name__} must be a gridnn model, a CNNClassifier or "
                f"a CNNRegressor. Got {self.model!r} instead."
            )
        self.sample_shape_ = samples.shape[1:]
        self._name = self._chosen()
        self.n_features_out_ = self._features(samples[:1]).shape[1]
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """The features of every sample.

        Args:
            X: samples as in `fit`.

        Returns:
            Array ``(n, n_features_out_)`` of the model's type.
        """
        check_is_fitted(self, "model_")
        samples = checked(self, X, reset=False)
        if samples.shape[1:] != self.sample_shape_:
            raise ValueError(
                f"X has samples of shape {samples.shape[1:]}, but {type(self).__name__} is expecting samples "
                f"of shape {self.sample_shape_} as input."
            )
        parts = [self._features(samples[i : i + _BATCH]) for i in range(0, len(samples), _BATCH)]
        return np.concatenate(parts)

    @property
    def _n_features_out(self) -> int:
        return int(self.n_features_out_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []  # features have the type of the model
        return tags

    def _chosen(self) -> str:
        """Name of the layer."""
        layers: list[Layer] = self.model_.graph.layers
        names = [one.name for one in layers]
        if isinstance(self.layer, str) and self.layer in names:
            return self.layer
        if isinstance(self.layer, (int, np.integer)) and -len(names) <= self.layer < len(names):
            return names[self.layer]
        raise ValueError(
            f"The 'layer' parameter of {type(self).__name__} must be one of {', '.join(names)}, or its "
            f"number. Got {self.layer!r} instead."
        )

    def _features(self, samples: NDArray[Any]) -> NDArray[Any]:
        grids = as_grids(samples, *self._reading)
        values = inspect.activations(self.model_, grids, [self._name])[self._name]
        if values.ndim > 2 and self.pooling is not None:
            axes = tuple(range(1, values.ndim - 1))
            return np.asarray(values.mean(axis=axes) if self.pooling == "average" else values.max(axis=axes))
        return values.reshape(len(values), -1)
