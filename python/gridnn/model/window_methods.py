"""`predict_windows` and `evaluate_windows`, which models of one input and one output have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["Overlap", "WindowMethods"]

Overlap = int | float | Sequence[int | float] | None


class WindowMethods:
    """Adds them to a model."""

    def predict_windows(
        self: Model,
        x: Any,
        window: int | Sequence[int],
        *,
        overlap: Overlap = None,
        blend: str = "gaussian",
        batch_size: int = 4,
        padding: str = "reflect",
        reduce: str | None = None,
        out: Any = None,
        verbose: str | int = "auto",
    ) -> Any:
        """The outputs for one large sample, window by window, in memory of a few windows and a slab.

        Without `overlap`, each window is asked only for those outputs that see nothing beyond it: the result
        is that of `predict` on the whole sample, to the byte where the same algorithm is used for both
        (always with ``set_convolution_algorithm("direct")``), else to the last bits. Windows begin where the
        steps of pools and strides do. Where the whole has no such size, its end is padded.

        With `overlap`, windows are asked for all of their outputs, and weighted means are taken where they
        overlap. That is for models that see further than a window reaches.

        Args:
            x: one sample ``(*spatial, channels)``: an array, or whatever has a shape and gives slices (HDF5,
                Zarr, `numpy.memmap`), of which a slab is read at a time.
            window: size of a window, one number for all axes or one for each. The axes of the model's Input
                that have a size are of that size. Windows of open axes may be a little smaller or larger.
            overlap: None; or by how much windows overlap, elements (integers) or a share below 1, for all
                axes or for each.
            blend: "gaussian" weighs the centre of a window most, "constant" all of it alike; acts with
                `overlap`.
            batch_size: windows at once.
            padding: what stands beyond the end where the axis is padded: "reflect", "zeros", "edge", "wrap"
                or "symmetric", as in `numpy.pad`.
            reduce: "argmax" for the class of each position instead of an output for each class.
            out: array that gets the result, of any type that takes slices, with no memory in common with `x`;
                None makes one.
            verbose: as in `predict`, counted in windows.

        Returns:
            Array ``(*spatial, channels)``, without the last axis if reduced; or `out`.

        Raises:
            ValueError: a window sees less than an output does and there is no `overlap`; the model has
                several inputs or outputs; its outputs have no spatial axes, or all see the whole input; a
                layer says something else of windows than of the whole (`CenterCrop`, adaptive pools, padding
                with "wrap", weights of positions); or an argument is wrong.
            ShapeError: `x` or `out` has another shape.
            MemoryError: the result does not fit into memory, and there is no `out`.
            NonFiniteInputError: outputs are NaN that `reduce` is to make classes of.
            NotReadyError: the model is not built.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((None, None, 1)), gn.layers.Conv2D(2, 3, padding="same")])
            >>> scan = np.zeros((500, 400, 1))
            >>> model.predict_windows(scan, window=128).shape
            (500, 400, 2)
        """
        from gridnn.model import windows  # only here: it knows models

        held = windows.result_bytes(self, reduce) if out is None else 0
        work = windows.tiled(self, x, window, overlap, blend, batch_size, padding, held)
        return windows.write_windows(work, reduce, out, verbose)

    def evaluate_windows(
        self: Model,
        x: Any,
        y: Any,
        window: int | Sequence[int],
        *,
        overlap: Overlap = None,
        blend: str = "gaussian",
        batch_size: int = 4,
        return_dict: bool = False,
    ) -> Any:
        """Loss and metrics of one large sample, window by window.

        They are those of the outputs that `predict_windows` makes, over all positions, without what
        regularizers add. Losses and metrics of sets, `Dice` and `Tversky`, reductions other than the mean and
        those written in Python see all outputs at once: then these are held.

        Args:
            x: one sample; see `predict_windows`.
            y: its targets, for each output: labels ``(*spatial)``, or values ``(*spatial, channels)``; an
                array, or whatever has a shape and gives slices.
            window: see `predict_windows`.
            overlap: see `predict_windows`.
            blend: see `predict_windows`.
            batch_size: see `predict_windows`.
            return_dict: return name -> value.

        Returns:
            As `evaluate`: the loss; with metrics, a list of the loss and them.

        Raises:
            ValueError, ShapeError: as `predict_windows`, or `y` does not fit.
            NonFiniteInputError: the loss is not finite, because outputs are not.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((None, 1)), gn.layers.Conv1D(1, 3, padding="same")], seed=0)
            >>> model.compile("sgd", "mse")
            >>> model.evaluate_windows(np.zeros((1000, 1)), np.zeros((1000, 1)), window=64)
            0.0
        """
        from gridnn.model import window_evaluation, windows

        work = windows.tiled(self, x, window, overlap, blend, batch_size, "reflect")
        return window_evaluation.evaluate(work, y, return_dict)
