"""`POST /_sandbox/clock {"until", "id"}`: what can be reached, and why the rest cannot."""

from typing import Any

import pytest

from .second_month import Shopper


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


def refused(shopper: Shopper, target: str, thing: str) -> tuple[int, str]:
    answer = shopper.api.post("/_sandbox/clock", {"until": target, "id": thing})
    return answer.status_code, answer.json()["message"]


def test_a_subscription_that_ended_has_no_renewals(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "immediate"})

    for target in ("period_end", "invoice_computed", "invoice_finalized"):
        status, why = refused(shopper, target, subscription["id"])
        assert (status, why) == (409, "A subscription that is cancelled has no renewals")


@pytest.mark.thorough
def test_a_subscription_whose_end_is_planned_is_not_finalised_again(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "end_of_period"})

    status, _why = refused(shopper, "invoice_finalized", subscription["id"])

    assert status == 409


@pytest.mark.thorough
def test_trials_and_periods_are_told_apart(shopper: Shopper) -> None:
    active, trial = (
        shopper.subscribe(shopper.plan()),
        shopper.subscribe(shopper.plan("Trial", trial_period_days=7)),
    )

    assert refused(shopper, "trial_end", active["id"])[0] == 409
    shopper.until("period_end", trial)
    assert shopper.subscription(trial)["subscription_status"] == "active"


@pytest.mark.thorough
def test_what_costs_nothing_has_no_invoices(shopper: Shopper) -> None:
    free = shopper.subscribe(shopper.plan(amount="0"))

    assert refused(shopper, "invoice_finalized", free["id"])[0] == 409
    shopper.until("period_end", free)


@pytest.mark.thorough
def test_an_invoice_is_a_target_until_it_is_final(shopper: Shopper) -> None:
    subscription = shopper.subscribe(shopper.plan())
    first = shopper.invoices(subscription)[0]
    assert refused(shopper, "invoice_finalized", first["id"])[0] == 409
    shopper.until("period_end", subscription)
    draft = shopper.invoices(subscription)[1]

    shopper.until("invoice_computed", draft)
    assert shopper.invoice(draft["id"])["total"] == "300"
    shopper.until("invoice_finalized", draft)
    assert shopper.invoice(draft["id"])["invoice_status"] == "FINALIZED"
    shopper.until("period_end", draft)


@pytest.mark.parametrize("target", ["session_expiry", "period_end", "invoice_finalized", "trial_end"])
def test_an_unknown_id_is_404(shopper: Shopper, target: str) -> None:
    assert refused(shopper, target, "subs_none")[0] == 404


def test_an_unknown_target_names_those_that_there_are(shopper: Shopper) -> None:
    answer = shopper.api.post("/_sandbox/clock", {"until": "doomsday", "id": "subs_x"})

    assert answer.status_code == 400
    assert "invoice_computed" in answer.json()["details"]["allowed_values"]


@pytest.mark.thorough
def test_legacy_leaves_the_notice_out_on_the_way_and_sends_it_otherwise(api: Any) -> None:
    shopper = Shopper(api, generation="legacy")
    subscription = shopper.subscribe(shopper.plan())
    shopper.until("period_end", subscription)
    assert "subscription.renewal.due" not in shopper.told()

    shopper.advance("31d")
    assert "subscription.renewal.due" in shopper.told()
