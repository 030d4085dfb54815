"""Compiles a header and compares what it computes with what the model does."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridnn.interop._differences import activated, difference
from gridnn.interop.c.header import CHeader

if TYPE_CHECKING:
    from gridnn.model.protocol import Model

__all__ = ["compiler", "program", "verify_outputs"]

_TOLERANCE = 1e-4
"""Of the largest value: float32 sums in another order."""

_SECONDS = 600.0

_PROGRAM = """#include <stdio.h>
#include "net.h"
static float input[{upper}_INPUT_SIZE], output[{upper}_OUTPUT_SIZE], arena[{upper}_ARENA_SIZE];
int main(int count, char **names)
{{
    FILE *in, *out;
    if (count != 3 || !(in = fopen(names[1], "rb")) || !(out = fopen(names[2], "wb"))) return 2;
    while (fread(input, sizeof input, 1, in) == 1) {{
        {name}_predict(input, output, arena);
        if (fwrite(output, sizeof output, 1, out) != 1) return 3;
    }}
    return fclose(out) ? 4 : 0;
}}
"""


def compiler() -> str | None:
    """A C compiler for this machine; None if there is none."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def program(name: str) -> str:
    """A program that runs samples of one file through a header, into another file."""
    return _PROGRAM.format(name=name, upper=name.upper())


def verify_outputs(model: Model, name: str, contents: bytes, header: CHeader, activation: str | None) -> None:
    """Runs a random sample through the compiled header, where a C compiler is found, and through the model.

    Raises:
        RuntimeError: the header does not compile or run, or computes something else.
    """
    found = compiler()
    if found is None:
        return
    shape = tuple(size or 1 for size in model.input_shape[1:])
    x = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    y: Any = activated(np.asarray(model.predict(x, verbose=0)), activation)
    advice = "nothing was written; verify=False writes it all the same"
    with tempfile.TemporaryDirectory(prefix="gridnn-c-") as folder:
        base = Path(folder)
        (base / "net.h").write_bytes(contents)
        (base / "main.c").write_text(program(name), "ascii")
        x.tofile(base / "x")
        for command in (
            [found, "-std=c99", "-O1", "main.c", "-o", "run", "-lm"],
            [str(base / "run"), "x", "y"],
        ):
            try:
                done = subprocess.run(
                    command, cwd=base, capture_output=True, text=True, errors="replace", timeout=_SECONDS
                )
                complaint = f"{done.stderr[-2000:]} (exit code {done.returncode})"
            except (OSError, subprocess.TimeoutExpired) as error:
                done, complaint = None, str(error)
            if done is None or done.returncode:
                raise RuntimeError(f"{command[0]} fails for model '{model.name}' ({advice}): {complaint}")
        theirs = np.fromfile(base / "y", np.float32)
    apart = difference(y.ravel(), theirs)
    if not apart <= _TOLERANCE:
        raise RuntimeError(
            f"{header.function}, compiled by {found}, and model '{model.name}' differ by {apart:.1e} of the "
            f"largest output for the same input; {advice}."
        )
