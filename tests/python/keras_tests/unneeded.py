"""Keras on its NumPy backend without JAX, which that takes convolutions and Fourier transforms from.

None of them is needed here: what the tests compare with is written in NumPy. Import this before Keras.
"""

import os
import sys
import types

os.environ["KERAS_BACKEND"] = "numpy"


class _Missing(types.ModuleType):
    """A module whose names exist and cannot be used."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def unusable(*args, **kwargs):
            raise NotImplementedError(f"{self.__name__}.{name} is not installed")

        return unusable


_NAMES = ("jax", "jax.lax", "keras.src.backend.jax", "keras.src.backend.jax.math")
for _name in _NAMES:
    sys.modules[_name] = _Missing(_name)

import keras  # noqa: E402, F401

for _name in _NAMES:
    del sys.modules[_name]  # SciPy would take them for JAX
