"""What the README points at."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

ROOT = Path(__file__).parents[2]
LINKS = [
    link
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    if "://" not in link
]


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_links_lead_somewhere(link):
    assert (ROOT / link).is_file()


def test_pictures_are_small():
    pictures = [ROOT / link for link in LINKS if link.endswith(".png")]
    assert len(pictures) == 3
    assert max(path.stat().st_size for path in pictures) < 150_000
