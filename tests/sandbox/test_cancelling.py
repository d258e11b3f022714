"""Ends of subscriptions: now, with the period, at a date; undone; in a trial; what is given back."""

from typing import Any

import pytest

from .second_month import Shopper, money


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


def cancel(shopper: Shopper, subscription: Any, kind: str = "end_of_period", **fields: Any) -> Any:
    body = {"cancellation_type": kind} | fields
    return shopper.post(f"/subscriptions/{subscription['id']}/cancel", body)


def schedules(shopper: Shopper, subscription: Any) -> list[tuple[str, str]]:
    found = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    return [(one["schedule_type"], one["status"]) for one in found]


@pytest.mark.thorough
def test_a_planned_end_comes_true_and_is_dated_back(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    planned = cancel(shopper, subscription).json()
    assert (planned["status"], planned["effective_date"]) == ("active", "2026-10-01T10:00:00Z")
    assert shopper.subscription(subscription)["cancelled_at"].startswith("2026-09-01")
    shopper.told()

    shopper.until("period_end", subscription)

    ended = shopper.subscription(subscription)
    assert (ended["subscription_status"], ended["cancelled_at"]) == ("cancelled", "2026-10-01T10:00:00Z")
    assert ended["current_period_start"] == ended["line_items"][0]["end_date"] == "2026-10-01T10:00:00Z"
    assert schedules(shopper, subscription) == [("cancellation", "executed")]
    shopper.advance("2d")
    assert money(shopper.invoices(subscription))[1:] == [("SKIPPED", "PENDING", "0")]
    assert shopper.told()[-2:] == ["subscription.updated", "subscription.cancelled"]


def test_an_end_is_undone_by_id_or_by_type_without_a_message(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    cancel(shopper, subscription, reason="dear")
    by_type = {"subscription_id": subscription["id"], "schedule_type": "cancellation"}
    shopper.told()

    assert shopper.post("/subscriptions/schedules/cancel", by_type).json()["status"] == "cancelled"

    row = shopper.subscription(subscription)
    assert (row["cancel_at"], row["cancel_at_period_end"], "cancelled_at" in row) == (None, False, False)
    assert row["metadata"]["cancellation_reason"] == "dear"
    assert shopper.told() == []
    nothing = shopper.post("/subscriptions/schedules/cancel", by_type)
    assert nothing.json() == {
        "error": f"no pending cancellation schedule found for subscription {subscription['id']}"
    }
    assert cancel(shopper, subscription).status_code == 200
    listed = shopper.get(f"/subscriptions/schedules?subscription_ids={subscription['id']}")
    assert [row["status"] for row in listed["schedules"]] == ["pending", "cancelled"]
    assert shopper.get("/subscriptions/schedules?schedule_type=plan_change")["count"] == 0


def test_schedules_answer_in_a_shape_of_their_own(shopper: Shopper) -> None:
    assert shopper.get("/subscriptions/subs_none/schedules") == {"count": 0, "schedules": []}
    unknown = shopper.api.get("/v1/subscriptions/schedules/sched_none")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "Schedule not found"})
    assert shopper.post("/subscriptions/schedules/cancel", {}).status_code == 400


@pytest.mark.thorough
def test_a_trial_that_is_cancelled_at_its_end_is_billed_all_the_same(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan(trial_period_days=14))
    cancel(shopper, subscription)

    shopper.until("trial_end", subscription)
    assert shopper.subscription(subscription)["subscription_status"] == "active"
    assert shopper.invoices(subscription)[1]["total"] == "300"

    shopper.until("period_end", subscription)
    ended = shopper.subscription(subscription)
    assert (ended["subscription_status"], ended["cancelled_at"][:10]) == ("cancelled", "2026-09-15")


@pytest.mark.thorough
def test_a_trial_is_cancelled_at_once_without_a_bill(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan(trial_period_days=14))

    done = cancel(shopper, subscription, "immediate", proration_behavior="create_prorations").json()

    assert (done["status"], done["total_credit_amount"]) == ("cancelled", "0")
    shopper.advance("60d")
    assert len(shopper.invoices(subscription)) == 1


@pytest.mark.thorough
def test_unused_time_goes_to_a_wallet(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    shopper.advance("15d")
    shopper.told()

    done = cancel(shopper, subscription, "immediate", proration_behavior="create_prorations").json()

    assert done["total_credit_amount"] == done["proration_details"][0]["credit_amount"] == "150"
    (wallet,) = shopper.get(f"/customers/{shopper.id}/wallets")
    assert (wallet["name"], wallet["balance"]) == ("Proration Credit Wallet", "150")
    assert shopper.get(f"/wallets/{wallet['id']}/transactions")["items"][0]["amount"] == "150"
    ended = ["subscription.updated", "subscription.cancelled"]
    assert shopper.told() == ["wallet.created", "wallet.transaction.created", *ended]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("generation", "policy", "bills"),
    [
        ("newest", "cancel_immediately_invoice_policy", 1),
        ("legacy", "cancel_immediately_invoice_policy", 0),
        ("legacy", "cancel_immediately_inovice_policy", 1),
    ],
)
def test_a_fee_in_arrear_is_billed_whole_if_the_policy_says_so(
    api: Any, generation: str, policy: str, bills: int
) -> None:
    shopper = Shopper(api, generation=generation)
    subscription = shopper.subscribe(shopper.plan(invoice_cadence="ARREAR"))
    shopper.advance("10d")

    cancel(shopper, subscription, "immediate", **{policy: "generate_invoice"})

    found = shopper.invoices(subscription)
    assert [(one["billing_reason"], one["total"]) for one in found] == [("PRORATION", "300")] * bills


@pytest.mark.thorough
def test_an_end_at_a_date_pulls_the_period_there(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    at = "2026-09-10T00:00:00Z"
    assert cancel(shopper, subscription, "scheduled_date", cancel_at=at).status_code == 200
    assert shopper.subscription(subscription)["current_period_end"] == at

    found = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    shopper.post(f"/subscriptions/schedules/{found[0]['id']}/cancel")
    assert shopper.subscription(subscription)["current_period_end"] == "2026-10-01T10:00:00Z"

    cancel(shopper, subscription, "scheduled_date", cancel_at=at)
    shopper.advance("10d")
    assert shopper.subscription(subscription)["subscription_status"] == "cancelled"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "someday"}, "Cancellation type must be immediate, end_of_period, or scheduled_date"),
        ({"kind": "scheduled_date"}, "Provide a cancel_at date"),
        (
            {"kind": "immediate", "cancel_at": "2027-01-01T00:00:00Z"},
            "Use cancellation_type 'scheduled_date'",
        ),
        ({"kind": "immediate", "cancel_at": "2026-01-01T00:00:00Z"}, "Backdated cancellation is not allowed"),
    ],
)
def test_what_is_refused(shopper: Shopper, fields: Any, message: str) -> None:
    answer = cancel(shopper, shopper.subscribe(shopper.plan()), **fields)

    assert (answer.status_code, answer.json()["message"][: len(message)]) == (400, message)


def test_drafts_and_the_ended_are_refused(shopper: Shopper) -> None:
    plan = shopper.plan()
    draft = shopper.subscribe(plan, checkout={"payment_provider": "razorpay"})
    ended = shopper.subscribe(plan)
    cancel(shopper, ended, "immediate")

    refused = cancel(shopper, draft, "immediate").json()["message"]
    assert refused == "Draft subscriptions must be activated before cancellation."
    assert cancel(shopper, ended).json()["message"] == "The subscription is already cancelled"
    assert cancel(shopper, {"id": "subs_none"}).json()["message"] == "Subscription not found"
