"""Networks for series as classifiers of aeon: ``(n_cases, n_channels, n_timepoints)`` in, labels out.

They need aeon and scikit-learn: ``pip install "gridnn[aeon]"``. Other than those that aeon has on TensorFlow,
they are deterministic and can be pickled.

Example:
    >>> from aeon.datasets import load_unit_test
    >>> from gridnn.aeon import FCNClassifier
    >>> series, labels = load_unit_test(split="train")
    >>> classifier = FCNClassifier(n_epochs=2, filters=(8, 8, 8), random_state=0).fit(series, labels)
    >>> classifier.predict(series).shape
    (20,)
"""

from __future__ import annotations

try:
    import aeon as _aeon  # noqa: F401 - the real one: imports are absolute
except ModuleNotFoundError as error:
    if error.name != "aeon":
        raise
    raise ImportError(
        'gridnn.aeon needs aeon, which is not installed: pip install "gridnn[aeon]".'
    ) from error

from gridnn.aeon._classifiers import FCNClassifier, InceptionTimeClassifier, ResNetClassifier

__all__ = ["FCNClassifier", "InceptionTimeClassifier", "ResNetClassifier"]
