"""What a model takes is known before it takes it."""

import subprocess
import sys

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers


def model(**options):
    block = [layers.Conv2D(16, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()]
    stack = [layers.Conv2D(16, 3, activation="relu"), layers.Residual(block), layers.MaxPooling2D()]
    return gn.Sequential([gn.Input((24, 24, 3)), *stack, layers.Flatten(), layers.Dense(10)], **options)


def test_memory_grows_with_what_it_is_for(convolution_algorithm):
    # Winograd's algorithm, for float32 only, has partial sums of its own size.
    convolution_algorithm("direct")
    net = model()
    assert net.memory(1, training=False) < net.memory(32, training=False) < net.memory(32) < net.memory(64)
    plain = net.memory(32)
    net.compile("adam", "mse")
    net.train_on_batch(np.zeros((2, 24, 24, 3)), np.zeros((2, 10)))
    assert net.memory(32) >= plain + 2 * 4 * net.count_params()
    assert model(dtype="float64").memory(8) > 1.8 * model().memory(8)


def test_memory_that_is_not_known():
    with pytest.raises(ValueError, match="not built"):
        gn.Sequential([layers.Dense(1)]).memory(1)
    with pytest.raises(ValueError, match="unknown size"):
        gn.Sequential([gn.Input((None, 1)), layers.Dense(1)]).memory(1)
    with pytest.raises(ValueError, match="batch_size"):
        model().memory(0)


def test_summary_shows_memory():
    lines = []
    net = model()
    net.summary(print_fn=lines.append)
    assert f"on 32 samples at a time: {net.memory(32) / 2**20:.1f} MiB" in lines[0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", gn.optimizers.Adam(amsgrad=True, use_ema=True)])
def test_the_state_of_the_optimizer_is_counted_before_the_first_step(optimizer, tmp_path):
    net = model()
    plain = net.memory(32)
    net.compile(optimizer, "mse")
    known, evaluating = net.memory(32), net.memory(32, training=False)
    assert (known > plain) == (optimizer != "sgd")
    net.train_on_batch(np.zeros((2, 24, 24, 3)), np.zeros((2, 10)))
    assert net.memory(32) == known
    assert net.memory(32, training=False) == evaluating
    net.save(tmp_path / "net.gridnn")
    assert gn.load_model(tmp_path / "net.gridnn").memory(32) == known
    net.compile("sgd", "mse")
    assert net.memory(32) == plain


GROWTH = """
import numpy as np
import gridnn as gn
from test_memory import model

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

gn.set_num_threads(2)
x, y = np.ones((256, 24, 24, 3), np.float32), np.ones((256, 10), np.float32)
warm = model(seed=1)  # threads, code and whatever else comes with the first step
warm.compile("adam", "mse")
warm.train_on_batch(x[:1], y[:1])
before = resident()
net = model(seed=1)
net.compile("adam", "mse")
net.train_on_batch(x, y)
print(resident() - before, net.memory(256))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_grows_by_what_was_planned(tmp_path):
    script = tmp_path / "growth.py"
    script.write_text(GROWTH)
    done = subprocess.run(
        [sys.executable, script],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": __file__[: -len("/test_memory.py")]},
    )
    growth, planned = map(int, done.stdout.split())
    assert planned > 2**25
    assert 0.8 * planned < growth < 1.1 * planned + 2**22
