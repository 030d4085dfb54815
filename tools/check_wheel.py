"""Checks the wheel in a folder: its size, its contents, and that it works where nothing else of gridnn is.

Example:
    python tools/check_wheel.py dist
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MAX_BYTES = 5_000_000
REQUIRED = {
    "gridnn/__init__.py",
    "gridnn/py.typed",
    "gridnn/_core.pyi",
    "gridnn/assets/digits.npz",
    "gridnn/assets/README.md",
    "gridnn/assets/report.css",
}
PACKAGES = {"gridnn", "gridnn.libs"}  # the second holds shared libraries, should the build ever need one
SMOKE_TEST = "import gridnn; assert len(gridnn.datasets.digits()[0][0]) == 1437; print(gridnn.__file__)"


def check(wheel: Path, *, imports: bool = True) -> None:
    """Exits with what is wrong with the wheel, or prints its size; `imports` if it is for this machine."""
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.2f} MB (limit {MAX_BYTES / 1e6:.0f} MB)")
    if size > MAX_BYTES:
        sys.exit("the wheel is too large")
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = set(archive.namelist())
        if lacking := REQUIRED - names:
            sys.exit(f"the wheel lacks {sorted(lacking)}")
        if not any(name.endswith("licenses/LICENSE-MIT") for name in names):
            sys.exit("the wheel lacks its licences")
        foreign = {name for name in names if name.split("/")[0] not in PACKAGES and ".dist-info/" not in name}
        if foreign or any("test" in name for name in names):
            sys.exit(f"the wheel holds what does not belong there: {sorted(foreign)}, or tests")
        if not imports:
            return
        archive.extractall(folder)
        environment = os.environ | {"PYTHONPATH": folder}
        command = [sys.executable, "-W", "error", "-c", SMOKE_TEST]
        found = subprocess.run(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        if not Path(found.strip()).resolve().is_relative_to(Path(folder).resolve()):
            sys.exit(f"the test of the wheel imported {found.strip()} instead")


def main() -> None:
    """Checks the one wheel in the folder given as argument."""
    wheels = list(Path(sys.argv[1]).glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"expected one wheel in {sys.argv[1]}; found {[wheel.name for wheel in wheels]}")
    check(wheels[0])


if __name__ == "__main__":
    main()
