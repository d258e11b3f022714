"""How long the page of an order goes on asking."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

ENDED_UNPAID = ["failed", "expired", "cancelled", "abandoned", "mismatched"]
OVER = ["fulfilled", "paid_late", "paid_twice", "held", "stuck", "refunded"]


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Once is enough: nothing here is about rows."""
    return sqlite_in(tmp_path)


def pace(page):
    """Seconds until the page asks again, or None."""
    found = re.search(r'hx-trigger="load delay:(\d+)s', page)
    return int(found[1]) if found else None


@pytest.fixture
def ended(order_of):
    """One order of each unpaid end, which came so long ago."""
    return lambda **ago: [
        order_of(plan_id=state, state=state, moved_at=datetime.now(UTC) - timedelta(**ago))
        for state in ENDED_UNPAID
    ]


def test_whoever_comes_back_from_paying_to_an_unpaid_end_is_shown_late_money(asha, ended):
    for ref in ended(seconds=1):
        assert pace(asha.get(f"/orders/{ref}/success").text) >= 5
        assert pace(asha.get(f"/orders/{ref}/status?page=success&since={int(time.time()) - 60}").text) >= 5


def test_two_minutes_later_the_page_of_an_unpaid_end_rests(asha, ended):
    long_ago = int(time.time()) - 150
    for ref in ended(minutes=3):
        assert pace(asha.get(f"/orders/{ref}/status?page=success&since={long_ago}").text) is None


def test_an_end_that_came_after_a_long_wait_is_watched_too(asha, ended):
    long_ago = int(time.time()) - 900
    for ref in ended(seconds=1):
        assert pace(asha.get(f"/orders/{ref}/status?page=success&since={long_ago}").text) == 15


def test_who_did_not_come_from_paying_is_not_kept_waiting(asha, ended):
    for ref in ended(seconds=1):
        assert pace(asha.get(f"/orders/{ref}/failure").text) is None


def test_what_nothing_follows_is_not_asked_about(asha, order_of):
    for state in OVER:
        now = datetime.now(UTC)
        ref = order_of(plan_id=state, state=state, moved_at=now, paid_at=now)
        assert pace(asha.get(f"/orders/{ref}/success").text) is None
        assert pace(asha.get(f"/orders/{ref}/failure").text) is None
