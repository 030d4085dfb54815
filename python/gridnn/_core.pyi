"""The compiled engine. Private: the public names live in :mod:`gridnn`.

Arrays named ``x`` may have any of the types uint8, int8, uint16, int16, int32, uint32, int64, uint64, float32
and float64 and must be C-contiguous; they are read in place and never copied as a whole.
"""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_CustomObjective = Callable[
    [int, NDArray[np.float64]], tuple[NDArray[np.float64], float, NDArray[np.float64]] | None
]
_Target = tuple[NDArray[Any] | None, NDArray[np.float64] | None, Sequence[tuple[int, float]], str | None]
_Peers = Any  # see gridnn._network.Peers
_Scores = tuple[list[tuple[float, float, list[list[float]]]], float]

__all__ = [
    "Network",
    "OptimizerState",
    "__version__",
    "after_fork",
    "available_tiers",
    "average_pool",
    "average_pool_grad",
    "before_fork",
    "compiled_tiers",
    "constrained",
    "convolution",
    "convolution_input_grad",
    "convolution_kernel_grad",
    "convolution_shape",
    "derive_seed",
    "fused_tiers",
    "get_convolution_algorithm",
    "get_num_threads",
    "global_average_pool",
    "global_average_pool_grad",
    "global_max_pool",
    "global_max_pool_grad",
    "initial_values",
    "learning_rate",
    "load_tensors",
    "loss_values",
    "max_pool",
    "max_pool_grad",
    "metric_counts",
    "metric_values",
    "multiply_adds",
    "output_shapes",
    "pad",
    "pad_grad",
    "pad_output_shape",
    "penalty",
    "permutation",
    "place_window",
    "pool_output_shape",
    "prediction_share",
    "save_tensors",
    "separable_convolution",
    "separable_convolution_input_grad",
    "separable_convolution_kernel_grad",
    "set_convolution_algorithm",
    "set_num_threads",
    "simd_tier",
    "weight_shapes",
    "write_file",
]

__version__: str

# Arguments of the functional API as users write them: the engine reads the plain forms and asks
# `gridnn.functional._options` and `._arrays` about the others. A `rank` of None is that of the first array.
_Array = Any
_Window = tuple[Any, Any, Any, Any, Any]
"""Pool size, strides, padding, dilation rate, ceil mode."""

_ConvOptions = tuple[Any, Any, Any, Any, Any, Any, Any]
"""Strides, padding, padding mode, dilation rate, groups, output padding, algorithm."""

def simd_tier() -> str:
    """The instruction set in use, one of `available_tiers`."""

def before_fork() -> None:
    """Takes the engine's locks, on the thread that forks."""

def after_fork() -> None:
    """Gives them back, in the parent and in the child."""

def available_tiers() -> list[str]:
    """Every tier this CPU can run, best first."""

def fused_tiers() -> list[str]:
    """Those of them that round multiply and add together: they give the same bytes."""

def compiled_tiers() -> list[tuple[str, list[str]]]:
    """Every tier that this library was compiled with, best first, and the CPU features that it needs."""

def get_num_threads() -> int:
    """How many threads the engine uses."""

def set_num_threads(count: int) -> None:
    """Uses `count` threads from the next call on, even where there are fewer cores."""

def get_convolution_algorithm() -> str:
    """What convolutions take where a call does not say: ``"auto"`` or ``"direct"``."""

def set_convolution_algorithm(algorithm: str) -> None:
    """Sets what convolutions take where a call does not say.

    Raises:
        ValueError: `algorithm` is neither ``"auto"`` nor ``"direct"``.
    """

def multiply_adds(rounds: int) -> int:
    """Multiply-adds in registers on the calling thread, without the GIL: the speed that benches measure by.

    Returns:
        How many operations that were, two per multiply-add.
    """

