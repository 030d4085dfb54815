"""Metrics, as descriptions; the engine counts, and a metric says what its counts come to.

A metric compares outputs either with class labels (whole numbers) or with values of the outputs' own shape;
some take both. Metrics see probabilities: where the loss works on logits they are converted first. Like
Keras' ``metrics=`` they are not weighted. Counts are added up over the whole epoch, so that a precision or an
area is that of all samples and not a mean of batches.
"""

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
from gridnn.metrics.hits import AUC, F1Score, MeanIoU, OneHotMeanIoU, Precision, Recall

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotMeanIoU",
    "Poisson",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "TopKCategoricalAccuracy",
    "get",
]
