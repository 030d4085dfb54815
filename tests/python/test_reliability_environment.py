"""What comes from outside and cannot be used is told: a count of threads, the shape that a layer says."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import gridnn
from gridnn import layers
from gridnn.errors import ShapeError

pytestmark = pytest.mark.one_tier


@pytest.mark.parametrize("value", ["abc", "0", "-1", "2.5", "100000"])
def test_a_thread_count_that_cannot_be_is_told_with_the_default(value):
    code = "import gridnn; print(gridnn.get_num_threads())"
    environment = {**os.environ, "GRIDNN_NUM_THREADS": value, "OMP_NUM_THREADS": "3"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.strip() == "3"
    for part in ("UserWarning", f'"{value}"', "default", "3"):
        assert part in run.stderr


@pytest.mark.parametrize("value", ["2", " 2 ", ""])
def test_a_thread_count_that_can_be_is_obeyed_in_silence(value):
    code = "import gridnn; print(gridnn.get_num_threads())"
    environment = {**os.environ, "GRIDNN_NUM_THREADS": value, "OMP_NUM_THREADS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert (run.stdout.strip(), run.stderr) == ("2", "")


@pytest.mark.parametrize("answer", [None, 5, "shape", (), (None,), (3, 4), [None], np.array([1, 2])])
def test_an_output_shape_that_is_none_is_told_with_the_layer_and_its_input(answer):
    class Strange(layers.Layer):
        def compute_output_shape(self, input_shape):
            return answer

        def call(self, x):
            return x

    model = gridnn.Sequential([Strange(name="strange")])
    with pytest.raises(ShapeError, match=r"strange.*compute_output_shape must return a tuple.*\(None, 4\)"):
        model.build((None, 4))


def test_an_output_shape_may_be_a_list():
    class Plain(layers.Layer):
        def compute_output_shape(self, input_shape):
            return list(input_shape)

        def call(self, x):
            return 2 * x

    model = gridnn.Sequential([Plain()])
    np.testing.assert_array_equal(model.predict(np.ones((2, 4), "float32")), np.full((2, 4), 2, "float32"))
