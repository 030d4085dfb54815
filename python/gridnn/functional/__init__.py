"""Single operations on arrays, without a model, for one to three spatial axes, and their gradients.

Arrays are channels last with a batch axis in front. Types are float32 and float64, and a mixture is promoted
as NumPy does; integers, bool and float16 become float32; complex numbers and objects are a TypeError. Any
memory order is accepted, and one that is not C-contiguous costs one copy. `out` is an array for the result of
the right shape and type, C-contiguous; nothing of that size is allocated then. A batch of 0 is allowed
everywhere; a result without spatial elements is a `ShapeError`. Results are the same to the byte for every
number of threads.

Peak memory of a call is that of its operands, of one copy of each that is not C-contiguous or of another type
than the result, of the result unless it goes to `out`, and of a workspace that the next call uses again. No
tensor is copied with its padding, and no matrix of windows is made. The workspace holds what the docstring of
the function names:

- The packed kernel: its size, with the channels of what is computed (of a group) rounded up to a multiple of
  32 at most.
- A halo per thread, what a few rows of the result read: 200 KiB, or what one row reads if that is more (for
  gradients to a kernel, 256 positions of `dy`). With an activation other than "relu", one row of the result.
- For a gradient to a kernel, partial sums: as many as there are chunks of the batch, at most 16, and at most
  80 MiB of them or one.
- Winograd's algorithm holds 36 numbers for 9 or 25 of a kernel (6 for 3 or 5 of a series), packed or as a
  partial sum (which has the 9 or 25 as well), and in place of a halo up to 512 KiB of each of two tensors,
  tile by tile; up to 4 MiB if the kernel at the points has several times as much.
- For small maps with large kernels (of 64 positions at most), in place of a halo, up to 56 samples of what is
  read: 512 KiB of them, up to 4 MiB where a register tile needs as many, or one sample.

A workspace of more than 256 MiB is given back at the end of the call, and so is every one beyond the fourth.

Example:
    >>> import numpy as np
    >>> import gridnn as gn
    >>> x, kernel = np.ones((1, 5, 5, 2)), np.ones((3, 3, 2, 4))
    >>> gn.functional.conv2d(x, kernel, padding="same").shape
    (1, 5, 5, 4)
"""

from __future__ import annotations

from gridnn.functional._conv import (
    conv,
    conv1d,
    conv1d_input_grad,
    conv1d_kernel_grad,
    conv2d,
    conv2d_input_grad,
    conv2d_kernel_grad,
    conv3d,
    conv3d_input_grad,
    conv3d_kernel_grad,
    conv_input_grad,
    conv_kernel_grad,
    conv_output_shape,
)
from gridnn.functional._conv_transpose import (
    conv1d_transpose,
    conv1d_transpose_input_grad,
    conv1d_transpose_kernel_grad,
    conv2d_transpose,
    conv2d_transpose_input_grad,
    conv2d_transpose_kernel_grad,
    conv3d_transpose,
    conv3d_transpose_input_grad,
    conv3d_transpose_kernel_grad,
    conv_transpose,
    conv_transpose_input_grad,
    conv_transpose_kernel_grad,
    conv_transpose_output_shape,
)
from gridnn.functional._depthwise import (
    depthwise_conv,
    depthwise_conv1d,
    depthwise_conv1d_input_grad,
    depthwise_conv1d_kernel_grad,
    depthwise_conv2d,
    depthwise_conv2d_input_grad,
    depthwise_conv2d_kernel_grad,
    depthwise_conv3d,
    depthwise_conv3d_input_grad,
    depthwise_conv3d_kernel_grad,
    depthwise_conv_input_grad,
    depthwise_conv_kernel_grad,
)
from gridnn.functional._global_pool import (
    global_average_pool,
    global_average_pool1d,
    global_average_pool1d_grad,
    global_average_pool2d,
    global_average_pool2d_grad,
    global_average_pool3d,
    global_average_pool3d_grad,
    global_average_pool_grad,
    global_max_pool,
    global_max_pool1d,
    global_max_pool1d_grad,
    global_max_pool2d,
    global_max_pool2d_grad,
    global_max_pool3d,
    global_max_pool3d_grad,
    global_max_pool_grad,
)
from gridnn.functional._pad import (
    pad,
    pad1d,
    pad1d_grad,
    pad2d,
    pad2d_grad,
    pad3d,
    pad3d_grad,
    pad_grad,
    pad_output_shape,
)
from gridnn.functional._pool import (
    average_pool,
    average_pool1d,
    average_pool1d_grad,
    average_pool2d,
    average_pool2d_grad,
    average_pool3d,
    average_pool3d_grad,
    average_pool_grad,
    max_pool,
    max_pool1d,
    max_pool1d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool3d,
    max_pool3d_grad,
    max_pool_grad,
    pool_output_shape,
)
from gridnn.functional._separable import (
    separable_conv,
    separable_conv1d,
    separable_conv1d_input_grad,
    separable_conv1d_kernel_grad,
    separable_conv2d,
    separable_conv2d_input_grad,
    separable_conv2d_kernel_grad,
    separable_conv3d,
    separable_conv3d_input_grad,
    separable_conv3d_kernel_grad,
    separable_conv_input_grad,
    separable_conv_kernel_grad,
)

