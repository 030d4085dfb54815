"""docs/troubleshooting.md says what the library says: every message of the page is provoked, and compared."""

import gc
import re
import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from thread_ranks import run

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
CASES = {}


def case(title):
    """Registers what provokes the message below a heading of the page."""

    def add(function):
        assert title not in CASES
        CASES[title] = function
        return function

    return add


def classifier(loss="sparse_categorical_crossentropy", **options):
    model = gn.Sequential(
        [gn.Input((28, 28, 1)), layers.Conv2D(8, 3, activation="relu"), layers.Flatten(), layers.Dense(10)],
        seed=0,
    )
    model.compile("adam", loss, **options)
    return model


X, Y = np.zeros((4, 28, 28, 1)), np.arange(4)


@case("One sample without its batch axis")
def one_sample(tmp_path):
    classifier().predict(X[0])


@case("Images without a channel axis")
def no_channels(tmp_path):
    classifier().fit(X[..., 0], Y, verbose=0)


@case("Channels first")
def channels_first(tmp_path):
    classifier().predict(X.transpose(0, 3, 1, 2))


@case("Images of another size")
def another_size(tmp_path):
    classifier().predict(np.zeros((4, 32, 32, 1)))


@case("Images of several sizes in a list")
def several_sizes(tmp_path):
    classifier().predict([np.zeros((28, 28, 1)), np.zeros((30, 28, 1))])


@case("Labels of another number")
def other_length(tmp_path):
    classifier().fit(X, Y[:3], verbose=0)


@case("No labels")
def no_labels(tmp_path):
    classifier().fit(X, verbose=0)


@case("A label that is no class")
def label_too_large(tmp_path):
    classifier().fit(X, Y + 7, verbose=0)


@case("One-hot labels with a sparse loss")
def one_hot(tmp_path):
    classifier().fit(X, np.eye(10)[Y], verbose=0)


@case("Numbers of classes with a loss for one-hot labels")
def numbers(tmp_path):
    classifier("categorical_crossentropy").fit(X, Y, verbose=0)


@case("Names of classes as labels")
def names(tmp_path):
    classifier().fit(X, np.array(["cat", "dog", "cat", "cow"]), verbose=0)


@case("NaN or infinity in the data")
def nan_input(tmp_path):
    x = X.copy()
    x[2, 3, 5] = np.nan
    classifier().fit(x, Y, verbose=0)


@case("A step that would make weights infinite")
def diverges(tmp_path):
    model = gn.Sequential([gn.Input((4,)), layers.Dense(1)], seed=0)
    model.compile(gn.optimizers.SGD(1e30), "mse")
    model.fit(np.full((8, 4), 1e6), np.ones(8), epochs=9, verbose=0)


@case("Training before compile")
def not_compiled(tmp_path):
    gn.Sequential([gn.Input((4,)), layers.Dense(1)]).fit(np.zeros((2, 4)), np.zeros(2))


@case("A model without an input shape")
def not_built(tmp_path):
    gn.Sequential([layers.Dense(1)]).get_weights()


@case("A kernel larger than what it slides over")
def too_small(tmp_path):
    gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(4, 5), layers.Conv2D(4, 5)])


@case("Convolutions after Flatten")
def after_flatten(tmp_path):
    gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Conv2D(4, 3)])


@case("Two layers of one name")
def same_name(tmp_path):
    gn.Sequential([gn.Input((4,)), layers.Dense(4, name="fc"), layers.Dense(2, name="fc")])


@case("Tensors that do not fit together")
def merge(tmp_path):
    inputs = gn.Input((7, 7, 4))
    halved = layers.MaxPooling2D(2)(inputs)
    layers.Add()([inputs, layers.UpSampling2D(2)(halved)])


@case("A name that nothing has")
def unknown_name(tmp_path):
    classifier("cross_entropy")


@case("Groups that do not divide the channels")
def groups(tmp_path):
    gn.Sequential([gn.Input((8, 8, 3)), layers.Conv2D(4, 3, groups=2)])


@case("A share of batches for validation")
def split_of_batches(tmp_path):
    classifier().fit([(X, Y)], validation_split=0.2, verbose=0)


@case("Batches of a size of their own")
def size_of_batches(tmp_path):
    classifier().fit([(X, Y)], batch_size=8, verbose=0)


@case("A generator that came to its end")
def generator_ends(tmp_path):
    batches = ((X, Y) for _ in range(3))
    classifier().fit(batches, epochs=2, verbose=0)


@case("A weight for a class that there is not")
def class_weight(tmp_path):
    classifier().fit(X, Y, class_weight={10: 2.0}, verbose=0)


@case("A value that is not in the logs")
def monitor(tmp_path):
    stop = gn.callbacks.EarlyStopping(monitor="val_accuracy", mode="max")
    classifier(metrics=["accuracy"]).fit(X, Y, callbacks=[stop], verbose=0)


@case("Better is more, or less?")
def mode(tmp_path):
    stop = gn.callbacks.EarlyStopping(monitor="profit")
    classifier().fit(X, Y, callbacks=[stop], verbose=0)


def of_rank_0(work, size=2):
    """Raises what rank 0 of some does."""
    result = run(size, work)[0]
    if isinstance(result, BaseException):
        raise result


