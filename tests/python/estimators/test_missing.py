"""What is said where an optional package is not installed."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_tier


@pytest.mark.parametrize(
    ("package", "statement", "extra"),
    [
        ("sklearn", "import gridnn.sklearn", "sklearn"),
        ("aeon", "import gridnn.aeon", "aeon"),
        ("optuna", "import gridnn; gridnn.callbacks.OptunaPruning(None)", "optuna"),
    ],
)
def test_the_command_is_named(package, statement, extra):
    code = f"import sys; sys.modules['{package}'] = None\n{statement}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"gridnn[{extra}]" in done.stderr.splitlines()[-1]


def test_a_plain_import_loads_none_of_them():
    code = (
        "import sys, gridnn; gridnn.callbacks, gridnn.plot, gridnn.lr_finder\n"
        "print(*{'sklearn', 'aeon', 'optuna', 'distributed'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        == "\n"
    )
