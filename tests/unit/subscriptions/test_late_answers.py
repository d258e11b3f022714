"""Answers that come late, and money that nobody has told of: none of them takes access from a payer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from storefront.billing import Subscription
from storefront.extensions import checkout, db
from storefront.flexprice import Payment
from storefront.models import Order
from storefront.subscriptions import payments
from storefront.subscriptions.context import get_invoice
from tests.shop_fixtures import HOME
from tests.unit.subscriptions.conftest import Story


@pytest.fixture
def replaced(story: Story, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has a call of the client answer through `change`, which is given the answer."""

    def install(name: str, change: Callable[[Any], Any]) -> None:
        with story.shop.app_context():
            client = checkout.client
        call = getattr(client, name)
        monkeypatch.setattr(client, name, lambda *args, **kwargs: change(call(*args, **kwargs)))

    return install


@pytest.mark.thorough
def test_an_answer_about_an_earlier_attempt_changes_nothing(story: Story) -> None:
    bill = story.owing()
    first = story.press_pay(bill)
    old = story.open_bill()
    story.at_provider(first, "expire_link")
    second = story.press_pay(bill)
    late = Payment(
        old.payment_id, "PENDING", bill.remaining, "inr",
        invoice_id=bill.invoice_id, payment_url=first, idempotency_key=old.payment_key,
    )  # fmt: skip
    with story.shop.app_context():
        payments.record_payment(get_invoice(bill.id), late)
    assert (story.open_bill().payment_url, story.open_bill().attempt) == (second, 2)


@pytest.mark.thorough
def test_a_link_is_read_before_anybody_is_suspended(story: Story) -> None:
    bill = story.owing()
    link = story.press_pay(bill)
    story.must("/_sandbox/provider", action="pay", link=link, events=["payment_link.paid"])
    assert story.open_bill()
    story.advance("99h", deliver=False)
    assert story.has_access()
    assert "suspended" not in story.facts
    assert story.bills()[-1].paid


@pytest.mark.thorough
def test_an_old_read_takes_nothing_from_a_payer(story: Story, replaced: Callable[..., None]) -> None:
    bill = story.owing()
    story.advance("99h")
    assert not story.has_access()
    link = story.press_pay(bill)

    def paid_in_between(told: Any) -> Any:
        story.at_provider(link, "pay")
        story.settle()
        assert story.has_access()
        return told

    replaced("get_invoice", paid_in_between)
    with story.shop.app_context():
        payments.read_invoice(bill.id)
    assert story.has_access()
    assert story.bills()[-1].paid
    assert story.emails("suspended") == 1


@pytest.mark.thorough
def test_money_of_an_earlier_link_is_for_a_person(story: Story) -> None:
    """Its money came after it was found dead, and is booked nowhere: no second link is offered."""
    bill = story.owing()
    story.at_provider(story.press_pay(bill), "expire_link")
    story.press_pay(bill)
    back = f"/billing/invoices/{bill.invoice_id}/return/1?razorpay_payment_link_status=paid"
    assert story.browser.get(back, base_url=HOME).status_code == 303
    assert story.open_bill().link == "review"
    assert story.press_pay(bill).endswith("/billing")


@pytest.mark.thorough
def test_a_link_that_asks_for_more_than_is_owed_is_not_offered(
    story: Story, replaced: Callable[..., None]
) -> None:
    """A credit note came after the link was made."""
    bill = story.owing()
    story.press_pay(bill)
    replaced("get_invoice", lambda told: replace(told, amount_remaining=told.amount_remaining - 100))
    assert story.press_pay(bill).endswith("/billing")
    with story.shop.app_context():
        changed = get_invoice(bill.id)
        assert (changed.link, "more than is owed" in changed.review_note) == ("review", True)
    page = story.browser.get("/billing", base_url=HOME).text
    assert "Please do not pay it now." in page
    assert "checking a payment" not in page  # nobody has paid


@pytest.mark.thorough
def test_a_return_address_that_was_made_up_changes_nothing(story: Story) -> None:
    bill = story.owing()
    link = story.press_pay(bill)
    for attempt in (0, 2, 99):
        back = f"/billing/invoices/{bill.invoice_id}/return/{attempt}?razorpay_payment_link_status=paid"
        assert story.browser.get(back, base_url=HOME).status_code == 303
    assert story.press_pay(bill) == link


def test_a_replica_that_lags_after_a_sale_suspends_nobody(
    story: Story, replaced: Callable[..., None]
) -> None:
    replaced("get_subscription", lambda told: replace(told, status="draft"))
    story.bought()
    assert story.has_access()
    assert "suspended" not in story.facts


@pytest.mark.thorough
def test_a_change_that_is_paid_after_another_began_is_noted(story: Story) -> None:
    """Its order replaces nothing any more: both plans run, and an operator is told."""
    story.bought()
    address, _, query = story.buy(story.browser, "team").location.partition("?")
    terms = dict(part.split("=") for part in query.split("&"))
    assert story.press(address, when="today", **terms).status_code == 303
    with story.shop.app_context():
        db.session.execute(update(Order).values(replaces=None))
        db.session.commit()
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    old, new = story.subscriptions()
    assert (old.access, new.access) == ("granted", "granted")
    assert "both run" in old.review_note


@pytest.mark.thorough
def test_the_qa_page_shows_the_later_months(story: Story) -> None:
    bill = story.owing()
    story.press_pay(bill)
    story.advance("99h")
    (order,) = story.the_orders()
    page = story.see(f"/qa/{order.ref}")
    assert "active, access suspended" in page
    assert f"Later invoice {bill.number}" in page
    assert "link open, attempt 1" in page
    assert "suspended 20" in page


@pytest.mark.thorough
def test_a_sync_in_between_does_not_hide_what_was_undone(story: Story, replaced: Callable[..., None]) -> None:
    """The worker reads the subscription before the undo, and writes while the customer's request reads."""
    path = f"/billing/subscriptions/{story.bought().subscription_id}"
    assert story.press(f"{path}/cancel").status_code == 303
    planned = story.subscriptions()[0]
    reads: list[Any] = []

    def written_in_between(told: Any) -> Any:
        reads.append(told)
        if len(reads) == 1:
            with story.wire.other_process(), story.shop.app_context():
                row = db.session.get(Subscription, planned.id)
                row.version, row.cancel_at = row.version + 1, planned.cancel_at
                db.session.commit()
        return told

    replaced("get_subscription", written_in_between)
    assert story.press(f"{path}/undo", what="cancel").status_code == 303
    assert len(reads) == 2
    assert "Cancel plan" in story.see()
