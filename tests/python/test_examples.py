import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# The script, its folder in GRIDNN_DATA, the figure it prints last and what that figure must reach.
RUNS = {
    "spoken_digits": ("fsdd", r"accuracy on 300 test recordings: (\d+\.\d)%", 85),
    "adrenal_shapes": ("adrenalmnist3d", r"area under the ROC curve on 298 test shapes: (0\.\d+)", 0.75),
}


def run(name, *arguments):
    command = [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_readme_runs(tmp_path):
    blocks = re.findall(
        r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert blocks
    command = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_a_missing_folder_is_an_error(name, tmp_path):
    result = run(name, "--quick", "--data", tmp_path)
    assert result.returncode != 0
    assert "No such file" in result.stderr


@pytest.mark.parametrize("name", RUNS)
def test_quick_run(name, data_folder):
    folder, figure, _ = RUNS[name]
    result = run(name, "--quick", "--data", data_folder / folder)
    assert result.returncode == 0, result.stderr
    assert re.search(figure, result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_full_run_reaches_its_figure(name, data_folder):
    folder, figure, least = RUNS[name]
    result = run(name, "--data", data_folder / folder)
    assert result.returncode == 0, result.stderr
    found = re.search(figure, result.stdout)
    assert found
    assert float(found[1]) > least
