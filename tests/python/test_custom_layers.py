"""Layers written in Python by the user, inside the planned step."""

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import twins

import gridnn as gn
from gridnn import layers, losses, optimizers
from gridnn.errors import FileFormatError, ShapeError


class OwnDense(layers.Layer):
    """A dense layer once more."""

    config_fields = ("units",)

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), regularizer="l2", constraint="non_neg")
        self.offset = self.add_weight((self.units,), "zeros", name="bias")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def call(self, x):
        return x @ self.kernel + self.offset

    def backward(self, x, dy):
        rows = tuple(range(x.ndim - 1))
        return dy @ self.kernel.T, {"kernel": np.tensordot(x, dy, (rows, rows)), "bias": dy.sum(axis=rows)}


class Cube(layers.Layer):
    """Without weights, for inputs of any shape."""

    def call(self, x):
        return x**3

    def backward(self, x, dy):
        return 3 * x**2 * dy


class Sparkle(layers.Layer):
    """Noise in training only; it keeps what `call` has found for `backward`."""

    def call(self, x, training=False):
        self.mask = self.random_generator().uniform(0.5, 1.5, x.shape) if training else np.ones(x.shape)
        return x * self.mask

    def backward(self, x, dy):
        again = self.random_generator().uniform(0.5, 1.5, x.shape)
        np.testing.assert_array_equal(again, self.mask)
        return dy * self.mask


def _model(dense, *, dtype="float64", middle=()):
    stack = [
        gn.Input((6, 6, 2)),
        layers.Conv2D(3, 3, padding="same", activation="tanh"),
        *middle,
        dense,
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(2),
    ]
    model = gn.Sequential(stack, seed=1, dtype=dtype)
    model.compile(optimizers.SGD(0.05, momentum=0.5), "mse", metrics=["mae"])
    return model


def _data(n=20):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6, 6, 2)), rng.normal(size=(n, 2))


def _built_in():
    return layers.Dense(4, kernel_regularizer="l2", kernel_constraint="non_neg")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_trains_as_the_same_layer_in_the_engine(dtype):
    x, y = _data()
    own, built_in = _model(OwnDense(4), dtype=dtype), _model(_built_in(), dtype=dtype)
    own.set_weights(built_in.get_weights())
    assert [w.shape for w in own.get_weights()] == [w.shape for w in built_in.get_weights()]
    histories = [m.fit(x, y, 8, epochs=3, seed=3, verbose=0).history for m in (own, built_in)]
    tolerance = {"rtol": 1e-8, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    for name, values in histories[0].items():
        np.testing.assert_allclose(values, histories[1][name], **tolerance)
    for ours, theirs in zip(own.get_weights(), built_in.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)
    np.testing.assert_allclose(own.predict(x, batch_size=7), built_in.predict(x), **tolerance)
    assert own.layers[1].kernel.dtype == dtype


def _gradients_agree(model, x, y):
    """Gradients of a step against central differences."""
    model.compile(optimizers.SGD(0.0), "mse")
    weights = model.get_weights()
    model.train_on_batch(x, y)
    gradients = model.network.get_gradients()

    def loss(moved):
        model.set_weights(moved)
        return model.train_on_batch(x, y)

    learned = [info.trainable for info in model.network.weights]
    expected = [g for g, own in zip(twins.gradients(loss, weights, 1e-5), learned, strict=True) if own]
    for gradient, difference in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, difference, rtol=1e-5, atol=1e-8)


def _free():
    """Without penalty and constraint, which the differences would see."""

    class Free(OwnDense):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], self.units))
            self.offset = self.add_weight((self.units,), "zeros", name="bias")

    return Free(4)


PLACES = {
    "in a chain": lambda: [layers.Conv2D(3, 1), _free(), layers.BatchNormalization()],
    "first": lambda: [_free(), layers.Conv2D(2, 2)],
    "last": lambda: [layers.Conv2D(2, 2), Cube()],
    "twice": lambda: [layers.Conv2D(3, 1), Cube(), _free()],
    "behind a dense layer": lambda: [layers.Dense(3), Cube(), layers.Dense(2)],
    "alone": lambda: [_free()],
    "shortcut": lambda: [
        layers.Conv2D(4, 1),
        layers.Residual([layers.Conv2D(4, 3, padding="same")], shortcut=[_free()]),
    ],
    "branches": lambda: [
        layers.Conv2D(3, 1),
        layers.Parallel([[Cube()], [_free(), Cube()], [layers.MaxPooling2D(2, 1, "same")]]),
        layers.GlobalAveragePooling2D(),
    ],
}


