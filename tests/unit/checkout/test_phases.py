"""Which situation the page of an order shows, and how often it polls."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from storefront.checkout import State
from storefront.checkout.models import OrderMixin
from storefront.checkout.phases import (
    CAN_PAY,
    CAN_TRY_AGAIN,
    POLL_DELAYS_S,
    is_polling,
    phase_of,
    poll_delay_s,
)

NOW = datetime(2026, 9, 1, 10, 0)  # noqa: DTZ001 - naive UTC, as in the tables
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def order(state: State, **values: Any) -> Any:
    defaults: dict[str, Any] = dict.fromkeys(
        ("session_requested_at", "returned_paid_at", "refunded_at", "revoked_at", "expires_at")
    )
    given = defaults | {"state": state, "session_id": "cs_01", "status_changed_at": NOW} | values
    found = SimpleNamespace(**given)
    found.is_open = OrderMixin.is_open.fget(found)  # type: ignore[attr-defined]
    return found


def phase(state: State, page: str = "failure", watched_s: int = 30, **values: Any) -> str:
    return phase_of(order(state, **{"status_changed_at": NOW - DAY} | values), page, watched_s, NOW)


@pytest.mark.parametrize(
    ("requested_at", "expected"),
    [
        (None, "unopened"),
        (NOW, "preparing"),
        (NOW - 59 * SECOND, "preparing"),
        (NOW - 61 * SECOND, "lost"),
    ],
)
def test_placed_order_is_preparing_until_lost(requested_at: Any, expected: str) -> None:
    assert phase(State.PLACED, session_requested_at=requested_at) == expected


@pytest.mark.parametrize(
    ("page", "watched_s", "values", "expected"),
    [
        ("failure", 0, {}, "waiting"),
        ("success", 0, {}, "checking"),
        ("success", 7, {}, "checking"),
        ("success", 8, {}, "waiting"),
        ("failure", 119, {}, "waiting"),
        ("failure", 120, {}, "slow"),
        (
            "failure",
            9,
            {"status_changed_at": NOW - 8 * SECOND},
            "ready_to_pay",
        ),  # it was opened while they waited
        ("failure", 8, {"status_changed_at": NOW - 8 * SECOND}, "waiting"),
        ("failure", 300, {"status_changed_at": NOW - 119 * SECOND}, "ready_to_pay"),
        ("failure", 300, {"status_changed_at": NOW - 120 * SECOND}, "slow"),
        ("success", 9, {"status_changed_at": NOW - 8 * SECOND}, "waiting"),
        ("failure", 0, {"expires_at": NOW - SECOND}, "overdue"),
        ("failure", 500, {"expires_at": NOW - SECOND}, "overdue"),
        ("failure", 0, {"expires_at": NOW + SECOND}, "waiting"),
        ("failure", 0, {"returned_paid_at": NOW}, "confirming"),
        ("success", 500, {"returned_paid_at": NOW, "expires_at": NOW - DAY}, "confirming"),
    ],
)
def test_open_order_has_words_for_its_customer(
    page: str, watched_s: int, values: dict[str, Any], expected: str
) -> None:
    assert phase(State.AWAITING_PAYMENT, page, watched_s, **values) == expected


@pytest.mark.parametrize(
    ("state", "values", "expected"),
    [
        (State.PAID, {}, "paid"),
        (State.FULFILLED, {}, "ready"),
        (State.FULFILLED, {"revoked_at": NOW}, "ended"),
        (State.FULFILLED, {"revoked_at": NOW, "refunded_at": NOW}, "refund_reported"),
        (State.FULFILLED, {"returned_paid_at": NOW}, "ready"),
        (State.FAILED, {}, "failed"),
        (State.FAILED, {"session_id": None}, "not_opened"),
        (State.EXPIRED, {}, "expired"),
        (State.CANCELLED, {}, "cancelled"),
        (State.ABANDONED, {}, "abandoned"),
        (State.EXPIRED, {"returned_paid_at": NOW}, "ended_unconfirmed"),
        (State.CANCELLED, {"returned_paid_at": NOW}, "ended_unconfirmed"),
        (State.MISMATCHED, {}, "mismatched"),
        (State.HELD, {}, "held"),
        (State.STUCK, {}, "stuck"),
        (State.PAID_TWICE, {}, "paid_twice"),
        (State.PAID_LATE, {}, "paid_late"),
        (State.REFUNDED, {}, "refunded"),
    ],
)
def test_later_states_have_their_phase(state: State, values: dict[str, Any], expected: str) -> None:
    assert phase(state, **values) == expected


@pytest.mark.parametrize("page", ["success", "failure"])
@pytest.mark.parametrize("state", sorted(State))
def test_every_state_has_a_phase_on_every_page(state: State, page: str) -> None:
    assert phase(state, page)


def test_the_page_only_chooses_words() -> None:
    """Nothing that is decided differs between the two addresses."""
    decided = set(State) - {State.AWAITING_PAYMENT}
    assert [phase(state, "success", 0) for state in sorted(decided)] == [
        phase(state, "failure", 0) for state in sorted(decided)
    ]


def test_payment_is_offered_while_it_can_be_made() -> None:
    assert not CAN_PAY & CAN_TRY_AGAIN
    unknown = {"confirming", "checking", "ended_unconfirmed", "paid", "held", "stuck", "paid_twice"}
    assert not CAN_TRY_AGAIN & unknown


@pytest.mark.parametrize("state", [State.PLACED, State.AWAITING_PAYMENT, State.PAID])
def test_undecided_order_polls(state: State) -> None:
    assert is_polling(order(state), NOW + 30 * DAY)


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED])
def test_unpaid_end_polls_for_late_money(state: State) -> None:
    assert is_polling(order(state), NOW + MINUTE)
    assert not is_polling(order(state), NOW + 3 * MINUTE)
    claimed = order(state, returned_paid_at=NOW)
    assert is_polling(claimed, NOW + 2 * DAY)
    assert not is_polling(claimed, NOW + 4 * DAY)


FINAL = (State.FULFILLED, State.MISMATCHED, State.HELD, State.STUCK, State.PAID_TWICE, State.PAID_LATE)


@pytest.mark.parametrize("state", [*FINAL, State.REFUNDED])
def test_decided_order_does_not_poll(state: State) -> None:
    assert not is_polling(order(state), NOW)


def test_delays_grow_to_fifteen_seconds() -> None:
    watched_s, delays = 0, []
    for _ in range(10):
        delays.append(poll_delay_s(watched_s))
        watched_s += delays[-1]
    assert delays == [*POLL_DELAYS_S, 15, 15]
    assert POLL_DELAYS_S == (1, 2, 2, 3, 5, 8, 13, 15)
