"""Initial values of weights, as descriptions; the numbers are drawn in the engine.

Every draw is counter-based on (seed, position of the layer, position in the weight), so initial weights
depend on the model's seed alone, never on the order of construction or the number of threads.

`get(None)` is None, and classes have names in lower case as well: ``initializers.he_normal()``.

Example:
    >>> from gridnn import initializers, layers
    >>> layer = layers.Conv2D(8, 3, kernel_initializer=initializers.HeNormal(), bias_initializer="ones")
"""

from __future__ import annotations

import inspect
import itertools
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from gridnn import _validation
from gridnn._config import Configurable, Registry
from gridnn._engine import initial_values
from gridnn._seeding import next_seed

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]


class Initializer(Configurable):
    """Base of all initializers: a description of how a weight is first filled.

    Called on a shape it returns an array. One of your own is a subclass with `__call__`, whose further
    arguments go into `config_fields` and into attributes of their names; a function of a shape and a `dtype`
    will do as well. Both are called once the sizes are known. A file keeps the name of such a class, and no
    function; the weights are in it in any case.

    Example:
        >>> gn.initializers.get("he_normal")((3, 3, 1, 4)).shape
        (3, 3, 1, 4)
        >>> def ramp(shape, dtype=None):
        ...     return np.arange(np.prod(shape)).reshape(shape)
        >>> layer = layers.Dense(2, kernel_initializer=ramp)
        >>> layer.build((None, 2))
        >>> layer.kernel.tolist()
        [[0.0, 1.0], [2.0, 3.0]]
    """

    _custom_method = "__call__"

    def __call__(self, shape: int | Sequence[int], dtype: str = "float32") -> NDArray[Any]:
        """An array filled as a weight is.

        The same initializer fills equal shapes alike, whether it has a seed or not: without one it draws its
        own at the first call, from the sequence that `gridnn.set_random_seed` fixes.

        Args:
            shape: shape of the array; for `VarianceScaling` and its kin its last two axes are inputs and
                outputs of a unit.
            dtype: "float32" or "float64".

        Raises:
            ShapeError: it does not fill arrays of this shape.

        Example:
            >>> Constant(2.0)((2, 3))
            array([[2., 2., 2.],
                   [2., 2., 2.]], dtype=float32)
        """
        sizes = shape if isinstance(shape, Sequence) else (shape,)
        sizes = tuple(_validation.non_negative_integer(size, "shape") for size in sizes)
        kind = _validation.choice(np.dtype(dtype).name, "dtype", ("float32", "float64"))
        if not math.prod(sizes):
            return np.zeros(sizes, kind)
        seed = 0
        if "seed" in self.engine_config():
            if self._own_seed is None:
                self._own_seed = next_seed()
            seed = self._own_seed
        return initial_values(self.engine_description(), sizes, seed, kind)

    _own_seed: int | None = None  # that of an initializer without one, once it was called

    def engine_description(self) -> dict[str, Any]:
        """What the engine is told about this object; what Python fills it leaves at 0."""
        if _UNDRAWN.get() or self.in_python:
            return {"class_name": "Zeros", "config": {}}
        return super().engine_description()

    def drawn(self, shape: Sequence[int], dtype: str) -> Any:
        """What one that is written in Python fills a weight with; None while weights are about to be set.

        Args:
            shape: shape of the weight.
            dtype: its type.
        """
        return None if _UNDRAWN.get() else self(tuple(shape), dtype=dtype)


class FromFunction(Initializer):
    """Calls a function of a shape, and of a `dtype` if it takes one.

    Args:
        function: the function; or, in descriptions, what finds it again in the same process.
    """

    config_fields = ("function",)

    def __init__(self, function: Callable[..., Any] | str) -> None:
        if isinstance(function, str):
            self._held = _held.get(function)
            self.function: Any = function
        else:
            self.function = f"{getattr(function, '__name__', 'function')} {next(_counter)}"
            self._held = _held[self.function] = _Function(function)

    def __call__(self, shape: int | Sequence[int], dtype: str = "float32") -> NDArray[Any]:
        """What the function returns, as an array."""
        if self._held is None:
            raise ValueError(
                f"An initializer calls a function ({self.function!r}) that this process does not have: files "
                "and pickles do not keep functions. Write a subclass of gn.initializers.Initializer instead."
            )
        function = self._held.function
        parameters = inspect.signature(function).parameters.values()
        takes_type = any(one.name == "dtype" or one.kind is one.VAR_KEYWORD for one in parameters)
        return np.asarray(function(shape, dtype=dtype) if takes_type else function(shape))


