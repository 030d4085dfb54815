"""What `compile` was given, and what it comes to once model and targets are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gridnn import _validation, losses, metrics, optimizers
from gridnn._config import serialize
from gridnn.metrics import Targets

_PROBABILITIES = ("softmax", "sigmoid")

AnyMetric = metrics.Metric | metrics.Automatic


@dataclass(frozen=True, slots=True)
class Objective:
    """What is asked of an output, with every choice made."""

    loss: losses.Loss | None
    metrics: tuple[metrics.Metric, ...]
    weight: float = 1.0
    """What the loss counts among those of several outputs."""
    weighted: int = 0
    """How many of the metrics, at the end, samples' weights count for."""

    @property
    def in_python(self) -> bool:
        """Whether the loss or a metric is computed by the user's code."""
        by_metric = any(metric.in_python for metric in self.metrics)
        return by_metric or (self.loss is not None and self.loss.in_python)

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told; metrics written in Python it never hears of."""
        known = [not metric.in_python for metric in self.metrics]
        described = zip(self.metrics, known, strict=True)
        return {
            "loss": None if self.loss is None else self.loss.engine_description(),
            "reduction": "sum" if self.loss is None else self.loss.training_reduction,
            "weight": self.weight,
            "metrics": [metric.engine_description() for metric, kept in described if kept],
            "weighted_metrics": sum(known[len(known) - self.weighted :]),
        }

    def get_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        config: dict[str, Any] = {
            "loss": None if self.loss is None else serialize(self.loss),
            "metrics": _kept(self.metrics),
        }
        if self.weighted:
            config["weighted"] = self.weighted
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], weight: float = 1.0) -> Objective:
        """The objective that has this `get_config`."""
        loss = None if config["loss"] is None else losses.get(config["loss"])
        if not (loss is None or isinstance(loss, losses.Loss)):
            raise TypeError(f"expected a loss with every choice made, received {config['loss']!r}")
        own = tuple(metrics.REGISTRY.deserialize(metric) for metric in _list(config["metrics"]))
        weighted = _validation.non_negative_integer(config.get("weighted", 0), "weighted")
        return cls(loss, own, weight, weighted)


@dataclass(frozen=True)
class Objectives:
    """What is asked of all outputs; what follows from it is found once, and read in every step."""

    outputs: tuple[Objective, ...]
    keys: tuple[str, ...] = ()
    """Names of the outputs, where there are several: what keys of logs begin with."""

    @cached_property
    def loss_names(self) -> list[str | None]:
        """Of every output the key of its loss in logs, where it has one of its own."""
        if sum(one.loss is not None for one in self.outputs) < 2:
            return [None] * len(self.outputs)  # it is the loss
        pairs = zip(self.keys, self.outputs, strict=True)
        return [None if one.loss is None else f"{key}_loss" for key, one in pairs]

    @cached_property
    def metric_names(self) -> list[list[str]]:
        """Of every output the keys of its metrics in logs."""
        return named(self.keys, [one.metrics for one in self.outputs], [one.weighted for one in self.outputs])

    @cached_property
    def in_python(self) -> bool:
        """Whether a loss or a metric is computed by the user's code."""
        return any(one.in_python for one in self.outputs)

    @cached_property
    def names(self) -> list[str]:
        """The keys of logs, in the order of the lists that `evaluate` returns."""
        own = [name for name in self.loss_names if name is not None]
        rest = [name for names in self.metric_names for name in names]
        return ["loss", *own, *(sorted(rest) if self.keys else rest)]  # as Keras has them


def named(
    keys: Sequence[str], chosen: Iterable[Sequence[AnyMetric]], weighted: Iterable[int]
) -> list[list[str]]:
    """Keys in logs of the metrics of each output; `weighted` says how many of them, at the end.

    Of two metrics of one name, with weights and without, the first is called ``weighted_<name>``, as Keras
    has it.
    """
    found = []
    for number, (own, count) in enumerate(zip(chosen, weighted, strict=True)):
        front = f"{keys[number]}_" if keys else ""
        names = [metric.name for metric in own]
        plain = names[: len(names) - count]
        rest = [f"weighted_{name}" if name in plain else name for name in names[len(plain) :]]
        found.append([front + name for name in (*plain, *rest)])
    return found


