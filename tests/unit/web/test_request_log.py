"""Log lines: one per message, with a request id and the route, never a path."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from storefront.web import request_log


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """New for each test: a route is added to it."""
    return make_app()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What our handler writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(request_log.RequestFields())
    handler.setFormatter(request_log.OneLine(request_log.FORMAT))
    logging.getLogger("storefront").addHandler(handler)
    yield stream
    logging.getLogger("storefront").removeHandler(handler)


def test_route_is_named_and_no_path(app: Flask, browser: Any, lines: io.StringIO) -> None:
    def fail(token: str) -> str:
        raise RuntimeError("broken")

    app.add_url_rule("/reset/<token>", "fail", fail)
    response = browser.get("/reset/secret-token", headers={"X-Request-ID": "from-the-proxy-1"})
    assert response.headers["X-Request-ID"] == "from-the-proxy-1"
    assert "[from-the-proxy-1 GET /reset/<token>] Error " in lines.getvalue()
    assert "secret-token" not in lines.getvalue()


def test_unreadable_request_id_is_replaced(browser: Any) -> None:
    for given in ("x", "a b c d e f g h", "y" * 65):
        assert len(browser.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"]) == 24
    first, second = (browser.get("/").headers["X-Request-ID"] for _ in range(2))
    assert first != second


def test_text_from_outside_cannot_forge_a_line(lines: io.StringIO) -> None:
    logging.getLogger("storefront.test").warning("refused %s", "x\r\n2026 INFO forged\x1b[2K\u2028end")
    assert lines.getvalue().count("\n") == 1
    assert r"refused x\x0d\x0a2026 INFO forged\x1b[2K\x2028end" in lines.getvalue()
    assert "[- -]" in lines.getvalue(), "outside a request"


def test_traceback_keeps_its_lines(lines: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("storefront.test").exception("failed")
    assert lines.getvalue().rstrip().endswith("ValueError: why")
    assert lines.getvalue().count("\n") > 3


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\x0b"])
def test_text_in_an_exception_cannot_forge_a_line(lines: io.StringIO, end: str) -> None:
    """Kind: one formatter for what is logged. Lines of a traceback are indented."""
    try:
        raise ValueError(f"no number: 'x{end}2026-09-01 10:00:00 INFO paid [- -] forged\x1b[2K'")
    except ValueError:
        logging.getLogger("storefront.test").exception("failed")
    first, *others = lines.getvalue().splitlines()
    assert "failed" in first
    assert others
    assert all(line.startswith("  ") for line in others)
    assert "\x1b" not in lines.getvalue()
