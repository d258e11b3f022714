"""How long and how often the page of an order polls."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from storefront.checkout import State, views
from storefront.checkout.phases import POLL_DELAYS_S

ENDED = [State.FAILED, State.EXPIRED, State.CANCELLED, State.ABANDONED]
FINAL = [
    State.FULFILLED,
    State.PAID_LATE,
    State.PAID_TWICE,
    State.HELD,
    State.STUCK,
    State.REFUNDED,
    State.MISMATCHED,
]


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def delay_s(page: str) -> int | None:
    """Seconds until the page polls again; None: it does not."""
    found = re.search(r'hx-trigger="load delay:(\d+)s', page)
    return int(found[1]) if found else None


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("page", ["success", "failure"])
def test_late_payment_is_shown_for_two_minutes(
    asha: Any, add_order: Callable[..., str], state: State, page: str
) -> None:
    """Kind: no page waits for news that cannot come."""
    just = add_order(state=state, status_changed_at=now())
    assert delay_s(asha.get(f"/orders/{just}/{page}").text) == 1
    before = add_order(plan_id="plan_02", state=state, status_changed_at=now() - timedelta(minutes=3))
    assert delay_s(asha.get(f"/orders/{before}/{page}").text) is None


def test_claimed_payment_is_watched_longer(asha: Any, add_order: Callable[..., str]) -> None:
    ended_at = now() - timedelta(hours=5)
    ref = add_order(state=State.EXPIRED, status_changed_at=ended_at, returned_paid_at=ended_at)
    page = asha.get(f"/orders/{ref}/success").text
    assert 'data-phase="ended_unconfirmed"' in page
    assert delay_s(page) == 1


@pytest.mark.parametrize("state", FINAL)
def test_final_order_is_not_polled(asha: Any, add_order: Callable[..., str], state: State) -> None:
    ref = add_order(state=state, status_changed_at=now(), paid_at=now(), fulfilled_at=now())
    for page in ("success", "failure", "status"):
        html = asha.get(f"/orders/{ref}/{page}").text
        assert delay_s(html) is None
        fragment = html[html.index('<section id="order-status"') :]
        assert " hx-" not in fragment[: fragment.index("</section>")]


def test_delays_grow_while_somebody_waits(
    asha: Any, add_order: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "time", SimpleNamespace(time=lambda: 1_790_000_000.0))
    ref, watched_s, seen = add_order(), 0, []
    for _ in POLL_DELAYS_S:
        since = 1_790_000_000 - watched_s
        seen.append(delay_s(asha.get(f"/orders/{ref}/status?since={since}").text))
        watched_s += seen[-1] or 0
    assert tuple(seen) == POLL_DELAYS_S
    assert delay_s(asha.get(f"/orders/{ref}/status?since=1").text) == POLL_DELAYS_S[-1]


def test_unchanged_fragment_is_304(asha: Any, add_order: Callable[..., str]) -> None:
    ref = add_order(state=State.PAID, paid_at=now())
    address = f"/orders/{ref}/status?since={int(time.time()) - 60}"
    asha.get(address)
    first = asha.get(address)
    second = asha.get(address, headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code, second.data) == (200, 304, b"")
