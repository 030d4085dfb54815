"""One function for every rank, and its names for one rank each.

A function of this API takes the number of spatial axes from its first array. `conv2d` is `conv` that insists
on two: a copy of the function object whose hidden keyword `_rank` has another default. So both run the same
code, without a call in between, which would cost more than reading the arguments.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["pinned", "ranked"]

F = TypeVar("F", bound=Callable[..., Any])

_AXES = {1: "width", 2: "height, width", 3: "depth, height, width"}
_NEW_AXES = {rank: re.sub(r"(\w+)", r"new_\1", axes) for rank, axes in _AXES.items()}


def ranked(function: F) -> F:
    """Hides the keyword `_rank` of a function from `help` and `inspect`."""
    signature = inspect.signature(function)
    shown = [parameter for parameter in signature.parameters.values() if parameter.name != "_rank"]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return function


def pinned(function: F, rank: int) -> F:
    """`function` for arrays of `rank` spatial axes alone, under its own name: `conv` becomes `conv2d`."""
    source = cast("types.FunctionType", function)
    name = re.sub("(conv|pool|pad)", rf"\g<1>{rank}d", source.__name__, count=1)
    alias = types.FunctionType(
        source.__code__, source.__globals__, name, source.__defaults__, source.__closure__
    )
    alias.__kwdefaults__ = {**(source.__kwdefaults__ or {}), "_rank": rank}
    alias.__annotations__ = source.__annotations__
    alias.__qualname__, alias.__module__ = name, source.__module__
    alias.__doc__ = _for_rank(source.__doc__ or "", source.__name__, rank)
    alias.__signature__ = inspect.signature(source)  # type: ignore[attr-defined]
    return cast("F", alias)


def _for_rank(text: str, name: str, rank: int) -> str:
    """A docstring with the shapes of one rank."""
    first, _, rest = text.partition("\n")
    text = f"{first} `{name}` for {rank} spatial ax{'i' if rank == 1 else 'e'}s.\n{rest}"
    for pattern, axes in (
        (r"\[depth, \[height,\]\] width", _AXES[rank]),
        (r"\[new_depth, \[new_height,\]\] new_width", _NEW_AXES[rank]),
        (r"\[1, \[1,\]\] 1", ", ".join("1" * rank)),
    ):
        text = re.sub(pattern, axes, text)
    return text
