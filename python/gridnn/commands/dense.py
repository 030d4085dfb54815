"""``gridnn predict`` for models with an output at each position: maps of classes, by windows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn.commands.common import CommandError, explained, read_array
from gridnn.commands.sources import Wanted, check_bytes, not_for
from gridnn.data._foreign import reading
from gridnn.data._images import ENDINGS as IMAGES
from gridnn.data._images import pillow, read_image
from gridnn.model.trainable import TrainableModel

__all__ = ["ENDINGS", "write_maps"]

_TIFF = (".tif", ".tiff")
_NIFTI = (".nii", ".nii.gz")
ENDINGS = IMAGES | {".npy", *_NIFTI}
_WINDOWS = {1: 4096, 2: 256, 3: 64}  # where neither the model nor the user says

_KINDS = {1: (".npy",), 2: ("images", ".npy", *_NIFTI), 3: (".npy", *_TIFF, *_NIFTI)}
"""What is read for models of each rank."""

_WRITTEN = (".npy", ".png", ".tif", ".nii.gz")
"""Endings of maps."""

Writer = Callable[[NDArray[Any], Path], Path]


def write_maps(model: TrainableModel, files: list[Path], arguments: argparse.Namespace) -> None:
    """Writes the outputs for each file into a folder: classes, if there are several, else the outputs."""
    folder: Path | None = arguments.out
    if folder is None:
        raise CommandError(
            f"{arguments.model} has an output at each position: give --out FOLDER, where maps are written"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"--out {folder}: there is no such folder")
    shape = model.input_shape[1:]
    rank = len(shape) - 1
    window = arguments.window or tuple(size or _WINDOWS[rank] for size in shape[:-1])
    window = window * rank if len(window) == 1 else window
    channels = model.output_shape[-1] or 1
    done: dict[str, Path] = {}
    for file in files:
        name = _stem(file)
        if name in done:
            raise CommandError(f"{file} and {done[name]} would be written to one file: give them apart")
        done[name] = file
        for ending in _WRITTEN:
            out = folder / f"{name}{ending}"
            if out.exists() and file.exists() and out.samefile(file):
                raise CommandError(f"--out {folder}: the map of {file} would replace it: give another folder")
    for name, file in done.items():
        x, write = _opened(file, model)
        with explained(file):
            result = model.predict_windows(
                x,
                window,
                overlap=arguments.overlap,
                reduce="argmax" if channels > 1 else None,
                verbose=0,
            )
        print(f"{file}\t{write(result if channels > 1 else result[..., 0], folder / name)}")


def _stem(file: Path) -> str:
    """Name of a file without its ending."""
    name = file.name
    return name[:-7] if name.lower().endswith(".nii.gz") else file.stem


def _opened(file: Path, model: TrainableModel) -> tuple[Any, Writer]:
    """The sample in a file, with an axis of channels, and what writes a map of its kind."""
    shape = model.input_shape[1:]
    rank = len(shape) - 1
    ending = ".nii.gz" if file.name.lower().endswith(".nii.gz") else file.suffix.lower()
    if not file.exists():
        raise FileNotFoundError(f"{file}: there is no such file")
    x: Any
    write: Writer = _write_array
    if ending in _NIFTI:
        x, write = _nifti(file)
    elif ending == ".npy":
        x = read_array(file, left_on_disk=True)
    elif ending in _TIFF and (tifffile := _tifffile()) is not None:
        x, write = _tiff(file, tifffile)
    elif ending in IMAGES and rank == 2:
        with explained():
            x = check_bytes(model, read_image(file, None, Wanted.by_model(shape, None).color, "fit"), file)
        write = _write_image
    else:
        raise not_for(model, file, _KINDS[rank])
    return (x[..., np.newaxis] if x.ndim == rank else x), write


def _tifffile() -> Any:
    """The module, which reads what Pillow does not: volumes, 16 bits in colour; None if not installed."""
    try:
        import tifffile
    except ImportError:
        return None
    return tifffile


def _tiff(file: Path, tifffile: Any) -> tuple[Any, Writer]:
    """A TIFF file, left on disk if it is not compressed."""
    with reading(file, "a TIFF file"):
        try:
            x = tifffile.memmap(file, mode="r")
        except ValueError:
            x = tifffile.imread(file)

    def write(result: NDArray[Any], path: Path) -> Path:
        out = path.with_name(path.name + ".tif")
        tifffile.imwrite(out, result)
        return out

    return x, write


def _nifti(file: Path) -> tuple[Any, Writer]:
    """A NIfTI file; maps keep its place in space."""
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(f"{file} is read with nibabel: pip install nibabel") from error
    with reading(file, "a NIfTI file"):
        image: Any = nibabel.load(file)
        x = np.asanyarray(image.dataobj)
        if not np.isfinite(image.affine).all():
            raise ValueError("its place in space is not finite, and could not be kept")

    def write(result: NDArray[Any], path: Path) -> Path:
        out = path.with_name(path.name + ".nii.gz")
        nibabel.Nifti1Image(result, image.affine).to_filename(out)
        return out

    return x, write


def _write_image(result: NDArray[Any], path: Path) -> Path:
    """Classes as gray values of a PNG file; outputs that are no bytes as an array."""
    if result.dtype != np.uint8:
        return _write_array(result, path)
    image_module, _ = pillow()
    out = path.with_name(path.name + ".png")
    image_module.fromarray(result).save(out)
    return out


def _write_array(result: NDArray[Any], path: Path) -> Path:
    out = path.with_name(path.name + ".npy")
    np.save(out, result)
    return out
