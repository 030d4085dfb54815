"""Calls on arrays against what Keras answers, as `reference/keras_calls.py` has written it down."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn

REFERENCE = Path(__file__).parent / "reference"
sys.path.insert(0, str(REFERENCE))
import keras_calls  # noqa: E402

pytestmark = pytest.mark.one_tier


def test_answers_are_those_of_keras():
    expected = json.loads((REFERENCE / "keras_calls.json").read_text())
    found = keras_calls.answers(gn, lambda array: array.copy())
    assert [label for label, _ in found] == [label for label, _, _ in expected]
    problems = []
    for (label, value), (_, shape, numbers) in zip(found, expected, strict=True):
        wanted = np.reshape(numbers, shape)
        if value.shape != wanted.shape:
            problems.append(f"{label}: shape {value.shape}, in Keras {wanted.shape}")
        elif not np.allclose(value, wanted, rtol=2e-5, atol=1e-6):
            problems.append(f"{label}: {np.abs(value - wanted).max()} from Keras")
    assert not problems, "\n".join(problems)
