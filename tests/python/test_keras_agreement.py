"""Training steps agree with Keras on TensorFlow; skipped where that is not installed."""

import importlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import test_augmentation as augmentation

import gridnn as gn
from gridnn import layers, optimizers

STEPS = 5
BATCH = 6
CHANNELS = 2
CLASSES = 4
# Numbers that float32 holds exactly: Keras rounds them to it in either precision.
OPTIMIZERS = {
    "SGD": {"learning_rate": 2**-4},
    "momentum": {"learning_rate": 2**-4, "momentum": 0.875},
    "Nesterov": {"learning_rate": 2**-4, "momentum": 0.875, "nesterov": True},
    "Adam": {"learning_rate": 2**-7, "beta_1": 1 - 2**-3, "beta_2": 1 - 2**-10},
}
BETAS = {"beta_1": 1 - 2**-3, "beta_2": 1 - 2**-6, "epsilon": 2**-20}
MORE_OPTIMIZERS = [
    ("RMSprop", {"rho": 0.875, "momentum": 0.5, "epsilon": 2**-10, "centered": True}),
    ("Adam", {**BETAS, "amsgrad": True, "clipnorm": 2**-3}),
    ("Adam", {**BETAS, "gradient_accumulation_steps": 2, "global_clipnorm": 2**-3}),
    ("AdamW", {**BETAS, "weight_decay": 2**-2}),
    ("Adagrad", {"initial_accumulator_value": 0.25, "epsilon": 2**-20}),
    ("Adadelta", {"rho": 0.875, "epsilon": 2**-10}),
    ("Adamax", BETAS),
    ("Nadam", BETAS),
    ("Lion", {"beta_1": 0.875, "beta_2": 0.75, "weight_decay": 2**-2}),
    ("SGD", {"clipvalue": 2**-6}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2}),
    (
        "SGD",
        {
            "use_ema": True,
            "ema_momentum": 0.75,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 2,
        },
    ),
]
SPATIAL = {1: (19,), 2: (11, 9), 3: (7, 6, 8)}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whatever these two bring with them
        pytest.importorskip("tensorflow")
        keras = pytest.importorskip("keras", minversion="3")
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"Keras runs on {keras.backend.backend()}")
    yield keras
    set_precision(keras, "float32")


def set_precision(keras, dtype):
    keras.config.set_floatx(dtype)  # of arrays and optimizers
    keras.config.set_dtype_policy(dtype)  # of layers


def stack(package, rank):
    """The same layers from `gridnn.layers` or `keras.layers`."""

    def layer(name, *arguments, **options):
        return getattr(package, f"{name}{rank}D")(*arguments, **options)

    # TensorFlow has no three-dimensional pools in float64.
    pools = (
        [] if rank == 3 else [layer("MaxPooling", 2, strides=1), layer("AveragePooling", 2, padding="same")]
    )
    return [
        layer("Conv", 5, 3, activation="relu"),
        *pools[:1],
        layer("Conv", 6, 2, strides=2, padding="same", use_bias=False),
        *pools[1:],
        layer("Conv", 3, 1, activation="relu"),
        package.Flatten(),
        package.Dense(8, activation="relu"),
        package.Dense(CLASSES),
    ]


