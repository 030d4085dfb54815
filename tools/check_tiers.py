"""Prints the SIMD tiers of this CPU, best first, after checking that forcing each one takes effect.

`make test` runs the tests once per line that this prints. On Linux the list is compared with what the kernel
says about the CPU, so that a fault in the engine's own detection cannot make a tier disappear from the tests.
Which tiers there are, and what they need, is asked of the engine; whether the CPU has it is not.
"""

import os
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

# Features that /proc/cpuinfo calls otherwise than Rust does.
FLAGS = {"neon": "asimd"}


def ask(code: str, tier: str | None = None) -> str:
    """What a fresh interpreter prints for `code`, with `tier` forced or none."""
    environment = {name: value for name, value in os.environ.items() if name != "GRIDNN_SIMD"}
    if tier is not None:
        environment["GRIDNN_SIMD"] = tier
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return result.stdout.strip()


def flags_of_cpu() -> set[str] | None:
    """What the kernel says about the CPU; None where it does not."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(flags.split())
    return None


def main() -> None:
    """Prints the tiers, or exits with what is wrong."""
    tiers = ask("from gridnn import _core; print(*_core.available_tiers())").split()
    compiled = literal_eval(ask("from gridnn import _core; print(_core.compiled_tiers())"))
    flags = flags_of_cpu()
    if flags is not None:
        expected = [
            tier for tier, needs in compiled if {FLAGS.get(feature, feature) for feature in needs} <= flags
        ]
        if tiers != expected:
            sys.exit(f"the CPU has the tiers {expected} by /proc/cpuinfo, but the engine finds {tiers}")
    for tier in tiers:
        ran = ask("import gridnn; print(gridnn.simd_tier())", tier)
        if ran != tier:
            sys.exit(f"GRIDNN_SIMD={tier} was set, but tier {ran} ran")
    print(*tiers)


if __name__ == "__main__":
    main()
