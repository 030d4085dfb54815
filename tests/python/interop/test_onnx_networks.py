"""Every network of `gridnn.models` goes out to ONNX, with equal outputs."""

import pytest
from onnx_checks import SETTINGS, expect_export

from gridnn import models

pytest.importorskip("onnx")
pytestmark = pytest.mark.one_tier

NETWORKS = {
    "lenet5": lambda: models.lenet5(),
    "vgg11": lambda: models.vgg(11, (32, 32, 3), 10, width=2, units=16),
    "resnet20": lambda: models.resnet(20, (16, 16, 3), 10, width=4),
    "resnet18": lambda: models.resnet(18, (32, 32, 3), 10, width=2),
    "resnet50": lambda: models.resnet(50, (32, 32, 3), 10, width=2),
    "mobilenet": lambda: models.mobilenet((32, 32, 3), 10, alpha=0.1),
    "unet of series": lambda: models.unet((16, 2), 3, width=2, depth=3),
    "unet": lambda: models.unet((16, 16, 1), 2, width=2, depth=2),
    "unet of volumes": lambda: models.unet((8, 8, 8, 1), 1, width=2, depth=2, normalize=True),
    "fcn": lambda: models.fcn((24, 2), 3, filters=(2, 4, 2)),
    "resnet1d": lambda: models.resnet1d((24, 1), 3, width=2),
    "inception_time": lambda: models.inception_time((24, 2), 3, filters=2, depth=4),
    "tcn": lambda: models.tcn((24, 1), filters=4, levels=3),
    "tcn, every step": lambda: models.tcn((24, 2), filters=4, levels=3, every_step=True),
}


def spread_statistics(model):
    """Moving statistics as after training: those that a model starts with would hide a mistake."""
    weights = model.get_weights()
    for number, info in enumerate(model.network.weights):
        if info.name in ("moving_mean", "beta"):
            weights[number] += 0.1 * ((-1.0) ** number)
        elif info.name in ("moving_variance", "gamma"):
            weights[number] *= 1.25
    model.set_weights(weights)


@pytest.mark.parametrize(("opset", "layout"), SETTINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, opset, layout):
    model = NETWORKS[name]()
    spread_statistics(model)
    expect_export(model, opset, layout, both=True)


@pytest.mark.parametrize(("opset", "layout"), SETTINGS)
def test_googlenet(opset, layout):
    # The reference takes seconds for each sample.
    expect_export(models.googlenet((32, 32, 3), 10), opset, layout, both=True, samples=(1,))
