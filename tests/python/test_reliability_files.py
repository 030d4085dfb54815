"""Files are whole or not at all, hold what was saved, and are read in bounded time and memory."""

import gzip
import io
import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers
from gridnn._engine import load_tensors, save_tensors, write_file
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier

REFERENCE = Path(__file__).parent / "reference"
UNIX = pytest.mark.skipif(os.name == "nt", reason="modes, links and pipes of Unix")


def small():
    return gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0)


def test_files_of_version_0_1_0_load():
    model = gn.load_model(REFERENCE / "version_0_1_0.gridnn")
    x = (np.arange(4 * 36) % 7).reshape(4, 6, 6, 1).astype(np.float32)
    want = np.loadtxt(REFERENCE / "version_0_1_0.txt")
    np.testing.assert_allclose(model.predict(x, verbose=0), want, rtol=1e-4, atol=1e-5)


MODELS_OF_0_1_0 = REFERENCE / "version_0_1_0_models.zip"


def _files_of_0_1_0():
    with zipfile.ZipFile(MODELS_OF_0_1_0) as archive:
        return sorted({Path(name).stem for name in archive.namelist()})


@pytest.mark.parametrize("name", _files_of_0_1_0())
def test_models_of_every_family_of_version_0_1_0_load_and_train_on(tmp_path, name):
    with zipfile.ZipFile(MODELS_OF_0_1_0) as archive:
        path = archive.extract(f"{name}.gridnn", tmp_path)
        want = np.load(io.BytesIO(archive.read(f"{name}.npy")))
    model = gn.load_model(path)
    x = (np.arange(2 * np.prod(model.input_shape[1:])) % 7 / 7).astype(np.float32)
    x = x.reshape(2, *model.input_shape[1:])
    # Algorithms and tiers round differently: by some ulps of the largest value.
    np.testing.assert_allclose(model.predict(x, verbose=0), want, rtol=1e-4, atol=1e-5 * np.abs(want).max())
    labels = np.zeros(want.shape[:-1], np.int64) if want.ndim > 2 else np.array([0, 1])
    model.fit(x, labels, epochs=1, batch_size=2, verbose=0)


@pytest.mark.parametrize("name", ["m.h5", "m.HDF5", "m.onnx", "m.pt", "m.pth", "m.tflite", "m.pb"])
def test_endings_of_others(tmp_path, name):
    for save in (small().save, small().save_weights, callbacks.ModelCheckpoint):
        with pytest.raises(ValueError, match=r"\.gridnn"):
            save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (pickle.dumps({"a": 1}), "pickle"),
        (b"\x08\x08\x12\x07pytorch" + bytes(100), "ONNX"),
        (b"\x1c\0\0\0TFL3" + bytes(100), "TensorFlow Lite"),
        (gzip.compress(b"x"), "gzip"),
    ],
)
def test_files_of_others(tmp_path, start, said):
    path = tmp_path / "x"
    path.write_bytes(start)
    for load in (gn.load_model, small().load_weights):
        with pytest.raises(FileFormatError, match=f"{said}.*set_weights"):
            load(path)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(100), "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"GIF89a" + bytes(100), "a GIF image"),
        (b"II*\0" + bytes(100), "a TIFF image"),
        (b"RIFF\x24\0\0\0WAVEfmt " + bytes(100), r"a sound \(WAV\)"),
        (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100), "a WebP image"),
        (b"%PDF-1.7\n" + bytes(100), "a PDF document"),
        (b"time,left,right\n0,1,2\n", "a text"),
        (b'{"class_name": "Sequential"}', "a text"),
    ],
)
def test_files_of_data(tmp_path, start, said):
    path = tmp_path / "x"
    path.write_bytes(start)
    for load in (gn.load_model, small().load_weights):
        with pytest.raises(FileFormatError, match=f"this is {said}, and no model.*gridnn"):
            load(path)


def archive_of(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 1000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"PK\x03\x04" + bytes(100), "zip archive that is truncated or damaged.*once more"),
        (archive_of("metadata.json", "config.json", "model.weights.h5")[:-1], "truncated or damaged"),
        (archive_of("metadata.json", "config.json", "model.weights.h5")[:1500], "truncated or damaged"),
        (archive_of("net/data.pkl", "net/version"), r"torch\.save.*save_file.*source=\"pytorch\""),
        (archive_of("arr_0.npy", "arr_1.npy"), r"NumPy \(\.npz\).*set_weights"),
        (archive_of("a.txt", "\x1b[2J"), r"has a config\.json in it. It holds 'a\.txt', '\\x1b"),
        (archive_of(), "has a config.json in it. It holds none at all"),
    ],
)
def test_zip_archives_say_what_they_are(tmp_path, contents, said):
    path = tmp_path / "x.keras"
    path.write_bytes(contents)
    for load in (gn.load_model, small().load_weights):
        with pytest.raises(FileFormatError, match=rf"x\.keras: .*{said}"):
            load(path)


