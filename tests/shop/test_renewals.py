"""The paid period of an access is over: Flexprice is asked, and the operator sees what is not renewed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from storefront import worker
from storefront.database import writing
from storefront.extensions import db
from storefront.lifecycle import State
from storefront.models import Access

DAY = timedelta(days=1)
PAID_UNTIL = datetime(2026, 10, 1, 10, 0, tzinfo=UTC)
SUBSCRIPTION = {
    "id": "subs_1",
    "customer_id": "cust_01",
    "plan_id": "plan_01",
    "subscription_status": "active",
    "metadata": {},
}


@pytest.fixture
def access(app, context, enrol, order_of, rows, samples):
    """Asha's access, paid until October; called, it is read anew."""
    enrol()
    order_of(state=State.FULFILLED)
    with writing():
        granted = Access(shopper_id=1, plan_id="plan_01", plan_name="Pro", order_id=1, granted_at=samples.NOW)
        granted.subscription_id, granted.paid_until = "subs_1", PAID_UNTIL
        db.session.add(granted)

    def read():
        (found,) = rows(Access)
        return found

    return read


def invoices(*paid_until):
    items = [
        {
            "id": f"inv_{number}",
            "invoice_status": "FINALIZED",
            "payment_status": "SUCCEEDED" if end else "PENDING",
            "currency": "inr",
            "subtotal": "499",
            "total": "499",
            "subscription_id": "subs_1",
            "period_end": (end or PAID_UNTIL + 31 * DAY).isoformat(),
        }
        for number, end in enumerate(paid_until)
    ]
    return {"items": items, "pagination": {"total": len(items), "limit": 100, "offset": 0}}


def answer(vendor, *paid_until, **changes):
    vendor.answers("GET", "/subscriptions/subs_1", SUBSCRIPTION | changes)
    vendor.answers("POST", "/invoices/search", invoices(*paid_until))


def test_nobody_is_asked_before_the_grace_is_over(access, vendor):
    assert worker.ask_about_renewals(PAID_UNTIL + 3 * DAY - timedelta(seconds=1)) == 0


def test_an_unpaid_renewal_ends_nothing_and_is_shown_to_the_operator(access, vendor):
    now = PAID_UNTIL + 3 * DAY
    answer(vendor, PAID_UNTIL, None)
    assert worker.ask_about_renewals(now) == 1
    assert access().overdue_since == PAID_UNTIL
    assert access().active_at(now)


def test_a_paid_renewal_moves_the_date_on(access, vendor):
    answer(vendor, PAID_UNTIL, PAID_UNTIL + 31 * DAY)
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert (access().paid_until, access().overdue_since) == (PAID_UNTIL + 31 * DAY, None)
    assert worker.ask_about_renewals(PAID_UNTIL + 30 * DAY) == 0


def test_a_renewal_paid_late_takes_the_mark_away(access, vendor):
    answer(vendor, PAID_UNTIL)
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert access().overdue_since
    vendor.mock.reset()
    answer(vendor, PAID_UNTIL, PAID_UNTIL + 31 * DAY)
    worker.ask_about_renewals(PAID_UNTIL + 4 * DAY)
    assert access().overdue_since is None


def test_flexprice_is_asked_once_a_day(access, vendor):
    answer(vendor, PAID_UNTIL)
    now = PAID_UNTIL + 3 * DAY
    assert [worker.ask_about_renewals(now + hours * timedelta(hours=1)) for hours in (0, 1, 23)] == [1, 0, 0]
    answer(vendor, PAID_UNTIL)
    assert worker.ask_about_renewals(now + DAY) == 1


def test_a_subscription_that_was_cancelled_ends_the_access(access, vendor):
    answer(vendor, PAID_UNTIL, subscription_status="cancelled")
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert access().revoked_at == PAID_UNTIL + 3 * DAY


def test_what_is_bought_anew_while_flexprice_is_asked_is_no_matter_of_what_was_asked(access, vendor):
    def buy_anew(_request):
        with writing():
            db.session.execute(update(Access).values(subscription_id="subs_2", paid_until=None))
        return 200, {}, json.dumps(invoices(PAID_UNTIL))

    vendor.answers("GET", "/subscriptions/subs_1", SUBSCRIPTION)
    vendor.mock.add_callback("POST", "http://127.0.0.1:8001/v1/invoices/search", buy_anew)
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert (access().paid_until, access().overdue_since) == (None, None)


def test_a_subscription_that_flexprice_has_put_away_is_shown_and_not_ended(access, vendor):
    vendor.answers(
        "GET", "/subscriptions/subs_1", {"code": "not_found", "message": "Subscription not found"}, 404
    )
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert access().overdue_since == PAID_UNTIL
    assert access().revoked_at is None


def test_while_flexprice_is_down_nothing_is_claimed_to_be_so(access, vendor):
    vendor.answers("GET", "/subscriptions/subs_1", {"error": "down"}, 503)
    worker.ask_about_renewals(PAID_UNTIL + 3 * DAY)
    assert access().overdue_since is None


def test_the_grace_is_a_setting(build, vendor):
    with build(RENEWAL_GRACE_DAYS="0").app_context():
        assert worker.settings().renewal_grace == timedelta()
