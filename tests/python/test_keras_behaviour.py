"""What Keras' own tests have found otherwise here (tests/python/keras_tests), and is now the same."""

import json
import operator
import pickle

import numpy as np
import pytest

import gridnn as gn
from gridnn import constraints, layers, losses, metrics, regularizers
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier

RNG = np.random.default_rng(0)


def layouts(array):
    """The same numbers as arrays lie in memory: by columns, with gaps, reversed, of another machine."""
    wide = np.zeros(tuple(2 * size for size in array.shape), array.dtype)
    every_second = (slice(None, None, 2),) * array.ndim
    wide[every_second] = array
    return {
        "columns": np.asfortranarray(array),
        "gaps": wide[every_second],
        "reversed": array[::-1].copy()[::-1],
        "swapped": array.astype(array.dtype.newbyteorder(">")),
    }


ARRAY_FUNCTIONS = [
    constraints.NonNeg(),
    constraints.MaxNorm(1.0),
    constraints.UnitNorm(axis=(0, 1)),
    constraints.MinMaxNorm(0.1, 0.2),
    regularizers.L1(0.1),
    regularizers.L2(0.1),
    regularizers.OrthogonalRegularizer(0.1),
    gn.activations.softmax,
    gn.activations.tanh,
    layers.Rescaling(2.0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["columns", "gaps", "reversed", "swapped"])
@pytest.mark.parametrize(
    "function", ARRAY_FUNCTIONS, ids=lambda function: getattr(function, "__name__", repr(function))
)
def test_layouts_of_arrays_change_nothing(function, layout, dtype):
    x = RNG.normal(size=(4, 6)).astype(dtype)
    np.testing.assert_array_equal(function(layouts(x)[layout]), function(x))


@pytest.mark.parametrize("layout", ["columns", "gaps", "reversed", "swapped"])
def test_layouts_of_targets_and_outputs_change_nothing(layout):
    y, wanted = RNG.random((4, 6)), (RNG.random((4, 6)) > 0.5) * 1.0
    for of in (losses.MeanSquaredError(), losses.BinaryCrossentropy(), metrics.R2Score()):
        assert of(layouts(wanted)[layout], layouts(y)[layout]) == of(wanted, y), of


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (lambda a, b: a + b, operator.add),
        (lambda a, b: a - b, operator.sub),
        (lambda a, b: a * b, operator.mul),
        (lambda a, b: a * 2 + b, lambda a, b: a * 2 + b),
        (lambda a, b: 1 - a + b / 4, lambda a, b: 1 - a + b / 4),
        (lambda a, b: np.float64(3) * a + (-b) - 0.5, lambda a, b: 3 * a - b - 0.5),
    ],
)
def test_arithmetic_of_symbolic_tensors(made, wanted):
    a, b = gn.Input((3,)), gn.Input((3,))
    x, y = RNG.normal(size=(2, 5, 3))
    np.testing.assert_allclose(gn.Model([a, b], made(a, b))([x, y]), wanted(x, y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", ["2", None, [1.0, 2.0, 3.0], np.ones(3), True])
def test_other_arithmetic_is_refused(other):
    with pytest.raises(TypeError, match=r"symbolic tensor|unsupported operand"):
        _ = gn.Input((3,)) * other


def test_batch_sizes_are_passed_on_and_checked():
    x = gn.Input((4,), batch_size=2)
    assert layers.Dense(3)(x).shape == (2, 3)
    assert gn.Sequential([layers.Dense(3)])(x).shape == (2, 3)
    assert gn.Input(batch_shape=(5, 8, 1)).shape == (5, 8, 1)
    with pytest.raises(ShapeError, match=r"layer 'add' \(Add\).*number of samples.*\(2, 4\), \(3, 4\)"):
        layers.Add()([x, gn.Input((4,), batch_size=3)])
    with pytest.raises(ValueError, match="batch_shape"):
        gn.Input((4,), batch_shape=(2, 4))


def test_layers_are_built_by_a_shape():
    layer = layers.Conv2D(4, 3)
    layer.build((None, None, None, 2))
    assert layer.built
    assert layer.kernel.shape == (3, 3, 2, 4)
    kernel = layer.kernel
    layer.build((None, 8, 8, 2))
    np.testing.assert_array_equal(layer.kernel, kernel)
    assert layer(np.ones((1, 5, 5, 2))).shape == (1, 3, 3, 4)
    model = gn.Sequential([gn.Input((6, 6, 2)), layer])
    np.testing.assert_array_equal(model.get_weights()[0], kernel)
    with pytest.raises(ShapeError, match=r"'dense'.*batch axis.*\(3,\)"):
        layers.Dense(2).build((3,))
    layers.Add().build([(None, 3), (None, 3)])


def test_layers_that_treat_every_value_by_itself_take_single_numbers():
    x = np.array([-1.0, 0.5, 8.0])
    assert layers.ReLU(max_value=6.0)(x).tolist() == [0.0, 0.5, 6.0]
    assert layers.Rescaling(2.0, 1.0)(x).tolist() == [-1.0, 2.0, 17.0]
    assert layers.Dropout(0.5)(x).tolist() == x.tolist()
    assert layers.ReLU().compute_output_shape((7,)) == (7,)
    with pytest.raises(ShapeError):
        layers.Dense(2)(x)


def test_softmax_over_several_axes():
    x = RNG.normal(size=(2, 3, 4, 5))
    wanted = np.exp(x) / np.exp(x).sum(axis=(1, 3), keepdims=True)
    np.testing.assert_allclose(gn.activations.softmax(x, axis=(1, 3)), wanted)
    np.testing.assert_allclose(gn.activations.log_softmax(x, axis=(1, -1)), np.log(wanted), atol=1e-12)
    with pytest.raises(ValueError, match="axis"):
        gn.activations.softmax(x, axis=(1, 4))


def test_configurations_have_tuples_where_keras_has_them():
    config = layers.Conv2D(4, 3).get_config()
    assert (config["kernel_size"], config["strides"]) == ((3, 3), (1, 1))
    assert layers.Permute((2, 1)).get_config()["dims"] == (2, 1)
    assert constraints.MaxNorm(2.0, axis=1).get_config()["axis"] == 1
    assert metrics.Precision([0.4, 0.9]).get_config()["thresholds"] == [0.4, 0.9]
    again = layers.Conv2D.from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config


def two_outputs():
    x = gn.Input((3,), name="x")
    return gn.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, activation="sigmoid", name="b")(x)])


