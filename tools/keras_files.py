"""Files that Keras writes, for the tests; and whether Keras opens files that gridnn has written.

It runs in an environment of its own, which needs nothing of gridnn:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" tensorflow-cpu h5py
    keras-env/bin/python tools/keras_files.py make tests/python/interop/keras.zip
    keras-env/bin/python tools/keras_files.py check FOLDER

`make` writes each model in all ways that Keras has, with an input and its output, into one archive: HDF5
files are mostly empty, and small once they are compressed. `check` opens every ``NAME.keras`` of a folder,
and compares its output for ``NAME.x`` of ``expected.npz`` with ``NAME.y``.
"""

import importlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
keras: Any = importlib.import_module("keras")
h5py: Any = importlib.import_module("h5py")
legacy: Any = importlib.import_module("keras.src.legacy.saving.legacy_h5_format")
L = keras.layers

MODELS: dict[str, Callable[[], Any]] = {}


def model(make: Callable[[], Any]) -> Callable[[], Any]:
    """Adds a model under the name of its function."""
    MODELS[make.__name__] = make
    return make


def sequential(shape: tuple[int | None, ...], *layers: Any, **options: Any) -> Any:
    """A model of an input and layers."""
    return keras.Sequential([keras.Input(shape, **options), *layers])


@model
def convnet() -> Any:
    """What the first chapter of every book has."""
    return sequential(
        (8, 8, 1),
        *[
            L.Conv2D(4, 3, activation="relu"),
            L.MaxPooling2D(2, padding="same"),
            L.Conv2D(5, 2, use_bias=False),
        ],
        *[L.Flatten(), L.Dropout(0.5), L.Dense(6, activation="softmax")],
    )


@model
def batch_norms() -> Any:
    """All that batch normalization may be without."""
    return sequential(
        (6, 7, 3),
        *[L.Conv2D(4, 3, strides=2, padding="same"), L.BatchNormalization()],
        *[L.BatchNormalization(scale=False, epsilon=1e-4), L.BatchNormalization(center=False, momentum=0.5)],
        *[
            L.BatchNormalization(scale=False, center=False),
            L.Activation("tanh"),
            L.BatchNormalization(axis=1),
        ],
    )


@model
def series() -> Any:
    """One axis."""
    return sequential(
        (20, 2),
        *[L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="silu"), L.ZeroPadding1D((1, 2))],
        *[
            L.SeparableConv1D(5, 3, depth_multiplier=2, padding="same"),
            L.AveragePooling1D(3, 2, padding="same"),
        ],
        *[
            L.DepthwiseConv1D(3, depth_multiplier=2, activation="elu"),
            L.Cropping1D((1, 0)),
            L.UpSampling1D(2),
        ],
        *[L.Conv1DTranspose(3, 3, strides=2), L.SpatialDropout1D(0.2), L.GlobalMaxPooling1D()],
    )


@model
def volumes() -> Any:
    """Three axes."""
    return sequential(
        (5, 6, 4, 2),
        *[L.Conv3D(3, (1, 3, 2), activation="selu"), L.MaxPooling3D((1, 2, 1)), L.SpatialDropout3D(0.2)],
        *[
            L.ZeroPadding3D(((1, 0), (0, 1), (2, 0))),
            L.Conv3DTranspose(2, 2, padding="same", strides=(1, 2, 1)),
        ],
        *[
            L.Cropping3D(1),
            L.UpSampling3D((1, 2, 1)),
            L.AveragePooling3D(2, 1),
            L.GlobalAveragePooling3D(keepdims=True),
        ],
    )


