"""`Ranks`: processes that share batches, what they tell each other, and how all of them end when one does.

Whatever way the bytes go, every exchange begins with a header of each rank: which exchange it believes this
to be, and whether it is well. A rank that fails joins the exchange that the others wait in, with its message;
so none is left waiting, and all raise the same.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, pairwise
from types import FrameType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gridnn._host_memory import HostMemory
from gridnn.errors import DistributedError

__all__ = ["Ranks", "launched", "warn_if_alone"]

# Sequence, kind, status, length of a message, check of the arguments.
_HEADER = struct.Struct("<IHHII")

# Kinds of exchanges.
_GATHER, _EXCHANGE, _VALUES, _CALL, _STOP, _END, _FAIL, _LEAVE = range(8)
_KINDS = (
    "tensors",
    "sums",
    "a handshake",
    "the beginning of a call",
    "the end of a step",
    "the end of the call",
    "a failure",
    "the end of the program",
)

# Statuses.
_OK, _STOPS, _INTERRUPTED, _FAILED = range(4)

# The numbers of exchanges begin anew here: a header has 4 bytes for one.
_SEQUENCES = 1 << 32

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched() -> int:
    """How many processes a launcher (mpiexec, srun) has started with this one; 1 without any."""
    counts = (os.environ.get(name, "") for name in _SIZES)
    return max([int(count) for count in counts if count.isdigit()], default=1)


def warn_if_alone(
    cure: str = "pass `distribute=gn.distribute.MPI()` to share the batches", stacklevel: int = 4
) -> bool:
    """Warns where a launcher has started several processes that do not know of each other; tells if so."""
    count = launched()
    if count > 1:
        warnings.warn(
            f"{count} processes were launched together, and each trains the same model on all data: {cure}.",
            stacklevel=stacklevel,
        )
    return count > 1


class Ranks(ABC):
    """Processes that share the batches of one training run.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int
    size: int

    def __init__(self) -> None:
        self.host = socket.gethostname()
        self._depth = 0
        self._thread = 0
        """The one that makes a call."""
        self._broken = False
        """Whether an exchange was left in its middle, so that nobody can be told anything any more."""
        self._memory: HostMemory | None = None
        """What the ranks share, where all are on one host."""
        self._own = self._incoming = self._outgoing = np.empty(0, np.uint8)
        self._begin()
        self._gone = False
        """Whether a rank has ended its program, so that nobody must wait for it again."""
        self._steps = self._exchanges = self._sent = self._received = 0
        self._seconds = 0.0

    def _begin(self) -> None:
        self._sequence = self._noted = 0
        self._interrupted = False
        self._amid = False
        """Whether an exchange is going on. Not all ranks are at the same place then."""
        self._heard: list[Callable[[], object]] = []
        """Handlers of signals that have come meanwhile."""
        self._ended: BaseException | None = None
        """What all ranks raise."""
        if self._memory is not None:
            self._memory.restart()

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    @property
    def sent(self) -> int:
        """Bytes that this rank has sent, headers not counted."""
        return self._sent

    @property
    def exchanges(self) -> int:
        """How often this rank has waited for the others in order to send and receive."""
        return self._exchanges

    # The way of the bytes

    @abstractmethod
    def _gather(self, own: NDArray[np.uint8], buffer: NDArray[np.uint8], ends: Sequence[int]) -> None:
        """Fills `buffer` with what all ranks have as `own`; that of rank r ends at ``ends[r]``."""

    @abstractmethod
    def _exchange(
        self,
        send: NDArray[np.uint8],
        send_ends: Sequence[int],
        receive: NDArray[np.uint8],
        receive_ends: Sequence[int],
    ) -> None:
        """Sends every rank a part of `send`, and fills `receive` with the parts that come from each."""

    def _help(self) -> object:
        """Called while others are late: lets messages go on of which this rank has had its part."""
        return None  # Where messages go on by themselves.

    def _abort(self) -> None:
        """Ends all ranks at once, where an exchange was left in its middle and they cannot be told why."""
        self._gone = True

    # What the engine calls

    def outbox(self, length: int) -> NDArray[np.uint8]:
        """Memory for `length` bytes: what `gather_parts` or `exchange_parts` sends, which must come next."""
        memory = self._memory
        if memory is not None and length <= memory.room:
            self._outgoing = memory.outbox()
        else:
            if len(self._own) < length:
                self._own = np.empty(length, np.uint8)
            self._outgoing = self._own
        return self._outgoing

    def gather_parts(self, ends: Sequence[int]) -> list[NDArray[np.uint8]]:
        """What all ranks have in their outboxes: one after the other, that of rank r ends at ``ends[r]``."""
        lens = _lens(ends)
        own = lens[self.rank]
        self._meet(_GATHER, check=ends)
        start = time.perf_counter()
        memory = self._memory
        if memory is not None and max(lens) <= memory.room:
            parts = memory.gathered(lens)
            memory.turn()
        else:
            inbox = self._inbox(ends[-1])
            self._gather(self._outgoing[:own], inbox, ends)
            parts = _parts(inbox, ends)
        self._count(start, own * (self.size - 1), ends[-1] - own)
        self._over()
        return parts

    def exchange_parts(
        self, send_ends: Sequence[int], receive_ends: Sequence[int]
    ) -> list[NDArray[np.uint8]]:
        """The parts that the ranks have for this one in their outboxes.

        Args:
            send_ends: where the part for each rank ends in the own outbox; that for itself is empty.
            receive_ends: the same of what comes, one after the other.
        """
        memory = self._memory
        if memory is not None:
            memory.tell(np.asarray(send_ends))
        headers = self._meet(_EXCHANGE, length=send_ends[-1])
        start = time.perf_counter()
        if memory is not None and max(header[3] for header in headers) <= memory.room:
            parts = memory.received()
            memory.turn()
        else:
            inbox = self._inbox(receive_ends[-1])
            self._exchange(self._outgoing[: send_ends[-1]], send_ends, inbox, receive_ends)
            parts = _parts(inbox, receive_ends)
        self._count(start, send_ends[-1], receive_ends[-1])
        self._over()
        return parts

    def _inbox(self, length: int) -> NDArray[np.uint8]:
        if len(self._incoming) < length:
            self._incoming = np.empty(length, np.uint8)
        return self._incoming[:length]

    # What sources of data call

    def gather(self, buffer: NDArray[np.uint8], ends: Sequence[int]) -> None:
        """Fills `buffer`, which has the own part, with the others'; that of rank r ends at ``ends[r]``."""
        lens = _lens(ends)
        own = lens[self.rank]
        end = ends[self.rank]
        self.outbox(own)[:own] = buffer[end - own : end]
        for rank, (part, into) in enumerate(zip(self.gather_parts(ends), _parts(buffer, ends), strict=True)):
            if rank != self.rank:
                into[...] = part

    # What `fit` calls

    @contextmanager
    def session(self, call: str = "a session") -> Iterator[None]:
        """While it lasts, the ranks make the same calls; an exception in any of them is one in all.

        Ctrl-C is heard at the next exchange, so that it finds all ranks at the same place; a second one at
        once. Whatever other signals raise waits for the end of the exchange that is going on.

        Args:
            call: what it is for, which has to be the same for all ranks.
        """
        if self._depth:
            if threading.get_ident() != self._thread:
                raise DistributedError(
                    f"`{call}` with ranks that another thread is using: ranks make one call after the other"
                )
            self._compare_calls(call)
            yield
            return
        if self._broken:
            raise DistributedError(
                f"rank {self.rank} (host {self.host}) has left an exchange in its middle, and cannot reach "
                "the others any more: end the program"
            )
        self._begin()
        self._depth, self._thread = 1, threading.get_ident()
        try:
            with self._hearing_signals():
                try:
                    self._compare_calls(call)
                    yield
                    self._meet(_END)
                except BaseException as error:
                    self.fail(error)
        finally:
            self._depth = 0
            self._over()  # out of the call: what a signal raises now concerns this rank alone
        if self._interrupted:  # after the last exchange, in which the others could have heard of it
            raise KeyboardInterrupt

    def _compare_calls(self, call: str) -> None:
        calls = self._told(_CALL, call)
        if any(each != call for each in calls):
            names = "; ".join(f"rank {rank} calls {name}" for rank, name in enumerate(calls))
            self._end(DistributedError(f"the ranks do not make the same calls: {names}"))

    @contextmanager
    def _hearing_signals(self) -> Iterator[None]:
        """While it lasts, no signal ends an exchange in its middle. What ignores or ends stays as it is.

        A rank alone hears all at once: nobody waits for it.
        """
        if self.size == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in signal.valid_signals()}
        own: dict[signal.Signals, Any] = {
            number: self._interrupt if handler is signal.default_int_handler else self._hearing(handler)
            for number, handler in before.items()
            if callable(handler)
        }
        for number, handler in own.items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in own.items():
                if signal.getsignal(number) is handler:  # else somebody has set another one
                    signal.signal(number, before[number])

    def _hearing(self, handler: Callable[[int, FrameType | None], object]) -> Any:
        """A handler that waits for the end of an exchange, and then does what another one does."""

        def hear(number: int, frame: FrameType | None) -> None:
            if self._amid:
                self._heard.append(partial(handler, number, frame))
            else:
                handler(number, frame)

        return hear

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted and not self._amid:
            signal.default_int_handler(number, frame)
        self._interrupted = True

    def _over(self) -> None:
        """Ends an exchange."""
        self._amid = False
        while self._heard:
            self._heard.pop(0)()

    def fail(self, error: BaseException) -> NoReturn:
        """Tells the others of an error of this rank, unless they know it.

        Raises:
            DistributedError: names the first rank that failed, and what its error was.
            KeyboardInterrupt: a rank was interrupted.
        """
        self._broken |= self._amid and self.size > 1
        if error is self._ended or self._broken:
            raise error
        status = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED
        try:
            message = f"{type(error).__name__}: {error}"
        except Exception:  # of a class that has an error itself
            message = type(error).__name__
        text = self._reason(message)
        self._conclude(self._headers(_FAIL, status, len(text)), text, error)

    def all_raise(self, error: BaseException) -> bool:
        """Whether all ranks end with this error: it is enough that rank 0 says so."""
        return error is self._ended

    def leave(self) -> None:
        """Tells the others that the program of this rank ends; those that are not through raise.

        A rank that calls `evaluate` which the others do not call, say, would wait for them for ever.
        """
        if self._broken:
            self._abort()
        if self._broken or self._gone:
            return
        text = self._reason("its program ended while other ranks went on; all ranks make the same calls")
        headers = self._headers(_LEAVE, _FAILED, len(text))
        if any(header[1] != _LEAVE for header in headers):
            try:
                self._conclude(headers, text, None)
            except (DistributedError, KeyboardInterrupt) as error:
                if self.is_main:  # who prints for all
                    print(f"{type(error).__name__}: {error}", file=sys.stderr)

    def note(self, *numbers: int) -> None:
        """Has the next exchange compare these numbers, and those noted before, with the other ranks'.

        Steps on few samples exchange nothing: ranks with other batches would go on side by side.
        """
        self._noted = zlib.crc32(np.array(numbers, np.int64).tobytes(), self._noted)

    def stops(self, stop: object) -> bool:
        """Whether rank 0 stops training."""
        headers = self._meet(_STOP, stop=bool(stop))
        self._over()
        return headers[0][2] == _STOPS

    def count_step(self) -> None:
        """Notes a training step, for `report`."""
        self._steps += 1

    def values(self, value: Any) -> list[Any]:
        """What every rank gives, by rank: anything that JSON holds."""
        return self._told(_VALUES, value)

    def _told(self, kind: int, value: Any) -> list[Any]:
        text = json.dumps(value).encode()
        headers = self._meet(kind, length=len(text))
        parts = self._texts([header[3] for header in headers], text)
        self._over()
        return [json.loads(part) for part in parts]

    def report(self) -> None:
        """Prints on rank 0 what was exchanged since this object was made: bytes and time a step.

        Example:
            >>> dist.report()  # doctest: +SKIP
            4 ranks, 120 steps: 61 exchanges a step; rank 0 sent 1.2 MB and received 1.2 MB a step in 3.1 ms
        """
        if not self.is_main:
            return
        steps = max(self._steps, 1)
        sent, received = self._sent / steps / 1e6, self._received / steps / 1e6
        milliseconds = 1e3 * self._seconds / steps
        print(
            f"{self.size} rank{'s' * (self.size > 1)}, {self._steps} steps: {self._exchanges / steps:.0f} "
            f"exchanges a step; rank 0 sent {sent:.3g} MB and received {received:.3g} MB a step in "
            f"{milliseconds:.3g} ms"
        )

    # Headers

    def _count(self, start: float, sent: int, received: int) -> None:
        self._seconds += time.perf_counter() - start
        self._exchanges += 1
        self._sent += sent
        self._received += received

    def _headers(
        self, kind: int, status: int, length: int, check: Sequence[int] = ()
    ) -> list[tuple[int, int, int, int, int]]:
        self._amid = True
        start = time.perf_counter()
        digest = zlib.crc32(np.asarray(check, np.int64).tobytes(), self._noted)
        own = _HEADER.pack(self._sequence, kind, status, length, digest)
        if self._memory is not None and self._memory.has_headers:
            found = self._memory.meet(own, self._help)
        else:
            buffer = np.empty(self.size * _HEADER.size, np.uint8)
            ends = range(_HEADER.size, len(buffer) + 1, _HEADER.size)
            self._gather(np.frombuffer(own, np.uint8), buffer, ends)
            found = buffer.tobytes()
        self._seconds += time.perf_counter() - start
        if found == own * self.size:
            headers = [_HEADER.unpack(own)] * self.size
        else:
            headers = list(_HEADER.iter_unpack(found))
        leaving = sum(header[1] == _LEAVE for header in headers)
        self._gone = 0 < leaving < self.size
        return headers

    def _meet(
        self, kind: int, *, check: Sequence[int] = (), length: int = 0, stop: bool = False
    ) -> list[tuple[int, int, int, int, int]]:
        """Waits for all ranks; returns their headers if all are well and at the same place."""
        status = _INTERRUPTED if self._interrupted else _STOPS if stop else _OK
        headers = self._headers(kind, status, length, check)
        if any(header[2] > _STOPS for header in headers):
            self._conclude(headers, b"", None)
        places = [(header[0], header[1], header[4]) for header in headers]
        if len(set(places)) > 1:
            self._end(DistributedError(_parted(places)))
        self._sequence = (self._sequence + 1) % _SEQUENCES
        return headers

    def _reason(self, message: str) -> bytes:
        """Why this rank ends, as the others read it. Names of files may hold what no text may."""
        return f"{self.host}\n{message}".encode(errors="backslashreplace")

    def _texts(self, lens: Sequence[int], own: bytes) -> list[bytes]:
        """What each rank says, in bytes of these numbers."""
        ends = list(accumulate(lens))
        buffer = np.empty(ends[-1], np.uint8)
        self._gather(np.frombuffer(own, np.uint8), buffer, ends)
        return [part.tobytes() for part in _parts(buffer, ends)]

    def _conclude(
        self, headers: Sequence[Sequence[int]], own: bytes, error: BaseException | None
    ) -> NoReturn:
        """All ranks know that some have failed: they say why, and raise the same."""
        failed = [rank for rank, header in enumerate(headers) if header[2] == _FAILED]
        # The others had come to send something else, perhaps more than there is memory for.
        lens = [header[3] if rank in failed else 0 for rank, header in enumerate(headers)]
        texts = self._texts(lens, own if self.rank in failed else b"")
        if not failed:
            self._end(KeyboardInterrupt())
        reasons = [texts[rank].decode().partition("\n") for rank in failed]
        if error is not None and len(failed) == self.size and len({reason[2] for reason in reasons}) == 1:
            self._end(error)
        host, _, message = reasons[0]
        self._end(DistributedError(f"rank {failed[0]} (host {host}): {message}"), error)

    def _end(self, error: BaseException, cause: BaseException | None = None) -> NoReturn:
        self._ended = error
        self._amid = False
        if cause is None or cause is error:
            raise error
        raise error from cause


def _lens(ends: Sequence[int]) -> list[int]:
    return [end - start for start, end in pairwise([0, *ends])]


def _parts(buffer: NDArray[np.uint8], ends: Sequence[int]) -> list[NDArray[np.uint8]]:
    return [buffer[start:end] for start, end in pairwise([0, *ends])]


def _parted(places: Sequence[tuple[int, int, int]]) -> str:
    """How ranks are at different places: numbers and kinds of exchanges, and what they compare there."""
    if len({place[:2] for place in places}) > 1:
        names = [f"rank {rank} at number {place[0]}, {_KINDS[place[1]]}" for rank, place in enumerate(places)]
        where = f"the ranks do not take part in the same exchange: {'; '.join(names)}"
    else:
        unlike = [rank for rank, place in enumerate(places) if place[2] != places[0][2]]
        where = (
            f"rank{'s' * (len(unlike) > 1)} {', '.join(map(str, unlike))} had other batches than rank 0 (in "
            f"number, samples or bytes) at number {places[0][0]}, {_KINDS[places[0][1]]}"
        )
    return f"{where}. All must make the same calls, on as many batches of the same sizes"
