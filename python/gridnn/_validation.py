"""User arguments made canonical, once, where they enter.

Every function takes the value and the name of the argument it was given for, and returns the one form that
the rest of the package (and the engine) knows: plain `int`, `float`, `bool`, `str` and tuples of them. NumPy
scalars are accepted wherever the Python number is. Wrong kinds raise TypeError, wrong values ValueError;
where Keras users know a message by heart it is the same sentence.
"""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

Padding = str | tuple[tuple[int, int], ...]

PADDING_MODES = ("zeros", "reflect", "edge", "wrap", "symmetric")
"""What may stand beyond the border; names and results are those of `numpy.pad`."""

_SEED_LIMIT = 2**64
_SIZE_LIMIT = 2**63  # the engine counts no further


def shown(value: object) -> str:
    """How messages show what was received: as Python writes it, but an array by its type and shape."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of type {value.dtype} and shape {value.shape}"
    return repr(value)


def meant(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The end of a message about a name that is not known: the one it is nearly, if there is one.

    `likeness` is how near that must be, from 0 to 1.
    """
    import difflib

    def digits(text: str) -> str:
        return "".join(filter(str.isdigit, text))

    # Who writes float16 does not mean float64.
    by_folded = {one.lower(): one for one in known if digits(one) == digits(name) or not digits(name)}
    close = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=likeness)
    begun = [one for one in by_folded if len(name) > 1 and one.startswith(f"{name.lower()}_")]
    if not close and len(begun) == 1:  # f1 of f1_score is short, and plain
        close = begun
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def integer(value: object, name: str) -> int:
    """Returns `value` as an int; bool and float are refused, since they are nearly always a mistake here."""
    return _index(value, f"The `{name}` argument must be an integer. Received {name}={shown(value)}.")


def positive_integer(value: object, name: str) -> int:
    """Returns `value` as an int of at least 1."""
    number = integer(value, name)
    if not 1 <= number < _SIZE_LIMIT:
        kind = "a positive integer" if number < 1 else "below 2**63"
        raise ValueError(f"The `{name}` argument must be {kind}. Received {name}={number}.")
    return number


def non_negative_integer(value: object, name: str) -> int:
    """Returns `value` as an int of at least 0."""
    number = integer(value, name)
    if not 0 <= number < _SIZE_LIMIT:
        rule = "at least 0" if number < 0 else "below 2**63"
        raise ValueError(f"The `{name}` argument must be {rule}. Received {name}={number}.")
    return number


def countable(value: object, name: str) -> None:
    """Refuses integers, also in tuples and lists, that the engine cannot count to; seeds go on to 2**64."""
    limit = _SEED_LIMIT if name == "seed" else _SIZE_LIMIT
    for number in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(number, int) and not -_SIZE_LIMIT <= number < limit:
            raise ValueError(f"The `{name}` argument must be below 2**63. Received {name}={value}.")


def boolean(value: object, name: str) -> bool:
    """Returns `value` as a bool; only a Python or NumPy bool is one."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise TypeError(f"The `{name}` argument must be True or False. Received {name}={shown(value)}.")
    return bool(value)


def real(
    value: object, name: str, *, low: float = -math.inf, high: float = math.inf, note: str = ""
) -> float:
    """Returns `value` as a finite float within ``[low, high]``; `note` ends the message about others."""
    refusal = f"The `{name}` argument must be a number. Received {name}={shown(value)}."
    if isinstance(value, (bool, str, bytes)) or not isinstance(value, SupportsFloat):
        raise TypeError(refusal)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):  # arrays have the method, and most of them more than one number
        raise TypeError(refusal) from None
    if not math.isfinite(number) or not low <= number <= high:
        limits = "finite"
        if low > -math.inf and high < math.inf:
            limits = f"between {low:g} and {high:g}"
        elif low > -math.inf:
            limits = f"finite and at least {low:g}"
        more = f" {note}" if note else ""
        raise ValueError(f"The `{name}` argument must be {limits}. Received {name}={value!r}.{more}")
    return number


def element_type(value: Any, name: str = "dtype") -> str:
    """Returns the name of a type of array elements."""
    try:
        return str(np.dtype(value).name)
    except TypeError:
        raise TypeError(
            f"The `{name}` argument must be a type of NumPy, such as 'float32'. Received {name}={value!r}."
        ) from None


def string(value: object, name: str) -> str:
    """Returns `value` as a plain str."""
    if not isinstance(value, str):
        raise TypeError(f"The `{name}` argument must be a string. Received {name}={shown(value)}.")
    return str(value)


def path(value: object, name: str) -> Path:
    """Returns `value` as a path; numbers would be those of open files, an empty text the current folder."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"The `{name}` argument must be a path. Received {name}={value!r}.")
    if not os.fspath(value):
        raise ValueError(f"The `{name}` argument must be a path. Received an empty text; '.' is this folder.")
    return Path(value)


