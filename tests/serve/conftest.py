"""A served detector, for clients in this process and for a browser."""

import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi.testclient import TestClient

import fre_lightning
from fre_lightning.serve.app import create_app
from fre_lightning.serve.job import find_allowed_hosts, listen
from fre_lightning.serve.limits import Limits

HOSTS = find_allowed_hosts("127.0.0.1", None)


@pytest.fixture(scope="session")
def detector(fitted_run):
    return fre_lightning.load(fitted_run, device="cpu", n_threads=2)


@pytest.fixture(scope="session")
def app(detector):
    return create_app(detector, Limits(2**20, 250_000, 4), HOSTS)


@pytest.fixture(scope="session")
def client(app):
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def images(fitted_run):
    return fitted_run.parent / "mvtec/part/test"


@contextmanager
def serving(app):
    """A real server's address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def url(app):
    with serving(app) as address:
        yield address
