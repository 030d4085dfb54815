"""Holds ONNX files against the models they were written from: checker, shapes, two other implementations."""

import contextlib
import os

import numpy as np

from gridnn.interop.onnx.writer import to_bytes

TOLERANCE = 1e-4  # of the largest value

THOROUGH = bool(os.environ.get("GRIDNN_INTERCHANGE"))
"""Whether this is `make test-interchange`: more operator sets and layouts, the slow reference everywhere."""

LAYOUTS = ("channels_last", "channels_first")
SETTINGS = (
    [(opset, layout) for opset in (13, 17, 21) for layout in LAYOUTS] if THOROUGH else [(17, LAYOUTS[0])]
)


def layouts():
    """Layouts to test: both, or the default."""
    return LAYOUTS if THOROUGH else LAYOUTS[:1]


def opsets(*more):
    """Operator sets to test: all that are given, or the one that is written by default."""
    return more if THOROUGH else (17,)


def reference(contents):
    """`onnx.reference`, with three of its operators corrected (as of onnx 1.23)."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.ops.op_batch_normalization import BatchNormalization_14
    from onnx.reference.ops.op_conv_transpose import ConvTranspose as OneGroup
    from onnx.reference.ops.op_max_pool import MaxPool as WithoutPads

    class ConvTranspose(OneGroup):
        """It loses channels where there are groups."""

        op_domain = ""

        def _run(self, x, w, b=None, group=1, **options):
            if group == 1:
                return super()._run(x, w, b, group=1, **options)
            parts = zip(np.split(x, group, axis=1), np.split(w, group, axis=0), strict=True)
            ends = [OneGroup._run(self, *part, None, group=1, **options)[0] for part in parts]
            y = np.concatenate(ends, axis=1)
            return (y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2)),)

    class MaxPool(WithoutPads):
        """It ignores the pads of series and volumes where the strides are 1."""

        op_domain = ""

        def _run(self, x, pads=None, **options):
            rank = x.ndim - 2
            pads = pads or [0] * 2 * rank
            pairs = list(zip(pads[:rank], pads[rank:], strict=True))
            x = np.pad(x, [(0, 0), (0, 0), *pairs], constant_values=-np.inf)
            return super()._run(x, pads=[0] * 2 * rank, **options)

    class BatchNormalization(BatchNormalization_14):
        """Before opset 14 it moves the statistics in inference, too."""

        op_domain = ""

        def _run(self, *inputs, epsilon=None, momentum=None, training_mode=0, spatial=None):
            return super()._run(*inputs, epsilon=epsilon, momentum=momentum, training_mode=0)

    session = ReferenceEvaluator(contents, new_ops=[ConvTranspose, MaxPool, BatchNormalization])
    return lambda feed: session.run(None, feed)


def runtime(contents):
    """`onnxruntime`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # a pool of threads for every row would cost more than the rows
    session = onnxruntime.InferenceSession(contents, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(None, feed)


def installed(module):
    """Whether a module can be imported."""
    with contextlib.suppress(ImportError):
        __import__(module)
        return True
    return False


def other_order(values, layout):
    """A batch with channels last in the layout of the file."""
    return np.ascontiguousarray(np.moveaxis(values, -1, 1) if layout == "channels_first" else values)


def expect_close(found, expected):
    assert found.shape == expected.shape
    largest = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * largest)
    if expected.ndim == 2:
        # Where the two best are that close to each other either may win.
        best = np.take_along_axis(expected, found.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
        assert (best >= expected.max(axis=1) - 2e-6 * largest).all()


def expect_valid(contents, output_shape, layout, opset):
    """Checker, versions, and shapes as they are inferred without what the file says about its output."""
    import onnx

    onnx.checker.check_model(contents, full_check=True)
    message = onnx.load_from_string(contents)
    assert [entry.version for entry in message.opset_import] == [opset]
    assert message.ir_version == {13: 7, 17: 8, 21: 10}.get(opset, message.ir_version)
    sizes = other_shape(output_shape, layout)
    (output,) = message.graph.output
    assert [d.dim_value or None for d in output.type.tensor_type.shape.dim] == [None, *sizes]
    output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(message, strict_mode=True, data_prop=True)
    found = inferred.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_value or None for d in found][1:] == list(sizes)
    assert not found[0].HasField("dim_value")  # a Resize forgets that it is called N


def other_shape(shape, layout):
    """The shape of a sample in the layout of the file."""
    *space, channels = shape
    return (channels, *space) if layout == "channels_first" else tuple(shape)


def expect_export(model, opset=17, layout="channels_last", *, samples=(1, 3), both=THOROUGH, **options):
    """The file of a model is valid, and others compute the model's outputs from it.

    Args:
        model: the model.
        opset: operator set.
        layout: of inputs and outputs.
        samples: sizes of batches.
        both: whether the reference has to agree as well where onnxruntime is installed.
        options: see `to_bytes`.

    Returns:
        The contents of the file.
    """
    options = {"opset_version": opset, "layout": layout, **options}
    contents = to_bytes(model, **options)
    expect_valid(contents, model.output_shape[1:], layout, opset)
    engines = [runtime(contents)] if installed("onnxruntime") else []
    if both or not engines:
        engines.append(reference(contents))
    rng = np.random.default_rng(7)
    for count in samples:
        x = rng.normal(size=(count, *model.input_shape[1:])).astype(np.float32)
        y = model.predict(x, verbose=0)
        for engine in engines:
            (found,) = engine({"input": other_order(x, layout)})
            expect_close(found, other_order(y, layout) if y.ndim > 2 else y)
    return contents
