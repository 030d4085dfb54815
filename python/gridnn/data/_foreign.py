"""Files that other libraries read: whatever they raise of a damaged one names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gridnn.errors import FileFormatError

__all__ = ["reading"]

# What the system says of a file names it already.
_OF_THE_SYSTEM = (FileNotFoundError, PermissionError, IsADirectoryError)


@contextmanager
def reading(file: object, what: str) -> Iterator[None]:
    """Makes a FileFormatError of what a library raises that reads a file within.

    Of a damaged file that may be anything: a header that is off by a byte divides by zero, indexes a list
    that is too short, fails a checksum, or asks for more memory than there is.

    Args:
        file: its path.
        what: what it is read as: "an image".
    """
    try:
        yield
    except (FileFormatError, *_OF_THE_SYSTEM):
        raise
    except MemoryError as error:
        raise MemoryError(f"{file}: too little memory to read it as {what}: {error}") from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise FileFormatError(f"{file}: cannot be read as {what}: {reason}") from error