def permutation(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of ``range(length)``, the same on every machine, from the counter-based generator."""

def derive_seed(seed: int, counter: int) -> int:
    """A new 64-bit seed from a seed and a counter."""

def max_pool(rank: int | None, x: _Array, window: _Window, indices: bool, out: NDArray[Any] | None) -> Any:
    """The maxima; if asked for, a pair of them and their positions."""

def max_pool_grad(
    rank: int | None, dy: _Array, x: _Array, window: _Window, out: NDArray[Any] | None
) -> NDArray[Any]:
    """The gradient of `max_pool`."""

def average_pool(
    rank: int | None, x: _Array, window: _Window, count_include_pad: bool, out: NDArray[Any] | None
) -> NDArray[Any]:
    """The means."""

def average_pool_grad(
    rank: int | None,
    dy: _Array,
    input_shape: Sequence[int],
    window: _Window,
    count_include_pad: bool,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """The gradient of `average_pool`."""

def pool_output_shape(input_shape: tuple[int, ...], window: _Window) -> tuple[int, ...]:
    """The output shape of a pool, batch and channels included."""

def global_max_pool(rank: int | None, x: _Array, keepdims: bool) -> NDArray[Any]:
    """The maximum of each channel over the whole grid."""

def global_max_pool_grad(rank: int | None, dy: _Array, x: _Array, keepdims: bool) -> NDArray[Any]:
    """The gradient of `global_max_pool`."""

def global_average_pool(rank: int | None, x: _Array, keepdims: bool) -> NDArray[Any]:
    """The mean of each channel over the whole grid."""

def global_average_pool_grad(
    rank: int | None, dy: _Array, input_shape: Sequence[int], keepdims: bool
) -> NDArray[Any]:
    """The gradient of `global_average_pool`."""

def pad(rank: int | None, x: _Array, padding: tuple[Any, Any]) -> NDArray[Any]:
    """The array with its spatial axes extended; `padding` is ``(paddings, mode)``."""

def pad_grad(rank: int | None, dy: _Array, padding: tuple[Any, Any]) -> NDArray[Any]:
    """The adjoint of `pad`."""

def pad_output_shape(input_shape: tuple[int, ...], padding: tuple[Any, Any]) -> tuple[int, ...]:
    """The output shape of `pad`, batch and channels included."""

def place_window(
    sizes: Sequence[int],
    kernel_size: Sequence[int],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    dilation_rate: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int] | None,
) -> list[tuple[int, int, int, int]]:
    """Where a window stands: ``(input, output, before, after)`` per axis, the last two elements of padding.

    A transposed window is placed on its output: ``input`` is what the layer puts out, ``output`` what it
    takes in, ``before`` what is cropped in front.
    """

@final
class Network:
    """A built model: parameters, optimizer state and cached execution plans.

    Every method may be called from several threads, and releases the GIL. Predictions, evaluations and copies
    of weights run side by side; what changes the network runs alone.
    """

    def __new__(cls, description: str, seed: int, custom_layers: Sequence[object] = ...) -> Network:
        """Builds a network.

        Args:
            description: JSON ``{"dtype": "float32" | "float64", "layers": [{"class_name", "name", "config"},
                ...], "outputs": [...]}``. First come one ``Input`` or several, with ``config["shape"]``
                (without the batch axis; unknown sizes are null), then layers. A layer reads the entries of
                the list that its ``inputs`` name, else the one before it; with ``shares`` it is a further
                call of an entry, and has its weights; with ``inference`` it always acts as at inference.
                ``outputs`` are entries as well, by default the last one.
            seed: seed of the initial weights.
            custom_layers: whoever computes the layers called "Custom", which have their index here as
                ``config["number"]``; see `gridnn._network.CustomLayer`. They are referred to weakly.

        Raises:
            ShapeError, ValueError: a layer does not fit its input; the message names it.
            MemoryError: the weights do not fit into memory.
        """

    @property
    def input_shapes(self) -> list[tuple[int | None, ...]]:
        """What goes into every layer, numbered as in `output_shapes`, without the batch axis."""

    @property
    def output_shapes(self) -> list[tuple[int | None, ...]]:
        """What comes out of every layer of the description, without the batch axis.

        Inputs come first; a container comes in front of the layers that it holds.
        """

    @property
    def results(self) -> list[tuple[int | None, ...]]:
        """What comes out of the model, output by output, without the batch axis."""

    @property
    def weights(self) -> list[tuple[int, str, tuple[int, ...], bool]]:
        """One ``(position of its layer, name, shape, trainable)`` per weight, in Keras' order."""

    @property
    def macs(self) -> list[int | None]:
        """Multiply-adds of one sample per layer of the description; None where the input size is unknown."""

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights, in the order of `weights`."""

    def set_weights(self, values: Sequence[NDArray[Any]]) -> None:
        """Sets all weights, or none: count, shapes and types (those of the network) are checked first."""

    def get_weight(self, index: int) -> NDArray[Any]: ...
    def set_weight(self, index: int, value: NDArray[Any]) -> None: ...
    def get_gradients(self) -> list[NDArray[Any]]:
        """Gradients of the last training step, in the order of the trainable entries of `weights`."""

    def set_trainable(self, layer: int, trainable: bool) -> None:
        """Freezes or thaws the weights of the layer at this position. Never replans."""

    def compile(self, description: str) -> None:
        """Sets optimizer, loss and metrics; resets the optimizer state.

        Args:
            description: JSON ``{"optimizer": {"class_name", "config", ...} | null, "outputs": [{"loss":
                {"class_name", "config"} | null, "reduction": str, "weight": float, "metrics": [{"class_name",
                "config"}, ...], "weighted_metrics": int}, ...]}``; every choice that depends on the data
                (``from_logits``, which accuracy) is resolved. The last `weighted_metrics` of the metrics are
                weighted as samples are.
        """

    def train_step(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[_Target],
        indices: NDArray[np.int64] | None,
        learning_rate: float,
        seed: int,
        custom_objective: _CustomObjective | None = None,
        peers: _Peers | None = None,
    ) -> _Scores:
        """One optimizer step on rows `indices` of inputs and targets (None: all rows).

        Every output has a target: labels, None where there is no loss; weights of samples or of all their
        positions, flat, or None; classes with weights of their positions; and "nearest" or "bilinear" where
        labels follow layers that move samples, or None.
        Integer labels are class numbers for sparse losses. Random numbers come from (seed, `iterations`,
        sample, position). `custom_objective` is called with the number and the values of every output before
        the loss; it returns None, or weighted losses of the samples, how many values they sum up and the
        gradient of the output. `peers` are other ranks that make the same call on the same batch.

        Returns:
            For every output ``(sum of the loss, its count, [what each metric counts])``; and the penalty of
            the weights.

        Raises:
            NonFiniteError: loss or a gradient is NaN or infinite; the first layer concerned is named; nothing
                has changed.
            KeyboardInterrupt: nothing has changed.
        """

    def evaluate_step(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[_Target],
        indices: NDArray[np.int64] | None,
        custom_objective: _CustomObjective | None = None,
        peers: _Peers | None = None,
    ) -> _Scores:
        """Loss and metrics in inference mode; returns the same as `train_step`."""

    @property
    def moves(self) -> bool:
        """Whether layers may move what targets have to follow."""

    def target_grids(
        self, inputs: Sequence[Sequence[int]]
    ) -> list[tuple[list[list[int]], int, bool, str | None]]:
        """What targets of every output may look like, for inputs of these sizes.

        Returns:
            Of every output the grids before each layer that targets follow, and that of the output; how many
            of them may be given in training; whether samples are mixed; and why targets cannot follow, or
            None.
        """

    def moved_targets(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[_Target],
        indices: NDArray[np.int64] | None,
        seed: int | None = None,
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64] | None] | None]:
        """The targets and weights that the next step with this seed compares outputs with.

        Returns:
            Of every output those of the rows of the batch, in order; None where they are the given ones.
            Without a seed, in inference.
        """

    def finalize(self) -> None:
        """Replaces the trainable weights by their average, if there is one and a step was taken."""

    def predict(
        self, x: Sequence[NDArray[Any]], batch_size: int, peers: _Peers | None = None
    ) -> list[NDArray[Any]]:
        """The outputs for every row of `x`, in inference mode, in batches of `batch_size`."""

    def inspect(
        self, x: Sequence[NDArray[Any]], seed: tuple[int, NDArray[Any]] | None = None
    ) -> tuple[list[NDArray[Any] | None], list[NDArray[Any] | None], list[NDArray[Any]]]:
        """Runs a batch in inference mode and keeps everything.

        Args:
            x: the batch.
            seed: position of a layer and the gradient to its output, from which gradients flow back; None for
                values only.

        Returns:
            Outputs by position of the layer (inputs come first; None where the layer of `seed` does not
            depend on it), the gradients of the same, and those of the weights, in the order of `weights`;
            without `seed` no gradients.
        """

    def inspect_loss(
        self,
        x: Sequence[NDArray[Any]],
        targets: Sequence[_Target],
        custom_objective: _CustomObjective | None = None,
    ) -> tuple[
        tuple[list[NDArray[Any] | None], list[NDArray[Any] | None], list[NDArray[Any]]],
        _Scores,
    ]:
        """The same with the gradients of the compiled loss, and what `evaluate_step` returns."""

    def forward(self, x: Sequence[NDArray[Any]], training: bool, seed: int) -> list[NDArray[Any]]:
        """The outputs for one batch; with `training`, dropout is active."""

    @property
    def iterations(self) -> int:
        """Optimizer steps taken."""

    def optimizer_state(self) -> dict[str, NDArray[Any]]:
        """Copies of the optimizer's slots (flat, one array a slot, e.g. ``"momentum"``, ``"velocity"``)."""

    def set_optimizer_state(self, state: dict[str, NDArray[Any]], iterations: int) -> None: ...
    def release_memory(self) -> None:
        """Gives back plans and what steps work in; the next step makes them anew."""

    def trace(self, on: bool) -> list[tuple[int, str, float]]:
        """Begins or ends a record of tasks; returns what was recorded: phase, work and seconds of each."""

    def traffic(self, batch_size: int, ranks: int) -> list[list[tuple[str, int]]]:
        """What rank 0 of `ranks` sends in a training step: what for, and bytes, exchange by exchange."""

    def chunks(self, batch_size: int) -> int:
        """In how many chunks a training step is cut: the most ranks that can share it; 1 where none can."""

    def training_share(self, batch_size: int, rank: int, ranks: int) -> tuple[int, int]:
        """The first sample of a batch that a rank trains on, and the one behind its last."""

    def memory(self, batch_size: int, training: bool, optimizer: str | None = None) -> int:
        """Bytes that a step on this batch size takes.

        Args:
            batch_size: samples of the step.
            training: whether it trains.
            optimizer: JSON, as in `compile`, of the one that will train; None for that which was compiled.
        """

@final
class OptimizerState:
    """An optimizer on arrays, with its slots. One thread at a time may call it."""

    def __new__(cls, optimizer: str, lens: Sequence[int], dtype: str) -> OptimizerState:
        """An optimizer for arrays of these lengths.

        Args:
            optimizer: JSON, as in `Network.compile`.
            lens: elements of every array.
            dtype: "float32" or "float64", that of all arrays.
        """

    @property
    def iterations(self) -> int:
        """Steps taken."""

    def step(
        self, weights: Sequence[NDArray[Any]], gradients: Sequence[NDArray[Any]], learning_rate: float
    ) -> list[NDArray[Any]]:
        """The weights after one step, each flat; those given are not changed.

        Raises:
            NonFiniteError: a gradient, or what the update makes, is not finite; nothing has changed.
        """

    def finalize(self, weights: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The average of the weights, each flat, where the optimizer keeps one and a step was taken."""

def loss_values(loss: str, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[np.float64]:
    """Values of a loss by its JSON, flat: one a position, or one a group of a loss of overlaps.

    Raises:
        ShapeError: targets do not fit outputs ``(batch, ..., channels)``.
        ValueError: a label is none.
    """

def metric_counts(
    metric: str,
    y_true: NDArray[Any],
    y_pred: NDArray[Any],
    labels: bool,
    weights: NDArray[np.float64] | None,
) -> list[float]:
    """What a metric counts by its JSON over outputs ``(rows, channels)``, each row times its weight."""

def metric_values(
    metric: str, y_true: NDArray[Any], y_pred: NDArray[Any], labels: bool
) -> NDArray[np.float64]:
    """What a metric that is a mean has for every row of outputs."""

def initial_values(initializer: str, shape: Sequence[int], seed: int, dtype: str) -> NDArray[Any]:
    """What an initializer fills an array with, by its JSON.

    Raises:
        ShapeError: it does not fill arrays of this shape.
    """

def penalty(regularizer: str, weights: NDArray[Any]) -> float:
    """What a regularizer charges for an array of float32 or float64, by its JSON."""

def constrained(constraint: str, weights: NDArray[Any]) -> NDArray[Any]:
    """An array of float32 or float64 held to a constraint, by its JSON."""

def learning_rate(schedule: str, step: int) -> float:
    """The learning rate of step `step` by a schedule, JSON ``{"class_name", "config"}``."""

def prediction_share(batch_size: int, rank: int, ranks: int) -> tuple[int, int]:
    """The first sample of a batch that a rank predicts for, and the one behind its last."""

def weight_shapes(
    description: str, custom_layers: Sequence[object] = ...
) -> list[tuple[int, str, list[int]]]:
    """The weights that a description asks for, found without allocating them.

    Returns:
        One ``(position of its layer, name, shape)`` per weight, in the order of `Network.weights`.

    Raises:
        ShapeError, ValueError: a layer does not fit its input; the message names it.
    """

def output_shapes(description: str, custom_layers: Sequence[object] = ...) -> list[tuple[int | None, ...]]:
    """What `Network.output_shapes` would be, found without allocating anything.

    Raises:
        ShapeError, ValueError: a layer does not fit its input; the message names it.
    """

def convolution(
    kind: str,
    rank: int | None,
    x: _Array,
    kernel: _Array,
    bias: _Array | None,
    options: _ConvOptions,
    activation: str | None,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """A convolution: `kind` is "plain", "transposed" or "depthwise"."""

def convolution_input_grad(
    kind: str,
    rank: int | None,
    dy: _Array,
    kernel: _Array,
    input_shape: Sequence[int],
    options: _ConvOptions,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """The gradient of a convolution to its input."""

def convolution_kernel_grad(
    kind: str,
    rank: int | None,
    x: _Array,
    dy: _Array,
    kernel_shape: Sequence[int],
    options: _ConvOptions,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """The gradient of a convolution to its kernel."""

def convolution_shape(
    kind: str, input_shape: Sequence[int], filters: int, kernel_size: Sequence[int], options: _ConvOptions
) -> tuple[int, ...]:
    """The shape of a convolution's output."""

def separable_convolution(
    rank: int | None,
    x: _Array,
    depthwise_kernel: _Array,
    pointwise_kernel: _Array,
    bias: _Array | None,
    options: _ConvOptions,
    activation: str | None,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """A separable convolution."""

def separable_convolution_input_grad(
    rank: int | None,
    dy: _Array,
    depthwise_kernel: _Array,
    pointwise_kernel: _Array,
    input_shape: Sequence[int],
    options: _ConvOptions,
    out: NDArray[Any] | None,
) -> NDArray[Any]:
    """The gradient of a separable convolution to its input."""

def separable_convolution_kernel_grad(
    rank: int | None,
    x: _Array,
    dy: _Array,
    depthwise_kernel: _Array,
    pointwise_kernel: _Array,
    options: _ConvOptions,
    out: tuple[Any, Any] | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The gradients of a separable convolution to its two kernels."""

def save_tensors(path: str, tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> None:
    """Writes one safetensors file atomically (temporary file, fsync, rename, fsync of the folder)."""

def write_file(path: str, contents: bytes) -> None:
    """Writes any other file in the same way."""

def load_tensors(path: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Reads a safetensors file.

    Raises:
        FileFormatError: the file is damaged, truncated or not a safetensors file.
    """
