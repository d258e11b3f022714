"""The QA page against the sandbox: what it says at each step of a sale."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storefront.emails import worker as email_worker
from storefront.extensions import db
from storefront.models import Order, User

SESSIONS = "/v1/checkout/sessions"
CHECKS = ["session", "subscription", "invoice", "webhook", "fulfillment"]


@pytest.fixture
def marks(world: Any) -> Callable[..., dict[str, str]]:
    """What the newest order's page marks each check with."""

    def read(shopper: Any) -> dict[str, str]:
        world.shop.extensions["qa_answers"]._asked_at_s.clear()  # as if the last question was long ago
        page = shopper.see(f"/qa/{world.order().ref}")
        assert page.status_code == 200
        return dict(re.findall(r'data-check="(\w+)" data-result="(\w+)"', page.text))

    return read


def send_emails(world: Any) -> None:
    with world.shop.app_context():
        email_worker.run_once()
        db.session.remove()


def all_marked(mark: str) -> dict[str, str]:
    return dict.fromkeys(CHECKS, mark)


def rows_of(order: Order) -> dict[str, Any]:
    return {c.key: getattr(order, c.key) for c in Order.__mapper__.column_attrs}


def test_a_sale_is_ticked_off_step_by_step(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    link = shopper.buy().headers["Location"]
    assert marks(shopper) == all_marked("wait")

    shopper.pay(link)
    assert marks(shopper) == {
        "session": "done",
        "subscription": "done",
        "invoice": "done",
        "webhook": "wait",
        "fulfillment": "look",  # no worker runs in this test
    }

    world.deliver()
    assert marks(shopper)["webhook"] == "done"

    world.settle()
    send_emails(world)
    assert marks(shopper) == all_marked("done")


@pytest.mark.thorough
def test_each_check_has_its_evidence_and_the_email(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()
    marks(shopper)

    order = world.order()
    page = shopper.see(f"/qa/{order.ref}").text
    event = next(m for m in world.events() if m.event_type == "checkout.session.completed")
    invoice = world.sessions()[-1]["checkout_invoice_id"]
    for evidence in (order.session_id, order.payment_id, order.subscription_id, invoice, event.id):
        assert evidence in page
    email = re.search(r'href="(/emails/\d+)"', page)
    assert email
    assert "Starter" in shopper.see(email[1]).text


def test_looking_changes_no_order(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    before = rows_of(world.order())
    for path in ("", f"/{world.order().ref}", f"/{world.order().ref}/checks", "/orders", "/result.json"):
        assert shopper.see(f"/qa{path}").status_code == 200
    assert rows_of(world.order()) == before


@pytest.mark.thorough
def test_what_the_page_learns_makes_the_worker_check(world: Any, marks: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])

    marks(shopper)
    world.work()
    send_emails(world)

    assert world.order().state == "fulfilled"
    found = marks(shopper)
    assert found | {"webhook": ""} == all_marked("done") | {"webhook": ""}


@pytest.mark.thorough
def test_a_lost_message_is_named_with_cause_and_fix(world: Any, marks: Any) -> None:
    world.webhooks("drop")
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.work(after=timedelta(minutes=3))
    world.work(after=timedelta(minutes=6))
    long_ago = world.sessions()[-1]
    world.change_session(long_ago["id"], completed_at=datetime(2026, 1, 1, 10, tzinfo=UTC))

    assert marks(shopper)["webhook"] == "look"
    page = shopper.see(f"/qa/{world.order().ref}").text
    assert "No event about this order ever came" in page
    assert "/webhooks/flexprice, enabled" in page

    world.webhooks("normal")
    for row in world.deliveries():
        world.control(f"deliveries/{row['id']}/resend")
    world.settle()
    assert marks(shopper)["webhook"] == "done"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("ending", "words"),
    [("cancel", "The payment was cancelled"), ("expire", "It was not paid in time")],
)
def test_an_order_that_ended_unpaid_owes_nothing(world: Any, marks: Any, ending: str, words: str) -> None:
    shopper = world.shopper()
    shopper.buy()
    if ending == "cancel":
        shopper.cancel(world.order())
    else:
        world.later("66m")
    world.settle()

    assert marks(shopper) == all_marked("stop")
    page = shopper.see(f"/qa/{world.order().ref}").text
    assert words in page
    assert "hx-get" not in page  # nothing more will change, so it asks no more


@pytest.mark.thorough
def test_a_declined_payment_leaves_everything_open(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"], "failure@razorpay")
    world.settle()
    assert marks(shopper) == all_marked("wait")
    assert "A declined card or UPI payment changes nothing" in shopper.see(f"/qa/{world.order().ref}").text


def test_a_completion_that_was_overwritten_asks_for_a_person(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.change_session(world.sessions()[-1]["id"], checkout_status="expired")

    assert marks(shopper)["session"] == "look"
    assert "completed and then overwritten" in shopper.see(f"/qa/{world.order().ref}").text


@pytest.mark.thorough
def test_flexprice_being_down_is_said_and_what_the_shop_knows_still_stands(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    shopper.pay(shopper.buy().headers["Location"])
    world.settle()
    marks(shopper)
    send_emails(world)
    world.work(after=timedelta(minutes=3))  # reads the receipt
    world.down()

    found = marks(shopper)

    assert found["session"] == found["webhook"] == found["fulfillment"] == "done"
    assert "Flexprice was asked" in shopper.see(f"/qa/{world.order().ref}").text


@pytest.mark.thorough
def test_a_stranger_finds_nothing_and_an_operator_everything(world: Any) -> None:
    asha = world.shopper()
    asha.buy()
    ref = world.order().ref
    paths = [f"/qa/{ref}", f"/qa/{ref}/checks", f"/qa/{ref}/result.md", f"/qa/{ref}/result.json"]

    chetan = world.shopper("Chetan Stranger")
    assert [chetan.see(path).status_code for path in paths] == [404] * 4
    assert ref not in chetan.see("/qa").text
    assert ref not in chetan.see("/qa/result.json").text

    with world.shop.app_context():
        db.session.scalars(db.select(User).where(User.email == chetan.email)).one().is_operator = True
        db.session.commit()
        db.session.remove()
    assert [chetan.see(path).status_code for path in paths] == [200] * 4
    assert ref in chetan.see("/qa").text


@pytest.mark.thorough
def test_the_result_is_the_same_in_both_forms_and_holds_no_secret(world: Any, marks: Any) -> None:
    shopper = world.shopper()
    link = shopper.buy().headers["Location"]
    shopper.pay(link)
    world.settle()
    send_emails(world)
    marks(shopper)
    order = world.order()

    of_one = json.loads(shopper.see(f"/qa/{order.ref}/result.json").text)
    of_all = json.loads(shopper.see("/qa/result.json").text)
    text = shopper.see(f"/qa/{order.ref}/result.md").text

    assert of_one["orders"] == of_all["orders"]
    (sheet,) = of_one["orders"]
    assert (sheet["order"], sheet["state"]) == (order.ref, "fulfilled")
    assert [check["result"] for check in sheet["checks"]] == ["Done"] * 5
    for check in sheet["checks"]:
        assert f"| {check['check']} | Done |" in text
        for piece in check["evidence"]:
            assert f"{piece['label']}: {piece['value']}" in text
    secrets = ("sk_sandbox_journeys", "whsec_", shopper.email, "Asha Rao", link.rpartition("/")[2])
    for secret in secrets:
        assert secret not in text + json.dumps(of_all)


@pytest.mark.thorough
def test_the_page_lists_every_order_of_the_shopper(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy("Starter")
    shopper.cancel(world.order())
    shopper.buy("Team")
    page = shopper.see("/qa").text
    assert [order.ref in page for order in world.orders()] == [True, True]
    assert page.count('class="qa-marks"') == 2
