"""Pages that the docs build does not execute: every block of Python on them runs, one after the other."""

import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.one_tier

DOCS = Path(__file__).parents[2] / "docs"
# Those whose blocks need only what the tests have; the others are executed by the build, or need files.
PAGES = (
    "cheat-sheet.md",
    "coming-from-pytorch.md",
    "index.md",
    "how-to/reproducible.md",
    "how-to/containers.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, tmp_path):
    pytest.importorskip("matplotlib")
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    code = "import matplotlib; matplotlib.use('agg')\n" + "\n".join(blocks)
    if ".onnx" in code:
        pytest.importorskip("onnx")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def pictures(folder, per_class=6):
    """Photos of two classes, pictures with masks, and a table, as docs/how-to/own-images.md has them."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = rng.integers(0, 256, (70, 80, 3), np.uint8)
            image.fromarray(pixels).save(folder / "photos" / name / f"{i}.jpg")
    for name in ("images", "masks"):
        (folder / name).mkdir()
        pixels = rng.integers(0, 2, (128, 192), np.uint8)
        image.fromarray(pixels).save(folder / name / "1.png")
    header = ",".join(["label", *(f"p{i}" for i in range(784))])
    (folder / "digits.csv").write_text(f"{header}\n7{',0' * 784}\n")


def sounds(folder):
    """Words as WAV files, and a set in HDF5, as docs/how-to/own-series.md has them."""
    h5py = pytest.importorskip("h5py")
    for name in ("yes", "no"):
        (folder / "words" / name).mkdir(parents=True)
        for i in range(3):
            with wave.open(str(folder / "words" / name / f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(np.zeros(8000, np.int16).tobytes())
    with h5py.File(folder / "scans.h5", "w") as file:
        file["x"], file["y"] = np.zeros((32, 64, 1), np.float32), np.zeros((32, 1), np.float32)


@pytest.mark.parametrize(("page", "prepare"), [("own-images.md", pictures), ("own-series.md", sounds)])
def test_guides_run_on_files_as_they_describe_them(page, prepare, tmp_path):
    prepare(tmp_path)
    text = (DOCS / "how-to" / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    # Libraries of a field are not at hand here; one epoch says as much as ten.
    code = "\n".join(block for block in blocks if "pydicom" not in block).replace("epochs=10", "epochs=1")
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere():
    missing = []
    for page in (path for path in DOCS.rglob("*.md") if "_build" not in path.parts):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]+\.(?:md|png|svg|py))(?:#[^)]*)?\)", text)
        lost = [link for link in links if "://" not in link and not (page.parent / link).is_file()]
        missing += [f"{page.relative_to(DOCS)}: {link}" for link in lost]
    assert missing == []
