"""Invoices that end in another way than by our link, and what the billing page says of them."""

from decimal import Decimal
from typing import Any

import pytest

from storefront.billing import Subscription
from storefront.extensions import checkout, db
from storefront.flexprice import InvalidRequest
from storefront.sandbox.store.billing_rows import Invoice as TheirInvoice
from storefront.sandbox.store.values import stable_id
from tests.shop_fixtures import HOME
from tests.unit.subscriptions.conftest import Story


@pytest.mark.thorough
def test_paid_twice_is_for_a_person(story: Story) -> None:
    story.shop.config["CHECKOUT_GRACE_DAYS"] = 10
    bill = story.owing()
    story.advance("99h")  # beyond the default grace
    assert story.has_access()
    link, other = story.press_pay(bill), story.link_of_another(bill)["payment_url"]
    story.at_provider(link, "pay")
    story.at_provider(other, "pay")
    story.settle()
    paid = story.bills()[-1]
    assert (paid.payment_status, paid.link) == ("OVERPAID", "settled")
    assert "more than was due" in paid.review_note
    page = story.see()
    assert not story.offers_to_pay(paid)
    assert "Nothing to pay at the moment" in page
    assert story.press_pay(paid).endswith("/billing")
    assert story.emails("invoice_paid") == 1
    desk = story.desk()
    assert "more than was due" in desk.get("/operator/billing", base_url=HOME).text
    assert desk.get("/operator/", base_url=HOME).text.count("tag--warn") == 1


@pytest.mark.thorough
def test_money_that_an_invoice_does_not_count_is_for_a_person(story: Story) -> None:
    """The invoice of an upgrade in the dashboard has a credit line, and no link settles it."""
    sub = story.bought()
    story.at_flexprice(
        f"/subscriptions/{sub.subscription_id}/change/v2/execute",
        target_plan_id=stable_id("plan", "team"), proration_behavior="create_prorations",
    )  # fmt: skip
    story.settle()
    assert story.has_access("Team")
    bill = story.open_bill()
    story.at_provider(story.press_pay(bill), "pay")
    story.due_again()
    story.settle()
    assert story.open_bill().money_seen_at
    story.minutes_later("money_seen_at")
    story.due_again()
    story.settle()
    assert story.open_bill().link == "review"
    assert story.press_pay(bill).endswith("/billing")
    assert len(story.links()) == 2  # of the sale, and of this invoice
    story.advance("40d")
    assert story.has_access("Team")
    assert "Please do not pay again" in story.see()
    story.at_desk(story.desk(), f"invoices/{bill.id}/settle", note="settled at Flexprice")
    (settled,) = [one for one in story.bills() if one.invoice_id == bill.invoice_id]
    assert settled.link == "settled"


@pytest.mark.thorough
def test_paid_elsewhere_while_our_link_is_open(story: Story) -> None:
    """On Razorpay's own page, which leads nowhere; ours stays pending for ever."""
    story.must("/_sandbox/switches", invoice_sync="on")
    bill = story.owing()
    page = story.press(f"/billing/invoices/{bill.invoice_id}/pay")
    assert (page.status_code, "then come back here" in page.text) == (200, True)
    assert "Pay on the payment page, then come back here." in story.see()
    link = {"payment_method_type": "OFFLINE", "payment_gateway": ""}
    story.link_of_another(bill, **link)
    story.settle(deliver=False)
    story.due_again()
    story.settle(deliver=False)
    assert story.bills()[-1].paid
    assert story.bills()[-1].link == "settled"


@pytest.mark.thorough
def test_an_ended_plan_still_owes(story: Story) -> None:
    bill = story.owing()
    sub = story.subscriptions()[0]
    story.must(f"/_sandbox/subscriptions/{sub.subscription_id}/cancel")
    story.settle()
    assert not story.has_access()
    page = story.see()
    assert "Your plan has ended; this amount is still owed. Paying it does not restart the plan." in page
    assert "Buy again" in page
    story.at_provider(story.press_pay(bill), "pay")
    story.settle()
    assert not story.has_access()
    assert "still owed" not in story.see()
    assert (story.emails("ended"), story.emails("invoice_paid")) == (1, 1)
    assert story.buy(story.browser).status_code == 303
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    assert story.has_access("Starter")


