"""What `import gridnn` gives, and what it costs."""

import ast
import importlib
import pickle
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import _core, errors

pytestmark = pytest.mark.one_tier


def test_every_public_name_resolves():
    for name in gn.__all__:
        assert getattr(gn, name) is not None
    assert set(gn.__all__) <= set(dir(gn))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = gn.nonsense


@pytest.mark.parametrize(
    "module",
    [
        "callbacks",
        "constraints",
        "data",
        "errors",
        "functional",
        "initializers",
        "lab",
        "layers",
        "losses",
        "metrics",
        "models",
        "optimizers",
        "plot",
        "schedules",
        "trainer",
        "utils",
    ],
)
def test_names_listed_by_modules_exist(module):
    module = importlib.import_module(f"gridnn.{module}")
    for name in module.__all__:
        assert getattr(module, name).__doc__


def reached(program):
    """The dotted names below `keras` that a program has: ["optimizers", "schedules", "CosineDecay"]."""
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        names = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if names and isinstance(node, ast.Name) and node.id == "keras":
            yield names


def test_modules_list_what_programs_for_keras_reach_in_them():
    # What a module only happens to import goes away when its code moves.
    programs = sorted((Path(__file__).parent / "programs").glob("*.py"))
    chains = [names for program in programs for names in reached(program)]
    assert ["optimizers", "schedules", "ExponentialDecay"] in chains
    for names in chains:
        found = gn
        for name in names:
            if isinstance(found, types.ModuleType):
                assert name in found.__all__, f"{found.__name__} does not list {name}"
            found = getattr(found, name)


@pytest.mark.parametrize("name", ["sequential", "trainer"])
def test_former_places_of_modules_are_the_same_modules(name):
    assert importlib.import_module(f"gridnn.{name}") is importlib.import_module(f"gridnn.model.{name}")


def test_pickles_that_name_a_former_place_are_read():
    model = gn.Sequential([gn.Input((3,)), gn.layers.Dense(2)], seed=4)
    pickled = pickle.dumps(model, protocol=0)
    assert pickled.count(b"gridnn.model.sequential") == 1
    again = pickle.loads(pickled.replace(b"gridnn.model.sequential", b"gridnn.saving"))
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


def run(code):
    """Words that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_import_loads_little():
    loaded = set(run("import sys, gridnn; print(*[m for m in sys.modules if m.startswith('gridnn')])"))
    handle = {f"gridnn.{name}" for name in ("_core", "_engine", "_arrays", "_forks", "_validation")}
    assert loaded == {"gridnn", *handle}


def test_submodules_resolve_after_a_plain_import():
    names = " ".join(f"gn.{name}" for name in gn._SUBMODULES)
    assert len(run(f"import gridnn as gn; print({names.replace(' ', ', ')}, sep='')")) > 0


def test_errors_are_values_that_travel():
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.FileFormatError, ValueError)
    assert issubclass(errors.NonFiniteError, ArithmeticError)
    for cls in (errors.ShapeError, errors.FileFormatError, errors.NonFiniteError):
        again = pickle.loads(pickle.dumps(cls("what is wrong")))
        assert type(again) is cls
        assert str(again) == "what is wrong"


def test_threads_and_tier():
    before = gn.get_num_threads()
    try:
        gn.set_num_threads(before + 3)
        assert gn.get_num_threads() == before + 3
        with pytest.raises(ValueError, match="`count`"):
            gn.set_num_threads(0)
        with pytest.raises(TypeError, match="`count`"):
            gn.set_num_threads("all")
    finally:
        gn.set_num_threads(before)
    assert gn.simd_tier() in _core.available_tiers()
    assert gn.__version__.count(".") == 2
