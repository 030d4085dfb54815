"""Architectures as plain descriptions, and what other libraries make of them.

A chain is a list of layers, each ``[kind, options, number of its weights]`` with the names and options of
Keras; ``["Residual", {}, branches]`` adds the results of chains, ``["Parallel", {}, branches]`` joins them
along the channels, and an empty chain passes its input on. Nothing here imports gridnn: the workers of the
other libraries have only these descriptions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from libraries import peers

__all__ = ["RATE", "Chain", "describe", "network"]

Chain = list[list[Any]]

RATE, MOMENTUM = 1e-5, 0.9
"""Of the gradient descent that everybody trains with; larger steps drive deep normalised networks apart."""

_OPTIONS = (
    "activation",
    "cropping",
    "dilation_rate",
    "epsilon",
    "filters",
    "kernel_size",
    "max_value",
    "momentum",
    "padding",
    "pool_size",
    "strides",
    "units",
    "use_bias",
)


def describe(layers: Sequence[Any]) -> Chain:
    """The chain of a model's layers."""
    chain: Chain = []
    for layer in layers:
        kind, config = type(layer).__name__, layer.get_config()
        if kind == "Input":
            continue
        if kind == "Residual":
            chain.append([kind, {}, [describe(layer.layers), describe(layer.shortcut or ())]])
        elif kind == "Parallel":
            assert layer.merge == "concat"
            chain.append([kind, {}, [describe(branch) for branch in layer.branches]])
        elif kind == "Dropout":
            assert config["rate"] == 0, "losses of three steps can be compared without dropout only"
        else:
            assert config.get("padding_mode", "zeros") == "zeros"
            assert config.get("groups", 1) == 1
            assert not config.get("ceil_mode")
            options = {name: config[name] for name in _OPTIONS if config.get(name) is not None}
            chain.append([kind, options, len(layer.get_weights())])
    return chain


def network(
    library: Any, chain: Chain, weights: Sequence[Any], data: tuple[Any, Any], layout: str
) -> tuple[peers.Task, peers.Task]:
    """A training step, whose result is the losses of three steps, and inference, of TensorFlow or PyTorch."""
    makers: dict[str, Callable[..., tuple[peers.Task, peers.Task]]] = {
        "tensorflow": _tensorflow,
        "pytorch": _pytorch,
    }
    maker = makers.get(type(library).__module__.rpartition(".")[2])
    if maker is None:
        raise peers.UnsupportedError("no twin of the architectures is written for it")
    return maker(library, chain, list(weights), data, layout)


def _tensorflow(
    library: Any, chain: Chain, weights: list[Any], data: tuple[Any, Any], layout: str
) -> tuple[peers.Task, peers.Task]:
    keras = library._keras
    inputs = keras.Input(data[0].shape[1:])
    model = keras.Model(inputs, _keras_chain(keras, chain, inputs, weights))
    made: tuple[peers.Task, peers.Task] = library.tasks(
        model, keras.optimizers.SGD(RATE, momentum=MOMENTUM), data
    )
    return made


def _keras_chain(keras: Any, chain: Chain, tensor: Any, weights: list[Any]) -> Any:
    for kind, options, own in chain:
        if kind in ("Residual", "Parallel"):
            merge = keras.layers.add if kind == "Residual" else keras.layers.concatenate
            tensor = merge([_keras_chain(keras, branch, tensor, weights) for branch in own])
            continue
        if isinstance(options.get("padding"), list):
            # Before a pool as well, as `keras.applications` has it: what comes is a ReLU's.
            rank = len(tensor.shape) - 2
            tensor = getattr(keras.layers, f"ZeroPadding{rank}D")(options["padding"])(tensor)
            options = {**options, "padding": "valid"}
        if kind == "Cropping1D":
            options = {"cropping": tuple(options["cropping"][0])}
        layer = getattr(keras.layers, kind)(**options)
        tensor = layer(tensor)
        if own:
            layer.set_weights([weights.pop(0) for _ in range(own)])
    return tensor