@pytest.mark.thorough
def test_a_replaced_plan_asks_for_nothing_and_suspends_nobody(story: Story) -> None:
    """Flexprice could not be told to end it before it made an invoice."""
    bill = story.owing()
    with story.shop.app_context():
        db.session.execute(db.update(Subscription).values(replaced_by="0" * 32))
        db.session.commit()
    story.advance("9d")
    assert story.has_access()
    assert "suspended" not in story.facts
    page = story.see()
    assert "Of a plan that was replaced" in page
    assert not story.offers_to_pay(bill)
    assert story.press_pay(bill).endswith("/billing")
    assert story.press(f"/billing/subscriptions/{bill.subscription_id}/change").status_code in (200, 409)
    row, desk = story.subscriptions()[0], story.desk()
    with story.shop.app_context():  # nine attempts have failed, and the tenth does
        due = {"end_requested_at": row.synced_at, "next_attempt_at": row.synced_at, "attempts": 9}
        db.session.execute(db.update(Subscription).values(due))
        db.session.commit()
    story.wire.faults["POST", f"/v1/subscriptions/{row.subscription_id}/cancel"] = "refused for now"
    story.work()
    assert "Ten attempts failed" in desk.get("/operator/billing", base_url=HOME).text
    assert "The worker ends it now." in story.at_desk(desk, f"{row.id}/end", form_key="a" * 32)
    assert "This was done already." in story.at_desk(desk, f"{row.id}/end", form_key="a" * 32)
    story.settle()
    assert story.subscriptions()[0].status == "cancelled"
    assert "has ended already" in story.at_desk(desk, f"{row.id}/end", form_key="b" * 32)


@pytest.mark.thorough
def test_a_change_waits_for_what_is_owed_and_for_its_payment(story: Story) -> None:
    bill = story.owing()
    path = f"/billing/subscriptions/{bill.subscription_id}/change"
    terms = {"plan": stable_id("plan", "team"), "currency": "inr", "billing_period": "MONTHLY"}
    where = f"{path}?plan={terms['plan']}&currency=inr&billing_period=MONTHLY"
    assert "Pay the open invoice of your plan first." in story.see(where)
    assert story.press(path, **terms, when="today").status_code == 409
    story.at_provider(story.press_pay(bill), "pay")
    story.settle()
    assert "is not refunded" in story.see(where)
    assert "same currency and billing period" in story.see(where.replace("MONTHLY", "ANNUAL"))
    assert story.press(path, **terms, when="today").status_code == 303
    assert "Another change" in story.press(path, **terms | {"billing_period": "ANNUAL"}, when="today").text
    story.until("session_expiry", story.sessions()[-1].id)
    assert story.the_orders()[-1].state == "expired"
    assert (story.has_access("Starter"), story.has_access("Team")) == (True, False)
    assert story.press(path, **terms, when="today").status_code == 303  # it may begin again
    assert story.the_orders()[-1].is_open

    def refuse(*_: Any, **__: Any) -> None:
        raise InvalidRequest("Clear the pending cancellation before changing plan", status=400)

    with story.shop.app_context():
        checkout.client.plan_change_at_renewal = refuse  # type: ignore[method-assign]
    answer = story.press(path, **terms, when="renewal")
    assert answer.status_code == 409
    assert "It could not be planned. Nothing was charged." in answer.text
    assert "Clear the pending cancellation before changing plan" in answer.text  # why


