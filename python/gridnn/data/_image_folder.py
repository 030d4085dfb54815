"""Folders of images, by class or with a mask each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

from numpy.typing import NDArray

from gridnn import _validation
from gridnn.data._folders import (
    Groups,
    PathLike,
    Split,
    chosen,
    class_folders,
    files_below,
    folder_at,
    listed,
    natural_name,
)
from gridnn.data._images import COLORS, ENDINGS, RESIZES, image_size, read_image, read_mask, upright_size
from gridnn.data._samples import FileBatches, Samples, read_files
from gridnn.errors import ShapeError

__all__ = ["image_folder", "image_mask_folder"]

Size = int | Sequence[int] | None


@overload
def image_folder(
    path: PathLike,
    size: Size = ...,
    color: str = ...,
    resize: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    *,
    class_names: Sequence[str] | None = ...,
    batch_size: None = ...,
) -> Samples: ...
@overload
def image_folder(
    path: PathLike,
    size: Size = ...,
    color: str = ...,
    resize: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    *,
    class_names: Sequence[str] | None = ...,
    batch_size: int,
) -> FileBatches: ...
def image_folder(
    path: PathLike,
    size: Size = None,
    color: str = "rgb",
    resize: str = "fit",
    split: Split | None = None,
    groups: Groups | None = None,
    *,
    class_names: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Samples | FileBatches:
    """Reads a folder that has a subfolder of images for each class.

    Classes are numbered by the names of their folders, in the order of Unicode, on every system (so "10"
    comes before "2"). Images in folders within are found too. Hidden files and folders, and files of other
    kinds, are passed over. Images are turned upright as their EXIF data says. Of gray, palette and
    transparent images in one folder `color` makes one kind; transparency is dropped. Values stay as they are:
    uint8 from 0 to 255, uint16 where a gray image has 16 bits, float32 where it holds floats.

    Args:
        path: the folder.
        size: height and width that all images are brought to, or one number for both; None if they are all
            alike.
        color: "rgb" for three channels, "gray" for one, "unchanged" for those in the files, where a palette
            counts as one channel of indices.
        resize: how images of other proportions come to `size`: "fit" stretches them, "crop" cuts off what is
            too much on both sides, "pad" adds black.
        split: ``("train", share, seed)`` for all images but that share of each class, ``("validation", share,
            seed)`` for the rest; None for all.
        groups: a function of the path; images for which it returns the same value (a patient, a film) come to
            the same side of the split. Classes are then not split alike.
        class_names: the classes in the order of their labels, as of a training set: a class may then be
            missing here. None takes the subfolders.
        batch_size: None reads all images at once; a number gives `Batches`, which read them as they are
            needed.

    Returns:
        `Samples`: ``x`` of shape (samples, height, width, channels), ``y`` with the number of the class of
        each, and `class_names` and `files`; with `batch_size`, `Batches` of them.

    Raises:
        NotADirectoryError: there is no such folder.
        FileFormatError: an image cannot be read, or is an animation; the message names it.
        ShapeError: images are of several sizes and `size` is None, or of several numbers of channels.
        ValueError: an argument is none of those above, there are no images, or gray images of 8 and of 16
            bits are mixed.
        MemoryError: the result does not fit into memory.
        ImportError: Pillow is not installed.

    Warns:
        UserWarning: a class has no image; it keeps its number.

    Example:
        >>> x, y = gn.data.image_folder("photos", size=64)  # doctest: +SKIP
        >>> train = gn.data.image_folder(  # doctest: +SKIP
        ...     "photos", size=64, split=("train", 0.2, 0), batch_size=32
        ... )
        >>> model.fit(train, epochs=5)  # doctest: +SKIP
    """
    color = _validation.choice(color, "color", COLORS)
    resize = _validation.choice(resize, "resize", RESIZES)
    shape = image_size(size)
    listing = class_folders(path, ENDINGS, class_names, "images")
    rows = chosen(listing.files, listing.labels, split, groups)
    files = [listing.files[row] for row in rows]
    labels = listing.labels[rows]
    reader = partial(read_image, size=shape, color=color, resize=resize)
    if batch_size is None:
        return Samples(read_files(files, reader), labels, listing.class_names, files)
    return FileBatches(files, reader, labels, batch_size, class_names=listing.class_names)


@overload
def image_mask_folder(
    images: PathLike,
    masks: PathLike,
    size: Size = ...,
    color: str = ...,
    resize: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    *,
    batch_size: None = ...,
) -> Samples: ...
@overload
def image_mask_folder(
    images: PathLike,
    masks: PathLike,
    size: Size = ...,
    color: str = ...,
    resize: str = ...,
    split: Split | None = ...,
    groups: Groups | None = ...,
    *,
    batch_size: int,
) -> FileBatches: ...
def image_mask_folder(
    images: PathLike,
    masks: PathLike,
    size: Size = None,
    color: str = "rgb",
    resize: str = "fit",
    split: Split | None = None,
    groups: Groups | None = None,
    *,
    batch_size: int | None = None,
) -> Samples | FileBatches:
    """Reads images with a mask each: the class of every pixel, for segmentation.

    An image and its mask have the same path within their folders, whatever the endings: ``images/a/1.jpg``
    and ``masks/a/1.png``. Masks hold numbers: the indices of a palette, gray values, or 0 and 1 of an image
    of one bit; they are resized by the nearest neighbour, so that no class is invented. Both are turned
    upright as their EXIF data says.

    Args:
        images: the folder of images.
        masks: the folder of masks.
        size: as in `image_folder`.
        color: as in `image_folder`, for images.
        resize: as in `image_folder`; "pad" adds class 0 to masks.
        split: as in `image_folder`; the share is one of all images.
        groups: as in `image_folder`.
        batch_size: as in `image_folder`.

    Returns:
        `Samples`: ``x`` of shape (samples, height, width, channels), ``y`` of shape (samples, height, width)
        in the type of the files, and `files`, those of the images; with `batch_size`, `Batches` of them.

    Raises:
        NotADirectoryError, ValueError, ImportError: as `image_folder`.
        FileFormatError: a file cannot be read, or a mask holds colours or comes from a JPEG file.
        FileNotFoundError: an image has no mask, or a mask no image.
        ShapeError: as `image_folder`, or a mask is not of the size of its image.

    Example:
        >>> x, y = gn.data.image_mask_folder("images", "masks", size=(128, 192))  # doctest: +SKIP
    """
    color = _validation.choice(color, "color", COLORS)
    resize = _validation.choice(resize, "resize", RESIZES)
    shape = image_size(size)
    pairs = _pairs(folder_at(images, "images"), folder_at(masks, "masks"))
    files = [image for image, _ in pairs]
    rows = chosen(files, None, split, groups)
    files = [pairs[row][0] for row in rows]
    mask_files = [pairs[row][1] for row in rows]
    mask_of = dict(zip(files, mask_files, strict=True))
    reader = partial(read_image, size=shape, color=color, resize=resize)
    target_reader = partial(read_mask, size=shape, resize=resize)

    def checked(file: Path) -> NDArray[Any]:
        _same_size(file, mask_of[file])
        return reader(file)

    if batch_size is not None:
        return FileBatches(files, checked, mask_files, batch_size, target_reader=target_reader)
    x = read_files(files, checked)
    return Samples(x, read_files(mask_files, target_reader), None, files)


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Images with their masks, in the order of the images."""

    def by_place(folder: Path, kind: str) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for file in files_below(folder, ENDINGS):
            place = natural_name(file.relative_to(folder).with_suffix("").as_posix())
            if place in found:
                raise ValueError(f"{found[place]} and {file} are two {kind} of one name: which is it?")
            found[place] = file
        if not found:
            raise ValueError(f"{folder}: no {kind}; looked for {listed(ENDINGS)}.")
        return found

    left, right = by_place(images, "images"), by_place(masks, "masks")
    for place, file in left.items():
        if place not in right:
            raise FileNotFoundError(
                f"{file} has no mask: expected {masks / place} with the ending of an image. Masks have the "
                f"names of their images; the first one is {next(iter(right.values()))}."
            )
    for place, file in right.items():
        if place not in left:
            raise FileNotFoundError(
                f"{file} is the mask of no image: expected {images / place} with an ending."
            )
    return [(file, right[place]) for place, file in left.items()]


def _same_size(image: Path, mask: Path) -> None:
    """Raises ShapeError if an image and its mask differ in size, as files have them, upright."""
    sizes = [upright_size(file) for file in (image, mask)]
    if sizes[0] != sizes[1]:
        texts = [f"{height} x {width}" for height, width in sizes]
        raise ShapeError(f"{mask} is {texts[1]} (height x width), but its image {image} is {texts[0]}.")
