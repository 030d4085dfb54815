"""`CNNClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from gridnn.sklearn._base import BaseCNN, Samples, keywords_apart

__all__ = ["CNNClassifier"]


class CNNClassifier(ClassifierMixin, BaseCNN):  # type: ignore[misc] # scikit-learn has no types
    """A convolutional network that tells classes apart, on series, images and volumes.

    Samples are read with their last axis as channels: ``(n, 100, 6)`` are series of 100 steps and six
    channels, ``(n, 32, 32, 3)`` images. If all axes are alike, ``(n, 8, 8)`` or ``(n, 28, 28, 28)``, they are
    images or volumes of one channel, unless `layout` is "channels_first". Rows of features, ``(n, 150)``,
    are series.

    The network of "auto" has stages of a convolution (two for images from 500 samples up), batch
    normalization, ReLU and a pool that halves the axes; then dropout and a dense layer. Channels begin with
    32 (8 in volumes) and double up to four times that; there are as many stages as leave at most 16 steps of
    a series, 4 x 4 positions of an image, 3 x 3 x 3 of a volume. Its arguments are ``model__width`` and
    ``model__dropout``.

    Args:
        model: "auto"; the name of a function of `gridnn.models` that puts out a row of numbers for a sample;
            or a function ``(input_shape, outputs, **model_keywords)`` that returns a `gridnn.Sequential`,
            which is compiled here. A model is refused: clones would share it.
        input_shape: shape that a sample is brought to, channels included; the features of 2-D `X` are folded
            by it. None takes samples as they are.
        layout: where channels are in samples: "channels_last" or "channels_first".
        epochs: passes through the data; "auto" takes 20 (10 of volumes), or as many as make 300
            steps of the optimizer.
        batch_size: samples of a step; "auto" takes 32, of few samples a quarter, but at least 8.
        optimizer: string id, or an instance of `gridnn.optimizers`, which has its own learning rate.
        learning_rate: of an optimizer given by its name: a number, or one of `gridnn.schedules`.
        loss: string id or an instance of `gridnn.losses`; None takes the cross-entropy.
        normalize: whether the network begins with the scaling of every channel to mean 0 and variance 1 over
            the samples that it is fitted to.
        augment: a layer, or a list of layers, that change samples in training, as
            ``gridnn.layers.RandomFlip()``; they come before the scaling.
        class_weight: class -> weight of its samples, or "balanced", as in scikit-learn.
        early_stopping: hold out a share of the samples, end when their loss has not become smaller for some
            epochs, and take the weights of the best one.
        validation_fraction: that share.
        n_iter_no_change: those epochs.
        callbacks: one of `gridnn.callbacks`, or a list of them.
        warm_start: whether `fit` goes on with the network of the last one, for as many epochs again.
        random_state: an int gives the same network, to the byte, on any number of threads and processes; None
            another one every time.
        verbose: see ``gridnn.Sequential.fit``.
        **model_keywords: ``model__name=value`` is an argument of the network: ``model__width=16`` of "auto".

    Attributes:
        classes_: the labels, in the order of columns.
        model_: the trained `gridnn.Sequential`, scaling included; it can be saved and exported.
        history_: name -> a value per epoch: "loss", "accuracy", with early stopping those of the validation.
        loss_curve_: the loss of every epoch.
        n_iter_: epochs trained.
        n_features_in_: size of the first axis of samples.
        feature_names_in_: names of the columns, if `X` was a data frame.
        sample_shape_: shape of samples as they were passed.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from gridnn.sklearn import CNNClassifier
        >>> digits = load_digits()
        >>> classifier = CNNClassifier(epochs=2, random_state=0).fit(digits.images[:300], digits.target[:300])
        >>> classifier.predict_proba(digits.images[300:302]).shape
        (2, 10)
    """

    @keywords_apart
    def __init__(
        self,
        model: Any = "auto",
        *,
        input_shape: Any = None,
        layout: str = "channels_last",
        epochs: Any = "auto",
        batch_size: Any = "auto",
        optimizer: Any = "adam",
        learning_rate: Any = 1e-3,
        loss: Any = None,
        normalize: bool = True,
        augment: Any = None,
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        callbacks: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: Any = 0,
        **model_keywords: Any,
    ) -> None:
        self.model = model
        self.input_shape = input_shape
        self.layout = layout
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.normalize = normalize
        self.augment = augment
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._set_keywords(model_keywords)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNClassifier:
        """Trains the network.

        Args:
            X: samples ``(n, *spatial[, channels])``, or ``(n, features)``.
            y: a label per sample, of any kind; or an indicator matrix ``(n, labels)`` of zeros and ones.
            sample_weight: weights of the samples in the loss; one of weight 0 is as if it were not there.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter or the data is not usable; the message is scikit-learn's.
        """
        return self._fit(X, y, sample_weight, None, partial=False)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> CNNClassifier:
        """Trains for one epoch on a part of the data.

        The first call makes the network; `normalize` takes its statistics from the part that it gets. On the
        same data n calls come to what `fit` does in n epochs, to the byte.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            classes: all labels that will ever come; needed in the first call.
            sample_weight: as in `fit`.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight, classes, partial=True)

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        classes: Any,
        *,
        partial: bool,
    ) -> CNNClassifier:
        self._check_parameters()
        goes_on = (partial or self.warm_start) and self._is_fitted()
        if partial and not goes_on and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if partial and self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' "
                "weights, use compute_class_weight('balanced', classes=classes, y=y), and pass the result as "
                "class_weight, a dict."
            )
        x, y = self._read(X, reset=not goes_on, y=y, multi_output=True)
        check_classification_targets(y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        multilabel = y.ndim == 2
        if multilabel and type_of_target(y, input_name="y") != "multilabel-indicator":
            raise ValueError(
                "Multioutput targets with several classes each are not supported: fit a classifier for each."
            )
        if not goes_on:
            self.__dict__.pop("model_", None)
            if multilabel or classes is None:
                self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y)
            else:
                self.classes_ = np.unique(classes)
            self._multilabel = multilabel
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )
        weight = self._all_weights(self._weights(sample_weight, x), y)
        loss = self._loss("binary_crossentropy" if multilabel else "sparse_categorical_crossentropy")
        targets = self._targets(y, loss)
        if not goes_on and not partial and not multilabel:
            counted = targets if weight is None else targets[weight != 0]
            if len(np.unique(counted, axis=0)) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes in the data, but the data "
                    f"contains only one class: {self.classes_[:1].tolist()[0]!r}"
                )
        epochs = 1 if partial else None
        self._train(
            Samples(x, targets, weight), len(self.classes_), loss, epochs=epochs, stratify=not multilabel
        )
        if not multilabel:
            self.model_.class_names = [str(label) for label in self.classes_]
        return self

    def _all_weights(self, weight: NDArray[np.float64] | None, y: NDArray[Any]) -> NDArray[np.float64] | None:
        """The weights of samples times those of their classes."""
        if self.class_weight is None:
            return weight
        if isinstance(self.class_weight, str) and self.class_weight != "balanced":
            raise ValueError(
                f"The 'class_weight' parameter of {type(self).__name__} must be None, 'balanced' or a dict, "
                f"class -> weight. Got {self.class_weight!r} instead."
            )
        factors: NDArray[np.float64] = compute_sample_weight(self.class_weight, y)
        return factors if weight is None else weight * factors

    def _targets(self, y: NDArray[Any], loss: Any) -> NDArray[Any]:
        """What the loss compares outputs with: numbers of classes, or a row of zeros and ones."""
        if self._multilabel != (y.ndim == 2) or (self._multilabel and y.shape[1] != len(self.classes_)):
            raise ValueError(f"y has shape {y.shape}, which is not that of the targets fitted first.")
        if self._multilabel:
            return y.astype(np.float32)
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                f"{unknown}."
            )
        numbers = np.searchsorted(self.classes_, y)
        if getattr(loss, "targets", "labels") == "labels":
            return numbers
        return np.eye(len(self.classes_), dtype=np.float32)[numbers]

    def _metrics(self) -> list[str]:
        return ["accuracy"]

    # Use

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores, the larger the likelier.

        Args:
            X: as in `fit`.

        Returns:
            ``(n, classes)``; of two classes ``(n,)``, how far the second is above the first; of several
            labels ``(n, labels)``, above 0 where one is likelier than not.
        """
        scores = self._scores(X)
        if not self._multilabel and len(self.classes_) == 2:
            return scores[:, 1] - scores[:, 0]
        return scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of every sample, or an indicator matrix of the labels likelier than not.

        Args:
            X: as in `fit`.
        """
        scores = self._scores(X)
        if self._multilabel:
            return (scores > 0).astype(int)
        found: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return found

    def predict_log_proba(self, X: Any) -> NDArray[np.float64]:
        """Logarithms of `predict_proba`.

        Args:
            X: as in `fit`.
        """
        scores = self._scores(X)
        if self._multilabel:
            return np.asarray(-np.logaddexp(0.0, -scores))
        peak = scores.max(axis=1, keepdims=True)
        return np.asarray(scores - peak - np.log(np.exp(scores - peak).sum(axis=1, keepdims=True)))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities ``(n, classes)``, in the order of `classes_`, or of every label ``(n, labels)``.

        Args:
            X: as in `fit`.
        """
        found: NDArray[np.float64] = np.exp(self.predict_log_proba(X))
        return found

    def _scores(self, X: Any) -> NDArray[np.float64]:
        """Logits, whatever the network's last activation is."""
        outputs = self._outputs(X)
        activation = self.model_.output_activation
        if activation not in ("softmax", "sigmoid"):
            return outputs
        tiny = float(np.finfo(np.float32).tiny)
        logs = np.log(np.maximum(outputs, tiny))
        if activation == "softmax" and not self._multilabel:
            return logs
        return logs - np.log(np.maximum(1.0 - outputs, float(np.finfo(np.float32).eps) / 4))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
