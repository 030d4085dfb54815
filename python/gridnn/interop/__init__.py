"""Models of other libraries: what comes in and what goes out, besides the methods of a model.

Example:
    >>> import gridnn as gn
    >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2, name="head")])
    >>> [*gn.interop.to_torch_state_dict(model)]
    ['head.weight', 'head.bias']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridnn.interop.torch import to_torch_state_dict

__all__ = ["to_torch_state_dict"]

_HOMES = {"to_torch_state_dict": "gridnn.interop.torch"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gridnn.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