LOSSES = [
    ("BinaryCrossentropy", {"label_smoothing": 0.25}, "bits", "sigmoid"),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 1.5}, "bits", "sigmoid"),
    ("CategoricalCrossentropy", {"label_smoothing": 0.25}, "one-hot", "softmax"),
    ("CategoricalFocalCrossentropy", {"alpha": 0.5}, "one-hot", "softmax"),
    ("CategoricalHinge", {}, "one-hot", None),
    ("CosineSimilarity", {}, "values", None),
    ("Dice", {}, "one-hot", "softmax"),
    ("Dice", {"axis": (1, 2)}, "one-hot", "softmax"),
    ("Dice", {"axis": (0, 1)}, "one-hot", "softmax"),
    ("Hinge", {}, "bits", None),
    ("Huber", {"delta": 0.5}, "values", None),
    ("KLDivergence", {}, "one-hot", "softmax"),
    ("LogCosh", {}, "values", None),
    ("MeanAbsoluteError", {}, "values", None),
    ("MeanAbsolutePercentageError", {}, "values", None),
    ("MeanSquaredLogarithmicError", {}, "values", None),
    ("Poisson", {}, "bits", "softplus"),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, "labels", "softmax"),
    ("SquaredHinge", {}, "bits", None),
    ("Tversky", {"alpha": 0.25, "beta": 0.5, "axis": (1, 2)}, "one-hot", "softmax"),
]
METRICS = [
    ("AUC", {}, "bits"),
    ("AUC", {"curve": "PR", "num_thresholds": 20}, "bits"),
    ("AUC", {"summation_method": "minoring"}, "bits"),
    ("F1Score", {"average": "weighted"}, "one-hot"),
    ("OneHotMeanIoU", {"num_classes": 4}, "one-hot"),
    ("Precision", {}, "bits"),
    ("Precision", {"top_k": 2, "class_id": 1}, "one-hot"),
    ("Recall", {"thresholds": 0.25}, "bits"),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, "values"),
    ("RootMeanSquaredError", {}, "values"),
    ("TopKCategoricalAccuracy", {"k": 2}, "one-hot"),
    ("CosineSimilarity", {}, "values"),
    ("LogCoshError", {}, "values"),
    ("CategoricalHinge", {}, "one-hot"),
]


def targets(kind, rng, shape):
    labels = rng.integers(0, shape[-1], size=shape[:-1])
    return {
        "labels": labels,
        "one-hot": np.eye(shape[-1])[labels],
        "bits": rng.integers(0, 2, size=shape).astype(float),
        "values": rng.normal(size=shape),
    }[kind]


def data(rank):
    rng = np.random.default_rng(rank)
    x = rng.normal(size=(STEPS, BATCH, *SPATIAL[rank], CHANNELS))
    return x, rng.integers(0, CLASSES, (STEPS, BATCH))


def optimizer(package, name):
    return (package.Adam if name == "Adam" else package.SGD)(**OPTIMIZERS[name])


def train(model, rank, dtype):
    """Losses and final weights, as float64; the first weights are those of a float32 model."""
    x, y = data(rank)
    model.set_weights(
        gn.Sequential([gn.Input((*SPATIAL[rank], CHANNELS)), *stack(layers, rank)], seed=3).get_weights()
    )
    x = x.astype(dtype)
    losses = [float(np.asarray(model.train_on_batch(*batch))) for batch in zip(x, y, strict=True)]
    return [np.array(losses), *(weight.astype(np.float64) for weight in model.get_weights())]


def train_gridnn(rank, name, dtype):
    model = gn.Sequential([gn.Input((*SPATIAL[rank], CHANNELS)), *stack(layers, rank)], dtype=dtype)
    model.compile(optimizer(optimizers, name), "sparse_categorical_crossentropy")
    return train(model, rank, dtype)


