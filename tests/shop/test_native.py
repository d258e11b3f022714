"""A self-hosted Flexprice that signs nothing: its posts are hints, and Flexprice is asked each time."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from storefront import inbox, worker
from storefront.extensions import db
from storefront.models import Access, InboxMessage, Refusal
from storefront.settings import Settings

VALUE = "k8Jq2-the-value-agreed-upon-4711"
SHARED = {"X-Api-Key": VALUE}
AWAITING = {
    "terms_checked_at": datetime(2026, 9, 1, 10, 0, tzinfo=UTC),
    "state": "awaiting_payment",
    "session_id": "cs_01",
    "customer_id": "cust_01",
    "payment_id": "pay_01",
}
PAUSE = timedelta(minutes=10)  # longer than the slowest machine takes for a test
PENDING = {"terminal": False, "checkout_status": "pending"}
COMPLETED = {"checkout_status": "completed", "completed_at": "2026-09-01T10:03:20Z", "payment_action": None}
GONE = {"code": "not_found", "message": "not found", "http_status_code": 404}
SESSION = "/checkout/sessions/cs_01"


@pytest.fixture
def env(env):
    return env | {"FLEXPRICE_WEBHOOK_HEADER": f"X-Api-Key: {VALUE}", "FLEXPRICE_WEBHOOK_SECRET": ""}


@pytest.fixture(autouse=True)
def _pause(monkeypatch):
    monkeypatch.setattr(inbox, "HINT_PAUSE", PAUSE)


@pytest.fixture
def open_order(enrol, order_of):
    enrol()
    return order_of(**AWAITING)


@pytest.fixture
def work(app):
    def one_pass(after=timedelta()):
        with app.app_context():
            worker.read_inbox(datetime.now(UTC) + after)
            worker.look_after_orders(datetime.now(UTC) + after)
            db.session.remove()

    return one_pass


@pytest.fixture
def looks(vendor):
    """How often Flexprice was asked about the session."""
    return lambda: vendor.calls.count(("GET", SESSION))


def test_a_genuine_hint_is_followed_by_a_question_and_fulfils(
    tell, news, samples, vendor, open_order, work, the_order, rows, looks
):
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))
    assert tell(news(), SHARED).status_code == 204
    work()
    assert looks() == 1
    assert the_order().state == "fulfilled"
    assert len(rows(Access)) == 1


def test_a_forged_completed_for_a_pending_session_changes_nothing_and_is_seen(
    tell, news, samples, vendor, open_order, work, the_order, rows, looks, caplog
):
    caplog.set_level("INFO")
    vendor.answers("GET", SESSION, samples.session(**PENDING))
    assert tell(news("completed"), SHARED).status_code == 204
    work()
    assert looks() == 1
    assert the_order().state == "awaiting_payment"
    assert rows(Access) == []
    (message,) = rows(InboxMessage)
    assert message.outcome == "nothing new"
    assert (
        "message hint:checkout.session.hinted:cs_01 (checkout.session.hinted): nothing new" in caplog.messages
    )


@pytest.mark.parametrize("status", ["failed", "expired", "completed"])
def test_what_a_hint_claims_is_never_believed(
    tell, news, samples, vendor, open_order, work, the_order, status
):
    """Not even that something else than the truth was once announced: that would make the order stuck."""
    vendor.answers("GET", SESSION, samples.session(checkout_status="failed"))
    tell(news(status), SHARED)
    work()
    assert the_order().state == "failed"


def test_a_flood_of_hints_costs_one_question_in_an_interval(
    tell, news, samples, vendor, open_order, work, rows, looks
):
    vendor.answers("GET", SESSION, samples.session(**PENDING))
    for status in ("completed", "failed", "initiated", "brand_new") * 5:
        tell(news(status), SHARED)
        work()
    assert looks() == 1
    assert len(rows(InboxMessage)) == 1

    work(PAUSE)
    work(PAUSE)
    assert looks() == 2  # the flood may have brought something true
    work(PAUSE * 9)
    assert looks() == 2


def test_a_hint_about_nothing_costs_one_question_in_an_interval(tell, news, vendor, work, rows):
    vendor.answers("GET", SESSION, GONE, 404)
    for _ in range(20):
        tell(news(), SHARED)
        work()
    work(PAUSE / 2)
    assert len(vendor.calls) == 1
    (message,) = rows(InboxMessage)
    assert message.handled_at is None

    work(PAUSE * 2)
    assert len(vendor.calls) == 2


def test_a_genuine_hint_after_a_forged_one_is_not_lost(
    tell, news, samples, vendor, open_order, work, the_order, looks
):
    vendor.answers("GET", SESSION, samples.session(**PENDING))
    tell(news(), SHARED)
    work()
    vendor.mock.reset()
    vendor.answers("GET", SESSION, samples.session(**COMPLETED))
    tell(news(), SHARED)
    work(PAUSE)
    assert the_order().state == "fulfilled"


def test_a_hint_that_comes_while_flexprice_is_asked_is_followed_up(
    app, tell, news, samples, vendor, open_order, work, rows
):
    """The answer under way may be older than the hint."""

    def meanwhile(_request):
        tell(news(), SHARED)
        return 200, {}, json.dumps(samples.session(**PENDING))

    vendor.mock.add_callback("GET", "http://127.0.0.1:8001/v1" + SESSION, callback=meanwhile)
    tell(news(), SHARED)
    work()
    (message,) = rows(InboxMessage)
    assert message.handled_at is None
    assert message.next_try_at > message.received_at


def test_of_a_hint_only_the_id_is_kept(tell, news, rows):
    tell(news(), SHARED)
    (message,) = rows(InboxMessage)
    assert (message.object_id, message.event_type) == ("cs_01", "checkout.session.hinted")
    assert (message.body, message.customer_id, message.order_ref) == (None, "", None)


def test_a_hint_cannot_end_an_access_that_flexprice_knows_to_be_running(
    app, tell, vendor, enrol, order_of, rows, work
):
    """Whatever order the forged news names: only the subscription that Flexprice shows is followed."""
    enrol()
    ref = order_of(state="fulfilled", session_id="cs_01", customer_id="cust_01")
    with app.app_context(), worker.writing() as session:
        now = datetime.now(UTC)
        session.add(Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=now))
    vendor.answers(
        "GET", "/subscriptions/subs_9", {"code": "not_found", "message": "subscription not found"}, 404
    )
    forged = {"id": "subs_9", "subscription_status": "cancelled", "metadata": {"order_ref": ref}}
    assert tell({"event_type": "subscription.cancelled", "subscription": forged}, SHARED).status_code == 204
    work()
    (access,) = rows(Access)
    assert access.revoked_at is None


@pytest.mark.parametrize(("status", "flagged"), [("REFUNDED", True), ("SUCCEEDED", False)])
def test_a_hint_of_a_refund_is_looked_up_too(
    tell, vendor, samples, open_order, the_order, work, status, flagged
):
    if flagged:  # the session is asked first: has it ended?
        vendor.answers("GET", SESSION, samples.session(**PENDING))
    vendor.answers(
        "GET",
        "/payments/pay_01",
        {"id": "pay_01", "payment_status": status, "amount": "499", "currency": "inr"},
    )
    refund = {"id": "re_1", "payment_id": "pay_01", "refund_status": "succeeded", "currency": "inr"}
    assert tell({"event_type": "refund.succeeded", "refund": refund}, SHARED).status_code == 204
    work()
    assert (the_order().state == "paid_late") is flagged


def test_hints_the_shop_has_no_use_for_are_let_in_and_not_kept(tell, rows):
    assert tell({"event_type": "customer.created", "customer": {"id": "cust_9"}}, SHARED).status_code == 204
    assert rows(InboxMessage) == []


# -- who is let in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Api-Key": ""},
        {"X-Api-Key": VALUE[:-1]},
        {"X-Api-Key": VALUE + "x"},
        {"X-Api-Key": VALUE.upper()},
        {"X-Other": VALUE},
        {"X-Api-Key": "é" * 32},
    ],
    ids=repr,
)
def test_without_the_right_header_nothing_comes_in(tell, news, rows, headers):
    answer = tell(news(), headers)
    assert (answer.status_code, answer.json) == (401, {"error": "signature not accepted"})
    assert rows(InboxMessage) == []
    assert [refusal.cause for refusal in rows(Refusal)] == ["shared_header"]


def test_the_name_of_the_header_is_read_in_any_case(tell, news):
    assert tell(news(), {"x-api-KEY": VALUE}).status_code == 204


def test_the_header_sent_twice_is_refused(app, news):
    headers = [("X-Api-Key", VALUE), ("X-Api-Key", VALUE)]
    answer = app.test_client().post("/webhooks/flexprice", json=news(), headers=headers)
    assert answer.status_code == 401


def test_a_body_that_is_no_event_is_400_as_ever(tell):
    assert tell(b"{", SHARED).status_code == 400


def test_beside_secrets_a_signed_post_must_still_open(build, env, sign, news):
    """The header is for posts that claim no signature; it mends none that is wrong."""
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    door = build(FLEXPRICE_WEBHOOK_SECRET=secret).test_client()
    body = json.dumps(news()).encode()
    good, bad = sign(body, key=b"0123456789abcdef" * 2), sign(body, key=b"somebody else's, thirty-two byte")

    def status(headers):
        return door.post("/webhooks/flexprice", data=body, headers=headers).status_code

    assert status(good) == 204
    assert status(bad | SHARED) == 401
    assert status({"svix-id": "msg_1"} | SHARED) == 401
    assert status(SHARED) == 204
    assert status({}) == 401


def test_without_the_setting_an_unsigned_post_is_refused(build, news):
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    door = build(FLEXPRICE_WEBHOOK_HEADER="", FLEXPRICE_WEBHOOK_SECRET=secret).test_client()
    assert door.post("/webhooks/flexprice", json=news(), headers=SHARED).status_code == 401


def test_the_value_is_in_no_row_and_no_log(tell, news, rows, caplog, env):
    caplog.set_level("DEBUG")
    tell(news(), SHARED)
    tell(news(), {"X-Api-Key": VALUE + "x"})
    kept = repr([vars(row) for model in (Refusal, InboxMessage) for row in rows(model)]) + caplog.text
    assert VALUE not in kept + repr(Settings.from_env(env))
