"""`gridnn.show_versions`: what a report of a fault should say about the machine."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import numpy as np

from gridnn._engine import get_num_threads, simd_tier, version

__all__ = ["show_versions"]

# Of the extras, in the order of the alphabet.
_OPTIONAL = (
    "aeon",
    "dask",
    "h5py",
    "joblib",
    "matplotlib",
    "mpi4py",
    "onnx",
    "onnxruntime",
    "optuna",
    "pillow",
    "scikit-learn",
    "scipy",
    "soundfile",
    "tensorboardX",
)


def show_versions() -> None:
    """Prints versions, CPU, threads and settings, for reports of faults and for papers.

    Example:
        >>> gn.show_versions()  # doctest: +ELLIPSIS
        gridnn             ...
        python             ...
    """
    rows = [
        ("gridnn", version),
        ("python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("numpy", np.__version__),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("cpu", _cpu()),
        ("cores", _cores()),
        ("memory limit", _memory_limit()),
        ("instruction set", simd_tier()),
        ("threads", str(get_num_threads())),
        *[(name, value) for name, value in sorted(os.environ.items()) if name.startswith("GRIDNN_")],
        *[(name, _version_of(name)) for name in _OPTIONAL],
    ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def _cpu() -> str:
    """Model of the CPU, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _cores() -> str:
    count = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return str(count) if allowed == count else f"{count}, of which {allowed} may be used"


def _memory_limit() -> str:
    """That of the container, if there is one."""
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            words = Path(name).read_text("ascii").strip()
        except OSError:
            continue
        if words.isdigit() and int(words) < 1 << 60:
            return f"{int(words) / 2**20:,.0f} MiB"
    return "none"
