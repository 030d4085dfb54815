"""Ranks on three hosts that are network namespaces: equal bytes over TCP, and bytes on the wire.

    sudo python tools/mpi_hosts.py [--ranks 3] [--slow 100mbit] [CASE ..]

Needs root, Linux with `ip` and `tc`, and the environment of `make test-mpi`, whose Python runs this. Every
host has an interface on a bridge, a name, and a /dev/shm of its own. `--slow` limits the link of the last
host in both directions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "tests/python/mpi/mpi_program.py"
BRIDGE, NETWORK = "gridnn-br", "10.77.0"
LAUNCHER = """#!/bin/sh
# What mpiexec calls like ssh: options, host, and a command.
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec "gridnn-${host##*.}" unshare --mount --uts sh -c "hostname gridnn-${host##*.}
mount -t tmpfs none /dev/shm
exec $*"
"""


def call(command: str) -> None:
    """Runs a command, which must succeed."""
    subprocess.run(command.split(), check=True)


@contextmanager
def hosts(count: int, slow: str | None) -> Iterator[list[str]]:
    """Namespaces on a bridge; gives their addresses."""
    numbers = range(1, count + 1)
    try:
        call(f"ip link add {BRIDGE} type bridge")
        call(f"ip addr add {NETWORK}.254/24 dev {BRIDGE}")
        call(f"ip link set {BRIDGE} up")
        for number in numbers:
            space, outside = f"gridnn-{number}", f"gridnn-v{number}"
            call(f"ip netns add {space}")
            call(f"ip link add {outside} type veth peer name eth0 netns {space}")
            call(f"ip link set {outside} master {BRIDGE} up")
            call(f"ip -n {space} addr add {NETWORK}.{number}/24 dev eth0")
            call(f"ip -n {space} link set eth0 up")
            call(f"ip -n {space} link set lo up")
        if slow:
            limit = f"root tbf rate {slow} burst 32kbit latency 50ms"
            call(f"tc qdisc add dev gridnn-v{count} {limit}")
            call(f"ip netns exec gridnn-{count} tc qdisc add dev eth0 {limit}")
        yield [f"{NETWORK}.{number}" for number in numbers]
    finally:
        for number in numbers:
            with suppress(subprocess.CalledProcessError):
                call(f"ip netns del gridnn-{number}")
        with suppress(subprocess.CalledProcessError):
            call(f"ip link del {BRIDGE}")


def sent(number: int) -> int:
    """Bytes that a host has sent, with the headers of TCP, IP and Ethernet."""
    path = f"/sys/class/net/gridnn-v{number}/statistics/rx_bytes"
    return int(Path(path).read_text(encoding="ascii"))


def digests(output: str) -> list[str]:
    """What the program has printed of its models."""
    return [line for line in output.splitlines() if line.startswith("DIGEST")]


def main() -> None:
    """Exits with an error where ranks on hosts end with other bytes than one process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("cases", nargs="*", default=["augmented", "lenet5", "resnet18", "unet_3d"])
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--slow", metavar="RATE", help="of the last host's link, as tc takes it: 100mbit")
    arguments = parser.parse_args()
    program = [sys.executable, "-W", "ignore", str(PROGRAM), *arguments.cases]
    alone = subprocess.run([*program, "--alone"], check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory() as folder, hosts(arguments.ranks, arguments.slow) as addresses:
        launcher = Path(folder) / "launcher"
        launcher.write_text(LAUNCHER, encoding="utf-8")
        launcher.chmod(0o755)
        mpiexec = [Path(sys.executable).with_name("mpiexec"), "-n", str(arguments.ranks)]
        mpiexec += ["-hosts", ",".join(addresses), "-launcher", "ssh", "-launcher-exec", launcher]
        mpiexec += ["-localhost", f"{NETWORK}.254"]
        # All hosts have the same kernel, whose memory UCX or libfabric, by which MPICH speaks, would use.
        environment = {**os.environ, "UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "eth0"}
        environment |= {"FI_PROVIDER": "tcp", "FI_TCP_IFACE": "eth0"}
        numbers = range(1, arguments.ranks + 1)
        before = [sent(number) for number in numbers]
        start = time.perf_counter()
        command = [*map(str, mpiexec), *program, "--report"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=580)
        seconds = time.perf_counter() - start
        wire = [sent(number) - first for number, first in zip(numbers, before, strict=True)]
    print(done.stdout, done.stderr, sep="")
    for number, count in zip(numbers, wire, strict=True):
        print(f"host {number}: {count / 1e6:.2f} MB sent on its interface")
    print(f"{seconds:.1f} s with the start of the processes")
    if done.returncode or digests(done.stdout) != digests(alone.stdout):
        sys.exit("the ranks end with other bytes than one process")
    print("bytes as of one process")


if __name__ == "__main__":
    main()
