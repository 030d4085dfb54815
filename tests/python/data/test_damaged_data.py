"""Damaged data files through the command line: readers of other libraries raise anything of them."""

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.cli import main

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
PICTURE = RNG.random((16, 16), np.float32)
VOLUME = RNG.random((8, 8, 8), np.float32)
SOUND = RNG.random(800) - 0.5


def picture(file):
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray((PICTURE * 255).astype(np.uint8)).save(file)


def tiff(compression=None):
    return lambda file: pytest.importorskip("tifffile").imwrite(file, PICTURE, compression=compression)


def nifti(file):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(VOLUME, np.eye(4)), file)


def sound(file):
    pytest.importorskip("soundfile").write(file, SOUND, 8000)


CLASSIFIED, SOUNDS, MAPPED, MAPPED_VOLUMES = (16, 16, 1), (800, 1), (None, None, 1), (None, None, None, 1)
KINDS = {
    "array.npy": (CLASSIFIED, lambda file: np.save(file, PICTURE)),
    "stored.npz": (CLASSIFIED, lambda file: np.savez(file, x=PICTURE[np.newaxis])),
    "compressed.npz": (CLASSIFIED, lambda file: np.savez_compressed(file, x=PICTURE[np.newaxis])),
    "picture.png": (CLASSIFIED, picture),
    "picture.jpg": (CLASSIFIED, picture),
    "sound.wav": (SOUNDS, sound),
    "sound.flac": (SOUNDS, sound),
    "array.npy, on disk": (MAPPED, lambda file: np.save(file, PICTURE)),
    "stored.tif": (MAPPED, tiff()),
    "compressed.tif": (MAPPED, tiff("zlib")),
    "volume.nii": (MAPPED_VOLUMES, nifti),
    "volume.nii.gz": (MAPPED_VOLUMES, nifti),
}


def network(shape):
    if None not in shape:
        return gn.Sequential([gn.Input(shape), layers.Flatten(), layers.Dense(3, "softmax")])
    convolution = layers.Conv2D if len(shape) == 3 else layers.Conv3D
    return gn.Sequential([gn.Input(shape), convolution(2, 3, padding="same")])


def damages(whole, count):
    """Files cut short, and such with some bytes changed, often near their beginning."""
    rng = np.random.default_rng(1)
    for number in range(count):
        if number % 5 == 0:
            yield whole[: rng.integers(len(whole))]
            continue
        damaged = bytearray(whole)
        for at in rng.integers(min(len(whole), (400, len(whole))[number % 2]), size=4):
            damaged[at] = rng.integers(256)
        yield bytes(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_one_line_with_its_name(capsys, tmp_path, kind):
    shape, write = KINDS[kind]
    name = kind.partition(",")[0]
    write(tmp_path / name)
    network(shape).save(tmp_path / "model.gridnn")
    (tmp_path / "maps").mkdir()
    options = ["--out", tmp_path / "maps"] if None in shape else []
    file = tmp_path / f"damaged_{name}"
    refused = 0
    for damaged in damages((tmp_path / name).read_bytes(), 40):
        file.write_bytes(damaged)
        status = main([str(word) for word in ("predict", tmp_path / "model.gridnn", file, *options)])
        error = capsys.readouterr().err
        assert status in (0, 2)
        assert status == 0 or f"error: {file}: " in error
        refused += status == 2
    assert refused >= 5


def test_a_volume_without_a_place_is_named(capsys, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(VOLUME, np.eye(4))
    image.header["srow_y"] = [0, -np.inf, 0, 0]
    nibabel.save(image, tmp_path / "volume.nii")
    whole = bytearray((tmp_path / "volume.nii").read_bytes())
    whole[296:312] = np.array([0, -np.inf, 0, 0], "<f4").tobytes()  # srow_y
    (tmp_path / "volume.nii").write_bytes(whole)
    network(MAPPED_VOLUMES).save(tmp_path / "model.gridnn")
    words = ["predict", tmp_path / "model.gridnn", tmp_path / "volume.nii", "--out", tmp_path]
    assert main([str(word) for word in words]) == 2
    assert "volume.nii: cannot be read as a NIfTI file: its place in space" in capsys.readouterr().err


def test_onnx_files_are_told_apart_by_their_bytes(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\x08\x08\x12\x00" * 8)
    for load in (gn.load_model, network(CLASSIFIED).load_weights):
        with pytest.raises(
            gn.errors.FileFormatError, match=r"weights\.bin: gridnn\.from_onnx reads ONNX files"
        ):
            load(tmp_path / "weights.bin")
