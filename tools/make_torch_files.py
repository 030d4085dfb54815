"""Makes tests/python/interop/torch_files: weights that PyTorch has written, and outputs of its networks.

It runs in an environment of its own, which needs nothing of gridnn:

    python -m venv torch-env && torch-env/bin/pip install torch safetensors numpy
    torch-env/bin/python tools/make_torch_files.py tests/python/interop/torch_files

The tests build the same networks in gridnn, load the files and compare the outputs.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

torch: Any = importlib.import_module("torch")
save_file: Any = importlib.import_module("safetensors.torch").save_file
nn = torch.nn

Made = tuple[Any, tuple[int, ...]]
"""A network and the shape of its input, batch and channels first."""

NETWORKS: dict[str, Callable[[], Made]] = {}


def network(make: Callable[[], Made]) -> Callable[[], Made]:
    """Adds a network under the name of its function."""
    NETWORKS[make.__name__] = make
    return make


@network
def convolutions() -> Made:
    """More than ten modules, so that their numbers are not in alphabetical order; a grid is flattened."""
    stack = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()]
    stack += [nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=3), nn.ReLU()]
    stack += [nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
    stack += [nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()]
    return nn.Sequential(*stack, nn.Flatten(), nn.Linear(6 * 4 * 5, 7), nn.ReLU(), nn.Linear(7, 7)), (
        2,
        3,
        8,
        10,
    )


@network
def decoder() -> Made:
    """A vector becomes a grid, which transposed convolutions enlarge."""
    return (
        nn.Sequential(
            nn.Linear(5, 4 * 3 * 2),
            nn.BatchNorm1d(4 * 3 * 2),
            nn.ReLU(),
            nn.Unflatten(1, (4, 3, 2)),
            nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1, groups=2, bias=False),
        ),
        (3, 5),
    )


@network
def depthwise() -> Made:
    """Depthwise convolutions with a multiplier, and separable ones."""
    return (
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, groups=3),
            nn.ReLU6(),
            nn.Conv2d(6, 12, (3, 5), stride=2, padding=(1, 2), groups=6, bias=False),
            nn.Conv2d(12, 5, 1),
            nn.Softsign(),
        ),
        (2, 3, 9, 8),
    )


@network
def series() -> Made:
    """A temporal network whose channels are averaged at the end."""
    return (
        nn.Sequential(
            nn.Conv1d(2, 8, 3, padding=2, dilation=2),
            nn.BatchNorm1d(8),
            nn.GELU(),
            nn.Conv1d(8, 8, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(8),
            nn.SiLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ),
        (2, 2, 30),
    )


@network
def volumes() -> Made:
    """Three spatial axes of three sizes, flattened."""
    return (
        nn.Sequential(
            nn.Conv3d(2, 4, (1, 3, 3), padding=(0, 1, 1)),
            nn.BatchNorm3d(4),
            nn.ELU(),
            nn.AvgPool3d(2),
            nn.Conv3d(4, 6, 2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * 1 * 2 * 3, 5),
        ),
        (2, 2, 4, 6, 8),
    )


@network
def flattened() -> Made:
    """Layers with a weight for every feature of a flattened grid."""
    size = 4 * 3 * 5
    return (
        nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.Flatten(),
            nn.BatchNorm1d(size),
            nn.PReLU(size),
            nn.Dropout(0.5),
            nn.LayerNorm(size),
            nn.Linear(size, 6),
            nn.PReLU(),
            nn.Linear(6, 3, bias=False),
        ),
        (2, 1, 5, 7),
    )


class Residual(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
    """A block as in torchvision, whose names say nothing about their order."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.after = nn.Conv2d(4, 4, 3, padding=1)
        self.downsample = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.aux = nn.Linear(4, 2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        """The scores."""
        x = self.stem(x)
        x = self.after(torch.relu(self.norm(self.body(x)))) + self.downsample(x)
        return self.head(torch.relu(x).mean(dim=(2, 3)))


@network
def residual() -> Made:
    """Names that need a mapping, one module that is not used, and the prefix of `DataParallel`."""
    return nn.DataParallel(Residual()), (2, 3, 6, 7)


@network
def normalizations() -> Made:
    """Everything that normalizes, over all of a grid too; and both forms of PReLU."""
    return (
        nn.Sequential(
            nn.Conv2d(2, 6, 3),
            nn.LayerNorm((6, 4, 5)),
            nn.PReLU(6),
            nn.GroupNorm(3, 6),
            nn.PReLU(),
            nn.InstanceNorm2d(6, affine=True),
            nn.Conv2d(6, 3, 2),
        ),
        (2, 2, 6, 7),
    )


@network
def transposed() -> Made:
    """A transposed convolution of one axis."""
    return nn.Sequential(nn.ConvTranspose1d(3, 4, 5, stride=3, padding=1), nn.ReLU(), nn.Conv1d(4, 2, 1)), (
        2,
        3,
        5,
    )


@network
def transposed3d() -> Made:
    """A transposed convolution of three axes, and names as `torch.compile` makes them."""
    inner = nn.Sequential(nn.ConvTranspose3d(2, 3, (2, 3, 1), stride=2, output_padding=(1, 0, 1)), nn.ReLU())
    return nn.Sequential(inner, nn.Conv3d(3, 2, 1)), (1, 2, 2, 3, 2)


@network
def halves() -> Made:
    """Weights in bfloat16 and float16; and an `eps` that is not the default."""
    return (
        nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8, eps=1e-3, momentum=0.01),
            nn.Flatten(),
            nn.Linear(8 * 2 * 3, 4),
        ),
        (2, 1, 4, 5),
    )


def state_of(name: str, net: Any) -> dict[str, Any]:
    """What is written for a network; `halves` changes it as well."""
    if name == "halves":
        with torch.no_grad():
            for part, kind in ((net[0], torch.bfloat16), (net[3], torch.float16)):
                for parameter in part.parameters():
                    parameter.copy_(parameter.to(kind).float())
    state = dict(net.state_dict())
    if name == "transposed3d":
        state = {
            f"_orig_mod.{key}".replace(".0.0.", ".0._orig_mod.0."): value for key, value in state.items()
        }
    if name == "halves":
        for number, kind in ((0, torch.bfloat16), (3, torch.float16)):
            state |= {key: value.to(kind) for key, value in state.items() if key.startswith(f"{number}.")}
        for key, module in net.named_modules():
            if hasattr(module, "eps"):
                state |= {
                    f"{key}.eps": torch.tensor(module.eps),
                    f"{key}.momentum": torch.tensor(module.momentum),
                }
        state = {f"backbone.{key}": value for key, value in state.items()} | {"head.weight": torch.zeros(1)}
    return {key: value.contiguous() for key, value in state.items()}


def main() -> None:
    """Writes the files into the folder that is given."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    expected: dict[str, Any] = {}
    for number, (name, make) in enumerate(NETWORKS.items()):
        torch.manual_seed(number)
        net, shape = make()
        with torch.no_grad():
            for parameter in [*net.parameters(), *net.buffers()]:  # also those that begin as ones or zeros
                if parameter.dtype == torch.float32:
                    parameter.copy_(parameter * 0.7 + torch.rand(parameter.shape) * 0.3 + 0.02)
            state = state_of(name, net)
            x = torch.randn(shape)
            y = net.eval()(x)
        path = folder / f"{name}.safetensors"
        save_file(state, path)
        path.chmod(0o644)
        expected |= {f"{name}.x": x.numpy(), f"{name}.y": y.numpy()}
    np.savez(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
