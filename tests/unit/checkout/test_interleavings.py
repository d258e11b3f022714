"""Any two things that happen to an order at once end as if one had come after the other.

On PostgreSQL, where each statement sees what others have committed: the second thing happens before each
statement of the first. A fixed sample runs always, more with the marker `thorough`, all with `soak`.
"""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, product, zip_longest
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import DateTime, delete, event, select, text

from storefront.checkout import Customer, Offer, State, Trigger, orders, purchase, reconciliation
from storefront.checkout.context import commit, db_now, rollback
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.flexprice import CheckoutSession, InvalidRequest, Invoice, ServerError, Subscription
from storefront.models import Order, OrderTransition, PlanAccess, User
from tests.samples import invoice as invoice_json
from tests.samples import subscription as subscription_json

pytestmark = pytest.mark.parametrize(
    "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
NOW = datetime.now(UTC).replace(tzinfo=None)
OPENED = {
    "session_id": "cs_1", "flexprice_customer_id": "cust_01", "session_requested_at": NOW,
    "payment_url": "https://rzp.io/1", "payment_id": "pay_1", "invoice_verified_at": NOW,
}  # fmt: skip
OTHER = {"ref": "other", "session_id": "cs_9", "flexprice_customer_id": "cust_01"}
WAITING = {"state": State.AWAITING_PAYMENT}
LOST = {"state": State.ABANDONED, "review_note": orders.LOST, "session_requested_at": NOW}

# What there is: the order "it", and perhaps another one for the same plan.
SCENES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "placed": ({}, None),
    "being opened": ({"session_requested_at": NOW}, None),
    "open": (OPENED | WAITING, None),
    "open, not verified": (OPENED | WAITING | {"invoice_verified_at": None}, None),
    "paid": (OPENED | {"state": State.PAID}, None),
    "paid, not verified": (OPENED | {"state": State.PAID, "invoice_verified_at": None}, None),
    "stuck": (OPENED | {"state": State.STUCK, "review_note": orders.NOTES[Trigger.PAYMENT_UNMATCHED]}, None),
    "held": (OPENED | {"state": State.HELD, "review_note": "Not what was ordered"}, None),
    "abandoned": (LOST, None),
    "expired": (OPENED | {"state": State.EXPIRED}, None),
    "expired, another open": (OPENED | {"state": State.EXPIRED}, OTHER | WAITING),
    "paid late, another fulfilled": (
        OPENED | {"state": State.PAID, "slot": None},
        OTHER | {"state": State.FULFILLED},
    ),
    "fulfilled": (OPENED | {"state": State.FULFILLED, "subscription_id": "subs_01"}, None),
}


def it() -> Any:
    return orders.find(ref="it")


def told(status: str, number: int = 1, **more: Any) -> CheckoutSession:
    link = f"https://rzp.io/{number}"
    terminal = status != "pending"
    return CheckoutSession(f"cs_{number}", "cust_01", status, payment_url=link, terminal=terminal, **more)


def an_invoice(subtotal: str) -> Invoice:
    bought = subscription_json(id="subs_01")
    buyer = {"id": "cust_01", "external_id": it().customer_key}
    return Invoice.from_json(invoice_json(subtotal=subtotal, subscription=bought, customer=buyer))


def click(period: str = "MONTHLY") -> None:
    customer = Customer("asha", "Asha Rao", "asha@example.com")
    purchase.place_order(customer, Offer("plan_01", "Pro", "inr", period, Decimal(499)), lambda ref: ref)


def apply(session: CheckoutSession, announced: str = "") -> Callable[[], object]:
    """As a webhook does: by the session, whether or not an order has it yet."""

    def act() -> object:
        found = orders.find(session_id=session.id)
        return found and orders.settle(found.id, session, by="webhook", announced=announced)

    return act


def not_opened(error: Exception) -> Callable[[], object]:
    return lambda: purchase._not_opened(it(), error, "customer")


def cancel_unopened() -> None:
    if purchase.claim_session_request(it()):
        orders.transition(it(), Trigger.CANCELLED, by="customer")


def note_return() -> None:
    order = it()
    orders.change(order, {"returned_paid_at": db_now()}, returned_paid_at=None)
    orders.note_claimed_payment(order)


def find_payment() -> None:
    found = Subscription.from_json(subscription_json(id="subs_01", metadata={"order_ref": "it"}))
    orders.find_payment(it(), [found], by="worker")


def end_other_access() -> None:
    if other := orders.find(ref="other"):
        orders.revoke(other, by="webhook", reason="cancelled")


def schedule_end() -> None:
    it().access_ends_at = NOW + timedelta(days=3)


