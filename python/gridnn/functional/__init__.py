"""Single operations on arrays, without a model, for one to three spatial axes, and their gradients.

Arrays are channels last with a batch axis in front. Types are float32 and float64, and a mixture is promoted
as NumPy does; integers, bool and float16 become float32; complex numbers and objects are a TypeError. Any
memory order is accepted, and one that is not C-contiguous costs one copy. `out` is an array for the result of
the right shape and type, C-contiguous; nothing of that size is allocated then. A batch of 0 is allowed
everywhere; a result without spatial elements is a `ShapeError`. Results are the same to the byte for every
number of threads.
"""

from __future__ import annotations

from gridnn.functional._global_pool import (
    global_average_pool1d,
    global_average_pool1d_grad,
    global_average_pool2d,
    global_average_pool2d_grad,
    global_average_pool3d,
    global_average_pool3d_grad,
    global_max_pool1d,
    global_max_pool1d_grad,
    global_max_pool2d,
    global_max_pool2d_grad,
    global_max_pool3d,
    global_max_pool3d_grad,
)
from gridnn.functional._pad import (
    pad1d,
    pad1d_grad,
    pad2d,
    pad2d_grad,
    pad3d,
    pad3d_grad,
    pad_output_shape,
)
from gridnn.functional._pool import (
    average_pool1d,
    average_pool1d_grad,
    average_pool2d,
    average_pool2d_grad,
    average_pool3d,
    average_pool3d_grad,
    max_pool1d,
    max_pool1d_grad,
    max_pool2d,
    max_pool2d_grad,
    max_pool3d,
    max_pool3d_grad,
    pool_output_shape,
)

__all__ = [
    "average_pool1d",
    "average_pool1d_grad",
    "average_pool2d",
    "average_pool2d_grad",
    "average_pool3d",
    "average_pool3d_grad",
    "global_average_pool1d",
    "global_average_pool1d_grad",
    "global_average_pool2d",
    "global_average_pool2d_grad",
    "global_average_pool3d",
    "global_average_pool3d_grad",
    "global_max_pool1d",
    "global_max_pool1d_grad",
    "global_max_pool2d",
    "global_max_pool2d_grad",
    "global_max_pool3d",
    "global_max_pool3d_grad",
    "max_pool1d",
    "max_pool1d_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "max_pool3d",
    "max_pool3d_grad",
    "pad1d",
    "pad1d_grad",
    "pad2d",
    "pad2d_grad",
    "pad3d",
    "pad3d_grad",
    "pad_output_shape",
    "pool_output_shape",
]
