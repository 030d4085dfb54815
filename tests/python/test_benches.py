import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn

pytestmark = pytest.mark.one_tier

BENCHES = Path(__file__).parents[2] / "benches" / "python"


def run(script, *arguments):
    command = [sys.executable, BENCHES / script, "--quick", "--threads", "1", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def import_benches(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHES))
    yield
    for name in (
        "architectures",
        "chains",
        "curves",
        "examples",
        "functional",
        "held",
        "libraries",
        "models",
        "options",
        "record",
        "results",
        "rounds",
        "steps",
    ):
        sys.modules.pop(name, None)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux counts a process's peak")
def test_memory_of_a_training_process():
    heading, _, row = run("memory.py", "lenet5", "--libraries", "").splitlines()
    assert heading == "| model | batch | planned MB | gridnn MB | share |"
    planned, process = map(float, row.split(" | ")[2:4])
    # Above the plan come the interpreter, NumPy and the library.
    assert planned < process < planned + 200


def test_calls_against_numpy(tmp_path):
    path = tmp_path / "functional.json"
    output = run("functional.py", "one-image", "--libraries", "numpy", "--json", path)
    found = json.loads(path.read_text())
    assert [row["pass"] for row in found["rows"]] == ["forward", "input gradient", "kernel gradient"]
    for row in found["rows"]:
        assert row["best"] == "numpy"
        assert row["milliseconds"].keys() == {"gridnn", "numpy"}
        assert row["notes"].keys() <= {"disturbed"}
        assert re.search(rf"one-image-64 +mid +{row['pass']} +1 ", output)


def test_architectures(tmp_path, import_benches):
    path = tmp_path / "architectures.json"
    run("architectures.py", "mobilenet-64 b4", "--libraries", "", "--json", path)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["model"], row["batch"], row["step"]) for row in rows] == [
        ("mobilenet-64", 4, "train"),
        ("mobilenet-64", 4, "infer"),
    ]
    import architectures
    import chains

    kinds = set()

    def visit(chain):
        for kind, _, own in chain:
            kinds.add(kind)
            if kind in ("Residual", "Parallel"):
                [visit(branch) for branch in own]

    for architecture in architectures.ARCHITECTURES.values():
        visit(chains.describe(architecture.build().layers))
    assert {"Residual", "Parallel", "Conv3DTranspose", "DepthwiseConv2D", "Cropping1D"} <= kinds
    assert "Dropout" not in kinds


def test_a_run_goes_on_where_it_was_cut(tmp_path):
    path = tmp_path / "functional.json"
    arguments = ["one-image", "--libraries", "", "--json", path]
    run("functional.py", *arguments, "--passes", "input gradient")
    [first] = json.loads(path.read_text())["rows"]
    run("functional.py", *arguments, "--resume")
    found = json.loads(path.read_text())
    assert [row["pass"] for row in found["rows"]] == ["input gradient", "forward", "kernel gradient"]
    assert found["rows"][0] == first

    path.write_text(json.dumps(found | {"about": found["about"] | {"commit": "another"}}))
    with pytest.raises(subprocess.CalledProcessError):
        run("functional.py", *arguments, "--resume")


def test_steps_of_gridnn_alone(tmp_path):
    path = tmp_path / "steps.json"
    output = run("steps.py", "lenet5 b32", "--libraries", "", "--json", path)
    found = json.loads(path.read_text())
    assert [(row["model"], row["step"], row["best"]) for row in found["rows"]] == [
        ("lenet5", "train", None),
        ("lenet5", "infer", None),
    ]
    assert "lenet5" in output


@pytest.mark.skipif(gn.simd_tier() not in ("avx2", "avx512"), reason="this processor has no AVX2")
def test_everybody_is_held_to_a_tier(tmp_path):
    path = tmp_path / "steps.json"
    run("steps.py", "mnist-convnet b1", "--libraries", "", "--tier", "avx2", "--json", path)
    (version,) = json.loads(path.read_text())["about"]["versions"]
    assert version.endswith("(avx2)")


@pytest.mark.usefixtures("import_benches")
def test_arithmetic_of_the_models():
    from models import BATCHES, MODELS

    # Milliseconds at 470 GFLOP/s, worked out by hand when the models were chosen.
    hand = {
        ("mnist-convnet", 128): 3.8,
        ("lenet5", 128): 0.6,
        ("cifar-vgg", 128): 62,
        ("seed-128", 8): 177,
        ("audio-1d", 32): 2.0,
        ("voxel-3d", 16): 14.5,
    }
    for (name, batch), milliseconds in hand.items():
        assert batch in BATCHES[name]
        assert MODELS[name].flops(batch, training=True) / 470e6 == pytest.approx(milliseconds, rel=0.1)


