"""Losses that divide sums over many elements: how well sets overlap."""

from __future__ import annotations

from collections.abc import Sequence

from gridnn import _validation
from gridnn.losses.base import REGISTRY
from gridnn.losses.probabilities import OfProbabilities


def _axes(axis: int | Sequence[int] | None) -> tuple[int, ...] | None:
    if axis is None:
        return None
    axes = axis if isinstance(axis, Sequence) else (axis,)
    return tuple(_validation.integer(number, "axis") for number in axes)


class _Overlap(OfProbabilities):
    """What `Dice` and `Tversky` share.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
    """

    axis: tuple[int, ...] | None
    sigmoid_of_one = True

    def _values_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes that are not summed over."""
        if self.axis is None:
            return ()
        summed = {axis % len(shape) for axis in self.axis}
        return tuple(size for axis, size in enumerate(shape) if axis not in summed)


@REGISTRY.register()
class Dice(_Overlap):
    """One minus the Dice coefficient: ``1 - 2 sum(t p) / (sum(t) + sum(p) + 1e-7)``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        axis: axes that are summed over, 0 being the batch; None is all of them, which makes one number of a
            batch. With ``axis=(1, 2, 3)`` every image has its own, with ``(0, 1, 2)`` every channel. Where
            the batch is summed over, sample weights act by their mean.
        from_logits: True: the outputs are scores, of which one output becomes a probability by a sigmoid,
            several by a softmax over the last axis; False: probabilities; None: scores unless the model's
            last activation is softmax or sigmoid. Several independent outputs need a sigmoid in the model.

    Input shape:
        Outputs and targets of the same shape; targets from 0 to 1.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.Dice(from_logits=False))
        >>> x, y = np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.1429
    """

    config_fields = ("reduction", "name", "axis", "from_logits")

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.axis = _axes(axis)
        self._set_from_logits(from_logits)


@REGISTRY.register()
class Tversky(_Overlap):
    """One minus the Tversky index: ``1 - I / (I + alpha sum(t (1 - p)) + beta sum((1 - t) p) + 1e-7)``.

    ``I = sum(t p)`` (Salehi et al., 2017). With both factors 1/2 it is the Dice coefficient.

    Args:
        alpha: price of what was missed (as in Keras, whose documentation names the factors the other way
            round).
        beta: price of what was found in vain.
        reduction: see `Loss`.
        name: see `Loss`.
        axis: see `Dice`.
        from_logits: see `Dice`.

    Input shape:
        As `Dice`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.Tversky(from_logits=False))
        >>> x, y = np.array([[0.9, 0.2]]), np.array([[1.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.1429
    """

    config_fields = ("alpha", "beta", "reduction", "name", "axis", "from_logits")

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int | Sequence[int] | None = None,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.alpha = _validation.real(alpha, "alpha", low=0.0)
        self.beta = _validation.real(beta, "beta", low=0.0)
        self.axis = _axes(axis)
        self._set_from_logits(from_logits)