ACTS: dict[str, Callable[[], object]] = {
    "click": click,
    "click on another period": lambda: click("ANNUAL"),
    "completed": apply(told("completed")),
    "failed": apply(told("failed")),
    "expired": apply(told("expired")),
    "overwritten": apply(told("failed", completed_at=NOW.replace(tzinfo=UTC))),
    "unmatched": apply(told("pending", payment_status="SUCCEEDED")),
    "opened": lambda: orders.record_session(it(), told("pending"), by="customer"),
    "opened otherwise": lambda: orders.record_session(it(), told("pending", 2), by="webhook"),
    "not opened": not_opened(ServerError("later")),
    "refused": not_opened(InvalidRequest("no")),
    "cancelled unopened": cancel_unopened,
    "cancel requested": lambda: orders.change(
        it(), {"cancel_requested_at": db_now()}, cancel_requested_at=None
    ),
    "came back": note_return,
    "given up": lambda: reconciliation.abandon_if_lost(it(), [], after=timedelta(0), by="worker"),
    "payment found": find_payment,
    "refunded": lambda: orders.refund_seen(it(), by="webhook"),
    "refund failed": lambda: orders.add_review_note(it(), "Flexprice could not send the money back"),
    "invoice differs": lambda: reconciliation.verify_invoice(it(), an_invoice("599"), by="worker"),
    "invoice fits": lambda: reconciliation.verify_invoice(it(), an_invoice("499"), by="worker"),
    "fulfilled": lambda: orders.fulfill(it(), by="worker"),
    "receipt": lambda: reconciliation.record_invoice(it(), an_invoice("499")),
    "access ends": lambda: orders.revoke(it(), by="webhook", reason="cancelled"),
    "access of the other ends": end_other_access,
    "end scheduled": schedule_end,
    "released": lambda: orders.release_for_fulfillment(it(), by="operator:o"),
    "refund confirmed": lambda: orders.confirm_refund(it(), by="operator:o"),
    "closed": lambda: orders.close(it(), by="operator:o"),
}
# These cannot meet, or the page of a cancelled order may be where a click at that moment leads.
APART: tuple[set[str], ...] = (
    {"click", "not opened"},  # both are of the one who opens the session
    {"click", "refused"},
    {"given up", "not opened"},  # 40 seconds lie between them
    {"given up", "click"},  # the one who asks for the session is waited for
    # Who cancels has claimed the order as if to open it: nobody else opens it or gives it up.
    *(
        {"cancelled unopened", act}
        for act in ("click", "not opened", "refused", "given up", "opened", "opened otherwise")
    ),
)
NOT_COMPARED = {"id", "ref", "return_url", "message_key"}
SAYS_NO = (purchase.AlreadyOwned, purchase.OpenOrderExists)
WAITS = text("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


def do(name: str) -> None:
    """As its caller does: what raises is rolled back and done again later."""
    for attempt in count():
        try:
            ACTS[name]()
            commit()
            return
        except SAYS_NO:
            rollback()
            return
        except Exception:
            rollback()
            if attempt == 3:
                raise


def differences(found: list[dict[str, Any]], possible: list[dict[str, Any]]) -> str:
    pairs = zip_longest(found, possible, fillvalue=dict[str, Any]())
    return str(
        [
            (one.get("table") or other.get("table"), name, one.get(name), other.get(name))
            for one, other in pairs
            for name in {*one, *other}
            if one.get(name) != other.get(name)
        ]
    )


class Interleavings:
    """Puts up a scene, and has one thing happen before a statement of another."""

    def __init__(self, app: Flask) -> None:
        self.app = app

    def begin(self, scene: str) -> None:
        first, other = SCENES[scene]
        for model in (Email, PlanAccess, OrderTransition, Order):
            db.session.execute(delete(model))
        for values in filter(None, ({"ref": "it"} | first, other)):
            state = values.get("state", State.PLACED)
            holds = state in orders.HOLDS_SLOT
            defaults = {
                "user_id": 1, "customer_key": "asha", "customer_name": "Asha Rao", "plan_id": "plan_01",
                "plan_name": "Pro", "currency": "inr", "billing_period": "MONTHLY", "amount_text": "499",
                "return_url": "x", "created_at": NOW, "status_changed_at": NOW, "state": state,
                "customer_email": "asha@example.com", "slot": "asha plan_01" if holds else None,
            }  # fmt: skip
            db.session.add(order := Order(**defaults | values))
            db.session.flush()
            if state == State.FULFILLED:
                access = PlanAccess(user_id=1, plan_id="plan_01", plan_name="Pro", order_id=order.id)
                access.granted_at = NOW
                db.session.add(access)
        commit()

    def end(self) -> list[dict[str, Any]]:
        """All rows; of a time only whether there is one, and of an order's id which one it is."""
        ids = list(db.session.scalars(select(Order.id).order_by(Order.id)))
        rows = []
        for model in (Order, PlanAccess, OrderTransition, Email):
            table = model.__table__
            for row in db.session.execute(select(table).order_by(table.c.id)).mappings():
                kept = {"table": table.name}
                for column in table.columns:
                    value = row[column.key]
                    if isinstance(column.type, DateTime):
                        kept[column.key] = value is not None
                    elif column.key == "order_id":
                        kept[column.key] = ids.index(value)
                    elif column.key not in NOT_COMPARED:
                        kept[column.key] = value
                if kept.get("state") != State.PLACED:  # nobody asks any more when it was asked for
                    kept.pop("session_requested_at", None)
                rows.append(kept)
        db.session.rollback()
        return rows

    def in_turn(self, scene: str, *names: str) -> list[dict[str, Any]]:
        self.begin(scene)
        for name in names:
            do(name)
        return self.end()

    def alone(self, scene: str, name: str) -> tuple[list[dict[str, Any]], int]:
        """How it ends, and after how many statements."""
        heard: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            heard.append(statement)

        self.begin(scene)
        event.listen(db.engine, "before_cursor_execute", listen)
        do(name)
        event.remove(db.engine, "before_cursor_execute", listen)
        return self.end(), len(heard)

    @contextmanager
    def interrupted(self, number: int, other: str) -> Iterator[None]:
        """Before our statement of this number somebody else acts, to the end or until they wait for us."""
        engine, numbers, started = db.engine, count(), list[Future[None]]()

        def act() -> None:
            with self.app.app_context():
                do(other)

        def interrupt(*_: Any) -> None:
            if not started and next(numbers) == number:
                started.append(somebody.submit(act))
                while not (started[0].done() or self._somebody_waits()):
                    time.sleep(0.001)

        with ThreadPoolExecutor(1) as somebody:
            event.listen(engine, "before_cursor_execute", interrupt)
            yield
            event.remove(engine, "before_cursor_execute", interrupt)
            assert started
            started[0].result()

    def _somebody_waits(self) -> bool:
        with self.watcher.connect() as connection:
            return connection.execute(WAITS).first() is not None

    def ways(self, scene: str) -> list[tuple[str, str, int]]:
        """(first, second, before which statement of the first) of all pairs that matter in the scene."""
        nothing = self.in_turn(scene)
        alone = {name: self.alone(scene, name) for name in ACTS}
        counts = {name: number for name, (end, number) in alone.items() if end != nothing}
        pairs = [pair for pair in product(counts, counts) if set(pair) not in APART]
        return [(one, other, number) for one, other in pairs for number in range(counts[one])]

    def check(self, scene: str, ways: list[tuple[str, str, int]]) -> None:
        for one, other, number in ways:
            possible = [self.in_turn(scene, one, other), self.in_turn(scene, other, one)]
            self.begin(scene)
            with self.interrupted(number, other):
                do(one)
            end = self.end()
            where = f"{other} before statement {number} of {one}"
            assert end in possible, "\n".join([where, *(differences(end, one_way) for one_way in possible)])


@pytest.fixture
def interleavings(context: Flask, add_user: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Interleavings]:
    from sqlalchemy import create_engine

    add_user()
    db.session.execute(db.update(User).values(id=1))
    commit()
    monkeypatch.setattr(checkout.hooks, "on_order_created", lambda order: setattr(order, "user_id", 1))
    made = Interleavings(context)
    made.watcher = create_engine(db.engine.url, isolation_level="AUTOCOMMIT")
    yield made
    made.watcher.dispose()


def sample(scene: str, ways: list[Any], size: int) -> list[Any]:
    return random.Random(scene).sample(ways, min(size, len(ways)))


@pytest.mark.parametrize("scene", ["being opened", "open", "expired, another open", "paid"])
def test_two_at_once_end_as_one_after_the_other(interleavings: Interleavings, scene: str) -> None:
    interleavings.check(scene, sample(scene, interleavings.ways(scene), 8))


@pytest.mark.thorough
@pytest.mark.parametrize("scene", SCENES)
def test_many_at_once_end_as_one_after_the_other(interleavings: Interleavings, scene: str) -> None:
    interleavings.check(scene, sample(scene, interleavings.ways(scene), 200))


@pytest.mark.soak
@pytest.mark.parametrize("scene", SCENES)
def test_all_at_once_end_as_one_after_the_other(interleavings: Interleavings, scene: str) -> None:
    ways = interleavings.ways(scene)
    interleavings.check(scene, ways)
    print(f"{scene}: {len(ways)} ways")