def train_keras(keras, rank, name, dtype):
    set_precision(keras, dtype)
    model = keras.Sequential([keras.Input((*SPATIAL[rank], CHANNELS)), *stack(keras.layers, rank)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(keras.optimizers, name), loss, run_eagerly=True)
    return train(model, rank, dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("rank", SPATIAL)
def test_steps_agree(keras, rank, name):
    theirs = {dtype: train_keras(keras, rank, name, dtype) for dtype in ("float32", "float64")}
    ours = {dtype: train_gridnn(rank, name, dtype) for dtype in ("float32", "float64")}
    for index, exact in enumerate(theirs["float64"]):
        scale = np.abs(exact).max()
        np.testing.assert_allclose(ours["float64"][index], exact, rtol=0, atol=1e-10 * scale)
        # What rounding does to these steps in float32 is what it does to Keras'; orders of summation differ.
        rounding = max(np.abs(theirs["float32"][index] - exact).max(), np.finfo(np.float32).eps * scale)
        np.testing.assert_allclose(ours["float32"][index], exact, rtol=0, atol=8 * rounding)


@pytest.mark.parametrize(("name", "options"), MORE_OPTIMIZERS, ids=[f"{n}{o}" for n, o in MORE_OPTIMIZERS])
def test_rules_agree(keras, name, options):
    """Every rule on a dense layer in float64, where Keras' own constants are float64 as well."""
    set_precision(keras, "float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(STEPS, BATCH, 5)), rng.normal(size=(STEPS, BATCH, 3))
    start = [rng.normal(size=(5, 3)), rng.normal(size=3)]
    results = []
    for package, model in (
        (gn.optimizers, gn.Sequential([gn.Input((5,)), layers.Dense(3)], dtype="float64")),
        (keras.optimizers, keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])),
    ):
        rule = getattr(package, name)(learning_rate=2**-5, **options)
        model.compile(rule, "mse", **({} if package is gn.optimizers else {"run_eagerly": True}))
        model.set_weights(start)
        for batch in zip(x, y, strict=True):
            model.train_on_batch(*batch)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_schedules_agree(keras):
    set_precision(keras, "float64")
    for name, arguments in (
        ("ExponentialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "decay_rate": 0.5}),
        ("PiecewiseConstantDecay", {"boundaries": [3, 9], "values": [1.0, 0.5, 0.25]}),
        (
            "PolynomialDecay",
            {"initial_learning_rate": 0.5, "decay_steps": 7, "power": 2.0, "cycle": True},
        ),
        ("InverseTimeDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "decay_rate": 0.5}),
        (
            "CosineDecay",
            {"initial_learning_rate": 0.25, "decay_steps": 9, "warmup_target": 0.5, "warmup_steps": 4},
        ),
        ("CosineDecayRestarts", {"initial_learning_rate": 0.5, "first_decay_steps": 4, "m_mul": 0.5}),
    ):
        ours = getattr(gn.schedules, name)(**arguments)
        theirs = getattr(keras.optimizers.schedules, name)(**arguments)
        for step in range(30):
            # Where Keras finds the period by a logarithm it may be off by one at its very start.
            if name != "CosineDecayRestarts" or step not in (4, 12, 28):
                assert ours(step) == pytest.approx(float(theirs(step)), rel=1e-5), (name, step)


@pytest.mark.parametrize(("name", "options", "kind", "top"), LOSSES, ids=[f"{c[0]}{c[1]}" for c in LOSSES])
def test_losses_agree(keras, name, options, kind, top):
    """Value and one step down the gradient, in float64, with sample weights."""
    set_precision(keras, "float64")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(BATCH, 3, 5)), targets(kind, rng, (BATCH, 3, 4))
    weights = rng.uniform(0.5, 2, size=BATCH)
    if name == "Dice" and 0 in options.get("axis", ()):
        weights = None  # Keras broadcasts them against the channels
    start = [rng.normal(size=(5, 4)), rng.normal(size=4)]
    results = []
    for package, model in (
        (gn, gn.Sequential([gn.Input((3, 5)), layers.Dense(4, activation=top)], dtype="float64")),
        (keras, keras.Sequential([keras.Input((3, 5)), keras.layers.Dense(4, activation=top)])),
    ):
        loss = getattr(package.losses, name)(**options)
        if package is keras and top in ("softmax", "sigmoid"):
            # From probabilities: Keras on TensorFlow goes back to the logits where it finds them.
            model.add(keras.layers.Lambda(lambda p: p * 1.0))
        model.compile(package.optimizers.SGD(2**-3), loss, **({} if package is gn else {"run_eagerly": True}))
        model.set_weights(start)
        weight = weights
        if package is keras and weights is not None and name not in ("Dice", "Tversky"):
            weight = weights[:, np.newaxis]  # where Keras does not broadcast one weight per sample
        value = model.train_on_batch(x, y, sample_weight=weight)
        results.append([np.asarray(value), *model.get_weights()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "options", "kind"), METRICS, ids=[f"{c[0]}{c[1]}" for c in METRICS])
def test_metrics_agree(keras, name, options, kind):
    set_precision(keras, "float32")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 5)).astype(np.float32), targets(kind, rng, (50, 4)).astype(np.float32)
    model = gn.Sequential([gn.Input((5,)), layers.Dense(4, activation="softmax")], seed=0)
    model.compile("sgd", "mse", metrics=[getattr(gn.metrics, name)(**options)])
    ours = model.evaluate(x, y, batch_size=7, verbose=0)[1]
    metric = getattr(keras.metrics, name)(**options)
    metric.update_state(y, model.predict(x))
    assert ours == pytest.approx(float(np.asarray(metric.result())), rel=1e-5)


