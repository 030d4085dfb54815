"""Instruments that show what a model does: NumPy arrays and plain objects in and out.

Example:
    >>> import gridnn as gn
    >>> gn.inspect.conv_arithmetic(28, kernel=3, stride=2).output
    13
"""

from __future__ import annotations

from gridnn.inspect._activations import Gradients, Patch, activations, gradients, maximize, top_patches
from gridnn.inspect._arithmetic import ConvArithmetic, conv_arithmetic
from gridnn.inspect._attribution import effective_receptive_field, grad_cam, saliency
from gridnn.inspect._calibration import Calibration, calibration
from gridnn.inspect._costs import Cost, costs
from gridnn.inspect._distributed import DistributedCosts, distributed_costs
from gridnn.inspect._matrix import LayerMatrix, as_matrix
from gridnn.inspect._receptive_field import ReceptiveField, receptive_field
from gridnn.inspect._symmetry import Symmetry, equivariance, invariance

__all__ = [
    "Calibration",
    "ConvArithmetic",
    "Cost",
    "DistributedCosts",
    "Gradients",
    "LayerMatrix",
    "Patch",
    "ReceptiveField",
    "Symmetry",
    "activations",
    "as_matrix",
    "calibration",
    "conv_arithmetic",
    "costs",
    "distributed_costs",
    "effective_receptive_field",
    "equivariance",
    "grad_cam",
    "gradients",
    "invariance",
    "maximize",
    "receptive_field",
    "saliency",
    "top_patches",
]