@pytest.mark.thorough
@pytest.mark.parametrize(
    "claim",
    ["?razorpay_payment_link_status=paid", "", "?razorpay_payment_link_status=cancelled"],
    ids=["says paid", "says nothing", "says another thing"],
)
def test_a_payment_is_left_alone_while_its_event_comes(story: Story, claim: str) -> None:
    """Reading it in that moment once booked it twice: it is read a minute after the customer came back.

    Kind: reads that write.
    """
    bill = story.owing()
    link = story.press_pay(bill)
    with story.shop.app_context():
        client = checkout.client
    read, reads = client.get_payment, []
    client.get_payment = lambda *args, **kw: (reads.append(args), read(*args, **kw))[1]  # type: ignore
    story.must("/_sandbox/provider", action="pay", link=link, events=["payment_link.paid"])
    back = f"/billing/invoices/{bill.invoice_id}/return/1{claim}"
    assert story.browser.get(back, base_url=HOME).status_code == 303
    story.settle()
    story.press_pay(bill)
    assert (reads, story.open_bill().link) == ([], "open")
    story.minutes_later("returned_at")
    story.due_again()
    story.settle()
    assert len(reads) == 1
    assert story.bills()[-1].paid


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("status", "paid", "remaining"),
    [("OVERPAID", "998", "0"), ("OVERPAID", "499", "0"), ("SUCCEEDED", "200", "299")],
    ids=["one payment booked twice", "said of the right amount", "part paid"],
)
def test_an_invoice_that_counts_as_paid_is_paid(story: Story, status: str, paid: str, remaining: str) -> None:
    """Whatever the sum says: Flexprice takes no further payment.

    Kind: reads that write.
    """
    bill = story.owing()
    story.at_provider(story.press_pay(bill), "pay")
    with story.flexprice() as rows:
        theirs = rows.need(TheirInvoice, bill.invoice_id)
        theirs.payment_status = status
        theirs.amount_paid, theirs.amount_remaining = Decimal(paid), Decimal(remaining)
    story.settle()
    found = story.bills()[-1]
    assert (found.payment_status, found.paid, found.link) == (status, True, "settled")
    assert (found.review_note is None) == (status == "SUCCEEDED")  # an operator compares the payments
    assert not story.offers_to_pay(found)
    assert story.press_pay(found).endswith("/billing")
    assert story.emails("invoice_paid") == 1
    story.advance("99h")
    assert story.has_access()


@pytest.mark.thorough
def test_another_period_of_the_same_plan_keeps_its_access(story: Story) -> None:
    sub = story.bought()
    terms = {"plan": sub.plan_id, "currency": "inr", "billing_period": "ANNUAL", "when": "today"}
    path = f"/billing/subscriptions/{sub.subscription_id}/change"
    assert story.press(path, **terms).status_code == 303
    story.on_payment_page(story.sessions()[-1], "pay")
    story.settle()
    old, new = story.subscriptions()
    assert (old.access, new.access, new.billing_period) == ("ended", "granted", "ANNUAL")
    assert story.has_access("Starter")
    (access,) = story.plan_access()
    assert access.order_id == story.the_orders()[-1].id


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["cancel", "undo"])
def test_a_form_suspends_nobody_who_may_have_paid(story: Story, what: str) -> None:
    """The money is there and Flexprice has not heard of it: the link is read first."""
    bill = story.owing()
    path = f"/billing/subscriptions/{bill.subscription_id}"
    if what == "undo":
        story.press(f"{path}/cancel")
    link = story.press_pay(bill)
    story.must("/_sandbox/provider", action="pay", link=link, events=["payment_link.paid"])
    moved = story.must("/_sandbox/clock", advance="97h", jump=True)
    story._read_clock(moved["now"])
    story.press(f"{path}/{what}", what="cancel")
    assert story.has_access()
    story.settle(deliver=False)
    assert story.has_access()
    assert "suspended" not in story.facts
    assert story.bills()[-1].paid


@pytest.mark.thorough
def test_a_renewal_is_announced_without_its_event(story: Story) -> None:
    sub = story.bought()
    story.until("period_end", sub.subscription_id)
    assert "Nothing to pay at the moment" in story.see()  # the first renewal is skipped
    story.advance("20d", deliver=False)
    end = story.subscriptions()[0].period_end
    before = end - story.now()
    story.advance(f"{int(before.total_seconds()) - 23 * 3600}s", deliver=False)
    assert story.emails("renewal_coming") == 1
    story.until("period_end", sub.subscription_id, deliver=False)
    assert "is being prepared" in story.see()
    story.until("invoice_finalized", sub.subscription_id)
    assert "being prepared" not in story.see()
    assert story.emails("renewal_coming") == 1