class Compilation:
    """Optimizer, and losses and metrics of a model's outputs.

    Args:
        optimizer: see `gridnn.optimizers.get`.
        loss: see `gridnn.losses.get`; None for a model that only predicts. Of several outputs one for all,
            or one each: a list, or a dict by name.
        metric_ids: list of what `gridnn.metrics.get` takes; of several outputs a list of such lists, or a
            dict by name.
        loss_weights: what the losses of several outputs count, a list or a dict by name; None is 1.
        weighted_metrics: metrics that the weights of samples count for.
        outputs: names of the outputs; None for a single one.

    Raises:
        ValueError: an unknown id, an unknown output, or two metrics of the same name.
        TypeError: an object the engine does not know.
    """

    def __init__(
        self,
        optimizer: object,
        loss: object,
        metric_ids: object,
        loss_weights: object = None,
        weighted_metrics: object = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.optimizer = optimizers.get(optimizer)
        self.outputs = None if outputs is None else tuple(outputs)
        names = ("output",) if outputs is None else self._several
        described = isinstance(loss, Mapping) and "class_name" in loss
        if (
            outputs is None
            and not isinstance(loss, (list, tuple))
            and (described or not isinstance(loss, Mapping))
        ):
            each: list[object] = [loss]
        elif described or not isinstance(loss, (list, tuple, Mapping)):
            each = [loss] * len(names)
        else:
            each = _by_output(loss, outputs, "loss")
        # Lists of one loss are what Keras takes for an output as well.
        each = [own[0] if isinstance(own, (list, tuple)) and len(own) == 1 else own for own in each]
        self.losses = [None if own is None else losses.get(own) for own in each]
        for known in self.losses:
            if isinstance(known, losses.Loss):
                _ = known.training_reduction  # which says what is wrong
        self.metrics = _metric_lists(metric_ids, outputs, "metrics")
        self.weighted_metrics = _metric_lists(weighted_metrics, outputs, "weighted_metrics")
        self.loss_weights: list[float] | None = None
        if loss_weights is not None:
            wanted = [1.0 if w is None else w for w in _weights(loss_weights, outputs)]
            self.loss_weights = [_validation.real(weight, "loss_weights") for weight in wanted]
        for keys, key in zip(self._metric_names(keyed=False), names, strict=True):
            taken = ["loss", *keys]
            for name in taken:
                if taken.count(name) > 1:
                    where = "" if outputs is None else f" of output '{key}'"
                    raise ValueError(
                        f"Two metrics{where} are called '{name}'; give one another name: metrics=[..., "
                        "Metric(name=...)]."
                    )
        for number, (own_loss, own) in enumerate(zip(self.losses, self.all_metrics, strict=True)):
            if own and own_loss is None and any(one is not None for one in self.losses):
                raise ValueError(
                    f"Output '{names[number]}' has metrics and no loss, which says what its targets are: "
                    "give it one, with weight 0 in `loss_weights` if it is not to count."
                )
        self.objective: Objectives | None = None
        self.in_engine = False  # whether the engine has been told

    @property
    def _several(self) -> tuple[str, ...]:
        return self.outputs or ()

    @property
    def loss(self) -> Any:
        """The loss; of several outputs a list."""
        return self.losses[0] if self.outputs is None else self.losses

    @property
    def all_metrics(self) -> list[list[AnyMetric]]:
        """The metrics of every output, those that are weighted at the end."""
        return [own + more for own, more in zip(self.metrics, self.weighted_metrics, strict=True)]

    def _metric_names(self, *, keyed: bool = True) -> list[list[str]]:
        """Keys in logs of the metrics of each output, without its name unless they are `keyed`."""
        return named(self._several if keyed else (), self.all_metrics, map(len, self.weighted_metrics))

    @property
    def loss_names(self) -> list[str]:
        """Keys of losses in logs."""
        pairs = zip(self._several, self.losses, strict=False)
        own = [f"{key}_loss" for key, loss in pairs if loss is not None]
        return ["loss", *(own if len(own) > 1 else ())]

    @property
    def metrics_by_name(self) -> dict[str, AnyMetric]:
        """All metrics by their keys in logs."""
        pairs = zip(self._metric_names(), self.all_metrics, strict=True)
        return {name: metric for own, metrics in pairs for name, metric in zip(own, metrics, strict=True)}

    @property
    def names(self) -> list[str]:
        """Keys of logs, in the order of the lists that `evaluate` returns."""
        rest = list(self.metrics_by_name)
        return [*self.loss_names, *(rest if self.outputs is None else sorted(rest))]

    def afresh(self) -> Compilation:
        """The same, to be resolved anew for a changed model."""
        return Compilation(
            self.optimizer,
            self.loss,
            self.metrics[0] if self.outputs is None else self.metrics,
            self.loss_weights,
            self.weighted_metrics[0] if self.outputs is None else self.weighted_metrics,
            self.outputs,
        )

    def resolve(
        self,
        target_shapes: Sequence[Sequence[int] | None],
        output_shapes: Sequence[Sequence[int | None]],
        last: Sequence[str | None],
    ) -> Objectives:
        """The objectives for targets of these shapes.

        The choice depends on the shapes only where the loss is "crossentropy"; by itself it changes nothing
        here, the caller keeps it in `objective` once the targets have proved usable.

        Args:
            target_shapes: of every output, shape of its targets, batch axis included; None if it has none.
            output_shapes: shape of one output each.
            last: name of the last activation of each, or None.
        """
        if self.objective is not None:
            return self.objective
        if not any(loss is not None for loss in self.losses):
            raise ValueError(
                "The model has no loss: call compile(optimizer, loss) with one before training or evaluation."
            )
        found = []
        for number, given in enumerate(zip(self.losses, self.all_metrics, target_shapes, strict=True)):
            weight = 1.0 if self.loss_weights is None else self.loss_weights[number]
            weighted = len(self.weighted_metrics[number])
            objective = _resolved(*given, output_shapes[number], last[number])
            found.append(Objective(*objective, weight, weighted))
        return Objectives(tuple(found), self._several)

    def get_config(self) -> dict[str, Any]:
        """Plain JSON values; the optimizer's learning rate is the current one."""
        config: dict[str, Any] = {
            "optimizer": serialize(self.optimizer),
            "loss": [None if loss is None else serialize(loss) for loss in self.losses],
            "metrics": [_kept(own) for own in self.metrics],
            "objective": None
            if self.objective is None
            else [one.get_config() for one in self.objective.outputs],
        }
        if self.outputs is None:
            objective = config["objective"]
            own = {"loss": config["loss"][0], "metrics": config["metrics"][0]}
            config = {**config, **own, "objective": objective and objective[0]}
        else:
            config["outputs"] = list(self.outputs)
        if self.loss_weights is not None:
            config["loss_weights"] = self.loss_weights
        if any(self.weighted_metrics):
            weighted = [_kept(own) for own in self.weighted_metrics]
            config["weighted_metrics"] = weighted[0] if self.outputs is None else weighted
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Compilation:
        """The compilation that has this `get_config`."""
        outputs = config.get("outputs")
        if outputs is not None:
            outputs = [_validation.string(name, "outputs") for name in _list(outputs)]
        compilation = cls(
            config["optimizer"],
            config["loss"],
            _list(config["metrics"]),
            config.get("loss_weights"),
            config.get("weighted_metrics"),
            outputs,
        )
        objective = config["objective"]
        if objective is not None:
            each = [objective] if outputs is None else _list(objective)
            if len(each) != len(compilation.losses):
                raise ValueError("objectives and outputs are of different numbers")
            weights = compilation.loss_weights or [1.0] * len(each)
            made = [Objective.from_config(one, weight) for one, weight in zip(each, weights, strict=True)]
            if [one.loss is None for one in made] != [loss is None for loss in compilation.losses]:
                raise TypeError("losses with every choice made, and without, are of different outputs")
            compilation.objective = Objectives(tuple(made), compilation._several)
        return compilation


def _resolved(
    loss: losses.Loss | losses.AutomaticCrossentropy | None,
    chosen: Sequence[AnyMetric],
    target_shape: Sequence[int] | None,
    output_shape: Sequence[int | None],
    last: str | None,
) -> tuple[losses.Loss | None, tuple[metrics.Metric, ...]]:
    """Loss and metrics of an output with every choice made."""
    if loss is None or target_shape is None:
        return None, ()
    one_channel = output_shape[-1] == 1
    probabilities = last in _PROBABILITIES
    if isinstance(loss, losses.AutomaticCrossentropy):
        targets = _targets(target_shape, output_shape)
        loss = loss.resolve(one_channel=one_channel, targets=targets, probabilities=probabilities)
    else:
        loss = loss.resolve(probabilities=probabilities)
    resolved = []
    for metric in chosen:
        if isinstance(metric, metrics.Automatic):
            metric = metric.resolve(one_channel=one_channel, targets=loss.targets)
        if not metric.in_python and metric.targets not in (loss.targets, "any"):
            raise ValueError(
                f"metric '{metric.name}' ({type(metric).__name__}) compares outputs with "
                f"{metric.targets}, but loss {type(loss).__name__} takes {loss.targets}; choose a "
                "metric that fits the loss."
            )
        resolved.append(metric)
    return loss, tuple(resolved)


def _by_output(value: Any, outputs: Sequence[str] | None, argument: str) -> list[Any]:
    """What a list or dict says for every output; None where a dict says nothing."""
    names = ("output",) if outputs is None else outputs
    if isinstance(value, Mapping):
        unknown = [key for key in value if key not in names]
        if outputs is None and len(value) == 1:
            return list(value.values())
        if unknown:
            raise ValueError(
                f"The `{argument}` argument names {unknown[0]!r}, which is no output of the model: they are "
                f"{', '.join(names)}."
            )
        return [value.get(name) for name in names]
    if isinstance(value, (list, tuple)) and len(value) == len(names):
        return list(value)
    count = f" of {len(value)} elements" if isinstance(value, (list, tuple)) else ""
    raise ValueError(
        f"The `{argument}` argument must have one entry for each of the {len(names)} outputs "
        f"({', '.join(names)}), or be a dict by their names. Received a {type(value).__name__}{count}."
    )


def _metric_lists(value: Any, outputs: Sequence[str] | None, argument: str) -> list[list[AnyMetric]]:
    """The metrics of every output."""
    names = ("output",) if outputs is None else outputs
    if value is None:
        return [[] for _ in names]
    if isinstance(value, str) or not isinstance(value, (Sequence, Mapping)):
        raise TypeError(f"The `{argument}` argument must be a list. Received {argument}={value!r}.")
    if outputs is None:
        if isinstance(value, Mapping):
            if "class_name" in value:
                raise TypeError(f"The `{argument}` argument must be a list. Received {argument}={value!r}.")
            value = _by_output(value, None, argument)[0] or []
        elif len(value) == 1 and isinstance(value[0], (list, tuple)):
            value = value[0]
        each = [value]
    else:
        each = _by_output(value, outputs, argument)
    lists = []
    for own in each:
        single = isinstance(own, (str, Mapping)) or not isinstance(own, Sequence)
        own = [] if own is None else [own] if single else own
        lists.append([metrics.get(identifier) for identifier in own])
    return lists


def _weights(value: object, outputs: Sequence[str] | None) -> list[Any]:
    """The weight of every loss."""
    if outputs is None and not isinstance(value, (list, tuple, Mapping)):
        return [value]
    return _by_output(value, outputs, "loss_weights")


def _targets(target_shape: Sequence[int], output_shape: Sequence[int | None]) -> Targets:
    """Keras' rule: labels have fewer axes than outputs, or a last axis of size 1 that outputs lack."""
    fewer_axes = len(target_shape) < len(output_shape) + 1
    return "labels" if fewer_axes or (target_shape[-1] == 1 and output_shape[-1] != 1) else "values"


def _kept(chosen: Iterable[AnyMetric]) -> list[dict[str, Any]]:
    """Descriptions of the metrics that can be described; a Python function cannot."""
    return [serialize(metric) for metric in chosen if type(metric) is not metrics.MeanMetricWrapper]


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, received {value!r}")
    return value