def test_metrics_with_and_without_weights_have_two_names():
    model = two_outputs()
    model.compile(
        "sgd",
        {"a": "mse", "b": ["binary_crossentropy"]},
        metrics={"a": ["mae"], "b": ["mae", "accuracy"]},
        weighted_metrics={"a": ["mae"], "b": ["accuracy"]},
    )
    x, y = RNG.normal(size=(8, 3)), (RNG.random((8, 1)) > 0.5) * 1.0
    weights = np.arange(8.0)
    history = model.fit(x, [y, y], sample_weight=[weights, weights], verbose=0).history
    names = {"a_mae", "a_weighted_mae", "b_accuracy", "b_weighted_accuracy"}
    assert names <= set(history)
    assert history["a_mae"] != history["a_weighted_mae"]
    assert set(pickle.loads(pickle.dumps(model)).evaluate(x, [y, y], verbose=0, return_dict=True)) == set(
        history
    )


def test_a_single_loss_is_the_loss():
    model = two_outputs()
    model.compile("sgd", {"b": "binary_crossentropy"}, metrics={"b": ["accuracy"]})
    x, y = RNG.normal(size=(8, 3)), (RNG.random((8, 1)) > 0.5) * 1.0
    assert set(model.fit(x, {"b": y}, verbose=0).history) == {"loss", "b_accuracy"}


def test_clones_are_compiled_and_may_be_of_other_layers():
    model = two_outputs()
    model.compile(gn.optimizers.SGD(0.25), "mse", metrics=[["mae"], []])
    twin = gn.models.clone_model(model)
    assert twin.optimizer.learning_rate == 0.25
    assert twin.optimizer is not model.optimizer

    def regular(layer):
        return type(layer).from_config({**layer.get_config(), "kernel_regularizer": "l2"})

    other = gn.models.clone_model(model, clone_function=regular)
    assert all(layer.kernel_regularizer is not None for layer in other.layers[1:])
    assert (other.get_weights()[0] != model.get_weights()[0]).any()
    shared = gn.models.clone_model(
        model,
        input_tensors=gn.Input((3,), name="y"),
        clone_function=lambda layer: layer,
        call_function=lambda layer, x, **options: layer(x, **options) * 2,
    )
    x = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(shared(x)[0], 2 * model(x)[0], rtol=1e-6)
    with pytest.raises(ValueError, match="input_tensors"):
        gn.models.clone_model(model, input_tensors=[gn.Input((3,)), gn.Input((3,))])
    stack = gn.Sequential([gn.Input((3,)), layers.Dense(2)])
    assert gn.models.clone_model(stack, clone_function=regular).layers[0].kernel_regularizer is not None
    with pytest.raises(ValueError, match="call_function"):
        gn.models.clone_model(stack, call_function=lambda layer, x: x)
    with pytest.raises(TypeError, match="must return a layer"):
        gn.models.clone_model(stack, clone_function=lambda layer: None)


