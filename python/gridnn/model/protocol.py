"""`Model`: what callbacks, instruments, pictures, reports and files may use of a model.

Those modules know models by these members alone, so that another kind of model needs nothing but them.
Those in `gridnn.model.base.INNER` are for this package: what they return is not for users.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gridnn._graph import Graph
    from gridnn._network import Network, Shape
    from gridnn.callbacks.base import History
    from gridnn.layers.base import Layer
    from gridnn.layers.handles import LayerWeight
    from gridnn.losses import AutomaticCrossentropy, Loss
    from gridnn.model.training_state import TrainingState
    from gridnn.optimizers import Optimizer

__all__ = ["Model"]


class Model(Protocol):
    """A model, as the rest of the package sees it."""

    name: str
    history: History | None
    stop_training: bool

    # Structure

    @property
    def dtype(self) -> str:
        """Type of weights and outputs."""

    @property
    def seed(self) -> int:
        """Seed of the initial weights."""

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, in the order of the outputs, if somebody has given any."""

    @property
    def built(self) -> bool:
        """Whether shapes are known and weights exist."""

    @property
    def layers(self) -> list[Layer]:
        """The layers, without inputs and without those that others hold."""

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, batch axis (None) included."""

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, batch axis (None) included."""

    @property
    def output_activation(self) -> str | None:
        """Activation that the outputs went through."""

    @property
    def output_activations(self) -> list[str | None]:
        """The same for every output."""

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: of the layers that make them."""

    def name_of(self, owner: Any) -> str:
        """The name that an input, a layer or a model has in this one."""

    def packed(self, outputs: Sequence[Any]) -> Any:
        """Something about every output as the model returns it: alone, as a list or as a dict."""

    @property
    def graph(self) -> Graph:
        """All layers, what they read, and their shapes."""

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name, or by its index in `layers`."""

    def get_config(self) -> dict[str, Any]:
        """The model without weights as plain JSON values."""

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Prints a table of the layers."""

    # Weights, and the engine

    @property
    def network(self) -> Network:
        """The engine's part of the model; NotReadyError before the model is built."""

    def network_for(self, x: NDArray[Any], argument: str = "x") -> Network:
        """The network; the model is built for the shape of `x` if it was not."""

    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for other inputs, with weights of its own."""

    def locked(self) -> AbstractContextManager[object]:
        """While it lasts, nobody else changes the structure or what was compiled."""

    @property
    def weights(self) -> list[LayerWeight]:
        """Handles of all weights."""

    def count_params(self) -> int:
        """Number of weights, counting every element."""

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights."""

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, or none."""

    # Training

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer."""

    @property
    def loss(self) -> Loss | AutomaticCrossentropy | None:
        """The loss given to `compile`."""

    @property
    def metrics_names(self) -> list[str]:
        """Keys of logs."""

    @property
    def epoch(self) -> int:
        """Epochs completed."""

    @property
    def iterations(self) -> int:
        """Steps of the optimizer."""

    @property
    def training_state(self) -> TrainingState:
        """What `compile` and `fit` have left beside the weights."""

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
    ) -> Any:
        """The outputs for a data set."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything to one file."""

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights to one file."""