class _Function:
    """A function that initializers and their copies have in common."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


_counter = itertools.count()
_held: weakref.WeakValueDictionary[str, _Function] = weakref.WeakValueDictionary()


_UNDRAWN: ContextVar[bool] = ContextVar("_UNDRAWN", default=False)


@contextmanager
def undrawn() -> Iterator[None]:
    """While it lasts, weights of models that are built begin as zeros: others are going to be set at once."""
    token = _UNDRAWN.set(True)
    try:
        yield
    finally:
        _UNDRAWN.reset(token)


REGISTRY: Registry[Initializer] = Registry("initializer", Initializer, snake_names=True)


@REGISTRY.register("zero")
class Zeros(Initializer):
    """All zeros.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.Zeros())
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> model.get_weights()[0][0]
        array([0., 0., 0.], dtype=float32)
    """


@REGISTRY.register("one")
class Ones(Initializer):
    """All ones.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.Ones())
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> model.get_weights()[0][0]
        array([1., 1., 1.], dtype=float32)
    """


@REGISTRY.register()
class Constant(Initializer):
    """One value everywhere, or an array, such as a bank of filters.

    Args:
        value: a number; or an array of the weight's shape, or of one that NumPy broadcasts to it. It is kept
            as nested tuples, and with the layer's configuration in files.

    Raises:
        TypeError: no numbers.
        ValueError: a number that is not finite. An array that does not fit the weight is a ShapeError when
            the model is built.

    Example:
        >>> from gridnn import filters, layers
        >>> edges = filters.bank([filters.sobel(0), filters.sobel(1)])
        >>> layers.Conv2D(2, 3, kernel_initializer=Constant(edges), trainable=False).trainable
        False
    """

    config_fields = ("value",)

    def __init__(self, value: Any = 0.0) -> None:
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"The `value` argument must hold real numbers. Received {value!r}.")
        if not array.ndim:
            self.value = _validation.real(array.item(), "value")
        elif not (array.size and np.isfinite(array).all()):
            raise ValueError("The `value` argument must hold finite numbers, at least one.")
        else:
            self.value = _nested(array.astype(np.float64).tolist())
        self._shape = array.shape

    def engine_config(self) -> dict[str, Any]:
        """A number, or a shape and a flat list."""
        if not self._shape:
            return super().engine_config()
        return {"value": {"shape": self._shape, "values": np.ravel(self.value).tolist()}}

    def __repr__(self) -> str:
        if not self._shape:
            return super().__repr__()
        return f"Constant(value=<array of shape {self._shape}>)"


def _nested(value: Any) -> Any:
    """Lists as tuples, at every depth."""
    return tuple(_nested(element) for element in value) if isinstance(value, list) else value


@REGISTRY.register("IdentityInitializer")
class Identity(Initializer):
    """The unit matrix, for weights of two axes.

    Args:
        gain: what it is multiplied by.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.Identity())
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> model.get_weights()[0]
        array([[1., 0., 0.],
               [0., 1., 0.],
               [0., 0., 1.]], dtype=float32)
    """

    config_fields = ("gain",)

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _validation.real(gain, "gain")


@REGISTRY.register("OrthogonalInitializer")
class Orthogonal(Initializer):
    """Orthonormal columns, or rows where there are fewer of them (Saxe et al., 2013).

    All axes but the last are taken as the rows of a matrix.

    Args:
        gain: what the matrix is multiplied by.
        seed: a seed of its own; None takes the model's.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.Orthogonal(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> q = model.get_weights()[0]
        >>> bool(np.allclose(q.T @ q, np.eye(3), atol=1e-5))
        True
    """

    config_fields = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = _validation.real(gain, "gain")
        self.seed = _validation.seed(seed)


@REGISTRY.register("uniform")
class RandomUniform(Initializer):
    """Uniform in ``[minval, maxval)``.

    Args:
        minval: lower end, included.
        maxval: upper end, excluded.
        seed: a seed of its own; None takes the model's.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.RandomUniform(-0.1, 0.1))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        RandomUniform(minval=-0.1, maxval=0.1, seed=None)
    """

    config_fields = ("minval", "maxval", "seed")

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval = _validation.real(minval, "minval")
        self.maxval = _validation.real(maxval, "maxval", low=self.minval)
        self.seed = _validation.seed(seed)


@REGISTRY.register("normal")
class RandomNormal(Initializer):
    """Normal distribution.

    Args:
        mean: its mean.
        stddev: its standard deviation.
        seed: a seed of its own; None takes the model's.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.RandomNormal(stddev=0.1, seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        RandomNormal(mean=0.0, stddev=0.1, seed=0)
    """

    config_fields = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean = _validation.real(mean, "mean")
        self.stddev = _validation.real(stddev, "stddev", low=0.0)
        self.seed = _validation.seed(seed)


@REGISTRY.register()
class TruncatedNormal(RandomNormal):
    """Normal distribution, drawn again beyond two standard deviations from the mean.

    Args:
        mean: mean of the distribution.
        stddev: standard deviation before truncation.
        seed: a seed of its own; None takes the model's.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.TruncatedNormal(stddev=0.1))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        TruncatedNormal(mean=0.0, stddev=0.1, seed=None)
    """


@REGISTRY.register()
class VarianceScaling(Initializer):
    """A distribution as wide as the weight's fans ask for.

    With ``n`` the number of inputs of a unit (`mode` "fan_in"), of its outputs ("fan_out") or their mean
    ("fan_avg"), each counted over the whole receptive field, the variance is ``scale / n``.

    Args:
        scale: positive factor.
        mode: "fan_in", "fan_out" or "fan_avg".
        distribution: "uniform" in ``+-sqrt(3 scale / n)``, "truncated_normal" (also called "normal"), whose
            standard deviation after truncation is ``sqrt(scale / n)``, or "untruncated_normal".
        seed: a seed of its own; None takes the model's.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.VarianceScaling(2.0, mode="fan_out"))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        VarianceScaling(scale=2.0, mode='fan_out', distribution='truncated_normal', seed=None)
    """

    config_fields: ClassVar[tuple[str, ...]] = ("scale", "mode", "distribution", "seed")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        self.scale = _validation.real(scale, "scale")
        if self.scale <= 0.0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        self.mode = _validation.choice(mode, "mode", ("fan_in", "fan_out", "fan_avg"))
        name = _validation.string(distribution, "distribution").lower()
        name = "truncated_normal" if name == "normal" else name
        self.distribution = _validation.choice(
            name, "distribution", ("uniform", "truncated_normal", "untruncated_normal")
        )
        self.seed = _validation.seed(seed)


class _NamedScaling(VarianceScaling):
    """A `VarianceScaling` with a name of its own; only the seed is open.

    Args:
        seed: a seed of its own; None takes the model's.
    """

    config_fields = ("seed",)
    _scaling: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        scale, mode, distribution = self._scaling
        super().__init__(scale, mode, distribution, seed)

    def engine_description(self) -> dict[str, Any]:
        """The same numbers as the `VarianceScaling` it stands for: the engine knows that one only."""
        return VarianceScaling(self.scale, self.mode, self.distribution, self.seed).engine_description()


@REGISTRY.register()
class GlorotUniform(_NamedScaling):
    """Uniform in ``+-sqrt(6 / (fan_in + fan_out))``; also called Xavier.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.GlorotUniform(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        GlorotUniform(seed=0)
    """

    _scaling = (1.0, "fan_avg", "uniform")


@REGISTRY.register()
class GlorotNormal(_NamedScaling):
    """Truncated normal of standard deviation ``sqrt(2 / (fan_in + fan_out))``.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.GlorotNormal(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        GlorotNormal(seed=0)
    """

    _scaling = (1.0, "fan_avg", "truncated_normal")


@REGISTRY.register()
class HeUniform(_NamedScaling):
    """Uniform in ``+-sqrt(6 / fan_in)``, made for relu.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.HeUniform(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        HeUniform(seed=0)
    """

    _scaling = (2.0, "fan_in", "uniform")


@REGISTRY.register()
class HeNormal(_NamedScaling):
    """Truncated normal of standard deviation ``sqrt(2 / fan_in)``, made for relu.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.HeNormal(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        HeNormal(seed=0)
    """

    _scaling = (2.0, "fan_in", "truncated_normal")


@REGISTRY.register()
class LecunUniform(_NamedScaling):
    """Uniform in ``+-sqrt(3 / fan_in)``.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.LecunUniform(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        LecunUniform(seed=0)
    """

    _scaling = (1.0, "fan_in", "uniform")


@REGISTRY.register()
class LecunNormal(_NamedScaling):
    """Truncated normal of standard deviation ``sqrt(1 / fan_in)``.

    Example:
        >>> layer = layers.Dense(3, kernel_initializer=gn.initializers.LecunNormal(seed=0))
        >>> model = gn.Sequential([gn.Input((3,)), layer])
        >>> layer.kernel_initializer
        LecunNormal(seed=0)
    """

    _scaling = (1.0, "fan_in", "truncated_normal")


# The names in lower case that Keras has besides.
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
identity = Identity
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
orthogonal = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros
IdentityInitializer = Identity
OrthogonalInitializer = Orthogonal


@overload
def get(identifier: None) -> None: ...


@overload
def get(identifier: object) -> Initializer: ...


def get(identifier: object) -> Initializer | None:
    """The initializer for a string id ("he_normal", "HeNormal"), a description or an instance.

    An array is a `Constant`; a function of a shape is called once the shape is known.

    Example:
        >>> get("zeros")
        Zeros()
    """
    if isinstance(identifier, np.ndarray):
        return Constant(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return REGISTRY.get(identifier())
    if callable(identifier) and not isinstance(identifier, Initializer):
        return FromFunction(identifier)
    return None if identifier is None else REGISTRY.get(identifier)


def of_weight(identifier: object) -> Initializer:
    """The initializer of a weight, which is "glorot_uniform" for None as in Keras."""
    return get("glorot_uniform" if identifier is None else identifier)
