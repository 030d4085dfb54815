"""`LimitedLayer`: layers whose weights may have regularizers and constraints."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

from gridnn import _validation, constraints, regularizers
from gridnn.layers.base import Layer

_Regularizer = str | regularizers.Regularizer | Mapping[str, Any] | None
_Constraint = str | constraints.Constraint | Mapping[str, Any] | None


# What users of Keras may write, and what stands for it here.
_INSTEAD = {
    "weights": " Weights are set by set_weights.",
}


class ActivityLimits(TypedDict, total=False):
    """The keyword that all layers with weights have; see `LimitedLayer`."""

    activity_regularizer: _Regularizer


class KernelLimits(ActivityLimits, total=False):
    """Keywords of layers with a kernel and a bias; see `LimitedLayer`."""

    kernel_regularizer: _Regularizer
    bias_regularizer: _Regularizer
    kernel_constraint: _Constraint
    bias_constraint: _Constraint


class DepthwiseLimits(ActivityLimits, total=False):
    """Keywords of depthwise convolutions; see `LimitedLayer`."""

    depthwise_regularizer: _Regularizer
    bias_regularizer: _Regularizer
    depthwise_constraint: _Constraint
    bias_constraint: _Constraint


class SeparableLimits(DepthwiseLimits, total=False):
    """Keywords of separable convolutions; see `LimitedLayer`."""

    pointwise_regularizer: _Regularizer
    pointwise_constraint: _Constraint


class SlopeLimits(ActivityLimits, total=False):
    """Keywords of `PReLU`; see `LimitedLayer`."""

    alpha_regularizer: _Regularizer
    alpha_constraint: _Constraint


class ScaleLimits(ActivityLimits, total=False):
    """Keywords of normalizations; see `LimitedLayer`."""

    beta_regularizer: _Regularizer
    gamma_regularizer: _Regularizer
    beta_constraint: _Constraint
    gamma_constraint: _Constraint


def limit_fields(*prefixes: str) -> tuple[str, ...]:
    """The names of the arguments that limit weights and outputs, for `config_fields`."""
    kinds = ("regularizer", "constraint")
    return (*(f"{prefix}_{kind}" for kind in kinds for prefix in prefixes), "activity_regularizer")


class LimitedLayer(Layer):
    """A layer that takes, by keyword, a regularizer and a constraint for each of its weights.

    They are called ``kernel_regularizer``, ``bias_constraint`` and so on, default to None, and are what
    `gridnn.regularizers.get` and `gridnn.constraints.get` take. ``activity_regularizer`` is one for the
    outputs of the layer: what it comes to, divided by the size of the batch, is added to the loss.
    """

    activity_regularizer: regularizers.Regularizer | None

    limited: ClassVar[tuple[tuple[str, str], ...]]
    """Pairs of the first part of the arguments' names and the name of the weight."""

    def _limit_fields(self) -> tuple[str, ...]:
        return limit_fields(*(prefix for prefix, _ in self.limited))

    def _set_limits(self, given: Mapping[str, Any]) -> None:
        """Keeps the arguments in attributes of their names.

        Raises:
            TypeError: there is no such argument.
            ValueError: a regularizer of weights is given for the outputs.
        """
        fields = self._limit_fields()
        unknown = given.keys() - set(fields)
        if unknown:
            hints = "".join(_INSTEAD[name] for name in sorted(unknown & _INSTEAD.keys()))
            first, *more = sorted(unknown)
            known = (*inspect.signature(type(self)).parameters, *fields)
            hints = hints or ("" if more else _validation.meant(first, known))
            raise TypeError(f"{type(self).__name__} got unexpected arguments {sorted(unknown)}.{hints}")
        for field in fields:
            value = given.get(field)
            if value is not None:
                find = regularizers.get if field.endswith("regularizer") else constraints.get
                value = find(value)
            setattr(self, field, value)
        activity = self.activity_regularizer
        if activity is not None and not isinstance(activity, regularizers.ElementRegularizer):
            raise ValueError(
                f"`activity_regularizer` must charge every output by itself: L1, L2 or L1L2. Received "
                f"{activity!r}, which is for weights."
            )

    def engine_config(self) -> dict[str, Any]:
        """The configuration without the limits, which the engine is told apart."""
        config = super().engine_config()
        for field in self._limit_fields():
            del config[field]
        return config

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told, with the limits by the name of the weight."""

        def limits(kind: str) -> dict[str, Any]:
            given = {weight: getattr(self, f"{prefix}_{kind}") for prefix, weight in self.limited}
            return {weight: limit.engine_description() for weight, limit in given.items() if limit}

        activity = self.activity_regularizer
        return {
            **super().engine_description(),
            "activity": activity and activity.engine_description(),
            "regularizers": limits("regularizer"),
            "constraints": limits("constraint"),
        }

    def __repr__(self) -> str:
        silent = {field for field in self._limit_fields() if getattr(self, field) is None}
        fields = [field for field in self.config_fields if field not in silent]
        if self._assigned or self._name:
            fields.append("name")
        return f"{type(self).__name__}({', '.join(f'{field}={getattr(self, field)!r}' for field in fields)})"
