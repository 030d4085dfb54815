import gzip
import importlib.util
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.one_tier

EXAMPLES = Path(__file__).parents[2] / "examples"
# The script, its folder in GRIDNN_DATA, the figure it prints last and what that figure must reach.
RUNS = {
    "spoken_digits": ("fsdd", r"accuracy on (\d+) test recordings: (\d+\.\d)%", 85),
    "raw_audio": ("fsdd", r"accuracy on (\d+) test recordings: (\d+\.\d)%", 95),
    "adrenal_shapes": ("adrenalmnist3d", r"area under the ROC curve on (\d+) test shapes: (0\.\d+)", 0.75),
    "fashion_mnist": ("fashion-mnist", r"accuracy on (\d+) test images: (\d+\.\d\d)%", 93),
    "land_use": ("eurosat-rgb32", r"accuracy on (\d+) test images: (\d+\.\d)%", 90),
    "hippocampus": ("hippocampus-msd", r"mean Dice on (\d+) test volumes: (\d\.\d+)", 0.8),
    "hippocampus_augmented": ("hippocampus-msd", r"mean Dice on (\d+) test volumes: (\d\.\d+)", 0.88),
    "land_use_files": ("eurosat-rgb32", r"accuracy on (\d+) test images: (\d+\.\d)%", 93),
    "spoken_digits_files": ("fsdd", r"accuracy on (\d+) test recordings: (\d+\.\d)%", 95),
    "large_image": ("eurosat-rgb32", r"accuracy on (\d+) pixels: (\d+\.\d)%", 70),
}


def run(name, *arguments):
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_readme_runs(tmp_path):
    blocks = re.findall(
        r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert blocks
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_a_missing_folder_is_an_error(name, tmp_path):
    result = run(name, "--quick", "--data", tmp_path)
    assert result.returncode != 0
    assert re.search(r"No such file|lacks a file", result.stderr)


def bytes_of(rng, *shape):
    return rng.integers(0, 256, shape, np.uint8)


def write_recordings(folder, rng):
    length = rng.integers(1000, 9000, 60).astype(np.int32)
    np.savez(
        folder / "fsdd.npz",
        audio=rng.integers(-9000, 9000, length.sum()).astype(np.int16),
        start=np.cumsum(length) - length,
        length=length,
        label=(np.arange(60) % 10).astype(np.uint8),
        index=(np.arange(60) // 10 + 3).astype(np.uint8),
    )


def write_glands(folder, rng):
    arrays = {}
    for part, count in (("train", 40), ("test", 20)):
        arrays[f"{part}_images"] = bytes_of(rng, count, 28, 28, 28) // 128 * 255
        arrays[f"{part}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, np.newaxis]
    np.savez(folder / "adrenalmnist3d.npz", **arrays)


def write_clothes(folder, rng):
    for part, count in (("train", 600), ("t10k", 20)):
        for kind, array in (
            ("images-idx3", bytes_of(rng, count, 28, 28)),
            ("labels-idx1", bytes_of(rng, count) % 10),
        ):
            header = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes(), 1))


def write_land(folder, rng):
    arrays = {}
    for part, count in (("train", 80), ("test", 20)):
        arrays[f"x_{part}"] = bytes_of(rng, count, 32, 32, 3)
        arrays[f"y_{part}"] = (np.arange(count) % 10).astype(np.uint8)
    np.savez(folder / "eurosat_rgb32.npz", **arrays)


def write_brains(folder, rng):
    shape = (24, 48, 64, 48)
    np.savez(
        folder / "hippocampus.npz",
        image=bytes_of(rng, *shape),
        mask=bytes_of(rng, *shape) % 3,
        is_test=np.arange(24) % 12 == 0,
    )


MADE_UP = {
    "spoken_digits": (write_recordings, 20),
    "raw_audio": (write_recordings, 20),
    "adrenal_shapes": (write_glands, 20),
    "fashion_mnist": (write_clothes, 20),
    "land_use": (write_land, 20),
    "hippocampus": (write_brains, 2),
    "hippocampus_augmented": (write_brains, 2),
    "land_use_files": (write_land, 20),
    "spoken_digits_files": (write_recordings, 20),
    "large_image": (write_land, 256 * 256),
}


@pytest.mark.parametrize("name", RUNS)
def test_quick_run_on_noise(name, tmp_path):
    write, count = MADE_UP[name]
    write(tmp_path, np.random.default_rng(0))
    result = run(name, "--quick", "--data", tmp_path)
    assert result.returncode == 0, result.stderr
    found = re.search(RUNS[name][1], result.stdout)
    assert found
    assert int(found[1]) == count


def loaded(name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_loss_of_volumes_is_what_it_says(monkeypatch):
    loss = loaded("hippocampus_augmented", monkeypatch).DiceAndCrossentropy()
    rng = np.random.default_rng(0)
    truth, scores, step = rng.integers(0, 3, (2, 3, 4, 5)), *rng.normal(size=(2, 2, 3, 4, 5, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    both, either = (
        np.array([of(shares[..., label], truth == label) for label in (1, 2)])
        for of in (lambda p, t: (p * t).sum(axis=(1, 2, 3)), lambda p, t: (p + t).sum(axis=(1, 2, 3)) + 1)
    )
    likelihood = np.take_along_axis(shares, truth[..., np.newaxis], -1)[..., 0]
    expected = 1 - np.mean(2 * both / either, axis=0) - np.log(likelihood).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(loss.call(truth, scores), expected, rtol=1e-5)
    change = loss.call(truth, scores + 1e-2 * step) - loss.call(truth, scores - 1e-2 * step)
    np.testing.assert_allclose((loss.gradient(truth, scores) * step).sum(), change.sum() / 2e-2, rtol=1e-3)


def test_dice_of_volumes(monkeypatch):
    script = loaded("hippocampus", monkeypatch)
    masks = np.zeros((2, 1, 1, 8), np.uint8)
    predicted = np.zeros_like(masks)
    masks[:, 0, 0, :2], masks[:, 0, 0, 2:4] = 1, 2
    predicted[0], predicted[1, 0, 0, :4] = masks[0], (1, 2, 2, 2)
    # The second volume: one voxel of label 1 of two and one; label 2 finds both and one too many.
    np.testing.assert_allclose(script.dice(masks, predicted), [(1 + 2 / 3) / 2, (1 + 4 / 5) / 2])


@pytest.mark.parametrize("name", RUNS)
def test_quick_run(name, data_folder):
    folder, figure, _ = RUNS[name]
    result = run(name, "--quick", "--data", data_folder / folder)
    assert result.returncode == 0, result.stderr
    assert re.search(figure, result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_full_run_reaches_its_figure(name, data_folder):
    folder, figure, least = RUNS[name]
    result = run(name, "--data", data_folder / folder)
    assert result.returncode == 0, result.stderr
    found = re.search(figure, result.stdout)
    assert found
    assert float(found[2]) >= least
