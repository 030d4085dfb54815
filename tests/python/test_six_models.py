"""Exactness of the six models of the bench: bytes for threads, tiers and interruptions; Keras' numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import six_models

import gridnn as gn
from gridnn._core import fused_tiers

STEPS = 50
THREADS = (1, 2, 3, 5)
REFERENCE = json.loads((Path(__file__).parent / "reference" / "six_models.json").read_text())

every_model = pytest.mark.parametrize("name", six_models.MODELS)


# What these tests run is long, and they start the other tiers themselves.
pytestmark = pytest.mark.one_tier


def script(*arguments, **environment):
    command = [sys.executable, six_models.__file__, *map(str, arguments)]
    return subprocess.check_output(command, env=os.environ | environment, text=True).strip()


@pytest.mark.timeout(600)  # Half a minute for seed-128 on two idle cores.
@every_model
def test_bytes_after_fifty_steps(name):
    fused = fused_tiers()
    found = {}
    before = gn.get_num_threads()
    try:
        for count in THREADS:
            gn.set_num_threads(count)
            found[count] = six_models.after_steps(name, STEPS)
    finally:
        gn.set_num_threads(before)
    if gn.simd_tier() in fused:
        for tier in fused[1:]:
            found[tier] = script("steps", name, STEPS, 2, GRIDNN_SIMD=tier)
    assert len(set(found.values())) == 1, found


@every_model
def test_continued_in_new_processes(name, tmp_path):
    path = tmp_path / "model.safetensors"
    straight, stopped = six_models.build(name), six_models.build(name)
    six_models.epochs(straight, name, 0, 3)
    six_models.epochs(stopped, name, 0, 1)
    stopped.save(path)
    for epoch in (1, 2):
        script("epoch", name, path, epoch)
    assert six_models.digest(gn.load_model(path)) == six_models.digest(straight)


@every_model
def test_five_steps_as_in_keras(name, convolution_algorithm):
    """The committed numbers are Keras' on TensorFlow; reference/keras_steps.py made them.

    Keras' float64 numbers are taken for exact. What rounding does to the same steps in float32 is measured by
    Keras' own float32 run, whose deviation is committed with them; sums in another order deviate as much, in
    another direction, and eight times it leaves room for the largest of many elements.
    """
    convolution_algorithm("direct")
    reference = REFERENCE[name]
    x, y = six_models.batches(name, len(reference["losses"]))
    for dtype in ("float64", "float32"):
        model = six_models.build(name, dtype, six_models.OPTIMIZER)
        losses = [float(model.train_on_batch(*batch)) for batch in zip(x.astype(dtype), y, strict=True)]
        check(np.array(losses), np.array(reference["losses"]), reference["losses_rounding"], dtype)
        for weight, expected in zip(model.get_weights(), reference["weights"], strict=True):
            check(weight.ravel()[expected["at"]], np.array(expected["values"]), expected["rounding"], dtype)


@pytest.mark.parametrize("name", ["mnist-convnet", "audio-1d"])
def test_the_committed_numbers_are_those_of_keras(name, tmp_path):
    """Where Keras is installed, it is asked again."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("keras", minversion="3")
    tool = Path(__file__).parent / "reference" / "keras_steps.py"
    path = tmp_path / "reference.json"
    subprocess.run([sys.executable, tool, path, name], check=True, capture_output=True)
    live = json.loads(path.read_text())[name]
    np.testing.assert_allclose(live["losses"], REFERENCE[name]["losses"], rtol=1e-9)
    for now, committed in zip(live["weights"], REFERENCE[name]["weights"], strict=True):
        np.testing.assert_allclose(now["values"], committed["values"], rtol=0, atol=1e-9)


@every_model
def test_five_steps_with_the_fastest_algorithms(name, convolution_algorithm):
    """Losses only: other last bits choose the other side where two elements of a window, or a sum and zero,
    are equal up to rounding; the gradients of single channels then differ by far more than rounding."""
    convolution_algorithm("auto")
    losses = REFERENCE[name]["losses"]
    x, y = six_models.batches(name, len(losses))
    model = six_models.build(name, "float32", six_models.OPTIMIZER)
    found = [float(model.train_on_batch(*batch)) for batch in zip(x.astype("float32"), y, strict=True)]
    np.testing.assert_allclose(found, losses, rtol=2e-5)


def check(found, exact, rounding, dtype):
    scale = np.abs(exact).max()
    bound = 1e-9 * scale if dtype == "float64" else 8 * max(rounding, np.finfo(np.float32).eps * scale)
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=0, atol=bound)
