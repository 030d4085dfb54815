"""Twenty small models of a cross-validation: one after the other, side by side, on a cluster of Dask.

    python benches/python/many_models.py [--jobs 2] [--rounds 3]

It needs `gridnn[dask]`. Workers are started, and have trained once, before the clock runs. Ratios are to one
process held to one thread; side by side must be at most 0.6 of it, and no longer than one process with all
threads.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict

import gridnn as gn
from gridnn.sklearn import CNNClassifier

_FOLDS = 20


def main() -> None:
    """Prints seconds and ratios."""
    options = argparse.ArgumentParser(description="Many models at once.")
    options.add_argument("--jobs", type=int, default=2, help="workers")
    options.add_argument("--rounds", type=int, default=3, help="the median of so many counts")
    arguments = options.parse_args()
    digits = load_digits()
    x, y = digits.images[:600], digits.target[:600]

    def run(jobs: int) -> bytes:
        network = CNNClassifier(epochs=20, model__width=8, random_state=0)
        found = cross_val_predict(network, x, y, cv=_FOLDS, method="predict_proba", n_jobs=jobs)
        return bytes(found.tobytes())

    def timed(
        label: str, jobs: int, threads: int, backend: Callable[[], AbstractContextManager[Any]]
    ) -> bytes:
        gn.set_num_threads(threads)
        seconds = []
        with backend():
            result = run(jobs)
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                assert run(jobs) == result
                seconds.append(time.perf_counter() - start)
        medians[label] = statistics.median(seconds)
        print(
            f"{label:34} {medians[label]:6.2f} s  {medians[label] / medians['one process, one thread']:.2f}"
        )
        return result

    medians: dict[str, float] = {}
    results = {
        timed("one process, one thread", 1, 1, nullcontext),
        timed(f"one process, {arguments.jobs} threads", 1, arguments.jobs, nullcontext),
        timed(f"{arguments.jobs} processes of joblib", arguments.jobs, 1, nullcontext),
    }
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        print("dask is not installed: pip install 'gridnn[dask]'")
    else:
        with ExitStack() as stack:
            cluster = stack.enter_context(
                LocalCluster(n_workers=arguments.jobs, threads_per_worker=1, dashboard_address=None)
            )
            stack.enter_context(Client(cluster))
            label = f"{arguments.jobs} workers of Dask"
            results.add(timed(label, arguments.jobs, 1, lambda: joblib.parallel_config(backend="dask")))
    print("the same bytes" if len(results) == 1 else "DIFFERENT BYTES")


if __name__ == "__main__":
    main()
