"""`clone_model`: a model of the same structure, whose layers a function may choose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from gridnn import _validation
from gridnn._seeding import next_seed
from gridnn.layers import base, parts
from gridnn.layers.symbolic import Tensor
from gridnn.model.base import BaseModel
from gridnn.model.compilation import Compilation
from gridnn.model.functional import Model
from gridnn.model.sequential import Sequential
from gridnn.model.trainable import TrainableModel, made_anew

__all__ = ["clone_model"]


def clone_model(
    model: TrainableModel,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> TrainableModel:
    """A model of the same layers with initial weights of its own, compiled as the first one is.

    `copy.deepcopy` copies weights, and everything else, as well.

    Args:
        model: a `Sequential`, or a model of any other structure.
        input_tensors: symbolic tensors to begin with, in the form of the model's inputs; None makes new
            ones.
        clone_function: is given every layer but inputs, and returns the one to stand in its place: another,
            or the same, which then shares its weights. None copies the configuration.
        call_function: called as ``call_function(layer, inputs, training=...)`` to make the new layer's
            output, which it may change; not for a `Sequential`.
        recursive: whether models inside are gone through as well; else `clone_function` is given them whole.

    Raises:
        TypeError: not a model, or not a function.
        ValueError: `input_tensors` have another form than the model's inputs, or `call_function` is given for
            a `Sequential`.

    Example:
        >>> import gridnn as gn
        >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(3)])
        >>> twin = gn.models.clone_model(model)
        >>> (twin.get_weights()[0] == model.get_weights()[0]).any()
        np.False_
        >>> def wider(layer):
        ...     return type(layer).from_config({**layer.get_config(), "units": 5})
        >>> gn.models.clone_model(model, clone_function=wider).output_shape
        (None, 5)
    """
    if not isinstance(model, TrainableModel):
        raise TypeError(f"`model` must be a model. Received {model!r:.200}.")
    for name, function in (("clone_function", clone_function), ("call_function", call_function)):
        if function is not None and not callable(function):
            raise TypeError(f"The `{name}` argument must be a function. Received {function!r:.200}.")
    recursive = _validation.boolean(recursive, "recursive")
    if input_tensors is None and clone_function is None and call_function is None:
        twin = made_anew(model, _reseeded(model.get_config()))
    else:
        twin = _Cloning(clone_function or _afresh, call_function, recursive).clone(model, input_tensors)
    known = model.training_state.compilation
    if known is not None and known.outputs in (None, tuple(twin.output_names)):
        twin.training_state.compilation = _compiled_alike(known)
    return twin


class _Cloning:
    """What layers become, in a model and in those inside.

    Args:
        clone_function: see `clone_model`.
        call_function: see `clone_model`.
        recursive: see `clone_model`.
    """

    def __init__(
        self, clone_function: Callable[[Any], Any], call_function: Callable[..., Any] | None, recursive: bool
    ) -> None:
        self._function = clone_function
        self._call = call_function
        self._recursive = recursive
        self._known: dict[int, Any] = {}

    def clone(self, model: TrainableModel, input_tensors: Any) -> TrainableModel:
        """The model anew."""
        name = model.name if model.named else None
        if isinstance(model, Sequential) and input_tensors is None:
            if self._call is not None:
                raise ValueError(
                    f"Model '{model.name}' is a Sequential, whose layers are called one after the other: "
                    "`call_function` is for a gn.Model."
                )
            first = list(model.inputs) if model.built else []
            inside = [self._owner(owner) for owner in (*first, *model.layers)]
            return Sequential(inside, name=name, dtype=model.dtype, seed=next_seed())
        trace = model.trace()
        made: dict[int, Tensor] = {}
        for tensor, own in zip(trace.inputs, self._inputs(model, input_tensors), strict=True):
            made[id(tensor)] = own
        for call in trace.calls:
            owner = self._owner(call.owner)
            read: Any = [made[id(tensor)] for tensor in call.inputs]
            if len(read) == 1 and not (isinstance(owner, base.Layer) and owner.merges):
                (read,) = read
            if self._call is None:
                results = owner(read, training=call.training)
            else:
                results = self._call(owner, read, training=call.training)
            each = list(results.values()) if isinstance(results, dict) else results
            each = each if isinstance(each, (list, tuple)) else [each]
            made.update({id(old): new for old, new in zip(call.outputs, each, strict=True)})
        outputs = model.packed([made[id(tensor)] for tensor in trace.outputs])
        inputs: Any = [made[id(tensor)] for tensor in trace.inputs]
        if isinstance(model.input, dict):
            inputs = dict(zip(model.input_names, inputs, strict=True))
        elif len(inputs) == 1:
            (inputs,) = inputs
        return Model(inputs, outputs, name=name, dtype=model.dtype, seed=next_seed())

    def _inputs(self, model: TrainableModel, given: Any) -> list[Tensor]:
        """The symbolic tensors to begin with."""
        own = model.trace().inputs
        if given is None:
            return [self._owner(tensor) for tensor in own]
        form = model.input
        if isinstance(form, dict):
            fits = isinstance(given, Mapping) and set(given) == set(form)
            tensors = [given[name] for name in form] if fits else []
        elif isinstance(given, (list, tuple)):
            tensors = list(given)
        else:
            tensors = [given]
        if len(tensors) != len(own) or not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise ValueError(
                f"`input_tensors` must have the same structure as model.input, symbolic tensors for "
                f"{', '.join(model.input_names)}. Received {given!r:.200}."
            )
        return tensors

    def _owner(self, owner: Any) -> Any:
        """What stands in the place of an input, a layer or a model; always the same."""
        if id(owner) not in self._known:
            if isinstance(owner, parts.Input):
                new: Any = type(owner).from_config(owner.get_config())
            elif isinstance(owner, Tensor):
                new = parts.Input(owner.shape[1:], owner.shape[0])  # in the middle of another model
            elif isinstance(owner, TrainableModel) and self._recursive:
                new = self.clone(owner, None)
            else:
                new = self._function(owner)
                if not isinstance(new, (base.Layer, BaseModel)):
                    raise TypeError(
                        f"`clone_function` must return a layer. For {getattr(owner, 'label', owner)} it has "
                        f"returned {new!r:.200}."
                    )
            self._known[id(owner)] = new
        return self._known[id(owner)]


def _afresh(owner: Any) -> Any:
    """A layer or model of the same configuration, with weights of its own."""
    if isinstance(owner, TrainableModel):
        return made_anew(owner, _reseeded(owner.get_config()))
    return parts.restore(parts.describe(owner, free=True))


def _reseeded(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a model with other seeds, those of models inside included."""
    inside = []
    for layer in config["layers"]:
        own = layer["config"]
        nested = "layers" in own and "seed" in own
        inside.append({**layer, "config": _reseeded(own)} if nested else layer)
    return {**config, "layers": inside, "seed": next_seed()}


def _compiled_alike(known: Compilation) -> Compilation:
    """The same optimizer, losses and metrics anew, for another model."""
    own = known.afresh()
    own.optimizer = type(own.optimizer).from_config(own.optimizer.get_config())
    own.metrics, own.weighted_metrics = copy.deepcopy((own.metrics, own.weighted_metrics))
    return own
