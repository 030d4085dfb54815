"""How far direct convolution and Winograd's are from float64, case by case and for a stack of layers.

    python benches/python/accuracy.py            # the table
    python benches/python/accuracy.py --page     # and into docs/performance.md

Errors are the largest absolute deviation by the largest absolute value of the float64 result. Operands are
normal; the stack is twelve layers of 64 channels with ReLU between them, its kernels scaled to keep the
variance (He and others 2015), its gradient one of the last layer's size.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridnn import functional

Array = NDArray[Any]

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "performance.md"
_MARKS = "<!-- accuracy -->", "<!-- end of accuracy -->"
_LAYERS = 12


def error(found: Array, exact: Array) -> float:
    """Largest deviation, relative to the largest value."""
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def passes(x: Array, kernel: Array, dy: Array, padding: str, algorithm: str) -> tuple[Array, ...]:
    """Forward, input gradient, kernel gradient."""
    options: dict[str, Any] = {"padding": padding, "algorithm": algorithm}
    name = f"conv{kernel.ndim - 2}d"
    return (
        getattr(functional, name)(x, kernel, **options),
        getattr(functional, f"{name}_input_grad")(dy, kernel, x.shape, **options),
        getattr(functional, f"{name}_kernel_grad")(x, dy, kernel.shape, **options),
    )


def case_errors(row: dict[str, str], rng: np.random.Generator) -> list[float]:
    """Errors of direct and Winograd for each pass."""
    rank, batch, size, c_in, c_out, k = (
        int(row[key]) for key in ("rank", "batch", "size", "c_in", "c_out", "kernel")
    )
    padding = row["padding"]
    out = size - k + 1 if padding == "valid" else size
    x = rng.standard_normal((batch, *(size,) * rank, c_in), np.float32)
    kernel = rng.standard_normal((*(k,) * rank, c_in, c_out), np.float32)
    dy = rng.standard_normal((batch, *(out,) * rank, c_out), np.float32)
    doubles = [array.astype(np.float64) for array in (x, kernel, dy)]
    exact = passes(doubles[0], doubles[1], doubles[2], padding, "direct")
    found = [passes(x, kernel, dy, padding, algorithm) for algorithm in ("direct", "winograd")]
    return [error(each[i], exact[i]) for i in range(3) for each in found]


def stack_errors(rng: np.random.Generator) -> list[float]:
    """The same for twelve layers one behind the other; the kernel gradient is that of the first."""
    x = rng.standard_normal((2, 32, 32, 64), np.float32)
    scale = np.float32(np.sqrt(2 / (9 * 64)))
    kernels = [rng.standard_normal((3, 3, 64, 64), np.float32) * scale for _ in range(_LAYERS)]
    dy = rng.standard_normal(x.shape, np.float32)

    def forward(dtype: Any, algorithm: str) -> list[Array]:
        values: list[Array] = [x.astype(dtype)]
        for kernel in kernels:
            options: dict[str, Any] = {"padding": "same", "activation": "relu", "algorithm": algorithm}
            values.append(functional.conv2d(values[-1], kernel.astype(dtype), **options))
        return values

    # A sum that rounding moves across 0 would switch a path on or off: all gradients take the same ones.
    masks = [value > 0 for value in forward(np.float64, "direct")]

    def run(dtype: Any, algorithm: str) -> tuple[Array, Array, Array]:
        options: dict[str, Any] = {"padding": "same", "algorithm": algorithm}
        values = forward(dtype, algorithm)
        gradient: Array = dy.astype(dtype)
        for kernel, mask in zip(kernels[:0:-1], masks[:1:-1], strict=True):
            gradient = functional.conv2d_input_grad(gradient * mask, kernel.astype(dtype), x.shape, **options)
        gradient = gradient * masks[1]
        first = kernels[0].astype(dtype)
        return (
            values[-1],
            functional.conv2d_input_grad(gradient, first, x.shape, **options),
            functional.conv2d_kernel_grad(values[0], gradient, first.shape, **options),
        )

    exact = run(np.float64, "direct")
    found = [run(np.float32, algorithm) for algorithm in ("direct", "winograd")]
    return [error(each[i], exact[i]) for i in range(3) for each in found]


def table(progress: Callable[[str], object] = print) -> list[str]:
    """The table's lines."""
    names = [f"{what} {how}" for what in ("forward", "dx", "dw") for how in ("direct", "Winograd")]
    lines = ["| case | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    rng = np.random.default_rng(0)
    with (_ROOT / "benches" / "cases.csv").open() as file:
        for row in csv.DictReader(file):
            plain = all(row[key] == "1" for key in ("stride", "dilation", "groups"))
            if plain and row["kernel"] in ("3", "5") and int(row["c_in"]) > 3:
                lines.append(_line(row["name"], case_errors(row, rng)))
                progress(lines[-1])
    lines.append(_line(f"{_LAYERS} layers of 64", stack_errors(rng)))
    progress(lines[-1])
    return lines


def _line(name: str, errors: list[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.1e}" for value in errors) + " |"


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description="errors of direct and Winograd convolution")
    parser.add_argument("--page", action="store_true", help="write the table into docs/performance.md")
    lines = table()
    if parser.parse_args().page:
        page = _PAGE.read_text()
        before, _, rest = page.partition(_MARKS[0])
        _, _, after = rest.partition(_MARKS[1])
        _PAGE.write_text(before + "\n\n".join([_MARKS[0], "\n".join(lines), _MARKS[1]]) + after)


if __name__ == "__main__":
    main()
