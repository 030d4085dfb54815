"""The moving average of the weights, where it is wanted before training ends."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from gridnn import _validation
from gridnn.callbacks.base import Callback, Logs


class SwapEMAWeights(Callback):
    """Puts the moving average of the weights in their place while the model is evaluated.

    The optimizer keeps it with ``use_ema=True``. Training goes on with the weights themselves; at its end
    `fit` puts the average in their place for good.

    Args:
        swap_on_epoch: whether it is there from the end of an epoch to the beginning of the next one as well,
            so that callbacks after this one, `ModelCheckpoint` for instance, save it.

    Raises:
        ValueError: the optimizer keeps no average; when it is wanted.

    Example:
        >>> model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
        >>> model.compile(gn.optimizers.Adam(use_ema=True), "mse")
        >>> x, y = np.ones((8, 4)), np.ones(8)
        >>> swap = gn.callbacks.SwapEMAWeights()
        >>> history = model.fit(x, y, validation_data=(x, y), callbacks=[swap], verbose=0)
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = _validation.boolean(swap_on_epoch, "swap_on_epoch")
        self._own: list[NDArray[Any]] | None = None  # the weights, while the average is in their place
        self._testing = False

    def _swap(self) -> None:
        """Puts the average in the weights' place."""
        if not self.model.optimizer.use_ema:
            raise ValueError(
                "SwapEMAWeights needs an optimizer that keeps an average: use_ema=True. Received "
                f"{self.model.optimizer!r}."
            )
        if self._own is None:
            self._own = self.model.get_weights()
            self.model.network.finalize()

    def _swap_back(self) -> None:
        own, self._own = self._own, None
        if own is not None:
            self.model.set_weights(own)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins with the weights themselves."""
        self._own = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Goes on with the weights."""
        self._swap_back()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Puts the average in their place, if that is asked for."""
        if self.swap_on_epoch:
            self._swap()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Forgets the weights: `fit` leaves the average."""
        self._own = None

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Puts the average in the weights' place."""
        self._testing = self._own is None
        if self.model.iterations:
            self._swap()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Puts the weights back."""
        if self._testing:
            self._swap_back()

    def state(self) -> Any:
        """The weights that training goes on with, where they are not in the model."""
        return {"own": self._own}

    def restore(self, state: Any) -> None:
        """Takes them back."""
        self._own = state["own"]
