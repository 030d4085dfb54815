import contextlib
import gzip
import hashlib
import tracemalloc
from importlib import resources

import numpy as np
import pytest

import gridnn as gn
from gridnn import datasets
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier

NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx(array, *, magic=None, shape=None):
    """An IDX file of unsigned bytes; `magic` and `shape` replace what the header should say."""
    magic = 0x0800 + array.ndim if magic is None else magic
    numbers = [magic, *(array.shape if shape is None else shape)]
    return b"".join(number.to_bytes(4, "big") for number in numbers) + array.tobytes()


@pytest.fixture
def contents():
    """The four files of a small set: 5 images to train with and 3 to test."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 5), ("t10k", 3)):
        files[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        files[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 10, count, np.uint8)
    return files


@pytest.fixture
def folder(tmp_path, contents):
    for name, array in contents.items():
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


def test_digits_has_the_documented_split():
    (x, y), (xt, yt) = datasets.digits()
    assert (x.shape, y.shape, xt.shape, yt.shape) == ((1437, 8, 8, 1), (1437,), (360, 8, 8, 1), (360,))
    assert {a.dtype for a in (x, y, xt, yt)} == {np.dtype(np.uint8)}
    assert (x.min(), x.max()) == (0, 16)
    assert np.bincount(y).tolist() == [143, 146, 142, 146, 144, 145, 144, 143, 141, 143]
    assert np.bincount(yt).tolist() == [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]


def test_digits_are_those_of_the_source():
    (x, y), (xt, yt) = datasets.digits()
    pixels = hashlib.sha256(np.concatenate([x, xt]).tobytes()).hexdigest()
    labels = hashlib.sha256(np.concatenate([y, yt]).tobytes()).hexdigest()
    # Printed from sklearn.datasets.load_digits(), images and target as uint8.
    assert pixels == "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"
    assert labels == "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0"


def test_digits_are_fresh_arrays_each_time():
    (x, _), _ = datasets.digits()
    x[:] = 7
    assert gn.datasets.digits()[0][0].max() == 16


def test_the_package_names_source_and_licence():
    text = resources.files("gridnn").joinpath("assets/README.md").read_text(encoding="utf-8")
    assert "Alpaydin" in text
    assert "CC BY 4.0" in text


@pytest.mark.parametrize("read", [datasets.mnist, datasets.fashion_mnist])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_reads_what_was_written(tmp_path, contents, read, compress):
    for name, array in contents.items():
        data = idx(array)
        (tmp_path / (name + ".gz" * compress)).write_bytes(gzip.compress(data) if compress else data)
    for path in (tmp_path, str(tmp_path)):
        (x, y), (xt, yt) = read(path)
        for array, name in zip((x[..., 0], y, xt[..., 0], yt), NAMES, strict=True):
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(array, contents[name])
        assert x.flags.writeable


def test_gzip_is_told_by_content_not_by_name(folder, contents):
    name = NAMES[0]
    (folder / name).write_bytes(gzip.compress(idx(contents[name])))
    (folder / NAMES[1]).rename(folder / f"{NAMES[1]}.gz")
    (x, y), _ = datasets.mnist(folder)
    np.testing.assert_array_equal(x[..., 0], contents[name])
    np.testing.assert_array_equal(y, contents[NAMES[1]])


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"expected {name} or {name}\.gz"):
        datasets.mnist(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        datasets.fashion_mnist(tmp_path / "nowhere")


def test_a_folder_in_place_of_a_file_is_missing(folder):
    (folder / NAMES[2]).unlink()
    (folder / NAMES[2]).mkdir()
    with pytest.raises(FileNotFoundError, match=NAMES[2]):
        datasets.mnist(folder)


IMAGES = np.zeros((5, 28, 28), np.uint8)
LABELS = np.zeros(5, np.uint8)
GZIPPED = gzip.compress(idx(IMAGES))

HOSTILE = {
    "empty": (0, b"", "truncated header; expected 16 bytes, received 0"),
    "half a header": (0, idx(IMAGES)[:9], "truncated header; expected 16 bytes, received 9"),
    "labels as images": (
        0,
        idx(LABELS) + bytes(100),
        "expected magic number 0x00000803; received 0x00000801",
    ),
    "images as labels": (1, idx(IMAGES), "expected magic number 0x00000801; received 0x00000803"),
    "float data": (0, idx(IMAGES, magic=0x0D03), "received 0x00000d03"),
    "little-endian magic": (0, idx(IMAGES, magic=0x03080000), "received 0x03080000"),
    "wrong side": (
        0,
        idx(np.zeros((5, 28, 27), np.uint8)),
        r"items of shape \(28, 28\); received \(28, 27\)",
    ),
    "no images": (0, idx(IMAGES[:0]), "expected 1 to 1000000 items; received 0"),
    "no labels": (1, idx(LABELS[:0]), "expected 1 to 1000000 items; received 0"),
    "most items": (0, idx(IMAGES, shape=(2**32 - 1, 28, 28)), "items; received 4294967295"),
    "header asks for more": (
        0,
        idx(IMAGES, shape=(10**6, 28, 28)),
        "expected 784000000 bytes of data, received 3920",
    ),
    "one byte short": (0, idx(IMAGES)[:-1], "truncated; expected 3920 bytes of data, received 3919"),
    "one byte long": (0, idx(IMAGES) + b"\0", "goes on after the 3920 bytes"),
    "fewer labels": (1, idx(LABELS[:4]), "received 5 images and 4 labels"),
    "label 10": (1, idx(np.array([1, 2, 10, 3, 4], np.uint8)), "labels are 0 to 9; received 10 at row 2"),
    "gzip magic only": (0, GZIPPED[:2], "damaged gzip data"),
    "gzip cut in the header": (0, GZIPPED[:7], "damaged gzip data"),
    "gzip cut in the data": (0, GZIPPED[: len(GZIPPED) // 2], "damaged gzip data"),
    "gzip cut in the checksum": (0, GZIPPED[:-3], "damaged gzip data"),
    "gzip with a wrong checksum": (0, GZIPPED[:-8] + b"\0\0\0\0" + GZIPPED[-4:], "damaged gzip data.*CRC"),
    "gzip with a bad block": (0, GZIPPED[:10] + b"\xff" * 30, "damaged gzip data"),
    "gzip and rubbish": (0, GZIPPED + b"rubbish", "damaged gzip data"),
    "two gzip members": (0, GZIPPED + gzip.compress(b"x"), "goes on after the 3920 bytes"),
    "gzip one byte short": (0, gzip.compress(idx(IMAGES)[:-1]), "truncated; expected 3920 bytes"),
    "gzip in gzip": (0, gzip.compress(GZIPPED), "received 0x1f8b"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_an_error_that_names_it(folder, case):
    position, data, message = HOSTILE[case]
    (folder / NAMES[position]).write_bytes(data)
    with pytest.raises(FileFormatError, match=message) as caught:
        datasets.mnist(folder)
    assert NAMES[position] in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_gzip_bomb_is_left_unread(folder, contents):
    bomb = gzip.compress(idx(contents[NAMES[0]]) + bytes(20_000_000))
    (folder / NAMES[0]).write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="goes on after"):
            datasets.mnist(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000 + len(bomb)


def test_random_damage_never_escapes_as_another_error(folder):
    rng = np.random.default_rng(1)
    target = folder / NAMES[0]
    for source in (idx(IMAGES), GZIPPED):
        for _ in range(300):
            data = bytearray(source)
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(len(data))] = rng.integers(256)
            target.write_bytes(data[: rng.integers(len(data) // 2, len(data) + 1)])
            with contextlib.suppress(FileFormatError):
                (x, _), _ = datasets.mnist(folder)
                assert x.shape == (5, 28, 28, 1)


def test_fashion_mnist_as_published(data_folder):
    (x, y), (xt, yt) = datasets.fashion_mnist(data_folder / "fashion-mnist")
    assert (x.shape, xt.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(y).tolist() == [6000] * 10
    assert np.bincount(yt).tolist() == [1000] * 10
    # The published mean and standard deviation of the training pixels.
    assert x.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert x.std() / 255 == pytest.approx(0.3530, abs=5e-5)
