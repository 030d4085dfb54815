"""`save`, `load_weights`, `report`, `export`: what models write and read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gridnn.model import saving

if TYPE_CHECKING:
    from gridnn.callbacks import History
    from gridnn.interop.c.header import CHeader
    from gridnn.model.protocol import Model

__all__ = ["FileMethods"]


class FileMethods:
    """Adds them to a model."""

    def save(self: Model, path: str | os.PathLike[str]) -> None:
        """Writes everything to one file: model, weights, compile arguments, optimizer state, progress.

        The history of training goes with it; and within `fit`, that is from a callback, the states of all
        callbacks and the place within the epoch. The file appears whole or not at all. `gridnn.load_model`
        reads it.

        A name that ends in ``.keras`` makes a file for Keras, with layers and weights, which needs
        `gridnn[keras]`. It has equal outputs there.

        Args:
            path: the file to write.

        Raises:
            ValueError: the name promises a file of another program; or Keras lacks something that the model
                has, which the message names.
            NotReadyError: the model is for Keras, and is not built.
            ImportError: the file is for Keras, and h5py is not installed.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> model.save("small.gridnn")
            >>> gn.load_model("small.gridnn").output_shape
            (None, 2)
        """
        saving.save(self, path)

    def save_weights(self: Model, path: str | os.PathLike[str]) -> None:
        """Writes the weights to one file; for Keras if its name ends in ``.weights.h5``.

        Raises:
            ValueError: the name promises another file of another program; or the file is for Keras, which
                lacks something that the model has.
            NotReadyError: the model is not built.
            ImportError: the file is for Keras, and h5py is not installed.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> model.save_weights("small.weights.gridnn")
            >>> model.load_weights("small.weights.gridnn")
        """
        saving.save_weights(self, path)

    def load_weights(
        self: Model,
        path: str | os.PathLike[str] | Mapping[str, Any],
        by_name: bool = False,
        skip_mismatch: bool = False,
        *,
        source: str | None = None,
        mapping: Mapping[str, str | None] | None = None,
        prefix: str = "",
    ) -> None:
        """Sets all weights: from a file of a model of the same layers, of Keras, or of a network of PyTorch.

        Files of Keras (``.weights.h5``, ``.h5``, ``.keras``) are known by their contents, and need
        `gridnn[keras]`. Layers are matched in the order of Keras, or by their names.

        A state dict of PyTorch says nothing about layers. Its modules are matched with the layers that have
        weights by `mapping`; the others by equal names, if all have them, else by their order among those of
        their kind (convolutions of a rank, linear, batch normalization, other normalization, PReLU). A
        safetensors file has names in alphabetical order: then numbers in names say which module comes first,
        and where modules of equal shapes differ in more than numbers it is an error that asks for a
        `mapping`. Weights that read a flattened grid are permuted. ``eps`` (1e-5) and ``momentum`` (0.1, here
        0.9) of PyTorch's normalization must be those of the layers; a state dict may hold others under
        ``<module>.eps`` and ``<module>.momentum``. ``module.`` and ``_orig_mod.`` before names do not count.

        Args:
            path: a file that `save_weights`, `save` or Keras wrote. With ``source="pytorch"`` a safetensors
                file, or a state dict: name -> array or tensor.
            by_name: take the layers whose names are in the file, and leave the others alone. Of Keras only.
            skip_mismatch: warn of layers that do not fit, and leave them alone. Of Keras only.
            source: None, "keras" or "pytorch".
            mapping: name of a module -> name of a layer, ``<layer>.depthwise`` and ``<layer>.pointwise`` for
                the two of a separable convolution, ``<model>.<layer>`` within a model that is
                called; None leaves the module out. Of PyTorch only.
            prefix: take the names that begin with it, and cut it off: "backbone.". Of PyTorch only.

        Raises:
            FileFormatError: the file is damaged, or holds other weights; the model is unchanged.
            ValueError, TypeError: a state dict does not fit; the model is unchanged.
            NotReadyError: the model is not built.
            ImportError: the file is of Keras, and h5py is not installed.

        Example:
            >>> import numpy as np
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((3,)), gn.layers.Dense(2)])
            >>> state = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)}  # or net.state_dict()
            >>> model.load_weights(state, source="pytorch")
        """
        saving.load_weights(self, path, by_name, skip_mismatch, source, mapping, prefix)

    def report(
        self: Model,
        path: str | os.PathLike[str],
        x: Any = None,
        y: Any = None,
        *,
        history: History | Mapping[str, Sequence[float]] | None = None,
        title: str | None = None,
        classes: Sequence[object] | None = None,
    ) -> None:
        """Writes one HTML page about the model and its training; needs `gridnn[plot]`.

        It shows curves, confusion matrix, precision and recall of every class, calibration, worst mistakes,
        masks beside the true ones, slices of volumes, filters, activation maps, receptive fields, costs and
        settings, as far as there are any. The page is complete: it loads nothing, and holds no scripts.
        `gridnn.report` compares runs.

        Args:
            path: the file to write, whose name ends in .html.
            x: samples that were not trained on, ``(n, ..., channels)``. Of a model of several inputs or
                outputs what `evaluate` takes: the page then has losses and metrics, and no single samples.
            y: their labels: a class per sample (or per voxel), one-hot rows, or numbers to predict.
            history: what `fit` returned; None takes that of the last fit of this model.
            title: title of the page.
            classes: names of the classes; None takes `class_names`.

        Raises:
            ValueError: the model is not built, or only one of `x` and `y` is given, or they are empty; `path`
                ends in other than .html.
            ShapeError: `x` does not fit the model, or `x` and `y` have different lengths.
            ImportError: matplotlib is not installed.

        Example:
            >>> import gridnn as gn
            >>> (x, y), (xt, yt) = gn.datasets.digits()
            >>> model = gn.Sequential([gn.Input((8, 8, 1)), gn.layers.Flatten(), gn.layers.Dense(10)], seed=0)
            >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            >>> history = model.fit(x / 16, y, epochs=2, seed=0, verbose=0)
            >>> model.report("run.html", xt / 16, yt, title="Digits")
        """
        from gridnn import _report  # only here: it needs the instruments and matplotlib

        _report.write(self, path, x, y, history, title, self.class_names if classes is None else classes)

    def export(
        self: Model,
        path: str | os.PathLike[str],
        format: str | None = None,  # noqa: A002
        *,
        opset_version: int = 17,
        layout: str = "channels_last",
        activation: str | None = None,
        class_names: Sequence[str] | None = None,
        batch: int | None = None,
        compat: str | None = None,
        verify: bool = True,
    ) -> CHeader | None:
        """Writes the model for other programs: an ONNX file, with `gridnn[onnx]`, or a C header.

        The outputs of the file are those of `predict`, in float32. The same model is the same file, to the
        byte; it appears whole or not at all. Layers that act in training only are left out. C files hold
        chains of layers; ``net.h`` declares ``net_predict(input, output, arena)``.

        Args:
            path: the file to write.
            format: "onnx" or "c"; None goes by the ending of `path`, ".onnx" or ".h".
            opset_version: version of ONNX' operator set, 13 to 21. This one, `layout` and `compat` are for
                ONNX files only.
            layout: "channels_last" for inputs and outputs as here; "channels_first" for ``(batch, channels,
                ...)``, the order that ONNX computes in.
            activation: "softmax" or "sigmoid" to put behind the last layer, of a model whose outputs are
                scores.
            class_names: names of the outputs, one each, kept in the file's metadata; two may name the classes
                of a single output. None takes those of the model.
            batch: number of samples that an ONNX file takes at once; None for any, which is named ``N``. C
                takes one.
            compat: "symmetric" for programs that cannot read padding which differs before and after: it
                becomes an operator of its own.
            verify: check the file and, where onnxruntime is installed or a C compiler found, run one sample
                through it and through the model.

        Returns:
            None for ONNX; for C what the file takes: `function` is the name to call, and `input_size`,
            `output_size`, `arena_size` and `weight_count` are numbers of floats.

        Raises:
            ValueError: a layer cannot be written, or depends on a size that the model leaves open; the
                message names it. Also: the model is not built, or an argument is not one of those above.
            ImportError: the package onnx is not installed.
            RuntimeError: onnxruntime or the compiled file computes something else; nothing is written.
            OSError: the file cannot be written.

        Example:
            >>> import gridnn as gn
            >>> model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(2)])
            >>> header = model.export("net.h")
            >>> header.function, header.input_size, header.output_size
            ('net_predict', 4, 2)
        """
        from gridnn.interop import export  # only here: models need no exporters

        header: CHeader | None = export.export(
            self,
            path,
            format,
            opset_version=opset_version,
            layout=layout,
            activation=activation,
            class_names=self.class_names if class_names is None else class_names,
            batch=batch,
            compat=compat,
            verify=verify,
        )
        return header
