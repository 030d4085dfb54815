"""Calls that people get wrong: one sentence says which argument, what is expected, what came, what to do."""

import re

import numpy as np
import pytest

import gridnn as gn
from gridnn import cli, layers

pytestmark = pytest.mark.one_tier

X = np.linspace(0, 1, 12 * 64).reshape(12, 8, 8, 1)
Y = np.arange(12) % 3


@pytest.fixture
def model():
    stack = layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)
    model = gn.Sequential([gn.Input((8, 8, 1)), *stack], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        # Arguments at the wrong place: an array where one number belongs.
        (
            lambda m: m.predict(X, Y),
            TypeError,
            r"`batch_size` .* an integer\. .*an array of type int.*\(12,\)",
        ),
        (lambda m: m.evaluate(X, Y, X), TypeError, r"`batch_size` .*an array of type float64"),
        (
            lambda m: m.fit(X, Y, epochs=Y),
            TypeError,
            r"`epochs` .*=an array of type int64 and shape \(12,\)\.",
        ),
        (
            lambda m: m.fit(X, Y, validation_split=X),
            TypeError,
            r"`validation_split` .* a number\. .*an array",
        ),
        (lambda m: m.fit(X, Y, shuffle=Y), TypeError, r"`shuffle` .* True or False\. .*an array"),
        (lambda m: m.fit(X, Y, seed=np.zeros(2)), TypeError, r"`seed` .* an integer\. .*an array"),
        # Structures of arrays for a model of one input.
        (lambda m: m.fit({"image": X}, Y), TypeError, r"`x` .* Received dict\. Pass .*x\['image'\]\."),
        (lambda m: m.predict({"image": X}), TypeError, r"`x` .* Received dict\. Pass .*x\['image'\]\."),
        (lambda m: m.fit(X, Y, validation_data=(X, None)), ValueError, r"`validation_data` .* \(x, y\)\."),
        # A value in a dict or a list is named by its place.
        (lambda m: m.fit(X, Y, class_weight={0: 1, 1: -1, 2: 1}), ValueError, r"`class_weight\[1\]` .*=-1\."),
        (lambda m: m.fit(X, Y, class_weight={0: "a"}), TypeError, r"`class_weight\[0\]` .* a number\. .*'a'"),
        (lambda m: setattr(m, "class_names", [0, 1, 2]), TypeError, r"`class_names` .* 0 .*\[str\(name\)"),
        # Names that are nearly right.
        (lambda m: m.compile("adm", "mse"), ValueError, r"'adm'\. Did you mean 'adam'\?"),
        (lambda m: m.compile("adam", "mean_square_error"), ValueError, "Did you mean 'mean_squared_error'"),
        (lambda m: m.compile("adam", "mse", metrics=["acuracy"]), ValueError, "Did you mean 'accuracy'"),
        (lambda m: m.compile("adam", "mse", metrics=["f1"]), ValueError, "Did you mean 'f1_score'"),
        (lambda m: m.compile(0.01, "mse"), TypeError, r"expected a string id, such as 'sgd'.*0\.01"),
        (lambda m: m.compile("adam", np.ones), TypeError, "one of gridnn's loss classes"),
        # A function that returns nothing.
        (
            lambda m: m.fit(X, Y, verbose=0, callbacks=[gn.callbacks.LearningRateScheduler(lambda e: None)]),
            TypeError,
            "`schedule` .* must return the learning rate. Received None: is its `return` missing",
        ),
        # Looking inside.
        (
            lambda m: gn.inspect.grad_cam(m, X, layer="dense"),
            gn.errors.ShapeError,
            r"`layer` .*'dense'.*\(12, 3\)",
        ),
        (lambda m: m.report("r.html", X), ValueError, r"`y` argument is missing.*Received x alone"),
        (lambda m: m.report("r.html", y=Y), ValueError, r"`x` argument is missing.*Received y alone"),
        (lambda m: m.report("r.html", title=3), TypeError, r"`title` .* a string\. Received title=3"),
        (
            lambda m: gn.inspect.saliency(m, X, [0, 1]),
            ValueError,
            r"`target` .* one per sample, 12\. .*\(2,\)",
        ),
        (
            lambda m: m.fit(X, Y, callbacks=[gn.callbacks.TerminateOnNaN]),
            TypeError,
            r"call.*TerminateOnNaN\(",
        ),
        (lambda m: m.fit(X, Y, callbacks=[print]), TypeError, r"LambdaCallback\(on_epoch_end"),
        (lambda m: gn.plot.filters(m), TypeError, r"`kernel` .* a layer with a kernel.*<Sequential"),
    ],
)
def test_of_models(model, tmp_path, monkeypatch, call, error, message):
    pytest.importorskip("matplotlib")  # for reports
    monkeypatch.chdir(tmp_path)
    before = model.get_weights()
    with pytest.raises(error, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not list(tmp_path.iterdir())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)  # none the worse


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gn.Sequential(layers.Dense(3)), TypeError, r"`layers` .* a list of layers\. Received Dense"),
        (lambda: gn.Sequential([layers.Flatten]), TypeError, r"A class is called to make one: Flatten\("),
        (lambda: gn.Sequential(["relu"]), TypeError, r"pass layers\.Activation\('relu'\)"),
        (lambda: gn.Sequential([[layers.Flatten()]]), TypeError, "by an asterisk"),
        (lambda: layers.Conv2D(4, 3, stride=2), TypeError, r"\['stride'\]\. Did you mean 'strides'\?"),
        (lambda: layers.Conv2D(4, 3, regularizer="l2"), TypeError, r"Did you mean '\w+_regularizer'\?"),
        (lambda: layers.Conv2D(4, 3, activation="Relu"), ValueError, "Did you mean 'relu'"),
        (lambda: layers.Conv2D(4, 3, kernel_initializer="he_norml"), ValueError, "Did you mean 'he_normal'"),
        (lambda: layers.Conv2D(np.ones(2), 3), TypeError, r"`filters` .* an integer\. .*an array"),
        (lambda: layers.Dropout(np.ones(2)), TypeError, r"`rate` .* a number\. .*an array"),
        (lambda: gn.optimizers.Adam(np.ones(2)), TypeError, r"`learning_rate` .* a number\. .*an array"),
        (lambda: gn.models.tcn((16,)), ValueError, r"`input_shape` .* \(length, channels\)\. .*\(16,\)"),
        (lambda: gn.models.resnet(20, (8, 3)), ValueError, r"`input_shape` .* \(height, width, channels\)"),
        (lambda: gn.models.resnet(20, 32), TypeError, "`input_shape` .* a tuple of sizes"),
        (lambda: gn.models.vgg(11, classes=0), ValueError, "`classes` .* a positive integer"),
        (lambda: gn.models.unet(classes="a"), TypeError, "`classes` .* an integer"),
        (lambda: gn.callbacks.BackupAndRestore(3), TypeError, "`backup_dir` .* a path"),
        (lambda: gn.callbacks.CSVLogger(3), TypeError, "`filename` .* a path"),
        (lambda: gn.callbacks.TensorBoard(3), TypeError, "`log_dir` .* a path"),
        (lambda: gn.Conv2D, AttributeError, r"'Conv2D'; it is gridnn\.layers\.Conv2D"),
        (lambda: gn.utils.load_img("a.jpg", color_mode="gray"), ValueError, "Did you mean 'grayscale'"),
        (lambda: gn.data.image_folder(".", color="grey"), ValueError, "Did you mean 'gray'"),
        (lambda: gn.data.windows(X[0, 0], length=Y), TypeError, r"`length` .* an integer\. .*an array"),
    ],
)
def test_of_constructors_and_loaders(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_no_other_type_is_guessed():
    with pytest.raises(ValueError, match=r"dtype='float16'\.$"):
        gn.Sequential([layers.Flatten()], dtype="float16")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (("test", 0.2, 0), r"`split\[0\]` .*'train', 'validation'"),
        (("train", 2, 0), r"`split\[1\]` .*between 0 and 1"),
        (("train", 0.2, "a"), r"`split\[2\]` .*integer"),
        (("train", 0.2, 0), r"4 samples in 2 classes, each of which gives its own share\. Choose another"),
    ],
)
def test_of_splits(tmp_path, split, message):
    image = pytest.importorskip("PIL.Image").new("RGB", (8, 8))
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / f"{name}.png")
    with pytest.raises((TypeError, ValueError), match=message):
        gn.data.image_folder(tmp_path, split=split)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: p.images(X, columns=0), ValueError, r"`columns` .* positive integer"),
        (lambda p: p.history({"loss": [1.0]}, metric="accuracy"), ValueError, r"`metric` .* holds: loss\. "),
        (lambda p: p.history({}), ValueError, r"`metric` .* holds: none, as before training\. "),
        (lambda p: p.confusion_matrix(Y, Y[:3]), ValueError, r"`predictions` .*\(3,\) for 12 labels"),
        (lambda p: p.filters(layers.Conv2D(4, 3)), ValueError, "not built: pass a layer of a model"),
        (lambda p: p.filters(layers.MaxPooling2D(2)), ValueError, r"no kernel to show\.$"),
    ],
)
def test_of_plots(call, error, message):
    pytest.importorskip("matplotlib")
    with pytest.raises(error, match=message):
        call(gn.plot)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --data {} --out m.gridnn", r"a subfolder of images .* for each class.* of 1 files"),
        ("train --data {} --out m.gridnn --epochs x", "--epochs: expected a whole number; received 'x'"),
        (
            "train --data {} --out m.gridnn --learning-rate x",
            "--learning-rate: expected a number; received 'x'",
        ),
        ("train --data {} --out m.gridnn --validation x", "--validation: expected a number; received 'x'"),
        ("train --data {} --out m.gridnn --treads 2", r"usage: gridnn train.*Did you mean '--threads'\?"),
        ("info m.gridnn more", r"usage: gridnn info.*unrecognized arguments: more\."),
    ],
)
def test_of_the_command_line(arguments, message, tmp_path, capsys):
    (tmp_path / "1.jpg").write_bytes(b"")
    try:
        code = cli.main(arguments.format(tmp_path).split())
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    heard = " ".join(capsys.readouterr().err.split())
    assert re.search(message, heard), heard


def test_weights_of_another_model(model, tmp_path):
    other = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5)])
    other.save(tmp_path / "other.gridnn")
    with pytest.raises(ValueError, match=r"'kernel' of layer 3 .*\(144, 3\) in the model, \(144, 5\)"):
        model.load_weights(tmp_path / "other.gridnn")