def test_string_ids_agree(keras):
    """Every id of Keras for our classes is one of ours, and means the class of the same name."""
    from keras.src import losses as keras_losses

    ours = {cls.__name__: cls for cls in gn.losses.REGISTRY.classes()}
    for name, value in keras_losses.ALL_OBJECTS_DICT.items():
        named = value.__name__.replace("_", "").lower()
        cls = next((cls for key, cls in ours.items() if key.lower() == named), None)
        if cls is not None:
            assert type(gn.losses.get(name)) is cls, name
    for kind in ("metrics", "initializers", "regularizers", "constraints"):
        theirs = importlib.import_module(f"keras.src.{kind}").ALL_OBJECTS_DICT
        registry = getattr(gn, kind).REGISTRY
        own = {cls.__name__: cls for cls in registry.classes()}
        for name, cls in theirs.items():
            if cls.__name__ in own:
                assert registry._class(name) is own[cls.__name__], name
    for cls in gn.optimizers.REGISTRY.classes():
        assert type(keras.optimizers.get(cls.__name__.lower())).__name__ == cls.__name__


@pytest.mark.parametrize(
    "fill_mode", ["constant", "reflect", "nearest"]
)  # for "wrap" see the list of differences
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("name", augmentation.MAPS)
def test_augmentations_agree(keras, name, interpolation, fill_mode):
    """Ranges of no width leave nothing to chance. For "wrap" see docs/differences-from-keras.md."""
    cls, options = augmentation.MAPS[name]
    more = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.5}
    x = np.random.default_rng(3).normal(size=(3, 9, 8, 2)).astype(np.float32)
    theirs = np.asarray(getattr(keras.layers, cls.__name__)(**options, **more)(x, training=True))
    model = gn.Sequential([gn.Input(x.shape[1:]), cls(**options, **more)])
    np.testing.assert_allclose(model(x, training=True), theirs, atol=1e-4)


