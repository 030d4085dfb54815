"""What all Python tests share: the folder of the larger data sets and which tests a forced SIMD tier runs."""

import os
import tempfile
from pathlib import Path

import pytest

import gridnn as gn
from gridnn import _core

# Pictures are drawn into memory, whether there is a screen or not.
os.environ["MPLBACKEND"] = "agg"


BEST_TIER = _core.available_tiers()[0]


def pytest_report_header():
    lines = [f"gridnn {gn.__version__}: tier {gn.simd_tier()}, {gn.get_num_threads()} threads"]
    if gn.simd_tier() != BEST_TIER:
        lines.append(f"tests marked one_tier: deselected, they run on tier {BEST_TIER}")
    return lines


def pytest_collection_modifyitems(config, items):
    if gn.simd_tier() == BEST_TIER:
        return
    left_out = [item for item in items if item.get_closest_marker("one_tier")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("one_tier")]


def pytest_make_parametrize_id(val, argname):
    """Names cases of bytes by their argument and number.

    Every worker collects the tests for itself and has to find the same names, and bytes may hold the second
    in which they were made, as those of gzip do.
    """
    return argname if isinstance(val, bytes) else None


def pytest_sessionstart():
    # A forced tier that did not run would make every result below mean something else.
    forced = os.environ.get("GRIDNN_SIMD")
    if forced and gn.simd_tier() != forced:
        pytest.exit(f"GRIDNN_SIMD={forced}, but tier {gn.simd_tier()} runs", returncode=4)


@pytest.fixture
def convolution_algorithm():
    """Sets the algorithm of convolutions until the test ends."""
    before = _core.get_convolution_algorithm()
    yield gn.set_convolution_algorithm
    gn.set_convolution_algorithm(before)


@pytest.fixture
def folder_in_memory():
    """A temporary folder where `fsync` costs nothing, where there is one: for tests that save very often."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gridnn-test-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def data_folder():
    """The folder that GRIDNN_DATA names; without it, the tests that read the larger data sets are skipped."""
    folder = os.environ.get("GRIDNN_DATA")
    if not folder:
        pytest.skip("GRIDNN_DATA does not name the folder of the larger data sets")
    return Path(folder)
