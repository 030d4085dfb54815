"""`BaseModel`: what all models have in common: a network in the engine, and layers that know it."""

from __future__ import annotations

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from numpy.typing import NDArray

from gridnn import _forks, _html, _validation
from gridnn._graph import Graph
from gridnn._network import Network, Shape
from gridnn._notebook import Display, in_notebook
from gridnn._seeding import next_seed
from gridnn._structures import spread
from gridnn.errors import NotReadyError
from gridnn.layers import base, parts
from gridnn.layers.handles import LayerWeight
from gridnn.layers.symbolic import Tensor
from gridnn.model import summary
from gridnn.model.tracing import Trace

#: Models within one another at most: every level is some calls deep, and Python's stack has an end.
MOST_NESTED = 100

#: Members that are for this package: completion does not offer them, and the reference leaves them out.
INNER = frozenset(
    {
        "default_name",
        "expect",
        "graph",
        "locked",
        "made_for",
        "make",
        "name_of",
        "named",
        "nesting",
        "nests",
        "network",
        "network_for",
        "network_like",
        "packed",
        "trace",
        "training_state",
    }
)


class BaseModel(parts.Nestable):
    """Weights, structure and network of a model, whatever its layers are arranged like.

    Args:
        name: name of the model; None takes `default_name`.
        dtype: "float32" or "float64".
        seed: seed of the initial weights; None draws one.
    """

    default_name = "model"

    #: Models within one another, this one counted.
    nesting = 1

    #: How inputs and outputs were given: "tensor", "list" or "dict".
    _input_form = "tensor"
    _output_form = "tensor"

    def _set_nesting(self, owners: Iterable[Any]) -> None:
        """Counts the models within one another, of which `owners` are those that this one calls."""
        depth = 1 + max((owner.nesting for owner in owners if isinstance(owner, BaseModel)), default=0)
        if depth > MOST_NESTED:
            raise ValueError(
                f"{self.name}: models are nested too deep. Within one another may be at most {MOST_NESTED}; "
                f"this is {depth}."
            )
        self.nesting = depth

    def __init__(self, name: str | None, dtype: str, seed: int | None) -> None:
        self._asked = _validation.object_name(name)
        self.name = self._asked or self.default_name
        self._dtype = _validation.choice(_validation.element_type(dtype), "dtype", ("float32", "float64"))
        seed = _validation.seed(seed)
        self._seed = next_seed() if seed is None else seed
        self._lock = threading.RLock()  # structure and compile state; the engine has its own for steps
        _forks.renew(self)
        self._network: Network | None = None
        self._graph: Graph | None = None  # until the structure changes

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in INNER]

    @property
    def named(self) -> bool:
        """Whether its name was asked for."""
        return self._asked is not None

    def expect(self, inputs: Sequence[Tensor]) -> None:
        """Is told of the symbolic tensors that it is called on, before its `trace` is asked for."""

    @property
    def dtype(self) -> str:
        """Type of weights and outputs."""
        return self._dtype

    @property
    def seed(self) -> int:
        """Seed of the initial weights."""
        return self._seed

    @property
    def built(self) -> bool:
        """Whether shapes are known and weights exist."""
        return self._network is not None

    @property
    @abstractmethod
    def layers(self) -> list[Any]:
        """The layers, without those that others hold."""

    @property
    @abstractmethod
    def input_shape(self) -> Any:
        """Shape of the input, batch axis (None) included; of several inputs a list."""

    @property
    @abstractmethod
    def output_shape(self) -> Any:
        """Shape of the output, batch axis (None) included; of several outputs a list."""

    @property
    @abstractmethod
    def output_activation(self) -> str | None:
        """Name of the activation that the outputs went through; None if no layer says so."""

    @property
    @abstractmethod
    def output_activations(self) -> list[str | None]:
        """The same for every output."""

    @property
    @abstractmethod
    def input_names(self) -> list[str]:
        """Names of the inputs."""

    @property
    @abstractmethod
    def output_names(self) -> list[str]:
        """Names of the outputs."""

    @abstractmethod
    def packed(self, outputs: Sequence[Any]) -> Any:
        """Something about every output as the model returns it: alone, as a list or as a dict."""

    @abstractmethod
    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer by its name, or by its index in `layers`."""

    @abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The model without weights as plain JSON values."""

    @abstractmethod
    def network_for(self, x: NDArray[Any], argument: str = "x") -> Network:
        """The network; the model is built for the shape of `x` if it was not."""

    @abstractmethod
    def network_like(self, input_shape: Sequence[int]) -> Network:
        """A network of the same layers for other inputs, with weights of its own."""

    def _known_input(self) -> Shape | None:
        """Shape of a sample of the only input, as far as it is known."""
        return None

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """All layers, what they read, and their shapes if the model is built."""

    @abstractmethod
    def _family(self) -> Iterator[base.Layer]:
        """All layers but inputs, each once, containers before what they hold, in the order of positions."""

    @property
    def trainable(self) -> bool:
        """Whether training changes any layer; to set it sets that of all layers, from the next step on."""
        return any(layer.trainable for layer in self._family())

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._family():
            layer.trainable = value

    @abstractmethod
    def trace(self) -> Trace:
        """The model as calls of its layers."""

    def name_of(self, owner: Any) -> str:
        """The name that an input, a layer or a model has in this one."""
        return str(owner.name)

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic tensors that go in.

        Raises:
            NotReadyError: the model is not built.
        """
        return list(self.trace().inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic tensors that come out; see `inputs`."""
        return list(self.trace().outputs)

    @property
    def input(self) -> Any:
        """The only one of `inputs`, or all of them: a list, or a dict if the model was made of one."""
        inputs = self.inputs
        if self._input_form == "dict":
            return dict(zip(self.input_names, inputs, strict=True))
        return inputs[0] if len(inputs) == 1 else inputs

    @property
    def output(self) -> Any:
        """The only one of `outputs`, or all of them: a list, or a dict if the model was made of one."""
        outputs = self.outputs
        if self._output_form == "dict":
            return dict(zip(self.output_names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    def _check_sharing(self, layers: Iterable[base.Layer], replaced: Network | None) -> None:
        """Raises ValueError if a layer is part of a model of another type."""
        for layer in layers:
            place = layer._place
            if (
                place is not None
                and place.network is not replaced
                and place.network.dtype.name != self._dtype
            ):
                raise ValueError(
                    f"{layer.label} belongs to a model in {place.network.dtype}, and models that share "
                    f"weights compute in one type. Model '{self.name}' has dtype='{self._dtype}'."
                )

    def _owner_labels(self) -> Mapping[int, str]:
        """How messages call the layers that have weights, by position."""
        return {node.position: node.layer.label for node in self.graph.nodes if node.layer is not None}

    # Weights

    @property
    def weights(self) -> list[LayerWeight]:
        """Handles of all weights, in the order of `get_weights`; none before the model is built.

        A handle has a `name`, a `path`, `shape`, `dtype` and `trainable`; `numpy()` copies the values,
        `assign(value)` sets them. It is no view of memory that training writes to.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((3,)), gn.layers.Dense(2)])
            >>> [weight.path for weight in model.weights]
            ['sequential/dense/kernel', 'sequential/dense/bias']
        """
        if not self.built:
            return []
        nodes = {node.position: node for node in self.graph.nodes}
        found = []
        for info in self.network.weights:
            node = nodes[info.layer]
            if node.layer is not None:
                found.append(LayerWeight(node.layer, info.name, f"{self._path_of(node.name)}/{info.name}"))
        return found

    def _path_of(self, layer: str) -> str:
        """What the paths of a layer's weights begin with."""
        return layer

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

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for an input, both with the batch in front.

        Args:
            input_shape: shape of the input; of several a list, or a dict by their names.

        Returns:
            The shape; of several outputs a list, or a dict if the model was given one.

        Raises:
            ShapeError, ValueError: a layer does not fit it.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.layers.Conv2D(4, 3), gn.layers.Flatten()])
            >>> model.compute_output_shape((None, 8, 8, 1))
            (None, 144)
        """
        names = self.input_names
        if isinstance(input_shape, Mapping):
            input_shape = spread(input_shape, names, "input_shape", "input")
        several = bool(input_shape) and isinstance(input_shape[0], (tuple, list))
        shapes = [tuple(shape) for shape in (input_shape if several else [input_shape])]
        if len(shapes) != len(names):
            raise ValueError(
                f"Model '{self.name}' has {len(names)} inputs. Received input_shape={input_shape!r}."
            )
        found = self._shapes_for([shape[1:] for shape in shapes])
        return self.packed([(shapes[0][0], *shape) for shape in found])

    @abstractmethod
    def _shapes_for(self, inputs: Sequence[Shape]) -> list[Shape]:
        """Shapes of the outputs of one sample, for inputs of these shapes."""

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all weights: layer by layer, in Keras' order and shapes.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> [weight.shape for weight in model.get_weights()]
            [(4, 2), (2,)]
        """
        return self.network.get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, or none.

        Raises:
            ValueError: their number or a shape is another.
            TypeError: not numbers.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)], seed=0)
            >>> other = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)], seed=1)
            >>> other.set_weights(model.get_weights())
        """
        network = self.network
        if len(weights) != len(network.weights):
            raise ValueError(
                f"Model '{self.name}' has {len(network.weights)} weights. Received {len(weights)} arrays."
            )
        labels = self._owner_labels()
        owners = [labels[info.layer] for info in network.weights]
        network.set_weights([network.as_weight(i, value, owners[i]) for i, value in enumerate(weights)])

    def count_params(self) -> int:
        """Number of weights, counting every element.

        Example:
            >>> import gridnn as gn
            >>> gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)]).count_params()
            10
        """
        return sum(math.prod(info.shape) for info in self.network.weights)

    def memory(self, batch_size: int, *, training: bool = True) -> int:
        """Bytes that the model takes for steps on `batch_size` samples, known before the first one.

        That is weights, gradients and the state of the optimizer, the packed copies of weights, and whatever
        the layers keep or hand on, for the number of threads in use. The data, what Python itself takes and
        buffers of a few hundred kilobytes per thread are not counted; steps on other batch sizes use the same
        memory again. Predictions that run side by side have memory of their own for what layers hand on.

        Args:
            batch_size: samples of a step.
            training: False for `predict` and `evaluate`.

        Raises:
            ValueError: the model is not built, or a size of its input is not known.

        Example:
            >>> import gridnn as gn
            >>> from gridnn import layers
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 3)])
            >>> model.memory(1, training=False) < model.memory(32)
            True
        """
        network = self.network
        for shape in network.sources:
            if None in shape:
                raise ValueError(
                    f"Model '{self.name}' has an input of unknown size, {(None, *shape)}: what it takes is "
                    "not known before data comes."
                )
        batch_size = _validation.positive_integer(batch_size, "batch_size")
        training = _validation.boolean(training, "training")
        return network.memory(batch_size, training, self._optimizer_to_come())

    def _optimizer_to_come(self) -> dict[str, Any] | None:
        """Engine description of the optimizer that will train, where the engine has not been told of it."""
        return None

    def _memory_to_train(self) -> int | None:
        """What a summary says of memory; None where that depends on sizes which are not known."""
        network = self._network
        if network is None or any(None in shape for shape in network.sources):
            return None
        return self.memory(summary.BATCH)

    def release_memory(self) -> None:
        """Gives back the memory that the model keeps to be faster: all but weights and optimizer state.

        A model keeps what its largest step has worked in, so that the next one need not ask for it. After a
        very large picture that may be much; where a later step needs less than an eighth of it, it is given
        back without asking. The next step takes what it needs again; results are the same.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> from gridnn import layers
            >>> model = gn.Sequential([gn.Input((None, None, 1)), layers.Conv2D(4, 3)])
            >>> y = model.predict(np.zeros((1, 500, 500, 1)), verbose=0)
            >>> model.release_memory()
        """
        if self._network is not None:
            self._network.release_memory()

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], object] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Prints a table of the layers: output shape, number of weights, multiply-adds of one sample.

        In a notebook it is an HTML table.

        Args:
            line_length: width of the table, where it is wider than what stands in it; None for no more than
                that takes.
            positions: where columns end: shares of the width, or numbers of characters. Columns are as wide
                as their contents at least.
            print_fn: receives the text instead of standard output.
            expand_nested: accepted for programs written for Keras; what a container or a model holds is
                always shown.
            show_trainable: whether a column says which layers are trained.
            layer_range: names of the first and of the last layer to show.

        Raises:
            ValueError: there is no layer of a name in `layer_range`.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(10)])
            >>> model.summary()
            Model: sequential
            ...
        """
        _validation.boolean(expand_nested, "expand_nested")
        options = summary.Options(
            None if line_length is None else _validation.positive_integer(line_length, "line_length"),
            None if positions is None else [_validation.real(at, "positions", low=0.0) for at in positions],
            _validation.boolean(show_trainable, "show_trainable"),
            None if layer_range is None else [_validation.string(n, "layer_range") for n in layer_range],
        )
        text = summary.table(self.name, self.graph, self._network, self._memory_to_train(), options)
        if print_fn is not None:
            print_fn(text)
        elif in_notebook():
            memory = self._memory_to_train()
            table = _html.summary_table(self.name, self.graph, self._network, memory, options)
            Display().show(table, text)
        else:
            print(text)

    def _repr_html_(self) -> str:
        """Table and diagram, which notebooks show."""
        return _html.model_page(self.name, self.graph, self._network, self._memory_to_train())

    # The engine; see `protocol.Model`

    def locked(self) -> AbstractContextManager[object]:
        """While it lasts, nobody else changes the structure or what was compiled."""
        return self._lock

    @property
    def network(self) -> Network:
        """The engine's part of the model.

        Raises:
            NotReadyError: the model is not built.
        """
        network = self._network
        if network is None:
            raise NotReadyError(
                f"Model '{self.name}' is not built yet: give it an Input as first layer, call "
                "build(input_shape), or pass data to fit or predict first."
            )
        return network