@pytest.mark.parametrize("place", PLACES)
def test_gradients_wherever_it_stands(place):
    model = gn.Sequential([gn.Input((4, 3, 2)), *PLACES[place]()], dtype="float64", seed=2)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 4, 3, 2))
    _gradients_agree(model, x, rng.normal(size=(5, *model.output_shape[1:])))
    found = gn.inspect.gradients(model, x, np.zeros((5, *model.output_shape[1:])))
    assert np.isfinite(found.input).all()
    assert found.input.any()


def test_random_numbers_depend_on_seed_and_step_alone():
    x, y = _data()
    model = _model(Sparkle())
    again = copy.deepcopy(model)
    for m in (model, again):
        m.fit(x, y, 8, epochs=2, seed=5, verbose=0)
    assert [w.tobytes() for w in model.get_weights()] == [w.tobytes() for w in again.get_weights()]
    assert model.predict(x).tobytes() == model.predict(x).tobytes()
    assert (model(x, training=True) != model(x, training=True)).any()
    with pytest.raises(RuntimeError, match=r"layer 'sparkle' \(Sparkle\).*in training only"):
        model.layers[1].random_generator()


def test_files_pickle_and_copies_continue_to_the_byte(tmp_path):
    x, y = _data()
    whole = _model(OwnDense(4), middle=[Sparkle()], dtype="float32")
    whole.fit(x, y, 8, epochs=2, seed=3, verbose=0)
    whole.save(tmp_path / "half.gridnn")
    copies = [
        gn.load_model(tmp_path / "half.gridnn"),
        gn.load_model(tmp_path / "half.gridnn", custom_objects={"OwnDense": OwnDense}),
        pickle.loads(pickle.dumps(whole)),
        copy.deepcopy(whole),
    ]
    whole.fit(x, y, 8, epochs=4, initial_epoch=2, verbose=0)
    for again in copies:
        assert type(again.layers[2]) is OwnDense
        again.fit(x, y, 8, epochs=4, initial_epoch=2, verbose=0)
        assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in whole.get_weights()]


def test_a_file_holds_no_code(tmp_path):
    path = tmp_path / "model.gridnn"
    _model(OwnDense(4)).save(path)
    code = f"import gridnn\ngridnn.load_model({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "Could not interpret layer identifier: 'OwnDense'" in done.stderr
    with pytest.raises(TypeError, match="names to classes"):
        gn.load_model(path, custom_objects={"OwnDense": OwnDense(3)})

    class Other(layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)

        def call(self, x):
            return x

    with pytest.raises(FileFormatError, match="holds other weights"):
        gn.load_model(path, custom_objects={"OwnDense": Other})


def test_copies_know_the_class_whatever_has_its_name_now():
    def make(factor):
        class Times(layers.Layer):
            def call(self, x):
                return x * factor

        return Times

    chain = layers.Residual([make(2.0)()])
    make(5.0)
    model = gn.Sequential([gn.Input((1,)), copy.deepcopy(chain)])
    for again in (model, copy.deepcopy(model), gn.Sequential([gn.Input((1,)), model])):
        assert again.predict(np.ones((1, 1))) == 3.0
        assert again.layers[0](np.ones((1, 1))) == 3.0


def test_losses_of_the_users_are_found_in_the_same_way(tmp_path):
    class Halved(losses.Loss):
        def call(self, y_true, y_pred):
            return ((y_pred - y_true) ** 2).mean(axis=-1) / 2

        def gradient(self, y_true, y_pred):
            return (y_pred - y_true) / y_pred.shape[-1]

    model = _model(Cube())
    model.compile("sgd", Halved())
    model.save(tmp_path / "model.gridnn")
    again = gn.load_model(tmp_path / "model.gridnn", custom_objects={"Halved": Halved})
    assert type(again.loss) is Halved
    assert type(copy.deepcopy(model).loss) is Halved


