"""PyTorch: eager calls, in both memory layouts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Array, Convolution, Network, Task

__all__ = ["Library"]

_LAST = "channels last"


class Library:
    """See `Peer`."""

    layouts = ("channels first", _LAST)

    def __init__(self, threads: int) -> None:
        # The optimizers load its compiler for GPUs, whose LLVM aborts a process that holds TensorFlow's too.
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(threads)
        self._torch.set_num_interop_threads(1)
        self.version = f"PyTorch {self._torch.__version__}"

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """Symmetric ones where strides give the same output size, as everybody writes it in PyTorch."""
        if problem.padding == "same" and problem.stride > 1:
            half = (problem.kernel - 1) * problem.dilation // 2
            return half, half
        return problem.pads

    def convolution(
        self, problem: Convolution, which: str, layout: str, operands: tuple[Array, Array, Array]
    ) -> Task:
        """See `Peer`."""
        torch, rank = self._torch, problem.rank
        before, after = self.pads(problem)
        shape = [problem.batch, problem.c_in, *[problem.size] * rank]
        x, kernel, dy = operands
        x, dy = self._place(x, layout), self._place(dy, layout)
        kernel = self._place_kernel(kernel, layout)
        axes = kernel.ndim - 2
        # A series in channels-last order is an image of one row.
        one, none = [1] * (axes - rank), [0] * (axes - rank)
        stride, dilation = [*one, *[problem.stride] * rank], [*one, *[problem.dilation] * rank]
        padding = [*none, *[before if before == after else 0] * rank]
        lopsided = [before, after] * rank if before != after else None
        shape[2:2] = one
        padded = torch.empty([*shape[:-rank], *[problem.size + before + after] * rank]) if lopsided else x
        padded = padded.contiguous(memory_format=_format(torch, axes, layout))
        pad = torch.nn.functional.pad
        forward = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
        backward = torch.ops.aten.convolution_backward
        common = (None, stride, padding, dilation, False, [0] * axes, problem.groups)

        def call() -> Any:
            with torch.inference_mode():
                if which == "forward":
                    wide = pad(x, lopsided) if lopsided else x
                    return forward(wide, kernel, None, stride, padding, dilation, problem.groups)
                if which == "input gradient":
                    dx = backward(dy, padded, kernel, *common, [True, False, False])[0]
                    for axis in range(dx.ndim - rank, dx.ndim) if lopsided else ():
                        dx = dx.narrow(axis, before, problem.size)
                    return dx
                wide = pad(x, lopsided) if lopsided else x
                return backward(dy, wide, kernel, *common, [False, True, False])[1]

        def result() -> list[Array]:
            value = call()
            order = (*range(2, value.ndim), 1, 0) if which == "kernel gradient" else None
            array = value.permute(order) if order else value.movedim(1, -1)
            expected = {
                "forward": problem.y_shape,
                "input gradient": problem.x_shape,
                "kernel gradient": problem.kernel_shape,
            }
            return [np.ascontiguousarray(array.numpy()).reshape(expected[which])]

        return Task(call, result)

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """See `Peer`."""
        torch, shape = self._torch, x.shape
        tensor = self._place(x, layout)
        axes = tensor.ndim - 2
        pool = (torch.max_pool1d, torch.max_pool2d, torch.max_pool3d)[axes - 1]
        window = [1] * (axes + 2 - len(shape)) + [size] * (len(shape) - 2)

        def call() -> Any:
            with torch.inference_mode():
                return pool(tensor, window)

        out = (shape[0], *(n // size for n in shape[1:-1]), shape[-1])
        return Task(call, lambda: [call().movedim(1, -1).numpy().reshape(out)])

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """See `Peer`."""
        torch = self._torch
        model = self._module(network, weights, layout)
        # The model does not know that its series are images of one row.
        x = self._place(data[0], layout)
        y = torch.from_numpy(data[1].astype(np.int64))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
        loss_of = torch.nn.functional.cross_entropy

        def train() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        def infer() -> Any:
            with torch.inference_mode():
                return model(x)

        return (
            Task(train, lambda: [np.array([train().item() for _ in range(3)])]),
            Task(infer, lambda: [infer().numpy()]),
        )

    def _module(self, network: Network, weights: Sequence[Array], layout: str) -> Any:
        """The network as a module that holds these weights."""
        nn, rank, last = self._torch.nn, network.rank, layout == _LAST
        flat = rank == 1 and last
        axes = 2 if flat else rank
        one, none = [1] * (axes - rank), [0] * (axes - rank)
        modules: list[Any] = []
        left = list(weights)
        shapes = network.shapes()
        flattened = None
        for i, (kind, *numbers) in enumerate(network.layers):
            if kind == "conv":
                filters, kernel, stride, _ = numbers
                pads = network.pads(i)
                even = all(before == after for before, after in pads)
                if not even:
                    # From the last axis to the first.
                    amounts = [n for pair in reversed(pads) for n in pair] + [0, 0] * (axes - rank)
                    modules.append(
                        (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)[axes - 1](amounts, 0.0)
                    )
                module = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](
                    shapes[i][-1],
                    filters,
                    [*one, *[kernel] * rank],
                    [*one, *[stride] * rank],
                    [*none, *(before if even else 0 for before, _ in pads)],
                )
                self._fill(module, self._place_kernel(left.pop(0), layout), left.pop(0))
            elif kind == "pool":
                window = [*one, *[numbers[0]] * rank]
                module = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[axes - 1](window)
            elif kind == "gap":
                modules.append(
                    (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[axes - 1](1)
                )
                module = nn.Flatten()
            elif kind == "flatten":
                module, flattened = nn.Flatten(), shapes[i]
            else:
                module = nn.Linear(shapes[i][0], numbers[0])
                kernel = left.pop(0)
                if flattened:  # its rows are in channels-last order
                    kernel = np.moveaxis(kernel.reshape(*flattened, -1), -2, 0).reshape(kernel.shape)
                    flattened = None
                self._fill(module, self._torch.tensor(np.ascontiguousarray(kernel.T)), left.pop(0))
            modules.append(module)
            if kind in ("conv", "dense") and not network.ends()[i]:
                modules.append(nn.ReLU())
        model = nn.Sequential(*modules)
        return model.to(memory_format=_format(self._torch, axes, layout)) if last else model

    def _fill(self, module: Any, weight: Any, bias: Array) -> None:
        """Sets the weights of a module."""
        with self._torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(self._torch.from_numpy(bias))

    def _place(self, array: Array, layout: str) -> Any:
        """Channels-last NumPy to a tensor of logical shape batch, channels, space."""
        if layout == _LAST and array.ndim == 3:
            array = array[:, None]
        tensor = self._torch.from_numpy(np.moveaxis(array, -1, 1))
        return tensor.contiguous(memory_format=_format(self._torch, array.ndim - 2, layout))

    def _place_kernel(self, kernel: Array, layout: str) -> Any:
        """Keras' order to filters, channels, space."""
        if layout == _LAST and kernel.ndim == 3:
            kernel = kernel[None]
        axes = kernel.ndim - 2
        tensor = self._torch.from_numpy(np.transpose(kernel, (axes + 1, axes, *range(axes))))
        return tensor.contiguous(memory_format=_format(self._torch, axes, layout))


def _format(torch: Any, axes: int, layout: str) -> Any:
    """The memory format of a layout."""
    if layout != _LAST or axes == 1:
        return torch.contiguous_format
    return torch.channels_last if axes == 2 else torch.channels_last_3d
