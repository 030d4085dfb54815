"""Folders whose subfolders are classes: what is in them, in an order that no system changes."""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._engine import permutation

__all__ = [
    "Groups",
    "Listing",
    "NothingLeftError",
    "PathLike",
    "Split",
    "chosen",
    "class_folders",
    "files_below",
    "is_hidden",
    "natural_name",
]

PathLike: TypeAlias = str | os.PathLike[str]
"""A path."""
Groups: TypeAlias = Callable[[Path], Hashable]
"""What tells samples that belong together: the same value for all of them."""
Split: TypeAlias = tuple[str, float, int]
"""("train" or "validation", share that is held out, seed)."""

# What systems leave in folders, beside names that begin with a dot.
_NOT_DATA = frozenset({"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN"})


class NothingLeftError(ValueError):
    """A split has no sample on one of its sides.

    Attributes:
        side: "training" or "validation".
        samples: how many there are, in words.
    """

    def __init__(self, split: object, side: str, samples: str) -> None:
        super().__init__(
            f"`split`={split!r} leaves nothing for {side}: there are {samples}. Choose another share."
        )
        self.side, self.samples = side, samples


@dataclass(frozen=True)
class Listing:
    """Files with their labels."""

    files: list[Path]
    labels: NDArray[np.int64]
    class_names: list[str]


def natural_name(name: str) -> str:
    """A name as its letters are, whichever way a file system spells accents."""
    return unicodedata.normalize("NFC", name)


def is_hidden(name: str) -> bool:
    """Whether a name is of something that systems and programs keep for themselves."""
    return name.startswith(".") or name in _NOT_DATA


def folder_at(path: str | os.PathLike[str], argument: str) -> Path:
    """The folder, which must exist."""
    folder = _validation.path(path, argument)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise NotADirectoryError(f"The `{argument}` argument must be a folder; {folder} {what}.")
    return folder


