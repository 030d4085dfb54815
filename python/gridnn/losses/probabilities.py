"""What losses share that compare targets with probabilities."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn.losses.base import Loss


class OfProbabilities(Loss):
    """Base of the losses that want probabilities, or the scores that become some."""

    from_logits: bool | None
    target_range = (0.0, 1.0)
    always_sigmoid: ClassVar[bool] = False  # of every output, however many there are
    sigmoid_of_one: ClassVar[bool] = False  # of a single output: a softmax of one is always 1

    def _set_from_logits(self, from_logits: bool | None) -> None:
        self.from_logits = None if from_logits is None else _validation.boolean(from_logits, "from_logits")

    def _set_label_smoothing(self, label_smoothing: float) -> None:
        self.label_smoothing = _validation.real(label_smoothing, "label_smoothing", low=0.0, high=1.0)

    def resolve(self, *, probabilities: bool) -> Loss:
        """The same loss with `from_logits` decided: logits unless the model ends in softmax or sigmoid."""
        if self.from_logits is not None:
            return self
        return type(self).from_config({**self.get_config(), "from_logits": not probabilities})

    def as_metric_input(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities: a sigmoid of every output, or a softmax over the last axis."""
        if not self.from_logits:
            return outputs
        if self.always_sigmoid or (self.sigmoid_of_one and outputs.shape[-1] == 1):
            return 0.5 * (1.0 + np.tanh(0.5 * outputs))
        exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))

    def engine_config(self) -> dict[str, Any]:
        """With a choice: one that a file of 0.1.0 has not made was probabilities."""
        return {**super().engine_config(), "from_logits": bool(self.from_logits)}
