"""Makes the changes of docs/adding in a copy of the project, builds it, and runs the tests that they are for.

    python tools/check_adding.py [FOLDER]

FOLDER, a temporary one by default, receives the copy; compiled dependencies in it are used again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = (
    "test_contract.py test_descriptions.py test_functional_conv.py test_inspect_fields.py test_layers.py "
    "test_limits.py test_optimizers.py test_public_names.py interop/test_c_layers.py "
    "interop/test_onnx_layers.py"
)


def copied(to: Path) -> None:
    """Copies what git knows, as it is in the working tree, in place of an earlier copy."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for old in to.iterdir():
        if old.name != "target":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in listed:
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def changed(copy: Path) -> None:
    """Applies the diff of every page."""
    for page in sorted((ROOT / "docs/adding").glob("*.md")):
        diffs = re.findall(
            r"^```diff\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        for diff in diffs:
            # Outside of any repository, so that this one's is not meant.
            environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(copy.parent)}
            subprocess.run(["git", "apply"], input=diff, text=True, check=True, cwd=copy, env=environment)
            print(f"{page.name}: applied", flush=True)


def main() -> None:
    """Exits with an error where a diff does not apply, does not compile, or fails a test."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        copy.mkdir(parents=True, exist_ok=True)
        copied(copy)
        changed(copy)
        environment = {
            **os.environ,
            "CARGO_TARGET_DIR": str(copy / "target"),
            "PYTHONPATH": str(copy / "python"),
        }

        def run(*command: str) -> None:
            subprocess.run([sys.executable, "-m", *command], cwd=copy, env=environment, check=True)

        run("ruff", "check")
        run("ruff", "format", "--check")
        subprocess.run(["cargo", "fmt", "--check"], cwd=copy, env=environment, check=True)
        run("maturin", "build", "--profile", "develop", "--interpreter", sys.executable, "--out", "dist")
        (wheel,) = (copy / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            for name in files.namelist():
                if name.startswith("gridnn/_core."):
                    files.extract(name, copy / "python")
        run("pytest", "-q", "-n", "2", *(f"tests/python/{name}" for name in TESTS.split()))
    print("docs/adding: every diff applies, compiles and passes the tests")


if __name__ == "__main__":
    main()
