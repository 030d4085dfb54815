"""What notebooks show: HTML of models, histories and results, and one element of progress."""

import copy
import pickle
import sys
import types
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import gridnn as gn
from gridnn import callbacks, layers
from gridnn.callbacks import ProgbarLogger

pytestmark = pytest.mark.one_tier

X = np.random.default_rng(0).normal(size=(12, 8, 8, 1))
Y = np.arange(12) % 3


def made(*stack):
    model = gn.Sequential([gn.Input((8, 8, 1)), *stack, layers.Flatten(), layers.Dense(3)], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def texts(page):
    """The words of a page, which must be well-formed."""
    return [text for text in ET.fromstring(f"<div>{page.replace('<br>', '<br/>')}</div>").itertext() if text]


def test_a_model_is_a_table_and_a_diagram():
    inner = layers.Residual([layers.Conv2D(4, 3, padding="same", activation="relu")])
    model = made(layers.Conv2D(4, 3), inner)
    found = texts(model._repr_html_())
    assert {"Layer (type)", "conv2d (Conv2D)", "(None, 6, 6, 4)"} <= set(found)  # the table
    assert {"Conv2D 4 3×3 relu", "6 × 6 × 4", "+"} <= set(found)  # the diagram
    assert any("Parameters:" in text for text in found)


def test_a_model_that_is_not_built_and_one_of_several_inputs():
    assert any("Not built yet" in text for text in texts(gn.Sequential([layers.Dense(2)])._repr_html_()))
    a, b = gn.Input((4,), name="<a>"), gn.Input((4,), name="b")
    model = gn.Model([a, b], layers.Dense(2)(layers.Add()([a, b])))
    assert "<a>" in texts(model._repr_html_())


def test_a_long_diagram_is_closed_at_first():
    assert "<details open=" in made()._repr_html_()
    assert "<details>" in gn.models.resnet(20, input_shape=(8, 8, 1), classes=2)._repr_html_()


def test_a_history_is_a_chart_for_every_metric():
    history = made().fit(X, Y, epochs=3, validation_split=0.5, validation_freq=2, verbose=0)
    page = history._repr_html_()
    assert page.count("<svg") == 2
    assert {"loss", "accuracy", "epoch 3"} <= set(texts(page))
    assert sum(text.startswith("validation ") for text in texts(page)) == 2


def test_histories_without_epochs_without_numbers_and_with_gaps():
    assert "No epoch" in callbacks.History()._repr_html_()
    history = callbacks.History()
    for epoch, loss in enumerate([1.0, float("nan"), 2.0, float("inf")]):
        history.on_epoch_end(epoch, {"loss": loss, "note": "words"})
    page = history._repr_html_()
    assert page.count("<svg") == 1
    assert page.count("nan") == 0
    texts(page)


def test_the_history_of_one_epoch_is_a_table():
    history = made().fit(X, Y, epochs=1, validation_split=0.5, verbose=0)
    page = history._repr_html_()
    assert "<svg" not in page
    assert {"loss", "accuracy", "val loss", "val accuracy"} <= set(texts(page))


def test_a_history_prints_its_values():
    history = callbacks.History()
    assert str(history) == repr(history) == "<History of no epochs>"
    for epoch in range(3):
        logs = {"loss": 1 / (epoch + 1), "note": "words " * 9}
        history.on_epoch_end(epoch, logs | ({"val_loss": np.float32(2.0)} if epoch == 1 else {}))
    note = "'words words word..."
    assert repr(history) == f"<History of 3 epochs, at the end loss 0.3333, note {note}, val_loss 2>"
    table = [line.replace(note, "?").split() for line in str(history).splitlines()]
    assert table[0] == ["epoch", "loss", "note", "val_loss"]
    assert [line[-1] for line in table[1:]] == ["-", "2", "-"]


def test_long_histories_print_their_ends():
    history = callbacks.History()
    for epoch in range(100):
        history.on_epoch_end(epoch, {"loss": float(epoch)})
    lines = str(history).splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "1", "2", "3", "...", *map(str, range(92, 101))]
    history.epoch, history.history = [], {"loss": [0.5, 0.25]}  # as some programs fill it by hand
    assert [line.split() for line in str(history).splitlines()[1:]] == [["1", "0.5"], ["2", "0.25"]]


def test_results_are_tables_and_still_lists_and_dicts():
    model = made()
    scores = model.evaluate(X, Y, verbose=0)
    named = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert isinstance(scores, list)
    assert scores == list(named.values())
    assert texts(scores._repr_html_())[:2] == ["loss", f"{scores[0]:.4g}"]
    assert scores._repr_html_() == named._repr_html_()
    for value, kind in ((scores, list), (named, dict)):
        for other in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
            assert type(other) is kind
            assert other == value


