"""Months with the sandbox, on a legacy store: what happened at Flexprice is what the shop says."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from storefront.billing import Invoice
from storefront.emails.billing import TEXTS
from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import checkout, db
from storefront.flexprice import InvalidRequest
from storefront.sandbox.store.values import stable_id
from storefront.subscriptions import Fact
from tests.shop_fixtures import HOME
from tests.unit.checkout.shop_and_sandbox import SAME_ORIGIN
from tests.unit.subscriptions.conftest import Story


@pytest.mark.thorough
def test_the_first_renewal_is_skipped_and_the_second_paid(story: Story) -> None:
    sub = story.bought()
    assert (sub.access, sub.status) == ("granted", "active")
    assert "Nothing is charged automatically" in story.see()
    story.until("period_end", sub.subscription_id)
    story.advance("4h")
    assert not [bill for bill in story.bills() if bill.is_open]
    assert story.has_access()
    story.until("invoice_finalized", sub.subscription_id)
    bill = story.open_bill()
    assert bill.number
    assert story.offers_to_pay(bill)
    link = story.press_pay(bill)
    assert story.press_pay(bill) == link
    story.at_provider(link, "pay")
    story.settle()
    assert not [bill for bill in story.bills() if bill.is_open]
    assert story.bills()[-1].link == "settled"
    assert story.emails("invoice_ready") == story.emails("invoice_paid") == 1
    assert story.has_access()


def test_ignored_until_suspended_then_paid(story: Story) -> None:
    story.owing()
    story.advance("25h")
    assert "overdue" in story.see()
    assert story.has_access()
    story.advance("73h")
    assert not story.has_access()
    assert story.subscriptions()[0].access == "suspended"
    link = story.press_pay(story.open_bill())
    story.at_provider(link, "pay")
    story.settle()
    assert story.has_access()
    for fact in ("invoice_ready", "invoice_overdue", "suspended", "invoice_paid", "resumed"):
        assert story.emails(fact) == 1, story.facts


@pytest.mark.thorough
def test_declined_then_paid_by_the_same_link(story: Story) -> None:
    link = story.press_pay(story.owing())
    story.at_provider(link, "decline")
    story.settle()
    assert story.press_pay(story.open_bill()) == link
    story.at_provider(link, "pay")
    story.settle()
    assert story.bills()[-1].paid


@pytest.mark.thorough
def test_a_dead_link_is_followed_by_a_new_one(story: Story) -> None:
    link = story.press_pay(story.owing())
    story.at_provider(link, "expire_link")
    second = story.press_pay(story.open_bill())
    assert second != link
    assert story.open_bill().attempt == 2
    story.at_provider(second, "pay")
    story.settle()
    assert story.bills()[-1].paid


@pytest.mark.thorough
def test_a_lost_answer_makes_no_second_link(story: Story) -> None:
    story.owing()
    before = len(story.links())
    story.wire.faults[("POST", "/v1/payments")] = "lost"
    assert story.press_pay(story.open_bill()).endswith("/billing")
    assert "being prepared" in story.see()
    story.due_again()
    story.settle()
    assert story.open_bill().link == "open"
    assert len(story.links()) == before + 1


@pytest.mark.thorough
def test_without_any_webhook(story: Story) -> None:
    sub = story.bought()
    story.until("period_end", sub.subscription_id, deliver=False)
    story.until("invoice_finalized", sub.subscription_id, deliver=False)
    link = story.press_pay(story.open_bill())
    story.at_provider(link, "pay")
    back = f"/billing/invoices/{story.open_bill().invoice_id}/return/1?razorpay_payment_link_status=paid"
    assert story.browser.get(back, base_url=HOME).status_code == 303
    assert "do not pay again" in story.see()
    story.settle(deliver=False)
    assert story.bills()[-1].paid


def test_cancelled_undone_and_over(story: Story) -> None:
    sub = story.bought()
    path = f"/billing/subscriptions/{sub.subscription_id}"
    assert "Nothing is refunded" in story.see(f"{path}/cancel")
    assert story.press(f"{path}/cancel").status_code == 303
    assert story.press(f"{path}/cancel").status_code == 303
    assert "then it ends" in story.see()
    assert story.press(f"{path}/undo", what="cancel").status_code == 303
    assert story.press(f"{path}/undo", what="cancel").status_code == 303
    assert story.subscriptions()[0].cancel_at is None
    assert story.facts == ["cancel_scheduled", "cancel_undone"]
    assert ", until " not in story.see("/account")
    assert story.press(f"{path}/cancel").status_code == 303
    undo = f"/v1/subscriptions/schedules/{story.subscriptions()[0].cancel_schedule_id}/cancel"
    story.wire.faults["POST", undo] = "lost"
    assert story.press(f"{path}/undo", what="cancel").status_code == 303
    assert "Keep this plan" not in story.see()
    assert story.press(f"{path}/cancel?when=now").status_code == 303  # not allowed here: at the period's end
    assert story.has_access()
    story.until("period_end", sub.subscription_id)
    assert not story.has_access()
    assert story.subscriptions()[0].access == "ended"
    assert story.facts[-1] == "ended"
    assert "Your plan has ended" in story.see()


@pytest.mark.thorough
def test_cancelled_at_once_where_the_shop_allows_it(story: Story) -> None:
    path = f"/billing/subscriptions/{story.bought().subscription_id}/cancel"
    story.shop.config["CHECKOUT_CANCEL_IMMEDIATELY"] = True
    assert "Cancel at once instead" in story.see(path)
    assert "you lose access at once" in story.see(f"{path}?when=now")
    for _ in range(2):
        assert story.press(path, when="now").status_code == 303
        assert not story.has_access()
    assert story.emails("ended") == 1


def test_a_lost_answer_to_a_cancel(story: Story) -> None:
    sub = story.bought()
    story.wire.faults["POST", f"/v1/subscriptions/{sub.subscription_id}/cancel"] = "lost"
    assert story.press(f"/billing/subscriptions/{sub.subscription_id}/cancel").status_code == 303
    assert story.subscriptions()[0].cancel_at


def test_changed_today(story: Story) -> None:
    sub = story.bought()
    answer = story.buy(story.browser, "team")
    assert f"/billing/subscriptions/{sub.subscription_id}/change" in answer.location
    page = story.see(answer.location)
    assert "not refunded" in page
    data = dict(part.split("=") for part in answer.location.partition("?")[2].split("&"))
    paying = story.press(answer.location.partition("?")[0], when="today", **data)
    assert paying.status_code == 303
    again = story.press(answer.location.partition("?")[0], when="today", **data)
    assert again.location == paying.location
    assert story.has_access("Starter")
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    old, new = story.subscriptions()
    assert (old.status, old.access, new.access) == ("cancelled", "ended", "granted")
    assert not story.has_access("Starter")
    assert story.has_access("Team")
    first, second = story.the_orders()
    assert first.replaced_by == second.ref
    assert "ended" not in story.facts


@pytest.mark.thorough
def test_changed_at_the_renewal(story: Story) -> None:
    sub = story.bought()
    path = f"/billing/subscriptions/{sub.subscription_id}"
    page = story.see(f"{path}/change")
    assert "Team" in page
    assert "Studio" not in page  # on no price list: its metadata says `listed: false`
    plan = stable_id("plan", "team")
    terms = {"plan": plan, "currency": "inr", "billing_period": "MONTHLY", "when": "renewal"}
    assert story.press(f"{path}/change", **terms).status_code == 303
    assert "Then it changes to Team." in story.see()
    assert "Undo the planned change" in story.see()
    assert "Your planned change of plan is dropped." in story.see(f"{path}/cancel")
    assert story.press(f"{path}/undo", what="change").status_code == 303
    assert story.subscriptions()[0].planned_plan_id is None
    assert story.press(f"{path}/change", **terms).status_code == 303
    story.until("period_end", sub.subscription_id)
    assert story.subscriptions()[0].plan_id == plan
    assert story.has_access("Team")
    assert not story.has_access("Starter")
    assert story.emails("plan_changed") == 1
    back = terms | {"plan": stable_id("plan", "starter"), "when": "today"}
    assert story.press(f"{path}/change", **back).status_code == 303
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    assert story.subscriptions()[0].access == "ended"
    assert story.has_access("Starter")
    assert not story.has_access("Team")


@pytest.mark.thorough
def test_a_payment_that_failed_and_is_claimed_is_for_a_person(story: Story) -> None:
    """Money captured after a read said "failed" is booked nowhere: nobody is asked to pay again."""
    link = story.press_pay(story.owing())
    story.at_provider(link, "expire_link")
    back = f"/billing/invoices/{story.open_bill().invoice_id}/return/1?razorpay_payment_link_status=paid"
    assert story.browser.get(back, base_url=HOME).status_code == 303
    story.due_again()
    story.settle()
    bill = story.open_bill()
    assert bill.link == "review"
    links = len(story.links())
    assert story.press_pay(bill).endswith("/billing")
    assert len(story.links()) == links
    page = story.see()
    assert "Please do not pay again" in page
    assert not story.offers_to_pay(bill)


@pytest.mark.thorough
def test_paid_after_voiding_is_for_a_person(story: Story) -> None:
    bill = story.owing()
    link = story.press_pay(bill)
    story.at_flexprice(f"/invoices/{bill.invoice_id}/void")
    story.at_provider(link, "pay")
    for _ in range(2):
        story.due_again()
        story.settle()
    (bill,) = [one for one in story.bills() if one.invoice_id == bill.invoice_id]
    assert (bill.status, bill.link) == ("VOIDED", "review")
    assert "Please do not pay again" in story.see()


@pytest.mark.thorough
def test_an_operator_settles_what_is_for_a_person(story: Story) -> None:
    test_a_payment_that_failed_and_is_claimed_is_for_a_person(story)
    bill = story.open_bill()
    desk = story.desk()
    page = desk.get("/operator/billing", base_url=HOME).text
    assert "came back as if they had paid" in page
    settle = f"/operator/billing/invoices/{bill.id}/settle"
    sent = {"base_url": HOME, "headers": SAME_ORIGIN}
    assert desk.post(settle, **sent).status_code == 303  # without a reason
    assert story.open_bill().link == "review"
    assert desk.post(settle, data={"note": "seen at Razorpay"}, **sent).status_code == 303
    assert story.open_bill().link == "settled"
    assert story.browser.get("/operator/billing", base_url=HOME).status_code == 404
    assert desk.post(f"/operator/billing/{story.subscriptions()[0].id}/sync", **sent).status_code == 303


def test_every_fact_has_an_email() -> None:
    assert set(TEXTS) == set(Fact)


@pytest.mark.thorough
def test_each_fact_is_emailed_once(story: Story) -> None:
    story.owing()
    for _ in range(2):
        story.due_again()
        story.settle()
    page = story.see("/emails")
    assert page.count("Your invoice for Starter") == 1
    number, about = story.open_bill().number, f"invoice_ready {story.open_bill().invoice_id}"
    with story.shop.app_context():
        (email,) = db.session.scalars(db.select(Email).filter_by(about=about))
        rendered = render(email)
    assert number in rendered.text
    assert "/billing" in rendered.html
    assert "nothing is charged automatically" in rendered.text


@pytest.mark.thorough
def test_a_plan_made_in_the_dashboard_is_shown_without_access(story: Story) -> None:
    story.bought()
    story.made_in_dashboard("team")
    story.settle()
    assert [row.access for row in story.subscriptions()] == ["granted", "none"]
    assert not story.has_access("Team")
    page = story.see()
    assert "not linked to your account yet" in page
    assert story.told == []


@pytest.mark.thorough
def test_a_refused_process_makes_no_second_link(story: Story) -> None:
    """A payment without a link whose processing is refused stays the only one."""
    bill = story.owing()
    with story.shop.app_context():
        client = checkout.client
        told, made = client.get_invoice(bill.invoice_id), client.create_payment_link
        client.create_payment_link = lambda *args, **kwargs: replace(  # type: ignore[method-assign]
            made(*args, **kwargs), status="INITIATED", payment_url=None
        )
        assert told.open

        def refuse(*_: Any, **__: Any) -> Any:
            raise InvalidRequest("Invalid payment status for processing payment link", status=400)

        client.process_payment = refuse  # type: ignore[method-assign]
    assert story.press_pay(bill).endswith("/billing")
    assert (story.open_bill().link, story.open_bill().attempt) == ("requested", 1)
    assert story.press_pay(bill).endswith("/billing")
    assert story.open_bill().attempt == 1


@pytest.mark.thorough
def test_nobody_who_came_back_as_paid_is_sent_to_pay(story: Story) -> None:
    bill = story.owing()
    story.press_pay(bill)
    back = f"/billing/invoices/{bill.invoice_id}/return/1?razorpay_payment_link_status=paid"
    assert story.browser.get(back, base_url=HOME).status_code == 303
    assert story.press_pay(bill).endswith("/billing")
    with story.shop.app_context():
        row = db.session.get(Invoice, bill.id)
        row.returned_at -= timedelta(minutes=5)
        db.session.commit()
    assert story.press_pay(bill).endswith("/billing")
    assert "Please do not pay again" in story.see()
