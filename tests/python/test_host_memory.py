"""Memory of a host that ranks share: who has it, and that nothing of it stays."""

import errno
import os
import platform
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from gridnn import _host_memory
from gridnn._host_memory import HostMemory
from gridnn.distribute import mpi

pytestmark = [
    pytest.mark.one_tier,
    pytest.mark.skipif(not _host_memory._FOLDER.is_dir(), reason="this system has no /dev/shm"),
]


def shared(size, monkeypatch, folder, fails=None):
    """What `size` threads get as ranks; a name that one of them tells is what all read."""
    monkeypatch.setattr(_host_memory, "_FOLDER", folder)
    board, barrier, found = [None] * size, threading.Barrier(size, timeout=30), [None] * size
    opened = os.open

    def work(rank):
        def values(value):
            board[rank] = value
            barrier.wait()
            told = list(board)
            barrier.wait()
            return told

        found[rank] = HostMemory.shared(128, rank, size, values)

    def refusing(path, flags, mode=0o777, **options):
        if fails is not None and threading.current_thread().name == f"rank {fails}":
            raise OSError(errno.ENOENT, "another host")
        return opened(path, flags, mode, **options)

    monkeypatch.setattr(_host_memory.os, "open", refusing)
    threads = [threading.Thread(target=work, args=(rank,), name=f"rank {rank}") for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    return found


def test_what_one_rank_writes_the_others_read(tmp_path, monkeypatch):
    ranks = shared(3, monkeypatch, tmp_path)
    assert [memory.room for memory in ranks] == [128] * 3
    for half in range(2):
        for rank, memory in enumerate(ranks):
            memory.outbox()[:5] = 10 * half + rank
            memory.tell(np.array([1, 3, 5]))
        for rank, memory in enumerate(ranks):
            assert [part.tolist() for part in memory.gathered([2, 0, 1])] == [
                [10 * half] * 2,
                [],
                [10 * half + 2],
            ]
            lens = [1, 2, 2][rank]
            assert [part.tolist() for part in memory.received()] == [
                [10 * half + other] * lens for other in range(3)
            ]
            memory.turn()
    assert list(tmp_path.iterdir()) == [], "the name is gone as soon as all have it"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="headers go in messages here")
def test_headers_meet(tmp_path, monkeypatch):
    ranks = shared(3, monkeypatch, tmp_path)
    found = [[] for _ in ranks]
    idled = []

    def idle():
        idled.append(threading.get_ident())

    def work(rank):
        for number in range(40):
            if number % 3 == rank:
                time.sleep(0.01)
            found[rank].append(ranks[rank].meet(bytes([number, rank]), idle))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert found == [[bytes([number, 0, number, 1, number, 2]) for number in range(40)]] * 3
    assert len(set(idled)) == 3, "all have waited"


def test_there_is_room_for_what_the_engine_sends_in_a_round():
    tuning = (Path(__file__).parents[2] / "src/tuning.rs").read_text(encoding="utf-8")
    (factor, shift) = re.search(r"ROUND_BYTES: usize = (\d+) << (\d+);", tuning).groups()
    assert int(factor) << int(shift) == mpi._ROOM


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_rank_that_cannot_have_it_keeps_all_from_it(rank, tmp_path, monkeypatch):
    assert shared(3, monkeypatch, tmp_path, fails=rank) == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_no_folder_for_it(tmp_path, monkeypatch):
    assert shared(2, monkeypatch, tmp_path / "missing") == [None] * 2


def test_a_full_disk_is_found_at_once_and_not_by_a_signal_later(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_host_memory.os, "posix_fallocate", full)
    assert shared(2, monkeypatch, tmp_path) == [None] * 2
    assert list(tmp_path.iterdir()) == []
