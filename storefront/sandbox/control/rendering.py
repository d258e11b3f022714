"""How the console shows ids and JSON: an id leads to what it names, and has a copy button."""

import json
import re
from decimal import Decimal, InvalidOperation
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
    """Makes these functions known to the templates as filters."""
    for filter_ in (pretty, ident, payload, linked, indented, ticks, money):
        app.add_template_filter(filter_, filter_.__name__)


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


def indented(text: str | None) -> str:
    """A body for an editor: JSON with indents, anything else as it is."""
    try:
        return json.dumps(json.loads(text or ""), indent=2, ensure_ascii=False)
    except ValueError:
        return text or ""


def linked(value: object) -> Markup:
    """A text in which each id is a link."""
    return Markup(ID.sub(_link, str(escape(value))))  # noqa: S704 - escaped here


def ticks(text: str) -> Markup:
    """A text in which `this` is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped here


def money(amount: object, currency: str) -> str:
    """An amount of the API, a decimal number as text, with separators: 14,990.00 INR."""
    try:
        return f"{Decimal(str(amount)):,.2f} {currency.upper()}"
    except InvalidOperation:
        return str(amount)


def ident(value: object) -> Markup:
    """An id as a link where it leads somewhere, with a button that copies it (shown by the script)."""
    text = str(escape(value or ""))
    if not text:
        return Markup("")
    unseen = f'<span class="unseen"> {text}</span>'
    copy = f'<button type="button" class="copy" data-copy="{text}" hidden>Copy{unseen}</button>'
    return Markup(f'<span class="number">{ID.sub(_link, text)}</span> {copy}')  # noqa: S704 - escaped above
