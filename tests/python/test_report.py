"""The page that `Sequential.report` writes: what it holds, and that a browser asks for no more."""

import functools
import html.parser
import http.server
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

pytest.importorskip("matplotlib")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Reader(html.parser.HTMLParser):
    """Collects headings, texts of tables, and everything that could be loaded."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.headings, self._heading = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._heading = tag == "h2"
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        if self._heading:
            self.headings.append(data)
            self._heading = False


def trained(x, y, *stack, loss="sparse_categorical_crossentropy", metrics=("accuracy",)):
    model = gn.Sequential([gn.Input(x.shape[1:]), *stack], seed=0)
    model.compile("adam", loss, metrics=list(metrics))
    model.fit(x, y, epochs=2, verbose=0, validation_split=0.2, seed=0)
    return model


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on a network for digits."""
    (x, y), (xt, yt) = gn.datasets.digits()
    model = trained(
        x[:500],
        y[:500],
        layers.Rescaling(1 / 16),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(12, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(10),
    )
    path = tmp_path_factory.mktemp("report") / "run.html"
    model.report(path, xt, yt, title="Digits & more", classes=[f"<{i}>" for i in range(10)])
    return path


def test_every_section_is_there(page):
    text = page.read_text("utf-8")
    found = Reader(text)
    assert found.headings == [
        "Training",
        "Confusion matrix",
        "Classes",
        "Calibration",
        "Worst mistakes",
        "Model",
        "Filters",
        "Activation maps",
        "Receptive fields",
        "Costs",
        "Settings",
    ]
    assert "<title>Digits &amp; more</title>" in text
    assert "Adam(learning_rate=0.001" in text
    assert "accuracy on 360 samples" in text
    (tiles,) = re.findall(r'<ul class="tiles">(.*?)</ul>', text, re.DOTALL)
    assert "%" not in tiles  # numbers of a log may be anything, so all are written alike
    assert text.count("<img ") >= 10


def test_the_page_loads_nothing(page):
    text = page.read_text("utf-8")
    found = Reader(text)
    assert found.loads
    assert all(value.startswith("data:") for value in found.loads)
    assert not {"script", "iframe", "object", "embed", "form"} & set(found.tags)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style


def sounds(tmp_path):
    x, y = gn.lab.sounds(60, length=64)
    model = trained(
        x, y, layers.Conv1D(4, 5, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(3)
    )
    return model, x, y


def volumes(tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 6, 6, 6, 1))
    y = (x.mean(axis=(1, 2, 3, 4)) > 0).astype(int)
    stack = layers.Conv3D(2, 3), layers.GlobalAveragePooling3D(), layers.Dense(2, activation="softmax")
    return trained(x, y, *stack), x, y


def voxels(tmp_path):
    x = np.random.default_rng(0).normal(size=(12, 8, 8, 1))
    y = (x[..., 0] > 0).astype(int)
    return trained(x, y, layers.Conv2D(2, 3, padding="same")), x, y


def numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 8, 8, 1))
    y = np.round(10 * x.mean(axis=(1, 2, 3)))  # whole numbers are not classes yet
    stack = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1)
    return trained(x, y, *stack, loss="mse", metrics=()), x, y


def binary(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 8, 1))
    y = (x.mean(axis=(1, 2)) > 0).astype(float)
    stack = layers.Conv1D(2, 3), layers.GlobalAveragePooling1D(), layers.Dense(1, activation="sigmoid")
    return trained(x, y, *stack, loss="binary_crossentropy", metrics=()), x, y


def open_sizes(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(12, 8, 8, 1)), np.arange(12) % 3
    stack = layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)
    model = gn.Sequential([gn.Input((None, None, 1)), *stack])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    return model, x, y


@pytest.mark.parametrize("make", [sounds, volumes, voxels, numbers, binary, open_sizes])
def test_every_kind_of_task(make, tmp_path):
    model, x, y = make(tmp_path)
    model.report(tmp_path / "run.html", x, y)
    headings = Reader((tmp_path / "run.html").read_text("utf-8")).headings
    assert {"Training", "Worst mistakes", "Activation maps", "Receptive fields"} <= set(headings)
    classes = {"Confusion matrix", "Classes", "Calibration"}
    assert classes & set(headings) == (set() if make is numbers else classes)
    assert ("Masks" in headings) == (make is voxels)
    assert ("Slices" in headings) == (make is volumes)


