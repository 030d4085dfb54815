"""The server of docs/how-to/serving.md answers, under wsgiref and, where it is installed, under gunicorn."""

import contextlib
import importlib.util
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import wsgiref.simple_server
from pathlib import Path

import numpy as np
import pytest

import gridnn as gn
from gridnn import layers

pytestmark = pytest.mark.one_tier

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "serving.md"
X = np.eye(3)[[2, 0]]


@pytest.fixture
def folder(tmp_path):
    """The program of the page, and a model that says which input is the largest."""
    program = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL).group(1)
    (tmp_path / "serve.py").write_text(program, "utf-8")
    model = gn.Sequential([gn.Input((3,)), layers.Dense(3)])
    model.set_weights([np.eye(3), np.zeros(3)])
    model.class_names = ["a", "b", "c"]
    model.save(tmp_path / "model.gridnn")
    return tmp_path


def asked(address, data=None):
    """Status and content of an answer."""
    try:
        with urllib.request.urlopen(address, data, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def as_file(x):
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


def check(address):
    assert asked(address) == (200, {"model": "sequential", "input": [None, 3]})
    assert asked(address, as_file(X)) == (200, {"classes": ["c", "a"]})
    status, content = asked(address, as_file(X[:, :2]))
    assert status == 400
    assert "expected shape (batch, 3)" in content["error"]
    assert asked(address, b"no array")[0] == 400
    assert asked(address, as_file(X)) == (200, {"classes": ["c", "a"]})


def asked_as_on_the_page(address):
    """What the program that asks prints: the last one of the page."""
    *_, program = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(program.replace("http://localhost:8000", address), {})  # noqa: S102 - our own page
    return printed.getvalue()


def test_wsgiref(folder, monkeypatch):
    monkeypatch.setenv("MODEL", str(folder / "model.gridnn"))
    spec = importlib.util.spec_from_file_location("serve", folder / "serve.py")
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)

    class Silent(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_):
            pass

    with wsgiref.simple_server.make_server("127.0.0.1", 0, serve.application, handler_class=Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            check(address)
            assert asked_as_on_the_page(address) == "{'classes': ['a', 'a']}\n"
        finally:
            server.shutdown()


@pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed")
def test_gunicorn_with_forked_workers(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = f"127.0.0.1:{port}"
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", place]
    environment = {**os.environ, "GRIDNN_NUM_THREADS": "1"}
    server = subprocess.Popen([*command, "serve:application"], cwd=folder, env=environment)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        for _ in range(4):  # both workers
            check(f"http://{place}")
    finally:
        server.terminate()
        server.wait(30)
