"""The pages for contributors name files that exist, and recipes that are as short as they claim to be."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

ROOT = Path(__file__).parents[2]
ADDING = sorted((ROOT / "docs/adding").glob("*.md"))
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md", *ADDING]
FOLDERS = ("src", "python", "tests", "tools", "docs", "benches", "fuzz", ".github")
SKIPPED = {"__pycache__", "_build", "target"}

# Most files of a change, without those of the changelog and of the page that describes it.
LIMITS = {
    "A layer without new arithmetic": 9,
    "An activation": 7,
    "An optimizer": 4,
    "A loss": 5,
    "A metric": 4,
    "A convolution algorithm": 3,
    "An option of a convolution": 13,
    "A SIMD tier": 2,
}
PAGE_OF = {
    "activation": "An activation",
    "algorithm": "A convolution algorithm",
    "convolution-option": "An option of a convolution",
    "layer": "A layer without new arithmetic",
    "loss": "A loss",
    "metric": "A metric",
    "optimizer": "An optimizer",
    "tier": "A SIMD tier",
}


def known_paths():
    paths = {path.name for path in ROOT.iterdir()}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            parts = path.relative_to(ROOT).parts
            if not SKIPPED & set(parts):
                paths.add("/".join(parts))
    return paths


KNOWN = known_paths()


def named_paths(text):
    """Files and folders in code spans, `<family>` and its like as patterns; fenced blocks are left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"`([^`\n]+)`", text):
        path = re.sub(r"<\w+>", "*", span)
        if re.fullmatch(r"[\w.*/-]+(\.(rs|py|pyi|md|toml|yml|cff|json|css)|/)", path) and not path.startswith(
            "/"
        ):
            yield path.rstrip("/")


def exists(pattern):
    """Whether a path, or the end of one, is that of a file or folder."""
    return any(fnmatch(path, pattern) or fnmatch(path, f"*/{pattern}") for path in KNOWN)


def recipes():
    """The paths of every recipe of CONTRIBUTING.md, by its title."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = text.split("\n## What to touch\n")[1].split("\n## ")[0]
    found = {}
    for item in re.split(r"\n(?=- \*\*)", text)[1:]:
        title = re.match(r"- \*\*(.+?)\*\*", item)[1]
        found[title] = {
            path for path in named_paths(item.split("\n\n")[0]) if not path.startswith("docs/adding")
        }
    return found


def changed_paths(page):
    """The files of a page's diff, and which of them are new."""
    pairs = re.findall(r"^--- (\S+)\n\+\+\+ b/(\S+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {path: before == "/dev/null" for before, path in pairs}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page):
    paths = set(named_paths(page.read_text(encoding="utf-8")))
    assert paths or page.name == "index.md"
    assert sorted(path for path in paths if not exists(path)) == []


def test_names_of_files_are_told_from_other_code():
    text = "`src/<tier>.rs`, `docs/adding/`, `x / 6`, `Layer`, `make dev`\n```sh\n`no.py`\n```\n`nowhere.py`"
    assert list(named_paths(text)) == ["src/*.rs", "docs/adding", "nowhere.py"]
    assert exists("docs/adding")
    assert exists("engine/mod.rs")
    assert not exists("nowhere.py")


def test_recipes_are_short():
    counts = {title: len(paths) for title, paths in recipes().items()}
    assert counts.keys() >= LIMITS.keys()
    assert {title: counts[title] for title, most in LIMITS.items() if counts[title] > most} == {}
    assert all(counts.values())


@pytest.mark.parametrize(
    "page", [page for page in ADDING if page.stem != "index"], ids=lambda page: page.stem
)
def test_a_diff_touches_what_the_recipe_says(page):
    title = PAGE_OF[page.stem]
    changed, allowed = changed_paths(page), recipes()[title]
    assert changed
    assert len(changed) <= LIMITS[title]
    for path, new in changed.items():
        assert new or path in KNOWN, path
        assert any(fnmatch(path, pattern) for pattern in allowed), path


def changed_places(page):
    """What hunks of a page's diff change, with the lines around it: a file and the lines as they were."""
    text = page.read_text(encoding="utf-8")
    for path, diff in re.findall(
        r"^\+\+\+ b/(\S+)\n(.*?)(?=^--- \S|^```$|\Z)", text, re.DOTALL | re.MULTILINE
    ):
        for hunk in re.findall(r"^@@ .*\n((?:[ +-].*\n|\n)+)", diff, re.MULTILINE):
            # A line without anything is an empty one of the file.
            lines = [line for line in hunk.splitlines(keepends=True) if not line.startswith("+")]
            yield path, "".join(line if line == "\n" else line[1:] for line in lines)


@pytest.mark.parametrize("page", ADDING, ids=lambda page: page.stem)
def test_what_a_diff_changes_is_there(page):
    for path, lines in changed_places(page):
        if lines:  # or the file is new
            assert lines in (ROOT / path).read_text(encoding="utf-8"), f"{path}:\n{lines}"


def test_hunks_are_read_with_what_is_around():
    assert len(list(changed_places(ROOT / "docs/adding/layer.md"))) >= 7
