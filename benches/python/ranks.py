"""How much of the speed of R hosts is left when they share batches, computed from what they send each other.

    python benches/python/ranks.py [--threads 16] [--network 10GbE]

A host is taken to have so many threads at 80 billion operations a second each, which is what a core of the
record's machine reaches, and to share its work without loss. Nothing is overlapped. Ranks are hosts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from models import MODELS

import gridnn as gn
from gridnn.bench import _own

OPERATIONS = 80e9
"""A second and thread."""
RANKS = (2, 8, 32)
NETWORKS = {
    "1GbE": (125e6, 50e-6),
    "10GbE": (1.25e9, 30e-6),
    "100GbE": (12.5e9, 5e-6),
    "internet": (12.5e6, 20e-3),
}
"""Bytes a second, and seconds of latency."""

_ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "resnet18, 64 px": lambda: gn.models.resnet(18, (64, 64, 3), 10),
    "resnet50, 224 px": lambda: gn.models.resnet(50, (224, 224, 3), 1000),
    "vgg16, 224 px": lambda: gn.models.vgg(16, (224, 224, 3), 1000),
    "unet, 128 px": lambda: gn.models.unet((128, 128, 1), 2),
}


def row(name: str, model: Any, batch: int, threads: int, network: str) -> str:
    """A line of the table: the time of a step on one host, and percent of the speed of R for each R."""
    bandwidth, latency = NETWORKS[network]
    forward = 2 * sum(cost.multiply_adds for cost in gn.inspect.costs(model, batch, flops=1, bandwidth=1))
    step = 3 * forward / (OPERATIONS * threads)
    cells = []
    for ranks in RANKS:
        if ranks > model.network.chunks(batch):
            cells.append("-")
            continue
        costs = gn.inspect.distributed_costs(model, batch, ranks, bandwidth, latency)
        cells.append(f"{100 * step / (step + ranks * costs.seconds):.0f}")
    sent = gn.inspect.distributed_costs(model, batch, 2).bytes / 1e6
    return f"| {name} | {batch} | {1e3 * step:.3g} | {sent:.3g} | {' | '.join(cells)} |"


def main() -> None:
    """Prints the table of docs/many-machines.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--network", choices=NETWORKS, default="10GbE")
    arguments = parser.parse_args()
    print(f"| model | batch | one host, ms | MB a step, R = 2 | {' | '.join(f'R = {r}' for r in RANKS)} |")
    print(f"|---|---|---|---|{'---|' * len(RANKS)}")
    builds = {name: lambda network=network: _own.build(network) for name, network in MODELS.items()}
    for name, build in {**builds, **_ARCHITECTURES}.items():
        model = build()
        for batch in (128, 1024):
            print(row(name, model, batch, arguments.threads, arguments.network))


if __name__ == "__main__":
    main()
