"""Pictures of data, models and training, drawn with matplotlib (``pip install 'gridnn[plot]'``).

Every function takes ``ax=``, the axes to draw on (None makes a figure of a fitting size), returns the axes,
and never calls ``show``: in a notebook the figure appears by itself, in a script ``ax.figure.savefig(...)``
or ``matplotlib.pyplot.show()`` follows. Colours can be told apart by people of every colour vision.

Example:
    >>> import gridnn as gn
    >>> (x, y), _ = gn.datasets.digits()
    >>> ax = gn.plot.images(x[:6], y[:6])
    >>> ax.figure.savefig("digits.png")
"""

from __future__ import annotations

from gridnn.plot._arithmetic import conv_animation, conv_arithmetic
from gridnn.plot._curves import calibration, confusion_matrix, history, lr_finder, signals
from gridnn.plot._diagram import diagram
from gridnn.plot._images import activations, filters, heat, images, masks, slices
from gridnn.plot._models import (
    conv_matrix,
    costs,
    effective_receptive_field,
    feature_hierarchy,
    receptive_field,
)

__all__ = [
    "activations",
    "calibration",
    "confusion_matrix",
    "conv_animation",
    "conv_arithmetic",
    "conv_matrix",
    "costs",
    "diagram",
    "effective_receptive_field",
    "feature_hierarchy",
    "filters",
    "heat",
    "history",
    "images",
    "lr_finder",
    "masks",
    "receptive_field",
    "signals",
    "slices",
]
