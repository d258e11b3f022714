"""`flask checkout …`: what it prints, what it changes, and when it fails."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storefront.checkout import State
from storefront.models import PlanAccess

SESSION = "/checkout/sessions/cs_01"
COMPLETED = {"checkout_status": "completed", "terminal": True}


@pytest.fixture
def run(app: Any) -> Any:
    """Runs a command: `run("show", ref)`."""
    return lambda *words: app.test_cli_runner().invoke(args=["checkout", *words])


def test_worker_once_does_what_is_due(run: Any, send_webhook: Any, the_event: Any) -> None:
    send_webhook({"event_type": "brand.new", "brand": {"id": "b_1"}})
    result = run("worker", "--once")
    assert (result.exit_code, result.output) == (0, "1 taken up\n")
    assert the_event().outcome == "ignored"


def test_reconcile_says_what_it_did(
    run: Any, flexprice: Any, add_opened: Any, the_order: Any, rows: Any
) -> None:
    ref = add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(**COMPLETED))
    invoice = {
        "id": "inv_01",
        "invoice_number": "INV-1",
        "currency": "inr",
        "subtotal": "499",
        "total": "499",
    }
    invoice |= {"invoice_status": "FINALIZED", "payment_status": "SUCCEEDED"}
    flexprice.answer("GET", "/invoices/inv_01", invoice)
    result = run("reconcile")
    assert f"{ref}  awaiting_payment -> fulfilled" in result.output
    assert "1 orders checked" in result.output
    assert (result.exit_code, the_order().state) == (0, State.FULFILLED)
    assert len(rows(PlanAccess)) == 1
    assert run("reconcile").output == "0 orders checked\n"


def test_dry_run_writes_nothing(run: Any, flexprice: Any, add_opened: Any, the_order: Any) -> None:
    ref = add_opened()
    flexprice.answer("GET", SESSION, flexprice.session(**COMPLETED))
    result = run("reconcile", "--dry-run")
    assert (result.exit_code, f"{ref}  awaiting_payment -> paid" in result.output) == (0, True)
    assert the_order().state == State.AWAITING_PAYMENT


def test_reconcile_fails_when_flexprice_is_down(run: Any, flexprice: Any, add_opened: Any) -> None:
    add_opened()
    flexprice.answer("GET", SESSION, {"error": "down"}, 503)
    result = run("reconcile")
    assert result.exit_code == 1
    assert "503" in result.output


def test_reconcile_leaves_unopened_orders_alone(run: Any, add_user: Any, add_order: Any) -> None:
    add_user()
    add_order()
    assert run("reconcile").output == "0 orders checked\n"


def test_show_prints_an_order_with_its_events(
    run: Any, add_opened: Any, send_webhook: Any, webhook: Any
) -> None:
    ref = add_opened(invoice_total_text="588.82")
    send_webhook(webhook())
    result = run("show", ref)
    assert result.exit_code == 0
    for words in ("awaiting_payment", "cs_01", "588.82", "checkout.session.completed  due"):
        assert words in result.output


def test_show_names_an_unknown_order(run: Any) -> None:
    result = run("show", "0" * 32)
    assert (result.exit_code, "There is no such order." in result.output) == (1, True)


@pytest.mark.parametrize(
    ("state", "option", "after"),
    [
        (State.HELD, "--fulfill", State.PAID),
        (State.STUCK, "--fulfill", State.PAID),
        (State.PAID_TWICE, "--refunded", State.REFUNDED),
        (State.PAID, "--refunded", State.REFUNDED),
        (State.AWAITING_PAYMENT, "--close", State.ABANDONED),
        (State.HELD, "--close", State.REFUNDED),
    ],
)
def test_resolve_decides(
    run: Any, add_opened: Any, the_order: Any, state: State, option: str, after: State
) -> None:
    ref = add_opened(state=state)
    result = run("resolve", ref, option)
    assert (result.exit_code, result.output) == (0, f"{ref} is {after}\n")
    assert the_order().state == after


@pytest.mark.parametrize(
    ("state", "option"),
    [(State.FULFILLED, "--refunded"), (State.EXPIRED, "--fulfill"), (State.PAID, "--close")],
)
def test_resolve_refuses_what_does_not_apply(
    run: Any, add_opened: Any, the_order: Any, state: State, option: str
) -> None:
    result = run("resolve", add_opened(state=state), option)
    assert (result.exit_code, the_order().state) == (1, state)
    assert f"An order that is {state} cannot be resolved so." in result.output


def test_resolve_needs_a_decision(run: Any, add_opened: Any) -> None:
    assert run("resolve", add_opened()).exit_code == 2


def test_events_lists_and_retries(
    run: Any, send_webhook: Any, the_event: Any, pass_time: Any, flexprice: Any, webhook: Any, work: Any
) -> None:
    flexprice.answer("GET", SESSION, {"code": "not_found", "message": "unknown"}, 404)
    send_webhook(webhook())
    assert "checkout.session.completed  due" in run("events").output
    assert run("events", "--set-aside").output == ""
    pass_time(timedelta(minutes=61))
    work()
    assert "Flexprice does not know the session" in run("events", "--set-aside").output
    assert run("events", "--retry", "msg_1").output == "It is due.\n"
    assert the_event().next_attempt_at <= datetime.now(UTC).replace(tzinfo=None)
    assert run("events", "--retry", "msg_unknown").exit_code == 1


def test_check_is_content(run: Any, shop: Any) -> None:
    result = run("check")
    assert result.exit_code == 0, result.output
    assert "The checkout is set up." in result.output


def test_check_names_everything_that_is_missing(run: Any, app: Any) -> None:
    names = ("FLEXPRICE_API_KEY", "FLEXPRICE_WEBHOOK_SECRET", "CHECKOUT_LOGIN_ENDPOINT")
    app.config.update(dict.fromkeys(names, ""))
    result = run("check")
    assert result.exit_code == 1
    for name in names:
        assert f"problem: {name} is not set" in result.output
    assert "Flexprice cannot be asked" in result.output


def test_check_needs_the_block_in_the_layout(run: Any, app: Any, shop: Any) -> None:
    app.config["CHECKOUT_LAYOUT"] = "missing.html"
    result = run("check")
    assert result.exit_code == 1
    assert "cannot be rendered in missing.html" in result.output


def test_check_warns_of_strict_cookies(run: Any, app: Any, shop: Any) -> None:
    app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
    assert "signed out" in run("check").output


def test_check_needs_a_plan(run: Any, flexprice: Any) -> None:
    flexprice.sells()
    result = run("check")
    assert (result.exit_code, "no published plan" in result.output) == (1, True)