def test_models_inside_are_cloned_by_a_function_as_well():
    inner = gn.Sequential([gn.Input((3,)), layers.Dense(3)])
    x = gn.Input((3,))
    model = gn.Model(x, inner(inner(x)))
    seen = []

    def noted(layer):
        seen.append(type(layer).__name__)
        return type(layer).from_config(layer.get_config())

    twin = gn.models.clone_model(model, clone_function=noted, recursive=True)
    assert seen == ["Dense"]
    assert len(twin.get_weights()) == 2
    gn.models.clone_model(model, clone_function=noted)
    assert seen == ["Dense", "Sequential"]


def test_models_say_what_they_were_given_as():
    a, b = gn.Input((2,), name="a"), gn.Input((2,), name="b")
    model = gn.Model({"a": a, "b": b}, {"sum": a + b})
    assert set(model.input) == {"a", "b"}
    assert set(model.output) == {"sum"}
    frozen = gn.Model(a, layers.Dense(2)(a), trainable=False)
    assert frozen.trainable_weights == []


def test_a_stack_of_an_input_alone_may_stand_in_another():
    inner = gn.Sequential([gn.Input((16,))])
    outer = gn.Sequential([inner])
    inner.add(layers.Dense(2))
    assert outer(np.ones((1, 16))).shape == (1, 2)


def test_lambda_takes_a_function_of_the_shape():
    layer = layers.Lambda(lambda x: x[:, :1], output_shape=lambda shape: (*shape[:-1], 1))
    model = gn.Sequential([gn.Input((3,)), layer])
    assert model.output_shape == (None, 1)
    assert gn.models.clone_model(model).output_shape == (None, 1)


def test_types_of_losses_and_metrics():
    assert losses.MeanSquaredError(dtype="float32")([[0.0]], [[2.0]]) == 4.0
    assert metrics.BinaryAccuracy(dtype="float64").name == "binary_accuracy"
    for of in (losses.Hinge, metrics.AUC, metrics.MeanSquaredError):
        with pytest.raises(TypeError, match="lower precisions"):
            of(dtype="float16")


def test_crossentropies_do_not_stretch_shapes():
    for loss in (losses.CategoricalCrossentropy(), losses.BinaryCrossentropy()):
        with pytest.raises(ShapeError, match=r"expected `y_true` of shape \(1, 3\).*Received \(2, 3\)"):
            loss(np.ones((2, 3)), np.ones((1, 3)))


def test_metrics_refuse_what_they_cannot_count():
    with pytest.raises(ValueError, match=r"classes from 0 to 1 in `y_pred`. Received 2"):
        metrics.IoU(2, [0, 1])([0, 1], [0, 2])
    with pytest.raises(ShapeError, match="class_id"):
        metrics.Precision(class_id=2)([0, 1, 1], [0.2, 0.1, 0.6])
    with pytest.raises(ValueError, match="num_regressors"):
        metrics.R2Score(num_regressors=1)


def test_arrays_are_initial_values():
    bank = RNG.normal(size=(3, 2))
    layer = layers.Dense(2, kernel_initializer=bank)
    layer.build((None, 3))
    np.testing.assert_allclose(layer.kernel, bank, rtol=1e-6)


def test_more_results_of_metrics():
    wanted, found = RNG.normal(size=(2, 6, 3))
    each = metrics.R2Score(class_aggregation=None)(wanted, found)
    assert each.shape == (3,)
    assert metrics.R2Score()(wanted, found) == pytest.approx(each.mean())
    root = metrics.RootMeanSquaredError()([2, 4, 6, 8], [1, 3, 2, 3], sample_weight=[0, 1, 0, 1])
    assert root == pytest.approx(np.sqrt(13))
    assert constraints.Constraint()([-1.0, 2.0]).tolist() == [-1.0, 2.0]


class Ramp(gn.initializers.Initializer):
    config_fields = ("step",)

    def __init__(self, step=1.0):
        self.step = step

    def __call__(self, shape, dtype=None):
        return self.step * np.arange(np.prod(shape), dtype=dtype).reshape(shape)


