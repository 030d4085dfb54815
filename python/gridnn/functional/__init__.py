"""Single operations on arrays, without a model, for one to three spatial axes, and their gradients.

Arrays are channels last with a batch axis in front. Types are float32 and float64, and a mixture is promoted
as NumPy does; integers, bool and float16 become float32; complex numbers and objects are a TypeError. Any
memory order is accepted, and one that is not C-contiguous costs one copy. `out` is an array for the result of
the right shape and type, C-contiguous; nothing of that size is allocated then. A batch of 0 is allowed
everywhere; a result without spatial elements is a `ShapeError`. Results are the same to the byte for every
number of threads.
"""

from __future__ import annotations

__all__: list[str] = []
