"""Ranks that are threads, for tests without MPI: what one has for others lies on a board between meetings."""

import threading

import numpy as np

from gridnn._host_memory import HostMemory
from gridnn._ranks import Ranks

PATIENCE = 60  # seconds until a rank that does not come is an error


class Hub:
    """Where the ranks meet."""

    def __init__(self, size):
        self.boards = [None] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE)

    def ranks(self, room=None, headers=None):
        """The ranks; with `room` they share memory with halves of that many bytes, and meet there or not."""
        ranks = [ThreadRanks(self, rank) for rank in range(len(self.boards))]
        if room is not None:
            share_memory(ranks, room, headers)
        return ranks


def share_memory(ranks, room, headers=None):
    """Gives ranks memory that they share; see `Hub.ranks`."""
    memory = np.zeros(HostMemory.shape(len(ranks), room), np.uint8)
    for each in ranks:
        each._memory = HostMemory(memory, each.rank)
        each._memory.has_headers &= headers is not False


def parts(buffer, ends):
    return np.split(buffer, ends[:-1])


class ThreadRanks(Ranks):
    def __init__(self, hub, rank):
        super().__init__()
        self.hub, self.rank, self.size = hub, rank, len(hub.boards)

    def _gather(self, own, buffer, ends):
        assert ends[-1] == buffer.size
        assert own.shape == parts(buffer, ends)[self.rank].shape
        self.hub.boards[self.rank] = own.copy()
        self.hub.barrier.wait()
        for part, board in zip(parts(buffer, ends), self.hub.boards, strict=True):
            part[...] = board
        self.hub.barrier.wait()

    def _exchange(self, send, send_ends, receive, receive_ends):
        self.hub.boards[self.rank] = [part.copy() for part in parts(send, send_ends)]
        self.hub.barrier.wait()
        for own, board in zip(parts(receive, receive_ends), self.hub.boards, strict=True):
            own[...] = board[self.rank]
        self.hub.barrier.wait()


def run(size, work, room=None, headers=None):
    """What ``work(ranks)`` returns or raises in each of `size` threads; others as in `Hub.ranks`."""
    results = [None] * size

    def rank(ranks):
        try:
            results[ranks.rank] = work(ranks)
        except BaseException as error:
            results[ranks.rank] = error

    threads = [
        threading.Thread(target=rank, args=(ranks,), daemon=True) for ranks in Hub(size).ranks(room, headers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE + 10)
        assert not thread.is_alive(), "a rank is left hanging"
    return results
