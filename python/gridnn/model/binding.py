"""`Binder`: the data arguments of `fit` and `evaluate`, checked and turned into sources of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _hints, _validation
from gridnn._arrays import as_array
from gridnn._batches import is_batch, is_batches
from gridnn._reading import Batches
from gridnn._structures import spread
from gridnn.losses import Loss
from gridnn.model.class_weight import OutputClassWeight
from gridnn.model.data import DEFAULT_BATCH_SIZE, Arrays, Target, as_sample_weight, as_targets, check_lengths
from gridnn.model.following import Follow
from gridnn.model.sources import ArraySource, IterableSource, PassSource, ReadSource, Source
from gridnn.model.training_state import compilation_of, compile_engine, resolve

if TYPE_CHECKING:
    from gridnn.model.protocol import Model


def optional_count(value: object, name: str) -> int | None:
    """A positive integer, or None."""
    return None if value is None else _validation.positive_integer(value, name)


def batch_size_or_default(value: object) -> int:
    """A positive integer; None is 32."""
    return DEFAULT_BATCH_SIZE if value is None else _validation.positive_integer(value, "batch_size")


class Binder:
    """Makes sources of batches for one model; builds the model where it was not.

    Args:
        model: the model that will see the batches.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    def arrays(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        prefix: str = "",
        follow: Follow | None = None,
    ) -> Arrays:
        """Canonical arrays that fit the model.

        Args:
            x: inputs.
            y: targets.
            sample_weight: one number per sample, or one for each position of its targets, or None.
            prefix: what comes before the arguments' names in messages.
            follow: how targets follow layers that move samples; None is the default of inference.

        Raises:
            ValueError: empty, of different lengths, or unsuitable as inputs or targets of this model.
            TypeError: not numbers.
        """
        if y is None:
            pair = isinstance(x, (tuple, list)) and len(x) in (2, 3) and len(self._model.input_names) == 1
            if pair and all(hasattr(a, "__array__") for a in x):
                raise ValueError(
                    f"`{prefix}y` is missing, and `{prefix}x` is a {type(x).__name__} of {len(x)} arrays: if "
                    "they are inputs, targets and weights, pass them as arguments of their own."
                )
            if callable(x) and not hasattr(x, "__array__"):
                raise TypeError(f"`{prefix}x` is a function: pass what it returns, {prefix}x().")
            if prefix:
                raise ValueError(
                    f"`{prefix}y` is missing: the `{prefix}data` argument must have targets as well, (x, y)."
                )
            raise ValueError("`y` is missing: pass targets, or an iterable of (x, y) batches as `x`.")
        follow = follow or Follow.of("auto", self._model.output_names).validating()
        if len(self._model.input_names) == len(self._model.output_names) == 1:
            return self._single(x, y, sample_weight, prefix, follow)
        return self._several(x, y, sample_weight, prefix, follow)

    def inputs(self, x: object, argument: str = "x") -> tuple[NDArray[Any], ...]:
        """Canonical arrays for the inputs of the model, of the same length.

        Raises:
            ValueError: they do not fit the model.
            TypeError: not numbers.
        """
        model = self._model
        names = model.input_names
        if len(names) == 1:
            array = as_array(self._only(x, names[0]), argument)
            return (model.network_for(array, argument).as_input(array, argument),)
        labels = [f"{argument}['{name}']" for name in names]
        given = spread(x, names, argument, "input")
        arrays = [as_array(value, label) for value, label in zip(given, labels, strict=True)]
        model.network.as_inputs(arrays, labels)
        check_lengths(dict(zip(labels, arrays, strict=True)), allow_empty=True)
        return tuple(arrays)

    def _only(self, x: Any, name: str) -> object:
        """The array for the only input, which may be in a list or a dict."""
        if type(x) is np.ndarray:  # what most calls bring: looking at protocols takes a share of a small step
            return x
        if isinstance(x, Mapping) and name in x:
            return spread(x, [name], "x", "input")[0]
        if isinstance(x, (list, tuple)) and len(x) == 1 and self._model.built:
            # A sample has an axis less than a batch of them.
            axes = len(self._model.network.input_shape) + 1
            return x[0] if getattr(x[0], "ndim", None) == axes else x
        return x

    def _single(self, x: Any, y: Any, sample_weight: Any, prefix: str, follow: Follow) -> Arrays:
        """Those for one input and one output."""
        inputs = as_array(self._only(x, self._model.input_names[0]), prefix + "x")
        if type(y) is not np.ndarray and isinstance(y, Mapping):
            y = spread(y, self._model.output_names, prefix + "y", "output")[0]
        if sample_weight is not None and isinstance(sample_weight, Mapping):
            names = self._model.output_names
            sample_weight = spread(sample_weight, names, prefix + "sample_weight", "output", gaps=True)[0]
        targets = as_array(y, prefix + "y")
        try:
            if len(inputs) != len(targets) or not len(inputs):
                check_lengths({prefix + "x": inputs, prefix + "y": targets})
        except ValueError as error:
            if not (self._model.built and len(inputs) and len(targets)):
                raise
            network = self._model.network
            shapes = network.input_shape, network.output_shape, inputs.shape, targets.shape
            raise ValueError(f"{error}{_hints.for_lengths(*shapes, prefix)}") from None
        network = self._model.network_for(inputs, prefix + "x")
        inputs = network.as_input(inputs, prefix + "x")
        objectives = resolve(self._model, [targets.shape])
        loss = objectives.outputs[0].loss
        assert loss is not None  # `resolve` has refused a model without one
        shape, moving = follow.target(0, network, (inputs,), targets, loss, prefix + "y")
        targets = as_targets(targets, loss, shape, network.dtype, prefix + "y")
        weights = None
        if sample_weight is not None:
            positions = _positions(targets, loss)
            weights = as_sample_weight(sample_weight, len(inputs), prefix + "sample_weight", positions)
        compile_engine(self._model, objectives)
        target = Target(targets, weights, loss, network.output_shape[-1], moving=moving)
        return Arrays((inputs,), (target,), (f"`{prefix}x`",))

    def _several(self, x: Any, y: Any, sample_weight: Any, prefix: str, follow: Follow) -> Arrays:
        """Those for several inputs or outputs."""
        model = self._model
        names = model.output_names
        inputs = self.inputs(x, prefix + "x")
        losses = compilation_of(model).losses
        labels = [f"{prefix}y['{name}']" if len(names) > 1 else f"{prefix}y" for name in names]
        if len(names) > 1 or isinstance(y, Mapping):
            given = spread(y, names, prefix + "y", "output", gaps=True)
        else:
            given = [y]
        arrays = []
        for value, loss, label in zip(given, losses, labels, strict=True):
            if loss is not None and value is None:
                raise ValueError(f"`{label}` is missing: the output has a loss.")
            arrays.append(None if loss is None else as_array(value, label))
        known = {label: array for label, array in zip(labels, arrays, strict=True) if array is not None}
        check_lengths({f"{prefix}x": inputs[0], **known})
        network = model.network
        objectives = resolve(model, [None if array is None else array.shape for array in arrays])
        weights = self._weights(sample_weight, prefix)
        targets = []
        for number, array in enumerate(arrays):
            loss = objectives.outputs[number].loss
            if array is None or loss is None:
                targets.append(Target())
                continue
            shape, moving = follow.target(number, network, inputs, array, loss, labels[number])
            own = as_targets(array, loss, shape, network.dtype, labels[number])
            argument, weight = weights[number]
            if weight is not None:
                weight = as_sample_weight(weight, len(inputs[0]), argument, _positions(own, loss))
            targets.append(Target(own, weight, loss, shape[-1], moving=moving))
        compile_engine(model, objectives)
        sources = model.input_names
        called = [f"`{prefix}x['{name}']`" for name in sources] if len(sources) > 1 else [f"`{prefix}x`"]
        return Arrays(inputs, tuple(targets), tuple(called))

    def _weights(self, sample_weight: Any, prefix: str) -> list[tuple[str, Any]]:
        """What the weights of every output are called, and they, not checked; None where there are none."""
        names, argument = self._model.output_names, prefix + "sample_weight"
        structured = isinstance(sample_weight, Mapping) or (
            isinstance(sample_weight, (list, tuple))
            and any(item is None or hasattr(item, "__len__") for item in sample_weight)
        )
        if sample_weight is None or not structured:
            return [(argument, sample_weight)] * len(names)
        given = spread(sample_weight, names, argument, "output", gaps=True)
        return [(f"{argument}['{name}']", weight) for name, weight in zip(names, given, strict=True)]

    def training(
        self,
        x: Any,
        y: object,
        sample_weight: object,
        class_weight: OutputClassWeight | None,
        validation_split: float,
        batch_size: int | None,
        steps: int | None,
        shuffle_seed: int | None,
        follow: Follow,
    ) -> tuple[Source, Arrays | None]:
        """The batches to train on, and the rows that `validation_split` holds out."""
        steps = optional_count(steps, "steps_per_epoch")
        split = _validation.real(validation_split, "validation_split", low=0.0, high=1.0)
        if is_batches(x, y, inputs=len(self._model.input_names)):
            refused = {
                "y": y,
                "batch_size": batch_size,
                "sample_weight": sample_weight,
                "validation_split": split or None,
            }
            _refuse_with_batches(x, refused)
            if isinstance(x, Batches):
                return ReadSource(x, self._bind(class_weight, follow), steps, shuffle_seed), None
            return IterableSource(x, self._bind(class_weight, follow), steps), None
        arrays = self.arrays(x, y, sample_weight, follow=follow)
        held_out = None
        if split:
            # The last samples, before any shuffling, and class weights are for training alone: Keras' rules.
            cut = math.floor(len(arrays) * (1.0 - split))
            if cut in (0, len(arrays)):
                raise ValueError(
                    f"Training data contains {len(arrays)} samples, which is not sufficient to split it "
                    f"into a validation and training set as specified by `validation_split={split}`."
                )
            arrays, held_out = arrays.rows(0, cut), arrays.rows(cut, len(arrays))
        if class_weight is not None:
            arrays = arrays.with_class_weight(class_weight, self._model.output_names)
        return ArraySource(arrays, batch_size_or_default(batch_size), steps, shuffle_seed), held_out

    def validation(
        self,
        data: Any,
        held_out: Arrays | None,
        batch_size: int | None,
        steps: int | None,
        follow: Follow,
    ) -> Source | None:
        """The batches to validate on: those of `data`, else of the rows held out, else None."""
        steps = optional_count(steps, "validation_steps")
        if data is None:
            return None if held_out is None else _limited(held_out, batch_size, steps)
        several = len(self._model.input_names) > 1
        pair = isinstance(data, (tuple, list)) and len(data) in (2, 3)
        if pair and (isinstance(data, tuple) if several else not is_batch(data[0])):
            arrays = self.arrays(*data, prefix="validation_", follow=follow)
            return _limited(arrays, batch_size, steps)
        if isinstance(data, (tuple, list)) and not is_batches(data, inputs=len(self._model.input_names)):
            raise ValueError(
                "The `validation_data` argument must be (x, y), (x, y, sample_weight) or an iterable of such "
                f"batches; the batches of a list are tuples. Received a {type(data).__name__} of {len(data)} "
                "elements."
            )
        if not is_batches(data):
            raise TypeError(
                "The `validation_data` argument must be (x, y), (x, y, sample_weight) or an iterable of "
                f"such batches. Received {type(data).__name__}."
            )
        return PassSource(data, self._bind(None, follow), steps, "validation_data", again=True)

    def evaluation(
        self, x: Any, y: object, sample_weight: object, batch_size: int | None, steps: int | None
    ) -> Source:
        """The batches to evaluate on."""
        steps = optional_count(steps, "steps")
        if is_batches(x, y, inputs=len(self._model.input_names)):
            _refuse_with_batches(x, {"y": y, "batch_size": batch_size, "sample_weight": sample_weight})
            return PassSource(x, self._bind(None), steps, "x", again=False)
        return _limited(self.arrays(x, y, sample_weight), batch_size, steps)

    def _bind(
        self, class_weight: OutputClassWeight | None, follow: Follow | None = None
    ) -> Callable[[object, object, object | None], Arrays]:
        """What makes canonical arrays of one batch of an iterable."""
        given = class_weight.values() if isinstance(class_weight, Mapping) else [class_weight]
        if any(isinstance(own, str) and own == "balanced" for own in given):
            raise ValueError(
                "`class_weight='balanced'` needs all labels at once: pass arrays, or the weights."
            )

        def bind(x: object, y: object, sample_weight: object | None) -> Arrays:
            arrays = self.arrays(x, y, sample_weight, follow=follow)
            return arrays.with_class_weight(class_weight, self._model.output_names)

        return bind


def _positions(y: NDArray[Any], loss: Loss) -> tuple[int, ...]:
    """Sizes of the grid that targets have."""
    return y.shape[1:] if loss.targets == "labels" else y.shape[1:-1]


def _limited(arrays: Arrays, batch_size: int | None, steps: int | None) -> ArraySource:
    """The rows of at most `steps` batches, in order."""
    size = batch_size_or_default(batch_size)
    if steps is not None:
        arrays = arrays.rows(0, min(steps * size, len(arrays)))
    return ArraySource(arrays, size)


def _refuse_with_batches(x: object, arguments: Mapping[str, object]) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"`{name}` cannot be given when `x` yields batches (x, y) or (x, y, sample_weight) itself. "
                f"Received x of type {type(x).__name__}; if it is meant as one array, pass numpy.asarray(x) "
                "or numpy.stack(list(x))."
            )
