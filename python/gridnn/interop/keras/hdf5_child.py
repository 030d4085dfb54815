"""Reads one file of Keras in a process of its own, and writes what it holds as safetensors.

libhdf5 is written in C and was not made for files that mean harm: it may crash, loop, or take any amount of
memory. Here it can do so without harm: this program gets as much memory as the file's size gives reason for,
its parent ends it when it takes too long, and checks all that it says. It imports nothing of gridnn, opens
nothing but the file, and executes nothing of it.

Usage: ``python hdf5_child.py PATH``. The result is on standard output, a refusal on standard error, status 3.
"""

from __future__ import annotations

import io
import json
import math
import os
import sys
import zipfile
from typing import Any

import h5py
import numpy as np

REFUSED = 3
"""Exit status when the file is not read; the reason is on standard error."""

_SPARE_MEMORY = 1 << 28
"""Bytes that reading takes beside the contents of the file."""

_MOST_OBJECTS = 200_000
_MOST_LEVELS = 64
_MOST_TEXT = 1 << 26
_MOST_AXES = 32
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_MOST_EXPANSION = 50
"""How many times larger compressed tensors, or members of a zip archive, may be than what is stored."""

_TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}

_TEXTS = ("config.json", "metadata.json")
_WEIGHTS = "model.weights.h5"
_OPTIMIZER = {"optimizer", "optimizer_weights"}
"""Groups of the uppermost level that are not read."""


class RefusedError(Exception):
    """The file is not what it should be."""


