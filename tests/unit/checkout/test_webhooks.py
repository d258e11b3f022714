"""Receiving webhooks: only authentic events are stored, each once, before the answer."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from werkzeug.test import EnvironBuilder, run_wsgi_app

from storefront.checkout import webhooks
from storefront.checkout.signals import webhook_rejected, webhook_stored
from storefront.models import WebhookEvent
from tests.shop_fixtures import HOME, SIGNING_KEY, sign

NEW_KEY = b"0123456789abcdef" * 2
NEW_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def refused(answer: Any, rows: Any, status: int = 401) -> None:
    assert answer.status_code == status
    assert rows(WebhookEvent) == []


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_signed_event_is_stored(send_webhook: Any, webhook: Any, the_event: Any, family: str) -> None:
    answer = send_webhook(webhook(), family=family)
    assert (answer.status_code, answer.data) == (204, b"")
    event = the_event()
    assert (event.id, event.event_type, event.object_id, event.customer_id) == (
        "msg_1",
        "checkout.session.completed",
        "cs_01",
        "cust_01",
    )
    assert json.loads(event.body) == webhook()
    assert (event.signed, event.processed_at) == (True, None)
    assert event.next_attempt_at == event.received_at


def test_ten_copies_are_one_event(send_webhook: Any, webhook: Any, the_event: Any, sent: Any) -> None:
    with sent(webhook_stored) as stored:
        assert [send_webhook(webhook()).status_code for _ in range(10)] == [204] * 10
    assert the_event().id == "msg_1"
    assert stored == [{"event_id": "msg_1", "event_type": "checkout.session.completed"}]


def test_ten_copies_at_once_are_one_event(send_webhook: Any, webhook: Any, the_event: Any) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: send_webhook(webhook()).status_code, range(10)))
    assert answers == [204] * 10
    assert the_event().id == "msg_1"


def test_second_copy_does_not_overwrite_the_first(send_webhook: Any, webhook: Any, the_event: Any) -> None:
    send_webhook(webhook())
    send_webhook(webhook("failed"))  # signed, but its id is taken
    assert the_event().event_type == "checkout.session.completed"


@pytest.mark.parametrize("path", ["/webhooks/flexprice", "/webhooks/flexprice/"])
def test_trailing_slash_makes_no_difference(app: Any, webhook: Any, path: str) -> None:
    """Kind: spellings of the webhook's address."""
    body = json.dumps(webhook()).encode()
    assert app.test_client().post(path, base_url=HOME, data=body, headers=sign(body)).status_code == 204


def test_webhook_needs_no_csrf_token(asha: Any, webhook: Any) -> None:
    body = json.dumps(webhook()).encode()
    assert asha.raw_post("/webhooks/flexprice", body, headers=sign(body)).status_code == 204


def test_get_is_not_allowed(browser: Any) -> None:
    assert browser.get("/webhooks/flexprice/").status_code == 405


