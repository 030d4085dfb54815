"""Writes small ONNX files with both exporters of PyTorch, and what PyTorch computes, beside this script.

    python tests/python/interop/onnx_files/make.py

Written with torch 2.15, onnx 1.23 and onnxscript 0.7. What an exporter notes about the program that has
called it is left out.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).parent


class Block(nn.Module):
    def __init__(self, a, b, stride=1):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(a, b, 3, stride, 1, bias=False),
            nn.BatchNorm2d(b),
            nn.ReLU(),
            nn.Conv2d(b, b, 3, 1, 1, bias=False),
            nn.BatchNorm2d(b),
        )
        self.short = (
            nn.Identity()
            if a == b and stride == 1
            else nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))
        )

    def forward(self, x):
        return torch.relu(self.main(x) + self.short(x))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Linear(9 * 8 * 8, 4)

    def forward(self, x):
        y = torch.cat([self.a(x), torch.sigmoid(self.b(x)) * self.b(x)], 1)
        return self.head(torch.flatten(y, 1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.c = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.a(x))
        y = torch.relu(self.b(nn.functional.max_pool2d(x, 2)))
        return self.c(torch.cat([x, self.up(y)], 1))


class View(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


NETS = {
    "lenet": (
        (1, 16, 16),
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(4, 6, 3),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 10),
            nn.ReLU(),
            nn.Linear(10, 3),
        ),
    ),
    "view": (
        (2, 8, 8),
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU6(),
            View(),
            nn.Dropout(),
            nn.Linear(64, 5),
            nn.Softmax(1),
        ),
    ),
    "residual": (
        (3, 12, 12),
        lambda: nn.Sequential(
            Block(3, 4), Block(4, 4), Block(4, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
        ),
    ),
    "inception": ((3, 8, 8), Inception),
    "unet": ((1, 8, 8), UNet),
    "mobile": (
        (3, 12, 12),
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, 2, 1),
            nn.Hardswish(),
            nn.Conv2d(4, 8, 3, 1, 1, groups=4),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, groups=8),
            nn.GELU(),
            nn.GELU("tanh"),
            nn.Mish(),
            nn.ELU(0.5),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 2),
        ),
    ),
    "series": (
        (2, 20),
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 5, padding=4, dilation=2),
            nn.PReLU(4),
            nn.MaxPool1d(2),
            nn.BatchNorm1d(4),
            nn.ConvTranspose1d(4, 3, 4, 2, 1),
            nn.Softplus(),
            nn.Hardsigmoid(),
        ),
    ),
    "volumes": (
        (1, 6, 6, 6),
        lambda: nn.Sequential(
            nn.Conv3d(1, 2, 3, padding=1),
            nn.InstanceNorm3d(2, affine=True),
            nn.SELU(),
            nn.MaxPool3d(2),
            nn.Flatten(),
            nn.Linear(54, 3),
        ),
    ),
    "norms": (
        (6, 5, 4),
        lambda: nn.Sequential(
            nn.GroupNorm(3, 6),
            nn.Conv2d(6, 4, 3, padding=1, padding_mode="reflect"),
            nn.LayerNorm([4, 5, 4]),
            nn.Upsample(scale_factor=2),
            nn.ReflectionPad2d(1),
            nn.Softsign(),
        ),
    ),
    "bilinear": (
        (2, 5, 4),
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(2, 2, 1),
            nn.ZeroPad2d((1, 0, 2, 1)),
            nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        ),
    ),
    "dense": (
        (7,),
        lambda: nn.Sequential(
            nn.Linear(7, 6), nn.BatchNorm1d(6), nn.Sigmoid(), nn.Linear(6, 4, bias=False), nn.LogSoftmax(1)
        ),
    ),
}


def statistics(net):
    for m in net.modules():
        if hasattr(m, "running_mean") and m.running_mean is not None:
            m.running_mean.normal_(0, 0.3)
            m.running_var.uniform_(0.5, 2)
        if hasattr(m, "weight") and isinstance(m, (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm3d)):
            nn.init.uniform_(m.weight, 0.5, 2)
            nn.init.normal_(m.bias)


def without_notes(path):
    message = onnx.load(path, load_external_data=False)
    for part in (message, message.graph, *message.graph.node, *message.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    message.graph.ClearField("value_info")
    for value in (*message.graph.input, *message.graph.output, *message.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    path.write_bytes(message.SerializeToString(deterministic=True))


def write(name, shape, make):
    torch.manual_seed(1)
    net = make().eval()
    statistics(net)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        y = net(x)
    np.savez(HERE / f"{name}.npz", x=x.numpy(), y=y.numpy())
    free = {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    torch.onnx.export(
        net, (x,), HERE / f"{name}-script.onnx", dynamo=False, opset_version=17, **NAMES, **free
    )
    options = {"external_data": name == "inception", "opset_version": 18, "dynamic_shapes": ({0: "batch"},)}
    torch.onnx.export(net, (x,), HERE / f"{name}-dynamo.onnx", dynamo=True, **NAMES, **options)
    for path in HERE.glob(f"{name}-*.onnx"):
        without_notes(path)


NAMES = {"input_names": ["x"], "output_names": ["y"]}

if __name__ == "__main__":
    for name, (shape, make) in NETS.items():
        write(name, shape, make)
