"""The end of a period: notice, draft, lines, final invoice; unpaid ones; automatic cancellation."""

from typing import Any

import pytest

from .second_month import Shopper, money


@pytest.mark.thorough
def test_a_period_ends_as_the_timeline_says(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    shopper.told()

    shopper.until("period_end", subscription)

    rolled, draft = shopper.subscription(subscription), shopper.invoices(subscription)[1]
    assert rolled["current_period_start"] == "2026-10-01T10:00:00Z"
    assert (draft["invoice_status"], draft["total"], draft["invoice_number"]) == ("DRAFT", "0", "")
    assert (draft["version"], "due_date" in draft, "line_items" in draft) == (0, False, False)
    assert shopper.told() == ["subscription.renewal.due"]

    shopper.until("invoice_computed", subscription)
    computed = shopper.invoice(draft["id"])
    assert (computed["total"], computed["due_date"]) == ("300", "2026-10-02T10:00:00Z")
    assert computed["period_end"] == computed["line_items"][0]["period_start"] == "2026-10-01T10:00:00Z"
    assert shopper.told() == ["invoice.update"]

    shopper.until("invoice_finalized", subscription)
    final = shopper.invoice(draft["id"])
    assert final["invoice_number"].startswith("INV-202610-")
    assert (final["finalized_at"][:16], final["version"]) == ("2026-10-01T12:16", 4)
    assert shopper.told() == ["invoice.update.finalized"]


@pytest.mark.parametrize(("generation", "bills"), [("newest", 2), ("legacy", 1)])
def test_the_first_renewal_after_a_checkout_is_a_switch(api: Any, generation: str, bills: int) -> None:
    shopper = Shopper(api, generation=generation)
    subscription = shopper.buy(shopper.plan())

    shopper.until("period_end", subscription)
    assert len(shopper.invoices(subscription)) == bills

    shopper.until("period_end", subscription)
    assert len(shopper.invoices(subscription)) == bills + 1


@pytest.mark.thorough
def test_the_first_final_renewal_may_be_periods_away(api: Any) -> None:
    shopper = Shopper(api, generation="legacy")
    subscription = shopper.buy(shopper.plan())

    shopper.until("invoice_finalized", subscription)

    assert shopper.get("/subscriptions/" + subscription["id"])["current_period_start"].startswith(
        "2026-11-01"
    )
    assert shopper.invoices(subscription)[1]["invoice_status"] == "FINALIZED"


@pytest.mark.thorough
def test_the_notice_is_sent_by_a_job_that_never_catches_up(api: Any) -> None:
    shopper = Shopper(api)
    shopper.subscribe(shopper.plan())
    api.control("clock", advance="31d", jump=True)

    assert "subscription.renewal.due" not in shopper.told()


@pytest.mark.thorough
def test_no_notice_of_a_period_that_is_the_last(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "end_of_period"})

    shopper.advance("31d")

    assert "subscription.renewal.due" not in shopper.told()


@pytest.mark.thorough
def test_unpaid_renewals_pile_up_and_the_subscription_stays_active(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())

    shopper.advance("95d")

    assert money(shopper.invoices(subscription)) == [("FINALIZED", "PENDING", "300")] * 4
    assert shopper.subscription(subscription)["subscription_status"] == "active"


