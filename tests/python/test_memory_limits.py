"""Too little memory is a MemoryError, too few threads are no error, and memory not needed is given back."""

from __future__ import annotations

import os
import subprocess
import sys

import memory_limited
import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux'")

QUICK = [
    ("get_weights", 4),
    ("set_weights_transposed", 4),
    ("set_layer_weights", 4),
    ("load_weights", 4),
    ("load_model", 16),
    ("pickle_model", 16),
    ("build_orthogonal", 4),
    ("compile_adam", 1),
    ("fit", 4),
    ("fit_constrained", 1),
    ("fit_permutation", 16),
    ("predict", 1),
    ("inspect_model", 16),
    ("tables_of_layers", 4),
    ("conv2d_kernel_grad_large", 48),
    ("conv2d_winograd", 48),
    ("conv_strided_view", 16),
    ("pad1d", 16),
    ("pad1d_grad", 16),
    ("max_pool2d", 1),
]


@linux
@pytest.mark.parametrize(("name", "megabytes"), QUICK, ids=lambda value: str(value))
def test_too_little_memory_is_a_memory_error(name: str, megabytes: int) -> None:
    outcome = memory_limited.attempt(name, megabytes)
    assert memory_limited.sound(outcome), outcome


def test_every_quick_case_is_an_entry_point() -> None:
    assert {name for name, _ in QUICK} <= set(memory_limited.ENTRIES)


FEW_THREADS = """
import os
import numpy as np
import gridnn as gn
from gridnn import functional

x, kernel = np.ones((8, 64, 64, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
gn.set_num_threads(1)
expected = functional.conv2d(x, kernel)
gn.set_num_threads(4)
before = len(os.listdir("/proc/self/task"))
assert np.array_equal(functional.conv2d(x, kernel), expected)
assert np.array_equal(functional.conv2d(x, kernel), expected)
assert len(os.listdir("/proc/self/task")) == before
print("done")
"""


@linux
def test_where_no_more_threads_can_be_started_fewer_do_the_work() -> None:
    # No system has room for such stacks; a limit on processes does not hold for root.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "RUST_MIN_STACK": str(1 << 50)}
    command = [sys.executable, "-c", FEW_THREADS]
    child = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    assert child.stdout.strip() == "done", child.stderr


def _resident() -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def _open_model() -> gn.Sequential:
    return gn.Sequential(
        [gn.Input((None, None, 1)), layers.Conv2D(16, 3), layers.Conv2D(2, 1), layers.GlobalMaxPooling2D()]
    )


@linux
@pytest.mark.parametrize("by_itself", [False, True], ids=["release_memory", "by itself"])
def test_the_memory_of_a_large_picture_is_given_back(by_itself: bool) -> None:
    model = _open_model()
    small = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32)
    expected = model.predict(small, verbose=0)
    model.predict(np.ones((1, 2000, 2000, 1), np.float32), verbose=0)
    before = _resident()
    if by_itself:
        assert np.array_equal(model.predict(small, verbose=0), expected)
    else:
        model.release_memory()
    assert before - _resident() > 100 << 20
    assert np.array_equal(model.predict(small, verbose=0), expected)


def test_training_goes_on_to_the_byte_after_its_memory_was_given_back() -> None:
    def trained(release: bool) -> list[np.ndarray]:
        gn.set_random_seed(3)
        model = gn.Sequential(
            [gn.Input((12, 12, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(1)]
        )
        model.compile(optimizer="adam", loss="mse")
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(64, 12, 12, 1)), rng.normal(size=(64, 1))
        for _ in range(3):
            model.fit(x, y, batch_size=16, epochs=1, verbose=0)
            if release:
                model.release_memory()
        return model.get_weights()

    for kept, released in zip(trained(False), trained(True), strict=True):
        assert np.array_equal(kept, released)


def test_a_model_that_is_not_built_has_nothing_to_give_back() -> None:
    gn.Sequential([layers.Dense(1)]).release_memory()
