"""What ``mpiexec`` starts in the tests: trains small models with all ranks, prints digests of what is left.

    mpiexec -n 3 python mpi_program.py CASE [CASE ..] [--trouble KIND --rank RANK]

Rank RANK does something that the others do not. Every rank says when trouble began, and how it ends.
"""

import argparse
import hashlib
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--alone", action="store_true", help="a single process, without MPI")
    parser.add_argument("--trouble", default="")
    parser.add_argument("--rank", type=int, default=0, help="of the trouble")
    parser.add_argument("--step", type=int, default=1, help="of the trouble")
    parser.add_argument("--backup", default="")
    parser.add_argument("--lazy", action="store_true", help="from sources that note what is read")
    parser.add_argument("--messages", action="store_true", help="exchange nothing through memory")
    parser.add_argument("--report", action="store_true", help="what was sent, at the end")
    return parser.parse_args()


own = arguments()
launched_rank = os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
if own.trouble == "instructions" and launched_rank == str(own.rank):
    os.environ["GRIDNN_SIMD"] = "portable"  # read when the library is imported

import numpy as np  # noqa: E402
from mpi_models import CASES  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from noting import Noting  # noqa: E402

import gridnn as gn  # noqa: E402
from gridnn import _engine, _host_memory  # noqa: E402


def say(*words):
    """In one write, so that lines of several ranks do not mix."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Trouble(gn.callbacks.Callback):
    """Makes one rank fail in some way, at the end of a step."""

    def __init__(self, kind, step, dist):
        super().__init__()
        self.kind, self.step, self.steps, self.dist = kind, step, 0, dist

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps != self.step + 1 or not self.kind:
            return
        say("TROUBLE", time.time())
        if self.kind == "raise":
            raise ValueError("the disk is full")
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.kind == "exit":
            os._exit(3)
        if self.kind == "sleep":
            time.sleep(60)
        if self.kind in ("terminate", "left"):  # amid an exchange, by a handler that raises
            if self.kind == "left":  # which `fit` does not know of
                signal.signal(signal.SIGTERM, exits)
            memory = self.dist._memory
            in_memory = memory is not None and memory.has_headers
            way, name = (memory, "meet") if in_memory else (self.dist, "_gather")
            before = getattr(way, name)

            def terminated(*arguments):
                found = before(*arguments)
                setattr(way, name, before)
                os.kill(os.getpid(), signal.SIGTERM)
                return found

            setattr(way, name, terminated)
        if self.kind == "full":  # no file grows any longer
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))


def exits(number, frame):
    sys.exit(3)


def digest(model, history):
    whole = hashlib.sha256()
    for weights in model.get_weights():
        whole.update(weights.tobytes())
    for _, slot in sorted(model.network.optimizer_state().items()):
        whole.update(slot.tobytes())
    whole.update(json.dumps(history.history).encode())
    return whole.hexdigest()


def mapped(x, folder):
    """The same as a memory map, of which a rank reads its own rows."""
    path = Path(folder) / "x.npy"
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def train_lazily(case, dist):
    """`fit` in both orders, with validation, `evaluate` and `predict`; returns digests, and rows read."""
    gn.set_random_seed(1)
    model, x, y, options = CASES[case]()
    size = options.pop("batch_size")
    options.pop("validation_split", None)
    results, counts = [], []

    def source(targets=y):
        noting = Noting(x), None if targets is None else Noting(targets)
        counts.append(noting)
        return gn.data.lazy(*noting, size, buffer=size + 5)

    for shuffle in (True, False):
        data, validation = source(), source()
        history = model.fit(
            data, validation_data=validation, verbose=0, distribute=dist, shuffle=shuffle, **options
        )
        results.append(digest(model, history))
    results.append(repr(model.evaluate(source(), verbose=0, distribute=dist)))
    predicted = model.predict(source(None), verbose=0, distribute=dist)
    results.append(hashlib.sha256(predicted.tobytes()).hexdigest())
    return results, [[each[i].read for each in counts if each[i] is not None] for i in range(2)]


def train(case, dist, rank):
    gn.set_random_seed(1)
    model, x, y, options = CASES[case]()
    troubled = own.trouble if rank == own.rank else ""
    if troubled == "outside":
        say("TROUBLE", time.time())
        raise RuntimeError("this rank never comes to fit")
    if troubled == "leaves":
        say("TROUBLE", time.time())
        sys.exit()
    if own.trouble == "infinity":
        x[own.rank * 5 % len(x)] = np.inf
        options |= {"shuffle": False, "validation_split": 0.0}
    if troubled == "layers":
        model = gn.Sequential([gn.Input(x.shape[1:]), gn.layers.Flatten(), gn.layers.Dense(4)], seed=1)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    if troubled == "optimizer":
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    if troubled == "weights":
        model.set_weights([weights + 1 for weights in model.get_weights()])
    if troubled == "targets":
        y = y[::-1].copy()
    if troubled == "samples":
        x, y = x[:-1], y[:-1]
    if troubled in ("batch_size", "seed", "epochs"):
        options[troubled] += 1
    if troubled == "version":
        _engine.version = "0.0.1"
    if own.trouble == "chunks":
        options["batch_size"] = 7
    callbacks = [Trouble(troubled, own.step, dist)]
    if own.backup:
        callbacks.append(gn.callbacks.BackupAndRestore(own.backup, save_freq=1))
    if own.trouble:
        say("TROUBLE", time.time())
    with tempfile.TemporaryDirectory() as folder:
        rows = x if own.trouble else mapped(x, folder)
        if own.lazy:
            rows, y = gn.data.lazy(x, y, options.pop("batch_size")), None
            options.pop("validation_split")
        history = model.fit(rows, y, verbose=0, callbacks=callbacks, distribute=dist, **options)
        predicted = model.predict(rows, verbose=0, distribute=dist).tobytes()
    return [digest(model, history), hashlib.sha256(predicted).hexdigest()]


def main():
    if own.trouble == "cores":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if own.messages:
        _host_memory._FOLDER = Path(os.devnull)
    dist = None if own.alone else gn.distribute.MPI()
    if own.trouble == "terminate":
        signal.signal(signal.SIGTERM, exits)
    rank = 0 if dist is None else dist.rank
    if dist is not None and dist.size > 1:
        say("WAY", "messages" if dist._memory is None else "memory")
    assert dist is None or gn.distribute.MPI() is dist  # of two a rank could not leave both at once
    if dist is None:
        gn.set_num_threads(1)
    for case in own.cases:
        try:
            if own.lazy and not own.trouble:
                result, counts = train_lazily(case, dist)
                for what, numbers in zip(("inputs", "targets"), counts, strict=True):
                    say("READ", case, what, rank, *numbers)
            else:
                result = train(case, dist, rank)
        except BaseException as error:
            say("ENDED", rank, f"{type(error).__name__}: {error}")
            raise
        if dist is not None:
            everyone = dist.values(result)
            assert all(each == result for each in everyone), everyone
        if rank == 0:
            say("DIGEST", case, *result)
    if dist is not None and own.report:
        for host, sent, exchanges in dist.values([dist.host, dist.sent, dist.exchanges]):
            if rank == 0:
                say(f"{host}: {sent / 1e6:.2f} MB in {exchanges} exchanges")
        dist.report()


if __name__ == "__main__":
    sys.exit(main())