@pytest.mark.parametrize(
    "given",
    [
        Ramp(),
        Ramp,
        lambda shape: np.arange(np.prod(shape)).reshape(shape),
        lambda shape, dtype=None: np.arange(np.prod(shape), dtype=dtype).reshape(shape),
    ],
)
def test_functions_and_classes_are_initial_values(given, tmp_path):
    layer = layers.Conv2D(2, 2, kernel_initializer=given, name="conv")
    inside = layers.Residual([layers.Dense(3, kernel_initializer=given, name="inside")])
    model = gn.Sequential([gn.Input((4, 4, 3)), layer, layers.Flatten(), layers.Dense(3), inside])
    assert layer.kernel.ravel().tolist() == list(range(24))
    assert model.get_layer("inside").kernel.ravel().tolist() == list(range(9))
    for again in (gn.models.clone_model(model), pickle.loads(pickle.dumps(model))):
        assert again.layers[0].kernel.ravel().tolist() == list(range(24))
    layer.kernel = np.ones((2, 2, 3, 2))
    model.save(tmp_path / "model.gridnn")
    assert gn.load_model(tmp_path / "model.gridnn").layers[0].kernel.ravel().tolist() == [1.0] * 24
    assert gn.Model(model.inputs, model.outputs[0]).get_weights()[0].ravel().tolist() == [1.0] * 24


def test_initial_values_of_layers_written_in_python_may_be_functions():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(shape=input_shape[-1:], initializer=Ramp(2.0))

        def call(self, x):
            return x * self.factor

    assert gn.Sequential([gn.Input((3,)), Scale()]).get_weights()[0].tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "wrong", [lambda shape: np.ones((1, 1)), lambda shape: "text", lambda shape: 1 / 0, lambda: 1]
)
def test_functions_that_make_no_weight_are_errors_of_the_layer(wrong):
    layer = layers.Dense(2, kernel_initializer=wrong)
    for _ in range(2):
        with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
            layer(np.ones((1, 3)))
    assert layer.weights == []


COMPOSED = {
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_activations_of_several_steps(name):
    function, x = getattr(gn.activations, name), 2 * RNG.normal(size=(4, 5))
    np.testing.assert_allclose(function(x), COMPOSED[name](x), rtol=1e-12, atol=1e-12)
    source = gn.Input((5,))
    model = gn.Model(source, function(source), dtype="float64")
    np.testing.assert_allclose(model(x), COMPOSED[name](x), rtol=1e-12, atol=1e-12)
    assert gn.activations.get(name) is function
    with pytest.raises(ValueError, match=rf"gn.activations.{name} on what the layer makes"):
        layers.Dense(2, activation=name)


def test_gated_halves():
    x = RNG.normal(size=(3, 4, 2))
    np.testing.assert_allclose(gn.activations.glu(x, axis=1), x[:, :2] / (1 + np.exp(-x[:, 2:])))
    with pytest.raises(ValueError, match="even size"):
        gn.activations.glu(x, axis=0)
    with pytest.raises(TypeError, match="halves"):
        gn.activations.glu(gn.Input((4,)))
    with pytest.raises(ValueError, match="alpha"):
        gn.activations.celu(x, alpha=0)


def test_names_in_full():
    assert layers.Convolution2D is layers.Conv2D
    assert layers.Convolution1DTranspose is layers.Conv1DTranspose
    assert layers.SeparableConvolution2D is layers.SeparableConv2D
    assert gn.utils.is_keras_tensor(layers.Dense(2)(gn.Input((3,))))
    assert not gn.utils.is_keras_tensor(np.ones(3))


def test_reports_of_several_inputs_and_outputs(tmp_path):
    pytest.importorskip("matplotlib")
    a, b = gn.Input((8, 8, 1), name="a"), gn.Input((2,), name="b")
    x = layers.concatenate([layers.Flatten()(layers.Conv2D(2, 3)(a)), b])
    model = gn.Model([a, b], [layers.Dense(1, name="one")(x), layers.Dense(1, name="two")(x)])
    model.compile("sgd", "mse", metrics={"one": ["mae"]})
    data = [RNG.normal(size=(4, 8, 8, 1)), RNG.normal(size=(4, 2))]
    targets = [np.ones((4, 1)), np.ones((4, 1))]
    model.fit(data, targets, verbose=0)
    model.report(tmp_path / "report.html", data, targets)
    page = (tmp_path / "report.html").read_text()
    assert "Evaluation" in page
    assert "two loss" in page
