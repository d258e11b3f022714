"""A page that would come out the same is not written again.

Whoever keeps one names the facts: all that it says and shows depends on them. The language is seen to here.
"""

import secrets
from collections.abc import Callable, Hashable
from typing import Any, cast

from flask import Flask, current_app, render_template, session
from flask_wtf.csrf import generate_csrf

from storefront.web import words

Context = Callable[[], dict[str, Any]]  # for the template; asked for only when it is written

TOKENS_PLACE = secrets.token_hex(16)  # stands in everybody's page where each visitor's form token goes
MOST = 1000  # pages, a few kilobytes each; then it begins anew


def init_app(app: Flask) -> None:
    app.extensions["kept"] = {}


def for_all(template: str, facts: Hashable, context: Context) -> str:
    """One page for everybody, but for the token of its forms."""
    page = _kept(
        (template, facts), lambda: render_template(template, csrf_token=lambda: TOKENS_PLACE, **context())
    )
    return page.replace(TOKENS_PLACE, generate_csrf()) if TOKENS_PLACE in page else page


def for_one(template: str, facts: Hashable, context: Context) -> str:
    """A page for this session alone, as its facts say; it goes with the session's form token."""
    if "csrf_token" not in session:
        generate_csrf()
    return _kept((template, facts, session["csrf_token"]), lambda: render_template(template, **context()))


def _kept(key: Hashable, write: Callable[[], str]) -> str:
    pages = cast("dict[Hashable, str]", current_app.extensions["kept"])
    key = (key, words.language(), words.locale())
    page = pages.get(key)
    if page is None:
        page = write()
        if len(pages) >= MOST:
            pages.clear()
        pages[key] = page
    return page