def test_precision_and_recall_of_every_class(tmp_path):
    x = np.zeros((6, 4))
    x[:, 0] = [0, 0, 1, 1, 1, 1]
    model = gn.Sequential([gn.Input((4,)), layers.Dense(3)])
    kernel = np.zeros((4, 3))
    kernel[0, 1] = 5.0
    model.set_weights([kernel, np.array([1.0, 0.0, 0.0])])
    model.report(tmp_path / "run.html", x, [0, 0, 1, 1, 0, 2], classes=["a", "b", "c"])
    cells = re.findall("<t[dh]>([^<]*)", (tmp_path / "run.html").read_text("utf-8"))
    start = cells.index("class")
    assert cells[start : start + 5] == ["class", "samples", "precision", "recall", "F1"]
    assert cells[start + 5 : start + 10] == ["a", "3", "100.0%", "66.7%", "80.0%"]
    assert cells[start + 10 : start + 15] == ["b", "2", "50.0%", "100.0%", "66.7%"]
    assert cells[start + 15 : start + 20] == ["c", "1", "-", "0.0%", "0.0%"]


def test_masks_of_volumes_have_slices_and_overlap(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4, 6, 6, 1))
    y = (x[..., 0] > 0).astype(int)
    model = trained(x, y, layers.Conv3D(2, 3, padding="same"))
    model.report(tmp_path / "run.html", x, y)
    text = (tmp_path / "run.html").read_text("utf-8")
    assert {"Masks", "Slices"} <= set(Reader(text).headings)
    assert {"IoU", "positions"} <= set(re.findall("<th>([^<]*)", text))


