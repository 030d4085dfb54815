"""Images from files, by the names of Keras."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gridnn import _validation
from gridnn._arrays import as_numbers
from gridnn.data._folders import Listing, PathLike, chosen, class_folders, files_below, folder_at, listed
from gridnn.data._images import ENDINGS, image_size, load, read_image
from gridnn.data._samples import FileBatches
from gridnn.utils._arrays import as_type, to_categorical

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["get_file", "image_dataset_from_directory", "img_to_array", "load_img"]


_COLORS = {"rgb": "rgb", "grayscale": "gray", "rgba": "rgba"}
_SUBSETS = {"training": "train", "validation": "validation"}


def load_img(
    path: PathLike,
    color_mode: str = "rgb",
    target_size: int | Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image:
    """An image as an object of Pillow, turned upright as its EXIF data says (Keras leaves it as it lies).

    Args:
        path: the file.
        color_mode: "rgb", "grayscale" or "rgba".
        target_size: ``(height, width)``; None for the file's own.
        interpolation: "nearest", "bilinear", "bicubic", "lanczos", "box" or "hamming".
        keep_aspect_ratio: whether the image is cropped to the proportions of `target_size` first.

    Raises:
        FileFormatError: it cannot be read; the message names the file.
        ImportError: Pillow is not installed.

    Example:
        >>> image = gn.utils.load_img("photo.jpg", target_size=(64, 64))  # doctest: +SKIP
    """
    color = _COLORS[_validation.choice(color_mode, "color_mode", tuple(_COLORS))]
    crop = _validation.boolean(keep_aspect_ratio, "keep_aspect_ratio")
    return load(
        _validation.path(path, "path"),
        image_size(target_size, "target_size"),
        color,
        "crop" if crop else "fit",
        interpolation,
    )


def img_to_array(img: Any, data_format: str | None = None, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """An image of Pillow as an array ``(height, width, channels)``.

    Args:
        img: the image, or an array of two or three axes.
        data_format: "channels_last" or None; "channels_first" is refused.
        dtype: type of the array; None for float32. Values stay as they are.

    Raises:
        TypeError: `img` is no image, and no array of numbers.
        ValueError: `img` has other axes, or holds numbers that `dtype` does not.

    Example:
        >>> gn.utils.img_to_array(np.zeros((4, 5))).shape
        (4, 5, 1)
    """
    channels_last(data_format)
    kind = np.dtype(np.float32 if dtype is None else dtype)
    array = as_type(as_numbers(img, "img"), kind, "The `img` argument")
    if array.ndim not in (2, 3):
        raise ValueError(
            f"The `img` argument must be an image, with two or three axes. Received shape {array.shape}."
        )
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def image_dataset_from_directory(
    directory: PathLike,
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int = 32,
    image_size: int | Sequence[int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    verbose: bool = True,
) -> FileBatches | tuple[FileBatches, FileBatches]:
    """Batches of a folder of images; see `gridnn.data.image_folder`, which this is in Keras' words.

    Batches hold uint8 from 0 to 255 where Keras has float32 of the same values. `fit` shuffles them;
    `evaluate` and `predict` read them in the order of `files`, so that predictions belong to them. A split
    takes the same share of each class.

    Args:
        directory: a folder with a subfolder for each class.
        labels: "inferred" from the subfolders; None for images alone, wherever they lie; or a list of numbers
            for the files in their order by name.
        label_mode: "int" for numbers of classes, "binary" for 0 or 1 in a column, "categorical" for one-hot
            rows, None for images alone.
        class_names: the classes in the order of their labels.
        color_mode: "rgb", "grayscale" or "rgba".
        batch_size: images per batch.
        image_size: ``(height, width)``.
        shuffle: whether `fit` takes them in a new order each epoch.
        seed: of the split.
        validation_split: share that is held out.
        subset: "training", "validation", or "both" for a pair.
        interpolation: as in `load_img`.
        follow_links: only False: links to folders are followed where they are classes, and not below.
        crop_to_aspect_ratio: whether images of other proportions are cropped rather than stretched.
        pad_to_aspect_ratio: whether they get black margins instead.
        data_format: "channels_last" or None; "channels_first" is refused.
        verbose: whether to print how many files there are.

    Returns:
        `gridnn.data.Batches` with `class_names` and `files`; two of them for "both".

    Raises:
        ValueError: arguments that do not fit each other, and as `gridnn.data.image_folder`.

    Example:
        >>> data = gn.utils.image_dataset_from_directory("photos", image_size=(64, 64))  # doctest: +SKIP
    """
    channels_last(data_format)
    color = _COLORS[_validation.choice(color_mode, "color_mode", tuple(_COLORS))]
    if _validation.boolean(follow_links, "follow_links"):
        raise ValueError("`follow_links=True` is not supported: a link that leads upwards would never end.")
    resize = _resize(crop_to_aspect_ratio, pad_to_aspect_ratio)
    size = _size(image_size)
    _validation.boolean(shuffle, "shuffle")
    listing = _listing(directory, labels, class_names)
    targets = _targets(listing, label_mode)
    parts = _parts(validation_split, subset, seed)
    reader = partial(read_image, size=size, color=color, resize=resize, interpolation=interpolation)
    sets = []
    for part in parts:
        split = None if part is None else (part, float(validation_split or 0), seed or 0)
        rows = chosen(listing.files, listing.labels, split, None)
        if verbose:
            of = "" if part is None else f", of which {len(rows)} for {part}"
            print(f"Found {len(listing.files)} files belonging to {len(listing.class_names)} classes{of}.")
        files = [listing.files[row] for row in rows]
        y = None if targets is None else targets[rows]
        sets.append(
            FileBatches(files, reader, y, batch_size, class_names=listing.class_names, shuffle=shuffle)
        )
    return sets[0] if len(sets) == 1 else (sets[0], sets[1])


def get_file(*arguments: object, **options: object) -> NoReturn:
    """Raises an error: gridnn downloads nothing.

    Raises:
        NotImplementedError: always; the message says what to do instead.

    Example:
        >>> try:
        ...     gn.utils.get_file("data.zip", "https://example.org/data.zip")
        ... except NotImplementedError as error:
        ...     print(type(error).__name__)
        NotImplementedError
    """
    origin = options.get("origin", arguments[1] if len(arguments) > 1 else None)
    what = f"{origin}" if origin else "the file"
    raise NotImplementedError(
        f"gridnn downloads nothing. Fetch {what} with a program of your own, and pass its path to "
        "gridnn.data or gridnn.datasets."
    )


def channels_last(data_format: str | None) -> None:
    """Refuses arrays that have their channels first."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"The `data_format` argument must be 'channels_last' or None: data has its channels last "
            f"everywhere. Received data_format={data_format!r}."
        )


