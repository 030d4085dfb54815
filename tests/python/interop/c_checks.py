"""Compiles C headers and holds them against the models they were written from."""

import shutil
import subprocess

import numpy as np
import pytest

from gridnn.interop.c.writer import to_bytes

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2")

TOLERANCE = 1e-5  # of the largest value

COMPILER = shutil.which("gcc") or shutil.which("cc")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler")

CASE = """    case {number}: {{
        static float input[{upper}_INPUT_SIZE], output[{upper}_OUTPUT_SIZE], arena[{upper}_ARENA_SIZE];
        while (fread(input, sizeof input, 1, in) == 1) {{
            {name}_predict(input, output, arena);
            fwrite(output, sizeof output, 1, out);
        }}
        break;
    }}
"""

PROGRAM = """#include <stdio.h>
#include <stdlib.h>
{includes}
int main(int count, char **names)
{{
    FILE *in = fopen(names[2], "rb"), *out = fopen(names[3], "wb");
    (void)count;
    if (!in || !out) return 2;
    switch (atoi(names[1])) {{
{cases}    default: return 3;
    }}
    return fclose(out);
}}
"""


class Bundle:
    """Models in one program, each in a header of its own."""

    def __init__(self, folder, models, flags=FLAGS, language="c", command=None):
        self.folder, self.models, self.names = folder, models, list(models)
        self.headers = {}
        includes, cases = "", ""
        for number, (name, model) in enumerate(models.items()):
            contents, self.headers[name] = to_bytes(model, name)
            assert to_bytes(model, name)[0] == contents
            (folder / f"{name}.h").write_bytes(contents)
            includes += f'#include "{name}.h"\n' * 2  # the guard lets the second one through
            cases += CASE.format(number=number, name=name, upper=name.upper())
        (folder / "main.c").write_text(PROGRAM.format(includes=includes, cases=cases))
        compiled = [*(command or [COMPILER]), *flags, "-x", language, "main.c", "-o", "program", "-lm"]
        run(compiled, folder)

    def outputs(self, name, x):
        """What the program computes for a batch."""
        x.astype(np.float32).tofile(self.folder / "x")
        number = self.names.index(name)
        run([str(self.folder / "program"), str(number), "x", "y"], self.folder)
        y = np.fromfile(self.folder / "y", np.float32)
        return y.reshape(len(x), *self.models[name].output_shape[1:])

    def expect_equal(self, name, samples=3, scale=1.0):
        """The program and the model agree on random samples."""
        model = self.models[name]
        x = np.random.default_rng(7).normal(size=(samples, *model.input_shape[1:])).astype(np.float32) * scale
        expected = model.predict(x.astype(np.float32), verbose=0)
        found = self.outputs(name, x)
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-4000:]}"
