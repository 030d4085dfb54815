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
    "coming-from-keras.md",
    "coming-from-pytorch.md",
    "index.md",
    "lab/index.md",
    "lab/keras.md",
    "tour.md",
    "how-to/reproducible.md",
    "how-to/containers.md",
)
# Those whose blocks other tests run, most of them further down.
ELSEWHERE = {
    "how-to/command-line.md",
    "how-to/formats.md",
    "how-to/large-images.md",
    "how-to/own-images.md",
    "how-to/own-series.md",
    "how-to/serving.md",  # test_serving.py
    "many-machines.md",  # tools/run_many_machines.py
}
# What a page has told before its blocks begin.
BEFORE = {"lab/keras.md": "import gridnn as gn\n(x, y), (xt, yt) = gn.datasets.digits()"}


def blocks_of(page):
    """The blocks of Python that run; those of other libraries are written ```{code-block} python."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_every_block_of_python_is_run_by_a_test():
    pages = (path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
    found = {path.relative_to(DOCS).as_posix() for path in pages}
    assert {page for page in found if blocks_of(page)} == {*PAGES, *ELSEWHERE}


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(page, tmp_path):
    pytest.importorskip("matplotlib")
    blocks = [BEFORE.get(page, ""), *blocks_of(page)]
    code = "import matplotlib; matplotlib.use('agg')\n" + "\n".join(blocks).replace("epochs=15", "epochs=1")
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
    """Two tables, words as WAV files, and a set in HDF5, as docs/how-to/own-series.md has them."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("pandas")
    hours = np.arange(400)
    lines = [f"{15 + 10 * np.sin(hour / 4):.2f},{50 - 20 * np.sin(hour / 4):.1f}" for hour in hours]
    (folder / "weather.csv").write_text("\n".join(["temperature,humidity", *lines]))
    lines = [
        f"{run},{second},{second % (2 + run % 2) if second % 9 else ''},{60 + run % 2},state {run % 2}"
        for run in range(20)
        for second in range(30 + run)
    ]
    (folder / "machines.csv").write_text("\n".join(["run,second,vibration,temperature,state", *lines]))
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
    code = "\n".join(blocks).replace("epochs=10", "epochs=1").replace("epochs=20", "epochs=1")
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(code, folder):
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_of_large_images_runs_on_small_ones(tmp_path):
    text = (DOCS / "how-to" / "large-images.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    for size, small in (("2000", "200"), ("window=512", "window=96"), ("window=128", "window=32")):
        assert size in code
        code = code.replace(size, small)
    run(code + "\nassert outputs.shape == (200, 200, 2)", tmp_path)


def test_the_page_of_the_command_line_runs(tmp_path):
    image = pytest.importorskip("PIL.Image")
    nibabel = pytest.importorskip("nibabel")
    pytest.importorskip("onnx")
    pytest.importorskip("matplotlib")
    pictures(tmp_path)
    image.new("RGB", (50, 40)).save(tmp_path / "holiday.jpg")
    for name in ("scans", "maps"):
        (tmp_path / name).mkdir()
    volume = nibabel.Nifti1Image(np.zeros((20, 16, 12), np.float32), np.eye(4))
    volume.to_filename(tmp_path / "scans" / "1.nii.gz")
    shape = "(None, None, None, 1)"
    run(f"import gridnn as gn; gn.models.unet({shape}, 2, width=2, depth=1).save('unet.gridnn')", tmp_path)

    text = (DOCS / "how-to" / "command-line.md").read_text("utf-8")
    lines = re.findall(r"^\$ gridnn (.*)$", text, re.MULTILINE)
    assert len(lines) == 8
    printed = {}
    for line in lines:
        words = [
            str(part)
            for word in line.split()
            for part in (sorted(tmp_path.glob(word)) if "*" in word else [word])
        ]
        words = ["1" if word == "20" else "24" if word == "96" else word for word in words]
        command = [sys.executable, "-W", "error", "-m", "gridnn", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
        printed[" ".join(words[:2])] = done.stdout
    assert re.fullmatch(r"holiday\.jpg\t(cat|dog)\t[01]\.\d{4}\n", printed["predict pets.gridnn"])
    assert nibabel.load(tmp_path / "maps" / "1.nii.gz").shape == (20, 16, 12)
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    run(code + "\nassert model.class_names == ['cat', 'dog']", tmp_path)


def scans(folder):
    """Two volumes with masks, of which one is stored from left to right."""
    nibabel = pytest.importorskip("nibabel")
    for name in ("scans", "masks"):
        (folder / name).mkdir()
    place = np.diag([-2.0, 1, 1, 1])
    for number in range(2):
        values = np.random.default_rng(number).normal(size=(6, 5, 4)).astype(np.float32)
        nibabel.Nifti1Image(values, place).to_filename(folder / "scans" / f"{number}.nii.gz")
        classes = (values > 0).astype(np.uint8)
        nibabel.Nifti1Image(classes, place).to_filename(folder / "masks" / f"{number}.nii.gz")
    return """
assert x.shape == (2, 6, 5, 4, 1) and x.dtype == np.float32 and y.dtype == np.uint8
first = np.random.default_rng(0).normal(size=(6, 5, 4)).astype(np.float32)[::-1]
assert np.array_equal(y[0], first > 0)
assert np.allclose(x[0, ..., 0], (first - first.mean()) / first.std(), atol=1e-5)
"""


def study(folder):
    """Three slices whose files are in another order than space."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    (folder / "study").mkdir()
    for number, height in enumerate((20, 0, 10)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            pydicom.uid.CTImageStorage,
            f"1.2.{number}",
        )
        image = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        image.SOPClassUID, image.SOPInstanceUID = (
            meta.MediaStorageSOPClassUID,
            meta.MediaStorageSOPInstanceUID,
        )
        image.Rows, image.Columns, image.SamplesPerPixel = 2, 3, 1
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.PhotometricInterpretation = "MONOCHROME2"
        image.RescaleSlope, image.RescaleIntercept = 2, -1000
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [5, 5, height]
        image.PixelData = np.full((2, 3), height, "<u2").tobytes()
        image.save_as(folder / "study" / f"{number}.dcm")
    return "assert np.allclose(x[0, :, 0, 0, 0], [-1.0, -0.98, -0.96]) and x.shape == (1, 3, 2, 3, 1)"


def cells(folder):
    """Four channels that stand in front, and a picture that is not compressed."""
    tifffile = pytest.importorskip("tifffile")
    channels = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)
    tifffile.imwrite(folder / "cells.tif", channels, metadata={"axes": "CYX"}, imagej=True)
    tifffile.imwrite(folder / "slide.tif", np.ones((6, 5, 3), np.uint8), photometric="rgb")
    return "assert x.shape == (6, 5, 4) and x[0, 0].tolist() == [0, 30, 60, 90] and slide.shape == (6, 5, 3)"


def gestures(folder):
    """Two series of two channels; as .arff of one."""
    pytest.importorskip("scipy")
    head = "# a remark\n@problemName gestures\n@classLabel true up down\n@data\n"
    (folder / "gestures.ts").write_text(head + "1,2,3:4,5,6:up\n0,0,1:7,8,9:down\n")
    head = "@relation beats\n@attribute a numeric\n@attribute b numeric\n@attribute c {n,v}\n@data\n"
    (folder / "beats.arff").write_text(head + "1,2,v\n3,4,n\n")
    return """
assert x[..., 0].tolist() == [[1, 2], [3, 4]] and y.tolist() == [1, 0] and list(names) == ["n", "v"]
x, y, names = read_ts("gestures.ts")
assert x[0].tolist() == [[1, 4], [2, 5], [3, 6]] and y.tolist() == [1, 0] and names == ["down", "up"]
"""


def tables(folder):
    """Two runs of several lengths, and a table of images."""
    pytest.importorskip("pandas")
    image = pytest.importorskip("PIL.Image")
    rows = ["run,time,volt,ampere,state", "2,1,0.5,5,on", "2,0,0.25,4,on", "1,0,1,2,off"]
    (folder / "sensors.csv").write_text("\n".join(rows))
    (folder / "images").mkdir()
    for name in ("a.png", "b.png"):
        image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "images" / name)
    (folder / "labels.csv").write_text("file,label\na.png,dog\nb.png,cat\n")
    return """
assert x.shape == (2, 64, 64, 3) and y.tolist() == [1, 0] and list(names) == ["cat", "dog"]
series = [part[["volt", "ampere"]].to_numpy() for part in parts]
x = gn.utils.pad_sequences(series, dtype="float32", padding="post")
assert x.tolist() == [[[1, 2], [0, 0]], [[0.25, 4], [0.5, 5]]]
"""


def stores(folder):
    pytest.importorskip("h5py")
    pytest.importorskip("zarr")
    return """
assert first.shape == (2, 8, 8, 1) and set(labels.tolist()) <= {0, 1, 2}
model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(3)])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(batches, epochs=1, verbose=0)
"""


@pytest.mark.parametrize(
    ("section", "prepare"),
    [
        ("NIfTI", scans),
        ("DICOM", study),
        ("TIFF", cells),
        ("`.ts`", gestures),
        ("pandas", tables),
        ("HDF5", stores),
    ],
)
def test_recipes_for_files_of_a_field_run(section, prepare, tmp_path):
    checks = prepare(tmp_path)
    text = (DOCS / "how-to" / "formats.md").read_text("utf-8")
    (part,) = (part for part in text.split("\n## ")[1:] if part.startswith(section))
    start = "import numpy as np\nfrom pathlib import Path\nimport gridnn as gn\n"
    if section == "HDF5":
        start += "x, y = np.zeros((6, 8, 8, 1), np.uint8), np.arange(6) % 3\n"
    code = start + "\n".join(re.findall(r"^```python\n(.*?)^```", part, re.DOTALL | re.MULTILINE)) + checks
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere():
    missing = []
    for page in (path for path in DOCS.rglob("*.md") if "_build" not in path.parts):
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\(([^)#\s]+\.(?:md|png|svg|py))(?:#[^)]*)?\)", text)
        lost = [link for link in links if "://" not in link and not (page.parent / link).is_file()]
        missing += [f"{page.relative_to(DOCS)}: {link}" for link in lost]
    assert missing == []
