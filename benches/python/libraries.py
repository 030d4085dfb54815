"""Finds the libraries: gridnn and NumPy where gridnn is installed, the others wherever they are.

`peers` is `gridnn.bench.peers`; an environment without gridnn gets it from this repository's sources.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

__all__ = ["OWN", "ROOT", "load", "peers"]

ROOT = Path(__file__).resolve().parents[2]
OWN = "gridnn"

if TYPE_CHECKING:
    from gridnn.bench import peers
elif importlib.util.find_spec("gridnn"):
    peers = importlib.import_module("gridnn.bench.peers")
else:
    sys.path.insert(0, str(ROOT / "python" / "gridnn" / "bench"))
    peers = importlib.import_module("peers")


def load(name: str, threads: int) -> peers.Peer:
    """Imports a library and sets its threads."""
    if name in (OWN, "numpy"):
        own = importlib.import_module("gridnn.bench._own" if name == OWN else "numpy_library")
        library: peers.Peer = own.Library(threads)
        return library
    return peers.load(name, threads)
