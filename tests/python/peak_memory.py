"""Measures what functional calls take at their peak; prints that and what their docstrings allow, as JSON.

Run as a script. Every call is made in a child of its own of a process that has imported the library and done
nothing else, so that neither the workspace of another call nor freed memory hides what it takes.
"""

import json
import os
from math import prod
from pathlib import Path

import numpy as np

import gridnn as gn
from gridnn import functional as F  # noqa: N812

THREADS = 2
MIB = 1 << 20
# Some 5 MiB are stacks of threads and pages of code that run for the first time, more in a build for
# development. What is left is less than the tensors and windows that must not be there.
SLACK = 6 * MIB


def size(*shape, itemsize=4):
    return prod(shape) * itemsize


SERIES, SERIES_KERNEL = (2, 32768, 32), (9, 32, 32)
IMAGES, KERNEL = (4, 128, 128, 32), (3, 3, 32, 32)
HALVES = (4, 64, 64, 32)
DEEP, DEEP_KERNEL = (4, 32, 64, 128), (3, 3, 128, 128)
VOLUMES, VOLUME_KERNEL = (2, 32, 32, 32, 32), (3, 3, 3, 32, 32)
CHANNELS, MIX = (3, 3, 32, 2), (1, 1, 64, 32)
SAME = {"padding": "same"}
TWO = {"padding": "same", "strides": 2}
PAIRS = [(3, 3), (3, 3)]

# The channels of these kernels are multiples of 32, and a row reads less than a band holds.
BANDS = THREADS * (200 << 10)
MAP = size(*KERNEL) + BANDS
MAP_3D = size(*VOLUME_KERNEL) + THREADS * size(3, 3, 34, 32)


# Winograd's algorithm: 36 points for 9 taps, and tiles of two tensors.
WINOGRAD = {"padding": "same", "algorithm": "winograd"}
POINTS = 4
MAP_BY_POINTS = POINTS * size(*KERNEL) + THREADS * MIB


def partials(*kernel, points=1, own=BANDS):
    """The result of a gradient to the kernel, and its workspace."""
    return (1 + 16 * points) * size(*kernel) + own


