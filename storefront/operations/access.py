"""Who may use the pages of operations, and which form values can be stored."""

import hmac

from flask import abort, request
from flask_login import current_user
from werkzeug.exceptions import NotFound

from storefront.extensions import settings

MAX_NOTE_CHARS = 1000
MAX_INT = 2**31 - 1  # of an integer column


def operators_only() -> None:
    """For everybody else an operator's address does not exist, whatever the method."""
    if request.path != "/operator" and not request.path.startswith("/operator/"):
        return
    if not (current_user.is_authenticated and current_user.is_operator):
        request.url_rule, request.routing_exception = None, NotFound()


def refuse_nul() -> None:
    """PostgreSQL stores no NUL: no row has such a name, and none is searched for."""
    values = [value for _, value in request.values.items(multi=True)]
    if any("\0" in value for value in [*values, *map(str, (request.view_args or {}).values())]):
        abort(400)


def has_qa_token() -> bool:
    """Whether the caller sent QA_TOKEN as a Bearer token, as the sandbox does."""
    token, given = settings().qa_token, request.headers.get("Authorization", "")
    return bool(token) and hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def form_text(name: str) -> str:
    """What somebody wrote into a form, without the spaces around it."""
    return request.form.get(name, "").strip()[:MAX_NOTE_CHARS]


def form_int(name: str) -> int:
    """A number of a form; anything that is not one of an integer column is a 400."""
    return _number(request.form.get(name, ""))


def query_int(name: str, default: int) -> int:
    """A number of the query string; anything that is not one of an integer column is a 400."""
    text = request.args.get(name)
    return default if text is None else _number(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 11):
        abort(400)
    number = int(text)
    return number if abs(number) <= MAX_INT else abort(400)
