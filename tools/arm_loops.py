"""How good the code for NEON is, without a machine that runs it: `tools/aarch64.sh loops` calls this.

`arm_loops.py loops LIBRARY` disassembles the kernels of a library. For every loop that multiplies and adds it
prints how many cycles a fused multiply-add takes by the models of `llvm-mca`, in brackets how many times the
least that the model allows, and how often the loop reaches for vectors on the stack. `arm_loops.py calls`
prints how many instructions a call takes in the emulator, for the cases of `benches/cases.csv`, by tier and
pass; `arm_loops.py run` is what runs inside the emulator then.

Both are Markdown, for `docs/performance.md`. The folder of the tools is named by `GRIDNN_AARCH64_BIN`.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

CPUS = ("neoverse-n1", "neoverse-n2", "neoverse-v1", "neoverse-v2", "apple-m1")
PEAKS = (0.5, 0.5, 0.25, 0.25, 1 / 3)
"""Cycles of a multiply-add where nothing else is to be done, by the same models."""
PASSES = ("forward", "input gradient", "kernel gradient")
MOST = 3e8
"""Multiplications of a call that is counted: larger batches are cut."""

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Instruction:
    """A line of the disassembly."""

    address: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where it may go on, if that is somewhere else."""
        found = re.search(r"0x([0-9a-f]+) <", self.operands)
        jumps = self.name.startswith("b.") or self.name in ("b", "cbz", "cbnz", "tbz", "tbnz")
        return int(found[1], 16) if found and jumps else None


@dataclass(frozen=True)
class Loop:
    """An innermost loop of a kernel."""

    kernel: str
    body: tuple[Instruction, ...]

    @property
    def products(self) -> list[Instruction]:
        """The multiply-adds."""
        return [i for i in self.body if i.name in ("fmla", "fmls")]

    @property
    def sums(self) -> int:
        """Registers that they add to."""
        return len({i.operands.split(",")[0] for i in self.products})

    @property
    def stack(self) -> list[Instruction]:
        """Vectors that are kept in memory."""
        return [
            i
            for i in self.body
            if re.match(r"(ldr|str|ldp|stp|ldur|stur)$", i.name)
            and "[sp" in i.operands
            and re.match(r"q\d", i.operands)
        ]

    def assembly(self, *, without_stack: bool = False) -> str:
        """As text that `llvm-mca` reads. Branches fall through."""
        kept = [i for i in self.body if not (without_stack and i in self.stack)]
        lines = []
        for i in kept:
            if i.target is not None:
                continue
            operands = re.sub(r"\s*(//.*|<.*>)", "", i.operands)
            lines.append(f"{i.name} {operands}")
        return "\n".join(lines)


def tool(name: str) -> str:
    """Path of a program of the cache."""
    return str(Path(os.environ["GRIDNN_AARCH64_BIN"]) / name)


def kernels(library: Path) -> dict[str, list[Instruction]]:
    """The functions of the NEON tier, by names such as `float32 gemm`."""
    symbols = subprocess.run(
        [tool("llvm-objdump"), "-t", library], check=True, capture_output=True, text=True
    )
    found = {}
    for line in symbols.stdout.splitlines():
        match = re.search(r"(\S*4neon7float(32|64)\d+([a-z_]+)17h\S*)$", line)
        if match:
            found[match[1]] = f"float{match[2]} {match[3]}"
    names = ",".join(found)
    text = subprocess.run(
        [tool("llvm-objdump"), "-d", "--no-show-raw-insn", f"--disassemble-symbols={names}", library],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    functions: dict[str, list[Instruction]] = {}
    for line in text.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:", line):
            current = functions.setdefault(found[head[1]], [])
        elif code := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line):
            current.append(Instruction(int(code[1], 16), code[2], code[3].strip()))
    return functions


def loops(kernel: str, code: list[Instruction]) -> Iterator[Loop]:
    """Innermost loops with multiply-adds in them and no call."""
    places = {i.address: number for number, i in enumerate(code)}
    spans = {
        (places[i.target], n) for n, i in enumerate(code) if i.target in places and i.target <= i.address
    }
    for first, last in sorted(spans):
        if any((a, b) != (first, last) and first <= a and b <= last for a, b in spans):
            continue
        loop = Loop(kernel, tuple(code[first : last + 1]))
        if len(loop.products) >= 4 and not any(i.name in ("bl", "blr") for i in loop.body):
            yield loop


def cycles(bodies: list[str], cpu: str, repeated: int) -> list[tuple[float, float]]:
    """Of each body: cycles of a repetition, and as many as its resources would need."""
    text = "".join(f"# LLVM-MCA-BEGIN\n{body}\n# LLVM-MCA-END\n" for body in bodies)
    command = [tool("llvm-mca"), "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={repeated}"]
    report = subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout
    total = [int(n) / repeated for n in re.findall(r"Total Cycles:\s+(\d+)", report)]
    least = [float(n) for n in re.findall(r"Block RThroughput:\s+([\d.]+)", report)]
    assert len(total) == len(least) == len(bodies)
    return list(zip(total, least, strict=True))


