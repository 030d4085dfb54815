"""What a file says about outputs: an activation behind them, names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gridnn import _validation

if TYPE_CHECKING:
    from gridnn._graph import Graph
    from gridnn.model.protocol import Model

__all__ = ["checked_activation", "checked_class_names"]


def checked_activation(model: Model, graph: Graph, activation: str) -> str:
    """The activation to put behind the outputs.

    Raises:
        ValueError: it is none that can stand there, or the outputs are no scores.
    """
    activation = _validation.choice(activation, "activation", ("softmax", "sigmoid"))
    if len(graph.outputs) > 1:
        raise ValueError(
            f"`activation` is for models of one output. Model '{model.name}' has {len(graph.outputs)}."
        )
    if model.output_activation in ("softmax", "sigmoid", "log_softmax"):
        raise ValueError(
            f"Model '{model.name}' ends in {model.output_activation} already: leave `activation` out. "
            f"Received activation={activation!r}."
        )
    return activation


def checked_class_names(model: Model, graph: Graph, class_names: Sequence[str]) -> list[str]:
    """The names as a list.

    Raises:
        TypeError: it is no list of names.
        ValueError: there are more or fewer of them than outputs.
    """
    if isinstance(class_names, str):
        raise TypeError(f"`class_names` must be a list of names. Received {class_names!r}.")
    names = [_validation.string(name, "class_names") for name in class_names]
    channels = (graph.nodes[graph.outputs[0]].output_shape or (None,))[-1]
    # A single score tells two classes apart.
    if len(graph.outputs) > 1 or len(names) not in ({1, 2} if channels == 1 else {channels}):
        raise ValueError(
            f"`class_names` must name the {channels} outputs of model '{model.name}'. Received "
            f"{len(names)} names."
        )
    return names
