"""Arrays for several inputs or outputs, as lists or as dicts by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["spread"]


def spread(value: Any, names: Sequence[str], argument: str, kind: str, *, gaps: bool = False) -> list[Any]:
    """What `value` has for each of several names, in their order.

    Args:
        value: a list or tuple with an entry for each, or a dict by name.
        names: the names.
        argument: name of the argument, for messages.
        kind: what the names are of: "input" or "output".
        gaps: whether a dict may leave names out, which are then None.

    Raises:
        ValueError: another number, a name that there is not, or one that is missing.
        TypeError: neither a list nor a dict.
    """
    known = ", ".join(f"'{name}'" for name in names)
    if isinstance(value, Mapping):
        for key in value:
            if key not in names:
                raise ValueError(
                    f"`{argument}` names {key!r}, which is no {kind} of the model: they are {known}."
                )
        missing = [name for name in names if name not in value]
        if missing and not gaps:
            raise ValueError(f"`{argument}` has no entry for {kind} '{missing[0]}'; the model has {known}.")
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)):
        if len(value) == len(names):
            return list(value)
        received = f"a {type(value).__name__} of {len(value)}"
    else:
        received = f"an object of type {type(value).__name__}"
        if hasattr(value, "shape"):
            received = f"one array of shape {tuple(value.shape)}"
    raise ValueError(
        f"`{argument}` must be a list of {len(names)} arrays, one for each {kind} ({known}), or a dict by "
        f"their names. Received {received}."
    )
