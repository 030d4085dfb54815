"""Estimators for scikit-learn: convolutional networks on series, images and volumes.

They need scikit-learn: ``pip install "gridnn[sklearn]"``.

Example:
    >>> from sklearn.datasets import load_digits
    >>> from gridnn.sklearn import CNNClassifier
    >>> images, labels = load_digits(return_X_y=True)
    >>> classifier = CNNClassifier(input_shape=(8, 8), epochs=2, random_state=0)
    >>> classifier.fit(images[:200], labels[:200]).predict(images[:200]).shape
    (200,)
"""

from __future__ import annotations

try:
    import sklearn  # the real one: imports are absolute
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError(
        'gridnn.sklearn needs scikit-learn, which is not installed: pip install "gridnn[sklearn]".'
    ) from error
if not hasattr(sklearn, "__version__"):
    raise ImportError(
        f"gridnn.sklearn needs scikit-learn, but `import sklearn` found {sklearn!r}: keep the folder of the "
        "package gridnn itself off sys.path."
    )

from gridnn.sklearn._classifier import CNNClassifier
from gridnn.sklearn._features import FeatureExtractor
from gridnn.sklearn._regressor import CNNRegressor
from gridnn.sklearn._threads import register as _register

__all__ = ["CNNClassifier", "CNNRegressor", "FeatureExtractor"]

_register()  # once, since a module is executed once
