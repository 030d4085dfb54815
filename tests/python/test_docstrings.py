import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from types import GenericAlias, ModuleType

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers
from gridnn.model.base import INNER

pytestmark = pytest.mark.one_tier

# __main__ would run the command line.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gn.__path__, prefix="gridnn.")
    if not module.name.endswith("__main__")
]
PUBLIC = ["gridnn", *(f"gridnn.{name}" for name in gn._SUBMODULES), "gridnn.sklearn", "gridnn.aeon"]


def imported(name):
    """A module; the test is skipped where a package that it needs is missing."""
    for optional in ("sklearn", "aeon"):
        if name.startswith(f"gridnn.{optional}"):
            pytest.importorskip(optional)
    return importlib.import_module(name)


@pytest.mark.parametrize("name", ["gridnn", *MODULES])
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"gn": gn, "layers": layers, "np": np}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(imported(name), extraglobs=names, optionflags=options)
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
    assert failed == 0


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_has_help_with_an_example(module):
    module = imported(module)
    parser, lacking = doctest.DocTestParser(), []
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, (ModuleType, GenericAlias, str)):
            continue
        text = value.__doc__ or ""
        first, *rest = inspect.cleandoc(text).splitlines() or [""]
        if not first or (rest and rest[0]) or not parser.get_examples(text):
            lacking.append(name)
    assert lacking == []


@pytest.mark.parametrize("cls", [gn.Sequential, gn.Model, gn.Trainer])
def test_every_public_method_of_models_has_help(cls):
    for name, value in inspect.getmembers(cls):
        if not name.startswith("_"):
            text = inspect.getdoc(value)
            assert text, name
            if cls is not gn.Trainer and inspect.isroutine(value) and name not in INNER:
                assert doctest.DocTestParser().get_examples(text), name


@pytest.mark.parametrize("module", PUBLIC[1:])
def test_every_public_module_has_an_example(module):
    assert doctest.DocTestParser().get_examples(imported(module).__doc__ or "")


def test_what_is_not_for_users_is_neither_completed_nor_in_the_reference():
    model = gn.Sequential([gn.Input((3,)), layers.Dense(2)])
    assert not INNER & set(dir(model))
    assert all(hasattr(model, name) for name in INNER)
    assert {"fit", "layers", "history", "name"} <= set(dir(model))
    page = Path(__file__).parents[2] / "docs" / "api" / "gridnn.md"
    if page.exists():
        lists = re.findall(r":exclude-members: (.*)", page.read_text("utf-8"))
        assert [set(names.split(", ")) for names in lists] == [INNER, INNER]