def test_weights_are_reached_through_the_layer():
    model = _model(OwnDense(4))
    layer = model.layers[1]
    assert layer.count_params() == 16
    assert not layer.offset.any()
    layer.offset = np.arange(4)
    np.testing.assert_array_equal(model.get_weights()[3], np.arange(4))
    layer.trainable = False
    before = layer.get_weights()
    model.fit(*_data(), 8, verbose=0)
    assert [w.tobytes() for w in before] == [w.tobytes() for w in layer.get_weights()]
    x = np.random.default_rng(3).normal(size=(2, 5, 3))
    np.testing.assert_allclose(layer(x), x @ layer.kernel + layer.offset)
    assert layer.input_shape == (None, 6, 6, 3)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = layer.nonsense
    with pytest.raises(AttributeError, match="weights exist once the model is built"):
        _ = layers.Conv2D(2, 2).kernel


def test_sizes_may_be_unknown_and_models_nested():
    inner = gn.Sequential([gn.Input((None, 2)), OwnDense(3), Cube()], seed=1)
    model = gn.Sequential([gn.Input((None, 2)), inner, layers.GlobalMaxPooling1D()], seed=1)
    for length in (4, 7):
        assert model.predict(np.ones((2, length, 2))).shape == (2, 3)
    model.add(OwnDense(1))
    assert model.output_shape == (None, 1)
    assert model.pop().units == 1
    lines = []
    fixed = gn.Sequential([gn.Input((8, 2)), layers.Conv1D(2, 3), Cube(), layers.GlobalMaxPooling1D()])
    # It may look at any position.
    assert [field.size for field in gn.inspect.receptive_field(fixed)] == [(3,), (8,), (8,)]
    model.summary(print_fn=lines.append)
    assert "OwnDense" in lines[0]


def test_a_model_with_it_is_freed():
    model = _model(OwnDense(4))
    model.fit(*_data(), 8, verbose=0)
    model.layers[1](np.ones((1, 4, 4, 3)))
    gone = weakref.ref(model.network)
    del model
    gc.collect()
    assert gone() is None


def test_it_may_call_the_library_but_not_its_own_model():
    class Smooth(layers.Layer):
        def call(self, x):
            return gn.functional.conv2d(x, np.ones((3, 3, 1, 3), x.dtype) / 9, padding="same", groups=3)

        def backward(self, x, dy):
            return gn.functional.conv2d_input_grad(
                dy, np.ones((3, 3, 1, 3), dy.dtype) / 9, x.shape, padding="same", groups=3
            )

    model = _model(Smooth())
    model.fit(*_data(), 8, verbose=0)

    class Selfish(layers.Layer):
        def call(self, x):
            return model.get_weights()[0]

    model = gn.Sequential([gn.Input((3,)), Selfish()])
    with pytest.raises(RuntimeError, match="in the middle of a step"):
        model.predict(np.ones((2, 3)))


def _raising(method):
    class Bad(layers.Layer):
        def call(self, x):
            return x

        def backward(self, x, dy):
            return dy

    def fail(self, *_, **__):
        raise ZeroDivisionError("of my own")

    setattr(Bad, method, fail)
    return Bad


@pytest.mark.parametrize("method", ["build", "compute_output_shape", "call", "backward"])
def test_exceptions_come_out_as_they_are_with_the_layers_name(method):
    models = []

    def run():
        model = _model(_raising(method)(name="culprit"))
        models.append((model, model.get_weights()))
        model.fit(*_data(), verbose=0)

    with pytest.raises(ZeroDivisionError, match="of my own") as caught:
        run()
    if hasattr(caught.value, "__notes__"):
        assert caught.value.__notes__ == [f"Raised in `{method}` of layer 'culprit' (Bad)."]
    for model, before in models:
        assert [w.tobytes() for w in before] == [w.tobytes() for w in model.get_weights()]


