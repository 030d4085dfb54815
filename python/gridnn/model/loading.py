"""`load_model`: models made anew from their files."""

from __future__ import annotations

from collections.abc import Mapping

from gridnn import _engine, _validation
from gridnn._custom import custom_classes
from gridnn.model import sequential  # noqa: F401 - files may hold one
from gridnn.model.file_format import Path, blaming
from gridnn.model.saving import unpack
from gridnn.model.trainable import TrainableModel

__all__ = ["load_model"]


def load_model(path: Path, custom_objects: Mapping[str, type] | None = None) -> TrainableModel:
    """Reads a model that `Sequential.save` wrote; training can continue to the byte. Or one of Keras.

    Files of Keras (``.keras``, and ``.h5`` of whole models) are known by their contents, and need
    `gridnn[keras]`. Such a model has layers, weights and what is frozen, and is not compiled. Functional
    models that are chains with branches which begin and end in common places become a `Sequential` with
    `Residual` and `Parallel`, all others a `Model`. What gridnn lacks is refused, by the name of the layer.

    A file holds no code. For layers, losses and schedules that were written in Python it has the name of the
    class and the arguments of its constructor. The class is looked up in `custom_objects`, then among those
    of this name that the program has defined or imported, of which the last one defined is taken.

    Args:
        path: the file.
        custom_objects: name -> class, for classes written in Python; not for files of Keras.

    Raises:
        FileFormatError: the file is damaged, of another format, or written by a newer version.
        OSError: the file cannot be read.
        TypeError: `custom_objects` does not map names to classes.
        ImportError: the file is of Keras, and h5py is not installed.

    Example:
        >>> gn.Sequential([gn.Input((4,)), layers.Dense(2)]).save("model.gridnn")
        >>> gn.load_model("model.gridnn").output_shape
        (None, 2)
    """
    from gridnn.interop.keras import reading  # only here: what reads files of others is built on models

    path = _validation.path(path, "path")
    if reading.is_keras(path):
        from gridnn.interop.keras import loading

        return loading.load_model(path)
    tensors, metadata = _engine.load_tensors(path)
    with custom_classes(custom_objects), blaming(path):
        return unpack(tensors, metadata)
