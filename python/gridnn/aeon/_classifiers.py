"""The classifiers: each trains networks of `gridnn.models` by way of `CNNClassifier`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from aeon.classification.base import BaseClassifier
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from gridnn.schedules import CosineDecay
from gridnn.sklearn import CNNClassifier

__all__ = ["FCNClassifier", "InceptionTimeClassifier", "ResNetClassifier"]

_MOMENTUM = 0.9  # of batch normalization: that of Keras, 0.99, does not settle in some hundred steps


class _NetworkClassifier(BaseClassifier):  # type: ignore[misc] # aeon has no types
    """What they share; subclasses say which network they train, and how many."""

    _tags: ClassVar[dict[str, Any]] = {
        "X_inner_type": "numpy3D",
        "capability:multivariate": True,
        "algorithm_type": "deeplearning",
        "non_deterministic": False,
        "cant_pickle": False,
    }
    _network: ClassVar[str]

    n_epochs: int
    batch_size: int
    learning_rate: float
    random_state: Any
    verbose: Any

    def _keywords(self) -> dict[str, Any]:
        """Arguments of the network."""
        raise NotImplementedError

    def _fit(self, X: NDArray[Any], y: NDArray[Any]) -> _NetworkClassifier:
        seeds = check_random_state(self.random_state)
        steps = self.n_epochs * -(-len(X) // self.batch_size)
        keywords = {f"model__{name}": value for name, value in self._keywords().items()}
        self.classifiers_ = []
        for _ in range(getattr(self, "n_classifiers", 1)):
            classifier = CNNClassifier(
                self._network,
                layout="channels_first",
                epochs=self.n_epochs,
                batch_size=self.batch_size,
                learning_rate=CosineDecay(self.learning_rate, steps),
                random_state=int(seeds.randint(np.iinfo(np.int32).max)),
                verbose=self.verbose,
                model__momentum=_MOMENTUM,
                **keywords,
            )
            self.classifiers_.append(classifier.fit(X, y))
        return self

    def _predict_proba(self, X: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.mean([one.predict_proba(X) for one in self.classifiers_], axis=0))

    def _predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.classes_[self._predict_proba(X).argmax(axis=1)])


class FCNClassifier(_NetworkClassifier):
    """A fully convolutional network (Wang, Yan and Oates 2017); see `gridnn.models.fcn`.

    Args:
        n_epochs: passes through the data.
        batch_size: series of a step.
        learning_rate: of Adam, in the beginning; it falls to 0 along a cosine.
        filters: channels of every convolution.
        kernel_sizes: their taps.
        random_state: an int gives the same network, to the byte, on any number of threads and processes.
        verbose: see ``gridnn.Sequential.fit``.

    Attributes:
        classes_: the labels, in the order of the columns of ``predict_proba``.
        classifiers_: the trained `gridnn.sklearn.CNNClassifier`, in a list.
    """

    _network = "fcn"

    def __init__(
        self,
        n_epochs: int = 100,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        filters: Sequence[int] = (128, 256, 128),
        kernel_sizes: Sequence[int] = (8, 5, 3),
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.filters = filters
        self.kernel_sizes = kernel_sizes
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()

    def _keywords(self) -> dict[str, Any]:
        return {"filters": self.filters, "kernel_sizes": self.kernel_sizes}

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {"n_epochs": 4, "batch_size": 4, "filters": (4, 6, 4)}


class ResNetClassifier(_NetworkClassifier):
    """A residual network (Wang, Yan and Oates 2017); see `gridnn.models.resnet1d`.

    Args:
        n_epochs: passes through the data.
        batch_size: series of a step.
        learning_rate: of Adam, in the beginning; it falls to 0 along a cosine.
        width: channels of the first block; the other two have twice as many.
        kernel_sizes: taps of the convolutions of a block.
        random_state: an int gives the same network, to the byte, on any number of threads and processes.
        verbose: see ``gridnn.Sequential.fit``.

    Attributes:
        classes_: the labels, in the order of the columns of ``predict_proba``.
        classifiers_: the trained `gridnn.sklearn.CNNClassifier`, in a list.
    """

    _network = "resnet1d"

    def __init__(
        self,
        n_epochs: int = 100,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        width: int = 64,
        kernel_sizes: Sequence[int] = (8, 5, 3),
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.width = width
        self.kernel_sizes = kernel_sizes
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()

    def _keywords(self) -> dict[str, Any]:
        return {"width": self.width, "kernel_sizes": self.kernel_sizes}

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {"n_epochs": 4, "batch_size": 4, "width": 4}


class InceptionTimeClassifier(_NetworkClassifier):
    """InceptionTime (Ismail Fawaz and others 2020): networks of `gridnn.models.inception_time`, averaged.

    Args:
        n_classifiers: how many networks, which differ in their seeds.
        n_epochs: passes through the data.
        batch_size: series of a step.
        learning_rate: of Adam, in the beginning; it falls to 0 along a cosine.
        filters: channels of each convolution.
        depth: modules of a network.
        kernel_sizes: taps of the convolutions of a module.
        random_state: an int gives the same networks, to the byte, on any number of threads and processes.
        verbose: see ``gridnn.Sequential.fit``.

    Attributes:
        classes_: the labels, in the order of the columns of ``predict_proba``.
        classifiers_: the trained `gridnn.sklearn.CNNClassifier`.
    """

    _network = "inception_time"

    def __init__(
        self,
        n_classifiers: int = 5,
        n_epochs: int = 100,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        filters: int = 32,
        depth: int = 6,
        kernel_sizes: Sequence[int] = (40, 20, 10),
        random_state: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.n_classifiers = n_classifiers
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.filters = filters
        self.depth = depth
        self.kernel_sizes = kernel_sizes
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()

    def _keywords(self) -> dict[str, Any]:
        return {"filters": self.filters, "depth": self.depth, "kernel_sizes": self.kernel_sizes}

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return {
            "n_classifiers": 2,
            "n_epochs": 4,
            "batch_size": 4,
            "filters": 2,
            "depth": 3,
            "kernel_sizes": (8, 4),
        }
