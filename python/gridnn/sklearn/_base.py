"""What the classifier and the regressor share: parameters, data, one training loop."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from gridnn import losses, optimizers
from gridnn.callbacks import Callback, EarlyStopping
from gridnn.layers import Normalization, Rescaling
from gridnn.layers.base import Layer
from gridnn.model.sequential import Sequential
from gridnn.optimizers import Optimizer
from gridnn.schedules import LearningRateSchedule
from gridnn.sklearn import _networks
from gridnn.sklearn._grids import LAYOUTS, as_grids, checked
from gridnn.sklearn._parameters import Parameters
from gridnn.sklearn._threads import shared_processors

__all__ = ["BaseCNN", "Samples", "keywords_apart"]

# What epochs="auto" takes at least; volumes of 28^3 begin to be learned by heart after ten epochs.
_LEAST_EPOCHS = {1: 20, 2: 20, 3: 10}
_LEAST_STEPS = 300
_SMALL = 1e-5  # a standard deviation from which layers of normalization tell it from rounding
_MODEL = "model__"


class Samples(NamedTuple):
    """What is trained on, or validated with."""

    x: NDArray[Any]
    y: NDArray[Any]
    weight: NDArray[np.float64] | None

    def rows(self, chosen: NDArray[Any]) -> Samples:
        """Some of the samples."""
        return Samples(self.x[chosen], self.y[chosen], None if self.weight is None else self.weight[chosen])


def keywords_apart(init: Callable[..., None]) -> Callable[..., None]:
    """Takes ``**keywords`` out of a signature: scikit-learn reads it as the list of all parameters.

    Args:
        init: a constructor that accepts ``model__name=value`` for any name.
    """
    signature = inspect.signature(init)
    named = [one for one in signature.parameters.values() if one.kind != inspect.Parameter.VAR_KEYWORD]
    init.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return init


class BaseCNN(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Parameters and training of both estimators; subclasses say what targets are."""

    model: Any
    input_shape: Any
    layout: str
    epochs: Any
    batch_size: Any
    optimizer: Any
    learning_rate: Any
    loss: Any
    normalize: bool
    augment: Any
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    callbacks: Any
    warm_start: bool
    random_state: Any
    verbose: Any

    # Parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments; those of the network are called ``model__name``.

        Args:
            deep: as in scikit-learn.
        """
        found: dict[str, Any] = super().get_params(deep=deep)
        found.update({name: value for name, value in vars(self).items() if name.startswith(_MODEL)})
        return found

    def set_params(self, **params: Any) -> Any:
        """Sets parameters; ``model__name`` is any argument of the network.

        Args:
            **params: names and values.

        Returns:
            The estimator.
        """
        own = {name: params.pop(name) for name in list(params) if name.startswith(_MODEL)}
        super().set_params(**params)
        return self._set_keywords(own)

    def _set_keywords(self, keywords: dict[str, Any]) -> Any:
        for name, value in keywords.items():
            if not name.startswith(_MODEL):
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument {name!r}"
                )
            setattr(self, name, value)
        return self

    def _check_parameters(self) -> None:
        rules = Parameters(self)
        _networks.check(self.model, self)
        rules.choice("layout", LAYOUTS)
        rules.integer("epochs", 1, words=("auto",))
        rules.integer("batch_size", 1, words=("auto",))
        if not isinstance(self.learning_rate, LearningRateSchedule):
            rules.real("learning_rate", 0.0)
        rules.boolean("normalize", "early_stopping", "warm_start")
        rules.real("validation_fraction", 0.0, 1.0)
        rules.integer("n_iter_no_change", 1)
        rules.instances("augment", Layer)
        rules.instances("callbacks", Callback)
        rules.integer("verbose", 0, words=("auto",))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    # Data

    def _read(self, X: Any, *, reset: bool, **options: Any) -> Any:
        """Samples as grids, and what came with them."""
        found = checked(self, X, reset=reset, **options)
        samples = found[0] if isinstance(found, tuple) else found
        shape = samples.shape[1:]
        if reset:
            self.sample_shape_ = shape
        elif shape != self.sample_shape_:
            raise ValueError(
                f"X has samples of shape {shape}, but {type(self).__name__} is expecting samples of shape "
                f"{self.sample_shape_} as input."
            )
        grids = as_grids(samples, self.input_shape, self.layout)
        return (grids, *found[1:]) if isinstance(found, tuple) else grids

    def _weights(self, sample_weight: Any, x: NDArray[Any]) -> NDArray[np.float64] | None:
        """Checked weights of the samples."""
        if sample_weight is None:
            return None
        weight: NDArray[np.float64] = _check_sample_weight(sample_weight, x, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError("Negative values in data passed to `sample_weight`.")
        if not weight.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        return weight

    # Training

    def _loss(self, default: str) -> Any:
        return losses.get(default if self.loss is None else self.loss)

    def _is_fitted(self) -> bool:
        return hasattr(self, "model_")

    def _train(
        self, samples: Samples, outputs: int, loss: Any, *, epochs: int | None, stratify: bool
    ) -> None:
        """Trains a new model, or goes on with the one that there is.

        Args:
            samples: what there is to learn.
            outputs: numbers that the network puts out for each.
            loss: the loss.
            epochs: how many; None for what the parameters say.
            stratify: whether targets are classes, whose shares a validation keeps.
        """
        if samples.weight is not None and not samples.weight.all():
            # As if they were not there: neither batches nor statistics see them.
            samples = samples.rows(samples.weight != 0)
        if not self._is_fitted():
            self._begin(samples, outputs, loss)
        model: Sequential = self.model_
        validation, callbacks = None, [*_several(self.callbacks)]
        if self.early_stopping and epochs is None:
            samples, validation = self._split(samples, stratify)
            patience = self.n_iter_no_change
            callbacks.append(EarlyStopping(patience=patience, mode="min", restore_best_weights=True))
        batch = self.batch_size
        if isinstance(batch, str):
            batch = min(32, max(8, len(samples.x) // 4))
        if epochs is None:
            epochs = self.epochs
            if isinstance(epochs, str):
                steps = -(-len(samples.x) // batch)
                epochs = max(_LEAST_EPOCHS[samples.x.ndim - 2], -(-_LEAST_STEPS // steps))
        with shared_processors():
            history = model.fit(
                samples.x,
                samples.y,
                batch_size=batch,
                epochs=model.epoch + epochs,
                initial_epoch=model.epoch,
                verbose=self.verbose,
                callbacks=callbacks,
                validation_data=validation,
                sample_weight=samples.weight,
                seed=self._seed,
            )
        for name, values in history.history.items():
            self.history_.setdefault(name, []).extend(values)
        self.loss_curve_ = self.history_["loss"]
        self.n_iter_ = model.epoch

    def _begin(self, samples: Samples, outputs: int, loss: Any) -> None:
        """A new, compiled model in `model_`."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        front = list(_several(self.augment))
        if self.normalize:
            front += _scaling(samples.x)
        keywords = {name.removeprefix(_MODEL): v for name, v in vars(self).items() if name.startswith(_MODEL)}
        shape = samples.x.shape[1:]
        model = _networks.build(self.model, shape, outputs, len(samples.x), keywords, front, seed)
        if isinstance(self.optimizer, Optimizer):
            optimizer = copy.deepcopy(self.optimizer)
        else:
            optimizer = type(optimizers.get(self.optimizer))(learning_rate=self.learning_rate)
        model.compile(optimizer, loss, self._metrics())
        self.model_, self._seed = model, seed
        self.history_: dict[str, list[float]] = {}

    def _metrics(self) -> list[str]:
        return []

    def _split(self, samples: Samples, stratify: bool) -> tuple[Samples, Samples]:
        """What is trained on, and what early stopping looks at."""
        classes = None
        if stratify:
            classes = samples.y if samples.y.ndim == 1 else samples.y.argmax(axis=-1)
            held = self.validation_fraction * len(classes)
            counts = np.unique(classes, return_counts=True)[1]
            if counts.min() < 2 or held < len(counts) or len(classes) - held < len(counts):
                classes = None  # too few to have some of each
        rows = train_test_split(
            np.arange(len(samples.x)),
            test_size=self.validation_fraction,
            random_state=self._seed,
            stratify=classes,
        )
        training, held_out = (np.sort(part) for part in rows)
        return samples.rows(training), samples.rows(held_out)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """What the network puts out, in float64."""
        check_is_fitted(self, "model_")
        samples = self._read(X, reset=False)
        with shared_processors():
            outputs = self.model_.predict(samples, verbose=0)
        return np.asarray(outputs, np.float64)


def _scaling(x: NDArray[Any]) -> list[Layer]:
    """Layers that bring every channel to mean 0 and variance 1.

    `Normalization` divides by 1e-7 at least: what is smaller, as fields in tesla are, is made larger first,
    by a power of two, which changes no digit.
    """
    scaling = Normalization()
    scaling.adapt(x)
    assert scaling.mean is not None
    assert scaling.variance is not None
    mean, variance = np.array(scaling.mean), np.array(scaling.variance)
    varied = variance > 0
    if not varied.any() or variance[varied].min() > _SMALL**2:
        return [scaling]
    room = 120 - np.frexp(float(np.abs(x).max()))[1]  # of float32's exponents, 127 at most
    factor = 2.0 ** int(min(-np.frexp(np.sqrt(variance[varied].min()))[1], room))
    return [Rescaling(factor), Normalization(mean=mean * factor, variance=variance * factor**2)]


def _several(value: Any) -> list[Any]:
    """None, one or several as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
