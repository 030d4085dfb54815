"""Loss and metrics of the outputs of all windows of one large sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._arrays import shape_of
from gridnn._batches import first_in
from gridnn.errors import NonFiniteInputError, ShapeError
from gridnn.layers import Activation, Input
from gridnn.losses import Loss
from gridnn.metrics import Metric
from gridnn.model.sequential import Sequential
from gridnn.model.training_state import resolve
from gridnn.model.windows import Tiled, not_known, write_windows

__all__ = ["evaluate"]

_OF_SETS = ("Dice", "Tversky")  # one number of all positions, not a mean over them


def evaluate(work: Tiled, y: Any, return_dict: bool) -> Any:
    """Loss and metrics of the outputs of all windows; see `WindowMethods.evaluate_windows`.

    Raises:
        ShapeError: the targets do not fit.
        ValueError: they are not usable.
        NonFiniteInputError: outputs have no loss.
    """
    _validation.boolean(return_dict, "return_dict")
    _validation.not_masked(y, "y")
    model = work.model
    shape = tuple(shape_of(y, "y") or ())
    if shape not in (work.shape[:-1], work.shape, (*work.shape[:-1], 1)):
        raise ShapeError(
            f"The `y` argument must have a label for each output, shape {work.shape[:-1]}, or its values, "
            f"shape {work.shape}. Received {shape or type(y).__name__}."
        )
    (objective,) = resolve(model, [(1, *shape)]).outputs
    loss = objective.loss
    assert loss is not None  # `resolve` has refused a model without one
    parts = _Parts()
    if _by_position(loss, objective.metrics):
        # Each row is a sample: the mean over samples is that over positions.
        sample, batches = work.shape[1:], parts.rows(work, y)
    else:
        sample, batches = work.shape, parts.whole(work, y)
    # A model that passes on what it is given, so that the engine's own losses and metrics judge it.
    judge = Sequential([Input(sample), Activation("linear")], dtype=model.dtype)
    judge.compile("sgd", loss, list(objective.metrics))
    with parts.named():
        return judge.evaluate(batches, verbose=0, return_dict=return_dict)


def _by_position(loss: Loss, metrics: Sequence[Metric]) -> bool:
    """Whether loss and metrics are means over positions, which parts of them may be added to."""
    parts = (loss, *metrics)
    built_in = not any(part.in_python for part in parts)
    names = {type(part).__name__ for part in parts}
    return built_in and loss.reduction != "sum" and not names & {*_OF_SETS}


class _Parts:
    """Outputs and targets as batches, of which a user knows nothing: errors speak of rows of the sample."""

    def __init__(self) -> None:
        self._first, self._outputs = 0, np.empty(0)  # of the latest part
        self._by_row = True

    def rows(self, work: Tiled, y: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """A slab at a time, its rows as samples."""
        for first, rows, _ in work.slabs():
            if len(rows):
                self._first, self._outputs = first, rows
                yield rows, np.asarray(y[first : first + len(rows)])

    def whole(self, work: Tiled, y: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """All of the sample at once."""
        self._by_row = False
        self._outputs = write_windows(work, None, None, 0)
        yield self._outputs[np.newaxis], np.asarray(y[:])[np.newaxis]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors about a batch within become such about the sample."""
        try:
            yield
        except NonFiniteInputError as error:
            wrong = ~np.isfinite(self._outputs)
            if not wrong.any():
                raise
            raise not_known(wrong, self._first, "not finite") from error
        except (ValueError, TypeError) as error:
            own = error.__cause__  # without the number of the batch
            number = None if own is None else vars(own).get("sample")
            if own is None or number is None:
                raise
            place = f", {first_in('row', self._first + number)}" if self._by_row else ""
            raise type(error)(str(own).replace(f", {first_in('sample', number)}", place)) from error
