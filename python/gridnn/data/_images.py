"""One image file as an array, as it was meant: turned as its camera was held, with all of its bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.data._foreign import reading
from gridnn.errors import FileFormatError

if TYPE_CHECKING:
    from PIL import Image as ImageModule

__all__ = ["COLORS", "ENDINGS", "RESIZES", "image_size", "load", "read_image", "read_mask", "upright_size"]

ENDINGS = frozenset(
    {".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Endings of the files that are taken for images."""
Box = tuple[float, float, float, float]
_MOST_PIXELS = 1 << 28
"""What an image may be brought to: Pillow takes a GB for it, and has it before any array is made."""
COLORS = ("rgb", "gray", "unchanged")
RESIZES = ("fit", "crop", "pad")

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names of 16 bits of gray
_ORIENTATION = 0x0112  # tag of EXIF: 5 to 8 swap height and width


def pillow() -> Any:
    """Pillow's modules `Image` and `ImageOps`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError('Images are read with Pillow: pip install "gridnn[image]"') from error
    return Image, ImageOps


def image_size(size: object, name: str = "size") -> tuple[int, int] | None:
    """``(height, width)`` of what users pass as `size`; an int is both, None keeps the files' own.

    Args:
        size: what they pass.
        name: the argument, for messages.

    Raises:
        TypeError, ValueError: it is none, or an image of that size is too large to be made.
    """
    if size is None:
        return None
    height, width = _validation.axis_integers(size, 2, name, alone=True)
    if height * width > _MOST_PIXELS:
        raise ValueError(
            f"The `{name}` argument is {height} x {width} pixels, more than the {_MOST_PIXELS} that an image "
            f"is resized to. Give a smaller `{name}`."
        )
    return height, width


def load(
    path: Path, size: tuple[int, int] | None, color: str, resize: str, interpolation: str = "bilinear"
) -> ImageModule.Image:
    """An image as Pillow has it, upright, in these colours and this size; see `read_image`."""
    image_module, _ = pillow()
    names = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
    resample = image_module.Resampling[_validation.choice(interpolation, "interpolation", names).upper()]
    with _opened(path) as (image, deep):
        if image.mode in ("RGB", "RGBA", "LA") and deep:
            raise FileFormatError(
                f"{path}: colours of 16 bits, which Pillow reads as 8. Convert the files to 8 bits, or read "
                "them with another library and pass arrays."
            )
        image = _colored(image, color)
        return image if size is None else _resized(image, size, resize, resample)


def read_image(
    path: Path, size: tuple[int, int] | None, color: str, resize: str, interpolation: str = "bilinear"
) -> NDArray[Any]:
    """An image as ``(height, width, channels)``; see `gridnn.data.image_folder` for the arguments.

    Raises:
        FileFormatError: it cannot be read; the message names the file.
        OSError: there is no such file, or it may not be read.
    """
    array = _as_array(load(path, size, color, resize, interpolation))
    array = array[:, :, np.newaxis] if array.ndim == 2 else array
    if color == "rgb" and array.shape[2] == 1:  # what has more than 8 bits is gray in Pillow
        array = np.repeat(array, 3, axis=2)
    return array


def read_mask(path: Path, size: tuple[int, int] | None, resize: str) -> NDArray[Any]:
    """The classes of an image's pixels as ``(height, width)``: numbers as they are in the file.

    Raises:
        FileFormatError: it cannot be read, or holds colours instead of numbers.
        OSError: there is no such file, or it may not be read.
    """
    image_module, _ = pillow()
    with _opened(path) as (image, _deep):
        if image.format == "JPEG":
            raise FileFormatError(
                f"{path}: a mask in a JPEG file, whose compression makes classes that nobody has drawn. "
                "Write masks as PNG."
            )
        if image.mode in ("RGB", "RGBA", "LA"):
            bands = [np.asarray(band) for band in image.split()]
            colors = bands[:1] if image.mode == "LA" else bands[:3]
            if any(not np.array_equal(colors[0], band) for band in colors[1:]):
                raise FileFormatError(
                    f"{path}: a mask of colours ({image.mode}); expected numbers of classes, as gray values "
                    "or as a palette. Write it as such."
                )
            image = image.getchannel(0)
        elif image.mode not in ("1", "L", "P", "I", *_DEEP):
            raise FileFormatError(f"{path}: a mask of mode {image.mode}; expected gray values or a palette.")
        if size is not None:
            image = _resized(image, size, resize, image_module.Resampling.NEAREST)
        return _as_array(image)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ImageModule.Image, bool]]:
    """An image, upright, and whether its file has 16 bits; what fails meanwhile names the file."""
    image_module, operations = pillow()
    with reading(path, "an image"), image_module.open(path) as file:
        if file.format == "TIFF" and getattr(file, "n_frames", 1) > 1:
            raise ValueError(
                f"{file.n_frames} pages, of which Pillow reads one at a time: read the file with tifffile, "
                "as a volume"
            )
        if file.format != "MPO" and getattr(file, "is_animated", False):  # cameras put previews into those
            raise ValueError(
                f"an animation of {getattr(file, 'n_frames', 2)} pictures, of which it is not known which is "
                "meant. Save the one that is, as a PNG file"
            )
        deep = any(";16" in str(tile[3]) for tile in file.tile)  # modes do not say so once it is decoded
        image: ImageModule.Image = operations.exif_transpose(file)
        image.format = file.format
        yield image, deep


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is meant to be seen; only the head of the file is read.

    Raises:
        FileFormatError: it cannot be read; the message names the file.
    """
    image_module, _ = pillow()
    with reading(path, "an image"), image_module.open(path) as file:
        width, height = file.size
        turned = file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def _colored(image: ImageModule.Image, color: str) -> ImageModule.Image:
    """The image with the channels asked for; what has more than 8 bits keeps them."""
    if image.mode in (*_DEEP, "I", "F"):
        return image
    if color == "rgb":
        return image.convert("RGB")
    if color in ("gray", "rgba"):
        return image.convert("L" if color == "gray" else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA") if image.mode == "PA" else image


def _as_array(image: ImageModule.Image) -> NDArray[Any]:
    """The values of an image in their type."""
    array = np.asarray(image)
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if image.mode in _DEEP or (image.mode == "I" and image.format == "PNG"):
        return array.astype(np.uint16)  # older Pillows widen what is 16 bits in a PNG file
    return np.array(array)  # of its own: Pillow's is read-only


def _resized(
    image: ImageModule.Image, size: tuple[int, int], resize: str, resample: int
) -> ImageModule.Image:
    """The image in another size, ``(height, width)``."""
    image_module, _ = pillow()
    height, width = size
    scales = width / image.width, height / image.height
    box: Box = (0.0, 0.0, float(image.width), float(image.height))
    target = (width, height)
    if resize == "crop":
        scale = max(scales)
        w, h = min(width / scale, image.width), min(height / scale, image.height)
        left, top = (image.width - w) / 2, (image.height - h) / 2
        box = (left, top, left + w, top + h)
    elif resize == "pad":
        scale = min(scales)
        target = (
            min(max(round(image.width * scale), 1), width),
            min(max(round(image.height * scale), 1), height),
        )
    small = _scaled(image, target, box, resample)
    if target == (width, height):
        return small
    padded: ImageModule.Image = image_module.new(small.mode, (width, height), 0)
    padded.format = image.format
    if small.mode == "P":
        padded.putpalette(small.getpalette() or [])
    padded.paste(small, ((width - target[0]) // 2, (height - target[1]) // 2))
    return padded


def _scaled(image: ImageModule.Image, target: tuple[int, int], box: Box, resample: int) -> ImageModule.Image:
    """Part of an image in another size, averaged where it shrinks unless `resample` is the nearest."""
    image_module, _ = pillow()
    result: ImageModule.Image
    if target == image.size and box == (0.0, 0.0, *map(float, image.size)):
        return image
    if image.mode in _DEEP and resample != image_module.Resampling.NEAREST:
        values = np.asarray(image).astype(np.float32)
        small = image_module.fromarray(values).resize(target, resample, box=box)
        result = image_module.fromarray(np.rint(np.asarray(small)).clip(0, 65535).astype(np.uint16))
    elif image.mode in _DEEP:
        values = np.asarray(image).astype(np.int32)
        small = image_module.fromarray(values).resize(target, resample, box=box)
        result = image_module.fromarray(np.asarray(small).astype(np.uint16))
    else:
        # Indices of a palette are no colours to blend.
        result = image.resize(
            target, image_module.Resampling.NEAREST if image.mode == "P" else resample, box=box
        )
    result.format = image.format
    return result
