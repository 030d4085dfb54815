"""The handle on a model in the engine; only `_engine` and `functional` import the compiled module as well.

It brings arrays into the few forms the engine reads in place (known types, C-contiguous) and turns
descriptions into the JSON that the engine parses. What the numbers mean is the engine's business, epochs and
files are the callers'.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gridnn import _core, _hints, _sharing
from gridnn._arrays import as_array, as_numbers, narrowed
from gridnn._hints import shapes_agree
from gridnn.errors import ShapeError

__all__ = [
    "CustomLayer",
    "CustomLoss",
    "CustomObjective",
    "Inspection",
    "Network",
    "OutputResult",
    "Peers",
    "StepResult",
    "Target",
    "TargetGrids",
    "WeightInfo",
    "output_shapes",
    "shape_text",
    "weight_shapes",
]

Shape = tuple[int | None, ...]

CustomLoss = tuple[NDArray[np.float64], float, NDArray[np.float64]]
"""Weighted losses of the samples, how many values they sum up, gradient of the reduced loss."""

Random = tuple[int, int, int]
"""Seed of a run, steps taken, position of a layer: where its random numbers come from."""

CustomObjective = Callable[[int, NDArray[np.float64]], CustomLoss | None]
"""Sees an output of a batch (its number and its values) before the loss, which it may take over."""

Target = tuple[NDArray[Any] | None, NDArray[np.float64] | None, Sequence[tuple[int, float]], str | None]
"""What an output is compared with, None where it has no loss; weights of samples or of their positions;
weights of classes; and how targets follow layers that move samples, if they do."""


class TargetGrids(NamedTuple):
    """What the targets of an output may look like."""

    grids: list[list[int]]
    """Sizes of their grid: before each layer that they follow, and those of the output."""
    starts: int
    """How many of them there are in training, where targets follow whatever is drawn."""
    mixes: bool
    """Whether samples are mixed."""
    refusal: str | None
    """Why targets cannot follow."""


_MOST_GRIDS = 64  # shapes of inputs that are remembered

_ALONE: AbstractContextManager[object] = nullcontext()


def shape_text(shape: Sequence[int | None]) -> str:
    """A shape with its batch axis: ``(batch, 28, 28, 1)``; unknown sizes are shown as None."""
    return "(" + ", ".join(["batch", *(str(size) for size in shape)]) + ")"


class Peers(Protocol):
    """Moves bytes between ranks that share batches; the engine calls it between the phases of a step."""

    rank: int
    size: int

    def outbox(self, length: int) -> NDArray[np.uint8]:
        """Memory of at least `length` bytes, for what is sent next."""

    def gather_parts(self, ends: list[int]) -> list[NDArray[np.uint8]]:
        """What all ranks have in their outboxes: one after the other, that of rank r ends at ``ends[r]``."""

    def exchange_parts(self, send_ends: list[int], receive_ends: list[int]) -> list[NDArray[np.uint8]]:
        """The parts that all have for this rank; in the outbox, that for rank r ends at ``send_ends[r]``."""


class CustomLayer(ABC):
    """Computes a layer outside the engine, which waits for it: the base of what does.

    Arrays are of the network's type; shapes are checked here, on the Python side.
    """

    weight_shapes: list[tuple[int, ...]]
    """Shapes of the weights, once `weights` was asked."""

    @abstractmethod
    def weights(self, input_shape: Shape) -> str:
        """The weights that it wants for inputs of this shape, without the batch: a JSON list."""

    @abstractmethod
    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of its outputs, both without the batch."""

    @abstractmethod
    def forward(
        self, x: NDArray[Any], weights: list[NDArray[Any]], random: Random | None, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """The outputs of a batch, which must have `shape`; `random` is None at inference.

        The copies of the weights are to be kept for `backward`.
        """

    @abstractmethod
    def backward(
        self, x: NDArray[Any], dy: NDArray[Any], random: Random | None
    ) -> tuple[NDArray[Any], list[NDArray[Any]]]:
        """The gradient to the inputs, and those to all weights; it follows `forward` of the same batch."""


class WeightInfo(NamedTuple):
    """One weight of a network."""

    layer: int
    """Position of its layer in the description, Input included."""
    name: str
    shape: tuple[int, ...]
    trainable: bool


class OutputResult(NamedTuple):
    """What one batch adds to the running means of an output: sums and what to divide them by."""

    loss_sum: float
    loss_count: float
    metrics: list[list[float]]


class StepResult(NamedTuple):
    """What one batch adds to the running means."""

    outputs: list[OutputResult]
    penalty: float
    """What the weights add to the loss."""

    @property
    def losses(self) -> list[float]:
        """The mean loss of every output."""
        return [output.loss_sum / max(output.loss_count, 1.0) for output in self.outputs]

    @classmethod
    def of(cls, scores: tuple[list[tuple[float, float, list[list[float]]]], float]) -> StepResult:
        """What the engine has returned."""
        return cls([OutputResult(*output) for output in scores[0]], scores[1])


class Inspection(NamedTuple):
    """What a run that keeps everything has found; lists go by position, inputs first."""

    values: list[NDArray[Any] | None]
    """Outputs; None for layers that the one looked at does not depend on."""
    gradients: list[NDArray[Any] | None]
    """Gradients of the same; None if none were asked for."""
    weights: list[NDArray[Any]]
    """Gradients in the order of `Network.weights`; none if none were asked for."""


class Network:
    """A built model in the engine: parameters, optimizer state and execution plans.

    Args:
        layers: engine descriptions, those of the inputs first.
        dtype: "float32" or "float64".
        seed: seed of the initial weights.
        outputs: which of `layers` make the outputs; None for the last one.

    Raises:
        ShapeError, ValueError: a layer does not fit its input; the message names it.
        MemoryError: the weights do not fit into memory.
    """

    def __init__(
        self,
        layers: Sequence[Mapping[str, Any]],
        dtype: str,
        seed: int,
        outputs: Sequence[int] | None = None,
    ) -> None:
        description, self._custom_layers = _description(layers, dtype, outputs)
        self._engine = _core.Network(description, seed, self._custom_layers)
        self.dtype = np.dtype(dtype)
        self.input_shapes: list[Shape] = [tuple(shape) for shape in self._engine.input_shapes]
        self.output_shapes: list[Shape] = [tuple(shape) for shape in self._engine.output_shapes]
        self.results: list[Shape] = [tuple(shape) for shape in self._engine.results]
        """Shape of one output, for every output of the model."""
        self.sources: list[Shape] = self.output_shapes[: _count_inputs(layers)]
        """Shape of one sample, for every input of the model."""
        self._input_shape = self.output_shapes[0]
        self._weights: list[WeightInfo] | None = None
        self.macs = self._engine.macs
        self.moves = self._engine.moves
        """Whether layers may move what targets have to follow."""
        self._grids: dict[tuple[tuple[int, ...], ...], list[TargetGrids]] = {}
        self.group: _sharing.Group | None = None
        """The networks that it shares weights with."""

    def _work(self, *, writes: bool = False) -> AbstractContextManager[object]:
        """While it lasts, weights that other networks have too are up to date."""
        return _ALONE if self.group is None else self.group.work(self, writes)

    def read(self, index: int) -> NDArray[Any]:
        """A copy of one weight as it is here; see `_sharing`."""
        return self._engine.get_weight(index)

    def write(self, index: int, value: NDArray[Any]) -> None:
        """Sets one weight here alone; see `_sharing`."""
        self._engine.set_weight(index, value)

    @property
    def weights(self) -> list[WeightInfo]:
        """All weights, in Keras' order."""
        weights = self._weights
        if weights is None:
            weights = self._weights = [WeightInfo(*info) for info in self._engine.weights]
        return weights

    @property
    def input_shape(self) -> Shape:
        """Shape of one sample, of the first input where there are several."""
        return self.output_shapes[0]

    @property
    def output_shape(self) -> Shape:
        """Shape of one output, of the first where there are several."""
        return self.results[0]

    def as_input(self, value: object, argument: str = "x") -> NDArray[Any]:
        """Returns `value` as an array this network takes.

        Raises:
            ShapeError: rank or sizes do not fit the network's input.
        """
        array = as_array(value, argument)
        sizes = array.shape[1:]
        if sizes != self._input_shape and not shapes_agree(self._input_shape, sizes):
            hint = _hints.for_input(self._input_shape, array.shape, argument)
            raise ShapeError(
                f"`{argument}` does not fit the model's Input: expected shape "
                f"{shape_text(self.input_shape)}, received {array.shape}.{hint}"
            )
        return array

    def as_inputs(self, arrays: Sequence[NDArray[Any]], names: Sequence[str]) -> None:
        """Checks the arrays of several inputs, which messages call `names`.

        Raises:
            ShapeError: rank or sizes do not fit an input.
        """
        for array, shape, name in zip(arrays, self.sources, names, strict=True):
            if not shapes_agree(shape, array.shape[1:]):
                hint = _hints.for_input(shape, array.shape, name)
                raise ShapeError(
                    f"`{name}` does not fit the model's Input: expected shape {shape_text(shape)}, received "
                    f"{array.shape}.{hint}"
                )

    # Weights

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights, in Keras' order."""
        with self._work():
            return self._engine.get_weights()

    def get_weight(self, index: int) -> NDArray[Any]:
        """A copy of one weight."""
        with self._work():
            return self._engine.get_weight(index)

    def as_weight(self, index: int, value: object, owner: str) -> NDArray[Any]:
        """Returns `value` as weight number `index` of this network.

        Raises:
            ShapeError: the shape is another.
        """
        info = self.weights[index]
        array = as_numbers(value, f"{owner}: weight '{info.name}'")
        if array.shape != info.shape:
            raise ShapeError(f"{owner}: weight '{info.name}' has shape {info.shape}. Received {array.shape}.")
        return narrowed(array, self.dtype, f"{owner}: weight '{info.name}'")

    def set_weights(self, values: Sequence[NDArray[Any]]) -> None:
        """Sets all weights, or none; `values` come from `as_weight`."""
        with self._work(writes=True):
            self._engine.set_weights(list(values))

    def set_weight(self, index: int, value: NDArray[Any]) -> None:
        """Sets one weight; `value` comes from `as_weight`."""
        with self._work(writes=True):
            self._engine.set_weight(index, value)

    def get_gradients(self) -> list[NDArray[Any]]:
        """Gradients of the last training step, one per trainable weight."""
        return self._engine.get_gradients()

    def set_trainable(self, layer: int, trainable: bool) -> None:
        """Freezes or thaws the weights of the layer at this position."""
        self._engine.set_trainable(layer, trainable)
        self._weights = None  # read when somebody asks: a loop over many layers need not list all each time

    # Training and inference

    def compile(self, optimizer: Mapping[str, Any] | None, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Sets optimizer, and of every output loss and metrics; the optimizer starts afresh.

        Args:
            optimizer: engine description.
            outputs: ``{"loss", "reduction", "weight", "metrics", "weighted_metrics"}`` each, with engine
                descriptions; the last number says how many metrics, at the end, samples' weights count for.
        """
        description = {"optimizer": optimizer, "outputs": list(outputs)}
        with self._work():  # a slot may begin with the weights
            self._engine.compile(json.dumps(description, allow_nan=False))

    def train_step(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[Target],
        indices: NDArray[np.int64] | None,
        learning_rate: float,
        seed: int,
        custom: CustomObjective | None = None,
        peers: Peers | None = None,
    ) -> StepResult:
        """One optimizer step on rows `indices` (None: all) of canonical arrays, shared with `peers`."""
        with self._work(writes=True):
            return StepResult.of(
                self._engine.train_step(x, targets, indices, learning_rate, seed, custom, peers)
            )

    def target_grids(self, x: Sequence[NDArray[Any]]) -> list[TargetGrids]:
        """What targets of every output may look like for such inputs."""
        shapes = tuple(array.shape[1:] for array in x)
        if shapes not in self._grids:
            if len(self._grids) >= _MOST_GRIDS:
                self._grids.clear()
            self._grids[shapes] = [TargetGrids(*own) for own in self._engine.target_grids(shapes)]
        return self._grids[shapes]

    def moved_targets(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[Target],
        indices: NDArray[np.int64] | None,
        seed: int | None,
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64] | None] | None]:
        """Targets and weights as the next step compares with them; None of outputs where nothing moves."""
        return self._engine.moved_targets(x, targets, indices, seed)

    def evaluate_step(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[Target],
        indices: NDArray[np.int64] | None,
        custom: CustomObjective | None = None,
        peers: Peers | None = None,
    ) -> StepResult:
        """Losses and metrics in inference mode."""
        with self._work():
            return StepResult.of(self._engine.evaluate_step(x, targets, indices, custom, peers))

    def predict(
        self, x: Sequence[NDArray[Any]], batch_size: int, peers: Peers | None = None
    ) -> list[NDArray[Any]]:
        """All outputs for every row of `x`, in inference mode."""
        with self._work():
            return self._engine.predict(x, batch_size, peers)

    def forward(self, x: Sequence[NDArray[Any]], training: bool, seed: int) -> list[NDArray[Any]]:
        """All outputs for one batch; with `training`, dropout is active."""
        with self._work():
            return self._engine.forward(x, training, seed)

    def finalize(self) -> None:
        """Replaces the weights by their moving average, where the optimizer keeps one."""
        with self._work(writes=True):
            self._engine.finalize()

    def inspect(
        self, x: Sequence[NDArray[Any]], position: int | None = None, dy: NDArray[Any] | None = None
    ) -> Inspection:
        """Everything that a batch makes on its way, in inference mode.

        Args:
            x: the batch, an array for each input.
            position: of the layer to stop at; None for all layers.
            dy: gradient to its output, from which gradients flow back.
        """
        seed = None if position is None or dy is None else (position, dy)
        with self._work():
            return Inspection(*self._engine.inspect(x, seed))

    def inspect_loss(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[Target],
        custom: CustomObjective | None = None,
    ) -> tuple[Inspection, StepResult]:
        """The same with the gradients of the compiled losses, and the losses."""
        with self._work():
            tensors, scores = self._engine.inspect_loss(x, targets, custom)
        return Inspection(*tensors), StepResult.of(scores)

    def traffic(self, batch_size: int, ranks: int) -> list[list[tuple[str, int]]]:
        """What each exchange of a training step is for, and the bytes that rank 0 sends in it."""
        return self._engine.traffic(batch_size, ranks)

    def chunks(self, batch_size: int) -> int:
        """The most ranks that can share a training step on `batch_size` samples."""
        return self._engine.chunks(batch_size)

    def training_share(self, batch_size: int, rank: int, ranks: int) -> range:
        """The samples of a batch that a rank computes in a training step."""
        return range(*self._engine.training_share(batch_size, rank, ranks))

    def memory(self, batch_size: int, training: bool, optimizer: Mapping[str, Any] | None = None) -> int:
        """Bytes that a step on `batch_size` samples takes, as planned.

        Args:
            batch_size: samples of the step.
            training: whether it trains.
            optimizer: engine description of the one that will train; None for that which was compiled.
        """
        described = None if optimizer is None else json.dumps(optimizer, allow_nan=False)
        return self._engine.memory(batch_size, training, described)

    def release_memory(self) -> None:
        """Gives back what only saves time: plans, packed weights, and the memory that steps work in."""
        self._engine.release_memory()

    # State

    @property
    def iterations(self) -> int:
        """Optimizer steps taken."""
        return self._engine.iterations

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Copies of the optimizer's slots."""
        return self._engine.optimizer_state()

    def set_optimizer_state(self, state: dict[str, NDArray[Any]], iterations: int) -> None:
        """Restores what `optimizer_state` returned.

        Raises:
            ShapeError, ValueError: the slots are not those of the compiled optimizer; nothing has changed.
        """
        own = self._engine.optimizer_state()
        if state.keys() != own.keys():
            raise ValueError(f"the optimizer has the slots {sorted(own)}; received {sorted(state)}")
        for slot, values in own.items():
            if state[slot].shape != values.shape or state[slot].dtype != values.dtype:
                raise ShapeError(
                    f"optimizer slot '{slot}' is {values.dtype} of shape {values.shape}; received "
                    f"{state[slot].dtype} of shape {state[slot].shape}"
                )
        self._engine.set_optimizer_state(state, iterations)


def weight_shapes(
    layers: Sequence[Mapping[str, Any]], dtype: str, outputs: Sequence[int] | None = None
) -> dict[tuple[int, str], tuple[int, ...]]:
    """Shapes of the weights that `Network(layers, dtype, seed)` would have, without taking memory for them.

    Returns:
        ``(position of the layer, name of the weight)`` -> shape, in Keras' order.

    Raises:
        ShapeError, ValueError: a layer does not fit its input; the message names it.
    """
    shapes = _core.weight_shapes(*_description(layers, dtype, outputs))
    return {(layer, name): tuple(shape) for layer, name, shape in shapes}


def output_shapes(layers: Sequence[Mapping[str, Any]]) -> list[Shape]:
    """Shapes of what layers would make, by their positions, without taking memory for them.

    Raises:
        ShapeError, ValueError: a layer does not fit its input; the message names it.
    """
    return [tuple(shape) for shape in _core.output_shapes(*_description(layers, "float32", None))]


def _count_inputs(layers: Sequence[Mapping[str, Any]]) -> int:
    count = 0
    while count < len(layers) and layers[count]["class_name"] == "Input":
        count += 1
    return count


def _description(
    layers: Sequence[Mapping[str, Any]], dtype: str, outputs: Sequence[int] | None
) -> tuple[str, list[CustomLayer]]:
    """A model in the form that the engine parses, and the custom layers that it names by their number."""
    custom: list[CustomLayer] = []

    def number(value: object) -> int:
        if not isinstance(value, CustomLayer):
            raise TypeError(f"{value!r} is not part of a description")
        custom.append(value)
        return len(custom) - 1

    description: dict[str, Any] = {"dtype": dtype, "layers": list(layers)}
    if outputs is not None:
        description["outputs"] = list(outputs)
    return json.dumps(description, allow_nan=False, default=number), custom
