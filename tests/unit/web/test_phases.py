"""Every phase of an order says what happened, whether money moved, and what to do next."""

import ast
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template

from storefront.checkout import State
from storefront.checkout import phases as phases_module
from tests.shop_fixtures import NOW

PHASES = (
    "unopened",
    "preparing",
    "lost",
    "ready_to_pay",
    "confirming",
    "checking",
    "waiting",
    "slow",
    "overdue",
    "paid",
    "ready",
    "ended",
    "refund_reported",
    "failed",
    "not_opened",
    "expired",
    "cancelled",
    "abandoned",
    "ended_unconfirmed",
    "mismatched",
    "held",
    "stuck",
    "paid_twice",
    "paid_late",
    "refunded",
)
POLLING = {"unopened", "preparing", "lost", "confirming", "checking", "waiting", "slow", "overdue", "paid"}
TAG = re.compile(r"<[^>]*>")


@pytest.fixture
def fragment(app: Flask, add_user: Callable[..., int], add_order: Callable[..., str]) -> Callable[..., str]:
    """The status fragment in a phase, whatever the order's state."""
    from storefront.checkout.phases import CAN_PAY, CAN_TRY_AGAIN
    from storefront.extensions import db
    from storefront.models import Order

    add_user()
    add_order(expires_at=NOW + timedelta(minutes=15), unverified_payment_id="pay_01")

    def render(phase: str, **values: Any) -> str:
        polling = phase in POLLING
        with app.test_request_context():
            return render_template(
                "checkout/_status.html",
                **{
                    "order": db.session.query(Order).one(),
                    "phase": phase,
                    "page": "failure",
                    "polling": polling,
                    "delay": 2,
                    "status_url": "/orders/x/status",
                    "check_url": "/orders/x/failure",
                    "can_pay": phase in CAN_PAY,
                    "can_cancel": phase in ("waiting", "slow", "overdue", "unopened", "lost"),
                    "can_try_again": phase in CAN_TRY_AGAIN,
                    "paid_claimed": False,
                }
                | values,
            )

    return render


def text(html: str) -> str:
    return " ".join(TAG.sub(" ", html).split())


def part(html: str, mark: str) -> str:
    found = re.search(rf"<(\w+)[^>]*{mark}[^>]*>(.*?)</\1>", html, re.S)
    return text(found[2]) if found else ""


@pytest.mark.parametrize("phase", PHASES)
def test_phase_says_all_four_things(fragment: Callable[..., str], phase: str) -> None:
    html = fragment(phase)
    assert f'data-phase="{phase}"' in html
    assert len(part(html, 'id="status-title"')) > 8
    assert len(part(html, 'class="status__what"')) > 20
    assert len(part(html, 'class="money"')) > 20
    assert len(part(html, 'class="status__next"')) > 10
    assert 'class="button' in html, "no next step as a button"


def test_no_phase_of_the_checkout_is_missing() -> None:
    tree = ast.parse(Path(phases_module.__file__ or "").read_text())
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "phase" in node.name
    ]
    returned = {
        node.value
        for function in functions
        for statement in ast.walk(function)
        if isinstance(statement, ast.Return)
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    of_states = {str(state) for state in State} - {"placed", "awaiting_payment", "fulfilled"}
    named = returned | of_states
    assert len(named) > 20
    assert named | phases_module.CAN_PAY | phases_module.CAN_TRY_AGAIN == set(PHASES)


@pytest.mark.parametrize("phase", PHASES)
def test_only_a_polling_fragment_has_htmx_attributes(fragment: Callable[..., str], phase: str) -> None:
    html = fragment(phase)
    assert (" hx-" in html) == (phase in POLLING)
    assert "[" not in (re.search(r'hx-trigger="([^"]*)"', html) or ["", ""])[1], "a filter needs eval"


@pytest.mark.parametrize("phase", PHASES)
def test_only_script_says_that_the_page_updates(fragment: Callable[..., str], phase: str) -> None:
    html = fragment(phase)
    assert ("<span data-auto hidden>" in html) == (phase in POLLING)
    by_script = "<span data-auto hidden>This page updates automatically."
    assert "updates automatically" not in html.replace(by_script, "")


@pytest.mark.parametrize("phase", sorted(set(PHASES) - {"refund_reported", "paid_late", "refunded"}))
def test_a_refund_is_named_only_where_one_was_seen(fragment: Callable[..., str], phase: str) -> None:
    assert "refund" not in text(fragment(phase)).lower()


@pytest.mark.parametrize(
    "phase", ["confirming", "checking", "ended_unconfirmed", "held", "stuck", "paid_twice"]
)
def test_after_a_payment_no_button_leads_to_another(fragment: Callable[..., str], phase: str) -> None:
    html = fragment(phase)
    assert 'class="button" id="order-pay"' not in html
    assert "order-try-again" not in html
    assert re.search("not pay again|not need to pay again", html)


def test_support_is_told_the_payment(fragment: Callable[..., str]) -> None:
    html = fragment("ended_unconfirmed")
    assert "pay_01" in text(html)
    assert "mailto:shop@shop.example?subject=Order%20" in html


def test_lost_answer_offers_to_start_again_first(fragment: Callable[..., str]) -> None:
    """Kind: every open state has a way out."""
    assert re.search(r'class="button" type="submit" id="order-try-again"[^>]*>Start again', fragment("lost"))


def test_state_has_one_name_wherever_it_is_shown(fragment: Callable[..., str]) -> None:
    assert part(fragment("held"), 'id="status-title"') == part(fragment("stuck"), 'id="status-title"')
