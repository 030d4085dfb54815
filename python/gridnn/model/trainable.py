"""`TrainableModel`: training, use and copies of models of any structure."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gridnn import _validation
from gridnn._config import custom_classes_of
from gridnn._custom import custom_classes
from gridnn._engine import derive_seed
from gridnn._ranks import Ranks
from gridnn._structures import spread
from gridnn.callbacks import Callback, History
from gridnn.errors import ShapeError
from gridnn.layers.symbolic import Call, batch_of, is_symbolic, tensors_of
from gridnn.model import saving
from gridnn.model.base import BaseModel
from gridnn.model.binding import Binder
from gridnn.model.class_names import ClassNames
from gridnn.model.class_weight import OutputClassWeight
from gridnn.model.compilation import Compilation
from gridnn.model.file_format import Metadata, Tensors
from gridnn.model.file_methods import FileMethods
from gridnn.model.following import AugmentTargets
from gridnn.model.trainer import Trainer
from gridnn.model.training_state import TrainingState, compilation_of
from gridnn.model.window_methods import WindowMethods

if TYPE_CHECKING:
    from typing_extensions import Self

    from gridnn.optimizers import Optimizer

__all__ = ["TrainableModel"]

# Stream of the model's seed for dropout in `model(x, training=True)`; see trainer.py for the others.
_FORWARD = 2


class TrainableModel(ClassNames, FileMethods, WindowMethods, BaseModel):
    """What all models do: they are trained, used, saved and copied.

    Args:
        name: name of the model.
        dtype: "float32" or "float64".
        seed: seed of the initial weights; None draws one.
    """

    def __init__(self, name: str | None, dtype: str, seed: int | None) -> None:
        self._training_state = TrainingState()
        self._forward_calls = 0
        self.history: History | None = None
        self.stop_training = False
        """Set by callbacks to end `fit` after the current batch."""
        super().__init__(name, dtype, seed)

    # Training and use

    def compile(
        self,
        optimizer: str | Optimizer | Mapping[str, Any] = "adam",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: str | bool = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Sets what training does; the optimizer starts afresh.

        For a model of several outputs everything but the optimizer is a list with an entry for each, or a
        dict by their names (`output_names`).

        Args:
            optimizer: string id ("adam", "sgd") or an instance of `gridnn.optimizers`.
            loss: string id ("sparse_categorical_crossentropy", "mse", ...) or an instance of `gridnn.losses`.
                Of several outputs a single one is that of all, None is for those that nothing is asked of.
            metrics: string ids ("accuracy", ...) or instances of `gridnn.metrics`.
            loss_weights: what the losses of several outputs are multiplied by before they are added; None is
                1.
            weighted_metrics: metrics in which samples count by `sample_weight` and `class_weight`.
            run_eagerly: accepted for programs written for Keras, as are the following: there is nothing that
                they would change.
            steps_per_execution: accepted; callbacks hear of every batch.
            jit_compile: accepted; the engine is compiled.
            auto_scale_loss: accepted; nothing is computed in float16.

        Raises:
            ValueError: an unknown id, or an output that there is not.
            TypeError: an object that the engine does not know.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(10)], seed=0)
            >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            >>> model.compile(gn.optimizers.SGD(0.01, momentum=0.9), gn.losses.Huber(delta=2.0))
        """
        _validation.boolean(run_eagerly, "run_eagerly")
        _validation.positive_integer(steps_per_execution, "steps_per_execution")
        if jit_compile != "auto":
            _validation.boolean(jit_compile, "jit_compile")
        _validation.boolean(auto_scale_loss, "auto_scale_loss")
        compilation = Compilation(
            optimizer, loss, metrics, loss_weights, weighted_metrics, self._several_outputs()
        )
        with self._lock:
            self._training_state.compilation = compilation
        compilation.optimizer.follow(self)

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A new, untrained model with this `get_config`."""

    @classmethod
    @abstractmethod
    def made_for(cls, config: Mapping[str, Any], check: Callable[[saving.Shapes], None]) -> Self:
        """The model that has this `get_config`, once `check` has seen the shapes of its weights."""

    def to_json(self, **options: Any) -> str:
        """The model without weights as text in JSON; `gridnn.models.model_from_json` makes it again.

        Args:
            **options: for `json.dumps`, such as ``indent=2``.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> gn.models.model_from_json(model.to_json()).output_shape
            (None, 2)
        """
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **options)

    @abstractmethod
    def build(self, input_shape: Any) -> None:
        """Builds the model for inputs of this shape, whose first axis is the batch."""

    def _several_outputs(self) -> list[str] | None:
        """Names of the outputs, if there are several."""
        names = self.output_names
        return names if len(names) > 1 else None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._training_state.compilation is not None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer; its `learning_rate` may be set at any time."""
        optimizer = compilation_of(self).optimizer
        optimizer.follow(self)  # that of a file does not know it yet
        return optimizer

    @property
    def loss(self) -> Any:
        """The loss given to `compile`; of several outputs a list."""
        return compilation_of(self).loss

    @property
    def epoch(self) -> int:
        """Epochs completed in the last `fit`, earlier ones that it continued included; files keep it."""
        return self._training_state.now().epoch

    @property
    def iterations(self) -> int:
        """Steps that the optimizer has taken; 0 before the model is built."""
        return 0 if self._network is None else self._network.iterations

    def _optimizer_to_come(self) -> dict[str, Any] | None:
        compilation = self._training_state.compilation
        if compilation is None or compilation.in_engine:
            return None
        return compilation.optimizer.engine_description()

    @property
    def training_state(self) -> TrainingState:
        """What `compile` and `fit` have left beside the weights."""
        return self._training_state

    @property
    def metrics_names(self) -> list[str]:
        """Keys of logs, in the order of the lists that `evaluate` returns."""
        return compilation_of(self).names

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Callback | Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: OutputClassWeight | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        seed: int | None = None,
        augment_targets: AugmentTargets = "auto",
        distribute: Ranks | None = None,
    ) -> History:
        """Trains the model.

        Training can be interrupted and continued to the byte: save, load, then ``fit(...,
        initial_epoch=model.epoch)``. If the file was written within `fit`, by a callback, callbacks go on as
        well, those of the same class in the same order, and so does an epoch that was not complete.

        Args:
            x: inputs ``(samples, ...)``, of any real type; or an iterable (a generator, too) of batches ``(x,
                y)`` or ``(x, y, sample_weight)``. For a model of several inputs a list with an array for
                each, or a dict by their names (`input_names`).
            y: targets, as the loss wants them. For a model of several outputs a list, or a dict by their
                names.
            batch_size: samples per step; 32 if None.
            epochs: number of the epoch to end after, counted from 1.
            verbose: 0 prints nothing, 1 a progress line, 2 one line an epoch; "auto" is 1 on a terminal or in
                a notebook, else 2.
            callbacks: see `gridnn.callbacks`.
            validation_split: share of the samples, the last ones before shuffling, to evaluate on after each
                epoch instead of training on them.
            validation_data: ``(x, y)``, ``(x, y, sample_weight)`` or an iterable of such batches; beats the
                split.
            shuffle: whether arrays are read in a new order each epoch.
            class_weight: class -> weight of its samples in the training loss, 1 for classes not listed; an
                array of one weight per class; or "balanced" for scikit-learn's weights, by which all classes
                count alike. Where there is a target for every position, positions count by their class. For
                several outputs a dict of these by name.
            sample_weight: weight of each sample in the training loss, or of each position: an array of the
                labels' shape; for several outputs also a list, or a dict by their names.
            initial_epoch: epoch to begin with, counted from 0.
            steps_per_epoch: batches per epoch; None for one pass through the data. The next epoch continues
                in the data where this one stopped.
            validation_steps: evaluate at most this many batches, the first ones, after each epoch.
            validation_batch_size: samples per batch of the validation; None for `batch_size`.
            validation_freq: validate every so many epochs, or after the epochs listed (counted from 1).
            seed: seed of shuffling and dropout. None continues the last fit's if `initial_epoch` is where
                that ended, and else draws one from the sequence that `gridnn.set_random_seed` fixes.
            augment_targets: how targets of single positions (masks) follow the layers that move what is in
                samples (`RandomFlip`, `RandomTranslation`, `RandomRotation`, `RandomZoom`, `RandomCrop`,
                `CenterCrop`, `Resizing`). "auto": every target moves with its position, by the same draws.
                Between positions it is the one that is next, so that no label comes up that was not there;
                what comes in from outside with ``fill_mode="constant"`` is `ignore_class` of the loss, or 0.
                They have the sizes that the samples have before the first such layer. "bilinear" mixes
                values as inputs are mixed, for targets that are pictures themselves. True is "auto", and an
                error where nothing moves. False leaves targets as they are, in the sizes of the outputs. For
                several outputs also a dict of these by name. With `MixUp` targets are mixed likewise.
            distribute: `gridnn.distribute.MPI()` in a program that ``mpiexec`` has started several times: the
                processes share each batch, and all of them end with the bytes of a single one. Every one is
                given the same arguments.

        Returns:
            The history: ``history.history["loss"]`` is the list of the epochs' losses.

        Raises:
            ValueError: data that does not fit the model or is not usable (empty, NaN among labels, unknown
                classes, ...); targets that cannot follow the layers which move samples.
            TypeError: data of the wrong kind.
            NonFiniteError: the loss or a gradient became NaN or infinite; weights are as before that step. It
                is a NonFiniteInputError, which is a ValueError too, if a sample of `x` is not finite.
            KeyboardInterrupt: Ctrl-C; weights are as before the step in progress.
            DistributedError: with `distribute`, a process has failed or does not fit the others; all of them
                raise it.

        Example:
            >>> import gridnn as gn
            >>> (x, y), _ = gn.datasets.digits()
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(10)], seed=0)
            >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            >>> history = model.fit(x / 16, y, epochs=2, validation_split=0.1, seed=0, verbose=0)
            >>> list(history.history)
            ['loss', 'accuracy', 'val_loss', 'val_accuracy']
        """
        return Trainer(self).fit(
            x,
            y,
            batch_size,
            epochs,
            verbose,
            callbacks,
            validation_split,
            validation_data,
            shuffle,
            class_weight,
            sample_weight,
            initial_epoch,
            steps_per_epoch,
            validation_steps,
            validation_batch_size,
            validation_freq,
            seed=seed,
            augment_targets=augment_targets,
            distribute=distribute,
        )

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        return_dict: bool = False,
        *,
        distribute: Ranks | None = None,
    ) -> Any:
        """Loss and metrics on a data set, in inference mode.

        Args:
            x: as in `fit`.
            y: as in `fit`.
            batch_size: samples per step; 32 if None.
            verbose: as in `fit`.
            sample_weight: weight of each sample in the loss, or of each position.
            steps: evaluate at most this many batches; each is evaluated once.
            callbacks: see `gridnn.callbacks`.
            return_dict: return name -> value.
            distribute: as in `fit`.

        Returns:
            The loss; with metrics, a list of the loss and them.

        Raises:
            ValueError, TypeError: as in `fit`.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(1, kernel_initializer="zeros")])
            >>> model.compile("sgd", "mse", metrics=["mae"])
            >>> model.evaluate(np.ones((6, 4)), np.full(6, 3.0), return_dict=True, verbose=0)
            {'loss': 9.0, 'mae': 3.0}
        """
        return Trainer(self).evaluate(
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict, distribute=distribute
        )

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        *,
        distribute: Ranks | None = None,
    ) -> Any:
        """The outputs for a data set, in inference mode.

        The bytes of a sample's output do not depend on what else is in its batch.

        Args:
            x: inputs, or an iterable of batches of inputs. Batches may be tuples or lists like those that
                `fit` takes: the first of them counts.
            batch_size: samples at once; 32 if None.
            verbose: 0 or 2 for a line at the end, 1 for a progress line; "auto" is 1 on a terminal or in a
                notebook, else 0.
            steps: predict at most this many batches.
            distribute: as in `fit`; every process gets all outputs.

        Returns:
            Array ``(samples, ...)``; of several outputs a list, or a dict if the model was given one.

        Raises:
            ValueError, TypeError: `x` does not fit.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(10)])
            >>> scores = model.predict(np.zeros((5, 8, 8, 1)), verbose=0)
            >>> scores.shape, scores.argmax(axis=1).shape  # the class of each
            ((5, 10), (5,))
        """
        return Trainer(self).predict(x, batch_size, verbose, steps, distribute=distribute)

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: OutputClassWeight | None = None,
        return_dict: bool = False,
        *,
        augment_targets: AugmentTargets = "auto",
    ) -> Any:
        """One optimizer step on one batch; returns its loss and metrics like `evaluate`.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((1,)), gn.layers.Dense(1, kernel_initializer="zeros")])
            >>> model.compile(gn.optimizers.SGD(0.1), "mse")
            >>> for _ in range(50):
            ...     loss = model.train_on_batch(np.array([[-1], [1]]), np.array([-2, 2]))
            >>> model.layers[0].kernel.round(2)
            array([[2.]], dtype=float32)
        """
        trainer = Trainer(self)
        return trainer.train_on_batch(
            x, y, sample_weight, class_weight, return_dict, augment_targets=augment_targets
        )

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Loss and metrics of one batch, in inference mode, like `evaluate`.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((1,)), gn.layers.Dense(1, kernel_initializer="ones")])
            >>> model.compile("sgd", "mse")
            >>> model.test_on_batch(np.array([[1], [2]]), np.array([1, 4]))
            2.0
        """
        return Trainer(self).test_on_batch(x, y, sample_weight, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, in inference mode.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((1,)), gn.layers.Dense(1, kernel_initializer="ones")])
            >>> model.predict_on_batch(np.array([[1], [2]]))
            array([[1.],
                   [2.]], dtype=float32)
        """
        arrays = Binder(self).inputs(x)
        return self.packed(self.network.predict(arrays, max(len(arrays[0]), 1)))

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The outputs for one batch; or for symbolic tensors symbolic ones, that share the weights.

        Args:
            x: inputs ``(batch, ...)``, or symbolic tensors; for several inputs a list or a dict.
            training: whether layers such as Dropout act as in training. In a graph, False has them act as at
                inference always.
        """
        training = None if training is None else _validation.boolean(training, "training")
        if is_symbolic(x):
            return self._called(x, training)
        if not training:
            return self.predict_on_batch(x)
        arrays = Binder(self).inputs(x)
        with self._lock:
            self._forward_calls += 1
            seed = derive_seed(derive_seed(self._seed, _FORWARD), self._forward_calls)
        return self.packed(self.network.forward(arrays, True, seed))

    def _called(self, x: Any, training: bool | None) -> Any:
        """What the model makes of symbolic tensors."""
        label = f"Model '{self.name}'"
        if isinstance(x, Mapping):
            x = spread(x, self.input_names, label, "input")
        tensors = tensors_of(x, label)
        self.expect(tensors)
        traced = self.trace()
        if len(tensors) != len(traced.inputs):
            raise ValueError(f"{label} takes {len(traced.inputs)} tensors. Received {len(tensors)}.")
        for tensor, own in zip(tensors, traced.inputs, strict=True):
            pairs = zip(tensor.shape[1:], own.shape[1:], strict=False)
            known = all(a is None or b is None or a == b for a, b in pairs)
            if len(tensor.shape) != len(own.shape) or not known:
                raise ShapeError(
                    f"{label}: expected a tensor of shape {own.shape} for input '{own.name}'. Received "
                    f"{tensor.shape}."
                )
        batch = batch_of(tensors, f"Model '{self.name}'")
        call = Call(self, tensors, training, [(batch, *output.shape[1:]) for output in traced.outputs])
        return self.packed(call.outputs)

    # Copies

    def __reduce__(self) -> tuple[Any, ...]:
        return copied, (*saving.pack(self), self._custom_classes())

    def __deepcopy__(self, memo: dict[int, Any]) -> TrainableModel:
        return copied(*saving.pack(self), self._custom_classes())

    def _custom_classes(self) -> dict[str, type]:
        """The custom classes that the model needs."""
        compilation = self._training_state.compilation
        parts = () if compilation is None else (*compilation.losses, compilation.optimizer.learning_rate)
        return custom_classes_of(*self._family(), *parts)

    def _compile_afresh(self) -> None:
        """What was compiled is to be compiled into a new network."""
        state = self._training_state
        if state.compilation is not None:
            state.compilation = state.compilation.afresh()


def copied(tensors: Tensors, metadata: Metadata, classes: Mapping[str, type]) -> TrainableModel:
    """The model that `pack` was given, with the user's classes at hand: what pickle and deepcopy call."""
    with custom_classes(classes):
        return saving.unpack(tensors, metadata)


copied.__module__ = "gridnn.model.sequential"  # where pickles of earlier versions have it


def made_anew(model: TrainableModel, config: Mapping[str, Any]) -> TrainableModel:
    """A new model of the kind of another one, with its custom classes at hand."""
    with custom_classes(model._custom_classes()):
        return type(model).from_config(config)
