"""Checks that every public name of gridnn is in the reference of the built site.

Example:
    python tools/check_docs.py docs/_build/html
"""

import importlib
import sys
from pathlib import Path

from sphinx.util.inventory import InventoryFile

import gridnn as gn


def public_names() -> set[str]:
    """Names in the ``__all__`` of the package and of its public modules."""
    names = {f"gridnn.{name}" for name in gn.__all__ if not name.startswith("__")}
    for module in (name for name in gn.__all__ if type(getattr(gn, name)).__name__ == "module"):
        names |= {f"gridnn.{module}.{name}" for name in importlib.import_module(f"gridnn.{module}").__all__}
    return names - {"gridnn.Input"}  # which is gridnn.layers.Input


def main() -> None:
    """Exits with the names that the site in the folder given as argument lacks."""
    site = Path(sys.argv[1])
    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, site.as_posix(), lambda folder, name: f"{folder}/{name}")
    known = {name for kind, objects in inventory.items() if kind.startswith("py:") for name in objects}
    if lacking := sorted(public_names() - known):
        sys.exit(f"the reference lacks {len(lacking)} names: {', '.join(lacking)}")
    print(f"reference: {len(public_names())} public names")


if __name__ == "__main__":
    main()
