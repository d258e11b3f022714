"""Another plan: now, at the end of the period, by a new subscription; what it costs or gives back."""

from typing import Any

import pytest

from .second_month import Shopper, money


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


def change(shopper: Shopper, subscription: Any, plan: str, kind: str = "execute", **fields: Any) -> Any:
    body = {"target_plan_id": plan, "proration_behavior": "create_prorations"} | fields
    return shopper.post(f"/subscriptions/{subscription['id']}/change/v2/{kind}", body)


AT_END = {"change_at": "end_of_period", "proration_behavior": "none"}


def test_an_upgrade_half_way_costs_the_difference_and_its_link_does_not_settle_it(shopper: Shopper) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(solo)
    shopper.advance("15d")
    quoted = change(shopper, subscription, team, "preview").json()
    assert len(shopper.invoices(subscription)) == 1

    done = change(shopper, subscription, team).json()

    assert (done["change_type"], done["is_scheduled"]) == ("upgrade", False)
    assert quoted["changed_resources"]["invoices"][0]["invoice"]["total"] == "300"
    (created,) = done["changed_resources"]["invoices"]
    assert [line["amount"] for line in created["invoice"]["line_items"]] == ["450", "-150"]
    assert shopper.subscription(subscription)["plan"]["name"] == "Team"
    shopper.told()
    unsettled = shopper.pay(created["invoice"])
    assert (unsettled["payment_status"], unsettled["amount_paid"]) == ("PENDING", "0")
    assert shopper.told()[-1] == "payment.updated"
    offline = {"payment_method_type": "OFFLINE", "payment_gateway": "", "idempotency_key": "cash"}
    assert shopper.try_to_pay(created["invoice"], **offline).status_code == 201
    assert shopper.invoice(created["id"])["payment_status"] == "SUCCEEDED"


@pytest.mark.thorough
def test_the_link_of_an_upgrade_settles_it_by_a_switch_or_without_a_credit(api: Any) -> None:
    shopper = Shopper(api, upgrade_link_settles="on")
    subscription = shopper.subscribe(shopper.plan())
    created = change(shopper, subscription, shopper.plan("Team", "900")).json()["changed_resources"]
    assert shopper.pay(created["invoices"][0]["invoice"])["payment_status"] == "SUCCEEDED"

    api.switch(upgrade_link_settles="off")
    free = shopper.subscribe(shopper.plan("Free", "0"))
    created = change(shopper, free, shopper.plan("Pro", "500")).json()["changed_resources"]
    assert shopper.pay(created["invoices"][0]["invoice"])["payment_status"] == "SUCCEEDED"


@pytest.mark.thorough
def test_a_downgrade_is_credited_to_a_wallet(shopper: Shopper) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(team)
    shopper.advance("15d")
    (quoted,) = change(shopper, subscription, solo, "preview").json()["changed_resources"]["invoices"]
    shopper.told()

    (done,) = change(shopper, subscription, solo).json()["changed_resources"]["invoices"]

    assert (quoted["id"], quoted["status"], quoted["wallet_transaction"]["amount"]) == ("", "preview", "300")
    assert (done["action"], done["status"]) == ("wallet_credit", "issued")
    assert done["wallet_transaction"]["amount"] == "300"
    changed = ["subscription.plan_changed", "subscription.updated"]
    assert shopper.told() == ["wallet.created", "wallet.transaction.created", *changed]


@pytest.mark.thorough
def test_down_and_up_again_credits_no_more_than_was_billed(shopper: Shopper) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(team)
    shopper.advance("15d")
    change(shopper, subscription, solo)

    (up,) = change(shopper, subscription, team).json()["changed_resources"]["invoices"]

    assert [line["amount"] for line in up["invoice"]["line_items"]] == ["450", "-150"]
    assert shopper.get(f"/customers/{shopper.id}/wallets")[0]["balance"] == "300"


@pytest.mark.thorough
def test_a_planned_change_is_billed_by_the_renewal(shopper: Shopper) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(solo)
    shopper.told()
    planned = change(shopper, subscription, team, **AT_END).json()
    assert (planned["is_scheduled"], planned["scheduled_at"]) == (True, "2026-10-01T10:00:00Z")
    assert "invoices" not in planned["changed_resources"]
    assert shopper.told() == []

    shopper.until("invoice_finalized", subscription)

    assert money(shopper.invoices(subscription))[1] == ("FINALIZED", "PENDING", "900")
    (row,) = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    assert (row["status"], row["execution_result"]["change_type"]) == ("executed", "upgrade")
    told = shopper.told()
    assert told[1:3] == ["subscription.plan_changed", "subscription.updated"]


