"""Plans that begin without a payment: free ones, and trials."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from storefront.checkout import orders
from storefront.extensions import checkout, db
from storefront.models import Order
from storefront.sandbox.engine.catalog import prices_of
from storefront.sandbox.store.values import stable_id
from storefront.subscriptions.starts import repeat_lost
from tests.unit.subscriptions.conftest import Story

CREATE = ("POST", "/v1/subscriptions")
SEARCH = ("POST", "/v1/subscriptions/search")
BUSINESS = f"/plans/{stable_id('plan', 'business')}?currency=inr&billing_period=MONTHLY"


def test_a_free_plan_is_started_once(story: Story) -> None:
    answer = story.start("free")
    assert answer.status_code == 303
    assert story.has_access()
    assert "There was nothing to pay" in story.see(answer.location)
    assert story.start("free").location == answer.location
    story.settle()
    assert story.has_access()
    assert len(story.their_subscriptions()) == 1
    story.advance("40d")
    assert not [bill for bill in story.bills() if bill.is_open]
    assert "Nothing to pay at the moment" in story.see()


def test_a_lost_answer_is_searched_for(story: Story) -> None:
    story.make_customer()
    story.wire.faults[CREATE] = "lost"
    answer = story.start("free")
    assert answer.status_code == 303
    assert not story.has_access()
    assert "Starting your plan" in story.see(answer.location)
    story.wait(2)
    story.settle()
    assert story.has_access()
    assert len(story.their_subscriptions()) == 1


@pytest.mark.thorough
def test_after_two_minutes_the_same_order_asks_again(story: Story) -> None:
    story.make_customer()
    story.wire.faults[CREATE] = "hangs"
    assert story.start("free").status_code == 303
    for minutes in (1, 3):
        story.wait(minutes)
        story.due_again()
        story.settle()
    assert story.has_access()
    assert len(story.their_subscriptions()) == len(story.the_orders()) == 1


@pytest.mark.thorough
def test_of_two_the_younger_is_ended(story: Story) -> None:
    """The search did not show the first, and the request was sent again."""
    story.make_customer()
    story.wire.faults[CREATE] = "lost"
    story.start("free")
    story.wait(3)
    story.wire.faults[SEARCH] = "shows nothing"
    with story.shop.app_context():  # before the worker of the checkout searches
        repeat_lost()
    story.due_again()
    story.settle()
    first, second = sorted(story.their_subscriptions(), key=lambda one: one.created_at)
    running = [one.id for one in (first, second) if one.subscription_status == "active"]
    assert len(running) == 1
    assert story.has_access()
    assert [row.subscription_id for row in story.subscriptions() if row.order_ref] == running
    assert story.told == []


def given_up(story: Story, plan: str = "free") -> None:
    """The answer was lost, the search shows nothing, and the customer cancels."""
    story.make_customer()
    story.wire.faults[CREATE] = "lost"
    order = story.start(plan).location
    story.wait(1.5)
    story.wire.faults[SEARCH] = "shows nothing"
    path = order.split("?")[0].replace("/success", "/cancel").replace("/failure", "/cancel")
    assert story.press(path).status_code == 303
    assert story.the_orders()[0].state == "abandoned"


def test_what_a_cancelled_start_made_is_ended(story: Story) -> None:
    given_up(story)
    story.settle()  # its event, too, grants nothing
    assert not story.has_access()
    story.due_again()
    story.settle()
    assert not story.has_access()
    assert [one.subscription_status for one in story.their_subscriptions()] == ["cancelled"]
    assert [order.state for order in story.the_orders()] == ["abandoned"]
    assert story.told == []
    assert "You have no plan" in story.see()


@pytest.mark.thorough
def test_who_cancelled_a_start_begins_again(story: Story) -> None:
    """Also a trial, which the cancelled start has not used up."""
    given_up(story, "business")
    assert story.start("business").status_code == 303
    for _ in range(2):
        story.due_again()
        story.settle()
    assert story.has_access("Business")
    states = sorted(one.subscription_status for one in story.their_subscriptions())
    assert states == ["cancelled", "trialing"]
    assert [order.state for order in story.the_orders()] == ["abandoned", "fulfilled"]
    assert story.told == []


@pytest.mark.thorough
def test_a_start_that_is_closed_before_its_answer(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    with story.shop.app_context():
        client = checkout.client
    create = client.create_subscription

    def closed_in_between(*args: Any, **kwargs: Any) -> Any:
        made = create(*args, **kwargs)
        with story.wire.other_process(), story.shop.app_context():
            assert orders.close(db.session.scalars(db.select(Order)).one(), by="operator:olga")
            db.session.commit()
        return made

    story.make_customer()
    monkeypatch.setattr(client, "create_subscription", closed_in_between)
    assert story.start("free").status_code == 303
    story.settle()
    assert not story.has_access()
    assert [one.subscription_status for one in story.their_subscriptions()] == ["cancelled"]


@pytest.mark.thorough
def test_cancelling_a_start_that_runs_shows_it(story: Story) -> None:
    story.make_customer()
    story.wire.faults[CREATE] = "lost"
    order = story.start("free").location
    story.wait(1.5)
    path = order.split("?")[0].replace("/success", "/cancel").replace("/failure", "/cancel")
    shown = story.press(path).location
    story.settle()
    assert "Your Free plan is active" in story.see(shown)
    assert story.has_access()


def test_a_price_that_came_in_between_is_shown(story: Story) -> None:
    assert "Free" in story.see("/plans")
    story.make_customer()
    with story.flexprice() as rows:
        for price in prices_of(rows, stable_id("plan", "free")):
            price.amount = Decimal(99)
    answer = story.start("free")
    (order,) = story.the_orders()
    assert (answer.status_code, order.state) == (303, "mismatched")
    assert "The price did not match" in story.see(answer.location)
    assert not story.has_access()


def test_nothing_may_be_owed(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    with story.shop.app_context():
        client = checkout.client
    listed, owed = client.list_invoices, [True]

    def first_owed(*args: Any, **kwargs: Any) -> Any:
        found = listed(*args, **kwargs)
        if owed[0]:
            found[:] = [replace(bill, amount_remaining=Decimal(99)) for bill in found]
        return found

    monkeypatch.setattr(client, "list_invoices", first_owed)
    story.start("business")
    assert story.the_orders()[0].state == "paid"
    assert not story.has_access()
    owed[0] = False
    story.due_again()
    story.settle()
    assert story.has_access("Business")


@pytest.mark.thorough
def test_a_trial_that_is_over(story: Story) -> None:
    page = story.see(BUSINESS)
    assert "Start the 14-day trial" in page
    assert "Free until" in page
    answer = story.start("business")
    assert story.start("business").location == answer.location
    (sub,) = story.subscriptions()
    assert (sub.status, story.has_access("Business")) == ("trialing", True)
    assert "Trial until" in story.see()
    assert not story.links()
    (order,) = story.the_orders()
    qa = story.see(f"/qa/{order.ref}")
    assert "started without a checkout session" in qa
    assert "Needs attention" not in qa
    story.advance("10d")
    assert "trial_ending" not in story.facts
    story.advance("2d", deliver=False)
    story.due_again()
    story.settle()
    assert story.emails("trial_ending") == 1
    story.until("trial_end", sub.subscription_id)
    assert story.has_access("Business")
    bill = story.open_bill()
    assert bill.billing_reason == "SUBSCRIPTION_TRIAL_END"
    story.advance("95h")  # due a month later: a day after it was finalized it is overdue, and the grace
    assert story.has_access("Business")
    story.advance("2h")
    assert not story.has_access("Business")
    story.at_provider(story.press_pay(bill), "pay")
    story.settle()
    assert story.has_access("Business")
    assert story.emails("invoice_ready") == story.emails("resumed") == 1


@pytest.mark.thorough
def test_pages_of_an_order_tell_the_time_of_the_shop(story: Story) -> None:
    """The clock was moved before: ordered, activated and the trial's end are of one time."""
    story.advance("60d")
    shown = story.see(story.start("business").location)
    (order,) = story.the_orders()
    for moment in (order.ordered_at, order.paid_at, order.fulfilled_at):
        assert abs(moment - story.now()) < timedelta(minutes=10)
    assert f"{order.ordered_at.day} {order.ordered_at:%b %Y}" in shown
    assert abs(story.subscriptions()[0].trial_end - story.now() - timedelta(days=14)) < timedelta(minutes=10)


@pytest.mark.thorough
def test_a_trial_is_cancelled_at_once_and_is_the_only_one(story: Story) -> None:
    story.start("business")
    (sub,) = story.subscriptions()
    path = f"/billing/subscriptions/{sub.subscription_id}/cancel"
    assert "It ends now" in story.see(path)
    assert story.press(path).status_code == 303
    assert story.press(path).status_code == 303
    assert not story.has_access()
    (told,) = story.their_subscriptions()
    assert told.subscription_status == "cancelled"
    assert story.emails("ended") == 1
    assert "Start the 14-day trial" not in story.see(BUSINESS)
    again = story.start("business")
    assert (again.status_code, "Your trial is used" in again.text) == (409, True)
    assert story.buy(story.browser, "business").status_code == 303
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    assert story.has_access("Business")