def read(contents: bytes | str) -> bytes:
    """What a file holds, given its contents or its path, as the bytes of a safetensors file.

    Its texts are ``config`` and ``metadata`` of a ``.keras`` file, and ``attributes``: JSON, path of a group
    -> name -> a text or a list of texts. Its tensors are called by their paths.

    Raises:
        RefusedError, OSError, ValueError and what else h5py and zipfile raise: the file cannot be read.
    """
    source: Any = io.BytesIO(contents) if isinstance(contents, bytes) else contents
    size = len(contents) if isinstance(contents, bytes) else os.path.getsize(contents)
    texts: dict[str, str] = {}
    with io.BytesIO(contents) if isinstance(contents, bytes) else open(contents, "rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped:
        texts, source = _unzipped(source, size)
        size = len(source.getbuffer())
    with h5py.File(source, "r") as file:
        reader = _Reader(size)
        reader.group(file["/"], "", 0)
    texts["attributes"] = json.dumps(reader.attributes)
    return _safetensors(reader.tensors, texts)


def _unzipped(source: Any, size: int) -> tuple[dict[str, str], io.BytesIO]:
    with zipfile.ZipFile(source) as archive:
        names = [info.filename for info in archive.infolist()]
        for name in (*_TEXTS, _WEIGHTS):
            if names.count(name) != 1:
                found = ", ".join(sorted(set(names))[:10])
                raise RefusedError(f"a .keras file holds {name} once; this archive holds: {found}")
        texts = {}
        for name in _TEXTS:
            texts[name.partition(".")[0]] = _member(
                archive, name, min(_MOST_TEXT, size * _MOST_EXPANSION)
            ).decode("utf-8")
        return texts, io.BytesIO(_member(archive, _WEIGHTS, size * _MOST_EXPANSION))


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise RefusedError(f"{name} is encrypted, or compressed in an unusual way")
    if info.file_size > limit:
        raise RefusedError(f"{name} is said to have {info.file_size} bytes, which the archive cannot hold")
    with archive.open(info) as member:
        contents = member.read(info.file_size + 1)
    if len(contents) != info.file_size:
        raise RefusedError(f"{name} has another size than the archive says")
    return contents


class _Reader:
    """Collects the tensors and attributes of a file, as long as they are no more than it can hold."""

    def __init__(self, size: int) -> None:
        self.tensors: dict[str, Any] = {}
        self.attributes: dict[str, dict[str, Any]] = {}
        self._size = size
        self._seen: set[int] = set()
        self._bytes = 0
        self._text = 0

    def group(self, group: h5py.Group, path: str, level: int) -> None:
        if level > _MOST_LEVELS:
            raise RefusedError(f"groups are nested deeper than {_MOST_LEVELS} levels, or in a circle")
        self._visit(group, path)
        self.attributes[path] = self._attributes(group, path)
        for name in group:
            if not level and name in _OPTIMIZER:
                continue
            below = f"{path}/{name}" if path else name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise RefusedError(f"'{below}' is a link to somewhere else, which is not followed")
            member = group[name]
            if isinstance(member, h5py.Group):
                self.group(member, below, level + 1)
            elif isinstance(member, h5py.Dataset):
                self._visit(member, below)
                self.tensors[below] = self._tensor(member, below)
            else:
                raise RefusedError(f"'{below}' is neither a group nor an array")

    def _visit(self, member: Any, path: str) -> None:
        address = h5py.h5o.get_info(member.id).addr
        if address in self._seen:
            raise RefusedError(f"'{path}' is in the file twice, or in a circle")
        self._seen.add(address)
        if len(self._seen) > _MOST_OBJECTS:
            raise RefusedError(f"the file holds more than {_MOST_OBJECTS} groups and arrays")

    def _attributes(self, group: h5py.Group, path: str) -> dict[str, Any]:
        """The attributes that are texts or lists of texts; others are left out."""
        found: dict[str, Any] = {}
        for name in group.attrs:
            attribute = group.attrs.get_id(name)
            count = math.prod(attribute.shape or ())
            self._text += count * max(attribute.dtype.itemsize, 1)
            if self._text > min(_MOST_TEXT, 8 * self._size + 4096):
                raise RefusedError(f"attribute '{name}' of '{path}' is said to have {count} elements")
            if attribute.dtype.kind not in "OSU" or attribute.shape is None:
                continue
            if attribute.dtype.kind == "O" and h5py.check_string_dtype(attribute.dtype) is None:
                continue  # references, or lists of varying length
            value = group.attrs[name]
            if isinstance(value, np.ndarray):
                found[name] = [_text(element) for element in value.ravel().tolist()]
            else:
                found[name] = _text(value)
        return found

    def _tensor(self, array: h5py.Dataset, path: str) -> Any:
        if array.shape is None or len(array.shape) > _MOST_AXES:
            raise RefusedError(f"'{path}' has no shape, or one of too many axes")
        if array.is_virtual or array.external:
            raise RefusedError(f"'{path}' is stored in another file, which is not opened")
        dtype = array.dtype
        name = "bfloat16" if _is_bfloat16(dtype) else dtype.name
        if name not in _TYPES or dtype.itemsize > 8:
            raise RefusedError(f"'{path}' holds {dtype}, not numbers of a usual type")
        size = math.prod(array.shape) * dtype.itemsize
        plist = array.id.get_create_plist()
        filters = {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
        if not filters <= _FILTERS:
            raise RefusedError(f"'{path}' is compressed in an unusual way")
        stored = array.id.get_storage_size()
        if size > stored * (_MOST_EXPANSION if filters else 1) or stored > self._size:
            raise RefusedError(f"'{path}' is said to have {size} bytes, of which the file holds {stored}")
        self._bytes += size
        if self._bytes > self._size * _MOST_EXPANSION:
            raise RefusedError("the arrays are larger than the file can hold")
        value = np.asarray(array[()])
        if name == "bfloat16":
            return np.ascontiguousarray(value).view(np.dtype("V2")), name
        return np.asarray(value, value.dtype.newbyteorder("<"), order="C"), name


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether it is what NumPy and HDF5, which have no such type, make of it: two bytes without a meaning."""
    return dtype.name == "bfloat16" or (dtype.kind == "V" and dtype.itemsize == 2 and dtype.fields is None)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    raise RefusedError("an attribute holds something else than texts")


def _safetensors(tensors: dict[str, Any], texts: dict[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": texts}
    end = 0
    for path, (array, name) in tensors.items():
        offsets = [end, end + array.nbytes]
        header[path] = {"dtype": _TYPES[name], "shape": list(array.shape), "data_offsets": offsets}
        end += array.nbytes
    text = json.dumps(header).encode("utf-8")
    return b"".join(
        [len(text).to_bytes(8, "little"), text, *(array.tobytes() for array, _ in tensors.values())]
    )


def _limit_memory(size: int) -> None:
    """Lets the process grow by no more than a file of this size gives reason for, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux; the others do not keep to this limit anyway
        return
    limit = used + _SPARE_MEMORY + 8 * size
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main(path: str) -> int:
    """Reads the file; the exit status."""
    output = sys.stdout.buffer
    _limit_memory(os.path.getsize(path))
    try:
        result = read(path)
    except MemoryError:
        print("reading it takes more memory than a file of its size has reason to", file=sys.stderr)
        return REFUSED
    except Exception as error:
        # Whatever h5py and zipfile raise about a damaged file.
        print(str(error) or type(error).__name__, file=sys.stderr)
        return REFUSED
    output.write(result)
    output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
