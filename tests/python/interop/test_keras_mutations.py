"""Files of Keras with damages at random: each is read, or refused with an error; nothing else happens.

HDF5 may crash or loop over such files, which is why a child process reads them. Here one child reads many.
"""

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gridnn.interop.keras import loading, reading
from gridnn.model.file_format import blaming

pytest.importorskip("h5py")
pytestmark = pytest.mark.one_tier

ARCHIVE = Path(__file__).with_name("keras.zip")
FILES, DESCRIPTIONS = (14_000, 6000) if os.environ.get("GRIDNN_INTERCHANGE") else (1000, 1000)

# Reads files from its input, each with its length before it, and writes what they hold; nothing of bad ones.
SERVER = """
import os, runpy, sys
child = runpy.run_path(sys.argv[1], run_name="child")
read, limit_memory = child["read"], child["_limit_memory"]
limit_memory(1 << 22)
output = os.fdopen(os.dup(1), "wb")
while length := sys.stdin.buffer.read(4):
    contents = sys.stdin.buffer.read(int.from_bytes(length, "little"))
    try:
        result = read(contents)
    except Exception as error:
        result = b""
    output.write(len(result).to_bytes(4, "little") + result)
    output.flush()
"""


class Reader:
    """A child process, and another one when it has died."""

    def __init__(self):
        self.process = None
        self.deaths = 0

    def __call__(self, contents):
        if self.process is None:
            child = Path(reading.__file__).with_name("hdf5_child.py")
            command = [sys.executable, "-c", SERVER, child]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        process = self.process
        timer = threading.Timer(1.0, process.kill)  # a few of HDF5's loops do not end
        timer.start()
        try:
            process.stdin.write(len(contents).to_bytes(4, "little") + contents)
            process.stdin.flush()
            length = process.stdout.read(4)
            result = process.stdout.read(int.from_bytes(length, "little")) if len(length) == 4 else None
        except BrokenPipeError:
            result = None
        finally:
            timer.cancel()
        if result is None:
            self.close()
            self.deaths += 1
        return result or b""

    def close(self):
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError):  # of what it has not read any more
                process.stdin.close()
            process.stdout.close()
            process.wait()


@pytest.fixture
def reader():
    made = Reader()
    yield made
    made.close()


def mutated(contents, rng, parts=(b"\0", b"\xff", b"\x01\0\0\0\0\0\0\0")):
    changed = bytearray(contents)
    used = [at for at in range(0, len(changed), 8) if any(changed[at : at + 8])]  # most of HDF5 is empty
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = min(rng.choice(used) + rng.randrange(8), len(changed) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            part = rng.choice(parts)
            changed[at : at + len(part)] = part
        else:
            start = rng.choice(used)
            changed[at : at + 8] = changed[start : start + 8]
    if rng.random() < 0.02:
        del changed[rng.randrange(len(changed)) :]
    return bytes(changed)


def cases(rng):
    """Damaged files without end: of all kinds, within archives too."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != "expected.npz"}
    names = sorted(files)
    words = (b"9", b"0", b"-1", b"null", b"[", b"}", b'"', b"1e9", b"true", b"{}", b'"relu"')
    while True:
        name = rng.choice(names)
        if not name.endswith(".keras"):
            yield name, mutated(files[name], rng)
            continue
        with zipfile.ZipFile(io.BytesIO(files[name])) as archive:
            parts = {part: archive.read(part) for part in archive.namelist()}
        part = rng.choice(("config.json", "config.json", "model.weights.h5", "metadata.json"))
        parts[part] = mutated(parts[part], rng, words if part.endswith("json") else (b"\0", b"\xff"))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for part, contents in parts.items():
                archive.writestr(part, contents)
        yield name, buffer.getvalue() if rng.random() < 0.9 else mutated(buffer.getvalue(), rng)


def changed(value, rng):
    """A description with one of its values replaced."""
    others = (None, -1, 0, 2**70, 1.5, "x", True, [], {}, [1, 2, 3], [[1]], {"class_name": "Dense"})
    if isinstance(value, dict) and value and rng.random() < 0.97:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.97:
        at = rng.randrange(len(value))
        return [*value[:at], changed(value[at], rng), *value[at + 1 :]]
    return rng.choice(others)


def tried(contents, model):
    """Whether a model is made of a file, and its weights fit another one."""

    def succeeds(load):
        try:
            with blaming("file"):
                load()
        except reading.FileFormatError:
            return False
        return True

    made = contents.config is not None and succeeds(lambda: loading.model_of(contents))
    network = model.network
    fits = succeeds(lambda: loading.set_weights(model, network, contents, by_name=False, skip_mismatch=False))
    return made or fits


@pytest.fixture(scope="module")
def originals():
    """Of each model what its file holds, and the model."""
    from gridnn.interop.keras import hdf5_child

    found = {}
    with zipfile.ZipFile(ARCHIVE) as archive:
        for name in archive.namelist():
            if name.endswith(".keras"):
                contents = reading.decoded(hdf5_child.read(archive.read(name)))
                found[name.partition(".")[0]] = contents, loading.model_of(contents)
    return found


@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("ignore:.*holds NaN or infinite:RuntimeWarning")
def test_damaged_files_are_read_or_refused(reader, originals):
    rng = random.Random(0)
    read = made = 0
    for _, (name, contents) in zip(range(FILES), cases(rng), strict=False):
        result = reader(contents)
        if not result:
            continue
        read += 1
        try:
            decoded = reading.decoded(result)
        except reading.FileFormatError:
            continue
        made += tried(decoded, originals[name.partition(".")[0]][1])
    assert FILES / 20 < made <= read < FILES
    assert reader.deaths < FILES / 10, reader.deaths  # HDF5 crashes, or is slow
    print(f"{FILES} files: {read} read, {made} fit, {reader.deaths} ended the process")


@pytest.mark.timeout(3000)
def test_damaged_descriptions_are_read_or_refused(originals):
    rng = random.Random(0)
    names = sorted(originals)
    made = 0
    for _ in range(DESCRIPTIONS):
        contents, model = originals[rng.choice(names)]
        config = json.loads(json.dumps(contents.config))
        for _ in range(rng.choice((1, 1, 2))):
            config = changed(config, rng)
        tensors = dict(contents.tensors)
        if rng.random() < 0.2 and tensors:
            path = rng.choice(sorted(tensors))
            tensors[path] = rng.choice([np.ones(3), np.ones(()), np.array(["a"]), tensors[path][..., None]])
        made += tried(
            reading.Contents(tensors, contents.attributes, config, contents.version, contents.groups), model
        )
    assert 0 < made < DESCRIPTIONS
