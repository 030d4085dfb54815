"""Structure of models: adding, naming, building, weights, seeds, copies."""

import copy
import multiprocessing
import pickle
import sys
import threading
import warnings

import numpy as np
import pytest

import gridnn as gn
from gridnn import _network, layers
from gridnn.errors import ShapeError


def stack():
    return [layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]


def test_built_by_an_input():
    model = gn.Sequential([gn.Input((5, 5, 1)), *stack()])
    assert model.built
    assert model.input_shape == (None, 5, 5, 1)
    assert model.output_shape == (None, 3)
    assert [layer.name for layer in model.layers] == ["conv2d", "flatten", "dense"]
    assert model.count_params() == 9 * 2 + 2 + 18 * 3 + 3
    assert [w.shape for w in model.get_weights()] == [(3, 3, 1, 2), (2,), (18, 3), (3,)]


def test_built_by_its_first_data():
    model = gn.Sequential(stack())
    assert not model.built
    with pytest.raises(ValueError, match="not built"):
        _ = model.output_shape
    assert model.predict(np.ones((2, 5, 5, 1)), verbose=0).shape == (2, 3)
    assert model.input_shape == (None, 5, 5, 1)
    with pytest.raises(ShapeError):
        model.predict(np.ones((2, 6, 5, 1)), verbose=0)
    same = gn.Sequential([gn.Input((5, 5, 1)), *stack()], seed=model.seed)
    assert [w.tobytes() for w in same.get_weights()] == [w.tobytes() for w in model.get_weights()]


def test_built_on_request():
    model = gn.Sequential(stack())
    model.build((None, 5, 5, 1))
    model.build((None, 5, 5, 1))
    with pytest.raises(ValueError, match="already built"):
        model.build((None, 6, 6, 1))
    with pytest.raises(ValueError, match="no layers"):
        gn.Sequential().build((None, 3))


def test_unknown_sizes():
    model = gn.Sequential([gn.Input((None, None, 2)), layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()])
    assert model.layers[0].output_shape == (None, None, None, 3)
    assert model.output_shape == (None, 3)
    for size in (3, 8, 5, 8):
        assert model.predict(np.ones((1, size, size + 1, 2)), verbose=0).shape == (1, 3)
    with pytest.raises(ShapeError):
        model.predict(np.ones((1, 2, 2, 2)), verbose=0)  # smaller than the kernel


def test_training_with_unknown_sizes():
    model = gn.Sequential(
        [gn.Input((None, 2)), layers.Conv1D(3, 3), layers.GlobalAveragePooling1D(), layers.Dense(2)], seed=0
    )
    model.compile("adam", "ce")
    rng = np.random.default_rng(0)
    batches = [(rng.normal(size=(4, length, 2)), np.array([0, 1, 0, 1])) for length in (5, 9, 6)]
    assert len(model.fit(batches, epochs=2, verbose=0).history["loss"]) == 2


def test_add_keeps_weights():
    model = gn.Sequential([gn.Input((4,))])
    assert not model.built
    model.add(layers.Dense(3))
    assert model.built
    kernel = model.layers[0].kernel
    model.add(layers.Dense(2))
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model.output_shape == (None, 2)


def test_add_that_does_not_fit_changes_nothing():
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3)])
    before = model.get_weights()[0]
    conv = layers.Conv2D(2, 3)
    with pytest.raises(ShapeError, match="conv2d"):
        model.add(conv)
    assert len(model.layers) == 1
    np.testing.assert_array_equal(model.get_weights()[0], before)
    gn.Sequential([gn.Input((4, 4, 1)), conv])  # it is free


def test_pop():
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3), layers.Dense(2)])
    kernel = model.layers[0].kernel
    layer = model.pop()
    assert not layer.built
    assert model.output_shape == (None, 3)
    np.testing.assert_array_equal(model.layers[0].kernel, kernel)
    gn.Sequential([gn.Input((7,)), layer])
    model.pop()
    assert not model.built
    with pytest.raises(ValueError, match="no layers"):
        model.pop()


def test_changed_structure_trains_afresh():
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3)], seed=0)
    model.compile("adam", "mse", ["mae"])
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    model.add(layers.Dense(1))
    model.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    assert model.network.iterations == 1


