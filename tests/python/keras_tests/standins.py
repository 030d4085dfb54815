"""What stands in for `keras` while its tests run: gridnn's names under the names of Keras' modules.

Layers, losses, models and the like are gridnn's or raise `NotHere`: none of them is ever Keras' own. What the
tests only work with (`keras.ops`, `keras.tree`, random arrays) stays Keras', on its NumPy backend.
"""

import ast
import builtins
import contextlib
import importlib
import importlib.util
import re
import sys
import types
import unittest
import warnings
from pathlib import Path

import cases
import keras
import numpy as np

import gridnn as gn
from gridnn.layers.symbolic import Tensor

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))
import keras_names

SOURCES = Path(keras.__file__).parent / "src"


class NotHere(unittest.SkipTest):
    """A test asks for something that gridnn does not have, by intent and with a reason."""


class _AbsentBase:
    """The base of classes whose base is not here: they exist, and cannot be made."""

    reason = ""

    def __new__(cls, *args, **kwargs):
        raise NotHere(cls.reason)


class Absent:
    """A name of Keras that is not here: whatever is done with it raises `NotHere`."""

    def __init__(self, reason):
        vars(self)["reason"] = reason

    def __call__(self, *args, **kwargs):
        raise NotHere(self.reason)

    def __getattr__(self, name):
        # A path of absent names, as `dtype_policies.DTypePolicy` is one, may stand in the arguments of tests.
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(self.reason)

    def __instancecheck__(self, value):
        raise NotHere(self.reason)

    __subclasscheck__ = __instancecheck__

    def __mro_entries__(self, bases):
        return (type("Absent", (_AbsentBase,), {"reason": self.reason}),)


