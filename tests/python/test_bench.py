import json
import select
import subprocess
import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import bench
from gridnn.bench import _numpy, _own, _problems, _timing, peers
from gridnn.cli import main

pytestmark = pytest.mark.one_tier


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = gn.get_num_threads()
    yield
    gn.set_num_threads(threads)


ODD = [
    peers.Convolution(1, 2, 11, 3, 4, 3, stride=2),
    peers.Convolution(1, 2, 9, 2, 3, 3, dilation=2, padding="causal"),
    peers.Convolution(2, 2, 7, 3, 2, 3, stride=3, padding="valid"),
    peers.Convolution(2, 1, 8, 2, 3, 2, dilation=2),
    peers.Convolution(3, 1, 5, 2, 3, 3, stride=2),
]


@pytest.mark.parametrize("which", peers.PASSES)
@pytest.mark.parametrize("problem", ODD, ids=str)
@pytest.mark.parametrize("way", _numpy.WAYS)
def test_every_way_of_numpy_is_a_convolution(way, problem, which):
    operands = problem.operands()
    (found,) = _numpy.convolution(problem, which, way, operands).result()
    (expected,) = _own.Library(1).convolution(problem, which, "channels last", operands).result()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("problem", ODD, ids=str)
def test_sizes_are_those_of_gridnn(problem):
    x, kernel, dy = problem.operands()
    (y,) = _own.Library(1).convolution(problem, "forward", "channels last", (x, kernel, dy)).result()
    assert y.shape == problem.y_shape


def test_macs_of_a_network_are_those_of_the_engine():
    for network in (_problems.NETWORK, _problems.TINY_NETWORK):
        model = _own.build(network)
        assert sum(network.macs()) == sum(count or 0 for count in model._network.macs)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked at on Linux")
def test_nobody_is_timed_while_idle_threads_spin(monkeypatch):
    monkeypatch.setattr(_timing, "_LONGEST", 60)
    spin = """
import sys, time
print("spins", flush=True)
end = time.perf_counter() + 0.2
while time.perf_counter() < end: pass
print("sleeps", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", spin], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdout.readline() == b"spins\n"
        _timing.settle([child.pid])
        readable, _, _ = select.select([child.stdout], [], [], 0)
        assert readable
        child.stdin.close()


def test_quick_run_prints_a_table(capsys):
    rows = bench.run(["tiny", "training step"], quick=True)
    output = capsys.readouterr().out
    assert [row.name for row in rows].count("conv2d tiny") == 3
    assert {row.name for row in rows} >= {"max_pool2d tiny", "training step", "training step tiny"}
    for fact in (f"threads    {gn.get_num_threads()}", f"gridnn {gn.__version__}", f"NumPy {np.__version__}"):
        assert fact in output
    lines = output[output.index("gridnn ms") :].splitlines()
    assert all(f"numpy {way}" in lines[0] for way in {*_numpy.WAYS, *_numpy.POOLS})
    assert len(lines) == 2 + len(rows)
    assert max(map(len, output.splitlines())) <= 120
    for row in rows:
        assert row.milliseconds["gridnn"] > 0
        assert row.ratios.keys() == row.differences.keys() == row.milliseconds.keys() - {"gridnn"}
        assert max(row.differences.values()) < 1e-3


def test_figures_as_json(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert main(["bench", "conv2d tiny", "--quick", "--threads", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["about"]["threads"] == 1
    assert [row["which"] for row in found["rows"]] == list(peers.PASSES)
    assert found["rows"][0]["ratios"].keys() == {"numpy loops", "numpy windows", "numpy im2col"}
    assert "conv2d tiny" in capsys.readouterr().out


def test_a_wrong_result_is_not_timed(monkeypatch, capsys):
    forward = _numpy.WAYS["windows"].forward
    wrong = _numpy.WAYS["windows"]._replace(forward=lambda *arguments: forward(*arguments) * 1.01)
    monkeypatch.setitem(_numpy.WAYS, "windows", wrong)
    assert main(["bench", "conv1d tiny forward", "--quick"]) == 2
    captured = capsys.readouterr()
    assert "numpy windows and gridnn differ by 1.0e-02" in captured.err
    assert "% peak" not in captured.out


def test_unknown_names_are_one_line(capsys):
    assert main(["bench", "nonsense"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gridnn bench: error: there is no comparison named nonsense. There are conv1d, ")
    assert error.count("conv2d tiny") == error.count("\n") == 1


def test_a_chart_without_matplotlib_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--plot", str(tmp_path / "chart.png")]) == 2
    captured = capsys.readouterr()
    assert "pip install 'gridnn[plot]'" in captured.err
    assert captured.out == ""


def test_chart(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "chart.png"
    bench.run(["conv1d tiny"], quick=True, plot=path)
    assert path.read_bytes().startswith(b"\x89PNG")


# SciPy's correlations mix no channels, so none of the tiny problems suits it.
@pytest.mark.parametrize("name", [name for name in peers.installed() if name != "scipy"])
def test_peers_agree(name, capsys):
    rows = bench.run(["tiny"], quick=True, with_peers=True)
    capsys.readouterr()
    assert any(name in column for row in rows for column in row.ratios)


def test_scipy_agrees_on_single_channels():
    pytest.importorskip("scipy")
    problem = peers.Convolution(2, 2, 7, 1, 3, 3, stride=2, padding="valid")
    x, kernel, dy = problem.operands()
    task = peers.load("scipy", 1).convolution(problem, "forward", "channels last", (x, kernel, dy))
    expected = gn.functional.conv2d(x, kernel, strides=2)
    np.testing.assert_allclose(task.result()[0], expected, rtol=1e-5, atol=1e-5)
