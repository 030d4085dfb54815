"""The files of docs/how-to/transfer.md, which Keras and PyTorch wrote, are what the page says they are."""

from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

FILES = Path(__file__).parents[3] / "docs" / "how-to" / "files"


def right(model):
    """The share of the test scans that a model reads."""
    _, (xt, yt) = gn.datasets.digits()
    return np.mean(model.predict(xt, verbose=0).argmax(axis=-1) == yt)


def test_the_network_of_keras_reads_digits():
    pytest.importorskip("h5py")
    assert right(gn.load_model(FILES / "digits.keras")) > 0.93


def test_the_weights_of_pytorch_read_digits():
    stack = [gn.Input((8, 8, 1)), layers.Rescaling(1 / 16)]
    for number, filters in enumerate((16, 16, 32), 1):
        stack.append(layers.Conv2D(filters, 3, padding=1, name=f"conv{number}"))
        stack.append(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"bn{number}"))
        stack.append(layers.ReLU())
    model = gn.Sequential([*stack, layers.GlobalMaxPooling2D(), layers.Dense(10, name="fc")])
    model.load_weights(FILES / "digits.safetensors", source="pytorch")
    assert right(model) > 0.93
    assert sum(path.stat().st_size for path in FILES.iterdir()) < 150_000
