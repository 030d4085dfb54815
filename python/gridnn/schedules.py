"""Learning rates that change from step to step, as descriptions; the engine computes them.

Give one to an optimizer in place of a number: ``Adam(CosineDecay(1e-3, decay_steps=10_000))``. A step is one
batch, counted from 0 over all epochs. Called with a step, a schedule returns its learning rate.

Example:
    >>> import gridnn as gn
    >>> rate = gn.schedules.CosineDecay(1e-3, decay_steps=100)
    >>> float(rate(0)), float(rate(100))
    (0.001, 0.0)
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn._engine import schedule_rate

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "get",
]


class LearningRateSchedule(Configurable):
    """Base of all schedules, and of those that you write in Python.

    A schedule of your own is a subclass with `__call__`, which takes the number of the step; arguments of its
    constructor go into `config_fields` and into attributes of their names. A file keeps its name and its
    arguments, never its code; see `gridnn.load_model`.

    Example:
        >>> class Halves(LearningRateSchedule):
        ...     config_fields = ("start",)
        ...     def __init__(self, start):
        ...         self.start = start
        ...     def __call__(self, step):
        ...         return self.start / 2 ** (step // 1000)
        >>> Halves(0.1)(2500)
        0.025
    """

    _custom_method = "__call__"
    _description: str | None = None

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        if self._description is None:
            self._description = json.dumps(self.engine_description())
        return schedule_rate(self._description, _validation.non_negative_integer(step, "step"))


REGISTRY: Registry[LearningRateSchedule] = Registry("schedule", LearningRateSchedule)


def _rate(value: object, name: str) -> float:
    return _validation.real(value, name, low=0.0)


def _steps(value: object, name: str) -> float:
    number = _validation.real(value, name)
    if number <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value}")
    return number


@REGISTRY.register()
class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: rate of step 0.
        decay_steps: steps after which the rate has been multiplied by `decay_rate` once.
        decay_rate: positive factor.
        staircase: take the quotient of steps as a whole number, so that the rate changes every `decay_steps`
            steps.

    Example:
        >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
        0.025
    """

    config_fields = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _steps(decay_steps, "decay_steps")
        self.decay_rate = _steps(decay_rate, "decay_rate")
        self.staircase = _validation.boolean(staircase, "staircase")


@REGISTRY.register()
class PiecewiseConstantDecay(LearningRateSchedule):
    """One value up to and including each boundary, and one after the last.

    Args:
        boundaries: steps at which the rate changes, increasing.
        values: the rates, one more than boundaries.

    Example:
        >>> [PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1])(step) for step in (10, 11, 21)]
        [1.0, 0.5, 0.1]
    """

    config_fields = ("boundaries", "values")

    def __init__(self, boundaries: Sequence[float], values: Sequence[float]) -> None:
        self.boundaries = tuple(_validation.real(step, "boundaries") for step in boundaries)
        self.values = tuple(_rate(value, "values") for value in values)
        if len(self.boundaries) != len(self.values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. Received: "
                f"boundaries={boundaries} of length {len(self.boundaries)}, and values={values} of length "
                f"{len(self.values)}."
            )
        if not all(low < high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError(f"The `boundaries` argument must increase. Received boundaries={boundaries}.")


@REGISTRY.register()
class PolynomialDecay(LearningRateSchedule):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``, and `end_learning_rate` from then on.

    Args:
        initial_learning_rate: rate of step 0.
        decay_steps: steps until the end.
        end_learning_rate: the lowest rate.
        power: exponent; 1 is a straight line.
        cycle: start again from a higher rate at every multiple of `decay_steps`, each time over a longer way.

    Example:
        >>> gn.schedules.PolynomialDecay(0.1, decay_steps=100, end_learning_rate=0.0)(50)
        0.05
    """

    config_fields = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _steps(decay_steps, "decay_steps")
        self.end_learning_rate = _rate(end_learning_rate, "end_learning_rate")
        self.power = _validation.real(power, "power", low=0.0)
        self.cycle = _validation.boolean(cycle, "cycle")


@REGISTRY.register()
class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Args:
        initial_learning_rate: rate of step 0.
        decay_steps: steps to the unit of time.
        decay_rate: how fast it falls, at least 0.
        staircase: count whole units of time only.

    Example:
        >>> gn.schedules.InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
        0.05
    """

    config_fields = ("initial_learning_rate", "decay_steps", "decay_rate", "staircase")

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _steps(decay_steps, "decay_steps")
        self.decay_rate = _rate(decay_rate, "decay_rate")
        self.staircase = _validation.boolean(staircase, "staircase")


@REGISTRY.register()
class CosineDecay(LearningRateSchedule):
    """Down along half a cosine (Loshchilov and Hutter, 2016), after a linear warm-up on request.

    Without warm-up from `initial_learning_rate` to ``alpha * initial_learning_rate`` in `decay_steps` steps.
    With it from `initial_learning_rate` to `warmup_target` in `warmup_steps`, then down to ``alpha *
    warmup_target`` in `decay_steps`.

    Args:
        initial_learning_rate: rate of step 0.
        decay_steps: steps of the way down.
        alpha: share of the highest rate that is left at the end.
        warmup_target: the highest rate; None leaves the warm-up out.
        warmup_steps: steps of the way up.

    Example:
        >>> gn.schedules.CosineDecay(0.1, decay_steps=100)(50)
        0.05
    """

    config_fields = ("initial_learning_rate", "decay_steps", "alpha", "warmup_target", "warmup_steps")

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _steps(decay_steps, "decay_steps")
        self.alpha = _rate(alpha, "alpha")
        self.warmup_target = None if warmup_target is None else _rate(warmup_target, "warmup_target")
        self.warmup_steps = _rate(warmup_steps, "warmup_steps")


@REGISTRY.register()
class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one after the other (SGDR, Loshchilov and Hutter, 2016).

    Args:
        initial_learning_rate: rate of step 0.
        first_decay_steps: steps of the first period.
        t_mul: each period is this many times as long as the one before, at least 1.
        m_mul: each period starts at this share of the rate that the one before started at.
        alpha: share of `initial_learning_rate` that the rate never falls below.

    Example:
        >>> gn.schedules.CosineDecayRestarts(0.1, first_decay_steps=100)(100)
        0.1
    """

    config_fields = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha")

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate, "initial_learning_rate")
        self.first_decay_steps = _steps(first_decay_steps, "first_decay_steps")
        self.t_mul = _validation.real(t_mul, "t_mul", low=1.0)
        self.m_mul = _rate(m_mul, "m_mul")
        self.alpha = _rate(alpha, "alpha")


@REGISTRY.register()
class OneCycle(LearningRateSchedule):
    """Up and far down again, both along half a cosine (Smith and Topin, 2017).

    From ``max_learning_rate / initial_divisor`` up to `max_learning_rate` at step ``warmup_fraction *
    total_steps - 1``, then down to ``max_learning_rate / (initial_divisor * final_divisor)`` at the last
    step. Keras has no such schedule; the numbers are those of PyTorch's `OneCycleLR` with its defaults.

    Args:
        max_learning_rate: the highest rate.
        total_steps: steps of the whole training, at least 2.
        warmup_fraction: share of the steps in which the rate rises, in [0, 1].
        initial_divisor: how many times smaller the rate of step 0 is than the highest.
        final_divisor: how many times smaller the last rate is than that of step 0.

    Example:
        >>> gn.schedules.OneCycle(0.1, 100)(0) < 0.1
        True
    """

    config_fields = (
        "max_learning_rate",
        "total_steps",
        "warmup_fraction",
        "initial_divisor",
        "final_divisor",
    )

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        warmup_fraction: float = 0.3,
        initial_divisor: float = 25.0,
        final_divisor: float = 1e4,
    ) -> None:
        self.max_learning_rate = _rate(max_learning_rate, "max_learning_rate")
        self.total_steps = _validation.real(total_steps, "total_steps", low=2.0)
        self.warmup_fraction = _validation.real(warmup_fraction, "warmup_fraction", low=0.0, high=1.0)
        self.initial_divisor = _steps(initial_divisor, "initial_divisor")
        self.final_divisor = _steps(final_divisor, "final_divisor")


def get(identifier: object) -> LearningRateSchedule:
    """The schedule for a description or an instance.

    Example:
        >>> config = {"initial_learning_rate": 0.1, "decay_steps": 9}
        >>> gn.schedules.get({"class_name": "CosineDecay", "config": config})(9)
        0.0
    """
    return REGISTRY.get(identifier)
