"""Data sets stay where they are: what training takes from memory besides them."""

import sys
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

SAMPLES = 8192
SHAPE = (160, 160, 1)  # 210 MB of uint8


def own_memory():
    """Bytes that belong to the process alone: pages of mapped files do not."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("shuffle", [True, False])
def test_memory_mapped_images_are_not_copied(tmp_path, shuffle):
    path = tmp_path / "images"
    path.touch()
    with path.open("r+b") as file:
        file.truncate(SAMPLES * SHAPE[0] * SHAPE[1])  # sparse: it takes no room on the disk
    x = np.memmap(path, np.uint8, mode="r", shape=(SAMPLES, *SHAPE))
    y = np.zeros(SAMPLES, int)
    stack = [layers.Rescaling(1 / 255), layers.AveragePooling2D(16), layers.Flatten(), layers.Dense(2)]
    model = gn.Sequential([gn.Input(SHAPE), *stack], seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, steps_per_epoch=2, shuffle=shuffle, verbose=0)
    before = own_memory()
    model.fit(x, y, batch_size=32, steps_per_epoch=40, shuffle=shuffle, verbose=0)
    model.evaluate(x, y, verbose=0, steps=20)
    model.predict(x[:256], verbose=0)
    assert own_memory() - before < x.nbytes / 16