@pytest.mark.usefixtures("import_benches")
def test_a_record_keeps_the_prose():
    import record

    page = "before\n<!-- steps -->\nold\n<!-- end of steps -->\nafter\n"
    written = record.write(page, {"steps": "new"})
    assert written == "before\n<!-- steps -->\n\nnew\n\n<!-- end of steps -->\nafter\n"
    assert record.write(written, {"steps": "new"}) == written
    with pytest.raises(ValueError, match="0 parts marked 'kernels'"):
        record.write(page, {"kernels": "new"})


@pytest.mark.usefixtures("import_benches")
def test_examples_go_on_where_they_stopped(tmp_path, monkeypatch):
    import argparse
    from types import SimpleNamespace

    import examples

    import gridnn as gn
    from gridnn import layers

    def network():
        stack = [gn.Input((5,)), layers.Dropout(0.3), layers.Dense(3)]
        return gn.Sequential(stack, seed=0)

    script = SimpleNamespace(
        network=network, optimizer=lambda steps: gn.optimizers.Adam(0.1), BATCH=8, EPOCHS=4
    )
    rng = np.random.default_rng(0)
    data = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)

    def run(file, epochs):
        options = argparse.Namespace(record=tmp_path / file, threads=1, epochs=epochs, limit=None)
        assert examples.train(examples.Own, script, (data, data), options)
        return [json.loads(line) for line in options.record.read_text().splitlines()]

    once = run("once.jsonl", None)
    assert len(run("pieces.jsonl", 3)) == 4
    pieces = run("pieces.jsonl", None)
    assert [line["score"] for line in once[1:]] == [line["score"] for line in pieces[1:]]
    assert (tmp_path / "once.gridnn").read_bytes() == (tmp_path / "pieces.gridnn").read_bytes()

    # And it is what a single call of `fit` does.
    model = network()
    model.compile(script.optimizer(20), "sparse_categorical_crossentropy")
    model.fit(*data, batch_size=8, epochs=4, seed=0, verbose=0)
    for own, other in zip(
        model.get_weights(), gn.load_model(tmp_path / "once.gridnn").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(own, other)


@pytest.mark.usefixtures("import_benches")
def test_tables_of_the_examples_are_those_of_the_records():
    import results

    page = results.PAGE.read_text(encoding="utf-8")
    assert page == results.write(page, results.sections())


@pytest.mark.usefixtures("import_benches")
def test_curves_are_compared_by_what_seeds_differ():
    import curves

    rng = np.random.default_rng(0)

    def runs(noise, shift=0.0):
        seeds = [0.5 + 0.1 * rng.standard_normal(12) for _ in range(4)]
        other = [curve + shift + noise * rng.standard_normal(12) for curve in seeds]
        pairs = zip(("direct", "auto"), (seeds, other), strict=True)
        return {f"{name} {i}": {"loss": list(curve)} for name, all_ in pairs for i, curve in enumerate(all_)}

    assert curves.Comparison.of(runs(0.02), "loss", 4).alike
    assert curves.Comparison.of(runs(0.1), "loss", 4).alike
    assert not curves.Comparison.of(runs(0.3), "loss", 4).alike
    shifted = curves.Comparison.of(runs(0.01, shift=0.4), "loss", 4)
    assert not shifted.alike
    assert np.mean(shifted.change) == pytest.approx(0.4, abs=0.02)


@pytest.mark.usefixtures("import_benches")
def test_curves_go_on_where_they_stopped(tmp_path):
    import curves

    rng = np.random.default_rng(0)
    data = {
        f"{kind}_{part}": rng.integers(0, 10, (40, *shape), np.uint8)
        for part in ("train", "test")
        for kind, shape in (("x", (32, 32, 3)), ("y", ()))
    }
    record, found = tmp_path / "curves.json", {}
    assert not curves.complete(data, found, seeds=1, epochs=2, most=1, record=record)
    assert list(found) == ["direct 0"]
    again = json.loads(record.read_text())
    assert again == found
    assert curves.complete(data, again, seeds=1, epochs=2, most=1, record=record)
    assert list(again) == ["direct 0", "auto 0"]
    np.testing.assert_allclose(again["auto 0"]["loss"], again["direct 0"]["loss"], rtol=1e-3)
