"""Calls the shop at its public address, as Flexprice and a browser would.

The test event is of a type that Flexprice does not have, and its id begins with msg_preflight_: the worker
ignores it. Nothing else happens.
"""

import json
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import requests
from flask import url_for
from sqlalchemy import func, select
from standardwebhooks import Webhook

from storefront.checkout.context import rollback
from storefront.extensions import db
from storefront.http import request
from storefront.models import WebhookEvent
from storefront.operations.preflight.result import FAILS, OK, WARNING, Context, Finding
from storefront.operations.webhook_rejections import SELF_TEST
from storefront.settings import Settings

EVENT_TYPE = "storefront.preflight"
MAX_ANSWER_S = 5.0  # the vendor asks for it
SAME_EVERYWHERE = "Its secret differs: set the same FLEXPRICE_WEBHOOK_SECRET in every process."
FORGED_SECRET = "whsec_" + "Zm9yZ2Vk" * 4


class Sender(NamedTuple):
    """Signs with a secret, or sends the shared header of a Flexprice that does not sign."""

    secret: str
    header_name: str
    header_value: str

    def headers(self, message_id: str, body: str) -> dict[str, str]:
        if not self.secret:
            return {self.header_name: self.header_value} if self.header_name else {}
        now = datetime.now(UTC)
        signature = Webhook(self.secret).sign(message_id, now, body)
        return {
            "svix-id": message_id,
            "svix-timestamp": str(int(now.timestamp())),
            "svix-signature": signature,
        }


def webhook_endpoint(context: Context) -> Iterable[Finding]:
    """A signed event, the same again, and a forged one."""
    message_id, settings = SELF_TEST + secrets.token_hex(8), context.settings
    url = settings.storefront_url + webhook_path()
    try:
        started_s = time.monotonic()
        first = _post(url, message_id, genuine(settings))
        spent_s = time.monotonic() - started_s
        second = _post(url, message_id, genuine(settings))
        forged = _post(url, f"{message_id}_forged", forging(settings))
    except requests.RequestException as error:
        return [Finding(FAILS, f"{url} does not answer: {type(error).__name__}.", _fix_of(error))]
    found = [_about_signed(first, spent_s), _about_forged(forged)]
    if settings.flexprice_webhook_secret:  # unsigned ones are hints: none is stored under this id
        found.insert(1, _about_duplicate(second, message_id))
    return found


def webhook_path() -> str:
    from flask import current_app

    with current_app.test_request_context():
        return url_for("checkout.webhook").rstrip("/")


def genuine(settings: Settings) -> Sender:
    name, _, value = settings.flexprice_webhook_header.partition(":")
    first = next(iter(settings.flexprice_webhook_secret.split()), "")
    return Sender(first, name.strip(), value.strip())


def forging(settings: Settings) -> Sender:
    """The same form with a value that is wrong."""
    real = genuine(settings)
    return Sender(FORGED_SECRET if real.secret else "", real.header_name, secrets.token_hex(16))


def _post(url: str, message_id: str, sender: Sender) -> int:
    event = {"event_type": EVENT_TYPE, "storefront": {"id": message_id}}
    body = json.dumps(event, separators=(",", ":"))
    headers = {"Content-Type": "application/json"} | sender.headers(message_id, body)
    answer = request("POST", url, data=body, headers=headers, timeout=(2, 15))
    return answer.status_code


def _about_signed(status: int, spent_s: float) -> Finding:
    if not 200 <= status < 300:
        fix = SAME_EVERYWHERE if status == 401 else "Check the proxy: it must pass POSTs on unchanged."
        return Finding(FAILS, f"An authentic event is answered {status}.", fix)
    if spent_s >= MAX_ANSWER_S:
        fix = "Five seconds are allowed: check the database."
        return Finding(FAILS, f"It took {spent_s:.1f} s to answer.", fix)
    return Finding(OK, f"an authentic event is answered {status} in {spent_s:.1f} s")


def _about_duplicate(status: int, message_id: str) -> Finding:
    rollback()  # a transaction that began before the event would not see it
    stored = db.session.scalar(select(func.count()).where(WebhookEvent.id == message_id))
    if stored == 1 and 200 <= status < 300:
        return Finding(OK, "the same event again is answered alike and stored once")
    if stored == 0:
        message = "The event was answered, but is not in this database."
        return Finding(FAILS, message, "Another shop answers there, or with another DATABASE_URL.")
    message = f"The same event again: answered {status}, stored {stored} times."
    return Finding(FAILS, message, "Report it.")


def _about_forged(status: int) -> Finding:
    if status in (400, 401, 403):
        return Finding(OK, f"a forged event is rejected ({status})")
    fix = "Something in front of the shop answers instead of it, or verifies nothing."
    return Finding(FAILS, f"A forged event is answered {status}.", fix)


def _fix_of(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "Its certificate is not accepted: Flexprice will not accept it either."
    if isinstance(error, requests.exceptions.Timeout):
        return "It is too slow, or a firewall drops the connection."
    return "Is the shop running, and does its name resolve from this machine too?"


# -- pages ------------------------------------------------------------------------------------------


def cookies_and_headers(context: Context) -> Iterable[Finding]:
    """What a browser gets: cookies and headers as they leave the proxy."""
    url = context.settings.storefront_url + "/sign-in"
    try:
        answer = request("GET", url)
    except requests.RequestException as error:
        return [Finding(FAILS, f"{url} does not answer: {type(error).__name__}.", _fix_of(error))]
    if answer.status_code != 200:
        fix = "Behind a proxy, set TRUSTED_PROXIES and let it pass on the Host header."
        return [Finding(FAILS, f"{url} answers {answer.status_code}.", fix)]
    return [_about_cookie(answer, context.settings), _about_hsts(answer, context.settings)]


def _about_cookie(answer: requests.Response, settings: Settings) -> Finding:
    cookie = answer.headers.get("Set-Cookie", "")
    flags = {part.strip().lower() for part in cookie.split(";")}
    wanted = {"httponly", "samesite=lax"} | ({"secure"} if settings.production else set())
    if not cookie:
        fix = "A cache in front of the shop? It must not keep pages."
        return Finding(WARNING, "The sign-in page sets no cookie.", fix)
    if missing := sorted(wanted - flags):
        message = f"The session cookie lacks {', '.join(missing)}."
        return Finding(FAILS, message, "Find the proxy that rewrites cookies.")
    return Finding(OK, "the session cookie is " + ", ".join(sorted(wanted)))


def _about_hsts(answer: requests.Response, settings: Settings) -> Finding:
    if "Strict-Transport-Security" in answer.headers:
        return Finding(OK, "browsers use https only (HSTS)")
    if settings.production:
        return Finding(FAILS, "HSTS is missing.", "The shop sets it: find the proxy that removes it.")
    return Finding(WARNING, "No HSTS over plain http.", "It comes with an https STOREFRONT_URL.")
