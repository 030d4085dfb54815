"""What `compile` was given, and what it comes to once model and targets are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridnn import losses, metrics, optimizers
from gridnn._config import serialize
from gridnn.metrics import Targets

_PROBABILITIES = ("softmax", "sigmoid")


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and metrics with every choice made."""

    loss: losses.Loss
    metrics: tuple[metrics.Metric, ...]

    @property
    def names(self) -> list[str]:
        """The keys of logs, in order."""
        return ["loss", *(metric.name for metric in self.metrics)]

    def get_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"loss": serialize(self.loss), "metrics": _kept(self.metrics)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Objective:
        """The objective that has this `get_config`."""
        loss = losses.get(config["loss"])
        if not isinstance(loss, losses.Loss):
            raise TypeError(f"expected a loss with every choice made, received {config['loss']!r}")
        return cls(loss, tuple(metrics.REGISTRY.deserialize(metric) for metric in _list(config["metrics"])))


class Compilation:
    """Optimizer, loss and metrics of a model.

    Args:
        optimizer: see `gridnn.optimizers.get`.
        loss: see `gridnn.losses.get`; None for a model that only predicts.
        metrics: list of what `gridnn.metrics.get` takes.

    Raises:
        ValueError: an unknown id, or two metrics of the same name.
        TypeError: an object the engine does not know.
    """

    def __init__(self, optimizer: object, loss: object, metric_ids: object) -> None:
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        if metric_ids is None:
            metric_ids = []
        if isinstance(metric_ids, (str, Mapping)) or not isinstance(metric_ids, Sequence):
            raise TypeError(f"The `metrics` argument must be a list. Received metrics={metric_ids!r}.")
        self.metrics = [metrics.get(identifier) for identifier in metric_ids]
        names = ["loss", *(metric.name for metric in self.metrics)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"Two metrics are called '{name}'; give one another name: metrics=[..., "
                    "Metric(name=...)]."
                )
        self.objective: Objective | None = None
        self.in_engine = False  # whether the engine has been told

    def afresh(self) -> Compilation:
        """The same, to be resolved anew for a changed model."""
        return Compilation(self.optimizer, self.loss, self.metrics)

    def resolve(
        self, target_shape: Sequence[int], output_shape: Sequence[int | None], last: str | None
    ) -> Objective:
        """The objective for targets of this shape.

        The choice depends on the shapes only where the loss is "crossentropy"; by itself it changes nothing
        here, the caller keeps it in `objective` once the targets have proved usable.

        Args:
            target_shape: shape of the targets, batch axis included.
            output_shape: shape of one output.
            last: name of the model's last activation, or None.
        """
        if self.objective is not None:
            return self.objective
        if self.loss is None:
            raise ValueError(
                "The model has no loss: call compile(optimizer, loss) with one before training or evaluation."
            )
        one_channel = output_shape[-1] == 1
        probabilities = last in _PROBABILITIES
        if isinstance(self.loss, losses.AutomaticCrossentropy):
            targets = _targets(target_shape, output_shape)
            loss = self.loss.resolve(one_channel=one_channel, targets=targets, probabilities=probabilities)
        else:
            loss = self.loss.resolve(probabilities=probabilities)
        resolved = []
        for metric in self.metrics:
            if isinstance(metric, metrics.Automatic):
                metric = metric.resolve(one_channel=one_channel, targets=loss.targets)
            if metric.targets not in (loss.targets, "any"):
                raise ValueError(
                    f"metric '{metric.name}' ({type(metric).__name__}) compares outputs with "
                    f"{metric.targets}, but loss {type(loss).__name__} takes {loss.targets}; choose a "
                    "metric that fits the loss."
                )
            resolved.append(metric)
        return Objective(loss, tuple(resolved))

    def get_config(self) -> dict[str, Any]:
        """Plain JSON values; the optimizer's learning rate is the current one."""
        return {
            "optimizer": serialize(self.optimizer),
            "loss": None if self.loss is None else serialize(self.loss),
            "metrics": _kept(self.metrics),
            "objective": None if self.objective is None else self.objective.get_config(),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Compilation:
        """The compilation that has this `get_config`."""
        compilation = cls(config["optimizer"], config["loss"], _list(config["metrics"]))
        if config["objective"] is not None:
            compilation.objective = Objective.from_config(config["objective"])
        return compilation


def _targets(target_shape: Sequence[int], output_shape: Sequence[int | None]) -> Targets:
    """Keras' rule: labels have fewer axes than outputs, or a last axis of size 1 that outputs lack."""
    fewer_axes = len(target_shape) < len(output_shape) + 1
    return "labels" if fewer_axes or (target_shape[-1] == 1 and output_shape[-1] != 1) else "values"


def _kept(chosen: Iterable[metrics.Metric | metrics.Automatic]) -> list[dict[str, Any]]:
    """Descriptions of the metrics that can be described; a Python function cannot."""
    return [serialize(metric) for metric in chosen if not isinstance(metric, metrics.FunctionMetric)]


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, received {value!r}")
    return value
