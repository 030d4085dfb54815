"""TensorFlow: eager operations, and networks of Keras inside one `tf.function`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import Array, Convolution, Network, Task, UnsupportedError

__all__ = ["Library"]


class Library:
    """See `Peer`."""

    layouts = ("channels last",)

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["KERAS_BACKEND"] = "tensorflow"
        self._tf: Any = importlib.import_module("tensorflow")
        self._keras: Any = importlib.import_module("keras")
        self._tf.config.threading.set_intra_op_parallelism_threads(threads)
        self._tf.config.threading.set_inter_op_parallelism_threads(1)
        self.version = f"TensorFlow {self._tf.__version__}, Keras {self._keras.__version__}"

    def pads(self, problem: Convolution) -> tuple[int, int]:
        """See `Peer`."""
        return problem.pads

    def convolution(
        self, problem: Convolution, which: str, layout: str, operands: tuple[Array, Array, Array]
    ) -> Task:
        """See `Peer`."""
        tf, ops, rank = self._tf, self._tf.raw_ops, problem.rank
        x, kernel, dy = (tf.constant(array) for array in operands)
        shapes = [problem.x_shape, problem.kernel_shape, problem.y_shape]
        if rank == 1:  # an image of one row
            x, dy, kernel = x[:, None], dy[:, None], kernel[None]
        depthwise = problem.groups == problem.c_in > 1
        if problem.groups > 1 and not depthwise and which != "forward":
            raise UnsupportedError("gradients of grouped convolutions run on its GPU only")
        name = "Conv3D" if rank == 3 else "DepthwiseConv2dNative" if depthwise else "Conv2D"
        options: dict[str, Any] = {"padding": problem.padding.upper()}
        if problem.padding == "causal":
            options = {"padding": "EXPLICIT", "explicit_paddings": [0, 0, 0, 0, *problem.pads, 0, 0]}
        one = [1] * (x.ndim - 2 - rank)
        options["strides"] = [1, *one, *[problem.stride] * rank, 1]
        options["dilations"] = [1, *one, *[problem.dilation] * rank, 1]
        if depthwise:
            kernel = tf.reshape(kernel, (*kernel.shape[:-2], problem.c_in, -1))
        suffix = "V2" if rank == 3 else ""
        if which == "forward":
            operation = getattr(ops, name)
            arguments = {"input": x, "filter": kernel}
        elif which == "input gradient":
            operation = getattr(ops, f"{name}BackpropInput{suffix}")
            arguments = {"input_sizes": tf.shape(x), "filter": kernel, "out_backprop": dy}
        else:
            operation = getattr(ops, f"{name}BackpropFilter{suffix}")
            arguments = {"input": x, "filter_sizes": tf.shape(kernel), "out_backprop": dy}

        def call() -> Any:
            return operation(**arguments, **options)

        expected = shapes[{"forward": 2, "input gradient": 0, "kernel gradient": 1}[which]]
        return Task(call, lambda: [call().numpy().reshape(expected)])

    def max_pooling(self, x: Array, size: int, layout: str) -> Task:
        """See `Peer`."""
        tensor = self._tf.constant(x)

        def call() -> Any:
            return self._tf.nn.max_pool(tensor, size, size, "VALID")

        return Task(call, lambda: [call().numpy()])

    def network(
        self, network: Network, weights: Sequence[Array], data: tuple[Array, Array], layout: str
    ) -> tuple[Task, Task]:
        """See `Peer`."""
        return self.tasks(self._model(network, weights), self._keras.optimizers.Adam(1e-3), data)

    def tasks(self, model: Any, optimizer: Any, data: tuple[Array, Array]) -> tuple[Task, Task]:
        """The training step of a model of Keras, and its inference."""
        tf = self._tf
        x, y = tf.constant(data[0]), tf.constant(data[1].astype(np.int32))
        loss_of = self._keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer.build(model.trainable_variables)

        @tf.function  # type: ignore[untyped-decorator]
        def train(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=True))
            optimizer.apply(tape.gradient(loss, model.trainable_variables))
            return loss

        @tf.function  # type: ignore[untyped-decorator]
        def infer(x: Any) -> Any:
            return model(x, training=False)

        return (
            Task(lambda: train(x, y), lambda: [np.array([float(train(x, y)) for _ in range(3)])]),
            Task(lambda: infer(x), lambda: [infer(x).numpy()]),
        )

    def _model(self, network: Network, weights: Sequence[Array]) -> Any:
        """The network in Keras, with these weights."""
        layers, rank = self._keras.layers, network.rank
        stack = [self._keras.Input(network.input_shape)]
        for (kind, *numbers), end in zip(network.layers, network.ends(), strict=True):
            relu = None if end else "relu"
            if kind == "conv":
                filters, kernel, stride, padding = numbers
                convolution = getattr(layers, f"Conv{rank}D")
                stack.append(convolution(filters, kernel, stride, padding, activation=relu))
            elif kind == "pool":
                stack.append(getattr(layers, f"MaxPooling{rank}D")(numbers[0]))
            elif kind == "gap":
                stack.append(getattr(layers, f"GlobalAveragePooling{rank}D")())
            elif kind == "flatten":
                stack.append(layers.Flatten())
            else:
                stack.append(layers.Dense(numbers[0], activation=relu))
        model = self._keras.Sequential(stack)
        model.set_weights(list(weights))
        return model