__all__ = [
    "average_pool",
    "average_pool1d",
    "average_pool1d_grad",
    "average_pool2d",
    "average_pool2d_grad",
    "average_pool3d",
    "average_pool3d_grad",
    "average_pool_grad",
    "conv",
    "conv1d",
    "conv1d_input_grad",
    "conv1d_kernel_grad",
    "conv1d_transpose",
    "conv1d_transpose_input_grad",
    "conv1d_transpose_kernel_grad",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_kernel_grad",
    "conv2d_transpose",
    "conv2d_transpose_input_grad",
    "conv2d_transpose_kernel_grad",
    "conv3d",
    "conv3d_input_grad",
    "conv3d_kernel_grad",
    "conv3d_transpose",
    "conv3d_transpose_input_grad",
    "conv3d_transpose_kernel_grad",
    "conv_input_grad",
    "conv_kernel_grad",
    "conv_output_shape",
    "conv_transpose",
    "conv_transpose_input_grad",
    "conv_transpose_kernel_grad",
    "conv_transpose_output_shape",
    "depthwise_conv",
    "depthwise_conv1d",
    "depthwise_conv1d_input_grad",
    "depthwise_conv1d_kernel_grad",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_kernel_grad",
    "depthwise_conv3d",
    "depthwise_conv3d_input_grad",
    "depthwise_conv3d_kernel_grad",
    "depthwise_conv_input_grad",
    "depthwise_conv_kernel_grad",
    "global_average_pool",
    "global_average_pool1d",
    "global_average_pool1d_grad",
    "global_average_pool2d",
    "global_average_pool2d_grad",
    "global_average_pool3d",
    "global_average_pool3d_grad",
    "global_average_pool_grad",
    "global_max_pool",
    "global_max_pool1d",
    "global_max_pool1d_grad",
    "global_max_pool2d",
    "global_max_pool2d_grad",
    "global_max_pool3d",
    "global_max_pool3d_grad",
    "global_max_pool_grad",
    "max_pool",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool3d",
    "max_pool3d_grad",
    "max_pool_grad",
    "pad",
    "pad1d",
    "pad1d_grad",
    "pad2d",
    "pad2d_grad",
    "pad3d",
    "pad3d_grad",
    "pad_grad",
    "pad_output_shape",
    "pool_output_shape",
    "separable_conv",
    "separable_conv1d",
    "separable_conv1d_input_grad",
    "separable_conv1d_kernel_grad",
    "separable_conv2d",
    "separable_conv2d_input_grad",
    "separable_conv2d_kernel_grad",
    "separable_conv3d",
    "separable_conv3d_input_grad",
    "separable_conv3d_kernel_grad",
    "separable_conv_input_grad",
    "separable_conv_kernel_grad",
]
