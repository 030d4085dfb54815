"""The command line on wrong data and arguments: a line that says what, and no wrong answer instead."""

import os
import wave

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.cli import main

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 8, 8, 1)).astype(np.uint8)
Y = np.arange(12) % 2


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys, *arguments):
    """The last line on standard error of a command that fails."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    return capsys.readouterr().err.splitlines()[-1]


def train(capsys, data, *arguments):
    return fails(capsys, "train", "--data", data, "--out", "m.gridnn", "--epochs", 1, *arguments)


def pictures(folder, values=X, classes=("a", "b")):
    image_module = pytest.importorskip("PIL.Image")
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number, value in enumerate(values[:4]):
            image_module.fromarray(value[..., 0]).save(folder / name / f"{number}.png")


def sounds(folder, rate=8000):
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            with wave.open(str(folder / name / f"{number}.wav"), "wb") as file:
                file.setparams((1, 2, rate, 0, "NONE", ""))
                file.writeframes(RNG.integers(0, 256, 200, np.uint8).tobytes())


def model(file, stack, class_names=None):
    made = gn.Sequential(stack, seed=0)
    made.class_names = class_names
    made.save(file)
    return made


def dense(file, outputs=3, class_names=None):
    return model(file, [gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(outputs)], class_names)


@pytest.mark.parametrize("shape", [(), (4, 4, 4, 4, 1)], ids=["numbers", "four axes"])
def test_samples_that_are_no_grids(shape, folder, capsys):
    np.savez("d.npz", x=np.ones((12, *shape), np.uint8), y=Y)
    assert "--model auto: Expected samples that are series (length, channels), images" in train(
        capsys, "d.npz"
    )


def test_numbers_that_are_too_large(folder, capsys):
    np.savez("d.npz", x=X, y=Y)
    assert "--threads: number of threads: expected 1 to 1024" in train(capsys, "d.npz", "--threads", 10**5)
    assert "--seed: expected a number below 2**64" in train(capsys, "d.npz", "--seed", 2**64)
    np.savez("d.npz", x=X, y=Y * 1e300)
    assert "received 1e+300 for sample 1" in train(capsys, "d.npz")


def test_labels_of_another_kind(folder, capsys):
    np.savez("d.npz", x=X, y=np.eye(2)[Y])
    assert "One-hot labels become numbers with y.argmax(axis=1)" in train(capsys, "d.npz")


def test_too_few_samples_to_hold_some_out(folder, capsys):
    np.savez("d.npz", x=X, y=np.arange(12))
    said = "--data d.npz: with --validation 0.2 nothing is left for validation: there are 12 samples in 12"
    assert said in train(capsys, "d.npz")
    pictures(folder / "photos")
    said = train(capsys, "photos", "--validation", 0.99)
    assert "--data photos: with --validation 0.99 nothing is left for training: there are 8 samples" in said


def test_a_test_set_of_another_shape_or_without_samples(folder, capsys):
    np.savez("d.npz", x_train=X, y_train=Y, x_test=X[:, :4], y_test=Y)
    assert "train on have shape (8, 8, 1), and those to test on (4, 8, 1)" in train(capsys, "d.npz")
    np.savez("d.npz", x_train=X, y_train=Y, x_test=X[:0], y_test=Y[:0])
    assert "--data d.npz, to test on: no samples" in train(capsys, "d.npz")


def test_a_shape_that_is_not_that_of_the_samples(folder, capsys):
    np.savez("d.npz", x=X, y=Y)
    for shape in ("9,9", "4,4,4", "16,4,1"):
        assert f"samples have shape (8, 8, 1), which --shape {shape} does not fit" in train(
            capsys, "d.npz", "--shape", shape
        )
    np.savez("d.npz", x=X.reshape(12, 64), y=Y)
    for shape, expected in (("64", (64, 1)), ("8,8", (8, 8, 1)), ("4,4,4", (4, 4, 4))):
        assert main(["train", "--data", "d.npz", "--out", "m.gridnn", "--epochs", "1", "--shape", shape]) == 0
        assert f"12 samples of shape {expected}".replace("12", "10") in capsys.readouterr().out


def test_axes_in_another_order_are_not_reshaped(folder, capsys):
    model("m.gridnn", [gn.Input((6, 4, 3)), layers.Flatten(), layers.Dense(2)])
    x = np.zeros((4, 3, 6, 4), np.uint8)
    np.savez("d.npz", x=x, y=Y[:4])
    assert "d.npz: expected samples of shape (6, 4, 3)" in fails(capsys, "predict", "m.gridnn", "d.npz")
    said = fails(capsys, "evaluate", "m.gridnn", "--data", "d.npz")
    assert (
        "--data d.npz: expected samples of shape (6, 4, 3), as m.gridnn takes them; received (3, 6, 4)"
        in said
    )
    np.savez("d.npz", x=x.reshape(4, -1), y=Y[:4])
    assert main(["evaluate", "m.gridnn", "--data", "d.npz"]) == 0


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "label{0}a{0}b{0}c{0}d\n", "\n"])
def test_what_separates_values_is_found(delimiter, head, folder, capsys):
    rows = "".join(delimiter.join([str(n % 2), *"1234"]) + "\n" for n in range(10))
    (folder / "d.csv").write_text(head.format(delimiter) + rows)
    assert main(["train", "--data", "d.csv", "--out", "m.gridnn", "--epochs", "1"]) == 0
    assert "8 samples of shape (2, 2, 1), uint8; 2 more are held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "label;a;b;c;d\n0;1,5;2,5;3,5;4,5\n",
            "'1,5' is not a number, in column 'a': write decimals with a point",
        ),
        ("0,1,,3,4\n", "'' is not a number: a value is missing; fill it or drop the line"),
        ("0,1,nan,3,4\n1,1,2,3,4\n", "--data d.csv: 1 of 2 samples hold NaN or infinity"),
        ("\n\n", "d.csv: empty"),
    ],
)
def test_tables(text, message, folder, capsys):
    (folder / "d.csv").write_text(text)
    assert message in train(capsys, "d.csv", "--shape", "2,2", "--validation", 0)


def test_tables_of_other_encodings(folder, capsys):
    (folder / "d.csv").write_bytes("label,a\n0,1\n".encode("utf-16"))
    assert "d.csv: not a text file of values" in (said := train(capsys, "d.csv"))
    assert said.endswith("Save it as UTF-8")


def test_labels_in_a_table_are_no_values(folder, capsys):
    model("m.gridnn", [gn.Input((2, 2, 1)), layers.Flatten(), layers.Dense(2)])
    (folder / "d.csv").write_text("label,a,b,c\n1,2,3,4\n")
    assert "d.csv: a column of labels and 3 values" in fails(capsys, "predict", "m.gridnn", "d.csv")


def test_images_and_sounds_in_one_folder(folder, capsys):
    pictures(folder / "both")
    sounds(folder / "more")
    (folder / "more" / "a" / "0.wav").rename(folder / "both" / "a" / "0.wav")
    assert "holds images (both/a/0.png) and sounds (both/a/0.wav)" in train(capsys, "both", "--size", 100)


def test_sounds_at_another_speed(folder, capsys):
    sounds(folder / "slow")
    sounds(folder / "set" / "train")
    sounds(folder / "set" / "test", rate=16000)
    assert "16000 samples per second, expected rate=8000" in train(capsys, "set", "--size", 100)
    model("m.gridnn", [gn.Input((100, 1)), layers.Flatten(), layers.Dense(2)])
    said = fails(capsys, "predict", "m.gridnn", "slow/a/0.wav", "set/test/a/0.wav")
    assert "set/test/a/0.wav: 16000 samples per second, but slow/a/0.wav has 8000" in said


@pytest.mark.parametrize("ending", [".gif", ".png", ".webp"])
def test_animations_are_refused(ending, folder):
    image_module = pytest.importorskip("PIL.Image")
    pictures(folder / "photos")
    first, *others = (image_module.fromarray(x[..., 0]) for x in X[:3])
    file = folder / "photos" / "a" / f"moves{ending}"
    first.save(file, save_all=True, append_images=others)
    with pytest.raises(gn.errors.FileFormatError, match=rf"moves\{ending}.* an animation of 3 pictures"):
        gn.data.image_folder("photos", color="gray")
    first.save(file)
    assert len(gn.data.image_folder("photos", color="gray").x) == 9


def test_a_model_without_names_takes_labels_as_its_numbers(folder, capsys):
    own = dense("m.gridnn")
    y = own.predict(X, verbose=0).argmax(axis=1)
    kept = y != 0
    assert kept.any()
    np.savez("d.npz", x=X[kept], y=y[kept])
    assert main(["evaluate", "m.gridnn", "--data", "d.npz"]) == 0
    assert "accuracy 1.0000" in capsys.readouterr().out
    np.savez("d.npz", x=X, y=Y > 0)
    assert main(["evaluate", "m.gridnn", "--data", "d.npz"]) == 0
    capsys.readouterr()
    for labels, named in ((Y - 1, "'-1'"), (Y + 2, "'3'"), (np.array(["a", "b"] * 6), "'a'")):
        np.savez("d.npz", x=X, y=labels)
        said = fails(capsys, "evaluate", "m.gridnn", "--data", "d.npz")
        assert f"--data d.npz: label {named} is none of the classes 0, 1, 2" in said
    pictures(folder / "photos")
    said = fails(capsys, "evaluate", "m.gridnn", "--data", "photos")
    assert "has 2 folders, and the model, which has no names for its classes, 3 of them" in said


def test_outputs_that_are_nan_are_of_no_class(folder, capsys):
    own = dense("m.gridnn")
    own.set_weights([weight * np.nan for weight in own.get_weights()])
    own.save("m.gridnn")
    np.save("one.npy", X[0])
    np.savez("d.npz", x=X, y=Y)
    assert "one.npy: the outputs are NaN" in fails(capsys, "predict", "m.gridnn", "one.npy")
    assert "d.npz[0]: the outputs are NaN" in fails(capsys, "predict", "m.gridnn", "d.npz")
    for command in (("evaluate",), ("report", "--out", "r.html")):
        said = fails(capsys, command[0], "m.gridnn", "--data", "d.npz", *command[1:])
        assert "--data d.npz: the outputs for 12 of 12 samples are NaN, the first is number 0" in said


def test_maps_of_nan_are_of_no_class(folder, capsys):
    made = model("m.gridnn", [gn.Input((None, None, 1)), layers.Conv2D(2, 1)])
    x = np.zeros((40, 30, 1), np.float32)
    x[33, 7] = np.nan
    with pytest.raises(gn.errors.NonFiniteInputError, match=r"outputs at position \(33, 7\) are NaN"):
        made.predict_windows(x, 16, reduce="argmax")
    assert np.isnan(made.predict_windows(x, 16)).sum() == 2
    np.save("x.npy", x)
    (folder / "out").mkdir()
    assert "x.npy: The outputs at position (33, 7)" in fails(
        capsys, "predict", "m.gridnn", "x.npy", "--out", "out"
    )


def test_nothing_to_predict(folder, capsys):
    dense("m.gridnn")
    np.savez("d.npz", x=X[:0])
    assert "d.npz: no samples; received an array of shape (0, 8, 8, 1)" in fails(
        capsys, "predict", "m.gridnn", "d.npz"
    )


def test_what_is_read_is_not_written_over(folder, capsys):
    model("m.gridnn", [gn.Input((None, None, 1)), layers.Conv2D(2, 3, padding="same")])
    pictures(folder / "photos")
    np.save("x.npy", X[0])
    for file, out in (("x.npy", "."), ("photos/a/0.png", "photos/a")):
        before = (folder / file).read_bytes()
        assert f"the map of {file} would replace it" in fails(
            capsys, "predict", "m.gridnn", file, "--out", out
        )
        assert (folder / file).read_bytes() == before
    np.savez("d.npz", x=X, y=Y)
    before = (folder / "d.npz").read_bytes()
    assert "--out d.npz: this is the data" in fails(capsys, "train", "--data", "d.npz", "--out", "d.npz")
    assert (folder / "d.npz").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_refused_at_once(folder, capsys):
    """Nobody writes into it: whoever opens it waits."""
    dense("m.gridnn")
    os.mkfifo("pipe.npz")
    for words in (
        ("predict", "m.gridnn", "pipe.npz"),
        ("predict", "pipe.npz", "pipe.npz"),
        ("info", "pipe.npz"),
        ("evaluate", "m.gridnn", "--data", "pipe.npz"),
        ("train", "--data", "pipe.npz", "--out", "other.gridnn"),
    ):
        assert "pipe.npz: neither a file nor a folder" in fails(capsys, *words)


def test_more_bits_than_a_model_was_trained_on(folder, capsys):
    pictures(folder / "bytes")
    pictures(folder / "words", (X * 257.0).astype(np.uint16))
    assert main(["train", "--data", "bytes", "--color", "gray", "--out", "m.gridnn", "--epochs", "1"]) == 0
    capsys.readouterr()
    said = "(uint16), and the model takes bytes, from 0 to 255: its first layer multiplies by 0.00392"
    assert said in fails(capsys, "predict", "m.gridnn", "words/a/0.png")
    assert said in fails(capsys, "evaluate", "m.gridnn", "--data", "words")


def test_masks_of_numpy_are_not_dropped():
    made = gn.Sequential([gn.Input((None, 1)), layers.Conv1D(1, 3, padding="same")], seed=0)
    made.compile("sgd", "mse")
    series = np.zeros((40, 1))
    masked = np.ma.masked_array(series, series == 0)
    with pytest.raises(TypeError, match="`x` argument is a masked array"):
        made.predict_windows(masked, 16)
    with pytest.raises(TypeError, match="`y` argument is a masked array"):
        made.evaluate_windows(series, masked, 16)


def test_files_with_other_channels(folder):
    image_module = pytest.importorskip("PIL.Image")
    pictures(folder / "photos")
    image_module.fromarray(np.repeat(X[0], 3, axis=-1)).save(folder / "photos" / "b" / "colour.png")
    with pytest.raises(
        gn.errors.ShapeError, match=r"colour\.png has shape \(8, 8, 3\).* color='rgb' or 'gray'"
    ):
        gn.data.image_folder("photos", color="unchanged")
