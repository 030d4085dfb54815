"""Training over several processes, on one machine or many, that ends with the bytes of one.

`MPI` moves the bytes; every addition is the engine's own, in the order that one process adds in. So weights,
optimizer state, history and predictions are those of a single process, for any number of ranks.

Example:
    >>> dist = gn.distribute.MPI()  # doctest: +SKIP
    >>> history = model.fit(x, y, batch_size=1024, distribute=dist)  # doctest: +SKIP
"""

from gridnn.distribute.mpi import MPI

__all__ = ["MPI"]