def test_a_layer_stands_once_in_a_model():
    layer = layers.Dense(3)
    first = gn.Sequential([gn.Input((2,)), layer])
    with pytest.raises(ValueError, match="already belongs to this model"):
        first.add(layer)
    second = gn.Sequential([gn.Input((2,)), layers.Rescaling(1.0), layer])  # which shares its weights
    second.set_weights([np.ones((2, 3)), np.zeros(3)])
    assert (first.get_weights()[0] == 1).all()
    twice = layers.Dense(2)
    with pytest.raises(ValueError, match="already belongs"):
        gn.Sequential([twice, twice])
    gn.Sequential([twice])  # the failed constructor has let go of it
    gn.Sequential([copy.deepcopy(layer)])


def test_names():
    model = gn.Sequential([layers.Dense(1), layers.Dense(1, name="last"), layers.Dense(1)], name="net")
    assert model.name == "net"
    assert [layer.name for layer in model.layers] == ["dense", "last", "dense_1"]
    with pytest.raises(ValueError, match="unique names"):
        model.add(layers.Dense(1, name="last"))
    with pytest.raises(ValueError, match="`name`"):
        gn.Sequential(name="a/b")


def test_get_layer():
    model = gn.Sequential([layers.Flatten(), layers.Dense(1)])
    assert model.get_layer("dense") is model.layers[1]
    assert model.get_layer(index=-1) is model.layers[1]
    for arguments in ({}, {"name": "dense", "index": 1}, {"name": "x"}, {"index": 2}):
        with pytest.raises(ValueError):
            model.get_layer(**arguments)


def test_only_layers():
    for wrong in (3, "dense", layers.Dense, None):
        with pytest.raises(TypeError, match=r"gridnn\.layers"):
            gn.Sequential([wrong])
    with pytest.raises(ValueError, match="first layer"):
        gn.Sequential([layers.Flatten(), gn.Input((2,))])
    with pytest.raises(ValueError, match="only Input"):
        gn.Sequential([gn.Input((2,)), gn.Input((2,))])
    with pytest.raises(ValueError, match="`dtype`"):
        gn.Sequential(dtype="float16")


def test_float64_model():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], dtype=np.float64)
    assert model.dtype == "float64"
    assert model.get_weights()[0].dtype == np.float64
    assert model.predict(np.ones((1, 3), np.float32), verbose=0).dtype == np.float64


def test_set_weights_all_or_none():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)], seed=0)
    before = [w.tobytes() for w in model.get_weights()]
    for wrong in ([np.ones((3, 2))], [np.ones((3, 2)), np.ones(3)], [np.ones((2, 3)), np.ones(2)]):
        with pytest.raises(ValueError):
            model.set_weights(wrong)
    with pytest.raises(TypeError, match="dense"):
        model.set_weights([np.ones((3, 2)), np.array(["a", "b"])])
    assert [w.tobytes() for w in model.get_weights()] == before
    model.set_weights([np.ones((2, 3), int).T, [1, 2]])
    np.testing.assert_array_equal(model.predict(np.ones((1, 3)), verbose=0), [[4, 5]])


def test_call_and_predict_on_batch():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)])
    x = np.ones((5, 3))
    assert model(x).tobytes() == model.predict_on_batch(x).tobytes() == model.predict(x, verbose=0).tobytes()


def test_seeds():
    def weights(seed=None):
        model = gn.Sequential([gn.Input((3,)), layers.Dense(2), layers.Dense(2)], seed=seed)
        return [w.tobytes() for w in model.get_weights()]

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)
    kernel, _, other, _ = (np.frombuffer(w, np.float32) for w in weights(1))
    assert not np.array_equal(kernel[:4], other)
    gn.set_random_seed(7)
    first, second = weights(), weights()
    assert first != second
    gn.set_random_seed(7)
    assert [weights(), weights()] == [first, second]
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match="`seed`"):
            gn.set_random_seed(wrong)
    for wrong in (None, 1.5, "1"):
        with pytest.raises(TypeError, match="`seed`"):
            gn.set_random_seed(wrong)


def test_config_round_trip():
    model = gn.Sequential([gn.Input((5, 5, 1)), *stack()], name="net", dtype="float64", seed=3)
    model.layers[0].trainable = False
    again = gn.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.layers[0].trainable is False
    assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("built", [False, True])
