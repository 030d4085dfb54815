"""`Sequential`: a model that is a list of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from gridnn import _network
from gridnn._network import Shape
from gridnn.layers import base, parts
from gridnn.model import saving
from gridnn.model.base import BaseModel
from gridnn.model.nesting import NestingStack, holds_models
from gridnn.model.trainable import TrainableModel, copied
from gridnn.model.training_state import compile_engine

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Sequential", "copied"]


@saving.kind_of_model
class Sequential(NestingStack):
    """A stack of layers, trained and used as one.

    The model is built (weights exist, shapes are known) as soon as it has an `Input` and another layer, else
    by its first data. Methods may be called from several threads: predictions and evaluations run side by
    side, training waits for them and they for training.

    Args:
        layers: the layers, first to last; more can follow with `add`. A model among them is called there: it
            shares its weights, as in Keras.
        name: name of the model.
        dtype: "float32", or "float64" to compute everything in double precision (for checks of gradients).
        seed: seed of the initial weights; None draws one from the sequence that `gridnn.set_random_seed`
            fixes.

    Raises:
        TypeError: an element is not a layer.
        ValueError: a layer belongs to another model, two have the same name, or one does not fit its input.

    Example:
        >>> import gridnn as gn
        >>> from gridnn import layers
        >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten()])
        >>> model.output_shape
        (None, 144)
    """

    def __init__(
        self,
        layers: Iterable[base.Layer | BaseModel] | None = None,
        *,
        name: str | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        TrainableModel.__init__(self, name, dtype, seed)
        self._stack_up(layers)

    def get_config(self) -> dict[str, Any]:
        """The model without weights as plain JSON values.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> list(model.get_config())
            ['name', 'dtype', 'seed', 'layers', 'build_input_shape']
        """
        return {
            "name": self.name,
            "dtype": self._dtype,
            "seed": self._seed,
            "layers": [self._describe(layer) for layer in self._stack()],
            "build_input_shape": None if self._network is None else list(self._network.input_shape),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new, untrained model with this `get_config`.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> gn.Sequential.from_config(model.get_config()).output_shape
            (None, 2)
        """
        with saving.configuration_of(cls, config):
            layers = [saving.restored(description) for description in config["layers"]]
            model = cls(layers, name=config["name"], dtype=config["dtype"], seed=config["seed"])
            if config["build_input_shape"] is not None:
                model.build((None, *config["build_input_shape"]))
            return model

    @classmethod
    def made_for(cls, config: Mapping[str, Any], check: Callable[[saving.Shapes], None]) -> Self:
        """The model that has this `get_config`, once `check` has seen the shapes of its weights."""
        if holds_models(config):
            model = cls.from_config(config)
            model.make(check)
            return model
        stack = [base.REGISTRY.deserialize(layer) for layer in config["layers"]]
        if not (stack and isinstance(stack[0], parts.Input)) and config["build_input_shape"] is not None:
            stack.insert(0, parts.Input(config["build_input_shape"]))
        known = bool(stack) and isinstance(stack[0], parts.Input)
        descriptions = [layer.engine_description() for layer in stack]
        check(_network.weight_shapes(descriptions, config["dtype"]) if known else {})
        return cls.from_config(config)

    def __repr__(self) -> str:
        state = "built" if self.built else "not built"
        return f"<Sequential '{self.name}': {len(self._layers)} layers, {state}>"

    def _open(self, sizes: Shape) -> None:
        """Builds anew for inputs of these sizes; weights, and what training has made, stay."""
        old, compilation = self.network, self._training_state.compilation
        NestingStack._build(self, sizes)
        if compilation is not None and compilation.in_engine and compilation.objective is not None:
            compilation.in_engine = False
            compile_engine(self, compilation.objective)
            self.network.set_optimizer_state(old.optimizer_state(), old.iterations)

    def _build(self, shape: Shape) -> None:
        """Makes the network; what was compiled is to be compiled into the new one."""
        NestingStack._build(self, shape)
        self._compile_afresh()