def _size(value: int | Sequence[int]) -> tuple[int, int]:
    size = image_size(value, "image_size")
    if size is None:
        raise ValueError("The `image_size` argument must be (height, width). Received None.")
    return size


def _resize(crop: bool, pad: bool) -> str:
    if _validation.boolean(crop, "crop_to_aspect_ratio") and _validation.boolean(pad, "pad_to_aspect_ratio"):
        raise ValueError("Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True.")
    return "crop" if crop else "pad" if pad else "fit"


def _listing(
    directory: PathLike, labels: str | Sequence[int] | None, class_names: Sequence[str] | None
) -> Listing:
    """The files, with the labels that are asked for."""
    if isinstance(labels, str):
        _validation.choice(labels, "labels", ("inferred",))
        return class_folders(directory, ENDINGS, class_names, "images", "directory")
    if class_names is not None:
        raise ValueError("`class_names` can be given with labels='inferred' only.")
    folder = folder_at(directory, "directory")
    files = files_below(folder, ENDINGS)
    if not files:
        raise ValueError(f"{folder}: no images; looked for {listed(ENDINGS)}.")
    if labels is None:
        return Listing(files, np.zeros(len(files), np.int64), [])
    numbers = np.asarray(labels)
    if numbers.shape != (len(files),) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"The `labels` argument must be a list of {len(files)} whole numbers, one for each image. "
            f"Received {numbers.dtype} of shape {numbers.shape}."
        )
    return Listing(files, numbers.astype(np.int64), [str(number) for number in np.unique(numbers)])


def _targets(listing: Listing, label_mode: str | None) -> NDArray[Any] | None:
    """Labels in the form asked for; None for images alone."""
    if label_mode is None or not listing.class_names:
        return None
    mode = _validation.choice(label_mode, "label_mode", ("int", "binary", "categorical"))
    classes = len(listing.class_names)
    if mode == "int":
        return listing.labels
    if mode == "categorical":
        return to_categorical(listing.labels, classes).astype(np.float32)
    if classes != 2:
        raise ValueError(f"`label_mode='binary'` needs two classes; there are {classes}.")
    return listing.labels.astype(np.float32)[:, np.newaxis]


def _parts(share: float | None, subset: str | None, seed: int | None) -> list[str | None]:
    """The sides of the split that are asked for."""
    if (share is None) != (subset is None):
        raise ValueError("`validation_split` and `subset` go together: give both or none.")
    if subset is None:
        return [None]
    _validation.choice(subset, "subset", (*_SUBSETS, "both"))
    if seed is None and subset != "both":
        raise ValueError(
            "A split needs a `seed`, the same for both subsets, so that they have no image in common."
        )
    return [*_SUBSETS.values()] if subset == "both" else [_SUBSETS[subset]]
