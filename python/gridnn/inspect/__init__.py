"""Instruments that show what a model does: NumPy arrays and plain objects in and out."""

from __future__ import annotations

from gridnn.inspect._arithmetic import ConvArithmetic, conv_arithmetic
from gridnn.inspect._matrix import LayerMatrix, as_matrix
from gridnn.inspect._receptive_field import ReceptiveField, receptive_field
from gridnn.inspect._symmetry import Symmetry, equivariance, invariance

__all__ = [
    "ConvArithmetic",
    "LayerMatrix",
    "ReceptiveField",
    "Symmetry",
    "as_matrix",
    "conv_arithmetic",
    "equivariance",
    "invariance",
    "receptive_field",
]
