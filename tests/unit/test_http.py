"""The requests of the go-live checks, of the ribbon and of the mailbox: how they reach what they ask."""

import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests

from storefront.http import request

NOBODY = "http://127.0.0.1:9"


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def here() -> Iterator[str]:
    """A server on this machine that leads elsewhere."""

    def lead_elsewhere(environ, start_response):  # type: ignore[no-untyped-def]
        start_response("302 Found", [("Location", NOBODY)])
        return [b""]

    with make_server("127.0.0.1", 0, lead_elsewhere, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_this_machine_is_asked_without_the_proxy(here: str, method: str) -> None:
    assert request(method, here).status_code == 302


def test_any_other_machine_is_asked_through_the_proxy() -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        request("GET", "http://shop.example.com/")
