"""The command line on one's own data, from folders and files to predictions by name."""

import re
import shutil
import wave

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.cli import main

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
COLORS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = gn.get_num_threads()
    yield
    gn.set_num_threads(threads)


def picture(name, size=12):
    noise = RNG.integers(-40, 40, (size, size, 3))
    return (np.array(COLORS[name]) + noise).clip(0, 255).astype(np.uint8)


def write_photos(folder, count=12, size=12, names=COLORS):
    image_module = pytest.importorskip("PIL.Image")
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image_module.fromarray(picture(name, size)).save(folder / name / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


def run(capsys, *arguments):
    """Standard output of a command that succeeds."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def fails(capsys, *arguments):
    """The one line on standard error of a command that fails."""
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """A model that tells colours."""
    out = tmp_path_factory.mktemp("model") / "m.gridnn"
    arguments = ["--epochs", "6", "--batch-size", "8", "--learning-rate", "0.003"]
    assert main(["train", "--data", str(photos), "--out", str(out), *arguments]) == 0
    return out


def test_a_folder_of_images_becomes_a_model_that_names_what_it_sees(capsys, photos, trained, tmp_path):
    assert gn.load_model(trained).class_names == ["blue", "green", "red"]
    output = run(capsys, "predict", trained, photos / "red" / "00.png", photos / "blue", "--top", 2)
    lines = [line.split("\t") for line in output.splitlines()]
    assert len(lines) == 13
    assert lines[0][:2] == [str(photos / "red" / "00.png"), "red"]
    assert all(line[1] == "blue" for line in lines[1:])
    for line in lines:
        assert 0.5 < float(line[2]) <= 1
        assert float(line[2]) >= float(line[4])
    image_module = pytest.importorskip("PIL.Image")
    image_module.fromarray(picture("green", 50)).convert("RGBA").save(tmp_path / "large.png")
    assert "\tgreen\t" in run(capsys, "predict", trained, tmp_path / "large.png")


def test_train_says_what_it_found_and_reached(capsys, photos, tmp_path):
    out = tmp_path / "m.gridnn"
    output = run(
        capsys, "train", "--data", photos, "--out", out, "--epochs", 1, "--model", "resnet20", "--augment"
    )
    assert "30 samples of shape (12, 12, 3), uint8; 6 more are held out" in output
    assert "3 classes: blue, green, red" in output
    assert re.search(r"test accuracy \d+\.\d\d%, test loss", output)
    kinds = [type(layer).__name__ for layer in gn.load_model(out).layers]
    assert kinds[:3] == ["Rescaling", "RandomFlip", "RandomTranslation"]


def test_the_seed_decides_the_file(capsys, photos, tmp_path):
    files = []
    for number, (seed, threads) in enumerate([(1, 1), (1, 2), (2, 1)]):
        out = tmp_path / f"{number}.gridnn"
        arguments = ["--epochs", 1, "--seed", seed, "--threads", threads]
        run(capsys, "train", "--data", photos, "--out", out, *arguments)
        files.append(out.read_bytes())
    assert files[0] == files[1] != files[2]


def test_evaluate_shows_each_class(capsys, photos, trained):
    output = run(capsys, "evaluate", trained, "--data", photos)
    assert re.search(r"^36 samples: loss 0\.\d+, accuracy (0\.9|1\.0)", output)
    assert re.search(r"^red +12 +(100\.0|9\d\.\d|91\.7)%", output, re.MULTILINE)
    held_out = run(capsys, "evaluate", trained, "--data", photos, "--validation", 0.2)
    assert held_out.startswith("6 samples: ")


def test_evaluate_goes_by_the_names_of_the_model(capsys, photos, trained, tmp_path):
    (tmp_path / "some").mkdir()
    shutil.copytree(photos / "red", tmp_path / "some" / "red")  # the only class there is number 2
    output = run(capsys, "evaluate", trained, "--data", tmp_path / "some")
    assert re.search(r"^12 samples: .*accuracy (0\.9|1\.0)", output)
    assert re.search(r"^blue +0 +-$", output, re.MULTILINE)
    (tmp_path / "some" / "red").rename(tmp_path / "some" / "violet")
    assert "has the folder 'violet', which is not in" in fails(
        capsys, "evaluate", trained, "--data", tmp_path / "some"
    )


def test_info_describes_a_model(capsys, trained):
    output = run(capsys, "info", trained)
    assert re.search(r"^classes +blue, green, red$", output, re.MULTILINE)
    assert re.search(r"^epochs +6$", output, re.MULTILINE)
    assert "rescaling (Rescaling)" in output
    assert "val_accuracy" in output


def test_report_writes_a_page(capsys, photos, trained, tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "m.html"
    assert "36 samples" in run(
        capsys, "report", trained, "--data", photos, "--out", page, "--title", "Colours"
    )
    assert "<title>Colours" in page.read_text("utf-8")


def test_folders_for_training_and_test_are_taken_as_such(capsys, tmp_path):
    write_photos(tmp_path / "train", 4)
    write_photos(tmp_path / "test", 2)
    output = run(capsys, "train", "--data", tmp_path, "--out", tmp_path / "m.gridnn", "--epochs", 1)
    assert "12 samples of shape (12, 12, 3), uint8; 6 more are held out" in output
    output = run(capsys, "evaluate", tmp_path / "m.gridnn", "--data", tmp_path)
    assert output.startswith("6 samples")


def test_images_of_several_sizes_need_one(capsys, tmp_path):
    write_photos(tmp_path / "photos", 4)
    write_photos(tmp_path / "more", 1, 20)
    (tmp_path / "more" / "red" / "00.png").rename(tmp_path / "photos" / "red" / "99.png")
    arguments = ["train", "--data", tmp_path / "photos", "--out", tmp_path / "m.gridnn", "--epochs", 1]
    assert re.search(
        r"99\.png has shape .* On the command line that is --size 64,64", fails(capsys, *arguments)
    )
    output = run(capsys, *arguments, "--size", "16,14", "--color", "gray")
    assert "samples of shape (16, 14, 1), uint8" in output
    assert "red" in run(capsys, "predict", tmp_path / "m.gridnn", tmp_path / "photos" / "red", "--top", 3)


def test_large_folders_are_read_as_they_are_needed(capsys, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("gridnn.commands.sources._MOST_BYTES", 1000)
    files = [tmp_path / "whole.gridnn", tmp_path / "parts.gridnn"]
    arguments = ["--epochs", 2, "--batch-size", 8]
    run(capsys, "train", "--data", photos, "--out", files[1], *arguments)
    parts = run(capsys, "evaluate", files[1], "--data", photos)
    pytest.importorskip("matplotlib")
    run(capsys, "report", files[1], "--data", photos, "--out", tmp_path / "m.html")
    monkeypatch.undo()
    run(capsys, "train", "--data", photos, "--out", files[0], *arguments)
    whole, read = (gn.load_model(file).get_weights() for file in files)
    assert all(map(np.array_equal, whole, read))
    assert run(capsys, "evaluate", files[1], "--data", photos) == parts


def write_arrays(file, **arrays):
    np.savez(file, **arrays)
    return file


def samples(count=40):
    y = np.arange(count) % 3
    return np.stack([picture(list(COLORS)[label]) for label in y]), y


@pytest.mark.parametrize(
    "arrays",
    [
        lambda x, y: {"x": x, "y": y},
        lambda x, y: {"images": x, "labels": np.array(list(COLORS))[y]},
        lambda x, y: {"x_train": x[:30], "y_train": y[:30, None], "x_test": x[30:], "y_test": y[30:, None]},
        lambda x, y: {"train_images": x / 255.0, "train_labels": y * 10.0},
    ],
    ids=["x", "names", "keras", "floats"],
)
def test_arrays_in_a_file(capsys, tmp_path, arrays):
    file = write_arrays(tmp_path / "data.npz", **arrays(*samples()))
    output = run(
        capsys, "train", "--data", file, "--out", tmp_path / "m.gridnn", "--epochs", 3, "--batch-size", 8
    )
    assert "3 classes: " in output
    assert re.search(r"samples: loss", run(capsys, "evaluate", tmp_path / "m.gridnn", "--data", file))


def test_series_and_single_files_of_arrays(capsys, tmp_path):
    y = np.arange(60) % 2
    x = (np.sin(np.arange(40) * (0.2 + 0.6 * y[:, None])) + RNG.normal(0, 0.1, (60, 40))).astype(np.float32)
    file = write_arrays(tmp_path / "data.npz", x=x, y=np.array(["slow", "fast"])[y])
    run(capsys, "train", "--data", file, "--out", tmp_path / "m.gridnn", "--epochs", 8, "--batch-size", 8)
    for number in (0, 1):
        np.save(tmp_path / f"{number}.npy", x[number])
    output = run(capsys, "predict", tmp_path / "m.gridnn", tmp_path / "0.npy", tmp_path / "1.npy")
    assert re.findall(r"\t(\w+)\t", output) == ["slow", "fast"]


@pytest.mark.parametrize(
    ("shape", "option", "expected"),
    [
        ((8, 8), None, "(8, 8, 1)"),
        ((8, 8, 8), None, "(8, 8, 8, 1)"),
        ((8, 8, 8), "8,8,8", "(8, 8, 8)"),
        ((8, 8, 3), None, "(8, 8, 3)"),
        ((64,), "8x8x1", "(8, 8, 1)"),
    ],
)
def test_arrays_of_bytes_get_an_axis_of_channels(capsys, tmp_path, shape, option, expected):
    x = RNG.integers(0, 256, (20, *shape), np.uint8)
    file, out = write_arrays(tmp_path / "data.npz", x=x, y=np.arange(20) % 2), tmp_path / "m.gridnn"
    options = [] if option is None else ["--shape", option]
    output = run(capsys, "train", "--data", file, "--out", out, "--epochs", 1, *options)
    assert f"samples of shape {expected}, uint8" in output
    assert run(capsys, "evaluate", out, "--data", file).startswith("20 samples")


def test_tables(capsys, tmp_path):
    x, y = samples()
    rows = [
        ",".join(map(str, [list(COLORS)[label], *image[..., 0].reshape(-1)]))
        for image, label in zip(x, y, strict=True)
    ]
    names = ",".join(["label", *(f"p{n}" for n in range(144))])
    (tmp_path / "data.csv").write_text("\n".join([names, *rows]))
    out = tmp_path / "m.gridnn"
    output = run(capsys, "train", "--data", tmp_path / "data.csv", "--out", out, "--epochs", 1)
    assert "samples of shape (12, 12, 1), uint8" in output
    assert gn.load_model(out).class_names == ["blue", "green", "red"]
    assert run(capsys, "evaluate", out, "--data", tmp_path / "data.csv").startswith("40 samples")
    output = run(
        capsys, "train", "--data", tmp_path / "data.csv", "--out", out, "--epochs", 1, "--shape", "16x9"
    )
    assert "samples of shape (16, 9, 1)" in output


def test_sounds(capsys, tmp_path):
    import wave

    for name, pitch in (("high", 1200), ("low", 200)):
        (tmp_path / "tones" / name).mkdir(parents=True)
        for number in range(8):
            tone = np.sin(2 * np.pi * pitch * (np.arange(800) + number) / 8000) * 20000
            with wave.open(str(tmp_path / "tones" / name / f"{number}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(tone.astype("<i2").tobytes())
    arguments = ["train", "--data", tmp_path / "tones", "--out", tmp_path / "m.gridnn", "--epochs", 10]
    assert "give their length in samples, as --size 8000" in fails(capsys, *arguments)
    output = run(capsys, *arguments, "--size", 800, "--batch-size", 4)
    assert "samples of shape (800, 1), float32" in output
    output = run(capsys, "predict", tmp_path / "m.gridnn", tmp_path / "tones" / "low" / "0.wav")
    assert output.split("\t")[1] == "low"


def test_wrong_data_is_one_line(capsys, photos, trained, tmp_path):
    out = tmp_path / "m.gridnn"

    def train(data, *arguments):
        return fails(capsys, "train", "--data", data, "--out", out, "--epochs", 1, *arguments)

    assert "there is no such file or folder" in train(tmp_path / "nowhere")
    (tmp_path / "x.txtx").write_text("")
    assert "expected a folder, a .csv or an .npz file" in train(tmp_path / "x.txtx")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    assert "no images or sounds in its subfolders" in train(tmp_path / "empty")
    assert "expected arrays x and y; the file has z" in train(write_arrays(tmp_path / "z.npz", z=np.zeros(3)))
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.zeros(3))
    assert "expected a label for each of the 4 samples" in train(file)
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.zeros(4) + 0.5)
    assert "labels are classes, numbers or names; received 0.5" in train(file)
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.zeros(4))
    assert "needs two classes or more" in train(file, "--validation", 0.25)
    (tmp_path / "d.csv").write_text("1,2,3\n")
    assert "2 values in a line are no square image: give --shape" in train(tmp_path / "d.csv")
    assert "--model resnet: expected one of auto" in train(photos, "--model", "resnet")
    assert "--model resnet21: `depth` must be one of" in train(photos, "--model", "resnet21")
    assert "--model lenet5: conv2d_1: " in train(
        write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.arange(4) % 2),
        *("--model", "lenet5", "--validation", 0),
    )
    assert "--out" in fails(capsys, "train", "--data", photos, "--out", tmp_path / "no" / "m.gridnn")
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.array(["a", None, "b", "c"]))
    assert f"--data {file}: array 'y' cannot be read (Object arrays" in train(file)
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((0, 8, 8, 1)), y=np.zeros(0))
    assert f"--data {file}: no samples; received arrays of shapes (0, 8, 8, 1) and (0,)" in train(file)
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8), complex), y=np.arange(4) % 2)
    assert f"--data {file}: samples are real numbers; received an array of type complex128" in train(file)
    file = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8)), y=np.array([0, 1, np.nan, 1]))
    assert "labels are classes, numbers or names; received nan" in train(file)
    (tmp_path / "junk.npz").write_text("hello")
    assert f"--data {tmp_path / 'junk.npz'}: not an .npz file" in train(tmp_path / "junk.npz")
    spoiled = np.zeros((4, 8, 8, 1))
    spoiled[2] = np.nan
    file = write_arrays(tmp_path / "d.npz", x=spoiled, y=np.arange(4) % 2)
    assert f"--data {file}: 1 of 4 samples hold NaN or infinity, the first is number 2" in train(file)
    series = write_arrays(tmp_path / "s.npz", x=np.zeros((8, 20)), y=np.arange(8) % 2)
    assert "--model vgg11 is for images" in train(series, "--model", "vgg11", "--validation", 0)
    assert "--augment is for images" in train(series, "--augment", "--validation", 0)


def test_wrong_files_are_one_line(capsys, photos, trained, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    assert "broken.png: cannot be read" in fails(capsys, "predict", trained, tmp_path / "broken.png")
    assert "nowhere.png" in fails(capsys, "predict", trained, tmp_path / "nowhere.png")
    assert "no such file" in fails(capsys, "predict", trained, tmp_path / "nowhere.dat")
    assert "not a file of samples" in fails(capsys, "predict", trained, trained)
    assert "--out is for models with an output at each position" in fails(
        capsys, "predict", trained, tmp_path / "broken.png", "--out", tmp_path
    )
    for name, array, message in (
        ("n.npy", None, "not an .npy file, as numpy.save writes it"),
        ("o.npy", np.array([1, None]), "If it holds objects, write it with a type: x.astype('float32')."),
        (
            "s.npy",
            np.zeros((9, 9, 2)),
            "expected one sample of shape (12, 12, 3), received an array of shape",
        ),
        ("n.npz", None, "not an .npz file, as numpy.savez writes it, or a damaged one"),
        ("z.npz", {"z": np.zeros(3)}, "expected an array x of samples; the file has z"),
        ("o.npz", {"x": np.array([1, None])}, "array 'x' cannot be read"),
        ("s.npz", {"x": np.zeros((4, 9, 9, 3))}, "expected samples of shape (12, 12, 3), received"),
        ("a.npz", {"x": np.full((1, 12, 12, 3), np.nan)}, "1 of 1 samples hold NaN or infinity"),
        ("n.csv", None, "not a text file of values"),
        (
            "s.csv",
            b"1,2,3\n",
            "line 1: 3 values; expected 433, which are 432 for shape (12, 12, 3) and a label",
        ),
    ):
        file = tmp_path / name
        if isinstance(array, dict):
            np.savez(file, **array)
        elif isinstance(array, np.ndarray):
            np.save(file, array)
        else:
            file.write_bytes(array or b"\xff\xfe none")
        error = fails(capsys, "predict", trained, file)
        assert f"error: {file}" in error
        assert message in error
    assert "no such file" in fails(capsys, "predict", trained, tmp_path / "nowhere.npz")
    assert "no such file" in fails(capsys, "predict", trained, tmp_path / "nowhere.npy")
    assert "it takes images, .npy, .csv, .npz, .tsv and .txt" in fails(capsys, "predict", trained, trained)
    (tmp_path / "empty").mkdir()
    assert "no files in this folder that are read: .aif" in fails(
        capsys, "predict", trained, tmp_path / "empty"
    )
    assert "broken.png" in fails(capsys, "info", tmp_path / "broken.png")
    unet = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    unet.save(tmp_path / "dense.gridnn")
    np.save(tmp_path / "x.npy", np.zeros((8, 8)))
    assert "give --out FOLDER" in fails(capsys, "predict", tmp_path / "dense.gridnn", tmp_path / "x.npy")
    assert "not a classifier" in fails(
        capsys, "evaluate", tmp_path / "dense.gridnn", "--data", photos, "--validation", 0.2
    )


def test_options_without_a_use_are_refused(capsys, photos, trained, tmp_path):
    """Nobody finds out later that the size asked for was never that of the samples."""
    out = tmp_path / "m.gridnn"
    archive = write_arrays(tmp_path / "d.npz", x=np.zeros((4, 8, 8, 1)), y=np.arange(4) % 2)
    (tmp_path / "d.csv").write_text("1,2,3,4,5\n0,2,3,4,5\n")
    for data, arguments, what in (
        (photos, ["--shape", "8,8,3"], "a folder"),
        (photos, ["--label-column", "0"], "a folder"),
        (archive, ["--size", "8"], "no folder of files"),
        (archive, ["--color", "rgb"], "no folder of files"),
        (archive, ["--label-column", "y"], "no .csv file"),
        (tmp_path / "d.csv", ["--size", "8"], "no folder of files"),
        (tmp_path / "d.csv", ["--color", "gray"], "no folder of files"),
    ):
        error = fails(capsys, "train", "--data", data, "--out", out, *arguments)
        assert f"{arguments[0]} has no use: --data {data} is {what}" in error
    error = fails(capsys, "evaluate", trained, "--data", photos, "--label-column", "0")
    assert "--label-column has no use" in error


def write_sounds(folder):
    for name in ("high", "low"):
        (folder / name).mkdir(parents=True)
        with wave.open(str(folder / name / "0.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(200))
    return folder


def test_data_that_the_model_does_not_take_is_no_matter_of_options(capsys, photos, trained, tmp_path):
    """`evaluate` and `report` know sizes from the model: they have no --size to advise."""
    sounds = write_sounds(tmp_path / "sounds")
    listens, any_size = tmp_path / "listens.gridnn", tmp_path / "any.gridnn"
    model = gn.Sequential([gn.Input((100, 1)), layers.Flatten(), layers.Dense(2)])
    model.class_names = ["high", "low"]
    model.save(listens)
    for channels, file, names in ((1, "hears.gridnn", ["high", "low"]), (3, any_size, sorted(COLORS))):
        shape = (None, 1) if channels == 1 else (None, None, 3)
        pool = layers.GlobalAveragePooling1D() if channels == 1 else layers.GlobalAveragePooling2D()
        model = gn.Sequential([gn.Input(shape), pool, layers.Dense(len(names))])
        model.class_names = names
        model.save(tmp_path / file)
    several = write_photos(tmp_path / "several", count=1)
    write_photos(tmp_path / "several" / "x", count=1, size=16, names=["red"])
    shutil.move(several / "x" / "red" / "00.png", several / "red" / "01.png")
    shutil.rmtree(several / "x")
    (tmp_path / "line.csv").write_text("label,a,b\nred,1,2\n")
    for command in (["evaluate"], ["report", "--out", tmp_path / "r.html"]):
        for file, data, message in (
            (trained, sounds, "holds sounds (0.wav), but the model, with samples of shape (12, 12, 3)"),
            (tmp_path / "hears.gridnn", sounds, "takes sounds of any length: it is applied in Python"),
            (listens, photos, "there are no sounds in its subfolders, as the model takes"),
            (any_size, several, "with samples of shape (None, None, 3), has none: bring the files to one"),
            (any_size, tmp_path / "line.csv", "write an .npz file with arrays x and y"),
        ):
            error = fails(capsys, command[0], file, "--data", data, *command[1:])
            assert message in error
            assert "--size" not in error
            assert "--shape" not in error


def test_files_of_many_samples_are_predicted_by_number(capsys, photos, tmp_path):
    x, y = RNG.integers(0, 256, (6, 5, 5), np.uint8), np.arange(6) % 2
    rows = np.c_[y, x.reshape(6, -1)]
    names = "label," + ",".join(f"p{number}" for number in range(25))
    write_arrays(tmp_path / "d.npz", x=x, y=y)
    write_arrays(tmp_path / "t.npz", x_train=x[:0], y_train=y[:0], x_test=x, y_test=y)
    write_arrays(tmp_path / "images.npz", images=x)
    np.savetxt(tmp_path / "d.csv", rows, fmt="%d", delimiter=",", header=names, comments="")
    np.savetxt(tmp_path / "last.csv", np.roll(rows, -1, axis=1), fmt="%d", delimiter=",")
    (tmp_path / "last.csv").write_text(
        names.removeprefix("label,") + ",label\n" + (tmp_path / "last.csv").read_text()
    )
    np.savetxt(tmp_path / "plain.tsv", rows, fmt="%d", delimiter="\t")
    np.savetxt(tmp_path / "unlabelled.txt", rows[:, 1:], fmt="%d", delimiter=",")
    out = tmp_path / "m.gridnn"
    run(capsys, "train", "--data", tmp_path / "d.npz", "--out", out, "--epochs", 1, "--validation", 0)
    model = gn.load_model(out)
    scores = model.predict(x[..., np.newaxis], verbose=0).astype(float)
    expected = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).max(axis=1)
    for name in ("d.npz", "t.npz", "images.npz", "d.csv", "last.csv", "plain.tsv", "unlabelled.txt"):
        lines = run(capsys, "predict", out, tmp_path / name).splitlines()
        assert [line.split("\t")[0] for line in lines] == [f"{tmp_path / name}[{n}]" for n in range(6)]
        assert np.allclose([float(line.split("\t")[2]) for line in lines], expected, atol=1e-4)
    np.save(tmp_path / "one.npy", x[0])
    mixed = run(capsys, "predict", out, tmp_path / "one.npy", tmp_path / "d.npz", tmp_path / "one.npy")
    assert len(mixed.splitlines()) == 8


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_said_once(capsys, tmp_path):
    """The library warns where each of two passes over the folder reads it: no user calls those lines."""
    photos = write_photos(tmp_path / "photos", count=5)
    (photos / "yellow").mkdir()
    code = main(["train", "--data", str(photos), "--out", str(tmp_path / "m.gridnn"), "--epochs", "1"])
    assert code == 0
    assert capsys.readouterr().err == (
        f"gridnn train: warning: {photos}: no images of the class 'yellow'; the numbers of the other classes "
        "stay as they are.\n"
    )


@pytest.mark.parametrize("rate", ["nan", "-1", "0", "inf", "fast"])
def test_a_wrong_rate_is_said_before_anything_is_read(capsys, tmp_path, rate):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--data", str(tmp_path), "--out", "m.gridnn", "--learning-rate", rate])
    assert "argument --learning-rate: " in capsys.readouterr().err


def test_models_of_one_output_and_of_probabilities(capsys, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 1), np.float32))
    for outputs, activation, expected in (
        (1, None, ["no\t0.5000\tyes\t0.5000"]),
        (1, "sigmoid", ["no\t0.5000\tyes\t0.5000"]),
        (2, "softmax", ["no\t0.5000\tyes\t0.5000"]),
        (2, None, ["no\t0.5000\tyes\t0.5000"]),
    ):
        model = gn.Sequential(
            [
                gn.Input((4, 1)),
                layers.Flatten(),
                layers.Dense(outputs, activation, kernel_initializer="zeros"),
            ]
        )
        model.class_names = ["no", "yes"]
        model.save(tmp_path / "m.gridnn")
        output = run(capsys, "predict", tmp_path / "m.gridnn", tmp_path / "x.npy", "--top", 2)
        assert output.splitlines() == [f"{tmp_path / 'x.npy'}\t{line}" for line in expected]


def dense(folder, rank, channels, outputs=3):
    conv = getattr(layers, f"Conv{rank}D")
    model = gn.Sequential(
        [gn.Input((*(None,) * rank, channels)), conv(4, 3, padding="same"), conv(outputs, 1)], seed=3
    )
    model.save(folder / "dense.gridnn")
    return model


def test_maps_of_images(capsys, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    model, x = dense(tmp_path, 2, 3), RNG.integers(0, 256, (70, 50, 3), np.uint8)
    image_module.fromarray(x).save(tmp_path / "scene.png")
    (tmp_path / "maps").mkdir()
    arguments = ["predict", tmp_path / "dense.gridnn", tmp_path / "scene.png", "--out", tmp_path / "maps"]
    output = run(capsys, *arguments, "--window", 32)
    assert output == f"{tmp_path / 'scene.png'}\t{tmp_path / 'maps' / 'scene.png'}\n"
    expected = model.predict(x[np.newaxis], verbose=0)[0].argmax(axis=-1)
    assert np.mean(np.asarray(image_module.open(tmp_path / "maps" / "scene.png")) == expected) > 0.99
    run(capsys, *arguments, "--window", "32,48", "--overlap", 0.5)
    assert "no such folder" in fails(capsys, *arguments[:3], "--out", tmp_path / "nowhere")
    np.save(tmp_path / "scene.npy", x)
    assert "would be written to one file" in fails(
        capsys, *arguments[:3], tmp_path / "scene.npy", *arguments[3:]
    )


def test_maps_of_volumes_and_series(capsys, tmp_path):
    (tmp_path / "maps").mkdir()
    x = RNG.normal(size=(20, 18, 16)).astype(np.float32)
    np.save(tmp_path / "scan.npy", x)
    model = dense(tmp_path, 3, 1, outputs=1)
    run(capsys, "predict", tmp_path / "dense.gridnn", tmp_path / "scan.npy", "--out", tmp_path / "maps")
    expected = model.predict(x[np.newaxis, ..., np.newaxis], verbose=0)[0, ..., 0]
    assert np.allclose(np.load(tmp_path / "maps" / "scan.npy"), expected, atol=1e-5)
    dense(tmp_path, 1, 1)
    np.save(tmp_path / "series.npy", x.reshape(-1))
    run(capsys, "predict", tmp_path / "dense.gridnn", tmp_path / "series.npy", "--out", tmp_path / "maps")
    assert np.load(tmp_path / "maps" / "series.npy").shape == (20 * 18 * 16,)


def test_wrong_files_for_maps_are_one_line(capsys, tmp_path):
    (tmp_path / "maps").mkdir()
    pytest.importorskip("nibabel")
    pytest.importorskip("tifffile")
    dense(tmp_path, 3, 1)
    np.save(tmp_path / "flat.npy", np.zeros((9, 9)))
    for name, message in (
        ("n.npy", "not an .npy file"),
        ("n.tif", "cannot be read as a TIFF file"),
        ("n.nii", "cannot be read as a NIfTI file"),
        ("n.nii.gz", "cannot be read as a NIfTI file"),
        ("n.wav", "it takes .npy, .tif, .tiff, .nii and .nii.gz"),
        ("flat.npy", "must be one sample, 3 spatial axes and 1 channels"),
    ):
        file = tmp_path / name
        if name != "flat.npy":
            file.write_bytes(b"none")
        error = fails(capsys, "predict", tmp_path / "dense.gridnn", file, "--out", tmp_path / "maps")
        assert f"error: {file}: " in error
        assert message in error


def test_a_model_of_one_size_is_not_offered_larger_windows(capsys, tmp_path):
    gn.models.unet((16, 16, 1), classes=2, width=2, depth=2).save(tmp_path / "unet.gridnn")
    np.save(tmp_path / "x.npy", np.zeros((40, 40), np.float32))
    (tmp_path / "maps").mkdir()
    arguments = ["predict", tmp_path / "unet.gridnn", tmp_path / "x.npy", "--out", tmp_path / "maps"]
    error = fails(capsys, *arguments)
    assert "The model takes no others: give it an Input of (None, ...), or blend windows" in error
    assert "Take windows of" not in error
    run(capsys, *arguments, "--overlap", 0.5)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_maps_of_nifti_files_keep_their_place(capsys, tmp_path, ending):
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    x = RNG.normal(size=(20, 18, 16)).astype(np.float32)
    nibabel.Nifti1Image(x, affine).to_filename(tmp_path / f"scan{ending}")
    model = dense(tmp_path, 3, 1)
    (tmp_path / "maps").mkdir()
    file = tmp_path / f"scan{ending}"
    (tmp_path / "scans").mkdir()
    file.rename(tmp_path / "scans" / file.name)
    folder = tmp_path / "scans"
    run(capsys, "predict", tmp_path / "dense.gridnn", folder, "--out", tmp_path / "maps", "--window", 16)
    result = nibabel.load(tmp_path / "maps" / "scan.nii.gz")
    expected = model.predict(x[np.newaxis, ..., np.newaxis], verbose=0)[0].argmax(axis=-1)
    assert np.array_equal(result.affine, affine)
    assert np.mean(np.asarray(result.dataobj) == expected) > 0.99


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_maps_of_tiff_files(capsys, tmp_path, compression):
    tifffile = pytest.importorskip("tifffile")
    x = RNG.integers(0, 65536, (70, 50, 3), np.uint16)
    tifffile.imwrite(tmp_path / "scene.tif", x, photometric="rgb", compression=compression)
    model = dense(tmp_path, 2, 3)
    (tmp_path / "maps").mkdir()
    run(capsys, "predict", tmp_path / "dense.gridnn", tmp_path / "scene.tif", "--out", tmp_path / "maps")
    expected = model.predict(x[np.newaxis], verbose=0)[0].argmax(axis=-1)
    assert np.mean(tifffile.imread(tmp_path / "maps" / "scene.tif") == expected) > 0.99