def test_copies(built):
    model = gn.Sequential(stack(), seed=1)
    if built:
        model.build((None, 5, 5, 1))
        model.set_weights([w + 1 for w in model.get_weights()])
    for again in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))):
        assert again.built is built
        assert again.layers[0] is not model.layers[0]
        assert again.get_config() == model.get_config()
        if built:
            assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in model.get_weights()]


def use(model):
    return model.predict(np.ones((2, 5, 5, 1)), verbose=0).tobytes()


def test_in_another_process():
    model = gn.Sequential([gn.Input((5, 5, 1)), *stack()], seed=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(use, [model]) == [use(model)]


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork a process"
)
def test_in_a_fork():
    model = gn.Sequential([gn.Input((24, 24, 8)), layers.Conv2D(32, 3), layers.Conv2D(32, 3)], seed=1)
    x = np.ones((4, 24, 24, 8), np.float32)
    before = gn.get_num_threads()
    gn.set_num_threads(2)
    try:
        expected = model.predict(x, verbose=0).tobytes()  # the helpers run, and do not survive the fork

        def child():
            sys.exit(model.predict(x, verbose=0).tobytes() != expected)

        process = multiprocessing.get_context("fork").Process(target=child)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
            process.start()
        process.join(60)
        process.kill()
        assert process.exitcode == 0
    finally:
        gn.set_num_threads(before)


def test_summary(capsys):
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3, name="first"), layers.Flatten()])
    assert model.summary() is None
    text = capsys.readouterr().out
    assert "first (Conv2D)" in text
    assert "(None, 6, 6, 4)" in text
    assert "Parameters: 40" in text
    assert f"{6 * 6 * 4 * 9:,}" in text
    assert "3 x 3" in text
    assert "8 x 8" in text  # Flatten puts out all positions
    lines = []
    gn.Sequential([layers.Dense(3)]).summary(print_fn=lines.append)
    assert "Not built yet" in lines[0]


def test_threads_wait_for_each_other():
    model = gn.Sequential([layers.Dense(4), layers.Dense(3)], seed=0)
    model.compile("sgd", "ce")
    x, y = np.ones((64, 5), np.float32), np.arange(64) % 3
    failures = []

    def work(method):
        try:
            for _ in range(5):
                method()
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(lambda: model.fit(x, y, verbose=0),)),
        threading.Thread(target=work, args=(lambda: model.predict(x, verbose=0),)),
        threading.Thread(target=work, args=(lambda: model.evaluate(x, y, verbose=0),)),
        threading.Thread(target=work, args=(model.__repr__,)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert model.network.iterations == 10


def test_a_whole_model_is_frozen_and_thawed():
    inner = gn.Sequential([layers.Dense(3), layers.Dense(2)])
    model = gn.Sequential([gn.Input((4,)), inner, layers.Dense(2)], seed=1)
    model.compile("sgd", "mse")
    x, y = np.ones((5, 4)), np.zeros((5, 2))

    def changed():
        before = model.get_weights()
        model.train_on_batch(x, y)
        return any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))

    assert model.trainable
    assert changed()
    model.trainable = False
    assert not model.trainable
    assert not any(layer.trainable for layer in model.layers)
    assert not changed()
    model.trainable = True
    assert changed()


def test_layers_tell_the_shape_of_their_output():
    assert layers.Conv2D(4, 3, strides=2).compute_output_shape((None, 9, None, 2)) == (None, 4, None, 4)
    block = layers.Parallel([[layers.Conv1D(4, 3)], [layers.Conv1D(2, 3)]])
    assert block.compute_output_shape((7, 9, 3)) == (7, 7, 6)
    with pytest.raises(ShapeError):
        layers.Conv2D(4, 3).compute_output_shape((None, 2, 2, 1))


def test_freezing_layer_by_layer_lists_the_weights_once(monkeypatch):
    """Once each layer listed the weights of all: 12 s for a thousand layers."""
    model = gn.Sequential([gn.Input((2,)), *(layers.Dense(2) for _ in range(20))])
    network = model._network
    listed = []
    info = _network.WeightInfo
    monkeypatch.setattr(_network, "WeightInfo", lambda *fields: listed.append(fields) or info(*fields))
    for layer in model.layers:
        layer.trainable = False
    assert not any(info.trainable for info in network.weights)
    assert len(listed) == len(network.weights) == 40
    model.layers[7].trainable = True
    assert {info.layer for info in network.weights if info.trainable} == {8}
