"""Instruments that show what a model does: NumPy arrays and plain objects in and out."""

from __future__ import annotations

from gridnn.inspect._arithmetic import ConvArithmetic, conv_arithmetic
from gridnn.inspect._receptive_field import ReceptiveField, receptive_field

__all__ = ["ConvArithmetic", "ReceptiveField", "conv_arithmetic", "receptive_field"]