def series(seed=0):
    model = gn.Sequential([gn.Input((6, 1)), layers.Flatten(), layers.Dense(2)], seed=seed)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


S, L = np.arange(96.0).reshape(16, 6, 1), np.zeros(16, int)


@case("Processes that share nothing")
def not_shared(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMI_SIZE", "2")
        series().fit(S, L, verbose=0)


@case("Weights that differ among processes")
def weights_of_ranks(tmp_path):
    of_rank_0(lambda ranks: series(ranks.rank).fit(S, L, verbose=0, distribute=ranks))


@case("A part of the data for each process")
def parts_of_data(tmp_path):
    of_rank_0(lambda ranks: series().fit(S[ranks.rank :: 2], L[ranks.rank :: 2], verbose=0, distribute=ranks))


@case("Batches that differ among processes")
def other_batches(tmp_path):
    def work(ranks):
        batches = [(S[ranks.rank : ranks.rank + 8], L[:8])]
        series().fit(batches, verbose=0, distribute=ranks)

    of_rank_0(work)


@case("Batches that are too small to be shared")
def small_batches(tmp_path):
    of_rank_0(lambda ranks: series().fit(S, L, batch_size=4, verbose=0, distribute=ranks))


@case("Processes that call different methods")
def other_calls(tmp_path):
    def work(ranks):
        call = series().fit if ranks.rank else series().evaluate
        call(S, L, verbose=0, distribute=ranks)

    of_rank_0(work)


@case("Two threads with the same processes")
def two_threads(tmp_path):
    class Begins(gn.callbacks.Callback):
        def on_train_begin(self, logs=None):
            fit = series().fit
            with ThreadPoolExecutor() as pool:
                pool.submit(fit, S, L, verbose=0, distribute=self.ranks).result()

    def work(ranks):
        begins = Begins()
        begins.ranks = ranks
        series().fit(S, L, verbose=0, callbacks=begins, distribute=ranks)

    of_rank_0(work)


@case("A process that ends before the others")
def ends_early(tmp_path):
    def work(ranks):
        ranks.host = f"node{ranks.rank + 1}"
        if ranks.is_main:
            series().evaluate(S, L, verbose=0, distribute=ranks)
        ranks.leave()

    of_rank_0(work)


@case("An `mpiexec` of another MPI")
def another_mpi(tmp_path):
    """`gn.distribute.MPI` with a library that knows of one process, as tests without MPI have none."""
    library = types.ModuleType("mpi4py.MPI")
    library.COMM_WORLD = types.SimpleNamespace(Get_rank=lambda: 0, Get_size=lambda: 1)
    library.Get_library_version = lambda: "MPICH Version: 5.0.2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mpi4py", types.ModuleType("mpi4py"))
        patch.setitem(sys.modules, "mpi4py.MPI", library)
        patch.setenv("OMPI_COMM_WORLD_SIZE", "2")
        gn.distribute.MPI()


@case("A file that is no model")
def no_model(tmp_path):
    (tmp_path / "model.gridnn").write_text("version https://git-lfs.github.com/spec/v1")
    gn.load_model("model.gridnn")


@case("Weights of another model")
def other_weights(tmp_path):
    gn.Sequential([gn.Input((4,)), layers.Dense(3)]).save_weights("small.gridnn")
    gn.Sequential([gn.Input((4,)), layers.Dense(5)]).load_weights("small.gridnn")


@case("A class that only your program knows")
def own_class(tmp_path):
    def saved():
        class Twice(layers.Layer):
            def call(self, x):
                return 2 * x

            def backward(self, gradient):
                return 2 * gradient

        gn.Sequential([gn.Input((4,)), Twice()]).save("own.gridnn")

    saved()
    gc.collect()  # as in another program, there is no such class any more
    gn.load_model("own.gridnn")


@case("A folder without images")
def no_images(tmp_path):
    pytest.importorskip("PIL")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    gn.data.image_folder("photos", size=64)


@case("An optional package that is missing")
def optional(tmp_path):
    gn.plot.history({"loss": [1.0]})


def message_of(title, tmp_path, monkeypatch):
    """What the library says, with the kind of the error or the warning before it."""
    monkeypatch.chdir(tmp_path)
    if title == "An optional package that is missing":
        for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            CASES[title](tmp_path)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return f"{warned[0].category.__name__}: {warned[0].message}"


def said(page):
    """Heading -> the message below it."""
    found = re.findall(r"^### (.+?)\n+```text\n(.+?)\n```", page, re.MULTILINE | re.DOTALL)
    return {title: " ".join(message.split()) for title, message in found}


@pytest.mark.parametrize("title", CASES)
def test_page_and_library_say_the_same(title, tmp_path, monkeypatch):
    message = " ".join(message_of(title, tmp_path, monkeypatch).split())
    expected = said(PAGE.read_text("utf-8"))[title]
    # Where a message has a list of all names, the page has dots.
    parts = [re.escape(part) for part in expected.split(" ... ")]
    assert re.fullmatch(" .* ".join(parts), message), f"{expected}\n{message}"


def test_every_message_of_the_page_is_provoked():
    text = PAGE.read_text("utf-8")
    assert list(said(text)) == list(CASES) == re.findall(r"^### (.+)", text, re.MULTILINE)
    assert len(CASES) >= 30
