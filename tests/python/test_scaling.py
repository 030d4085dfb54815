"""The simulated schedule of `benches/python/scaling.py`, and the record that it is made from."""

from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

BENCHES = Path(__file__).parents[2] / "benches" / "python"


@pytest.fixture
def scaling(monkeypatch):
    import sys

    monkeypatch.syspath_prepend(str(BENCHES))
    import scaling

    yield scaling
    for name in ("scaling", "models", "libraries"):
        sys.modules.pop(name, None)


def test_whoever_is_free_takes_the_next_task(scaling, monkeypatch):
    monkeypatch.setattr(scaling, "TICKET", 0.0)
    monkeypatch.setattr(scaling, "BARRIER", 0.0)
    monkeypatch.setattr(scaling, "WAKING", 0.0)
    phase = scaling.Phase("Backward", (3.0, 1.0, 1.0, 2.0))
    assert scaling.seconds_of(phase, 1) == 7
    assert scaling.seconds_of(phase, 2) == 4
    assert scaling.seconds_of(phase, 64) == 3
    # A second thread beside it costs a tenth; with three there are two, if they wait for memory.
    slow = phase._replace(sharing=0.1)
    assert scaling.seconds_of(slow, 2) == pytest.approx(4.4)
    assert scaling.seconds_of(slow, 2, crowded=True) == pytest.approx(4.4)
    assert scaling.seconds_of(slow, 3, crowded=True) == pytest.approx(3.6)
    assert scaling.seconds_of(slow._replace(kind="Update"), 3) == pytest.approx(3.6)
    # Of what other threads wrote, two of three read two thirds from elsewhere, where one of two reads a half.
    assert scaling.seconds_of(slow, 3) == pytest.approx(3 * (1 + 0.1 * 2 * 2 / 3))
    step = [phase, scaling.Phase("Clip", (1.0,))]
    assert scaling.predict(step, 4) == 4
    assert scaling.limit(step, 7) == ("Backward", pytest.approx(2 / (2 + 6 / 7)))


def test_a_step_is_recorded_task_by_task(scaling):
    stack = [layers.Conv2D(8, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    model = gn.Sequential([gn.Input((16, 16, 2)), *stack], seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((16, 16, 16, 2), np.float32), np.ones((16, 3), np.float32)
    model.train_on_batch(x, y)
    engine = model.network._engine
    assert engine.trace(True) == []
    for _ in range(3):
        model.train_on_batch(x, y)
    records = engine.trace(False)
    assert len(scaling.steps(records)) == 3
    found = scaling.phases(records)
    kinds = {phase.kind for phase in found}
    assert {"Forward", "FinalizeStatistics", "Loss", "Backward", "Grad", "Update"} <= kinds | {
        kind.split()[0] for _, kind, _ in records
    }
    assert scaling.predict(found, 1) > scaling.predict(found, 8) * 0.5 > 0
    # Nothing is recorded any more.
    model.train_on_batch(x, y)
    assert engine.trace(False) == []
