"""`Optimizer`: what the rules of `gridnn.optimizers` share, and steps of one's own."""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from gridnn import _validation, schedules
from gridnn._config import Configurable, Registry
from gridnn._optimizer_steps import Steps
from gridnn._variables import Variable

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["COMMON", "REGISTRY", "Common", "Optimizer", "Rate"]

Rate = float | schedules.LearningRateSchedule | Callable[[], float]


class Common(TypedDict, total=False):
    """What every optimizer takes by keyword besides its own arguments; see `Optimizer`."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    name: str | None
    lr: Rate | None
    decay: float | None


COMMON = {
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "gradient_accumulation_steps": None,
    "name": None,
}


class Optimizer(Configurable):
    """Base of all optimizers.

    In a step gradients are accumulated, then clipped; then weights decay, move, and are averaged. A model
    that is compiled with it has slots of its own; `apply` is for loops of one's own.

    Args:
        learning_rate: step size; a schedule of them; or a function without arguments that is asked before
            every step, of which files keep the value of that moment. 0 leaves the weights as they are.
        weight_decay: ``w -= w * weight_decay * learning_rate`` at every update; None for none.
        clipnorm: the gradient of each weight is scaled down to this norm at most.
        clipvalue: every element of a gradient is clipped to ``[-clipvalue, clipvalue]``.
        global_clipnorm: all gradients together are scaled down to this norm at most. One of the three may be
            given.
        use_ema: keep an exponential moving average of the weights, and put it in their place at the end of
            `fit`.
        ema_momentum: share of the average that is kept at every step, in [0, 1].
        ema_overwrite_frequency: put the average in the weights' place every so many updates as well.
        gradient_accumulation_steps: average the gradients of this many batches, at least 2, for one update.
        name: name of the optimizer.
        lr: former name of `learning_rate`, with a warning.
        decay: no longer there, and ignored with a warning: `gridnn.schedules` are what it was for.

    Example:
        >>> isinstance(gn.optimizers.get("adam"), gn.optimizers.Optimizer)
        True
    """

    config_fields = ("learning_rate", *COMMON)

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        lr: Rate | None = None,
        decay: float | None = None,
    ) -> None:
        self._undecayed: tuple[str, ...] = ()  # regular expressions of weights' paths
        self._begun = False
        if lr is not None:
            warnings.warn("The `lr` argument is deprecated, use `learning_rate` instead.", stacklevel=3)
            learning_rate = lr
        if decay is not None:
            warnings.warn("Argument `decay` is no longer supported and will be ignored.", stacklevel=3)
        self._learning_rate = _as_rate(learning_rate)
        self.weight_decay = _optional(weight_decay, "weight_decay")
        self.clipnorm = _optional(clipnorm, "clipnorm", positive=True)
        self.clipvalue = _optional(clipvalue, "clipvalue", positive=True)
        self.global_clipnorm = _optional(global_clipnorm, "global_clipnorm", positive=True)
        if [self.clipnorm, self.clipvalue, self.global_clipnorm].count(None) < 2:
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: "
                f"clipnorm={clipnorm}, clipvalue={clipvalue}, global_clipnorm={global_clipnorm}"
            )
        self.use_ema = _validation.boolean(use_ema, "use_ema")
        self.ema_momentum = _validation.real(ema_momentum, "ema_momentum", low=0.0, high=1.0)
        self.ema_overwrite_frequency = _at_least(ema_overwrite_frequency, 1, "ema_overwrite_frequency")
        self.gradient_accumulation_steps = _at_least(
            gradient_accumulation_steps, 2, "gradient_accumulation_steps"
        )
        self.name = _validation.object_name(name)

    @property
    def learning_rate(self) -> Rate:
        """Step size; a new value holds from the next step on and costs nothing. A schedule stays one."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Rate) -> None:
        rate = _as_rate(value)
        if isinstance(self._learning_rate, schedules.LearningRateSchedule) and isinstance(rate, float):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` "
                "constructor argument, hence its learning rate is not settable. If you need it to be, you "
                "should instantiate the optimizer with a float `learning_rate` argument."
            )
        self._learning_rate = rate

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        rate = self._learning_rate
        if isinstance(rate, float):
            return rate
        found = rate(step) if isinstance(rate, schedules.LearningRateSchedule) else rate()
        return _validation.real(found, "learning_rate", low=0.0)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Says which weights do not decay; before training begins.

        Args:
            var_list: weights, as `Model.weights` has them.
            var_names: regular expressions; they are looked for in names such as ``conv2d/bias``, so that
                ``["bias", "norm"]`` means all weights of that name, and all of layers called so.

        Raises:
            ValueError: the optimizer has begun to train a model.

        Example:
            >>> optimizer = gn.optimizers.AdamW(1e-3)
            >>> optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        """
        if self._begun:
            raise ValueError(
                "`exclude_from_weight_decay` must be called before the optimizer trains a model."
            )
        paths = [re.escape(str(getattr(weight, "path", weight))) + "$" for weight in var_list or ()]
        names = [_validation.string(name, "var_names") for name in var_names or ()]
        self._undecayed = (*self._undecayed, *paths, *names)

    def undecayed(self, paths: Sequence[str]) -> list[int]:
        """Which of the weights with these paths do not decay, by number."""
        found = [re.compile(pattern) for pattern in self._undecayed]
        return [i for i, path in enumerate(paths) if any(pattern.search(path) for pattern in found)]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The optimizer that has this `get_config`."""
        config = dict(config)
        undecayed = config.pop("undecayed", ())
        optimizer = cls(**config)
        optimizer.exclude_from_weight_decay(var_names=undecayed)
        return optimizer

    # Steps of one's own

    _steps: Steps | None = None
    _model: weakref.ref[Any] | None = None  # the one that was compiled with it last

    @property
    def iterations(self) -> Variable:
        """Updates made: by `apply`, and by the model that was compiled with this optimizer last."""
        model = None if self._model is None else self._model()
        steps = 0 if model is None else model.iterations
        steps += 0 if self._steps is None else self._steps.iterations
        updates = steps // (self.gradient_accumulation_steps or 1)
        return Variable(np.int64(updates), "iterations", trainable=False)

    def follow(self, model: Any) -> None:
        """Says which model it was compiled with, whose steps `iterations` counts; `compile` calls it."""
        if self._model is None or self._model() is not model:
            self._model = weakref.ref(model)

    def apply(self, gradients: Sequence[Any], weights: Sequence[Any]) -> None:
        """One step on weights, which change in place, as in training.

        The first call gives the optimizer its slots; later ones take the same weights in the same order. A
        handle of a layer that has a constraint is held to it.

        Args:
            gradients: an array for each weight.
            weights: handles, such as `model.trainable_weights`, or arrays of float32 or float64.

        Raises:
            ValueError, TypeError: gradients and weights do not fit each other, or the optimizer's slots.
            NonFiniteError: a gradient, or what the update makes, is not finite; nothing has changed.

        Example:
            >>> import numpy as np
            >>> weight = np.array([1.0, 2.0])
            >>> gn.optimizers.SGD(0.5).apply([np.array([1.0, -1.0])], [weight])
            >>> weight
            array([0.5, 2.5])
        """
        gradients, weights = list(gradients), list(weights)
        if not weights:
            raise ValueError("`weights` must hold at least one weight. Received none.")
        steps = self._steps
        if steps is None:
            steps = Steps(self.engine_description(), weights)
        steps.apply(gradients, weights, self.rate)
        self._steps = steps

    def apply_gradients(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """`apply` for pairs ``(gradient, weight)``, as `zip` makes them."""
        listed = list(pairs)
        self.apply([gradient for gradient, _ in listed], [weight for _, weight in listed])

    def finalize_variable_values(self, weights: Sequence[Any]) -> None:
        """Puts the moving average of the weights that `apply` has moved in their place, with `use_ema`."""
        if self._steps is not None:
            self._steps.finalize(list(weights))

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to this process: a copy begins its steps anew."""
        state = dict(self.__dict__)
        for own in ("_steps", "_model"):
            state.pop(own, None)
        return state

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain JSON values; of a function its value now."""
        config = super().get_config()
        if self._undecayed:
            config["undecayed"] = list(self._undecayed)
        if not isinstance(self._learning_rate, (float, schedules.LearningRateSchedule)):
            config["learning_rate"] = self.rate(0)
        return config

    def engine_description(self) -> dict[str, Any]:
        """The rule with its own settings, and beside it what all rules share."""
        config = super().engine_config()
        for name in ("learning_rate", *COMMON):
            del config[name]
        ema = {"momentum": self.ema_momentum, "overwrite_frequency": self.ema_overwrite_frequency}
        return {
            "class_name": type(self).__name__,
            "config": config,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "clipvalue": self.clipvalue,
            "global_clipnorm": self.global_clipnorm,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "ema": ema if self.use_ema else None,
        }

    def __repr__(self) -> str:
        shown = [
            name for name in self.config_fields if name not in COMMON or getattr(self, name) != COMMON[name]
        ]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


REGISTRY: Registry[Optimizer] = Registry("optimizer", Optimizer, fold_case=True)


def _as_rate(value: object) -> Rate:
    if isinstance(value, (schedules.LearningRateSchedule, Mapping)):
        return schedules.get(value)
    if callable(value) and not isinstance(value, type):
        return value
    return _validation.real(value, "learning_rate", low=0.0)


def _optional(value: object, name: str, *, positive: bool = False) -> float | None:
    if value is None:
        return None
    number = _validation.real(value, name, low=0.0)
    if positive and number == 0.0:
        raise ValueError(f"The `{name}` argument must be positive. Received {name}={value!r}.")
    return number


def _at_least(value: object, least: int, name: str) -> int | None:
    if value is None:
        return None
    number = _validation.integer(value, name)
    if number < least:
        raise ValueError(f"`{name}` must be an integer >= {least}. Received: {name}={value}")
    return number
