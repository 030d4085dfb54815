"""The page on code of one's own: a type checker accepts it, and what a user writes after it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_tier

ROOT = Path(__file__).parents[2]

MORE = '''

class Noise(layers.Layer):
    """Takes `training`, which the layer of the page does not."""

    def call(self, x: Array, training: bool = False) -> Array:
        return x + self.random_generator().normal(size=x.shape) if training else x

    def backward(self, x: Array, dy: Array) -> Any:
        return dy


noisy = gn.Sequential([gn.Input((3,)), Noise(), layers.Dense(2)], seed=0)
noisy.compile("sgd", "mse")
losses: list[float] = noisy.fit(np.zeros((8, 3)), np.zeros((8, 2)), verbose=0, seed=0).history["loss"]
'''


@pytest.fixture
def page(tmp_path):
    text = (ROOT / "docs" / "own-code.md").read_text("utf-8")
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", text, re.DOTALL)
    assert len(cells) > 3
    path = tmp_path / "own_code.py"
    path.write_text("\n\n".join(cells) + MORE, "utf-8")
    return path


@pytest.mark.timeout(300)
def test_the_page_passes_mypy_strict(page):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(page.parent / "cache"), str(page)]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=page.parent, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_runs(page):
    subprocess.run([sys.executable, str(page)], cwd=page.parent, check=True, capture_output=True)
