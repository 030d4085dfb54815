"""Calls of ranks: what has to be the same in all of them, and what need not."""

import threading

import numpy as np
import pytest
from thread_ranks import Hub, ThreadRanks, run

import gridnn as gn
from gridnn import _ranks, layers
from gridnn.errors import DistributedError

pytestmark = pytest.mark.one_tier

X = np.random.default_rng(5).normal(size=(40, 8, 8, 2)).astype("float32")
Y = np.arange(40) % 3


def small(shape=(8, 8, 2)):
    model = gn.Sequential(
        [gn.Input(shape), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)], seed=1
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def fit(ranks, model=None, x=X, y=Y, **options):
    model = model or small()
    options = {"batch_size": 16, "seed": 4, "verbose": 0, "distribute": ranks, **options}
    model.fit(x, y, **options)
    return [weights.tobytes() for weights in model.get_weights()]


def evaluate(ranks):
    return small().evaluate(X, Y, verbose=0, distribute=ranks)


def predict(ranks):
    return small().predict(X, verbose=0, distribute=ranks)


def fit_that_raises(error):
    """`fit`, in which a callback of rank 1 raises at the end of a step."""

    class Raises(gn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.rank == 1:
                raise error

    def trained(ranks):
        callback = Raises()
        callback.rank = ranks.rank
        return fit(ranks, callbacks=callback)

    return trained


def one_sentence(results):
    assert {type(result) for result in results} == {DistributedError}, results
    (message,) = {str(result) for result in results}
    return message


@pytest.mark.parametrize("calls", [(fit, evaluate), (evaluate, fit), (predict, fit), (evaluate, predict)])
def test_different_calls_are_named(calls):
    message = one_sentence(run(3, lambda ranks: calls[ranks.rank == 1](ranks)))
    names = [call.__name__ for call in calls]
    assert message == (
        f"the ranks do not make the same calls: rank 0 calls {names[0]}; rank 1 calls {names[1]}; "
        f"rank 2 calls {names[0]}"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("class_weight", [{0: 1.0, 1: 2.0, 2: 1.0}, None]), ("augment_targets", [False, "auto"])],
)
def test_arguments_that_batches_of_an_iterable_depend_on_are_compared(name, value):
    def trained(ranks):
        batches = gn.data.lazy(X, Y, 16)
        return fit(ranks, x=batches, y=None, batch_size=None, **{name: value[ranks.rank]})

    assert one_sentence(run(2, trained)) == f"ranks differ from rank 0 in {name} (rank 1)"


def test_class_weights_may_be_in_any_order():
    def trained(ranks):
        classes = [0, 1, 2] if ranks.is_main else [2, 1, 0]
        return fit(ranks, class_weight={each: 1.0 + each for each in classes})

    results = run(2, trained)
    assert results[0] == results[1] == fit(None, class_weight={0: 1.0, 1: 2.0, 2: 3.0})


@pytest.mark.parametrize("lazily", [False, True])
def test_a_model_without_input_is_built_from_batches(lazily):
    def trained(ranks):
        stack = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
        model = gn.Sequential(stack, seed=1)
        model.compile("adam", "sparse_categorical_crossentropy")
        batches = ((X[i : i + 16], Y[i : i + 16]) for i in range(0, 40, 16))
        return fit(ranks, model, gn.data.lazy(X, Y, 16) if lazily else batches, None, batch_size=None)

    expected = trained(None)
    assert run(2, trained) == [expected, expected]


def test_one_thread_at_a_time():
    """Two calls of a rank would take each other's exchanges."""
    begun, done = threading.Event(), threading.Event()

    class Waits(gn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            begun.set()
            assert done.wait(30)

    (ranks,) = Hub(1).ranks()
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(ranks, callbacks=Waits())), daemon=True)
    thread.start()
    assert begun.wait(30)
    with pytest.raises(DistributedError, match="`fit` with ranks that another thread is using"):
        fit(ranks)
    done.set()
    thread.join(30)
    assert results == [fit(None)]


def test_a_call_within_a_call():
    """As in a callback that evaluates: it is one of the same thread."""

    class Evaluates(gn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.result = self.model.evaluate(X, Y, verbose=0, distribute=self.ranks)

    def trained(ranks):
        callback = Evaluates()
        callback.ranks = ranks
        return fit(ranks, callbacks=callback), callback.result

    assert run(3, trained) == [trained(None)] * 3


def test_an_error_without_a_text_reaches_all():
    class SpeechlessError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    assert one_sentence(run(3, fit_that_raises(SpeechlessError))).endswith("): SpeechlessError")


def test_numbers_of_exchanges_begin_anew(monkeypatch):
    monkeypatch.setattr(_ranks, "_SEQUENCES", 7)
    assert run(2, fit) == [fit(None)] * 2


def test_a_failure_takes_no_memory_for_what_others_had_come_to_send():
    """It may be the lack of memory."""
    taken = []

    class Counts(ThreadRanks):
        def _gather(self, own, buffer, ends):
            taken.append(ends[-1])
            super()._gather(own, buffer, ends)

    def work(ranks):
        ranks.__class__ = Counts
        with ranks.session("test"):
            taken.clear()
            if ranks.rank == 1:
                raise MemoryError("no room")
            ranks.outbox(1 << 20)
            ranks.exchange_parts([0, 1 << 20, 1 << 20], [0, 0, 0])

    assert one_sentence(run(3, work)).endswith("): MemoryError: no room")
    assert max(taken) < 1000


def test_an_interrupt_that_a_rank_raises_itself_ends_all():
    results = run(3, fit_that_raises(KeyboardInterrupt))
    assert [type(result) for result in results] == [KeyboardInterrupt] * 3