def test_a_planned_change_blocks_others_until_it_is_undone_or_a_cancellation_drops_it(
    shopper: Shopper,
) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(solo)
    schedule = change(shopper, subscription, team, **AT_END).json()["schedule_id"]

    blocked = change(shopper, subscription, team)
    assert blocked.json()["details"]["schedule_id"] == schedule
    assert shopper.post(f"/subscriptions/schedules/{schedule}/cancel").status_code == 200

    change(shopper, subscription, team, **AT_END)
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "end_of_period"})
    found = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    assert [one["status"] for one in found] == ["pending", "cancelled", "cancelled"]
    assert change(shopper, subscription, team, **AT_END).status_code == 400


@pytest.mark.thorough
def test_a_change_that_cannot_run_has_failed_and_the_old_plan_goes_on(shopper: Shopper) -> None:
    solo, team = shopper.plan(), shopper.plan("Team", "900")
    subscription = shopper.subscribe(solo)
    change(shopper, subscription, team, **AT_END)
    for price in shopper.get(f"/plans/{team}")["prices"]:
        shopper.api.call("DELETE", f"/v1/prices/{price['id']}", {})

    shopper.until("period_end", subscription)

    (row,) = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    assert (row["status"], bool(row["error_message"])) == ("failed", True)
    assert shopper.subscription(subscription)["plan_id"] == solo


def test_a_fee_that_is_billed_alike_is_carried_over(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    other = shopper.plan("Duo", "300")

    done = change(shopper, subscription, other).json()

    assert [line["change_action"] for line in done["changed_resources"]["line_items"]] == ["updated"]
    assert done["change_type"] == "lateral"
    assert "invoices" not in done["changed_resources"]


def test_without_prorations_nothing_is_charged(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())

    done = change(shopper, subscription, shopper.plan("Team", "900"), proration_behavior="none").json()

    assert "invoices" not in done["changed_resources"]
    assert len(shopper.invoices(subscription)) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"proration_behavior": ""}, "Request validation failed"),
        ({"proration_behavior": "some"}, "Proration behavior must be create_prorations or none"),
        ({"change_at": "tomorrow"}, "Schedule type must be 'immediate', 'end_of_period'"),
        ({"target_plan_id": "plan_none"}, "Plan with ID plan_none was not found"),
    ],
)
def test_what_is_refused(shopper: Shopper, fields: Any, message: str) -> None:
    solo = shopper.plan()
    answer = change(shopper, shopper.subscribe(solo), solo, **fields)

    assert answer.json()["message"] == message


@pytest.mark.thorough
def test_by_a_new_subscription_for_another_period(shopper: Shopper) -> None:
    solo = shopper.plan()
    year = shopper.plan("Year", "3000", billing_period="ANNUAL")
    subscription = shopper.subscribe(solo, metadata={"order": "1"})
    shopper.advance("15d")
    shopper.told()
    body = {"target_plan_id": year, "proration_behavior": "create_prorations", "billing_cadence": "RECURRING"}
    body |= {"billing_period": "ANNUAL", "billing_cycle": "anniversary"}
    path = f"/subscriptions/{subscription['id']}/change"

    quoted = shopper.post(f"{path}/preview", body).json()
    done = shopper.post(f"{path}/execute", body).json()

    assert quoted["proration_details"]["credit_amount"] == "150"
    assert (done["old_subscription"]["status"], done["change_type"]) == ("cancelled", "upgrade")
    new = shopper.subscription(done["new_subscription"])
    assert (new["billing_period"], new["metadata"]) == ("ANNUAL", {"order": "1"})
    (invoice,) = shopper.invoices(new)
    assert (invoice["total"], invoice["due_date"][:10]) == ("2850", "2027-09-17")
    assert shopper.pay(invoice)["payment_status"] == "SUCCEEDED"
    ended = ["subscription.updated", "subscription.cancelled"]
    told = [*ended, "invoice.update", "invoice.update.finalized", "subscription.created"]
    assert shopper.told()[:5] == told
    same = shopper.post(f"/subscriptions/{new['id']}/change/preview", body).json()
    assert same["message"] == "Target plan must be different from current plan"


@pytest.mark.thorough
def test_a_new_subscription_is_planned_for_the_end_of_the_period(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    year = shopper.plan("Year", "3000", billing_period="ANNUAL")
    body = {"target_plan_id": year, "proration_behavior": "none", "billing_cadence": "RECURRING"}
    body |= {"billing_period": "ANNUAL", "billing_cycle": "anniversary", "change_at": "end_of_period"}
    planned = shopper.post(f"/subscriptions/{subscription['id']}/change/execute", body).json()
    assert planned["is_scheduled"] is True

    shopper.until("period_end", subscription)

    assert shopper.subscription(subscription)["subscription_status"] == "cancelled"
    (row,) = shopper.get(f"/subscriptions/{subscription['id']}/schedules")["schedules"]
    new = shopper.subscription({"id": row["execution_result"]["new_subscription_id"]})
    assert (new["plan_id"], new["subscription_status"]) == (year, "active")