def _pytorch(
    library: Any, chain: Chain, weights: list[Any], data: tuple[Any, Any], layout: str
) -> tuple[peers.Task, peers.Task]:
    torch = library._torch
    rank, last = data[0].ndim - 2, layout == "channels last"
    model = _Modules(torch, library, rank, layout).chain(chain, data[0].shape[1:], weights)[0]
    if last:
        model = model.to(memory_format=torch.channels_last_3d if rank == 3 else torch.channels_last)
    x = library._place(data[0], layout)
    y = torch.from_numpy(data[1].astype(np.int64))
    if y.ndim > 1 and last and rank == 1:
        y = y[:, None]
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True)

    def train() -> Any:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def infer() -> Any:
        model.eval()
        with torch.inference_mode():
            return model(x)

    def outputs() -> Any:
        value = infer()
        return np.ascontiguousarray((value.movedim(1, -1) if value.ndim > 2 else value).numpy())

    return (
        peers.Task(train, lambda: [np.array([train().item() for _ in range(3)])]),
        peers.Task(infer, lambda: [outputs()]),
    )


class _Modules:
    """Makes modules of PyTorch. A series in channels-last order is an image of one row."""

    def __init__(self, torch: Any, library: Any, rank: int, layout: str) -> None:
        self.torch, self.library, self.rank, self.layout = torch, library, rank, layout
        self.axes = 2 if rank == 1 and layout == "channels last" else rank
        self.none = self.axes - rank

    def chain(self, chain: Chain, shape: tuple[int, ...], weights: list[Any]) -> tuple[Any, tuple[int, ...]]:
        """A module for a chain, and the shape that leaves it, channels last and without the batch axis."""
        nn = self.torch.nn
        modules = []
        for kind, options, own in chain:
            if kind in ("Residual", "Parallel"):
                made = [self.chain(branch, shape, weights) for branch in own]
                modules.append(_joined(self.torch, [module for module, _ in made], kind == "Residual"))
                shapes = [after for _, after in made]
                channels = shapes[0][-1] if kind == "Residual" else sum(after[-1] for after in shapes)
                shape = (*shapes[0][:-1], channels)
            else:
                shape = self.layer(modules, kind, options, shape, [weights.pop(0) for _ in range(own)])
        return nn.Sequential(*modules), shape

    def layer(
        self, modules: list[Any], kind: str, options: dict[str, Any], shape: tuple[int, ...], own: list[Any]
    ) -> tuple[int, ...]:
        """Appends the modules of one layer; the shape that leaves it."""
        nn, torch = self.torch.nn, self.torch
        named = kind.replace(f"{self.rank}D", "")
        if kind == "ReLU":
            assert options.get("max_value", 6) == 6
            modules.append(nn.ReLU6() if "max_value" in options else nn.ReLU())
        elif kind == "BatchNormalization":
            name = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")[self.axes - 1]
            norm = getattr(nn, name)(shape[-1], eps=options["epsilon"], momentum=1 - options["momentum"])
            with torch.no_grad():
                for target, value in zip(
                    (norm.weight, norm.bias, norm.running_mean, norm.running_var), own, strict=True
                ):
                    target.copy_(torch.from_numpy(value))
            modules.append(norm)
        elif kind == "Flatten":
            modules.append(nn.Flatten())
            return shape
        elif kind == "Dense":
            kernel = own[0]
            module = nn.Linear(kernel.shape[0], kernel.shape[1])
            if len(shape) > 1:  # flattened, and its rows are in channels-last order
                kernel = np.moveaxis(kernel.reshape(*shape, -1), -2, 0).reshape(kernel.shape)
            self.fill(module, torch.tensor(np.ascontiguousarray(kernel.T)), own[1:])
            modules.append(module)
            shape = (kernel.shape[1],)
        elif named == "GlobalAveragePooling":
            modules.append(
                (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[self.axes - 1](1)
            )
            modules.append(nn.Flatten())
            return shape[-1:]
        elif named == "Cropping":
            before, after = options["cropping"][0]
            modules.append(_cropped(torch, before, shape[0] - after))
            return (shape[0] - before - after, *shape[1:])
        else:
            shape = self.windowed(modules, named, options, shape, own)
        if options.get("activation") == "relu":
            modules.append(nn.ReLU())
        else:
            assert options.get("activation", "linear") == "linear"
        return shape

    def windowed(
        self, modules: list[Any], named: str, options: dict[str, Any], shape: tuple[int, ...], own: list[Any]
    ) -> tuple[int, ...]:
        """A convolution or a pool, with a module for padding that its own cannot do."""
        nn, axes, rank = self.torch.nn, self.axes, self.rank
        kernel = options.get("kernel_size") or options["pool_size"]
        strides, dilation = options["strides"], options.get("dilation_rate", [1] * rank)
        if named.endswith("Transpose"):
            assert options["padding"] == "valid"
            module = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1](
                shape[-1], options["filters"], kernel, strides
            )
            order = (rank + 1, rank, *range(rank))
            weight = self.torch.from_numpy(np.ascontiguousarray(np.transpose(own[0], order)))
            self.fill(module, weight, own[1:])
            modules.append(module)
            sizes = [(n - 1) * s + k for n, s, k in zip(shape, strides, kernel, strict=False)]
            return (*sizes, options["filters"])
        pads = [
            _pads(options["padding"], axis, n, k, s, d)
            for axis, (n, k, s, d) in enumerate(zip(shape[:-1], kernel, strides, dilation, strict=True))
        ]
        even = all(before == after for before, after in pads)
        if not even:
            amounts = [n for pair in reversed(pads) for n in pair] + [0, 0] * self.none
            value = float("-inf") if named == "MaxPooling" else 0.0
            modules.append((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)[axes - 1](amounts, value))
        one, none = [1] * self.none, [0] * self.none
        padding = [*none, *(before if even else 0 for before, _ in pads)]
        windows, steps = [*one, *kernel], [*one, *strides]
        sizes = [
            (n + sum(pair) - (k - 1) * d - 1) // s + 1
            for n, pair, k, s, d in zip(shape, pads, kernel, strides, dilation, strict=False)
        ]
        if named == "MaxPooling":
            modules.append((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[axes - 1](windows, steps, padding))
            return (*sizes, shape[-1])
        groups = shape[-1] if named == "DepthwiseConv" else 1
        filters = options.get("filters", shape[-1])
        module = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
            shape[-1], filters, windows, steps, padding, [*one, *dilation], groups, bias=len(own) > 1
        )
        weight = np.swapaxes(own[0], -1, -2) if groups > 1 else own[0]
        self.fill(module, self.library._place_kernel(weight, self.layout), own[1:])
        modules.append(module)
        return (*sizes, filters)

    def fill(self, module: Any, weight: Any, bias: list[Any]) -> None:
        """Sets the weights of a module."""
        with self.torch.no_grad():
            module.weight.copy_(weight)
            if bias:
                module.bias.copy_(self.torch.from_numpy(bias[0]))


def _pads(padding: Any, axis: int, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Elements before and after an axis, by the rules of Keras."""
    if isinstance(padding, list):
        before, after = padding[axis]
        return before, after
    return peers.Convolution(1, 1, size, 1, 1, kernel, stride, dilation, padding).pads


def _joined(torch: Any, branches: list[Any], add: bool) -> Any:
    """A module that adds, or concatenates, what its branches make of one input."""

    class Joined(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.branches = torch.nn.ModuleList(branches)

        def forward(self, x: Any) -> Any:
            results = [branch(x) for branch in self.branches]
            return sum(results[1:], results[0]) if add else torch.cat(results, 1)

    return Joined()


def _cropped(torch: Any, start: int, end: int) -> Any:
    """A module that cuts the last axis."""

    class Cropped(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x[..., start:end]

    return Cropped()
