"""`Layer`, the base of all layers.

A layer is a description: its configuration is fixed when it is made, and it holds no arrays. Once its model
is built it also gives access to the weights, which live in the model's network.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import contiguous
from gridnn._config import Registry, custom_classes_of
from gridnn._custom import custom_classes
from gridnn._network import Shape
from gridnn.errors import NotReadyError, ShapeError
from gridnn.layers.calls import Calls, build, on_arrays
from gridnn.layers.custom import CallContext, LayerCalls, WantedWeight
from gridnn.layers.first import takes_shapes
from gridnn.layers.handles import LayerWeight, handles_of
from gridnn.layers.placed import Names as Names
from gridnn.layers.placed import Placed
from gridnn.layers.placed import Weight as Weight
from gridnn.layers.symbolic import Call, Tensor, apply, is_symbolic, result_shape

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Layer"]

AnyLayer = TypeVar("AnyLayer", bound="Layer")

_serials = itertools.count()  # in which order layers are made: names without a number go to the first


class Layer(Placed):
    """Base of all layers, and of those that you write in Python.

    The arguments of a layer are kept in attributes of the same names and never change. Called on a symbolic
    tensor, as `gridnn.Input` makes one, a layer returns a symbolic tensor, of which a `gridnn.Model` is made;
    if it is called again, or is part of several models, all share its weights. To use the same configuration
    with other weights make a copy with ``type(layer).from_config(layer.get_config())`` or
    ``copy.deepcopy(layer)``.

    Args:
        name: unique within the model; None takes the class name in snake case, numbered where needed.
        trainable: whether training changes the weights. This one belongs to the model, may be set at any time
            and holds from the next step on.

    A layer of your own is a subclass with `call` and, if anything in front of it or itself is to be trained,
    `backward`: there is no automatic differentiation. `build` asks for weights, `compute_output_shape` says
    what comes out unless that has the shape of the input. Further arguments of the constructor go into
    `config_fields` and into attributes of their names (or into a `get_config`, as in Keras). The engine
    updates the weights, and applies penalties and constraints; training, inference, files and the
    instruments of `gridnn.inspect` treat the layer like any other (receptive fields take it to see all
    positions). It is slower than the built-in ones: arrays are copied, and the engine waits while Python
    computes. What `call` and `backward` see of weights are copies that cannot be written to. A file keeps the
    layer's name and arguments, never its code; see `gridnn.load_model`.

    Example:
        >>> import numpy as np
        >>> import gridnn as gn
        >>> class Scale(gn.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.factor = self.add_weight(shape=input_shape[-1:], initializer="ones")
        ...     def call(self, x):
        ...         return x * self.factor
        ...     def backward(self, x, dy):
        ...         axes = tuple(range(x.ndim - 1))
        ...         return dy * self.factor, {"factor": (dy * x).sum(axis=axes)}
        >>> model = gn.Sequential([gn.Input((8, 3)), Scale(), gn.layers.Flatten(), gn.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> history = model.fit(np.ones((4, 8, 3)), np.ones(4), verbose=0)
        >>> model.layers[0].factor.shape
        (3,)
    """

    _custom_method = "call"

    merges: ClassVar[bool] = False
    """Whether it is called on a list of tensors."""

    @property
    def elementwise(self) -> bool:
        """Whether it treats every value by itself: samples of arrays may then be single numbers."""
        return False

    _first_shape: Shape | None = None
    """What `input_shape` or `input_dim` said: shape of a sample, for the first layer of a `Sequential`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = takes_shapes(cls.__init__)  # type: ignore[method-assign]

    @takes_shapes
    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name, trainable)
        self._calls: list[Call] = []  # on symbolic tensors
        self._array_calls = Calls()
        self._serial = next(_serials)
        self._attributes: dict[str, WantedWeight] = {}  # that stand for them
        self._context: CallContext | None = None

    # Description

    name = Placed.name  # here as well, for the reference

    @property
    def label(self) -> str:
        """How messages call this layer."""
        return f"layer '{self.name}' ({type(self).__name__})"

    @property
    def output_activation(self) -> str | None:
        """Activation its outputs went through; None for layers that arrange, pick or average values.

        "linear" for layers written in Python, which may say otherwise: what ends in "softmax" or "sigmoid"
        makes probabilities.
        """
        return "linear" if self.in_python else getattr(self, "activation", None)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values."""
        return {"name": self._assigned or self._name, **super().get_config()}

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told about this layer; one written in Python goes along itself."""
        if self.in_python:
            return {"class_name": "Custom", "name": self.name, "config": {"number": LayerCalls(self)}}
        return {"class_name": type(self).__name__, "name": self.name, "config": self.engine_config()}

    def __repr__(self) -> str:
        fields = [*self.config_fields, *(["name"] if self._assigned or self._name else [])]
        return f"{type(self).__name__}({', '.join(f'{field}={getattr(self, field)!r}' for field in fields)})"

    # Layers written in Python

    def build(self, input_shape: Any) -> None:
        """Makes the weights for inputs of a shape, unless they exist.

        A model, and a call on an array, do it as well.

        That of a layer written in Python asks for weights with `add_weight`. It is called whenever the model
        is built, and must do the same for the same shape.

        Args:
            input_shape: shape of the input; the batch and other sizes that are not known are None. Of a layer
                that merges a list of shapes.

        Raises:
            ShapeError: the layer does not fit the input.

        Example:
            >>> import gridnn as gn
            >>> layer = gn.layers.Dense(2)
            >>> layer.build((None, 3))
            >>> layer.kernel.shape
            (3, 2)
        """
        if not self.in_python:
            build(self, self._shapes_of(input_shape))

    def add_weight(
        self,
        shape: Sequence[int | None] = (),
        initializer: Any = None,
        *,
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        name: str | None = None,
    ) -> Any:
        """Asks for a weight, in `build`; it is then an attribute of the layer, an array in the model's type.

        Args:
            shape: its shape; () is a single number.
            initializer: see `gridnn.initializers`; None is "glorot_uniform".
            trainable: whether the optimizer updates it; if so, `backward` returns its gradient.
            regularizer: see `gridnn.regularizers`.
            constraint: see `gridnn.constraints`.
            name: its name in files and in the gradients of `backward`; None takes that of the attribute.

        Returns:
            What to assign to an attribute: ``self.kernel = self.add_weight(...)``.
        """
        wanted = WantedWeight.of(name, shape, initializer, trainable, regularizer, constraint)
        self._wanted.append(wanted)
        return wanted

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Shape of the output for an input, both with the batch (None) in front.

        That of a layer written in Python is the input's, unless it says otherwise.

        Args:
            input_shape: shape of the input; of a layer that merges a list of shapes.

        Raises:
            ShapeError, ValueError: the layer does not fit the input.

        Example:
            >>> import gridnn as gn
            >>> gn.layers.Conv2D(4, 3, strides=2).compute_output_shape((None, 28, 28, 1))
            (None, 13, 13, 4)
        """
        if self.in_python:
            return tuple(input_shape)
        shapes = self._shapes_of(input_shape)
        if len(shapes[0]) == 1:
            return shapes[0]
        return (shapes[0][0], *result_shape(self, shapes)[1:])

    def _shapes_of(self, input_shape: Any) -> list[Shape]:
        """Shapes of the inputs, with the batch axis, of one shape or a list of them."""
        problem = (
            f"{self.label}: expected an input shape with the batch axis, as (None, 28, 28, 1). Received "
            f"{input_shape!r}."
        )
        if not isinstance(input_shape, (tuple, list)):
            raise TypeError(problem)
        given = tuple(input_shape)
        shapes = given if given and isinstance(given[0], (tuple, list)) else (given,)
        for shape in shapes:
            if not isinstance(shape, (tuple, list)):
                raise TypeError(problem)
            if len(shape) < 2 and not (self.elementwise and shape):
                raise ShapeError(problem)
            for size in shape:
                if size is not None and _validation.integer(size, "input_shape") < 0:
                    raise ShapeError(problem)
        return [tuple(None if size is None else int(size) for size in shape) for shape in shapes]

    def call(self, x: NDArray[Any], *args: Any, **kwargs: Any) -> NDArray[Any]:
        """The outputs of a layer written in Python: ``call(x)``, or ``call(x, training)``.

        Args:
            x: inputs of a batch, in the model's type.
            *args: nothing, or `training`: whether this is a step of training.
            **kwargs: the same by keyword. So type checkers accept both forms in a subclass.

        Returns:
            Array of the shape that `compute_output_shape` says.
        """
        raise NotImplementedError(f"{self.label} is computed in the engine.")

    def backward(self, x: NDArray[Any], dy: NDArray[Any]) -> Any:
        """The gradients of a layer written in Python. It follows `call` for the same batch.

        Args:
            x: inputs of the batch.
            dy: gradient of the loss to the outputs.

        Returns:
            The gradient to `x`; with trainable weights a pair of it and a dict of the gradients to them, by
            name.
        """
        raise NotImplementedError(f"{self.label} has no `backward`, which training needs.")

    def random_generator(self) -> np.random.Generator:
        """Random numbers for `call` and `backward` in training, both of which get the same.

        They depend on the seed of `fit`, the step and the position of the layer alone.
        """
        if self._context is None or self._context.random is None:
            raise RuntimeError(f"{self.label} has random numbers in training only, inside `call`.")
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self._context.random)))

    def _wanted_weights(self, input_shape: Shape) -> list[WantedWeight]:
        """Builds a layer written in Python anew; the weights that it asks for."""
        self._wanted, self._attributes = [], {}
        self.build(input_shape)
        return self._wanted

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, WantedWeight):
            value.name = value.name or name
            self._attributes[name] = value
        elif name in self.__dict__.get("_attributes", ()):
            self._set_weight(str(self._attributes[name].name), value)
        else:
            super().__setattr__(name, value)

    if not TYPE_CHECKING:  # checkers would take it for a promise that every attribute exists

        def __getattr__(self, name: str) -> Any:
            wanted = self.__dict__.get("_attributes", {}).get(name)
            if wanted is None:
                return object.__getattribute__(self, name)  # for the message that it raises
            context = self._context
            if context is not None and context.thread == threading.get_ident():
                return context.weights[wanted.name]
            return self._weight(wanted.name)

    # A copy is a free layer: it has the name that was asked for, not the one that a model gave.

    def _free_config(self) -> dict[str, Any]:
        """The configuration of a copy."""
        return {**self.get_config(), "name": self._name}

    def __copy__(self) -> Self:
        return _restore(type(self), *self._recipe())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), *self._recipe())

    def _recipe(self) -> tuple[Mapping[str, Any], bool, Mapping[str, type]]:
        """What `_restore` makes a copy from: with the user's classes that its description only names."""
        classes = custom_classes_of(*self._family())
        return self._free_config(), self._trainable, classes

    def _twin(self) -> Self:
        """A copy of the same name, for networks of its own: to build it leaves this one as it is."""
        twin = self.__copy__()
        twin._assigned = self._assigned
        return twin

    # Life in a model

    def _family(self) -> Iterator[Layer]:
        """The layer and all that it holds, in the order of their positions in a network."""
        yield self

    @property
    def built(self) -> bool:
        """Whether the layer's weights exist: those of its model, or those that its first call has made."""
        return self._place is not None or self._array_calls.latest is not None

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = _validation.boolean(value, "trainable")
        if self._place is not None:
            self._place.network.set_trainable(self._place.position, self._trainable)
        for ref, position in self._others:
            network = ref()
            if network is not None:
                network.set_trainable(position, self._trainable)

    @property
    def input_shape(self) -> Shape:
        """Shape of the input, batch axis (None) included."""
        place = self._built()
        return (None, *place.network.input_shapes[place.position])

    @property
    def output_shape(self) -> Shape:
        """Shape of the output, batch axis (None) included."""
        place = self._built()
        return (None, *place.network.output_shapes[place.position])

    def _weight_indices(self) -> list[int]:
        """The weights of the layer, and of those that it holds, in the network's list."""
        return [index for layer in self._family() for index in layer._built().weights.values()]

    def count_params(self) -> int:
        """Number of weights, counting every element."""
        weights = self._built().network.weights
        return sum(math.prod(weights[index].shape) for index in self._weight_indices())

    @property
    def weights(self) -> list[LayerWeight]:
        """Handles of the weights, in Keras' order; none before the layer is built.

        Example:
            >>> import gridnn as gn
            >>> layer = gn.layers.Dense(2)
            >>> outputs = layer([[1.0, 2.0, 3.0]])
            >>> [(weight.path, weight.shape) for weight in layer.weights]
            [('dense/kernel', (3, 2)), ('dense/bias', (2,))]
            >>> layer.weights[1].assign([1.0, 1.0])
        """
        return handles_of(self)

    @property
    def trainable_weights(self) -> list[LayerWeight]:
        """Those of `weights` that training changes."""
        return [weight for weight in self.weights if weight.trainable]

    @property
    def non_trainable_weights(self) -> list[LayerWeight]:
        """Those of `weights` that training leaves as they are."""
        return [weight for weight in self.weights if not weight.trainable]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of the weights, in Keras' order."""
        network = self._built().network
        return [network.get_weight(index) for index in self._weight_indices()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights of the layer, or none.

        Raises:
            ValueError: their number or a shape is another.
        """
        place = self._built()
        indices = self._weight_indices()
        if len(weights) != len(indices):
            raise ValueError(f"{self.label} has {len(indices)} weights. Received {len(weights)} arrays.")
        # Contiguous, so that setting one of them needs no memory that might lack after others are set.
        arrays = [
            contiguous(place.network.as_weight(i, value, self.label), place.network.dtype)
            for i, value in zip(indices, weights, strict=True)
        ]
        for index, array in zip(indices, arrays, strict=True):
            place.network.set_weight(index, array)

    @property
    def output(self) -> Tensor:
        """The symbolic tensor that the layer makes, in the model that it is part of.

        Raises:
            NotReadyError: it was not called on a symbolic tensor, and stands in no built `Sequential`.
            ValueError: it was called several times.
        """
        return self._only_call().outputs[0]

    @property
    def input(self) -> Any:
        """The symbolic tensor that the layer reads, or a list of them; see `output`."""
        inputs = self._only_call().inputs
        return inputs[0] if len(inputs) == 1 else list(inputs)

    def _only_call(self) -> Call:
        """The call that made the layer part of a graph."""
        model = None if self._owner is None else self._owner()
        if not self._calls and model is not None:
            model.trace()  # which calls its layers
        if not self._calls:
            raise NotReadyError(
                f"{self.label} has no symbolic output: call it on one, gn.Input for instance. A Sequential "
                "has one for each of its layers once it is built, but not for those inside other layers."
            )
        if len(self._calls) > 1:
            raise ValueError(
                f"{self.label} was called {len(self._calls)} times on symbolic tensors: use what the calls "
                "have returned."
            )
        return self._calls[0]

    def __call__(self, x: Any = None, training: bool | None = None, *, inputs: Any = None) -> Any:
        """What the layer makes: of symbolic tensors a symbolic tensor, of a batch its outputs.

        Args:
            x: a symbolic tensor; or an array ``(batch, ...)``. A layer that is not part of a model is built
                by it, with weights in float32; one that is built takes the channels that it was built for,
                and its other axes are free. Layers that merge take a list.
            training: whether a layer such as Dropout acts on arrays as in training; moving statistics stay
                as they are. In a graph, False has the layer always act as at inference.
            inputs: another name of `x`, which Keras has.

        Returns:
            A symbolic tensor; or an array, in the type of the weights. A layer without weights computes in
            float64 if `x` is float64, else in float32.

        Raises:
            ShapeError: `x` does not fit.

        Example:
            >>> import gridnn as gn
            >>> gn.layers.Rescaling(0.5)([[0, 1, 4]])
            array([[0. , 0.5, 2. ]], dtype=float32)
        """
        if inputs is not None:
            if x is not None:
                raise TypeError(f"{self.label}: `inputs` is another name of `x`: give one. Received both.")
            x = inputs
        training = None if training is None else _validation.boolean(training, "training")
        return apply(self, x, training) if is_symbolic(x) else on_arrays(self, x, bool(training))


def _restore(
    cls: type[AnyLayer], config: Mapping[str, Any], trainable: bool, classes: Mapping[str, type]
) -> AnyLayer:
    """Makes a free layer from its configuration (used by copy and pickle)."""
    with custom_classes(classes):
        layer = cls.from_config(config)
    layer._trainable = _validation.boolean(trainable, "trainable")
    return layer


REGISTRY: Registry[Layer] = Registry("layer", Layer)
