"""For the tests that put any value into any place: the values, and the places of an app."""

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

from flask import Flask

VALUES = (
    "x" * 255, "x" * 256, "x" * 5000, "\0", "a\0b", "\ud800", "\U0001f600" * 256, "\u202egnp\u202c",
    "a\u0301\u0327" * 300, "\r\nX-Evil: 1\r\n\r\n2026-09-01 10:00:00,000 INFO forged", "\u2028\x85\x1b[2K",
    "<script>alert(1)</script>\"'>", "![x](https://evil.example)|`*_", "{{7*7}}{%raw%}", "%00%0d%0a",
    str(2**31), str(2**63), "-1", "1e999", "NaN", "", "//evil.example", "\\\\evil.example", "http://[",
    "' OR 1=1 --", "..%2f..%2fetc/passwd",
)  # fmt: skip


class Forms(HTMLParser):
    """The forms of a page that are posted: their address and fields, with the values in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.open: dict[str, str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attr = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.open = {} if attr.get("method", "").lower() == "post" else None
            if self.open is not None:
                self.found.append((attr.get("action", ""), self.open))
        if self.open is not None and tag in ("input", "select", "textarea", "button") and attr.get("name"):
            self.open[attr["name"]] = attr.get("value") or "x"


def encoded(value: str) -> str:
    """As a browser, or somebody without one, would put it into an address."""
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def rules(app: Flask) -> list[Any]:
    return [rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"]


def real_path(rule: Any, known: dict[str, str]) -> str:
    return re.sub(r"<(?:[^:>]+:)?(\w+)>", lambda part: known.get(part[1], "1"), str(rule.rule))


def headers_read(source: str, *more: str) -> list[str]:
    """Headers that this source reads, those that the framework does, and more."""
    read = re.findall(r'headers\.get\("([\w-]+)"', source)
    read += re.findall(r'"([\w-]+)" (?:not )?in request\.headers', source)
    return sorted({*read, "Host", "Referer", "User-Agent", "Cookie", "Content-Type", *more})


def in_header(value: str) -> str:
    """Without line breaks: no server lets them into a header."""
    return re.sub(r"[\r\n\0]", "", value.encode("utf-8", "surrogatepass").decode("latin-1"))