@pytest.mark.thorough
def test_after_an_outage_there_is_one_invoice_for_each_period(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    api.control("clock", advance="95d", jump=True)

    shopper.advance("3h")

    starts = [one["period_start"][:10] for one in shopper.invoices(subscription)]
    assert starts == ["2026-09-01", "2026-09-01", "2026-10-01", "2026-11-01"]


@pytest.mark.thorough
def test_a_fee_in_arrear_is_billed_for_the_period_that_ended(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan(invoice_cadence="ARREAR"))
    assert shopper.invoices(subscription) == []

    shopper.until("invoice_finalized", subscription)

    (invoice,) = shopper.invoices(subscription)
    assert (invoice["total"], invoice["line_items"][0]["period_end"][:10]) == ("300", "2026-10-01")


@pytest.mark.thorough
def test_with_nothing_to_bill_the_draft_is_skipped_without_a_message(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan(amount="0"))
    shopper.told()

    shopper.advance("35d")

    assert money(shopper.invoices(subscription)) == [("SKIPPED", "PENDING", "0")]
    assert shopper.told() == ["subscription.renewal.due"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("period", "until"), [("ANNUAL", "2027-09-01"), ("QUARTERLY", "2026-12-01"), ("WEEKLY", "2026-09-08")]
)
def test_other_periods_renew(api: Any, period: str, until: str) -> None:
    shopper = Shopper(api)
    plan = shopper.plan(amount="12", currency="usd", billing_period=period)
    subscription = shopper.subscribe(plan, currency="usd", billing_period=period)

    shopper.until("invoice_finalized", subscription)

    renewal = shopper.invoices(subscription)[1]
    assert (renewal["period_end"][:10], renewal["total"], renewal["currency"]) == (until, "12", "usd")


@pytest.mark.thorough
def test_the_delay_and_the_days_are_settings(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    value = {"finalization_delay_seconds": 600, "due_date_days": 7}
    api.call("PUT", "/v1/settings/invoice_config", {"value": value})

    shopper.until("invoice_finalized", subscription)

    renewal = shopper.invoices(subscription)[1]
    assert (renewal["finalized_at"][:16], renewal["due_date"][:10]) == ("2026-10-01T10:26", "2026-10-08")


@pytest.mark.thorough
def test_an_unpaid_subscription_ends_after_the_grace_period_if_that_is_on(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan(), payment_terms="15 NET")
    value = {"auto_cancellation_enabled": True, "grace_period_days": 2}
    assert api.call("PUT", "/v1/settings/subscription_config", {"value": value}).status_code == 200
    refused = api.call("PUT", "/v1/settings/subscription_config", {"value": {"grace_period_days": 0}})
    shopper.told()

    shopper.advance("50d")

    ended = shopper.subscription(subscription)
    assert (ended["subscription_status"], ended["cancelled_at"][:10]) == ("cancelled", "2026-10-18")
    assert shopper.invoices(subscription)[0]["payment_status"] == "PENDING"
    assert shopper.told()[-2:] == ["subscription.updated", "subscription.cancelled"]
    assert refused.status_code == 400


@pytest.mark.thorough
def test_a_subscription_with_an_end_is_not_billed_beyond_it(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan(), end_date="2026-10-10T00:00:00Z")

    shopper.advance("60d")

    ended = shopper.subscription(subscription)
    assert (ended["subscription_status"], ended["cancelled_at"]) == ("cancelled", "2026-10-10T00:00:00Z")
    assert money(shopper.invoices(subscription)) == [
        ("FINALIZED", "PENDING", "300"),
        ("FINALIZED", "PENDING", "300"),
        ("SKIPPED", "PENDING", "0"),
    ]


def test_compute_and_finalize_act_at_once(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    shopper.until("period_end", subscription)
    draft = shopper.invoices(subscription)[1]

    started = shopper.post(f"/invoices/{draft['id']}/compute", {})
    done = shopper.post(f"/invoices/{draft['id']}/finalize", {})
    again = shopper.post(f"/invoices/{draft['id']}/finalize", {})

    assert (started.status_code, done.status_code, again.status_code) == (202, 200, 400)
    assert shopper.invoice(draft["id"])["invoice_status"] == "FINALIZED"


def test_the_preview_knows_nothing_of_a_planned_end(api: Any) -> None:
    shopper = Shopper(api)
    subscription = shopper.subscribe(shopper.plan())
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "end_of_period"})

    preview = shopper.post("/invoices/preview", {"subscription_id": subscription["id"]}).json()

    assert (preview["total"], preview["metadata"]) == ("300", {"is_preview": "true"})
    assert preview["invoice_number"] is preview["billing_sequence"] is None
    assert len(shopper.invoices(subscription)) == 1
    assert shopper.post("/invoices/preview", {"subscription_id": "subs_x"}).status_code == 404
    assert shopper.post("/invoices/preview", {}).json()["message"] == "failed to bind request body"
