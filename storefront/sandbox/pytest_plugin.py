"""Fixtures for pytest: a sandbox for the whole run, and a fresh store for each test.

def test_a_customer_is_made(flexprice_store):
    answer = flexprice_store.call("POST", "/customers", {"external_id": "u1", "name": "Asha"})
    assert answer["id"].startswith("cust_")
"""

import itertools
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from .settings import SandboxSettings

TIMEOUT_S = 120  # walking the clock through a month takes a while
NUMBERS = itertools.count(1)


class Refused(Exception):
    """The sandbox answered 400 or more: `status`, and `body` as it came."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


@dataclass(frozen=True)
class Store:
    """One store of the sandbox. Nothing of it is seen in another.

    :param url: where the API is, with /v1: the server URL of an SDK.
    :param control_url: where the control API is: …/_sandbox.
    :param key: for the header `x-api-key`.
    :param webhook_secret: signs its messages.
    """

    url: str
    control_url: str
    key: str
    webhook_secret: str

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """An API call below /v1; returns the JSON of the answer.

        :raises Refused: the answer is 400 or more.
        """
        return _send(method, self.url + path, self.key, body)

    def control(self, path: str, **body: Any) -> Any:
        """`POST /_sandbox/{path}`.

        :raises Refused: the answer is 400 or more.
        """
        return _send("POST", f"{self.control_url}/{path}", self.key, body)

    def pay(self, link: str) -> Any:
        """Pays a payment link, whatever state it is in."""
        return self.control("provider", action="pay", link=link)

    def advance(self, step: str) -> Any:
        """Moves the clock: `90s`, `20m`, `18h`, `31d`. What falls due happens on the way."""
        return self.control("clock", advance=step)

    def messages(self, customer: str = "") -> list[Any]:
        """The webhook messages so far, in their order: `id`, `at`, `type`, `body`."""
        query = f"?customer={customer}" if customer else ""
        found: list[Any] = _send("GET", f"{self.control_url}/messages{query}", self.key)
        return found

    def send_webhooks_to(self, url: str) -> None:
        """From now on messages are sent there, signed with `webhook_secret`."""
        _send("PUT", f"{self.control_url}/store", self.key, {"webhook_url": url})


class Sandbox:
    """A sandbox that listens on a free port of this machine, in memory."""

    def __init__(self) -> None:
        from . import background
        from .app import create_app

        settings = SandboxSettings(database_url="sqlite://", url="", webhook_url="", seed="")
        self.app = create_app(settings)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._stop, database = threading.Event(), self.app.extensions["sandbox"]
        self._background = background.start(database, self.app.extensions["sandbox_dispatcher"], self._stop)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def store(self, name: str = "") -> Store:
        """The store with that name, made if it is not there; a new one if no name is given."""
        key = f"sk_sandbox_{name or f'test-{next(NUMBERS)}'}"
        control = f"{self.url}/_sandbox"
        secret = _send("GET", f"{control}/store", key)["webhook_secret"]
        return Store(f"{self.url}/v1", control, key, secret)

    def close(self) -> None:
        self._stop.set()
        self._background.join()
        self._server.shutdown()
        self._server.server_close()
        self.app.extensions["sandbox"].close()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _send(method: str, url: str, key: str, body: Any = None) -> Any:
    headers = {"x-api-key": key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - of this machine
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return _parsed(response.read())
    except urllib.error.HTTPError as error:
        raise Refused(error.code, _parsed(error.read())) from None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode()


@pytest.fixture(scope="session")
def flexprice_sandbox() -> Iterator[Sandbox]:
    """A sandbox for the whole run: `url`, `store(name)`."""
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture
def flexprice_store(flexprice_sandbox: Sandbox) -> Store:
    """An empty store of this test alone: see `Store`."""
    return flexprice_sandbox.store()
