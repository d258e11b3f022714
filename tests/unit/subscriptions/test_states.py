"""The tables and the rule of access: every pair is decided here, and nothing else moves."""

from datetime import datetime, timedelta

import pytest

from storefront.subscriptions.states import (
    ACCESS,
    LINKS,
    Access,
    Bill,
    Link,
    News,
    Verdict,
    overdue_from,
    suspend_at,
    verdict,
)

NOW = datetime(2026, 11, 27, 12)  # noqa: DTZ001 - naive UTC, as the tables hold it
DAY = timedelta(days=1)
A, V, L, N = Access, Verdict, Link, News

MOVES_ACCESS = {
    (A.GRANTED, V.OVERDUE): A.SUSPENDED,
    (A.GRANTED, V.NOT_RUNNING): A.SUSPENDED,
    (A.GRANTED, V.OVER): A.ENDED,
    (A.SUSPENDED, V.IN_ORDER): A.GRANTED,
    (A.SUSPENDED, V.OVER): A.ENDED,
}
MOVES_LINK = {
    L.NONE: {N.REQUESTED: L.REQUESTED, N.INVOICE_PAID: L.SETTLED, N.MONEY_UNBOOKED: L.REVIEW},
    L.REQUESTED: {
        N.LINKED: L.OPEN,
        N.REFUSED: L.NONE,
        N.FAILED: L.FAILED,
        N.ASKS_TOO_MUCH: L.REVIEW,
        N.FAILED_BUT_CLAIMED: L.REVIEW,
        N.INVOICE_PAID: L.SETTLED,
        N.MONEY_UNBOOKED: L.REVIEW,
    },
    L.OPEN: {
        N.FAILED: L.FAILED,
        N.ASKS_TOO_MUCH: L.REVIEW,
        N.FAILED_BUT_CLAIMED: L.REVIEW,
        N.INVOICE_PAID: L.SETTLED,
        N.MONEY_UNBOOKED: L.REVIEW,
    },
    L.FAILED: {
        N.REQUESTED: L.REQUESTED,
        N.FAILED_BUT_CLAIMED: L.REVIEW,
        N.INVOICE_PAID: L.SETTLED,
        N.MONEY_UNBOOKED: L.REVIEW,
    },
    L.SETTLED: {},
    L.REVIEW: {N.INVOICE_PAID: L.SETTLED, N.CLOSED: L.SETTLED},
}


@pytest.mark.parametrize("before", Access)
@pytest.mark.parametrize("says", Verdict)
def test_every_pair_of_access(before: Access, says: Verdict) -> None:
    assert ACCESS.get((before, says)) == MOVES_ACCESS.get((before, says))


@pytest.mark.parametrize("before", Link)
@pytest.mark.parametrize("news", News)
def test_every_pair_of_a_link(before: Link, news: News) -> None:
    assert LINKS.get((before, news)) == MOVES_LINK[before].get(news)


def test_a_link_that_can_be_paid_is_never_joined_by_another() -> None:
    """A new attempt begins only where no link was made, or where it was read as dead."""
    assert {before for before, news in LINKS if news is News.REQUESTED} == {Link.NONE, Link.FAILED}


@pytest.mark.parametrize(
    ("bill", "expected"),
    [
        (Bill(True, "SUBSCRIPTION_CYCLE", NOW, NOW - DAY), NOW),
        (Bill(True, "SUBSCRIPTION_CYCLE", None, NOW), NOW + DAY),
        (Bill(True, "SUBSCRIPTION_CREATE", NOW + 30 * DAY, NOW), NOW + DAY),
        (Bill(True, "SUBSCRIPTION_TRIAL_END", NOW + 30 * DAY, NOW), NOW + DAY),
        (Bill(True, "SUBSCRIPTION_UPDATE", None, NOW), NOW + DAY),
        (Bill(False, "SUBSCRIPTION_CYCLE", NOW, NOW), None),
        (Bill(True, "SUBSCRIPTION_CYCLE", NOW, NOW, money_seen=True), None),
        (Bill(True, "MANUAL"), None),
    ],
)
def test_when_an_invoice_is_overdue(bill: Bill, expected: datetime | None) -> None:
    assert overdue_from(bill) == expected


def test_the_oldest_debt_counts() -> None:
    bills = [Bill(True, "SUBSCRIPTION_CYCLE", NOW + DAY), Bill(True, "SUBSCRIPTION_CYCLE", NOW)]
    assert suspend_at(bills, 3 * DAY) == NOW + 3 * DAY
    assert suspend_at([], 3 * DAY) is None


@pytest.mark.parametrize(
    ("status", "suspended_from", "expected"),
    [
        ("active", None, Verdict.IN_ORDER),
        ("trialing", None, Verdict.IN_ORDER),
        ("active", NOW + DAY, Verdict.IN_ORDER),
        ("active", NOW, Verdict.OVERDUE),
        ("trialing", NOW - DAY, Verdict.OVERDUE),
        ("cancelled", NOW - DAY, Verdict.OVER),
        ("cancelled", None, Verdict.OVER),
        ("paused", None, Verdict.NOT_RUNNING),
        ("draft", None, Verdict.UNCLEAR),
        ("incomplete", None, Verdict.NOT_RUNNING),
        ("a word of tomorrow", None, Verdict.NOT_RUNNING),
    ],
)
def test_the_rule_of_access(status: str, suspended_from: datetime | None, expected: Verdict) -> None:
    assert verdict(status, suspended_from, NOW) is expected
