"""The mailbox, /_sandbox/mail: emails that a shop posts here instead of sending them."""

from email import message_from_bytes
from email.policy import default
from typing import Any

from flask import Response, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers.common import Body
from ..engine.errors import invalid, not_found
from ..store.control_rows import Mail
from ..store.database import Session
from ..store.values import rfc3339
from .access import control, json_object
from .console import page_policy, wants_page
from .lists import limit, listed

bp = control("sandbox_mail", __name__, "/_sandbox/mail")

MAX_BYTES = 1_000_000
PAGE_OF_HTML = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-popups "
    "allow-popups-to-escape-sandbox; frame-ancestors 'self'"
)


@bp.after_request
def policy(response: Response) -> Response:
    """The page of an email shows its HTML in a frame; the HTML itself runs no script."""
    own = response.headers.get("Content-Security-Policy")
    response = page_policy(response)
    page = response.headers["Content-Security-Policy"] + "; frame-src 'self'"
    response.headers["Content-Security-Policy"] = own or page
    return response


@bp.post("")
def receive() -> ResponseReturnValue:
    """A whole message (`message/rfc822`), or `{"from", "to", "subject", "text", "html"}`."""
    if (request.content_length or 0) > MAX_BYTES:
        raise invalid(f"An email has at most {MAX_BYTES} bytes")
    raw = request.get_data()
    fields = _parsed(raw) if request.mimetype == "message/rfc822" else _named(json_object() or {})
    with auth.writing() as session:
        number = session.next_number(Mail)
        session.add(Mail(id=number, received_at=session.now(), **fields))
    return jsonify(id=number), 201


def _named(body: Body) -> dict[str, str]:
    names = {"sender": "from", "recipient": "to", "subject": "subject", "text": "text", "html": "html"}
    found = {name: str(body.get(field) or "") for name, field in names.items()}
    if not found["recipient"]:
        raise invalid("Send a message/rfc822, or JSON with from, to, subject, text and html")
    return {name: value.replace("\x00", "") for name, value in found.items()}


def _parsed(raw: bytes) -> dict[str, str]:
    message = message_from_bytes(raw, policy=default)
    parts = {name: message.get_body((name,)) for name in ("plain", "html")}
    fields = {
        "from": message["from"],
        "to": message["to"],
        "subject": message["subject"],
        "text": parts["plain"].get_content() if parts["plain"] else "",
        "html": parts["html"].get_content() if parts["html"] else "",
    }
    return _named(fields)


def mail_body(row: Mail) -> Body:
    """An email as the API shows it."""
    about: dict[str, Any] = {"id": row.id, "received_at": rfc3339(row.received_at)}
    named = {"from": row.sender, "to": row.recipient, "subject": row.subject}
    return about | named | {"text": row.text, "html": row.html}


@bp.get("")
def listing() -> ResponseReturnValue:
    """Newest first; `?q=` finds words of the recipient or the subject, `?to=` all emails to an address."""
    with auth.reading() as session:
        rows = session.all(Mail, order=Mail.id.desc(), limit=limit())
        found = listed([mail_body(row) for row in rows], {"To": "to"}, words_in=("to", "subject"))
    if not wants_page():
        return jsonify(items=found.items)
    return render_template("sandbox/mail.html", found=found)


def _need(session: Session, number: int) -> Mail:
    row = session.get(Mail, number)
    if row is None:
        raise not_found(f"email {number} not found")
    return row


@bp.get("/<int(max=2147483647):number>")
def one(number: int) -> ResponseReturnValue:
    with auth.reading() as session:
        body = mail_body(_need(session, number))
    return render_template("sandbox/email.html", mail=body) if wants_page() else jsonify(body)


@bp.get("/<int(max=2147483647):number>/html")
def html(number: int) -> ResponseReturnValue:
    """The HTML part alone; its links open in a new tab."""
    with auth.reading() as session:
        text = _need(session, number).html
    response = Response(f'<base target="_blank">{text}', content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = PAGE_OF_HTML
    return response
