"""`load_model`: models made anew from their files."""

from __future__ import annotations

from collections.abc import Mapping

from gridnn import _network
from gridnn._custom import custom_classes
from gridnn.model.file_format import Path, blaming
from gridnn.model.saving import unpack
from gridnn.model.sequential import Sequential

__all__ = ["load_model"]


def load_model(path: Path, custom_objects: Mapping[str, type] | None = None) -> Sequential:
    """Reads a model that `Sequential.save` wrote; training can continue to the byte.

    A file holds no code. For layers, losses and schedules that were written in Python it has the name of the
    class and the arguments of its constructor. The class is looked up in `custom_objects`, then among those
    of this name that the program has defined or imported, of which the last one defined is taken.

    Args:
        path: the file.
        custom_objects: name -> class, for classes written in Python.

    Raises:
        FileFormatError: the file is damaged, of another format, or written by a newer version.
        OSError: the file cannot be read.
        TypeError: `custom_objects` does not map names to classes.
    """
    tensors, metadata = _network.load_tensors(path)
    with custom_classes(custom_objects), blaming(path):
        return unpack(tensors, metadata)