# The name of a call: the call, the shapes of its operands, the bytes that it may take besides these.
CALLS = {
    "conv1d": (lambda x, k: F.conv1d(x, k, **SAME), (SERIES, SERIES_KERNEL), size(*SERIES) + MAP),
    "conv2d": (lambda x, k: F.conv2d(x, k, **SAME), (IMAGES, KERNEL), size(*IMAGES) + MAP),
    "conv2d, stride": (lambda x, k: F.conv2d(x, k, **TWO), (IMAGES, KERNEL), size(*HALVES) + MAP),
    "conv2d, reflected": (
        lambda x, k: F.conv2d(x, k, padding=1, padding_mode="reflect"),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP,
    ),
    "conv2d, tanh": (
        lambda x, k: F.conv2d(x, k, activation="tanh", **SAME),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP + THREADS * size(128, 32),
    ),
    "conv2d, axes exchanged": (
        lambda x, k: F.conv2d(x.swapaxes(1, 2), k, **SAME),
        (IMAGES, KERNEL),
        2 * size(*IMAGES) + MAP,
    ),
    "conv2d to the input": (
        lambda dy, k: F.conv2d_input_grad(dy, k, IMAGES, **SAME),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP,
    ),
    "conv2d to the input, stride": (
        lambda dy, k: F.conv2d_input_grad(dy, k, IMAGES, **TWO),
        (HALVES, KERNEL),
        size(*IMAGES) + MAP,
    ),
    "conv2d to the kernel": (
        lambda x, dy: F.conv2d_kernel_grad(x, dy, KERNEL, **SAME),
        (IMAGES, IMAGES),
        partials(*KERNEL),
    ),
    "conv2d to a large kernel": (
        lambda x, dy: F.conv2d_kernel_grad(x, dy, DEEP_KERNEL, **SAME),
        (DEEP, DEEP),
        partials(*DEEP_KERNEL),
    ),
    "conv2d to the kernel, axes exchanged": (
        lambda x, dy: F.conv2d_kernel_grad(x.swapaxes(1, 2), dy.swapaxes(1, 2), KERNEL, **SAME),
        (IMAGES, IMAGES),
        2 * size(*IMAGES) + partials(*KERNEL),
    ),
    "conv2d by Winograd": (
        lambda x, k: F.conv2d(x, k, **WINOGRAD),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP_BY_POINTS,
    ),
    "conv2d by Winograd, reflected": (
        lambda x, k: F.conv2d(x, k, padding=1, padding_mode="reflect", algorithm="winograd"),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP_BY_POINTS,
    ),
    "conv2d by Winograd to the input": (
        lambda dy, k: F.conv2d_input_grad(dy, k, IMAGES, **WINOGRAD),
        (IMAGES, KERNEL),
        size(*IMAGES) + MAP_BY_POINTS,
    ),
    "conv2d by Winograd to the kernel": (
        lambda x, dy: F.conv2d_kernel_grad(x, dy, KERNEL, **WINOGRAD),
        (IMAGES, IMAGES),
        partials(*KERNEL, points=POINTS, own=THREADS * MIB),
    ),
    "conv3d": (lambda x, k: F.conv3d(x, k, **SAME), (VOLUMES, VOLUME_KERNEL), size(*VOLUMES) + MAP_3D),
    "conv3d to the kernel": (
        lambda x, dy: F.conv3d_kernel_grad(x, dy, VOLUME_KERNEL, **SAME),
        (VOLUMES, VOLUMES),
        partials(*VOLUME_KERNEL),
    ),
    "conv2d_transpose": (
        lambda x, k: F.conv2d_transpose(x, k, **TWO),
        (HALVES, KERNEL),
        size(*IMAGES) + MAP,
    ),
    "conv2d_transpose to the input": (
        lambda dy, k: F.conv2d_transpose_input_grad(dy, k, HALVES, **TWO),
        (IMAGES, KERNEL),
        size(*HALVES) + MAP,
    ),
    "conv2d_transpose to the kernel": (
        lambda x, dy: F.conv2d_transpose_kernel_grad(x, dy, KERNEL, **TWO),
        (HALVES, IMAGES),
        partials(*KERNEL),
    ),
    "depthwise_conv2d": (
        lambda x, k: F.depthwise_conv2d(x, k, **SAME),
        (IMAGES, CHANNELS),
        2 * size(*IMAGES) + MAP,
    ),
    "depthwise_conv2d to the input": (
        lambda dy, k: F.depthwise_conv2d_input_grad(dy, k, IMAGES, **SAME),
        ((*IMAGES[:3], 64), CHANNELS),
        size(*IMAGES) + MAP,
    ),
    "depthwise_conv2d to the kernel": (
        lambda x, dy: F.depthwise_conv2d_kernel_grad(x, dy, CHANNELS, **SAME),
        (IMAGES, (*IMAGES[:3], 64)),
        partials(*CHANNELS),
    ),
    # The tensor between the two steps has twice the channels.
    "separable_conv2d": (
        lambda x, first, second: F.separable_conv2d(x, first, second, **SAME),
        (IMAGES, CHANNELS, MIX),
        size(*IMAGES) + MAP + THREADS * 8 * size(128, 64),
    ),
    "separable_conv2d to the input": (
        lambda dy, first, second: F.separable_conv2d_input_grad(dy, first, second, IMAGES, **SAME),
        (IMAGES, CHANNELS, MIX),
        size(*IMAGES) + 2 * size(*IMAGES) + MAP,
    ),
    "separable_conv2d to the kernels": (
        lambda x, dy, first, second: F.separable_conv2d_kernel_grad(x, dy, first, second, **SAME),
        (IMAGES, IMAGES, CHANNELS, MIX),
        2 * size(*IMAGES) + MAP + partials(*MIX),
    ),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, **TWO), (IMAGES,), size(*HALVES)),
    "max_pool2d with indices": (
        lambda x: F.max_pool2d(x, 3, return_indices=True, **TWO),
        (IMAGES,),
        size(*HALVES) + size(*HALVES, itemsize=8),
    ),
    "max_pool2d, gradient": (
        lambda dy, x: F.max_pool2d_grad(dy, x, 3, **TWO),
        (HALVES, IMAGES),
        size(*IMAGES) + THREADS * size(64, 32),
    ),
    "average_pool2d": (lambda x: F.average_pool2d(x, 3, **TWO), (IMAGES,), size(*HALVES)),
    "average_pool2d, axes exchanged": (
        lambda x: F.average_pool2d(x.swapaxes(1, 2), 3, **TWO),
        (IMAGES,),
        size(*IMAGES) + size(*HALVES),
    ),
    "average_pool2d, gradient": (
        lambda dy: F.average_pool2d_grad(dy, IMAGES, 3, **TWO),
        (HALVES,),
        size(*IMAGES),
    ),
    "max_pool3d, gradient": (
        lambda dy, x: F.max_pool3d_grad(dy, x, 2),
        ((2, 16, 16, 16, 32), VOLUMES),
        size(*VOLUMES) + THREADS * size(16, 32),
    ),
    "global_max_pool2d": (lambda x: F.global_max_pool2d(x), (IMAGES,), 0),
    "global_average_pool2d, gradient": (
        lambda dy: F.global_average_pool2d_grad(dy, IMAGES),
        ((4, 32),),
        size(*IMAGES),
    ),
    "pad2d": (lambda x: F.pad2d(x, PAIRS, "reflect"), (IMAGES,), size(4, 134, 134, 32)),
    "pad2d, gradient": (
        lambda dy: F.pad2d_grad(dy, PAIRS, "reflect"),
        ((4, 134, 134, 32),),
        size(*IMAGES),
    ),
    # What must not happen, to see that it would be noticed: a matrix of windows, 8 MiB for each of 9 taps.
    "im2col": (
        lambda x: np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2)).copy(),
        (IMAGES,),
        size(4, 126, 126, 32, 9),
    ),
}


def status(field):
    """A line of the process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def growth(call, shapes):
    """By how much the process grows, at the peak of the call."""
    # Not zeros: their pages do not exist before somebody reads them.
    operands = [np.ones(shape, np.float32) for shape in shapes]
    gn.set_num_threads(THREADS)
    # Where a call does not say otherwise.
    gn.set_convolution_algorithm("direct")
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    call(*operands)
    return status("VmHWM") - before


def in_child(call, shapes):
    """The same in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(growth(call, shapes)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, code = os.waitpid(child, 0)
    if code:
        raise RuntimeError(f"the child ended with status {code}")
    return int(text)


if __name__ == "__main__":
    print(json.dumps({name: [in_child(*call), allowed] for name, (*call, allowed) in CALLS.items()}))
