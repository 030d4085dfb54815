"""The package `onnx` on demand."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["require"]


def require(module: str = "onnx") -> Any:
    """`onnx`, or a module of it.

    Raises:
        ImportError: it is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "onnx":
            raise
        raise ImportError(
            "ONNX files need the package onnx, which is not installed: pip install 'gridnn[onnx]'"
        ) from error
