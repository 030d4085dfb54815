"""The notebook that the program runs in, if it does."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["Display", "in_notebook"]


def in_notebook() -> bool:
    """Whether what is displayed appears in a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return "ipykernel" in sys.modules and shell is not None and hasattr(shell(), "kernel")


class Display:
    """One element of a notebook's output, which is replaced by what is shown later."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, page: str, text: str) -> None:
        """Shows HTML, with text for programs that know none."""
        content = {"text/html": page, "text/plain": text}
        if self._handle is None:
            module: Any = importlib.import_module("IPython.display")  # in a notebook it is there
            # The handle, which makes the name of the element, is kept first: an interrupt may come when that
            # has been sent and `display` has not returned yet, and what follows must not be a second element.
            self._handle = module.DisplayHandle()
            self._handle.display(content, raw=True)
        else:
            self._handle.update(content, raw=True)