def test_unstored_event_is_not_acknowledged(
    send_webhook: Any, webhook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(webhooks, "store", fail)
    answer = send_webhook(webhook())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


# -- authentication ---------------------------------------------------------------------------------


def test_forged_event_is_refused(send_webhook: Any, webhook: Any, rows: Any, sent: Any) -> None:
    with sent(webhook_rejected) as rejected:
        refused(send_webhook(webhook(), key=b"somebody else's key, 32 bytes..."), rows)
    (rejection,) = rejected
    assert rejection["error"].reason == "no_match"
    assert (json.loads(rejection["body"]), rejection["remote_addr"]) == (webhook(), "127.0.0.1")


def test_signed_body_that_is_no_event_is_told_so(send_webhook: Any) -> None:
    answer = send_webhook({"no": "event"})
    assert (answer.status_code, answer.json) == (400, {"error": "not an event"})


@pytest.mark.parametrize(
    ("seconds", "status"), [(-290, 204), (290, 204), (-310, 401), (310, 401), (-86400, 401), (86400, 401)]
)
def test_five_minutes_either_way_are_accepted(
    send_webhook: Any, webhook: Any, rows: Any, seconds: int, status: int
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    assert send_webhook(webhook(), at=at).status_code == status
    assert len(rows(WebhookEvent)) == (status == 204)


def test_manual_resend_is_stored_once(send_webhook: Any, webhook: Any, the_event: Any) -> None:
    """It keeps its id and has a new timestamp."""
    send_webhook(webhook(), at=datetime.now(UTC) - timedelta(minutes=4))
    assert send_webhook(webhook()).status_code == 204
    assert the_event().id == "msg_1"


def test_altered_body_is_refused(send_webhook: Any, webhook: Any, rows: Any) -> None:
    refused(send_webhook(webhook(), sign(json.dumps(webhook("failed")).encode())), rows)


def test_one_more_space_is_refused(send_webhook: Any, webhook: Any, rows: Any) -> None:
    body = json.dumps(webhook()).encode()
    refused(send_webhook(body + b" ", sign(body)), rows)


@pytest.mark.parametrize("changed", ["svix-id", "svix-timestamp"])
def test_altered_header_is_refused(send_webhook: Any, webhook: Any, rows: Any, changed: str) -> None:
    body = json.dumps(webhook()).encode()
    headers = sign(body)
    headers[changed] = headers[changed][:-1] + ("1" if headers[changed][-1] != "1" else "2")
    refused(send_webhook(body, headers), rows)


@pytest.mark.parametrize("missing", ["svix-id", "svix-timestamp", "svix-signature"])
def test_missing_header_is_refused(send_webhook: Any, webhook: Any, rows: Any, missing: str) -> None:
    body = json.dumps(webhook()).encode()
    headers = {name: value for name, value in sign(body).items() if name != missing}
    refused(send_webhook(body, headers), rows)


def test_header_families_are_not_mixed(send_webhook: Any, webhook: Any, rows: Any) -> None:
    body = json.dumps(webhook()).encode()
    svix, plain = sign(body), sign(body, family="webhook")
    del svix["svix-signature"]
    refused(send_webhook(body, svix | {"webhook-signature": plain["webhook-signature"]}), rows)


@pytest.mark.parametrize("secret", ["", "whsec_short", "whsec_not base64!"])
def test_without_a_usable_secret_nothing_is_accepted(
    make_app: Any, context: Any, webhook: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    installed = context.extensions["checkout"]
    monkeypatch.setitem(context.config, "FLEXPRICE_WEBHOOK_SECRET", secret)
    body = json.dumps(webhook()).encode()
    answer = context.test_client().post("/webhooks/flexprice", base_url=HOME, data=body, headers=sign(body))
    assert (installed.verifier, answer.status_code) == (None, 401)


def test_rotation_drops_no_event(make_app: Any, env: dict[str, str], webhook: Any) -> None:
    """First the old secret; then both, in either order; at last the new one alone."""
    old = env["FLEXPRICE_WEBHOOK_SECRET"]
    body, at = json.dumps(webhook()).encode(), datetime.now(UTC)
    by_old = sign(body, key=SIGNING_KEY, at=at)["svix-signature"]
    by_new = sign(body, key=NEW_KEY, at=at)["svix-signature"]

    def answers(secrets: str, *signatures: str) -> list[int]:
        client = make_app(FLEXPRICE_WEBHOOK_SECRET=secrets).test_client()
        post = [sign(body, at=at) | {"svix-signature": signature} for signature in signatures]
        return [client.post("/webhooks/flexprice", data=body, headers=h).status_code for h in post]

    both = (f"{by_old} {by_new}", f"{by_new} {by_old}")
    assert answers(f"{old} {NEW_SECRET}", by_old, by_new, *both) == [204] * 4
    assert answers(f"{NEW_SECRET} {old}", by_old, by_new, *both) == [204] * 4
    assert answers(NEW_SECRET, by_new, *both, by_old) == [204, 204, 204, 401]


# -- bodies -----------------------------------------------------------------------------------------


@pytest.fixture
def unlimited(app: Any) -> Any:
    """The shop without a limit of its own for all requests."""
    app.config["MAX_CONTENT_LENGTH"] = None
    return app


@pytest.mark.usefixtures("unlimited")
def test_body_over_the_limit_is_413(send_webhook: Any, rows: Any) -> None:
    answer = send_webhook(b"{" + b" " * webhooks.MAX_BODY_BYTES)
    refused(answer, rows, 413)
    assert answer.json == {"error": "body too large"}


@pytest.mark.usefixtures("unlimited")
def test_body_at_the_limit_is_read(send_webhook: Any, webhook: Any) -> None:
    body = json.dumps(webhook()).encode()
    assert send_webhook(body.ljust(webhooks.MAX_BODY_BYTES)).status_code == 204


def post_raw(app: Any, body: bytes, length: str | None) -> int:
    """As a server hands it over: with this Content-Length, or chunked without one."""
    builder = EnvironBuilder("/webhooks/flexprice", HOME, method="POST", headers=sign(body))
    environ = builder.get_environ() | {"wsgi.input": BytesIO(body), "wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    given = {"CONTENT_LENGTH": length} if length else {"HTTP_TRANSFER_ENCODING": "chunked"}
    _, status, _ = run_wsgi_app(app, environ | given)
    return int(status[:3])


@pytest.mark.parametrize(("extra", "status"), [(0, 204), (1, 413)])
def test_chunked_body_has_the_same_limit(unlimited: Any, webhook: Any, extra: int, status: int) -> None:
    body = json.dumps(webhook()).encode().ljust(webhooks.MAX_BODY_BYTES + extra)
    assert post_raw(unlimited, body, length=None) == status


def test_announced_length_alone_is_refused(unlimited: Any, webhook: Any) -> None:
    assert post_raw(unlimited, json.dumps(webhook()).encode(), length=str(10**12)) == 413


@pytest.mark.parametrize("kind", ["customer.created", "invoice.update.finalized", "brand.new"])
def test_other_events_are_stored_without_their_body(send_webhook: Any, the_event: Any, kind: str) -> None:
    entity = {"id": "obj_1", "customer_id": "cust_9", "email": "private@example.com"}
    assert send_webhook({"event_type": kind, kind.partition(".")[0]: entity}).status_code == 204
    event = the_event()
    assert (event.event_type, event.object_id, event.body) == (kind, "obj_1", None)


def test_subscription_event_keeps_the_order_reference(send_webhook: Any, the_event: Any) -> None:
    subscription = {"id": "subs_1", "subscription_status": "active", "metadata": {"order_ref": "abc"}}
    send_webhook({"event_type": "subscription.updated", "subscription": subscription})
    event = the_event()
    assert (event.object_id, event.order_ref, event.body) == ("subs_1", "abc", None)


def test_refund_event_is_stored_by_its_payment(send_webhook: Any, the_event: Any) -> None:
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "succeeded", "currency": "inr"}
    send_webhook({"event_type": "refund.succeeded", "refund": refund})
    assert (the_event().object_id, the_event().body) == ("pay_01", None)


KINDS = {
    "checkout.session.completed": "checkout_session",
    "subscription.updated": "subscription",
    "refund.x": "refund",
    "plan.x": "plan",
}
PLACES = ("event_type", "id", "customer_id", "payment_id", "idempotency_key", "order_ref")


@pytest.mark.parametrize("odd", ["\\ud800", "\\u0000", "x" * 300], ids=["surrogate", "NUL", "too long"])
def test_text_no_database_keeps_is_refused_or_cut(send_webhook: Any, rows: Any, odd: str) -> None:
    for number, (kind, place) in enumerate(itertools.product(KINDS, PLACES)):
        inner: dict[str, Any] = {
            "id": "x_1", "customer_id": "c_1", "checkout_status": "completed", "metadata": {}
        }  # fmt: skip
        event: dict[str, Any] = {"event_type": kind, KINDS[kind]: inner}
        where = {"event_type": event, "order_ref": inner["metadata"]}.get(place, inner)
        where[place] = where.get(place, "") + "ODD"
        raw = json.dumps(event).encode().replace(b"ODD", odd.encode())
        answer = send_webhook(raw, message_id=f"msg_{number}")
        assert (kind, place, answer.status_code in (204, 400)) == (kind, place, True)
    for row in rows(WebhookEvent):
        kept = (row.event_type, row.object_id, row.customer_id, row.order_ref or "")
        assert all(len(text) <= 255 and "\0" not in text and text.isascii() for text in kept)