def run_of(filters, rate, x, y):
    model = gn.Sequential(
        [gn.Input(x.shape[1:]), layers.Conv2D(filters, 3), layers.Flatten(), layers.Dense(10)], seed=0
    )
    model.compile(gn.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model.fit(x, y, epochs=3, verbose=0, validation_split=0.2, seed=0)


def test_runs_are_compared(tmp_path):
    (x, y), _ = gn.datasets.digits()
    runs = {f"<{n}>": run_of(n, 1e-2 / n, x[:200] / 16, y[:200]) for n in (2, 4)}
    gn.report(tmp_path / "runs.html", runs, title="Two runs")
    text = (tmp_path / "runs.html").read_text("utf-8")
    assert Reader(text).headings == ["Results", "Training", "Settings that differ"]
    assert "<title>Two runs</title>" in text
    cells = re.findall("<t[dh]>([^<]*)", text)
    assert cells.count("&lt;2&gt;") == 2
    best = int(np.argmin(runs["<2>"].history["val_loss"]))
    row = cells.index("&lt;2&gt;")
    assert cells[row + 1 : row + 3] == ["3", str(best + 1)]
    assert cells[row + 3] == f"{runs['<2>'].history['loss'][best]:.4g}"
    assert {"weights", "optimizer"} <= set(cells)
    assert "seed" not in cells  # which is the same
    assert [cell for cell in cells if cell.startswith("Adam")] == [
        "Adam(learning_rate=0.005)",
        "Adam(learning_rate=0.0025)",
    ]


def test_of_settings_what_differs_is_shown():
    from gridnn._report._runs import _unlike

    shared = ["SGD(rate=Cosine(steps=10, warm=0), momentum=0.9)", "SGD(rate=0.1, momentum=0.9)"]
    assert _unlike(shared) == ["SGD(rate=Cosine(steps=10, warm=0))", "SGD(rate=0.1)"]
    assert _unlike(["Adam(a=1)", "SGD(a=1)"]) == ["Adam(a=1)", "SGD(a=1)"]
    assert _unlike(["Adam(a=1)", "Adam(a=1, b=[1, 2])"]) == ["Adam()", "Adam(b=[1, 2])"]
    assert _unlike(["32", "64"]) == ["32", "64"]


def test_runs_may_be_numbers_and_may_log_different_things(tmp_path):
    runs = {"a": {"loss": [2.0, 1.0], "lr": ["x", "y"]}, "b": {"loss": [1.0], "val_loss": [float("nan")]}}
    gn.report(tmp_path / "runs.html", runs)
    text = (tmp_path / "runs.html").read_text("utf-8")
    assert Reader(text).headings == ["Results", "Training"]
    assert "Comparison of 2 runs" in text
    for wrong in ({"a": [1.0]}, [1.0], {"loss": [1.0]}):
        with pytest.raises(TypeError, match="`runs` must be a dict"):
            gn.report(tmp_path / "x.html", wrong)
    for wrong in ({}, {"a": {}}, {"a": gn.callbacks.History()}):
        with pytest.raises(ValueError, match="`runs` must have"):
            gn.report(tmp_path / "x.html", wrong)
    assert not (tmp_path / "x.html").exists()


def test_one_hot_labels_are_classes(tmp_path):
    model, x, y = sounds(tmp_path)
    model.report(tmp_path / "run.html", x, np.eye(3)[y])
    assert "Confusion matrix" in (tmp_path / "run.html").read_text("utf-8")


def test_without_data_and_without_training(tmp_path):
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    model.report(tmp_path / "run.html")
    headings = Reader((tmp_path / "run.html").read_text("utf-8")).headings
    assert headings == ["Model", "Filters", "Receptive fields", "Costs", "Settings"]


def test_wrong_arguments(tmp_path):
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    x = np.zeros((3, 8, 8, 1))
    with pytest.raises(ValueError, match="or neither"):
        model.report(tmp_path / "run.html", x)
    with pytest.raises(gn.errors.ShapeError, match="3 samples, `y` 2"):
        model.report(tmp_path / "run.html", x, [0, 1])
    with pytest.raises(ValueError, match="empty"):
        model.report(tmp_path / "run.html", x[:0], np.zeros(0, int))
    with pytest.raises(ValueError, match=r"classes from 0 to 1\. Received 0 to 2"):
        model.report(tmp_path / "run.html", x, [0, 1, 2])
    with pytest.raises(gn.errors.ShapeError, match="does not fit outputs"):
        model.report(tmp_path / "run.html", x, np.zeros((3, 5)))
    with pytest.raises(ValueError, match="not built"):
        gn.Sequential([layers.Dense(2)]).report(tmp_path / "run.html")
    assert not (tmp_path / "run.html").exists()


def test_pages_are_html(tmp_path):
    model = gn.Sequential([gn.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    for write in (model.report, lambda path: gn.report(path, {"a": {"loss": [2.0, 1.0]}})):
        with pytest.raises(ValueError, match=r"must end in \.html: .* Received path='.*run\.pdf'"):
            write(tmp_path / "run.pdf")
        for name in ("run.HTML", "run.htm", "run"):
            write(tmp_path / name)
            assert (tmp_path / name).read_bytes().startswith(b"<!doctype html>")
    assert not (tmp_path / "run.pdf").exists()


PROBE = """<!doctype html><link rel="icon" href="data:,">
<body><iframe id="page" width="{width}" height="900"></iframe>
<script>
page.onload = () => {{
  const inner = page.contentDocument, images = [...inner.images];
  document.body.dataset.width = inner.documentElement.scrollWidth;
  document.body.dataset.shown = images.filter(image => image.complete && image.naturalWidth > 0).length;
  document.body.dataset.images = images.length;
}};
page.src = "run.html";
</script>"""


def browse(page, width):
    """What a browser of this width finds on a page: what it asked the server for, said, and measured."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    (page.parent / "probe.html").write_text(PROBE.format(width=width), "utf-8")
    handler = functools.partial(Handler, directory=page.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--enable-logging=stderr",
            f"--user-data-dir={page.parent / 'profile'}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"http://127.0.0.1:{server.server_port}/probe.html",
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
        server.shutdown()
    found = dict(re.findall(r'data-(\w+)="(\d+)"', done.stdout))
    return asked, done.stderr, {name: int(value) for name, value in found.items()}


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_a_browser_shows_it_without_errors_or_requests(page, width):
    asked, said, found = browse(page, width)
    assert asked == ["/probe.html", "/run.html"]
    assert "CONSOLE" not in said
    assert found["images"] == found["shown"] >= 10
    assert found["width"] <= width  # nothing to scroll sideways


@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
def test_a_run_on_fashion_mnist_in_a_browser(data_folder, tmp_path):
    (x, y), (xt, yt) = gn.datasets.fashion_mnist(data_folder / "fashion-mnist")
    model = trained(
        x[:2000],
        y[:2000],
        layers.Rescaling(1 / 255),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 3, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    )
    names = ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]
    model.report(tmp_path / "run.html", xt[:1000], yt[:1000], classes=names)
    for width in (390, 1920):
        asked, said, found = browse(tmp_path / "run.html", width)
        assert asked == ["/probe.html", "/run.html"]
        assert "CONSOLE" not in said
        assert found["images"] == found["shown"] >= 10
        assert found["width"] <= width


def test_samples_of_several_sizes_are_refused_with_what_can_be_done(tmp_path):
    model = gn.Sequential([gn.Input((None, None, None, 1)), layers.Conv3D(2, 3, padding="same")], seed=0)
    x = [np.zeros((size, 8, 8, 1), np.float32) for size in (8, 10)]
    y = [np.zeros(sample.shape[:-1], int) for sample in x]
    with pytest.raises(TypeError, match=r"`x` .* \(8, 8, 8, 1\) and \(10, 8, 8, 1\) .* a page for each"):
        model.report(tmp_path / "run.html", x, y)
    model.report(tmp_path / "run.html", x[1][np.newaxis], y[1][np.newaxis])
