"""Files of Keras: whole models (``.keras``, ``.h5``) and weights (``.weights.h5``, ``.h5``), in and out.

`hdf5_child` is run as a program of its own, see `reading`; this package loads nothing by itself.
"""
