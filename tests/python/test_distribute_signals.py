"""Signals to ranks: none ends an exchange in its middle, where the others would wait for ever."""

import os
import signal
import threading
from functools import partial

import pytest
from test_distribute_calls import fit
from thread_ranks import Hub, ThreadRanks, share_memory

import gridnn as gn
from gridnn.errors import DistributedError

pytestmark = [
    pytest.mark.one_tier,
    pytest.mark.skipif(os.name == "nt", reason="sends itself signals"),
]


class Signalled(ThreadRanks):
    """Gets a signal amid an exchange: after that of headers, when the others wait for the rest."""

    def __init__(self, hub, number, at, times=1):
        super().__init__(hub, 0)
        self.number, self.at, self.times = number, at, times
        self.exchanges_ended = self.exchanges_begun = 0

    def signalled(self, exchange, *arguments):
        self.exchanges_begun += 1
        found = exchange(*arguments)
        if self.at <= self.exchanges_begun < self.at + self.times:
            os.kill(os.getpid(), self.number)
        self.exchanges_ended += 1
        return found

    def _gather(self, *arguments):
        self.signalled(super()._gather, *arguments)


def pair(number=signal.SIGTERM, at=0, times=1, kind=Signalled, room=None):
    """Two ranks: the main thread's, which hears signals, and another thread's; `room` as in `Hub.ranks`."""
    hub = Hub(2)
    ranks = kind(hub, number, at, times), ThreadRanks(hub, 1)
    if room is not None:
        share_memory(ranks, room)
        memory = ranks[0]._memory
        memory.meet = partial(ranks[0].signalled, memory.meet)
    return ranks


def fit_in_pair(ranks, **options):
    """What `fit` returns or raises in both."""
    results = [None, None]

    def rank(number):
        try:
            results[number] = fit(ranks[number], **options)
        except BaseException as error:
            results[number] = error

    other = threading.Thread(target=rank, args=(1,), daemon=True)
    other.start()
    rank(0)
    other.join(30)
    assert not other.is_alive(), "a rank is left hanging"
    return results


class ToldError(Exception):
    pass


@pytest.fixture
def raising():
    """A handler that raises, as one that ends a job of a cluster does."""

    def handle(number, frame):
        raise ToldError

    numbers = [signal.SIGTERM, signal.SIGINT]
    before = [signal.signal(number, handle) for number in numbers]
    yield handle
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def exchanges(room):
    """The numbers of those in the call that is signalled."""
    ranks = pair(room=room)
    fit_in_pair(ranks)
    return range(1, ranks[0].exchanges_begun + 1)


def told_of_rank_0(result, error):
    return isinstance(result, DistributedError) and str(result).endswith(f"): {error.__name__}: ")


@pytest.mark.parametrize("room", [None, 1 << 16])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_signal_raises_waits_for_the_end_of_an_exchange(number, room, raising):
    expected = fit(None)
    numbers = exchanges(room)
    for at in numbers:
        ranks = pair(number, at, room=room)
        own, other = fit_in_pair(ranks)
        if at < numbers[-1]:
            assert told_of_rank_0(own, ToldError)
            assert str(own) == str(other)
        else:  # nobody has to hear of it
            assert isinstance(own, ToldError)
            assert other == expected
        assert ranks[0].exchanges_begun == ranks[0].exchanges_ended
        assert signal.getsignal(number) is raising
        ranks[0].at = 0
        assert fit_in_pair(ranks) == [expected] * 2  # they can be used again


@pytest.mark.parametrize("room", [None, 1 << 16])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_amid_an_exchange(times, room):
    """Often as well, and in the last exchange of a call, after which there is none that would hear of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        numbers = exchanges(room)
        for at in numbers:
            ranks = pair(signal.SIGINT, at, times, room=room)
            own, other = fit_in_pair(ranks)
            assert isinstance(own, KeyboardInterrupt)
            assert isinstance(other, KeyboardInterrupt if at < numbers[-1] else list)
            assert ranks[0].exchanges_begun == ranks[0].exchanges_ended
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_that_are_ignored_stay_so():
    """As those of a program that a shell has started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fit_in_pair(pair(signal.SIGINT, 12)) == [fit(None)] * 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_a_callback_sets_stays():
    number = signal.SIGTERM
    before = signal.getsignal(number)

    class Sets(gn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            if threading.current_thread() is threading.main_thread():
                signal.signal(number, signal.SIG_IGN)

    try:
        fit_in_pair(pair(), callbacks=Sets())
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_rank_alone_hears_signals_at_once():
    """Nobody waits for it, and it may compute long without an exchange."""

    class Interrupted(gn.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("too late")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        (ranks,) = Hub(1).ranks()
        with pytest.raises(KeyboardInterrupt):
            fit(ranks, callbacks=Interrupted())
        assert fit(ranks) == fit(None)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_exchange_that_is_left_in_its_middle_is_the_last():
    class Fails(Signalled):
        def _gather(self, *arguments):
            super()._gather(*arguments)
            if self.exchanges_begun == 5:
                raise MemoryError

        def _abort(self):
            self.hub.barrier.abort()

    own, other = pair(kind=Fails)
    results = []

    def waits():
        with pytest.raises(threading.BrokenBarrierError):
            fit(other)
        results.append(True)

    thread = threading.Thread(target=waits, daemon=True)
    thread.start()
    with pytest.raises(MemoryError):
        fit(own)
    with pytest.raises(DistributedError, match=r"has left an exchange in its middle, .* end the program"):
        fit(own)
    assert own.exchanges_begun == 5
    own.leave()  # the end of the program
    thread.join(30)
    assert results == [True]
