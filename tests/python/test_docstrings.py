import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

# __main__ would run the command line.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gn.__path__, prefix="gridnn.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", ["gridnn", *MODULES])
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for optional in ("sklearn", "aeon"):
        if name.startswith(f"gridnn.{optional}"):
            pytest.importorskip(optional)
    names = {"gn": gn, "layers": layers, "np": np}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs=names, optionflags=options)
    assert failed == 0
