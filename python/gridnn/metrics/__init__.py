"""Metrics, as descriptions; the engine counts, and a metric says what its counts come to.

They count what they are given by themselves as well; see `Metric`.

A metric compares outputs either with class labels (whole numbers) or with values of the outputs' own shape;
some take both. Metrics see probabilities: where the loss works on logits they are converted first. Like
Keras' ``metrics=`` they are not weighted. Counts are added up over the whole epoch, so that a precision or an
area is that of all samples and not a mean of batches.

Example:
    >>> from gridnn import metrics
    >>> precision = metrics.Precision()
    >>> precision.update_state([0, 1, 1], [0.2, 0.9, 0.4])
    >>> float(precision.result())
    1.0
"""

from __future__ import annotations

import importlib
from typing import Any

from gridnn.metrics.accuracies import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from gridnn.metrics.automatic import Automatic as Automatic
from gridnn.metrics.automatic import AutomaticAccuracy as AutomaticAccuracy
from gridnn.metrics.automatic import AutomaticCrossentropy as AutomaticCrossentropy
from gridnn.metrics.automatic import get
from gridnn.metrics.base import REGISTRY as REGISTRY
from gridnn.metrics.base import Metric
from gridnn.metrics.base import Targets as Targets
from gridnn.metrics.counts import (
    FalseNegatives,
    FalsePositives,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from gridnn.metrics.errors import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from gridnn.metrics.functions import FunctionMetric as FunctionMetric
from gridnn.metrics.functions import Mean, MeanMetricWrapper, Sum
from gridnn.metrics.hits import (
    AUC,
    BinaryIoU,
    F1Score,
    FBetaScore,
    IoU,
    MeanIoU,
    OneHotIoU,
    OneHotMeanIoU,
    Precision,
    Recall,
)
from gridnn.metrics.values import (
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)


def __getattr__(name: str) -> Any:
    if name in _OF_LOSSES:
        return getattr(importlib.import_module("gridnn.losses.functions"), name)
    raise AttributeError(f"module 'gridnn.metrics' has no attribute {name!r}")


_OF_LOSSES = (
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
)
"""Functions that Keras has here as well; losses know metrics, so that these are looked up."""

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]