def is_page(file: Path) -> bool:
    """Whether the name is one of an HTML file, or of no kind."""
    return file.suffix.lower() in ("", ".html", ".htm")


def page(value: object, name: str) -> Path:
    """Returns `value` as the path of an HTML file; a program that opens a PDF would call it broken."""
    file = path(value, name)
    if not is_page(file):
        raise ValueError(
            f"The `{name}` argument must end in .html: what is written is HTML, which browsers also print to "
            f"PDF. Received {name}={os.fspath(file)!r}."
        )
    return file


def choice(value: object, name: str, allowed: Sequence[str]) -> str:
    """Returns `value` if it is one of the strings `allowed`."""
    text = string(value, name)
    if text not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(
            f"The `{name}` argument must be one of {options}. Received {name}={text!r}.{meant(text, allowed)}"
        )
    return text


def verbosity(value: object) -> str | int:
    """Returns the argument `verbose` as "auto", 0, 1 or 2."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (str, int)) and value in ("auto", 0, 1, 2):
        return value
    raise ValueError(f'The `verbose` argument must be "auto", 0, 1 or 2. Received verbose={value!r}.')


def seed(value: object, name: str = "seed") -> int | None:
    """Returns a seed in ``[0, 2**64)``, or None."""
    if value is None:
        return None
    number = integer(value, name)
    if not 0 <= number < _SEED_LIMIT:
        raise ValueError(
            f"The `{name}` argument must be at least 0 and below 2**64. Received {name}={number}."
        )
    return number


def object_name(value: object, name: str = "name") -> str | None:
    """Returns the name of a layer, model or metric, or None; names become keys in files, hence no slash."""
    if value is None:
        return None
    text = string(value, name)
    if not text or "/" in text or not text.isprintable():
        raise ValueError(
            f"The `{name}` argument must be printable, not empty and without '/'. Received {name}={text!r}."
        )
    return text


def _elements(value: object) -> tuple[object, ...] | None:
    """The elements of a sequence of axis values, or None if `value` is not one."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return None
    return tuple(value)


