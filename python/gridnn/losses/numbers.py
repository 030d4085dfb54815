"""Losses of numbers: differences, distributions, directions and margins."""

from __future__ import annotations

from gridnn import _validation
from gridnn.losses.base import REGISTRY, Loss
from gridnn.losses.probabilities import OfProbabilities


@REGISTRY.register("mse", "MSE")
class MeanSquaredError(Loss):
    """Mean over the last axis of the squared difference.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets of the same shape; targets ``(batch,)`` match outputs ``(batch, 1)``.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.MeanSquaredError())
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        5.0
    """


@REGISTRY.register("mae", "MAE")
class MeanAbsoluteError(Loss):
    """Mean over the last axis of the absolute difference; its gradient at 0 is 0.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.MeanAbsoluteError())
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        2.0
    """


@REGISTRY.register("mape", "MAPE")
class MeanAbsolutePercentageError(Loss):
    """Mean over the last axis of ``100 |t - p| / max(|t|, 1e-7)``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.MeanAbsolutePercentageError())
        >>> x, y = np.array([[1.1, 1.8]]), np.array([[1.0, 2.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        10.0
    """


@REGISTRY.register("msle", "MSLE")
class MeanSquaredLogarithmicError(Loss):
    """Mean over the last axis of ``(log(t + 1) - log(p + 1))^2``, both taken as 1e-7 at least.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.MeanSquaredLogarithmicError())
        >>> x, y = np.array([[1.0, 3.0]]), np.array([[0.0, 1.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.4805
    """


@REGISTRY.register()
class Huber(Loss):
    """Squared near 0, straight beyond `delta`; mean over the last axis.

    ``d^2 / 2`` where ``|d| <= delta``, else ``delta |d| - delta^2 / 2``.

    Args:
        delta: where the change is.
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.Huber(delta=1.0))
        >>> x, y = np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        1.3125
    """

    config_fields = ("delta", "reduction", "name")

    def __init__(
        self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction, name)
        self.delta = _validation.real(delta, "delta", low=0.0)


@REGISTRY.register()
class LogCosh(Loss):
    """Mean over the last axis of ``log(cosh(p - t))``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.LogCosh())
        >>> x, y = np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        1.2147
    """


@REGISTRY.register()
class Poisson(Loss):
    """Mean over the last axis of ``p - t log(p + 1e-7)``, for counts t.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`; outputs not negative.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.Poisson())
        >>> x, y = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.4603
    """


@REGISTRY.register("kld", "KLD")
class KLDivergence(OfProbabilities):
    """``sum(t log(t / p))`` over the last axis, both clipped to [1e-7, 1].

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        from_logits: see `Dice`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``, distributions both.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.KLDivergence())
        >>> x, y = np.array([[0.7, 0.3]]), np.array([[0.5, 0.5]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.0199
    """

    config_fields = ("reduction", "name", "from_logits")
    sigmoid_of_one = True

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self._set_from_logits(from_logits)


@REGISTRY.register()
class CosineSimilarity(Loss):
    """Minus the cosine of the angle between targets and outputs along the last axis.

    -1 for the same direction, 0 for a right angle.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((2,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.CosineSimilarity())
        >>> x, y = np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        -1.0
    """


@REGISTRY.register()
class Hinge(Loss):
    """Mean over the last axis of ``max(1 - t p, 0)``, with targets -1 and 1.

    Targets that are all 0 or 1 in a batch stand for -1 and 1.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.Hinge())
        >>> x, y = np.array([[0.5], [-2.0]]), np.array([[1.0], [-1.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.25
    """

    target_range = (-1.0, 1.0)


@REGISTRY.register()
class SquaredHinge(Loss):
    """Mean over the last axis of ``max(1 - t p, 0)^2``, with targets -1 and 1, or 0 and 1 as in `Hinge`.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        As `MeanSquaredError`.

    Example:
        >>> model = gn.Sequential([gn.Input((1,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.SquaredHinge())
        >>> x, y = np.array([[0.5], [-2.0]]), np.array([[1.0], [-1.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.125
    """

    target_range = (-1.0, 1.0)


@REGISTRY.register()
class CategoricalHinge(Loss):
    """``max(wrong - right + 1, 0)`` of a position.

    `right` is ``sum(t p)``, `wrong` the largest ``(1 - t) p``.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.

    Input shape:
        Outputs and targets ``(batch, ..., classes)``.

    Example:
        >>> model = gn.Sequential([gn.Input((3,)), layers.Flatten()])  # puts out what it is given
        >>> model.compile("sgd", gn.losses.CategoricalHinge())
        >>> x, y = np.array([[0.7, 0.2, 0.1]]), np.array([[1.0, 0.0, 0.0]])
        >>> round(model.evaluate(x, y, verbose=0), 4)
        0.5
    """

    target_range = (0.0, 1.0)
