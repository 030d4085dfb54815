"""Checks the built site: every public name is in the reference, links lead somewhere, and search finds pages.

Example:
    python tools/check_docs.py docs/_build/html
"""

import html.parser
import importlib
import json
import re
import sys
from pathlib import Path
from types import GenericAlias, ModuleType
from urllib.parse import unquote, urlsplit

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


class _Page(html.parser.HTMLParser):
    """The places of a page that links may name, and what it links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.places.add(value)
            if value and name in ("href", "src") and not value.startswith("data:"):
                self.links.add(value)


def lost_links(site: Path) -> list[str]:
    """Links within the site, from page to page and to places on them, that lead nowhere."""
    pages = {file: _Page(file.read_text("utf-8")) for file in site.rglob("*.html")}
    lost = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file.resolve()
            there = target.is_file()
            place = unquote(parts.fragment)
            if there and place and target in pages:
                there = place in pages[target].places
            if not there:
                lost.append(f"{file.relative_to(site)}: {link}")
    return sorted(lost)


# Words, and a page that the search must find by each; the index has their stems.
_SEARCHED = {
    "dilat": "lab/receptive_field",
    "gunicorn": "how-to/serving",
    "imbal": "how-to/imbalance",
    "safetensor": "how-to/from-pytorch",
}


def not_found(site: Path) -> list[str]:
    """What the index of the search does not find."""
    text = (site / "searchindex.js").read_text("utf-8")
    index = json.loads(re.sub(r"^Search\.setIndex\((.*)\);?\s*$", r"\1", text, flags=re.DOTALL))
    missing = []
    for word, page in _SEARCHED.items():
        found = [index[kind].get(word, []) for kind in ("terms", "titleterms")]
        numbers = {number for each in found for number in (each if isinstance(each, list) else [each])}
        if page not in {index["docnames"][number] for number in numbers}:
            missing.append(f"{word} on {page}")
    return missing


def main() -> None:
    """Exits with the names that the site in the folder given as argument lacks, and with lost links."""
    site = Path(sys.argv[1]).resolve()
    if lost := lost_links(site):
        sys.exit(f"{len(lost)} links lead nowhere: " + "; ".join(lost[:20]))
    if unfound := not_found(site):
        sys.exit(f"the search does not find {', '.join(unfound)}")
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
