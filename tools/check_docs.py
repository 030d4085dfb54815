"""Checks that every public name of gridnn is in the reference of the built site.

Example:
    python tools/check_docs.py docs/_build/html
"""

import importlib
import sys
from pathlib import Path
from types import GenericAlias, ModuleType

from sphinx.util.inventory import InventoryFile

import gridnn as gn


def public_names() -> set[str]:
    """Names in the ``__all__`` of the package and of its public modules, but for aliases of types."""
    names = {f"gridnn.{name}" for name in gn.__all__ if not name.startswith("__")}
    for name in gn.__all__:
        if isinstance(getattr(gn, name), ModuleType):
            module = importlib.import_module(f"gridnn.{name}")
            if module.__name__ != f"gridnn.{name}":
                continue  # another name of one that is listed
            found = {each for each in module.__all__ if not isinstance(getattr(module, each), GenericAlias)}
            names |= {f"gridnn.{name}.{each}" for each in found}
    for optional in ("sklearn", "aeon"):  # which `gridnn` does not list, since they need more than NumPy
        try:
            module = importlib.import_module(f"gridnn.{optional}")
        except ImportError:
            continue
        names |= {f"gridnn.{optional}.{each}" for each in module.__all__}
    return names - {"gridnn.Input"}  # which is gridnn.layers.Input


def _object(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def main() -> None:
    """Exits with the names that the site in the folder given as argument lacks."""
    site = Path(sys.argv[1])
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, site.as_posix(), lambda folder, name: f"{folder}/{name}")
    known = {name for kind, objects in inventory.items() if kind.startswith("py:") for name in objects}
    listed = [_object(name) for name in public_names() & known]
    missing = public_names() - known
    # Some functions are losses and metrics: described in one place, they need no other.
    lacking = sorted(name for name in missing if not any(_object(name) is each for each in listed))
    if lacking:
        sys.exit(f"the reference lacks {len(lacking)} names: {', '.join(lacking)}")
    print(f"reference: {len(public_names())} public names")


if __name__ == "__main__":
    main()