class Shown:
    """Stands for a notebook: its elements, each with everything that it was in turn."""

    def __init__(self, monkeypatch):
        self.elements = []
        self.after_display = lambda: None
        package = types.ModuleType("IPython")
        package.get_ipython = lambda: types.SimpleNamespace(kernel=True)
        display = types.ModuleType("IPython.display")
        display.DisplayHandle = self.handle
        monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
        monkeypatch.setitem(sys.modules, "IPython", package)
        monkeypatch.setitem(sys.modules, "IPython.display", display)

    def handle(self):
        element = []

        def display(content, raw):
            assert raw
            assert not element
            element.append(content)
            self.elements.append(element)
            self.after_display()

        def update(content, raw):
            assert raw
            if element:  # a notebook ignores what replaces an element that it never got
                element.append(content)

        return types.SimpleNamespace(display=display, update=update)


@pytest.fixture
def notebook(monkeypatch):
    return Shown(monkeypatch)


def test_progress_is_one_element(notebook, monkeypatch, capsys):
    monkeypatch.setattr(ProgbarLogger, "interval", 0.0)
    model = made()
    model.fit(X, Y, epochs=8, batch_size=4, validation_split=0.5)
    (element,) = notebook.elements
    assert "width:50.0%" in element[0]["text/html"]
    last = element[-1]
    lines = last["text/plain"].splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"Epoch {n}/8" for n in range(3, 9)]
    assert "val_loss" in lines[-1]
    assert "width:" not in last["text/html"]
    model.evaluate(X, Y)
    model.predict(X)
    assert len(notebook.elements) == 3
    assert notebook.elements[2][-1]["text/plain"].startswith("Predict  ")
    assert capsys.readouterr().out == ""


def test_progress_says_where_ctrl_c_came(notebook, monkeypatch):
    monkeypatch.setattr(ProgbarLogger, "interval", 0.0)

    def interrupt(batch, logs):
        if len(notebook.elements[0]) > 4:
            raise KeyboardInterrupt

    model = made()
    both = [ProgbarLogger(), callbacks.LambdaCallback(on_train_batch_end=interrupt)]
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3, batch_size=4, callbacks=both)
    assert notebook.elements[0][-1]["text/plain"].splitlines()[-1] == "Epoch 2/3  ended in step 2"
    # The same callback again: an element of its own.
    model.fit(X, Y, callbacks=both[:1])
    assert len(notebook.elements) == 2


def test_an_interrupt_within_the_first_display_leaves_one_element(notebook):
    """The element is there, and the call that made it has not returned."""

    def interrupt():
        raise KeyboardInterrupt

    notebook.after_display = interrupt
    with pytest.raises(KeyboardInterrupt):
        made().fit(X, Y, epochs=3, batch_size=4)
    (element,) = notebook.elements
    assert len(element) > 1
    assert "ended in step" in element[-1]["text/plain"]


def test_summary_is_a_table(notebook, capsys):
    model = made()
    model.summary()
    ((content,),) = notebook.elements
    assert "<table>" in content["text/html"]
    assert content["text/plain"].startswith("Model: sequential")
    lines = []
    model.summary(print_fn=lines.append)
    assert lines == [content["text/plain"]]
    assert capsys.readouterr().out == ""


def test_a_real_kernel():
    """An interrupt while a notebook trains leaves one finished element, and a kernel that goes on."""
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    kernel, client = manager.start_new_kernel()
    try:
        code = """
import gridnn as gn, numpy as np
model = gn.Sequential([gn.Input((4,)), gn.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(np.zeros((64, 4)), np.zeros(64), batch_size=1, epochs=10**6)
"""
        asked = client.execute(code)
        first, later, error, running = [], [], None, True
        while running:
            message = client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != asked:
                continue  # the kernel may still say that it has started
            kind, content = message["msg_type"], message["content"]
            if kind == "display_data":
                first.append(content)
                kernel.interrupt_kernel()
            elif kind == "update_display_data":
                later.append(content)
            elif kind == "error":
                error = content["ename"]
            running = kind != "status" or content["execution_state"] != "idle"
        assert error == "KeyboardInterrupt"
        assert len(first) == 1
        assert "ended in step" in later[-1]["data"]["text/plain"]
        client.execute("model.evaluate(np.zeros((4, 4)), np.zeros(4))")
        assert client.get_shell_msg(timeout=60)["content"]["status"] in ("ok", "error")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def test_versions(capsys, monkeypatch):
    monkeypatch.setenv("GRIDNN_SIMD", "portable")
    gn.show_versions()
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert rows["gridnn"].strip() == gn.__version__
    assert rows["numpy"].strip() == np.__version__
    assert rows["GRIDNN_SIMD"].strip() == "portable"
    assert "cpu" in rows
