"""The programs run under gridnn; and where Keras is installed, under both with equal results.

GRIDNN_KERAS_PYTHON names a Python that has Keras (`make test-programs` sets it up).
"""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn

sys.path.insert(0, str(Path(__file__).parent))
import running

pytestmark = [pytest.mark.one_tier, pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`")]

KERAS = os.environ.get("GRIDNN_KERAS_PYTHON")
RANDOM = [name for name in running.NAMES if running.is_random(name)]

_RUNS = {}


def ran(name, *, quiet=False):
    """A run under gridnn, of which there is one."""
    if (name, quiet) not in _RUNS:
        gn.set_random_seed(1)
        _RUNS[name, quiet] = running.run(name, "gridnn", quiet=quiet)
    return _RUNS[name, quiet]


@pytest.mark.parametrize("name", running.NAMES)
def test_runs_with_its_imports_changed(name):
    names, recorder, _ = ran(name)
    assert recorder.histories
    for history in recorder.histories:
        assert "loss" in history
        assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())
    assert running.plain(names["results"])


def test_there_are_twelve_and_most_draw_random_numbers():
    assert len(running.NAMES) >= 12
    assert 6 <= len(RANDOM) < len(running.NAMES)


def agree(ours, theirs, tolerance, what):
    """Compares plain values, however nested; shares of a few samples, and what follows them, only roughly."""
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), what
        for key in ours:
            rough = 0.03 if "acc" in key else tolerance
            agree(ours[key], theirs[key], max(tolerance, rough), f"{what}[{key!r}]")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), what
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            agree(*pair, tolerance, f"{what}[{number}]")
    elif isinstance(ours, str):
        assert ours == theirs, what
    else:
        assert ours == pytest.approx(theirs, rel=tolerance, abs=tolerance), what


@pytest.mark.skipif(not KERAS, reason="keras: GRIDNN_KERAS_PYTHON names no Python that has it")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "quiet"),
    [(name, quiet) for name in running.NAMES for quiet in ([False, True] if name in RANDOM else [False])],
    ids=lambda value: value if isinstance(value, str) else "quiet" if value else "as_written",
)
def test_agrees_with_keras(name, quiet, tmp_path):
    names, ours, _ = ran(name, quiet=quiet)
    weights, record = tmp_path / "weights.npz", tmp_path / "record.json"
    running.write_weights(weights, ours.weights)
    command = [KERAS, running.__file__, "keras", name, "--record", record, "--weights", weights]
    # Without oneDNN: with it TensorFlow 2.21 writes beyond its memory in the residual net ("munmap_chunk").
    environment = {"TF_ENABLE_ONEDNN_OPTS": "0", "KERAS_BACKEND": "tensorflow", **os.environ}
    environment["CUDA_VISIBLE_DEVICES"] = ""
    environment.pop("PYTHONPATH", None)
    command += ["--quiet"] if quiet else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(record.read_text())
    outputs = running.read_weights(record.with_suffix(".npz"))
    assert len(outputs) == len(ours.outputs)
    # Where training is random, only the first fit begins with the same weights; the others are set alike.
    for own, other in zip(ours.outputs, outputs, strict=True):
        for y, z in zip(own, other, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
    assert [sorted(history) for history in ours.histories] == [sorted(h) for h in theirs["histories"]]
    if quiet or name not in RANDOM:
        for own, other in zip(ours.histories, theirs["histories"], strict=True):
            agree(dict(sorted(own.items())), dict(sorted(other.items())), 1e-3, name)
        agree(running.plain(names["results"]), theirs["results"], 2e-3, "results")


# Everything that takes a model takes those of the programs


MODELS = pytest.mark.parametrize("name", running.NAMES)


def trained(name):
    """The model of the last fit of a program, and inputs for it."""
    _, recorder, _ = ran(name)
    model = recorder.models[-1]
    rng = np.random.default_rng(3)
    shapes = model.input_shape if isinstance(model.input_shape, list) else [model.input_shape]
    arrays = [rng.uniform(size=(6, *shape[1:])).astype(np.float32) for shape in shapes]
    return model, arrays if len(arrays) > 1 else arrays[0]


def flat(outputs):
    return [np.asarray(one) for one in (outputs if isinstance(outputs, list) else [outputs])]


def same(one, other, x):
    pairs = zip(flat(one.predict(x, verbose=0)), flat(other.predict(x, verbose=0)), strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


@MODELS
def test_files_and_copies(name, tmp_path):
    model, x = trained(name)
    model.save(tmp_path / "model.gridnn")
    for again in (gn.load_model(tmp_path / "model.gridnn"), pickle.loads(pickle.dumps(model))):
        assert same(model, again, x)
        assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert same(model, copy.deepcopy(model), x)
    twin = gn.models.clone_model(model)
    twin.set_weights(model.get_weights())
    assert same(model, twin, x)
    model.save_weights(tmp_path / "weights.gridnn")
    twin = gn.models.clone_model(model)
    twin.load_weights(tmp_path / "weights.gridnn")
    assert same(model, twin, x)


@MODELS
def test_files_of_keras(name, tmp_path):
    pytest.importorskip("h5py")
    model, x = trained(name)
    model.save(tmp_path / "model.keras")
    again = gn.load_model(tmp_path / "model.keras")
    for y, z in zip(flat(model.predict(x, verbose=0)), flat(again.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)
    model.save_weights(tmp_path / "model.weights.h5")
    twin = gn.models.clone_model(model)
    twin.load_weights(tmp_path / "model.weights.h5")
    assert all(map(np.array_equal, twin.get_weights(), model.get_weights()))


@MODELS
def test_freezing_holds(name):
    original, x = trained(name)
    model = copy.deepcopy(original)
    model.trainable = False
    assert not model.trainable_weights
    assert len(model.non_trainable_weights) == len(model.weights) == len(model.get_weights())
    before = [weight.numpy() for weight in model.weights if "moving" not in weight.name]
    y = [np.zeros((6, *shape[1:])) for shape in as_list(model.output_shape)]
    model.compile("adam", "mse")
    model.fit(x, y if len(y) > 1 else y[0], verbose=0)
    after = [weight.numpy() for weight in model.weights if "moving" not in weight.name]
    assert all(map(np.array_equal, before, after))
    model.trainable = True
    assert model.trainable_weights


def as_list(value):
    return value if isinstance(value, list) else [value]


@MODELS
def test_instruments(name, tmp_path):
    model, x = trained(name)
    lines = []
    model.summary(print_fn=lines.append, line_length=120, show_trainable=True, expand_nested=True)
    assert f"{model.count_params():,}" in lines[0]
    if len(model.input_names) == 1:
        found = gn.inspect.activations(model, x[:2])
        assert len(found) >= len(model.layers) - 1
        assert all(len(values) == 2 for values in found.values())
        if len(model.input_shape) > 2:
            assert len(gn.inspect.receptive_field(model)) >= len(model.layers) - 1
    assert gn.inspect.costs(model)
    pytest.importorskip("matplotlib")
    gn.utils.plot_model(model, tmp_path / "model.png", dpi=40)
    assert (tmp_path / "model.png").stat().st_size > 1000
    model.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 1000


@MODELS
def test_gradients_are_differences(name):
    """Of the mean of squared outputs, in float64, for a few elements of each weight."""
    original, x = trained(name)
    if isinstance(x, list):
        pytest.skip("several inputs: tests/graph.rs")
    config = {**original.get_config(), "dtype": "float64"}
    model = type(original).from_config(in_double(config))
    model.set_weights(original.get_weights())
    rng = np.random.default_rng(5)
    outputs = as_list(model.output_shape)
    y = [rng.normal(size=(6, *shape[1:])) for shape in outputs]
    names = model.output_names
    model.compile(gn.optimizers.SGD(0.0), dict.fromkeys(names, "mse") if len(names) > 1 else "mse")
    targets = y if len(y) > 1 else y[0]
    found = gn.inspect.gradients(model, x, targets).weights
    gradients = [gradient for own in found.values() for gradient in own]
    weights = model.get_weights()

    def loss(changed):
        model.set_weights(changed)
        found = model.evaluate(x, targets, verbose=0)
        return found[0] if isinstance(found, (list, tuple)) else found

    assert [gradient.shape for gradient in gradients] == [weight.shape for weight in weights]
    for number, handle in enumerate(model.weights):
        if not handle.trainable:
            continue
        for index in rng.choice(weights[number].size, min(2, weights[number].size), replace=False):
            ends = []
            for step in (1e-7, -1e-7):
                moved = [w.copy() for w in weights]
                moved[number].reshape(-1)[index] += step
                ends.append(loss(moved))
            slope = (ends[0] - ends[1]) / 2e-7
            assert gradients[number].reshape(-1)[index] == pytest.approx(slope, rel=1e-3, abs=1e-7), (
                handle.path
            )


def in_double(config):
    """The configuration without penalties, of a model whose models inside compute in float64 too."""
    inside = []
    for layer in config["layers"]:
        own = {key: None if "regularizer" in key else value for key, value in layer["config"].items()}
        own = in_double({**own, "dtype": "float64"}) if "layers" in own else own
        inside.append({**layer, "config": own})
    return {**config, "layers": inside}