@pytest.mark.thorough
def test_usage_is_dated_and_never_guessed(story: Story) -> None:
    customer = story.bought().flexprice_customer_id

    def page() -> str:
        story.shop.extensions["subscriptions"].usage.clear()
        return story.see()

    first = page()
    for words in (
        "up to 10,000 (no usage reported yet)",
        "up to 2 (not measured)",
        "As of ",
        "Custom domain",
    ):
        assert words in first, first
    with story.wire.other_process():
        used = {"customer": customer, "feature": "emails", "value": 1234}
        put = story.wire.sandbox.put("/_sandbox/usage", base_url="http://127.0.0.1:8001", json=used)
        assert put.status_code == 200, put.text
    assert "1,234" not in story.see()  # kept for a minute
    assert "1,234 of 10,000" in page()
    story.must("/_sandbox/switches", usage_store="down")
    story.wire.faults["GET", "/v1/customers/usage"] = "refused for now"
    assert "up to 10,000 (not measured)" in page()
    story.wire.faults["GET", f"/v1/customers/external/{_key(story)}/entitlements"] = "refused for now"
    assert "your usage cannot be read at the moment" in page()


def _key(story: Story) -> str:
    return story.subscriptions()[0].customer_key


@pytest.mark.thorough
def test_a_pdf_is_passed_on_and_kept_by_nobody(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storefront.subscriptions.views.PAGE_TIMEOUT_S", (60.0, 60.0))  # drawn slowly
    story.bought()
    path = f"/billing/invoices/{story.bills()[0].invoice_id}/pdf"
    none = story.browser.get(path, base_url=HOME)
    assert (none.status_code, "cannot be made at the moment" in none.text) == (503, True)
    story.must("/_sandbox/switches", pdf="rendered")
    answer = story.browser.get(path, base_url=HOME)
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    assert answer.data.startswith(b"%PDF")
    assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.thorough
def test_an_operator_assigns_a_plan_of_the_dashboard(story: Story) -> None:
    story.bought()
    story.made_in_dashboard("team")
    story.settle()
    assert not story.has_access("Team")
    row, desk = story.subscriptions()[-1], story.desk()
    assert "Assign to its customer" in desk.get("/operator/billing", base_url=HOME).text
    assert "has access now" in story.at_desk(desk, f"{row.id}/assign", form_key="a" * 32)
    assert story.has_access("Team")
    assert "This was done already." in story.at_desk(desk, f"{row.id}/assign", form_key="a" * 32)
    assert "assigned already" in story.at_desk(desk, f"{row.id}/assign", form_key="b" * 32)
    page = desk.get("/operator/billing", base_url=HOME).text
    assert page.count("Assigned to its customer") == 1
    order = story.the_orders()[-1]
    assert (order.state, order.user_id, order.amount) == ("fulfilled", 1, Decimal(0))
    story.settle()
    assert story.has_access("Team")
    story.advance("99h")  # its first invoice is due a month later, and counts from the day it was made
    story.advance("3h")
    assert not story.has_access("Team")
    assert story.has_access("Starter")
    story.made_in_dashboard("starter")
    story.settle()
    again = story.subscriptions()[-1]
    assert "has this plan already" in story.at_desk(desk, f"{again.id}/assign", form_key="c" * 32)
    story.must(f"/_sandbox/subscriptions/{row.subscription_id}/cancel")
    story.settle()
    assert not story.has_access("Team")


@pytest.mark.thorough
def test_a_note_is_cleared_once_it_was_seen_to(story: Story) -> None:
    bill = story.owing()
    with story.shop.app_context():
        db.session.execute(db.update(Subscription).values(review_note="Ten attempts failed: ServerError"))
        db.session.commit()
    row, desk = story.subscriptions()[0], story.desk()
    shown = desk.get("/operator/billing", base_url=HOME).text.partition('name="shown" value="')[2][:16]
    assert "Add a note" in story.at_desk(desk, f"subscription/{row.id}/clear", shown=shown)
    assert "has changed" in story.at_desk(desk, f"subscription/{row.id}/clear", shown="0" * 16, note="ok")
    page = story.at_desk(desk, f"subscription/{row.id}/clear", shown=shown, note="Flexprice was down")
    assert "Review note cleared." in page
    assert "Flexprice was down" in page
    assert story.subscriptions()[0].review_note is None
    assert "does not need a decision" in story.at_desk(desk, f"invoices/{bill.id}/settle", note="no")
    assert "Marked as settled: no" not in desk.get("/operator/billing", base_url=HOME).text