WRONG = {
    "call shape": (lambda x: x[..., :1], lambda x, dy: dy, ShapeError, r"call must return an array of shape"),
    "call kind": (lambda x: x + 1j, lambda x, dy: dy, TypeError, "real numbers"),
    "no backward": (lambda x: x, None, NotImplementedError, "has no `backward`"),
    "gradient shape": (
        lambda x: x,
        lambda x, dy: dy[0],
        ShapeError,
        "backward must return a gradient to the",
    ),
    "unknown weight": (
        lambda x: x,
        lambda x, dy: (dy, {"w": dy}),
        ValueError,
        r"weights \[\]. Received.*'w'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_answers_name_the_layer(case):
    call, backward, error, message = WRONG[case]
    methods = {"call": lambda self, x: call(x)}
    if backward is not None:
        methods["backward"] = lambda self, x, dy: backward(x, dy)
    wrong = type("Wrong", (layers.Layer,), methods)
    model = _model(wrong(name="culprit"))
    with pytest.raises(error, match=f"layer 'culprit'.*{message}"):
        model.fit(*_data(), verbose=0)


def test_nan_is_refused_and_names_the_layer():
    class Spoiled(Cube):
        def backward(self, x, dy):
            return dy * np.nan

    model = _model(Spoiled())
    before = model.get_weights()
    with pytest.raises(gn.errors.NonFiniteError):
        model.fit(*_data(), verbose=0)
    assert [w.tobytes() for w in before] == [w.tobytes() for w in model.get_weights()]


def test_build_must_name_weights_and_names_must_be_free():
    class Nameless(layers.Layer):
        def build(self, input_shape):
            self.add_weight((2,))

        def call(self, x):
            return x

    with pytest.raises(ValueError, match="names of their own"):
        gn.Sequential([gn.Input((2,)), Nameless()])

    class Dense(layers.Layer):
        def call(self, x):
            return x

    with pytest.raises(TypeError, match="a name of its own"):
        gn.Sequential([gn.Input((2,)), Dense()])
    with pytest.raises(TypeError, match="instances of gridnn"):
        gn.Sequential([gn.Input((2,)), layers.Layer()])


def test_threads_take_turns():
    model = _model(OwnDense(4), dtype="float32")
    x, _ = _data(4)
    expected = model.predict(x).tobytes()
    results = []
    workers = [
        threading.Thread(
            target=lambda: results.extend((model.predict(x).tobytes(), model.layers[1].kernel.sum()))
        )
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 8
    assert all(result == expected for result in results[::2])


class Squares(layers.Layer):
    """Remembers its input by itself, as layers do that are called once."""

    def build(self, input_shape):
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, x):
        self.seen = x
        return x + self.factor * x * x

    def backward(self, x, dy):
        x = self.seen
        return dy * (1 + 2 * self.factor * x), {"factor": (dy * x * x).sum(axis=0)}


def test_a_layer_in_python_that_is_called_again():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    own, inputs = Squares(name="own"), gn.Input((3,))
    model = gn.Model(inputs, own(own(layers.Dense(3)(inputs))), dtype="float64", seed=1)
    model.compile("sgd", "mse")
    found = gn.inspect.gradients(model, x, y)
    assert len(own.get_weights()) == 1
    slopes = found.weights["own"][0]
    for number in range(3):
        losses = []
        for step in (1e-5, -1e-5):
            moved = np.ones(3)
            moved[number] += step
            own.factor = moved
            losses.append(model.evaluate(x, y, verbose=0))
        own.factor = np.ones(3)
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(slopes[number], rel=1e-6)
    kernel = model.get_weights()[0]
    for place in ((0, 1), (2, 2)):
        losses = []
        for step in (1e-5, -1e-5):
            moved = kernel.copy()
            moved[place] += step
            model.layers[1].kernel = moved
            losses.append(model.evaluate(x, y, verbose=0))
        model.layers[1].kernel = kernel
        expected = found.weights["dense"][0][place]
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(expected, rel=1e-6)


def test_a_method_that_a_class_is_given_later_counts():
    """Every step asks whether a class is the user's; what was found holds for the same method only."""

    class Later(layers.ReLU):
        pass

    assert not Later.is_custom()
    Later.call = lambda self, x: x
    assert Later.is_custom()
    assert not layers.ReLU.is_custom()
    del Later.call
    assert not Later.is_custom()
