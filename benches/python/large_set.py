"""A data set that does not fit: trains on it from HDF5 and from a memory-mapped file, and from memory.

Writes both files (of 4 GB each), then trains the same small network for an epoch of each in a process of its
own, and on an eighth of the data in memory. Says for each how many samples a second it took, and the most
anonymous memory the process held: what a process has beyond that are pages of files, which the system takes
back. Before an epoch the system forgets the file's pages, so that every sample comes from the disk.

    python benches/python/large_set.py --folder DIR [--gigabytes 4] [--warm]
    python benches/python/large_set.py --folder DIR --write-only     # before a measurement: takes as long

On two cores 4 GB take some three minutes, of which half is writing, while nothing else runs. Needs h5py.
Both figures to reach: less than 400 MB from the files, and 0.8 of the speed from memory.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import gridnn as gn
from gridnn import layers

SHAPE = (64, 64, 3)
BATCH = 64
CHUNK = 64  # samples of a chunk of the HDF5 file


def write(folder: Path, samples: int) -> None:
    """Writes the same random images to ``images.bin`` and ``images.h5``, unless they are there.

    A file gets its name when it is complete: one that somebody stopped is written anew.
    """
    import h5py

    rng = np.random.default_rng(0)
    size = samples * int(np.prod(SHAPE))
    binary, chunked = folder / "images.bin", folder / "images.h5"
    partial = folder / "images.partial"
    if not binary.exists() or binary.stat().st_size != size:
        with partial.open("wb") as file:
            for first in range(0, samples, 4096):
                count = min(4096, samples - first)
                file.write(rng.integers(0, 256, (count, *SHAPE), np.uint8).tobytes())
        partial.rename(binary)
        chunked.unlink(missing_ok=True)
    images = np.memmap(binary, np.uint8, "r", shape=(samples, *SHAPE))
    if chunked.exists():
        with h5py.File(chunked) as file:
            if file["x"].shape == images.shape:
                return
    with h5py.File(partial, "w") as file:
        data = file.create_dataset("x", images.shape, np.uint8, chunks=(CHUNK, *SHAPE))
        for first in range(0, samples, 4096):
            data[first : first + 4096] = images[first : first + 4096]
    partial.rename(chunked)


def forget(path: Path) -> None:
    """Has the system drop what it holds of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # pages that are not on the disk yet stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def anonymous() -> float:
    """Megabytes of anonymous memory that this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status does not say RssAnon")


class Watch(threading.Thread):
    """Notes the most anonymous memory until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self._stop_it = 0.0, threading.Event()

    def run(self) -> None:
        """Looks fifty times a second."""
        while not self._stop_it.wait(0.02):
            self.most = max(self.most, anonymous())

    def stop(self) -> float:
        """The most so far."""
        self._stop_it.set()
        self.join()
        return self.most


def network() -> gn.Sequential:
    """A small network for images, some 20 million multiply-adds."""
    model = gn.Sequential(
        [
            gn.Input(SHAPE),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.Conv2D(64, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ],
        seed=0,
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def train(folder: Path, samples: int, source: str, warm: bool) -> dict[str, float]:
    """One epoch from "memory", "memmap" or "hdf5"; from files that the system may hold already if `warm`."""
    labels = (np.arange(samples) % 10).astype(np.uint8)
    model = network()
    images = np.memmap(folder / "images.bin", np.uint8, "r", shape=(samples, *SHAPE))
    model.train_on_batch(images[:BATCH], labels[:BATCH])  # plans are not what is measured
    if not warm:
        forget(folder / ("images.h5" if source == "hdf5" else "images.bin"))
    watch = Watch()
    watch.start()
    arguments: dict[str, Any] = {"epochs": 1, "verbose": 0, "seed": 0}
    count = samples
    if source == "memory":
        count = samples // 8
        x, y = np.array(images[:count]), labels[:count]
        begin, processor = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=BATCH, **arguments)
    elif source == "memmap":
        begin, processor = time.perf_counter(), time.process_time()
        model.fit(gn.data.lazy(images, labels, BATCH), **arguments)
    else:
        import h5py

        with h5py.File(folder / "images.h5") as file:
            begin, processor = time.perf_counter(), time.process_time()
            model.fit(gn.data.lazy(file["x"], labels, BATCH), **arguments)
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    return {
        "samples": count,
        "seconds": seconds,
        "samples/s": count / seconds,
        "samples/s of processor": count / processor,
        "anonymous MB": watch.stop(),
    }


def main() -> None:
    """Prints a line for each source."""
    parser = argparse.ArgumentParser(description="Training on a data set that does not fit into memory.")
    parser.add_argument(
        "--folder", type=Path, required=True, metavar="DIR", help="where the files are written"
    )
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--warm", action="store_true", help="read what the system holds of the files")
    parser.add_argument("--write-only", action="store_true", help="write the files and stop")
    parser.add_argument("--source", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    samples = int(arguments.gigabytes * 1e9 / np.prod(SHAPE)) // CHUNK * CHUNK
    if arguments.source:
        print(json.dumps(train(arguments.folder, samples, arguments.source, arguments.warm)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write(arguments.folder, samples)
    if arguments.write_only:
        return
    results = {}
    for source in ("memory", "memmap", "hdf5"):
        command = [sys.executable, __file__, *sys.argv[1:], "--source", source]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results[source] = json.loads(done.stdout)
        print(
            source, ", ".join(f"{name} {value:,.0f}" for name, value in results[source].items()), flush=True
        )
    for key in ("samples/s", "samples/s of processor"):
        shares = {source: own[key] / results["memory"][key] for source, own in results.items()}
        print(f"{key} of those from memory:", {name: round(share, 2) for name, share in shares.items()})


if __name__ == "__main__":
    main()