@model
def depthwise() -> Any:
    """Depthwise, separable and grouped convolutions."""
    return sequential(
        (9, 8, 4),
        *[L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu6")],
        *[L.SeparableConv2D(6, (3, 2), strides=2, padding="same", activation="gelu")],
        *[L.DepthwiseConv2D(2, strides=2, use_bias=False), L.SeparableConv2D(3, 1, use_bias=False)],
    )


@model
def transposed() -> Any:
    """Transposed convolutions with kernels shorter and longer than their steps."""
    return sequential(
        (5, 4, 2),
        *[L.Conv2DTranspose(3, 2, strides=3), L.Conv2DTranspose(4, 3, strides=2, padding="same")],
        *[L.Conv2DTranspose(2, (4, 3), strides=2, padding="same", output_padding=1, activation="sigmoid")],
    )


@model
def activations() -> Any:
    """Activations with options, and names of all others."""
    names = ["elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "log_softmax", "mish"]
    names += ["relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"]
    layers = [L.PReLU(shared_axes=[1, 2]), L.LeakyReLU(negative_slope=0.15), L.ELU(alpha=0.7)]
    layers += [L.ReLU(max_value=3.0, negative_slope=0.2, threshold=0.1), L.PReLU(), L.Softmax(axis=1)]
    for name in names:
        layers += [L.Activation(name), L.Rescaling(1.3, offset=-0.1)]
    return sequential((3, 4, 5), *layers, L.Dense(2, activation=keras.activations.softsign))


@model
def normalizations() -> Any:
    """Everything that normalizes, with numbers found in data and with numbers given."""
    adapted = L.Normalization()
    adapted.adapt(np.random.default_rng(5).normal(2.0, 3.0, (50, 4, 4, 6)).astype(np.float32))
    other = L.Normalization(axis=(1, 3))
    other.adapt(np.random.default_rng(6).normal(0.5, 0.7, (50, 4, 4, 6)).astype(np.float32))
    return sequential(
        (4, 4, 6),
        *[adapted, other, L.Normalization(mean=0.5, variance=2.0), L.LayerNormalization(axis=(1, 2, 3))],
        *[L.LayerNormalization(scale=False, epsilon=1e-5), L.GroupNormalization(3), L.GroupNormalization(-1)],
    )


@model
def augmented() -> Any:
    """Layers that act in training only."""
    return sequential(
        (7, 6, 3),
        *[L.RandomFlip("horizontal", seed=3), L.RandomRotation(0.1), L.RandomZoom((-0.2, 0.1))],
        *[L.RandomTranslation(0.1, (0.0, 0.2), fill_mode="constant"), L.GaussianNoise(0.1)],
        *[
            L.Conv2D(2, 3),
            L.GaussianDropout(0.2),
            L.SpatialDropout2D(0.3),
            L.Dropout(0.1, noise_shape=(None, 1, 1, 2)),
        ],
        L.ActivityRegularization(l1=0.1),
    )


@model
def nested() -> Any:
    """Models within models, twice the same classes."""
    block = [
        sequential((6, 6, n), L.Conv2D(3, 3, padding="same"), L.BatchNormalization(), L.ReLU())
        for n in (2, 3)
    ]
    block[1].layers[0].trainable = False
    inner = keras.Sequential([block[0], L.Conv2D(3, 1), block[1]], name="backbone")
    return sequential((6, 6, 2), inner, L.GlobalAveragePooling2D(), L.Dense(3))


@model
def residual() -> Any:
    """Sums, one of them with a layer in the other branch."""
    source = keras.Input((6, 6, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="z_first")(source)
    y = L.Conv2D(4, 3, padding="same", activation="relu", name="a_second")(x)
    x = L.Add()([L.Conv2D(4, 3, padding="same", name="m_third")(y), x])
    y = L.BatchNormalization()(L.Conv2D(5, 3, strides=2, padding="same", use_bias=False)(L.ReLU()(x)))
    x = L.Add(name="sum")([L.Conv2D(5, 1, strides=2)(x), y])
    return keras.Model(source, L.Dense(2)(L.GlobalMaxPooling2D()(x)), name="res")


@model
def inception() -> Any:
    """Branches of several lengths, joined; one passes on its input."""
    source = keras.Input((6, 5, 3))
    branches = [
        L.Conv2D(4, 1, activation="relu")(source),
        L.Conv2D(4, 3, padding="same")(L.Conv2D(4, 1, activation="relu")(source)),
        L.Conv2D(4, 3, padding="same")(L.Conv2D(4, 3, padding="same")(L.Conv2D(4, 1)(source))),
        L.Conv2D(4, 1)(L.MaxPooling2D(3, 1, padding="same")(source)),
        source,
    ]
    x = L.Concatenate()(branches)
    x = L.Average()([L.Conv2D(4, 1)(x), L.Conv2D(4, 1)(x), L.Conv2D(4, 1)(x)])
    x = L.Multiply()([x, L.Conv2D(4, 1, activation="sigmoid")(x)])
    return keras.Model(source, L.Maximum()([x, L.Conv2D(4, 1)(x)]))


@model
def unet() -> Any:
    """Skips within skips."""
    source = keras.Input((8, 8, 1))
    first = L.Conv2D(3, 3, padding="same", activation="relu")(source)
    second = L.Conv2D(3, 3, padding="same", activation="relu")(L.MaxPooling2D(2)(first))
    bottom = L.Conv2D(3, 3, padding="same", activation="relu")(L.MaxPooling2D(2)(second))
    x = L.Concatenate(axis=3)([second, L.Conv2DTranspose(3, 2, strides=2)(bottom)])
    x = L.Concatenate()(
        [first, L.UpSampling2D(2, interpolation="bilinear")(L.Conv2D(3, 3, padding="same")(x))]
    )
    return keras.Model(source, L.Conv2D(2, 1)(x))


@model
def transfer() -> Any:
    """A functional model, frozen, within a sequential one."""
    source = keras.Input((5, 5, 2))
    x = L.Conv2D(3, 3, padding="same")(source)
    x = L.Concatenate()([L.Conv2D(3, 3, padding="same")(x), L.BatchNormalization()(x)])
    base = keras.Model(source, L.Conv2D(3, 1)(x), name="base")
    base.trainable = False
    return sequential((5, 5, 2), base, L.Flatten(), L.Dense(2, activation="sigmoid"))


@model
def options() -> Any:
    """Initializers, penalties and constraints, which an inference does not need."""
    initializers, constraint = keras.initializers, keras.constraints.MaxNorm(2.0)
    both = keras.regularizers.L1L2(0.1, 0.2)
    return sequential(
        (7,),
        L.Dense(6, "relu", kernel_initializer="he_normal", kernel_regularizer=both),
        L.Dense(5, kernel_initializer=initializers.Orthogonal(2.0), kernel_constraint=constraint),
        L.Dense(4, kernel_initializer=initializers.VarianceScaling(0.5), activity_regularizer="l1"),
        L.Dense(3, kernel_initializer=initializers.Constant(0.5), name="scores", trainable=False),
    )


@model
def borders() -> Any:
    """Layers that make the grid larger or smaller."""
    return sequential(
        (5, 6, 2),
        *[L.ZeroPadding2D(((1, 2), (0, 3))), L.Cropping2D(((0, 1), (2, 0))), L.UpSampling2D((2, 1))],
        *[L.UpSampling2D(2, interpolation="bilinear"), L.AveragePooling2D(3, 2, padding="same")],
        *[L.Conv2D(2, 3, dilation_rate=2), L.AdaptiveAveragePooling2D((3, 2)), L.AdaptiveMaxPooling2D(2)],
    )


@model
def arranged() -> Any:
    """Layers that change the order of values."""
    return sequential(
        (4, 3),
        *[L.Permute((2, 1)), L.Reshape((2, -1)), L.Dense(5), L.Identity(), L.Flatten(), L.RepeatVector(3)],
        *[L.Reshape((3, 5, 2)), L.Conv2D(2, 2)],
    )


@model
def doubles() -> Any:
    """A model in float64."""
    kind = {"dtype": "float64"}
    stack = [L.Conv2D(3, 2, **kind), L.BatchNormalization(**kind), L.Flatten(**kind), L.Dense(2, **kind)]
    return sequential((5, 4, 1), *stack, **kind)


@model
def mixed() -> Any:
    """Computes in float16, and keeps weights in float32."""
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    return sequential(
        (5, 4, 1), L.Conv2D(3, 2, dtype=policy), L.Flatten(dtype=policy), L.Dense(2, dtype=policy)
    )


@model
def brain_floats() -> Any:
    """Weights in bfloat16."""
    return sequential((5, 4, 1), L.Conv2D(3, 2, dtype="bfloat16"), L.Flatten(), L.Dense(2, dtype="bfloat16"))


@model
def operations() -> Any:
    """A sum that is written as one."""
    source = keras.Input((4, 4, 2))
    x = L.Conv2D(2, 3, padding="same")(source)
    return keras.Model(source, L.Conv2D(1, 1)(x + L.ReLU()(x)))


@model
def unknown_sizes() -> Any:
    """Series and images of any size."""
    return sequential(
        (None, None, 2),
        L.Conv2D(3, 3, padding="same", activation="relu"),
        L.GlobalAveragePooling2D(),
        L.Dense(2),
    )


@model
def late() -> Any:
    """No input layer: built by its first data; and trained, so that there is an optimizer to leave alone."""
    made = keras.Sequential([L.Conv1D(3, 2), L.Flatten(), L.Dense(2)])
    made.compile("adam", "mse")
    made.fit(np.ones((4, 6, 2)), np.zeros((4, 2)), verbose=0)
    return made


@model
def many() -> Any:
    """More layers of one class than there are digits."""
    return sequential((6,), *[L.Dense(6, activation="tanh") for _ in range(12)])


def randomized(net: Any, seed: int) -> None:
    """Gives a model weights none of which is 0 or 1; variances stay positive."""
    rng = np.random.default_rng(seed)
    for variable in net.weights:
        if "normalization" in variable.path and variable.name in ("mean", "variance", "count"):
            continue  # of `adapt`
        size = variable.shape[-2] if len(variable.shape) > 1 else 1
        spread = rng.uniform(-1.0, 1.0, variable.shape) / np.sqrt(max(size, 1))
        variable.assign(
            0.6 + np.abs(spread) if "var" in variable.name or variable.name == "gamma" else spread
        )


def make(path: Path) -> None:
    """Writes the archive."""
    expected: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, build) in enumerate(MODELS.items()):
            keras.backend.clear_session()
            keras.utils.set_random_seed(number)
            net = build()
            randomized(net, number)
            rng = np.random.default_rng(number)
            shape = [5 if size is None else size for size in net.input_shape[1:]]
            x = rng.normal(size=(2, *shape)).astype("float64" if name == "doubles" else "float32")
            start = str(Path(folder, name))
            net.save(f"{start}.keras")
            net.save(f"{start}.h5")
            net.save_weights(f"{start}.weights.h5")
            with h5py.File(f"{start}.old.h5", "w") as file:
                legacy.save_weights_to_hdf5_group(file, net)
            twin = net
            if name in ("mixed", "brain_floats"):  # exactly what the weights say
                twin = keras.models.clone_model(net, clone_function=in_float32)
                twin.set_weights([np.asarray(weight, np.float32) for weight in net.get_weights()])
            expected |= {f"{name}.x": x, f"{name}.y": np.asarray(twin(x, training=False))}
        buffer = io.BytesIO()
        np.savez(buffer, **expected)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in sorted(Path(folder).iterdir()):
                archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes(), zipfile.ZIP_DEFLATED, 9)
            archive.writestr(zipfile.ZipInfo("expected.npz"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def in_float32(layer: Any) -> Any:
    """A copy of a layer that computes in float32."""
    return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})


def check(folder: Path) -> None:
    """Opens files of gridnn and compares outputs; exits with what differs."""
    with np.load(folder / "expected.npz", allow_pickle=False) as arrays:
        expected = dict(arrays)
    problems = {file.stem: difference(file, expected) for file in sorted(folder.glob("*.keras"))}
    wrong = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    print(f"{len(problems) - len(wrong)} of {len(problems)} files agree")
    if wrong or {name.partition(".")[0] for name in expected} != set(problems):
        sys.exit("\n".join(wrong))


def difference(file: Path, expected: dict[str, Any]) -> str | None:
    """What is wrong with a file; None if Keras opens it, and its outputs are as expected."""
    try:
        net = keras.models.load_model(file)
        x, y = (
            [expected[key] for key in sorted(expected) if key.startswith(f"{file.stem}.{letter}")]
            for letter in "xy"
        )
        if not isinstance(net, keras.Sequential) and isinstance(net.input, dict):
            x = [dict(zip(net.input, x, strict=True))]
        found = net(x if len(x) > 1 else x[0], training=False)
        found = list(found.values()) if isinstance(found, dict) else found
        for own, theirs in zip(y, found if isinstance(found, list) else [found], strict=True):
            np.testing.assert_allclose(np.asarray(theirs), own, rtol=1e-5, atol=1e-5)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:2000]}"
    return None


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
