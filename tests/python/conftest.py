"""What all Python tests share: the folder of the larger data sets and the check of a forced SIMD tier."""

import os
from pathlib import Path

import pytest

import gridnn as gn
from gridnn import _core

# Pictures are drawn into memory, whether there is a screen or not.
os.environ["MPLBACKEND"] = "agg"


def pytest_report_header():
    return f"gridnn {gn.__version__}: tier {gn.simd_tier()}, {gn.get_num_threads()} threads"


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


@pytest.fixture(scope="session")
def data_folder():
    """The folder that GRIDNN_DATA names; without it, the tests that read the larger data sets are skipped."""
    folder = os.environ.get("GRIDNN_DATA")
    if not folder:
        pytest.skip("GRIDNN_DATA does not name the folder of the larger data sets")
    return Path(folder)
