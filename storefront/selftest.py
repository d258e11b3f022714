"""The shop knocks at its own public address, as Flexprice and a browser would.

The test message is of a type Flexprice does not have, and its id begins with msg_doctor_: the worker notes
it, and nothing else happens.
"""

import json
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import requests
from sqlalchemy import func, select
from standardwebhooks import Webhook

from storefront.extensions import db
from storefront.models import InboxMessage
from storefront.settings import Settings

EVENT_TYPE = "storefront.doctor"
SOON_ENOUGH = 5.0  # seconds: the vendor asks for it
PATH = "/webhooks/flexprice"

Found = tuple[str, str, str]  # status, why, fix

_SAME_EVERYWHERE = "The secret there is another one: set the same FLEXPRICE_WEBHOOK_SECRET in every process."


def webhook(settings: Settings) -> Iterable[Found]:
    """A signed message, the same once more, and a forged one."""
    message_id = f"msg_doctor_{secrets.token_hex(8)}"
    url = settings.storefront_url + PATH
    try:
        started = time.monotonic()
        first = _post(url, message_id, _signing(settings))
        spent = time.monotonic() - started
        second = _post(url, message_id, _signing(settings))
        forged = _post(url, f"{message_id}_forged", _forging(settings))
    except requests.RequestException as error:
        return [("fails", f"{url} does not answer: {type(error).__name__}.", _reach(error))]
    return [
        *_about_the_signed(first, spent),
        *_about_the_duplicate(second, message_id, settings),
        *_about_the_forged(forged),
    ]


def _post(url: str, message_id: str, sender: "Sender") -> int:
    entity = {"id": message_id}
    body = json.dumps({"event_type": EVENT_TYPE, "storefront": entity}, separators=(",", ":"))
    headers = {"Content-Type": "application/json"} | sender.headers(message_id, body)
    answer = requests.post(url, data=body, headers=headers, timeout=(2, 15), allow_redirects=False)
    return answer.status_code


class Sender:
    """Signs with a secret, or sends the shared header of a Flexprice that does not sign."""

    def __init__(self, secret: str | None, header: tuple[str, str] | None) -> None:
        self.secret, self.header = secret, header

    def headers(self, message_id: str, body: str) -> dict[str, str]:
        if not self.secret:
            return dict([self.header] if self.header else [])
        now = datetime.now(UTC)
        return {
            "svix-id": message_id,
            "svix-timestamp": str(int(now.timestamp())),
            "svix-signature": Webhook(self.secret).sign(message_id, now, body),
        }


def _signing(settings: Settings) -> Sender:
    secret = next(iter(settings.flexprice_webhook_secrets), None)
    return Sender(secret, settings.flexprice_webhook_header)


def _forging(settings: Settings) -> Sender:
    """The same form with a value nobody knows."""
    real = _signing(settings)
    name = real.header[0] if real.header else ""
    guess = "whsec_" + "Zm9yZ2Vk" * 4
    return Sender(guess if real.secret else None, (name, secrets.token_hex(16)) if name else None)


def _about_the_signed(status: int, spent: float) -> Iterable[Found]:
    if not 200 <= status < 300:
        fix = (
            _SAME_EVERYWHERE
            if status == 401
            else "Look at the proxy: it must hand POSTs to the shop unchanged."
        )
        yield "fails", f"A signed message is answered {status}.", fix
    elif spent >= SOON_ENOUGH:
        yield (
            "fails",
            f"It took {spent:.1f} s to answer.",
            "Five seconds are asked for: look at the database.",
        )
    else:
        yield "ok", f"a signed message is answered {status} in {spent:.1f} s", ""


def _about_the_duplicate(status: int, message_id: str, settings: Settings) -> Iterable[Found]:
    if not settings.flexprice_webhook_secrets:
        return  # unsigned messages are hints: none of them is kept as a message
    db.session.rollback()
    kept = db.session.scalar(select(func.count()).where(InboxMessage.id == message_id))
    if kept == 1 and 200 <= status < 300:
        yield "ok", "the same message once more is answered alike and kept once", ""
    elif kept == 0:
        why = "The message was answered, but is not in this database."
        yield "fails", why, "Another shop answers at that address, or with another DATABASE_URL."
    else:
        yield "fails", f"The same message once more: answered {status}, kept {kept} times.", "Report it."


def _about_the_forged(status: int) -> Iterable[Found]:
    if status in (400, 401, 403):
        yield "ok", f"a forged message is refused ({status})", ""
    else:
        why = f"A forged message is answered {status}."
        yield "fails", why, "Something in front of the shop answers for it, or checks nothing."


def _reach(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "Its certificate is not accepted: Flexprice will not accept it either."
    if isinstance(error, requests.exceptions.Timeout):
        return "It is too slow, or something drops the connection."
    return "Is the shop running, and does the name lead to it, from this machine too?"


def pages(settings: Settings) -> Iterable[Found]:
    """What a browser gets: cookies and headers as they leave the proxy."""
    url = settings.storefront_url + "/sign-in"
    try:
        answer = requests.get(url, timeout=(2, 5), allow_redirects=False)
    except requests.RequestException as error:
        return [("fails", f"{url} does not answer: {type(error).__name__}.", _reach(error))]
    if answer.status_code != 200:
        fix = "Behind a proxy, set TRUSTED_PROXIES and let it hand on the name it was asked for."
        return [("fails", f"{url} answers {answer.status_code}.", fix)]
    return [*_about_the_cookie(answer, settings), *_about_hsts(answer, settings)]


def _about_the_cookie(answer: requests.Response, settings: Settings) -> Iterable[Found]:
    cookie = answer.headers.get("Set-Cookie", "")
    flags = {part.strip().lower() for part in cookie.split(";")}
    wanted = {"httponly", "samesite=lax"} | ({"secure"} if settings.production else set())
    missing = sorted(wanted - flags)
    if not cookie:
        yield (
            "warning",
            "The sign-in page sets no cookie.",
            "A cache in front of the shop? It must not keep pages.",
        )
    elif missing:
        yield (
            "fails",
            f"The session cookie lacks {', '.join(missing)}.",
            "Look for a proxy that rewrites cookies.",
        )
    else:
        yield "ok", "the session cookie is " + ", ".join(sorted(wanted)), ""


def _about_hsts(answer: requests.Response, settings: Settings) -> Iterable[Found]:
    if "Strict-Transport-Security" in answer.headers:
        yield "ok", "browsers are told to use https only (HSTS)", ""
    elif settings.production:
        yield "fails", "HSTS is missing.", "The shop sets it: look for a proxy that takes it away."
    else:
        yield "warning", "No HSTS over plain http.", "It comes with an https STOREFRONT_URL."