def test_unknown_layers_mention_custom_objects(tmp_path):
    class Vanishing(layers.Layer):
        def call(self, x):
            return x

    gn.Sequential([gn.Input((3,)), Vanishing()]).save(tmp_path / "a")
    tensors, metadata = load_tensors(tmp_path / "a")
    metadata["model"] = metadata["model"].replace("Vanishing", "Vanished")
    save_tensors(tmp_path / "a", tensors, metadata)
    with pytest.raises(FileFormatError, match="custom_objects"):
        gn.load_model(tmp_path / "a")


def test_every_flipped_byte_is_found(tmp_path):
    small().save(tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        (tmp_path / "b").write_bytes(flipped)
        with pytest.raises(FileFormatError):
            gn.load_model(tmp_path / "b")


@pytest.mark.parametrize("shape", ["[0,4611686018427387904]", "[" + ",".join(["1"] * 65) + ",0]"])
def test_shapes_without_arrays(tmp_path, shape):
    header = b'{"a":{"dtype":"F32","shape":%s,"data_offsets":[0,0]}}' % shape.encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(FileFormatError, match="tensor a"):
        gn.load_model(tmp_path / "a")


def test_garbage_is_not_read_whole(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.write(b"\xff" * 64)
        file.truncate(1 << 36)
    # No machine that runs this has memory for all of it.
    with pytest.raises(FileFormatError):
        gn.load_model(tmp_path / "a")


def calls(function):
    """Calls of functions, Python's and built-in ones, that a call makes."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_the_work_for_a_file_grows_with_its_layers(tmp_path):
    """Names were once looked for among all others: ten thousand layers took two minutes."""
    counted = []
    for count in (100, 400):
        stack = [gn.Input((2,)), *(layers.Dense(2) for _ in range(count))]
        models = []
        built = calls(lambda stack=stack, models=models: models.append(gn.Sequential(stack, seed=0)))
        saved = calls(lambda models=models: models[0].save(tmp_path / "a"))
        loaded = calls(lambda models=models: models.append(gn.load_model(tmp_path / "a")))
        assert models[1].layers[-1].name == f"dense_{count - 1}"
        counted.append((built, saved, loaded))
    for small, large in zip(*counted, strict=True):
        assert large < 4.4 * small


def test_names_after_a_layer_is_gone():
    model = gn.Sequential([layers.Dense(2) for _ in range(3)])
    model.pop()
    model.add(layers.Dense(2))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2"]
    with pytest.raises(ValueError, match="unique"):
        model.add(layers.Residual([layers.Dense(2, name="new"), layers.Dense(2, name="dense_1")]))
    model.add(layers.Dense(2, name="new"))


def test_nothing_is_drawn_to_be_overwritten(tmp_path):
    model = gn.Sequential([gn.Input((3,)), layers.Dense(3, kernel_initializer="orthogonal")], seed=1)
    model.save(tmp_path / "a")
    again = gn.load_model(tmp_path / "a")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_many_savers_and_readers(tmp_path):
    path, failures = tmp_path / "a", []
    small().save(path)

    def work():
        model = small()
        try:
            for _ in range(15):
                model.save(path)
                gn.load_model(path)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [found.name for found in tmp_path.iterdir()] == ["a"]


@UNIX
def test_leftovers_go_and_links_stay(tmp_path):
    path = tmp_path / ("n" * 240)
    code = (
        "import os, sys, gridnn as gn\n"
        "from gridnn._engine import write_file\n"
        "import threading\n"
        "t = threading.Thread(target=lambda: [write_file(sys.argv[1], bytes(1 << 26)) for _ in range(99)])\n"
        "t.daemon = True; t.start()\n"
        "while not any(n.startswith('.gridnn-') for n in os.listdir(os.path.dirname(sys.argv[1]))): pass\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=120)
    assert any(found.name.startswith(".gridnn-") for found in tmp_path.iterdir())
    write_file(path, b"1")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path.name)
    write_file(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert path.read_bytes() == b"2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (tmp_path / "dangling").symlink_to("new")
    write_file(tmp_path / "dangling", b"3")
    assert (tmp_path / "new").read_bytes() == b"3"
    os.link(path, tmp_path / "other")
    write_file(path, b"4")
    assert (tmp_path / "other").read_bytes() == b"2"


@UNIX
def test_targets_that_are_refused(tmp_path):
    model, path = small(), tmp_path / "a"
    model.save(path)
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        model.save(path)
    assert path.read_bytes() == before
    os.mkfifo(tmp_path / "pipe")
    for use in (model.save, gn.load_model):
        with pytest.raises(OSError, match="regular"):
            use(tmp_path / "pipe")
        with pytest.raises(IsADirectoryError):
            use(tmp_path)
    with pytest.raises(OSError, match="regular"):
        model.save("/dev/null")