def _index(value: object, message: str) -> int:
    """`value` as an int; TypeError with `message` if it is not one."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(message)
    try:
        return operator.index(value)
    except TypeError:  # arrays have the method, and most of them are no integer
        raise TypeError(message) from None


def _are_counts(numbers: Sequence[int]) -> bool:
    """Whether all numbers are at least 0, and the engine counts that far."""
    return min(numbers) >= 0 and max(numbers) < _SIZE_LIMIT


def axis_integers(value: object, rank: int, name: str, *, alone: bool = False) -> tuple[int, ...]:
    """Returns one positive int per spatial axis; a single int stands for all of them.

    Args:
        value: what was given.
        rank: number of spatial axes.
        name: of the argument.
        alone: whether messages say that one integer will do; those of Keras' arguments are its own.

    Raises:
        TypeError: an element is not an integer.
        ValueError: the number of elements is not `rank`, or one is below 1.
    """
    kind = f"an integer or a tuple of {rank}" if alone else f"a tuple of {rank} integers"
    message = f"The `{name}` argument must be {kind}. Received {name}={value!r}"
    elements = _elements(value)
    if elements is None:
        elements = (value,) * rank
    elif len(elements) != rank:
        raise ValueError(message)
    numbers = tuple(_index(element, message) for element in elements)
    refused = {number for number in numbers if number <= 0}
    if refused:
        raise ValueError(f"{message}, including values {refused} that do not satisfy `value > 0`")
    if max(numbers) >= _SIZE_LIMIT:
        raise ValueError(f"{message}, which must be below 2**63.")
    return numbers


def convolution_padding(value: object, rank: int, *, causal: bool) -> Padding:
    """Returns "valid", "same", "causal" (where allowed) or one ``(before, after)`` pair per spatial axis.

    An int pads every side of every axis alike.
    """
    allowed = ("valid", "same", "causal") if causal else ("valid", "same")
    message = (
        f"The `padding` argument must be one of {allowed}, an integer, or {rank} pairs (before, after), one "
        f"per spatial axis. Received padding={value!r}."
    )
    if isinstance(value, str):
        if value.lower() not in allowed:
            raise ValueError(message)
        return value.lower()
    elements = _elements(value)
    if elements is None:
        side = _index(value, message)
        elements = ((side, side),) * rank
    pairs = []
    for element in elements:
        pair = _elements(element)
        if pair is None:
            raise TypeError(message)
        sides = [_index(side, message) for side in pair]
        if len(sides) != 2 or not _are_counts(sides):
            raise ValueError(message)
        pairs.append((sides[0], sides[1]))
    if len(pairs) != rank:
        raise ValueError(message)
    return tuple(pairs)


def output_padding(value: object, rank: int, name: str = "output_padding") -> tuple[int, ...] | None:
    """Returns one int of at least 0 per spatial axis, or None."""
    if value is None:
        return None
    message = (
        f"The `{name}` argument must be None or {rank} integers of at least 0. Received {name}={value!r}."
    )
    elements = _elements(value)
    if elements is None:
        elements = (value,) * rank
    numbers = tuple(_index(element, message) for element in elements)
    if len(numbers) != rank or not _are_counts(numbers):
        raise ValueError(message)
    return numbers


def padding_mode(value: object, name: str = "padding_mode") -> str:
    """Returns one of the names in `PADDING_MODES`."""
    return choice(value, name, PADDING_MODES)


def axis_pairs(value: object, rank: int, name: str) -> tuple[tuple[int, int], ...]:
    """Returns one ``(before, after)`` pair per spatial axis, none of them negative.

    An int stands for every side; one int per axis for both sides of that axis. For a single axis two ints are
    (before, after).
    """
    message = (
        f"The `{name}` argument must be an integer, {rank} integers, or {rank} pairs (before, after), one "
        f"per spatial axis. Received {name}={value!r}."
    )
    if isinstance(value, (str, bytes)):
        raise TypeError(message)
    elements = _elements(value)
    if elements is None:
        elements = (value,) * rank
    elif rank == 1 and len(elements) == 2 and all(_elements(element) is None for element in elements):
        elements = (elements,)
    if len(elements) != rank:
        raise ValueError(message)
    pairs = []
    for element in elements:
        sides = _elements(element)
        if sides is None:
            sides = (element, element)
        numbers = [_index(side, message) for side in sides]
        if len(numbers) != 2 or not _are_counts(numbers):
            raise ValueError(message)
        pairs.append((numbers[0], numbers[1]))
    return tuple(pairs)


def sample_shape(value: object, name: str) -> tuple[int | None, ...]:
    """Returns the shape of one sample: positive sizes, or None where the size is not known in advance."""
    elements = _elements(value)
    if elements is None:
        raise TypeError(f"The `{name}` argument must be a tuple of sizes. Received {name}={value!r}.")
    if not elements:
        raise ValueError(f"The `{name}` argument must have at least one axis. Received {name}={value!r}.")
    sizes: list[int | None] = []
    for element in elements:
        message = f"The `{name}` argument must hold positive integers or None. Received {name}={value!r}."
        size = None if element is None else _index(element, message)
        if size is not None and not 1 <= size < _SIZE_LIMIT:
            raise ValueError(message)
        sizes.append(size)
    return tuple(sizes)


def not_masked(value: object, name: str) -> None:
    """Refuses a masked array, whose mask would be lost.

    There is none as long as nobody has imported `numpy.ma`, which takes longer than most calls and some MB.
    """
    masked = sys.modules.get("numpy.ma")
    if masked is not None and isinstance(value, masked.MaskedArray):
        raise TypeError(f"The `{name}` argument is a masked array; fill or drop the masked entries first.")


def is_iterable(value: object) -> bool:
    """Whether `value` can be gone through, or gives what it has by number, as data sets of Keras do."""
    return isinstance(value, Iterable) or (
        hasattr(type(value), "__getitem__") and hasattr(type(value), "__len__")
    )


def iterated(value: Any) -> Iterator[Any]:
    """An iterator of something that `is_iterable`."""
    return iter(value) if isinstance(value, Iterable) else _numbered(value)


def _numbered(value: Any) -> Iterator[Any]:
    """What `value` has, by number; it hears when that is over."""
    for number in range(len(value)):
        yield value[number]
    if hasattr(value, "on_epoch_end"):
        value.on_epoch_end()
