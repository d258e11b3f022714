"""How the console shows ids and JSON: an id leads to what it names, and has a copy button."""

import json
import re
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

# Where an id leads, by its prefix.
PLACES = {
    "cs": "sessions",
    "cust": "customers",
    "subs": "subscriptions",
    "inv": "invoices",
    "pay": "payments",
}
ID = re.compile(r"\b(cs|cust|subs|inv|pay)_[0-9A-Z]{26}\b")


def register(app: Flask) -> None:
    """Makes the filters `pretty`, `ident` and `payload` known to the templates."""
    filters = {"pretty": pretty, "ident": ident, "payload": payload}
    for name, filter_ in filters.items():
        app.add_template_filter(filter_, name)


def _link(found: re.Match[str]) -> str:
    return f'<a href="/_sandbox/{PLACES[found[1]]}/{found[0]}">{found[0]}</a>'


def pretty(value: Any) -> Markup:
    """JSON with indents; each id is a link."""
    text = str(escape(json.dumps(value, indent=2, ensure_ascii=False, default=str)))
    return Markup(ID.sub(_link, text))  # noqa: S704 - escaped above


def payload(text: str | None) -> Markup:
    """A body that was sent or received: pretty where it is JSON, else as it is."""
    try:
        return pretty(json.loads(text or ""))
    except ValueError:
        return escape(text or "")


def ident(value: object) -> Markup:
    """An id as a link where it leads somewhere, with a button that copies it (shown by the script)."""
    text = str(escape(value or ""))
    if not text:
        return Markup("")
    unseen = f'<span class="unseen"> {text}</span>'
    copy = f'<button type="button" class="copy" data-copy="{text}" hidden>Copy{unseen}</button>'
    return Markup(f'<span class="number">{ID.sub(_link, text)}</span> {copy}')  # noqa: S704 - escaped above