@pytest.mark.parametrize("shift", [0.4, 2.5, -2.3, 5, -5.75])
def test_what_wrap_is_on_tensorflow(keras, shift):
    """The reason in docs/differences-from-keras.md: periods of n - 1 are counted, and n is moved by."""
    x = np.arange(1.0, 7.0, dtype=np.float32)
    n = len(x)

    def place(at):
        if at < 0:
            at += n * (int(-at / (n - 1)) + 1)
        elif at > n - 1:
            at -= n * int(at / (n - 1))
        return min(max(at, 0), n - 1)

    places = [place(i - shift) for i in range(n)]
    map_ = np.array([[1, 0, -shift, 0, 1, 0, 0, 0]], np.float32)
    theirs = keras.ops.image.affine_transform(x.reshape(1, 1, n, 1), map_, fill_mode="wrap")
    np.testing.assert_allclose(np.ravel(theirs), np.interp(places, range(n), x), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("UpSampling2D", {"size": (2, 3), "interpolation": "bilinear"}, (5, 4, 2)),
        ("UpSampling2D", {"size": 4, "interpolation": "bilinear"}, (3, 6, 1)),
        ("UpSampling2D", {"size": (3, 1), "interpolation": "nearest"}, (5, 4, 2)),
        ("UpSampling3D", {"size": (1, 2, 3)}, (3, 4, 2, 2)),
        ("AdaptiveAveragePooling1D", {"output_size": 4}, (10, 3)),
        ("AdaptiveAveragePooling2D", {"output_size": (3, 5)}, (7, 9, 2)),
        ("AdaptiveAveragePooling3D", {"output_size": (2, 3, 2)}, (5, 4, 3, 2)),
        ("AdaptiveMaxPooling1D", {"output_size": 4}, (10, 3)),
        ("AdaptiveMaxPooling2D", {"output_size": (3, 5)}, (7, 9, 2)),
        ("AdaptiveMaxPooling3D", {"output_size": (2, 3, 2)}, (5, 4, 3, 2)),
        ("Normalization", {"mean": [1.0, -1.0], "variance": [2.0, 0.5], "invert": True}, (3, 2)),
    ],
)
def test_outputs_agree(keras, name, options, shape):
    x = np.random.default_rng(3).normal(size=(3, *shape)).astype(np.float32)
    theirs = np.asarray(getattr(keras.layers, name)(**options)(x))
    model = gn.Sequential([gn.Input(shape), getattr(layers, name)(**options)])
    np.testing.assert_allclose(model.predict(x), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_regularizers_agree(keras, mode):
    x, y = np.random.default_rng(3).normal(size=(2, 6, 5)).astype(np.float32)
    models = []
    for library in (gn, keras):
        penalty = library.regularizers.OrthogonalRegularizer(0.7, mode)
        layer = library.layers.Dense(5, kernel_regularizer=penalty)
        models.append(library.Sequential([library.Input((5,)), layer]))
        models[-1].set_weights(models[0].get_weights())
        models[-1].compile(library.optimizers.SGD(0.1), "mse")
    for _ in range(STEPS):
        ours, theirs = (model.train_on_batch(x, y) for model in models)
        assert ours == pytest.approx(float(np.asarray(theirs).ravel()[0]), rel=1e-4)
        for own, other in zip(*(model.get_weights() for model in models), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)


def test_activity_regularizers_agree(keras):
    x, y = np.random.default_rng(3).normal(size=(2, 6, 3)).astype(np.float32)
    ours = gn.Sequential(
        [gn.Input((3,)), layers.Dense(3, activity_regularizer=gn.regularizers.L1L2(0.1, 0.2))]
    )
    penalty = keras.regularizers.L1L2(0.1, 0.2)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activity_regularizer=penalty)])
    theirs.set_weights(ours.get_weights())
    for model in (ours, theirs):
        model.compile("sgd", "mse")
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(theirs.evaluate(x, y, verbose=0), rel=1e-5)
    for model in (ours, theirs):
        model.train_on_batch(x, y)
    for own, want in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, want, rtol=1e-5, atol=1e-6)


def residual_net(package, rank):
    """Layers by name, in the order of the weights of gridnn's model."""

    def conv(filters, size, **options):
        return getattr(package, f"Conv{rank}D")(filters, size, padding="same", **options)

    return {
        "stem": conv(4, 3),
        "norm": package.BatchNormalization(momentum=0.75),
        "first": conv(6, 3, use_bias=False),
        "norm_1": package.BatchNormalization(momentum=0.5),
        "second": conv(6, 3),
        "norm_2": package.BatchNormalization(scale=False),
        "shortcut": conv(6, 1),
        "left": conv(2, 1),
        "right": conv(3, 3, activation="tanh"),
        "pool": getattr(package, f"GlobalAveragePooling{rank}D")(),
        "dense": package.Dense(CLASSES),
    }


