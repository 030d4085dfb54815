"""Folders of images as people have them, and what is wrong with them."""

import os
import sys
import unicodedata

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.errors import FileFormatError, ShapeError

pytestmark = pytest.mark.one_tier

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
ORIENTATION = 0x0112


def colors(height=6, width=8, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape, np.uint8)


def write(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return array


@pytest.fixture
def photos(tmp_path):
    """Two classes of three images each."""
    for name in ("cat", "dog"):
        for number in range(3):
            write(tmp_path / "photos" / name / f"{number}.png", colors())
    return tmp_path / "photos"


def test_images_are_numbered_by_folder_and_name(photos):
    data = gn.data.image_folder(photos)
    x, y = data
    assert (x.shape, x.dtype) == ((6, 6, 8, 3), np.uint8)
    assert y.tolist() == [0, 0, 0, 1, 1, 1]
    assert y.dtype == np.int64
    assert data.class_names == ["cat", "dog"]
    assert [file.relative_to(photos).as_posix() for file in data.files][:2] == ["cat/0.png", "cat/1.png"]
    assert np.array_equal(x[4], np.asarray(Image.open(photos / "dog" / "1.png")))


def test_classes_are_in_the_order_of_unicode_however_the_system_lists_them(tmp_path, monkeypatch):
    names = ["b", "a10", "a2", "A", "é"]
    for name in names:
        write(tmp_path / name / "1.png", colors())
    listing = type(tmp_path).iterdir
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda self: iter(sorted(listing(self), reverse=True)))
    assert gn.data.image_folder(tmp_path).class_names == ["A", "a10", "a2", "b", "é"]


def test_accents_in_two_parts_are_the_letters_they_stand_for(tmp_path):
    decomposed = unicodedata.normalize("NFD", "é")
    write(tmp_path / decomposed / "1.png", colors())
    write(tmp_path / "f" / "1.png", colors())
    data = gn.data.image_folder(tmp_path, class_names=["f", "é"])
    assert data.class_names == ["f", "é"]
    assert data.y.tolist() == [0, 1]
    assert gn.data.image_folder(tmp_path).class_names == ["f", "é"]  # not between "e" and "f"


def test_what_systems_leave_behind_is_passed_over(photos):
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (photos / "cat" / name).write_bytes(b"none")
    (photos / "cat" / "._0.png").write_bytes(b"none")
    (photos / ".ipynb_checkpoints").mkdir()
    write(photos / "cat" / ".ipynb_checkpoints" / "0.png", colors())
    write(photos / "__MACOSX" / "0.png", colors())
    data = gn.data.image_folder(photos)
    assert len(data.x) == 6
    assert data.class_names == ["cat", "dog"]


