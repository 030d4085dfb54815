"""Holds all libraries to AVX2, as on a machine without AVX-512, and looks whether they keep to it.

`python benches/python/held.py [--peers-python PATH]` prints what each library says of itself when it is held.
`--tier avx2` of the other benches sets the same variables for their workers.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["HELD", "hold", "main"]

HELD = {
    "avx2": {
        "GRIDNN_SIMD": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # PyTorch and TensorFlow
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own loops
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's products
    }
}
"""The variables of the environment that hold everybody to a tier."""

_TORCH = """
import torch
print("ATen:", torch.backends.cpu.get_cpu_capability())
torch.nn.functional.conv2d(torch.ones(8, 16, 32, 32), torch.ones(32, 16, 3, 3))
"""
_TENSORFLOW = """
import tensorflow as tf
tf.nn.conv2d(tf.ones((8, 32, 32, 16)), tf.ones((3, 3, 16, 32)), 1, "SAME")
"""
_JAX = """
import jax
import jax.numpy as jnp
f = jax.jit(lambda x: jnp.sin(x) * jnp.exp(x))
f(jnp.ones((64, 256))).block_until_ready()
"""
_ISA = re.compile(r"cpu,isa:(.*)")
_KERNEL = re.compile(r"exec,cpu,convolution,([^,]*),")
_REBUILD = re.compile(r"To enable the following instructions: (.*), in other operations")


def hold(tier: str | None) -> None:
    """Sets the variables, for this process and those that it starts; None leaves everything as it is."""
    if tier is not None:
        os.environ.update(HELD[tier])


def main() -> None:
    """Prints what each library says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=os.environ.get("GRIDNN_PEERS_PYTHON") or sys.executable)
    python = parser.parse_args().peers_python
    hold("avx2")
    print("gridnn:", _said(sys.executable, "import gridnn as gn; print(gn.simd_tier())"))
    for name, program in (("PyTorch", _TORCH), ("TensorFlow", _TENSORFLOW)):
        print(f"{name}: {_facts(_said(python, program))}")
    print("JAX:", _compiled(python))


def _said(python: str, program: str, **more: str) -> str:
    """What a program prints, oneDNN's log included."""
    environment = (
        os.environ | {"ONEDNN_VERBOSE": "1", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"} | more
    )
    done = subprocess.run(
        [python, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()


def _facts(log: str) -> str:
    """Of a log: the tier of ATen, of oneDNN and its kernel, and what TensorFlow's other code lacks."""
    found = [line for line in log.splitlines() if line.startswith("ATen:")]
    found += [f"oneDNN: {isa}" for isa in _ISA.findall(log)[:1]]
    found += [f"convolution by {kernel}" for kernel in _KERNEL.findall(log)[:1]]
    found += [f"compiled without {names}" for names in _REBUILD.findall(log)[:1]]
    return "; ".join(found) or f"says nothing ({log.splitlines()[-1] if log else 'not even an error'})"


def _compiled(python: str) -> str:
    """How many instructions of AVX-512 are in what XLA compiled."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"{os.environ['XLA_FLAGS']} --xla_dump_to={folder}"
        log = _said(python, _JAX, XLA_FLAGS=flags)
        objects = sorted(Path(folder).glob("*.o"))
        if not objects:
            return f"compiled nothing ({log.splitlines()[-1] if log else 'no error either'})"
        listing = subprocess.run(
            ["objdump", "-d", *map(str, objects)], capture_output=True, text=True, check=True
        ).stdout
    wide, half = listing.count("%zmm"), listing.count("%ymm")
    return f"{len(objects)} objects name {wide} registers of 512 bits and {half} of 256"


if __name__ == "__main__":
    main()
