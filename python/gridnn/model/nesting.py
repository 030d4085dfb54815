"""`NestingStack`: a stack with models among its layers, which is a graph that calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from gridnn._graph import Graph
from gridnn._network import Network, Shape
from gridnn.layers import base, parts
from gridnn.model import saving
from gridnn.model.base import BaseModel
from gridnn.model.functional import Model
from gridnn.model.stack import LayerStack
from gridnn.model.tracing import entries_of

__all__ = ["NestingStack", "holds_models"]


class NestingStack(LayerStack, Model):
    """A stack of layers and models. With models it is what `Model` is, else what `LayerStack` is."""

    @property
    def graph(self) -> Graph:
        """All layers, what they read, and their shapes if the model is built."""
        if self.nests and self._traced is not None:
            return cast("Graph", Model.graph.__get__(self))
        return cast("Graph", LayerStack.graph.__get__(self))

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs: of the layers that make them."""
        return [self.name_of(self._layers[-1])] if self._layers else ["output"]

    def name_of(self, owner: Any) -> str:
        """The name that an input, a layer or a model has in this one."""
        return self._model_names.get(id(owner)) or str(owner.name)

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer or model of this name, or the one at this index of `layers`.

        What is not among `layers` is looked for inside of them; ask a model for its own layers where several
        have the same name.

        Raises:
            ValueError: there is none, or not exactly one argument is given.

        Example:
            >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(3, name="first"), layers.Dense(2)])
            >>> model.get_layer("first") is model.layers[0]
            True
        """
        if name is not None and index is None:
            for owner in self._layers:
                if self.name_of(owner) == name:
                    return owner
        return LayerStack.get_layer(self, name, index)

    def _family(self) -> Iterator[base.Layer]:
        if self.nests and self._traced is not None:
            yield from Model._family(self)
            return
        seen: set[int] = set()
        for owner in self._layers:
            for layer in owner._family():
                if id(layer) not in seen:
                    seen.add(id(layer))
                    yield layer

    def _shapes_for(self, inputs: Sequence[Shape]) -> list[Shape]:
        """Shapes of the outputs of one sample, for inputs of these shapes."""
        if not self.nests:
            return LayerStack._shapes_for(self, inputs)
        traced = self._calls_from(parts.Input(tuple(inputs[0])))
        self._forget(traced)
        return [traced.outputs[0].shape[1:]]

    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for inputs of another shape, with weights of its own."""
        kind: Any = Model if self.nests else LayerStack
        return cast("Network", kind.network_like(self, input_shape))

    def _build(self, shape: Shape) -> None:
        """Makes the network; layers that had weights keep them."""
        if not self.nests:
            LayerStack._build(self, shape)
            return
        self._set_nesting(self._layers)
        old = self._network
        self._forget_structure()
        source = self._input or parts.Input(shape)
        traced = self._calls_from(source)
        try:
            names = {id(owner): self.name_of(owner) for owner in (source, *self._layers)}
            self._entries, self._ends = entries_of(traced, names)
            self._trace = self._traced = traced
            self._own_names = names
            self._input_keys = self._output_keys = None
            self._input_form = self._output_form = "tensor"
            if saving.builds():
                self._make(old)
        except BaseException:
            self._forget(traced)
            self._traced = None
            raise

    def _describe(self, owner: Any) -> dict[str, Any]:
        """A layer or a model as part of the configuration."""
        if isinstance(owner, BaseModel):
            config = {**owner.get_config(), "name": self.name_of(owner)}
            return {"class_name": type(owner).__name__, "config": config}
        return parts.describe(owner)

    def make(self, check: Any) -> None:
        """See `Model.make`; without a known input there is nothing to make."""
        if self._traced is None:
            check({})
        else:
            Model.make(self, check)


def holds_models(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of a `Sequential` has models among its layers."""
    return any(saving.is_model(description) for description in config["layers"])
