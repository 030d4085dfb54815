"""Checks what is about to be released.

Example:
    python tools/check_release.py version v0.2.0  # the tag, Cargo.toml, the change log and CITATION.cff agree
    python tools/check_release.py wheel dist      # wheels ask for no other C library than their names say
"""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from check_wheel import check

ROOT = Path(__file__).parents[1]
# manylinux2014: https://peps.python.org/pep-0599/
GLIBC = (2, 17)
# musl is one library; its own name for itself has the processor in it.
MUSL = {"libc.so", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"}


def first(pattern: str, file: str) -> str:
    """The first match of a pattern's group in a file of the project."""
    match = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return match.group(1) if match else "none"


def check_version(tag: str) -> None:
    """Exits if the places that repeat the version differ, or `tag` is one of another version."""
    # Its one home: pyproject.toml and `gridnn.__version__` take it from there.
    version = first(r'^version = "(.*)"', "Cargo.toml")
    found = {
        "Cargo.lock": first(r'^name = "gridnn"\nversion = "(.*)"', "Cargo.lock"),
        "CITATION.cff": first(r"^version: (.*)$", "CITATION.cff"),
    }
    if tag.startswith("v"):
        found["the tag"] = tag.removeprefix("v")
        found["CHANGELOG.md"] = first(r"^## \[(\d.*?)\]", "CHANGELOG.md")
    if wrong := {place: other for place, other in found.items() if other != version}:
        sys.exit(f"Cargo.toml says {version}; {', '.join(f'{place} says {v}' for place, v in wrong.items())}")
    print(f"version {version}: {', '.join(found)} agree")


def newest_glibc(library: Path) -> tuple[int, ...]:
    """The newest version of glibc's symbols that a shared library asks for; () for one without such."""
    listing = subprocess.run(
        ["readelf", "--version-info", str(library)], capture_output=True, text=True, check=True
    ).stdout
    versions = re.findall(r"\bGLIBC_(\d+(?:\.\d+)+)", listing)
    return max((tuple(map(int, version.split("."))) for version in versions), default=())


def needed_libraries(library: Path) -> set[str]:
    """The shared libraries that a shared library asks for."""
    listing = subprocess.run(
        ["readelf", "--dynamic", str(library)], capture_output=True, text=True, check=True
    ).stdout
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", listing))


def check_library(library: Path, wheel: str) -> None:
    """Exits if a shared library of a wheel asks for more than the wheel's name promises."""
    glibc, needed = newest_glibc(library), needed_libraries(library)
    print(f"{library.name}: glibc {'.'.join(map(str, glibc)) or 'none'}; {', '.join(sorted(needed))}")
    # A module for one version of Python has the C library in its name; Python looks for its own alone.
    other = "-linux-gnu" if "musllinux" in wheel else "-linux-musl"
    if other in library.name:
        sys.exit(f"{wheel}: {library.name} is named for another C library, so Python would not find it")
    if "manylinux" in wheel and glibc > GLIBC:
        sys.exit(f"{wheel}: {library.name} asks for glibc {glibc}, newer than {GLIBC}")
    if "musllinux" in wheel and (glibc or not needed <= MUSL):
        sys.exit(f"{wheel}: {library.name} asks for {', '.join(sorted(needed - MUSL)) or 'glibc'}")


def check_wheels(folder: Path) -> None:
    """Exits with what is wrong with the wheels in a folder."""
    for wheel in sorted(folder.glob("*.whl")):
        # Those for other machines cannot be tried here.
        check(wheel, imports=False)
        if "linux" not in wheel.name:
            continue
        with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as unpacked:
            libraries = [name for name in archive.namelist() if name.endswith(".so")]
            for name in libraries:
                check_library(Path(archive.extract(name, unpacked)), wheel.name)
            if not libraries:
                sys.exit(f"{wheel.name} holds no compiled module")


def main() -> None:
    """Runs the check that the command line names."""
    what, argument = sys.argv[1:]
    if what == "version":
        check_version(argument)
    else:
        check_wheels(Path(argument))


if __name__ == "__main__":
    main()
