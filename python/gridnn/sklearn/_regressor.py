"""`CNNRegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import assert_all_finite

from gridnn import losses
from gridnn.sklearn._base import BaseCNN, Samples, keywords_apart

__all__ = ["CNNRegressor"]

_SQUARES = 400  # of float64's exponents, 1022 at most
_ABSOLUTE = (losses.MeanAbsolutePercentageError, losses.MeanSquaredLogarithmicError, losses.Poisson)


class CNNRegressor(RegressorMixin, BaseCNN):  # type: ignore[misc] # scikit-learn has no types
    """A convolutional network that predicts numbers, on series, images and volumes.

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
        loss: string id or an instance of `gridnn.losses`; None takes the mean squared error.
        normalize: whether the network begins with the scaling of every channel to mean 0 and variance 1 over
            the samples that it is fitted to.
        augment: a layer, or a list of layers, that change samples in training, as
            ``gridnn.layers.RandomFlip()``; they come before the scaling.
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

    Targets are scaled to mean 0 and variance 1 inside, unless the loss depends on where zero is (Poisson,
    logarithmic and percentage errors, those for probabilities or signs).

    Attributes:
        model_: the trained `gridnn.Sequential`, scaling of samples included; it puts out scaled targets.
        y_mean_, y_scale_: scale of the targets: ``y = outputs * y_scale_ + y_mean_``.
        history_: name -> a value per epoch: "loss", with early stopping that of the validation.
        loss_curve_: the loss of every epoch.
        n_iter_: epochs trained.
        n_features_in_: size of the first axis of samples.
        feature_names_in_: names of the columns, if `X` was a data frame.
        sample_shape_: shape of samples as they were passed.

    Example:
        >>> from gridnn.sklearn import CNNRegressor
        >>> waves = np.sin(np.linspace(0, 9, 40) * np.linspace(0.5, 2, 60)[:, None])
        >>> regressor = CNNRegressor(epochs=2, random_state=0).fit(waves, np.linspace(0.5, 2, 60))
        >>> regressor.predict(waves[:3]).shape
        (3,)
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
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._set_keywords(model_keywords)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Trains the network.

        Args:
            X: samples ``(n, *spatial[, channels])``, or ``(n, features)``.
            y: a number per sample, or a row of them.
            sample_weight: weights of the samples in the loss; one of weight 0 is as if it were not there.

        Returns:
            The estimator.

        Raises:
            ValueError: a parameter or the data is not usable; the message is scikit-learn's.
        """
        return self._fit(X, y, sample_weight, partial=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> CNNRegressor:
        """Trains for one epoch on a part of the data.

        The first call makes the network; the scales of samples and targets are those of the part that it
        gets. On the same data n calls come to what `fit` does in n epochs, to the byte.

        Args:
            X: as in `fit`.
            y: as in `fit`.
            sample_weight: as in `fit`.

        Returns:
            The estimator.
        """
        return self._fit(X, y, sample_weight, partial=True)

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, partial: bool) -> CNNRegressor:
        self._check_parameters()
        goes_on = (partial or self.warm_start) and self._is_fitted()
        x, y = self._read(X, reset=not goes_on, y=y, multi_output=True, y_numeric=True)
        weight = self._weights(sample_weight, x)
        loss = self._loss("mse")
        columns = y.reshape(len(y), -1).astype(np.float64)
        if not goes_on:
            self.__dict__.pop("model_", None)
            self._target_shape = y.shape[1:]
            self._fit_scale(columns if weight is None else columns[weight != 0], loss)
        elif y.shape[1:] != self._target_shape:
            raise ValueError(f"y has shape {y.shape}, which is not that of the targets fitted first.")
        with np.errstate(over="ignore"):
            targets = ((columns - self.y_mean_) / self.y_scale_).astype(np.float32)
        assert_all_finite(targets, input_name="y")
        epochs = 1 if partial else None
        self._train(Samples(x, targets, weight), columns.shape[1], loss, epochs=epochs, stratify=False)
        return self

    def _fit_scale(self, columns: NDArray[np.float64], loss: Any) -> None:
        """Mean and scale of the targets, unless the loss depends on where zero is."""
        self.y_mean_ = np.zeros(columns.shape[1])
        self.y_scale_ = np.ones(columns.shape[1])
        if not isinstance(loss, _ABSOLUTE) and getattr(loss, "target_range", None) is None:
            # Beyond these exponents a variance is no number; steps by powers of two change no digit.
            exponents = np.frexp(np.abs(columns).max(axis=0))[1]
            exponents[np.abs(exponents) < _SQUARES] = 0
            scaler = StandardScaler().fit(np.ldexp(columns, -exponents))
            constant = (columns == columns[0]).all(axis=0)  # whose scale is 1, here too
            self.y_mean_ = np.where(constant, columns[0], np.ldexp(scaler.mean_, exponents))
            self.y_scale_ = np.where(constant, scaler.scale_, np.ldexp(scaler.scale_, exponents))

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The numbers of every sample, in the unit of `y` and the shape that it had.

        Args:
            X: as in `fit`.
        """
        outputs = self._outputs(X) * self.y_scale_ + self.y_mean_
        return outputs.reshape(len(outputs), *self._target_shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
