"""The operator cases of the `onnx` package, and an adapter that runs them through `gridnn.functional`.

ONNX has channels first; every operator here transposes, calls, and transposes back. To add one, write a
function of `(inputs, attributes)` that returns the list of outputs, and enter it in `OPERATORS`. What the
library does not do on purpose raises `Unsupported` with the reason; it is counted and shown, never hidden.
"""

import importlib
import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

from gridnn import functional as F  # noqa: N812


class Unsupported(Exception):  # noqa: N818
    """The case needs what the library does not have, for the reason given."""


def channels_last(x):
    if not 3 <= x.ndim <= 5:
        raise Unsupported(f"{x.ndim - 2} spatial axes")
    return np.moveaxis(x, 1, -1)


def channels_first(y):
    return np.moveaxis(y, -1, 1)


def function(name, rank, suffix=""):
    return getattr(F, f"{name}{rank}d{suffix}")


def padding(attributes, sizes, kernel, strides, dilations):
    """`auto_pad` or `pads` of a convolution or pool as what `padding` takes."""
    rule = attributes.get("auto_pad", b"NOTSET").decode()
    if rule == "VALID":
        return "valid"
    if rule == "SAME_UPPER":
        return "same"
    if rule == "SAME_LOWER":
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        each = zip(sizes, spans, strides, strict=True)
        totals = [max((-(-n // s) - 1) * s + span - n, 0) for n, span, s in each]
        return [(total - total // 2, total // 2) for total in totals]
    rank = len(sizes)
    pads = attributes.get("pads", [0] * 2 * rank)
    return list(zip(pads[:rank], pads[rank:], strict=True))


def window(x, attributes):
    """Rank, window and the arguments that every pool takes."""
    kernel = attributes["kernel_shape"]
    rank = len(kernel)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    pads = padding(attributes, x.shape[2:], kernel, strides, dilations)
    options = {"strides": strides, "padding": pads, "ceil_mode": bool(attributes.get("ceil_mode", 0))}
    return rank, kernel, dilations, options


def conv(inputs, attributes):
    x, weights, *bias = inputs
    if weights.dtype.kind != "f":
        raise Unsupported(f"type {weights.dtype}")
    rank = x.ndim - 2
    kernel = weights.shape[2:]
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    y = function("conv", rank)(
        channels_last(x),
        np.moveaxis(weights, (0, 1), (-1, -2)),
        bias[0] if bias else None,
        strides=strides,
        padding=padding(attributes, x.shape[2:], kernel, strides, dilations),
        dilation_rate=dilations,
        groups=attributes.get("group", 1),
    )
    return [channels_first(y)]


def conv_transpose(inputs, attributes):
    x, weights, *bias = inputs
    rank = x.ndim - 2
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    extra = attributes.get("output_padding", [0] * rank)
    spans = [(k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilations, strict=True)]
    full = [(n - 1) * s + span + p for n, s, span, p in zip(x.shape[2:], strides, spans, extra, strict=True)]
    rule = attributes.get("auto_pad", b"NOTSET").decode()
    sizes = attributes.get("output_shape")
    if rule.startswith("SAME") and sizes is None:
        sizes = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    pads = attributes.get("pads", [0] * 2 * rank)
    pairs = list(zip(pads[:rank], pads[rank:], strict=True))
    if sizes is not None:
        totals = [f - n for f, n in zip(full, sizes, strict=True)]
        extra = [p + max(-total, 0) for p, total in zip(extra, totals, strict=True)]
        halves = [(max(total, 0) // 2, max(total, 0) - max(total, 0) // 2) for total in totals]
        pairs = halves if rule == "SAME_UPPER" else [(after, before) for before, after in halves]
    y = function("conv", rank, "_transpose")(
        channels_last(x),
        np.moveaxis(weights, (0, 1), (-1, -2)),
        bias[0] if bias else None,
        strides=strides,
        padding=pairs,
        output_padding=extra,
        dilation_rate=dilations,
        groups=attributes.get("group", 1),
    )
    return [channels_first(y)]


def max_pool(inputs, attributes):
    (x,) = inputs
    rank, kernel, dilations, options = window(x, attributes)
    pool = function("max_pool", rank)
    y, at = pool(channels_last(x), kernel, dilation_rate=dilations, return_indices=True, **options)
    at = channels_first(at)
    if attributes.get("storage_order", 0):
        at = np.ravel_multi_index(np.unravel_index(at, x.shape[2:]), x.shape[2:], order="F")
    # ONNX counts positions in the whole tensor.
    first = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank) * x[0, 0].size
    return [channels_first(y), at + first]


def average_pool(inputs, attributes):
    (x,) = inputs
    rank, kernel, dilations, options = window(x, attributes)
    if any(d != 1 for d in dilations):
        raise Unsupported("average pools have no dilation")
    count = bool(attributes.get("count_include_pad", 0))
    return [
        channels_first(
            function("average_pool", rank)(channels_last(x), kernel, count_include_pad=count, **options)
        )
    ]


def global_pool(name):
    def run(inputs, attributes):
        (x,) = inputs
        return [channels_first(function(name, x.ndim - 2)(channels_last(x), keepdims=True))]

    return run


def pad(inputs, attributes):
    x = inputs[0]
    mode = attributes.get("mode", b"constant").decode()
    pads = [int(n) for n in (inputs[1] if len(inputs) > 1 else attributes["pads"])]
    value = attributes.get("value", 0.0)
    if len(inputs) > 2 and inputs[2] is not None and inputs[2].size:
        value = inputs[2].item()
    axes = range(x.ndim)
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [int(a) % x.ndim for a in inputs[3]]
    half = len(pads) // 2
    pairs = {
        a: pair for a, pair in zip(axes, zip(pads[:half], pads[half:], strict=True), strict=True) if any(pair)
    }
    if any(min(pair) < 0 for pair in pairs.values()):
        raise Unsupported("negative padding")
    if not 1 <= len(pairs) <= 3:
        raise Unsupported(f"padding of {len(pairs)} axes")
    # The axes that are padded count as spatial ones, all others as the batch.
    rest = [a for a in range(x.ndim) if a not in pairs]
    order = [*rest, *pairs]
    moved = np.transpose(x, order)
    grid = moved.reshape(-1, *moved.shape[len(rest) :], 1)
    mode = "zeros" if mode == "constant" else mode
    run = function("pad", len(pairs))
    y = run(grid, list(pairs.values()), mode)
    if value and mode == "zeros":
        y = y + value * (1 - run(np.ones_like(grid), list(pairs.values())))
    y = y.reshape(*moved.shape[: len(rest)], *y.shape[1:-1])
    return [np.transpose(y, np.argsort(order))]


OPERATORS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalMaxPool": global_pool("global_max_pool"),
    "GlobalAveragePool": global_pool("global_average_pool"),
    "Pad": pad,
}


@dataclass
class Case:
    """A graph with inputs and what must come out."""

    name: str
    model: object
    data: list
    rtol: float
    atol: float


def array(proto):
    from onnx import numpy_helper

    return numpy_helper.to_array(proto)


def stored(folder):
    """A case from a folder of the package: a model and protocol buffers of its tensors."""
    import onnx

    def tensors(place, kind):
        files = sorted(place.glob(f"{kind}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
        return [array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]

    model = onnx.load(folder / "model.onnx")
    sets = sorted(folder.glob("test_data_set_*"))
    return Case(folder.name, model, [(tensors(s, "input"), tensors(s, "output")) for s in sets], 1e-3, 1e-7)


def cases():
    """The cases that the package has for `OPERATORS`, and whole models with one of them in their graph."""
    import onnx.backend.test
    from onnx.backend.test.case import node

    def import_some(package):
        # The package computes its cases while it imports their modules, in Python. It would import all two
        # hundred; what they add are expansions of other operators, none of which we could run.
        for operator in OPERATORS:
            importlib.import_module(f"{package.__name__}.{operator.lower()}")

    with warnings.catch_warnings(), mock.patch.object(node, "import_recursive", import_some):
        warnings.simplefilter("ignore")
        found = [Case(c.name, c.model, c.data_sets, c.rtol, c.atol) for c in node.collect_testcases(None)]
    data = Path(os.path.dirname(onnx.backend.test.__file__)) / "data"
    for kind in ("node", "pytorch-converted", "pytorch-operator"):
        found += [stored(model.parent) for model in sorted((data / kind).glob("*/model.onnx"))]
    kinds = [{n.op_type for n in case.model.graph.node} for case in found]
    return [case for case, ops in zip(found, kinds, strict=True) if ops & set(OPERATORS)]


def evaluate(model, inputs):
    """Runs a graph, node by node."""
    import onnx

    values = {"": None, **{tensor.name: array(tensor) for tensor in model.graph.initializer}}
    names = [entry.name for entry in model.graph.input if entry.name not in values]
    values.update(zip(names, inputs, strict=False))
    for node in model.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        operands = [values[name] for name in node.input]
        if node.op_type == "Constant" and "value" in attributes:
            outputs = [array(attributes["value"])]
        elif node.op_type in ("Squeeze", "Unsqueeze"):
            axes = tuple(attributes["axes"] if "axes" in attributes else operands[1].tolist())
            outputs = [(np.squeeze if node.op_type == "Squeeze" else np.expand_dims)(operands[0], axes)]
        elif node.op_type in OPERATORS:
            if operands[0].dtype.kind not in "iuf" or operands[0].dtype.itemsize < 1:
                raise Unsupported(f"type {operands[0].dtype}")
            outputs = OPERATORS[node.op_type](operands, attributes)
        else:
            raise Unsupported(f"operator {node.op_type}")
        values.update(zip(node.output, outputs, strict=False))
    return [values[entry.name] for entry in model.graph.output]


@dataclass
class Report:
    """What became of the cases."""

    passed: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    skipped: list = field(default_factory=list)

    def __str__(self):
        run = len(self.passed) + len(self.failed)
        lines = [f"ONNX cases: {run} run, {len(self.passed)} passed, {len(self.skipped)} skipped"]
        counts = Counter(reason for _, reason in self.skipped)
        for reason, count in counts.most_common():
            of = ", ".join(name for name, why in self.skipped if why == reason)
            lines.append(f"  {count} skipped for {reason}: {of}")
        lines += [f"  FAILED {name}: {why}" for name, why in self.failed]
        return "\n".join(lines)


def run_case(case, report):
    """Runs one case and enters it in the report."""
    try:
        for inputs, expected in case.data:
            got = evaluate(case.model, inputs)
            for y, want in zip(got, expected, strict=True):
                assert y.shape == want.shape, f"shape {y.shape}, expected {want.shape}"
                np.testing.assert_allclose(y.astype(want.dtype), want, rtol=case.rtol, atol=case.atol)
    except Unsupported as reason:
        report.skipped.append((case.name, str(reason)))
    except Exception as error:
        report.failed.append((case.name, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"))
    else:
        report.passed.append(case.name)


def run_all():
    """Runs every case."""
    report = Report()
    for case in cases():
        run_case(case, report)
    return report