def print_loops(library: Path) -> None:
    """A line for each loop of different shape."""
    found: dict[tuple[str, ...], Loop] = {}
    for kernel, code in sorted(kernels(library).items()):
        for loop in loops(kernel, code):
            shape = kernel, *(i.name for i in loop.body)
            found.setdefault(shape, loop)
    chosen = list(found.values())
    measured = [cycles([loop.assembly() for loop in chosen], cpu, 50) for cpu in CPUS]
    least = [cycles([loop.assembly(without_stack=True) for loop in chosen], cpu, 1) for cpu in CPUS]
    print("| kernel | at | fmla | sums | instructions | stack |", " | ".join(CPUS), "|")
    print("|---|---|---|---|---|---|" + "---|" * len(CPUS))
    for number, loop in enumerate(chosen):
        count = len(loop.products)
        cells = [
            f"{taken[number][0] / count:.3f} ({taken[number][0] / max(best[number][1], count * peak):.2f})"
            for taken, best, peak in zip(measured, least, PEAKS, strict=True)
        ]
        print(f"| {loop.kernel} | {loop.body[0].address:x} | {count} | {loop.sums} | {len(loop.body)} "
              f"| {len(loop.stack)} |", " | ".join(cells), "|")  # fmt: skip


def cases() -> Iterator[tuple[str, dict[str, int | str]]]:
    """Names and sizes of the cases; the batch is as large as may be counted."""
    with (ROOT / "benches" / "cases.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            case: dict[str, int | str] = {
                key: int(text) if text.isdigit() else text for key, text in line.items()
            }
            rank, size, stride, groups = (int(case[key]) for key in ("rank", "size", "stride", "groups"))
            places = (size // stride) ** rank
            products = places * int(case["kernel"]) ** rank * int(case["c_in"]) * int(case["c_out"]) // groups
            case["batch"] = int(max(1, min(int(case["batch"]), MOST // products)))
            yield str(case["name"]), case


def run() -> None:
    """Calls every case twice in each pass; the second time stands between two marks for the plug-in."""
    import numpy as np

    from gridnn import functional

    for name, case in cases():
        rank, groups = int(case["rank"]), int(case["groups"])
        kernel_shape = (int(case["kernel"]),) * rank + (int(case["c_in"]) // groups, int(case["c_out"]))
        x = np.ones((int(case["batch"]), *(int(case["size"]),) * rank, int(case["c_in"])), np.float32)
        kernel = np.ones(kernel_shape, np.float32)
        options = {"strides": case["stride"], "dilation_rate": case["dilation"], "padding": case["padding"]}
        options["groups"] = groups
        conv = {
            part: getattr(functional, f"conv{rank}d{part}") for part in ("", "_input_grad", "_kernel_grad")
        }
        y = conv[""](x, kernel, **options)
        calls = (
            partial(conv[""], x, kernel, **options),
            partial(conv["_input_grad"], y, kernel, x.shape, **options),
            partial(conv["_kernel_grad"], x, y, kernel.shape, **options),
        )
        for which, call in zip(PASSES, calls, strict=True):
            call()
            os.getppid()
            call()
            os.getppid()
            print(f"{name},{which}", flush=True)


def counted(tier: str) -> dict[tuple[str, str], int]:
    """Instructions of a call in the emulator, by case and pass."""
    environment = {**os.environ, "GRIDNN_SIMD": tier, "GRIDNN_NUM_THREADS": "1"}
    done = subprocess.run(
        [tool("python-counted"), __file__, "run"], env=environment, check=True, capture_output=True, text=True
    )
    marks = [int(n) for n in re.findall(r"^instructions (\d+)$", done.stderr, re.MULTILINE)]
    names = [tuple(line.split(",")) for line in done.stdout.splitlines()]
    return {(name, which): marks[2 * i + 1] - marks[2 * i] for i, (name, which) in enumerate(names)}


def print_calls() -> None:
    """A line for each case."""
    neon, portable = counted("neon"), counted("portable")
    print("| case | batch |", " | ".join(f"{which}: million | portable" for which in PASSES), "|")
    print("|---|---|" + "---|---|" * len(PASSES))
    for name, case in cases():
        cells = [
            f"{neon[name, which] / 1e6:.1f} | {portable[name, which] / neon[name, which]:.2f}"
            for which in PASSES
        ]
        print(f"| {name} | {case['batch']} |", " | ".join(cells), "|")


def main(command: str, *arguments: str) -> None:
    """Prints a table."""
    if command == "loops":
        print_loops(Path(arguments[0]))
    else:
        {"calls": print_calls, "run": run}[command]()


if __name__ == "__main__":
    main(*sys.argv[1:])