class Module:
    """A module of Keras, answered by one of gridnn.

    Args:
        path: of the module of Keras.
        ours: what has the names.
        extra: names that are not in `ours`.
        theirs: names that are taken from Keras, since they are functions of arrays or of texts.
    """

    def __init__(self, path, ours, extra=(), theirs=()):
        self._path, self._ours, self._extra, self._theirs = path, ours, dict(extra), set(theirs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self._extra:
            return self._extra[name]
        if name in self._theirs:
            return getattr(importlib.import_module(self._path), name)
        if hasattr(self._ours, name) and not isinstance(getattr(self._ours, name), types.ModuleType):
            return getattr(self._ours, name)
        try:
            importlib.import_module(f"{self._path}.{name}")
        except ImportError:
            pass
        else:
            return Module(f"{self._path}.{name}", self._ours, self._extra, self._theirs)
        return Absent(reason_for(self._path, name))


def reason_for(path, name):
    """Why a name of Keras is not here, as docs/coming-from-keras.md says."""
    module = path.removeprefix("keras.src.").partition(".")[0]
    module = {"models": "layers"}.get(module, module)
    try:
        text = keras_names.here(module, name)
    except ImportError:
        text = "not here"
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return f"{module}: {text.partition(';')[0]}"


class _SymbolicType(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Tensor)


class SymbolicTensor(metaclass=_SymbolicType):
    """`keras.KerasTensor`, which is an `Input` here."""

    def __new__(cls, shape, dtype="float32", sparse=False, ragged=False, name=None, **kwargs):
        if sparse or ragged:
            raise NotHere("sparse and ragged tensors")
        if not shape:
            raise NotHere("tensors without a batch axis")
        return gn.Input(tuple(shape[1:]), shape[0], dtype=dtype, name=name)


class Fallback:
    """A module of Keras with a few names of our own."""

    def __init__(self, path, **ours):
        self._module, self._names = importlib.import_module(path), ours

    def __getattr__(self, name):
        return self._names[name] if name in self._names else getattr(self._module, name)


class _Mark:
    """`pytest.mark`: conditions are about backends, and this one is called gridnn."""

    def skipif(self, condition, reason=""):
        return unittest.skipIf(condition, f"by Keras itself: {reason}") if condition else lambda test: test

    def __getattr__(self, name):
        def mark(*args, **kwargs):
            return args[0] if len(args) == 1 and callable(args[0]) else lambda test: test

        return mark


class _Pytest:
    """As much of pytest as Keras' tests use; they are unittest's otherwise."""

    mark = _Mark()

    @staticmethod
    def skip(reason="", **kwargs):
        raise unittest.SkipTest(f"by Keras itself: {reason}")

    @staticmethod
    def importorskip(name, **kwargs):
        raise unittest.SkipTest(f"by Keras itself: needs {name}")

    @staticmethod
    @contextlib.contextmanager
    def raises(kind, match=""):
        try:
            yield
        except kind as error:
            if not re.search(match, str(error)):
                raise AssertionError(f"{match!r} is not in {error}") from error
        else:
            raise AssertionError(f"{kind} was not raised")

    @staticmethod
    @contextlib.contextmanager
    def warns(kind=Warning, match=""):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield seen
        if not any(issubclass(one.category, kind) and re.search(match, str(one.message)) for one in seen):
            raise AssertionError(f"no {kind} says {match!r}")


def _skip_if_backend(name, reason=""):
    return lambda test: test


_MODELS = {
    "Model": gn.Model,
    "Sequential": gn.Sequential,
    "Functional": gn.Model,
    "clone_model": gn.models.clone_model,
    "load_model": gn.load_model,
    "model_from_json": gn.models.model_from_json,
}
# Classes need not be registered here.
_SAVING = {
    "load_model": gn.load_model,
    "register_keras_serializable": lambda *args, **kwargs: lambda cls: cls,
    "custom_object_scope": lambda *args, **kwargs: contextlib.nullcontext(),
}
_TESTING = {"TestCase": cases.TestCase}
_LOW_PRECISION = "dtype policies and quantization"

#: What answers for which module of Keras; the longest path that fits.
STANDINS = {
    "keras.src.layers": Module("keras.src.layers", gn.layers, {"Input": gn.Input, "InputLayer": gn.Input}),
    "keras.src.models": Module("keras.src.models", gn.models, _MODELS),
    "keras.src.losses": Module("keras.src.losses", gn.losses, theirs=["squeeze_or_expand_to_same_rank"]),
    "keras.src.metrics": Module("keras.src.metrics", gn.metrics, theirs=["metrics_utils"]),
    "keras.src.activations": Module("keras.src.activations", gn.activations),
    "keras.src.initializers": Module("keras.src.initializers", gn.initializers, theirs=["compute_fans"]),
    "keras.src.regularizers": Module(
        "keras.src.regularizers", gn.regularizers, theirs=["validate_float_arg"]
    ),
    "keras.src.constraints": Module("keras.src.constraints", gn.constraints),
    "keras.src.optimizers": Module("keras.src.optimizers", gn.optimizers),
    "keras.src.callbacks": Module("keras.src.callbacks", gn.callbacks),
    "keras.src.saving": Module("keras.src.saving", gn, _SAVING),
    "keras.src.backend": Fallback("keras.src.backend", backend=lambda: "gridnn", KerasTensor=SymbolicTensor),
    "keras.src.backend.common.keras_tensor": Fallback(
        "keras.src.backend.common.keras_tensor", KerasTensor=SymbolicTensor
    ),
    "keras.src.testing": Fallback(
        "keras.src.testing", **_TESTING, test_case=Fallback("keras.src.testing.test_case", **_TESTING)
    ),
    "keras.src.testing.test_case": Fallback("keras.src.testing.test_case", **_TESTING),
    "keras.src.utils": Fallback(
        "keras.src.utils", **{name: getattr(gn.utils, name) for name in gn.utils.__all__}
    ),
    "keras.src.dtype_policies": Absent(_LOW_PRECISION),
    "keras.src.quantizers": Absent(_LOW_PRECISION),
    "keras.src.export": Absent("export to other frameworks"),
    "keras.src.applications": Absent("applications with weights"),
    "keras.src.distribution": Absent("training on several devices"),
    "jax": Absent("by Keras itself: needs JAX"),
    "pytest": _Pytest(),
    "conftest": types.SimpleNamespace(skip_if_backend=_skip_if_backend),
}
_TOP = {"Sequential": gn.Sequential, "Model": gn.Model, "Input": gn.Input}


class _Keras:
    """`keras` or `keras.src`: every name of it goes through `found`."""

    def __getattr__(self, name):
        return _TOP[name] if name in _TOP else found(f"keras.src.{name}")


def found(path):
    """What answers for a module."""
    if path in {"keras", "keras.src"}:
        return _Keras()
    path = re.sub(r"^keras\.(?!src)", "keras.src.", path)
    if path.endswith("_test"):
        return loaded(path)
    if path in STANDINS:
        return STANDINS[path]
    for known in sorted(STANDINS, key=len, reverse=True):
        if path.startswith(f"{known}.") and not isinstance(STANDINS[known], (Fallback, _Pytest)):
            answer = STANDINS[known]
            for name in path.removeprefix(f"{known}.").split("."):
                answer = getattr(answer, name)
            return answer
    return importlib.import_module(path)


def _import(name, globals_=None, locals_=None, fromlist=(), level=0):
    first = name.partition(".")[0]
    if first not in {"keras", "pytest", "conftest", "jax"}:
        return builtins.__import__(name, globals_, locals_, fromlist, level)
    return found(name if fromlist else first)


class _Adapted(ast.NodeTransformer):
    """A test without its statements about masks and what is private to Keras' objects.

    Weights are set by assignment: ``layer.kernel.assign(x)`` becomes ``layer.kernel = x``; and the constraint
    of ``layer.kernel`` is ``layer.kernel_constraint``.

    Args:
        path: of the file, as a module.
    """

    def __init__(self, path):
        states = {"true_positives", "false_positives", "false_negatives", "true_negatives"}
        metrics = (
            {"variables", "_dtype", "_build", *states} if path.startswith("keras.src.metrics") else set()
        )
        self._names = {"compute_mask", "supports_masking", "_functional"} | metrics

    def visit(self, node):
        if isinstance(node, (ast.Expr, ast.Assign)):
            for part in ast.walk(node):
                if isinstance(part, ast.Attribute) and part.attr in self._names:
                    return ast.copy_location(ast.Pass(), node)
        match node:
            case ast.Expr(ast.Call(ast.Attribute(ast.Attribute(_, name) as weight, "assign"), [value])) if (
                name.endswith(("kernel", "bias", "alpha"))
            ):
                weight.ctx = ast.Store()
                return ast.copy_location(ast.Assign([weight], value), node)
            case ast.Attribute(ast.Attribute(layer, name), "constraint") if name.endswith(("kernel", "bias")):
                return ast.copy_location(ast.Attribute(layer, f"{name}_constraint", ast.Load()), node)
        return self.generic_visit(node)


_LOADED = {}


def loaded(path):
    """A file of Keras' tests, whose imports are answered by `found`.

    Args:
        path: such as "keras.src.layers.core.dense_test".
    """
    if path not in _LOADED:
        file = SOURCES.joinpath(*path.split(".")[2:]).with_suffix(".py")
        module = types.ModuleType(path)
        module.__file__ = str(file)
        module.__builtins__ = {**vars(builtins), "__import__": _import}
        _LOADED[path] = module
        sys.modules[f"driven.{path}"] = module
        module.__name__ = f"driven.{path}"
        tree = _Adapted(path).visit(ast.parse(file.read_text(encoding="utf-8")))
        exec(compile(ast.fix_missing_locations(tree), str(file), "exec"), vars(module))  # noqa: S102
    return _LOADED[path]


def seeded():
    """The same random numbers for every test."""
    np.random.seed(0)  # noqa: NPY002
    keras.utils.set_random_seed(0)
    gn.set_random_seed(0)