def residual_gridnn(rank, dtype):
    own = residual_net(layers, rank)
    main = [own["first"], own["norm_1"], layers.ReLU(), own["second"], own["norm_2"]]
    stack = [
        *(own["stem"], own["norm"], layers.ReLU()),
        *(layers.Residual(main, [own["shortcut"]]), layers.ReLU()),
        *(layers.Parallel([[own["left"]], [], [own["right"]]]), own["pool"], own["dense"]),
    ]
    return gn.Sequential([gn.Input((*SPATIAL[rank], CHANNELS)), *stack], dtype=dtype, seed=4), own


def residual_keras(keras, rank):
    own, relu = residual_net(keras.layers, rank), keras.ops.relu
    inputs = keras.Input((*SPATIAL[rank], CHANNELS))
    x = relu(own["norm"](own["stem"](inputs)))
    main = own["norm_2"](own["second"](relu(own["norm_1"](own["first"](x)))))
    x = relu(keras.layers.Add()([main, own["shortcut"](x)]))
    x = keras.layers.Concatenate()([own["left"](x), x, own["right"](x)])
    return keras.Model(inputs, own["dense"](own["pool"](x))), own


def steps_of_residual(model, own, start, rank, dtype):
    """Losses, predictions and final weights as float64."""
    for name, weights in start.items():
        own[name].set_weights(weights)
    x, y = data(rank)
    x = x.astype(dtype)
    losses = [float(np.asarray(model.train_on_batch(*batch))) for batch in zip(x, y, strict=True)]
    weights = [w.astype(np.float64) for layer in own.values() for w in layer.get_weights()]
    return [np.array(losses), np.asarray(model.predict_on_batch(x[0]), np.float64), *weights]


@pytest.mark.parametrize("rank", SPATIAL)
def test_residual_steps_agree(keras, rank):
    model, own = residual_gridnn(rank, "float32")
    start = {name: layer.get_weights() for name, layer in own.items()}
    ours, theirs = {}, {}
    for dtype in ("float32", "float64"):
        model, own = residual_gridnn(rank, dtype)
        model.compile(optimizer(optimizers, "momentum"), "sparse_categorical_crossentropy")
        ours[dtype] = steps_of_residual(model, own, start, rank, dtype)
        set_precision(keras, dtype)
        model, own = residual_keras(keras, rank)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer(keras.optimizers, "momentum"), loss, run_eagerly=True)
        theirs[dtype] = steps_of_residual(model, own, start, rank, dtype)
    for index, exact in enumerate(theirs["float64"]):
        # The gradient of a bias in front of a normalisation is 0: what is left of it is rounding.
        scale = max(np.abs(exact).max(), 0.01)
        np.testing.assert_allclose(ours["float64"][index], exact, rtol=0, atol=1e-9 * scale)
        rounding = max(np.abs(theirs["float32"][index] - exact).max(), np.finfo(np.float32).eps * scale)
        np.testing.assert_allclose(ours["float32"][index], exact, rtol=0, atol=8 * rounding)


@pytest.mark.parametrize("name", ["fashion_mnist", "hippocampus", "land_use", "raw_audio"])
def test_twins_of_the_examples(keras, name, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benches" / "python"))
    import examples
    import keras_twin

    set_precision(keras, "float32")
    script = examples.script_of(name)
    model = script.network()
    rng = np.random.default_rng(0)
    # Weights and statistics that are not the first ones, so that none can be mistaken for another.
    model.set_weights(
        [w * rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) + 0.01 for w in model.get_weights()]
    )
    twin = keras_twin.model(keras, model)
    x = rng.uniform(0, 1 if name == "raw_audio" else 255, (2, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(twin(x, training=False))
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-5 * np.abs(expected).max())

    own = script.optimizer(100)
    rate = keras_twin.optimizer(keras, own)._learning_rate
    np.testing.assert_allclose(
        [float(rate(i)) for i in (0, 7, 60)], [own.rate(i) for i in (0, 7, 60)], rtol=1e-5
    )
