"""`model.export`: which program a file is for."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from gridnn import _validation

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["FORMATS", "export"]

FORMATS = {"onnx": (".onnx", "gridnn.interop.onnx.writer"), "c": (".h", "gridnn.interop.c.writer")}
"""Format -> how its files end, and the module whose ``write(model, path, **options)`` makes them."""


def export(model: Model, path: str | os.PathLike[str], format: str | None, **options: Any) -> Any:  # noqa: A002
    """Writes a model for other programs; see `Sequential.export`.

    Returns:
        What `write` returns.

    Raises:
        ValueError: no format of this name, or none whose files end like `path`.
    """
    if format is None:
        name = os.fsdecode(path).lower()
        format = next((key for key, (ending, _) in FORMATS.items() if name.endswith(ending)), None)  # noqa: A001
        if format is None:
            endings = ", ".join(ending for ending, _ in FORMATS.values())
            raise ValueError(
                f"The ending of `path` must say what to write, or `format`: one of {endings}. Received "
                f"path={os.fsdecode(path)!r}."
            )
    format = _validation.choice(format, "format", tuple(FORMATS))  # noqa: A001
    return importlib.import_module(FORMATS[format][1]).write(model, path, **options)
