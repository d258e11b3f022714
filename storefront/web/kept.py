"""A page that would come out the same is not written again.

Whoever keeps one names the facts: all that it says and shows depends on them. The language is seen to here.
"""

import secrets
from collections.abc import Callable, Hashable
from typing import Any, cast

from flask import Flask, Response, current_app, make_response, render_template, request, session
from flask_wtf.csrf import generate_csrf
from werkzeug.http import generate_etag

from storefront.web import words

Context = Callable[[], dict[str, Any]]  # for the template; asked for only when it is written

TOKENS_PLACE = secrets.token_hex(16)  # stands in everybody's page where each visitor's form token goes
MOST = 1000  # pages, a few kilobytes each; then it begins anew


def init_app(app: Flask) -> None:
    app.extensions["kept"] = {}


def for_all(template: str, facts: Hashable, context: Context) -> str:
    """One page for everybody, but for the token of its forms."""
    page, _ = _kept(
        (template, facts), lambda: render_template(template, csrf_token=lambda: TOKENS_PLACE, **context())
    )
    return page.replace(TOKENS_PLACE, generate_csrf()) if TOKENS_PLACE in page else page


def for_one(template: str, facts: Hashable, context: Context) -> Response:
    """A page for this session alone, as its facts say; it goes with the session's form token.

    Whoever has it already is told so (304).
    """
    if "csrf_token" not in session:
        generate_csrf()
    key = template, facts, session["csrf_token"]
    page, mark = _kept(key, lambda: render_template(template, **context()))
    answer = make_response(page)
    answer.set_etag(mark)
    answer.make_conditional(request)
    return answer


def _kept(key: Hashable, write: Callable[[], str]) -> tuple[str, str]:
    """The page, and the mark it is known by."""
    pages = cast("dict[Hashable, tuple[str, str]]", current_app.extensions["kept"])
    key = (key, words.language(), words.locale())
    kept = pages.get(key)
    if kept is None:
        page = write()
        kept = page, generate_etag(page.encode())
        if len(pages) >= MOST:
            pages.clear()
        pages[key] = kept
    return kept