def files_below(folder: Path, endings: Collection[str]) -> list[Path]:
    """All files with these endings in a folder and in those inside it, by name; hidden ones left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        candidates = [
            Path(parent, name)
            for name in names
            if not is_hidden(name) and name.lower().endswith(tuple(endings))
        ]
        # Opening a pipe waits for a writer; a link to nothing stays, so that it is an error.
        found += [path for path in candidates if path.is_file() or not path.exists()]
    return sorted(found, key=lambda file: tuple(map(natural_name, file.relative_to(folder).parts)))


def class_folders(
    path: str | os.PathLike[str],
    endings: Collection[str],
    class_names: Sequence[str] | None,
    kind: str,
    argument: str = "path",
) -> Listing:
    """The files of a folder that has a subfolder for each class.

    Args:
        path: the folder.
        endings: endings of files that count, in lower case.
        class_names: the classes in the order of their labels; None for the subfolders by name.
        kind: what the files are, for messages: "images".
        argument: name of the argument `path`, for messages.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: it has no subfolders or no files, a file lies beside the subfolders, or these are not
            those of `class_names`.
    """
    wanted = None if class_names is None else _names(class_names)
    root = folder_at(path, argument)
    inside = sorted(root.iterdir(), key=lambda entry: natural_name(entry.name))
    folders = {
        natural_name(entry.name): entry for entry in inside if entry.is_dir() and not is_hidden(entry.name)
    }
    if not folders:
        raise ValueError(
            f"{root} has no subfolders: expected one for each class, with its {kind}. Received "
            f"{', '.join(entry.name for entry in inside[:5]) or 'an empty folder'}."
        )
    for entry in inside:
        if entry.is_file() and not is_hidden(entry.name) and entry.suffix.lower() in endings:
            raise ValueError(
                f"{entry} lies beside the folders of the classes {', '.join(list(folders)[:5])}, and belongs "
                "to none of them: move it into one, or out."
            )
    names = list(folders) if wanted is None else wanted
    if wanted is not None and (unknown := [name for name in folders if name not in names]):
        raise ValueError(
            f"{root} has the folder {unknown[0]!r}, which is not in `class_names`: "
            f"{', '.join(map(repr, names[:8]))}."
        )
    files: list[Path] = []
    labels: list[int] = []
    empty = []
    for label, name in enumerate(names):
        found = files_below(folders[name], endings) if name in folders else []
        if not found:
            empty.append(name)
        files += found
        labels += [label] * len(found)
    if not files:
        raise ValueError(
            f"{root}: no {kind} in its subfolders {', '.join(names[:5])}; looked for {listed(endings)}."
        )
    if empty and wanted is None:
        warnings.warn(
            f"{root}: no {kind} of the class{'es' if len(empty) > 1 else ''} "
            f"{', '.join(map(repr, empty[:5]))}; the numbers of the other classes stay as they are.",
            stacklevel=3,
        )
    return Listing(files, np.array(labels, np.int64), names)


def _names(class_names: object) -> list[str]:
    """The names of classes that users pass."""
    if isinstance(class_names, (str, bytes)) or not isinstance(class_names, Iterable):
        raise TypeError(f"The `class_names` argument must be a list of names. Received {class_names!r}.")
    names = [natural_name(_validation.string(name, "class_names")) for name in class_names]
    if len(set(names)) < len(names):
        raise ValueError(f"`class_names` names a class twice: {names}.")
    return names


def listed(endings: Collection[str]) -> str:
    """Endings in words."""
    return ", ".join(sorted(endings))


def chosen(
    files: Sequence[Path], labels: NDArray[np.int64] | None, split: Split | None, groups: Groups | None
) -> NDArray[np.int64]:
    """Which files a split takes, by number.

    Args:
        files: all files.
        labels: their classes, each of which is then split alike; None if there are none.
        split: see `Split`; None takes all.
        groups: files of one group stay together; classes are then not split alike.

    Raises:
        ValueError: the split is none, or one side of it has no file.
        TypeError: `groups` is no function, or returns what cannot be compared by its hash.
    """
    if groups is not None and not callable(groups):
        raise TypeError(f"The `groups` argument must be None or a function of the path. Received {groups!r}.")
    if split is None:
        if groups is not None:
            raise ValueError("`groups` says what a split keeps together: give `split` as well.")
        return np.arange(len(files))
    part, share, seed = _checked(split)
    if groups is None:
        kinds = np.zeros(len(files), np.int64) if labels is None else labels
        rows = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
        units = [[row[[i]] for i in range(len(row))] for row in rows]
    else:
        members: dict[Hashable, list[int]] = {}
        for number, file in enumerate(files):
            members.setdefault(_group(groups, file), []).append(number)
        units = [[np.array(numbers) for numbers in members.values()]]
    held_out = np.zeros(len(files), bool)
    for stream, family in enumerate(units):
        total = sum(map(len, family))
        wanted = round(share * total)
        taken = 0
        for unit in permutation(len(family), seed, stream):
            rows_of_unit = family[unit]
            # Half of a group too many is as good as half of one too few.
            if taken + len(rows_of_unit) / 2 > wanted:
                break
            held_out[rows_of_unit] = True
            taken += len(rows_of_unit)
    if held_out.all() or not held_out.any():
        side = "training" if held_out.all() else "validation"
        of = ""
        if groups is not None:
            of = f" in {len(units[0])} groups"
        elif len(units) > 1:
            of = f" in {len(units)} classes, each of which gives its own share"
        raise NothingLeftError(split, side, f"{len(files)} samples{of}")
    return np.flatnonzero(held_out if part == "validation" else ~held_out)


def _group(groups: Groups, file: Path) -> Hashable:
    group = groups(file)
    try:
        hash(group)
    except TypeError as error:
        raise TypeError(
            f"The `groups` function must return a text, a number or a tuple of them. Received {group!r} for "
            f"{file}."
        ) from error
    return group


def _checked(split: object) -> Split:
    if not isinstance(split, (tuple, list)) or len(split) != 3:
        raise ValueError(
            'The `split` argument must be None or ("train", share, seed), with the same share and seed for '
            f'"validation". Received split={split!r}.'
        )
    part = _validation.choice(split[0], "split[0]", ("train", "validation"))
    share = _validation.real(split[1], "split[1]", low=0.0, high=1.0)
    seed = _validation.seed(split[2], "split[2]")
    if seed is None:
        raise ValueError('The `split` argument needs a seed: ("train", 0.2, 0). Received None.')
    return part, share, seed
