"""Prints the SIMD tiers of this CPU, best first, after checking that forcing each one takes effect.

`make test` runs the tests once per line that this prints. On Linux the list is compared with what the kernel
says about the CPU, so that a fault in the engine's own detection cannot make a tier disappear from the tests.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

# The flags of /proc/cpuinfo that each tier of an x86-64 CPU needs.
NEEDS = {
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma"},
    "portable": set[str](),
}


def ask(code: str, tier: str | None = None) -> str:
    """What a fresh interpreter prints for `code`, with `tier` forced or none."""
    environment = {name: value for name, value in os.environ.items() if name != "GRIDNN_SIMD"}
    if tier is not None:
        environment["GRIDNN_SIMD"] = tier
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return result.stdout.strip()


def tiers_by_kernel() -> list[str] | None:
    """The tiers that the kernel's description of the CPU allows; None where there is no such description."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return None
    lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set[str]())
    return [tier for tier, needed in NEEDS.items() if needed <= flags]


def main() -> None:
    """Prints the tiers, or exits with what is wrong."""
    tiers = ask("from gridnn import _core; print(*_core.available_tiers())").split()
    expected = tiers_by_kernel()
    if expected is not None and tiers != expected:
        sys.exit(f"the CPU has the tiers {expected} by /proc/cpuinfo, but the engine finds {tiers}")
    for tier in tiers:
        ran = ask("import gridnn; print(gridnn.simd_tier())", tier)
        if ran != tier:
            sys.exit(f"GRIDNN_SIMD={tier} was set, but tier {ran} ran")
    print(*tiers)


if __name__ == "__main__":
    main()