def test_images_in_folders_within_a_class_count_and_endings_may_be_capitals(photos):
    write(photos / "cat" / "more" / "deep.PNG", colors())
    data = gn.data.image_folder(photos)
    assert [file.name for file in data.files][:4] == ["0.png", "1.png", "2.png", "deep.PNG"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_the_camera_was_held(tmp_path, orientation):
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # one bright corner tells all eight apart
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    write(tmp_path / "a" / "1.jpg", np.ascontiguousarray(stored), exif=exif, quality=100)
    x, _ = gn.data.image_folder(tmp_path)
    assert x.shape == (1, 8, 16, 3)
    assert np.array_equal(x[0] > 128, upright > 128)


def mixed(folder):
    """Images of every kind that show the same gray picture."""
    gray = colors(channels=1)
    rgb = np.repeat(gray[..., None], 3, axis=2)
    write(folder / "a" / "gray.png", gray)
    write(folder / "a" / "rgb.png", rgb)
    write(folder / "a" / "rgba.png", np.dstack([rgb, colors(channels=1)]))
    write(folder / "a" / "la.png", np.dstack([gray, colors(channels=1)]))
    palette = Image.fromarray(gray).convert("P")
    palette.save(folder / "a" / "palette.png")
    palette.save(folder / "a" / "transparent.png", transparency=3)
    return gray


def test_gray_palette_and_transparent_images_may_be_mixed(tmp_path):
    gray = mixed(tmp_path)
    x, _ = gn.data.image_folder(tmp_path, color="gray")
    assert x.shape == (6, *gray.shape, 1)
    assert all(np.array_equal(image[..., 0], gray) for image in x)
    x, _ = gn.data.image_folder(tmp_path, color="rgb")
    assert x.shape == (6, *gray.shape, 3)
    assert all(np.array_equal(image[..., channel], gray) for image in x for channel in range(3))


def test_unchanged_images_must_be_of_one_kind(tmp_path):
    mixed(tmp_path)
    with pytest.raises(ShapeError, match=r"la\.png has shape \(6, 8, 2\), but .*gray\.png has \(6, 8, 1\)"):
        gn.data.image_folder(tmp_path, color="unchanged")
    for name in ("gray", "rgb", "la", "palette", "transparent"):
        (tmp_path / "a" / f"{name}.png").unlink()
    assert gn.data.image_folder(tmp_path, color="unchanged").x.shape == (1, 6, 8, 4)


@pytest.mark.parametrize("color", ["gray", "unchanged"])
def test_sixteen_bits_are_kept(tmp_path, color):
    deep = RNG.integers(0, 65536, (6, 8), np.uint16)
    write(tmp_path / "a" / "1.png", deep)
    write(tmp_path / "a" / "2.tif", deep)
    x, _ = gn.data.image_folder(tmp_path, color=color)
    assert x.dtype == np.uint16
    assert np.array_equal(x[..., 0], [deep, deep])
    assert np.array_equal(gn.data.image_folder(tmp_path).x, np.repeat(x, 3, axis=3))


def test_floats_are_kept(tmp_path):
    values = RNG.normal(size=(6, 8)).astype(np.float32)
    write(tmp_path / "a" / "1.tif", values)
    x, _ = gn.data.image_folder(tmp_path, color="gray")
    assert np.array_equal(x[0, ..., 0], values)


def test_eight_and_sixteen_bits_are_not_mixed(tmp_path):
    write(tmp_path / "a" / "1.png", colors(channels=1))
    write(tmp_path / "a" / "2.png", RNG.integers(0, 65536, (6, 8), np.uint16))
    with pytest.raises(ValueError, match=r"2\.png holds uint16, but .*1\.png holds uint8"):
        gn.data.image_folder(tmp_path, color="gray")


def png_of_16_bit_colors(path):
    import struct
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = b"\0" + struct.pack(">6H", *range(300, 306))
    path.parent.mkdir(parents=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colors_of_sixteen_bits_are_refused_rather_than_rounded(tmp_path):
    png_of_16_bit_colors(tmp_path / "a" / "deep.png")
    with pytest.raises(FileFormatError, match=r"deep\.png: colours of 16 bits"):
        gn.data.image_folder(tmp_path)


def test_black_and_white_is_0_and_255(tmp_path):
    write(tmp_path / "a" / "1.png", np.eye(8, dtype=bool))
    x, _ = gn.data.image_folder(tmp_path, color="unchanged")
    assert np.array_equal(x[0, ..., 0], np.eye(8) * 255)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_a_broken_file_is_named(photos, damage, batch_size):
    file = photos / "dog" / "1.png"
    write(file, colors(64, 64))
    contents = {"empty": b"", "text": b"<html>", "truncated": file.read_bytes()[:6000]}[damage]
    write(file, colors())
    file.write_bytes(contents)
    with pytest.raises(FileFormatError, match=r"dog.1\.png: cannot be read as an image"):  # noqa: PT012
        data = gn.data.image_folder(photos, size=(6, 8), batch_size=batch_size)
        list(data)


def test_the_first_of_several_broken_files_is_named(photos):
    for name in ("2", "1"):
        (photos / "cat" / f"{name}.png").write_bytes(b"none")
    for _ in range(5):
        with pytest.raises(FileFormatError, match=r"cat.1\.png"):
            gn.data.image_folder(photos)


def test_pages_of_a_tiff_are_not_dropped_in_silence(tmp_path):
    (tmp_path / "a").mkdir()
    pages = [Image.fromarray(colors()) for _ in range(3)]
    pages[0].save(tmp_path / "a" / "1.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(FileFormatError, match=r"1\.tif: .*3 pages"):
        gn.data.image_folder(tmp_path)


def test_an_empty_class_keeps_its_number(photos):
    (photos / "cow").mkdir()
    with pytest.warns(UserWarning, match="no images of the class 'cow'"):
        data = gn.data.image_folder(photos)
    assert data.class_names == ["cat", "cow", "dog"]
    assert data.y.tolist() == [0, 0, 0, 2, 2, 2]


def test_the_classes_of_the_training_set_number_those_of_the_test_set(photos):
    data = gn.data.image_folder(photos, class_names=["bird", "dog", "cat"])
    assert data.y.tolist() == [1, 1, 1, 2, 2, 2]
    with pytest.raises(ValueError, match="has the folder 'dog', which is not in `class_names`"):
        gn.data.image_folder(photos, class_names=["cat", "bird"])
    with pytest.raises(ValueError, match="names a class twice"):
        gn.data.image_folder(photos, class_names=["cat", "dog", "cat"])


def test_folders_that_are_none_are_explained(photos, tmp_path):
    with pytest.raises(NotADirectoryError, match=r"`path` .* does not exist"):
        gn.data.image_folder(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is a file"):
        gn.data.image_folder(photos / "cat" / "0.png")
    with pytest.raises(ValueError, match=r"has no subfolders: expected one for each class.*0\.png, 1\.png"):
        gn.data.image_folder(photos / "cat")
    write(photos / "stray.png", colors())
    with pytest.raises(ValueError, match=r"stray\.png lies beside the folders"):
        gn.data.image_folder(photos)
    (photos / "stray.png").unlink()
    for file in photos.rglob("*.png"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no images in its subfolders cat, dog; looked for \.bmp"):
        gn.data.image_folder(photos)


def test_images_of_several_sizes_need_one(photos):
    write(photos / "dog" / "9.png", colors(5, 5))
    with pytest.raises(
        ShapeError, match=r"9\.png has shape \(5, 5, 3\), but .*0\.png has \(6, 8, 3\).*Give the size"
    ):
        gn.data.image_folder(photos)
    assert gn.data.image_folder(photos, 4).x.shape == (7, 4, 4, 3)


def test_resizing_stretches_crops_or_pads(tmp_path):
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, :10], picture[:, 10:20], picture[:, 20:] = 60, 120, 240
    write(tmp_path / "a" / "1.png", picture)
    fit = gn.data.image_folder(tmp_path, (10, 15), resize="fit").x[0, 5, :, 0]
    assert fit[[2, 7, 12]].tolist() == [60, 120, 240]
    crop = gn.data.image_folder(tmp_path, (10, 10), resize="crop").x[0]
    assert (crop == 120).all()
    pad = gn.data.image_folder(tmp_path, (30, 30), resize="pad").x[0, ..., 0]
    assert (pad[:10] == 0).all()
    assert (pad[20:] == 0).all()
    assert np.array_equal(pad[10:20], picture[..., 0])


def test_resizing_keeps_sixteen_bits(tmp_path):
    write(tmp_path / "a" / "1.png", np.full((10, 30), 40_000, np.uint16))
    for resize in ("fit", "crop", "pad"):
        x = gn.data.image_folder(tmp_path, (5, 5), "gray", resize).x
        assert x.dtype == np.uint16
        assert set(np.unique(x)) <= {0, 40_000}


def test_shrinking_averages(tmp_path):
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    write(tmp_path / "a" / "1.png", checkers.astype(np.uint8))
    x = gn.data.image_folder(tmp_path, 8, "gray").x[0]
    assert np.abs(x.astype(int) - 127).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color": "cmyk"}, "`color` argument must be one of 'rgb', 'gray', 'unchanged'"),
        ({"resize": "squeeze"}, "`resize` argument must be one of 'fit', 'crop', 'pad'"),
        ({"size": (3, 4, 5)}, "`size` argument must be an integer or a tuple of 2"),
        ({"size": 0}, "`size`"),
        ({"split": ("test", 0.2, 0)}, r"`split\[0\]` argument must be one of 'train', 'validation'"),
        ({"split": ("train", 0.2)}, "`split` argument must be None or"),
        ({"split": ("train", 1.2, 0)}, r"`split\[1\]` argument must be between 0 and 1"),
        ({"split": ("train", 0.2, None)}, "needs a seed"),
        ({"split": ("train", 1.0, 0)}, "leaves nothing for training"),
        ({"split": ("train", 0.0, 0)}, "leaves nothing for validation"),
        ({"groups": str}, "give `split` as well"),
    ],
)
def test_wrong_arguments_are_explained(photos, arguments, message):
    with pytest.raises(ValueError, match=message):
        gn.data.image_folder(photos, **arguments)


def test_a_split_takes_its_share_of_each_class(tmp_path):
    for name, count in (("a", 10), ("b", 30)):
        for number in range(count):
            write(tmp_path / name / f"{number:02}.png", colors(2, 2))
    train = gn.data.image_folder(tmp_path, split=("train", 0.2, 3))
    held_out = gn.data.image_folder(tmp_path, split=("validation", 0.2, 3))
    assert np.bincount(train.y).tolist() == [8, 24]
    assert np.bincount(held_out.y).tolist() == [2, 6]
    assert {*train.files} | {*held_out.files} == {*gn.data.image_folder(tmp_path).files}
    assert train.files == gn.data.image_folder(tmp_path, split=("train", 0.2, 3)).files
    assert train.files != gn.data.image_folder(tmp_path, split=("train", 0.2, 4)).files


def test_a_split_keeps_groups_together(tmp_path):
    for name in ("a", "b"):
        for number in range(20):
            write(tmp_path / name / f"patient{number % 7}-{number}.png", colors(2, 2))

    def patient(file):
        return file.name.partition("-")[0]

    train, held_out = (
        gn.data.image_folder(tmp_path, split=(part, 0.3, 1), groups=patient)
        for part in ("train", "validation")
    )
    sides = [{patient(file) for file in data.files} for data in (train, held_out)]
    assert not sides[0] & sides[1]
    assert len(train.files) + len(held_out.files) == 40
    assert 8 <= len(held_out.files) <= 16


def classifier(seed=0):
    model = gn.Sequential(
        [gn.Input((6, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)], seed=seed
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_batches_hold_what_the_arrays_hold(photos):
    x, y = gn.data.image_folder(photos)
    batches = gn.data.image_folder(photos, batch_size=4)
    assert (len(batches), batches.samples, batches.class_names) == (2, 6, ["cat", "dog"])
    for _ in range(2):
        read = list(batches)
        assert np.array_equal(np.concatenate([images for images, _ in read]), x)
        assert np.array_equal(np.concatenate([labels for _, labels in read]), y)
    assert np.array_equal(batches[1][0], x[4:])
    assert np.array_equal(batches[-1][0], x[4:])
    with pytest.raises(IndexError, match="there are 2 batches"):
        batches[2]


def test_training_on_batches_gives_the_bytes_of_training_on_arrays(photos):
    x, y = gn.data.image_folder(photos)
    batches = gn.data.image_folder(photos, batch_size=4)
    one, other = classifier(), classifier()
    first = one.fit(x, y, batch_size=4, epochs=3, seed=5, verbose=0)
    second = other.fit(batches, epochs=3, seed=5, verbose=0)
    assert first.history == second.history
    assert all(map(np.array_equal, one.get_weights(), other.get_weights()))
    assert one.evaluate(x, y, batch_size=4, verbose=0) == other.evaluate(batches, verbose=0)
    assert np.array_equal(one.predict(x), other.predict(batches))


def test_samples_are_a_pair(photos):
    import copy
    import pickle

    data = gn.data.image_folder(photos)
    model = classifier()
    model.fit(*data, validation_data=data, verbose=0)
    with pytest.raises(ValueError, match="a Samples of 2 arrays"):
        model.fit(data)
    for other in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert np.array_equal(other.x, data.x)
        assert other.class_names == data.class_names
    assert repr(data) == "<Samples: x (6, 6, 8, 3) uint8, y (6,) int64, 2 classes>"


def test_a_missing_pillow_says_what_to_install(photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "gridnn\[image\]"'):
        gn.data.image_folder(photos)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_class_folders_may_be_links(photos, tmp_path):
    subset = tmp_path / "subset"
    subset.mkdir()
    (subset / "cats").symlink_to(photos / "cat")
    assert len(gn.data.image_folder(subset).x) == 3


# Masks


@pytest.fixture
def scene(tmp_path):
    """Four images with masks of classes 0 to 2."""
    for number in range(4):
        write(tmp_path / "images" / f"{number}.png", colors())
        write(tmp_path / "masks" / f"{number}.png", RNG.integers(0, 3, (6, 8), np.uint8))
    return tmp_path


def test_images_and_masks_are_paired_by_name(scene):
    write(scene / "images" / "deep" / "a.png", colors())
    mask = write(scene / "masks" / "deep" / "a.bmp", RNG.integers(0, 3, (6, 8), np.uint8))
    data = gn.data.image_mask_folder(scene / "images", scene / "masks")
    assert (data.x.shape, data.y.shape, data.y.dtype) == ((5, 6, 8, 3), (5, 6, 8), np.uint8)
    assert np.array_equal(data.y[4], mask)
    assert data.class_names is None


def test_palettes_of_masks_are_indices(scene):
    indices = RNG.integers(0, 3, (6, 8), np.uint8)
    palette = Image.fromarray(indices, mode="L").convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.putdata(indices.reshape(-1).tolist())
    palette.save(scene / "masks" / "0.png")
    y = gn.data.image_mask_folder(scene / "images", scene / "masks").y
    assert np.array_equal(y[0], indices)


def test_masks_of_one_bit_and_equal_channels_are_read(scene):
    write(scene / "masks" / "0.png", np.eye(6, 8, dtype=bool))
    gray = RNG.integers(0, 3, (6, 8), np.uint8)
    write(scene / "masks" / "1.png", np.repeat(gray[..., None], 3, axis=2))
    y = gn.data.image_mask_folder(scene / "images", scene / "masks").y
    assert np.array_equal(y[0], np.eye(6, 8))
    assert np.array_equal(y[1], gray)


def test_resized_masks_hold_no_class_that_was_not_drawn(scene):
    for number in range(4):
        mask = np.where(np.indices((6, 8)).sum(axis=0) % 5 < 2, 200, 10).astype(np.uint8)
        write(scene / "masks" / f"{number}.png", mask)
    for resize in ("fit", "crop", "pad"):
        x, y = gn.data.image_mask_folder(scene / "images", scene / "masks", (17, 17), resize=resize)
        assert x.shape[1:3] == y.shape[1:] == (17, 17)
        assert set(np.unique(y)) <= {0, 10, 200} if resize == "pad" else {10, 200}


def test_what_is_no_mask_is_explained(scene):
    folders = scene / "images", scene / "masks"
    write(scene / "masks" / "0.png", colors())
    with pytest.raises(FileFormatError, match=r"masks.0\.png: a mask of colours \(RGB\)"):
        gn.data.image_mask_folder(*folders)
    (scene / "masks" / "0.png").unlink()
    write(scene / "masks" / "0.jpg", colors(channels=1))
    with pytest.raises(FileFormatError, match=r"0\.jpg: a mask in a JPEG file"):
        gn.data.image_mask_folder(*folders)
    (scene / "masks" / "0.jpg").unlink()
    write(scene / "masks" / "0_mask.png", RNG.integers(0, 3, (6, 8), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"images.0\.png has no mask.*the first one is .*0_mask\.png"):
        gn.data.image_mask_folder(*folders)
    (scene / "masks" / "0_mask.png").unlink()
    write(scene / "masks" / "0.png", RNG.integers(0, 3, (8, 6), np.uint8))
    with pytest.raises(ShapeError, match=r"masks.0\.png is 8 x 6 .*images.0\.png is 6 x 8"):
        gn.data.image_mask_folder(*folders)
    with pytest.raises(ShapeError, match=r"masks.0\.png is 8 x 6"):  # although one size is made of both
        gn.data.image_mask_folder(*folders, size=4, batch_size=2)[0]
    (scene / "images" / "0.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"masks.0\.png is the mask of no image"):
        gn.data.image_mask_folder(*folders)
    write(scene / "images" / "1.bmp", colors())
    with pytest.raises(ValueError, match=r"1\.bmp and .*1\.png are two images of one name"):
        gn.data.image_mask_folder(*folders)


def test_a_turned_photo_fits_its_upright_mask(scene):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    (scene / "images" / "0.png").unlink()
    write(scene / "images" / "0.jpg", colors(8, 6), exif=exif)
    assert gn.data.image_mask_folder(scene / "images", scene / "masks").x.shape == (4, 6, 8, 3)


def test_batches_of_masks_are_those_of_the_arrays(scene):
    folders = scene / "images", scene / "masks"
    x, y = gn.data.image_mask_folder(*folders, split=("train", 0.25, 0))
    batches = gn.data.image_mask_folder(*folders, split=("train", 0.25, 0), batch_size=2)
    assert len(x) == 3
    read = list(batches)
    assert np.array_equal(np.concatenate([images for images, _ in read]), x)
    assert np.array_equal(np.concatenate([masks for _, masks in read]), y)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_label_that_is_none_is_said_with_its_files(scene, shuffle):
    write(scene / "masks" / "2.png", np.full((6, 8), 9, np.uint8))
    model = gn.Sequential([gn.Input((6, 8, 3)), layers.Conv2D(3, 1)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    data = gn.data.image_mask_folder(scene / "images", scene / "masks", batch_size=2)
    message = r"`y` holds label 9, .* That sample is .*images.2\.png with .*masks.2\.png\."
    with pytest.raises(ValueError, match=message):
        model.fit(data, shuffle=shuffle, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.evaluate(data, verbose=0)


def test_pipes_among_the_images_are_passed_over(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "1.png")
    os.mkfifo(tmp_path / "a" / "2.png")
    assert [file.name for file in gn.data.image_folder(tmp_path).files] == ["1.png"]


@pytest.mark.parametrize("size", [10**6, (1, 2**40), (2**62, 2)])
def test_a_size_that_no_image_can_have_is_refused_before_any_is_made(photos, size):
    for options in ({}, {"batch_size": 1}):
        with pytest.raises(ValueError, match=r"`size` argument is \d+ x \d+ pixels, more than"):
            gn.data.image_folder(photos, size, **options)
    with pytest.raises(ValueError, match="`target_size` argument is"):
        gn.utils.load_img(photos / "cat" / "0.png", target_size=size)
    with pytest.raises(ValueError, match="`image_size` argument is"):
        gn.utils.image_dataset_from_directory(photos, image_size=size)


def test_what_takes_more_memory_than_there_is_says_what_to_make_smaller(photos, monkeypatch):
    def full(shape, dtype=float):
        raise MemoryError

    monkeypatch.setattr("gridnn.data._samples.np.empty", full)
    for options in ({}, {"batch_size": 4}):
        with pytest.raises(MemoryError, match=r"[46] samples like .*0\.png, .*smaller `size`.*`batch_size`"):
            gn.data.image_folder(photos, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": ""}, ValueError, "`path` argument must be a path. Received an empty text"),
        ({"path": None}, TypeError, "`path` argument must be a path. Received path=None"),
        ({"path": b"photos"}, TypeError, "`path` argument must be a path. Received"),
        ({"class_names": "cat"}, TypeError, "`class_names` argument must be a list of names. Received 'cat'"),
        ({"class_names": 3}, TypeError, "`class_names` argument must be a list of names. Received 3"),
        (
            {"class_names": [1, 2]},
            TypeError,
            "`class_names` argument must be a string. Received class_names=1",
        ),
        ({"groups": 3}, TypeError, "`groups` argument must be None or a function of the path. Received 3"),
        (
            {"groups": lambda path: [path.name]},
            TypeError,
            r"`groups` function must return .* Received \['0.png'\] for .*0\.png",
        ),
    ],
)
def test_arguments_of_wrong_types_are_explained(photos, arguments, error, message):
    with pytest.raises(error, match=message):
        gn.data.image_folder(**{"path": photos, "split": ("train", 0.5, 0), **arguments})


@pytest.mark.parametrize("path", [None, ""])
def test_paths_that_are_none_are_refused_by_every_reader(photos, path):
    readers = [
        ("path", gn.utils.load_img),
        ("path", gn.datasets.mnist),
        ("path", lambda none: gn.data.csv_images(none, (1,))),
        ("path", lambda none: gn.data.audio_folder(none, None, 1)),
        ("masks", lambda none: gn.data.image_mask_folder(photos, none)),
        ("images", lambda none: gn.data.image_mask_folder(none, photos)),
        ("directory", gn.utils.image_dataset_from_directory),
        ("directory", lambda none: gn.utils.image_dataset_from_directory(none, labels=None)),
    ]
    for name, reader in readers:
        with pytest.raises((TypeError, ValueError), match=f"`{name}` argument must be a path"):
            reader(path)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_masks_of_several_types_are_an_error_in_batches_too(scene, batch_size):
    mask = np.asarray(Image.open(scene / "masks" / "2.png"))
    write(scene / "masks" / "2.png", mask.astype(np.uint16))
    with pytest.raises(ValueError, match=r"masks.2\.png holds uint16, but .*masks.0\.png holds uint8"):
        list(gn.data.image_mask_folder(scene / "images", scene / "masks", batch_size=batch_size))
