"""Whatever two things happen to an order at once, it ends as if one had come after the other (make soak).

On PostgreSQL, where each statement sees what others have committed: the second thing is done before each
statement of the first. Looks of the worker are left out: they pass by what is just being written.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from sqlalchemy import event, select, text
from storefront.catalog import Offer
from storefront.lifecycle import Fact, State

from storefront import fulfillment, orders
from storefront.database import writing
from storefront.extensions import db
from storefront.flexprice import CheckoutSession, Invoice, Subscription
from storefront.models import Access, Letter, Order

pytestmark = [
    pytest.mark.soak,
    pytest.mark.parametrize(
        "database_url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
    ),
]
START = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OPENED = {
    "session_id": "cs_1",
    "customer_id": "cust_01",
    "opening_at": START,
    "payment_url": "https://razorpay.com/1",
    "payment_id": "pay_1",
}
DELIVERED = {"state": State.FULFILLED}
OVER = {"order_id": 2, "subscription_id": "subs_before", "ends_at": START - MINUTE}

# What there is: an order, perhaps one before it, and perhaps an access.
SCENES = {
    "placed": ([{}], None),
    "being opened": ([{"opening_at": START}], None),
    "open": ([OPENED | {"state": State.AWAITING_PAYMENT}], None),
    "open, held before": ([DELIVERED, OPENED | {"state": State.AWAITING_PAYMENT}], OVER),
    "paid": ([OPENED | {"state": State.PAID}], None),
    "paid, held before": ([DELIVERED, OPENED | {"state": State.PAID}], OVER),
    "paid, held still": ([DELIVERED, OPENED | {"state": State.PAID}], OVER | {"ends_at": None}),
    "stuck": ([OPENED | {"state": State.STUCK, "flag": orders.FLAGS[Fact.PAYMENT_STRANDED]}], None),
    "held back": ([OPENED | {"state": State.HELD, "flag": "Not what was ordered"}], None),
    "given up": ([{"state": State.ABANDONED, "flag": orders.LOST, "opening_at": START}], None),
    "expired": ([OPENED | {"state": State.EXPIRED}], None),
    "delivered": ([OPENED | DELIVERED], {"order_id": 1, "subscription_id": "subs_it", "ends_at": None}),
}


def the():
    return orders.by_ref("it")


def session(status, number=1, **more):
    return CheckoutSession(
        f"cs_{number}",
        "cust_01",
        status,
        payment_url=f"https://razorpay.com/{number}",
        terminal=status != "pending",
        **more,
    )


def invoice():
    """It charges something else than was ordered."""
    told = {"id": "inv_1", "customer_id": "cust_01", "invoice_number": "INV-1", "subscription_id": "subs_it"}
    paid = {"invoice_status": "FINALIZED", "payment_status": "SUCCEEDED"}
    return Invoice.from_json(told | paid | {"currency": "inr", "subtotal": "599", "total": "599"})


def subscription(status, ref="it", **more):
    return Subscription(
        f"subs_{ref}", "cust_01", "plan_01", status, metadata={"order_ref": ref}, created_at=START, **more
    )


def click(now, period="MONTHLY"):
    order, new = orders.place(1, Offer("plan_01", "Pro", "inr", period, Decimal(499)), now, opening=True)
    return new or orders.claim_opening(order.id, now)


def close(now):
    return orders.claim_opening(the().id, now) and orders.advance(
        the(), Fact.SHOPPER_CANCELLED, now, opening_at=None
    )


def settle(told, announced=""):
    """As a message does: by the session, whether or not an order has it yet."""

    def act(now):
        if order := orders.by_session(told.id):
            fulfillment.settle(order, told, now, announced)

    return act


def follow(status, ref="it", **more):
    return lambda now: fulfillment.follow_subscription(subscription(status, ref, **more), ref, now)


ACTS = {
    "click": click,
    "click on another period": lambda now: click(now, "ANNUAL"),
    "completed": settle(session("completed", completed_at=START)),
    "failed": settle(session("failed")),
    "expired": settle(session("expired")),
    "cancelled": settle(session("failed", cancelled_at=START)),
    "undone": settle(session("failed", completed_at=START), "completed"),
    "stranded": settle(session("pending", payment_status="SUCCEEDED")),
    "opened": lambda now: orders.session_opened(the().id, session("pending"), now),
    "opened otherwise": lambda now: orders.session_opened(the().id, session("pending", 2), now),
    "adopted": lambda now: fulfillment._adopted(the().id, session("completed", completed_at=START), now),
    "not opened": lambda now: orders.release_opening(the().id),
    "refused": lambda now: orders.advance(the(), Fact.SESSION_REFUSED, now, flag="Refused"),
    "closed": close,
    "asked to cancel": lambda now: orders.ask_cancel(the().id, now),
    "given up": lambda now: fulfillment.recover(the(), [], now + HOUR, MINUTE),
    "found": lambda now: fulfillment.recover(the(), [subscription("active")], now, MINUTE),
    "refunded": lambda now: fulfillment._refunded("it", None, now),
    "not refunded": lambda now: fulfillment._refund_failed("pay_1"),
    "terms differ": lambda now: fulfillment.check_terms(the(), invoice(), now),
    "delivered": lambda now: fulfillment.fulfill(the(), now),
    "receipt": lambda now: fulfillment.keep_receipt(the(), invoice(), now),
    "what was before ends": follow("cancelled", "before"),
    "it ends": follow("cancelled"),
    "it is to end": follow("active", cancel_at=START + HOUR),
    "released": lambda now: fulfillment.release(orders.held("it"), now, "somebody"),
    "went back": lambda now: fulfillment.mark_refunded(orders.held("it"), now, "somebody"),
}
APART = (
    {"given up", "not opened"},  # two minutes lie between the two
    {"click", "refused"},  # nobody is refused who has not clicked before
    {"click", "closed"},  # it lands on the order that has just been closed, and may be repeated
)

SAYS_NO = (orders.AlreadyYours, orders.AlreadyPaid, orders.AnotherOfferOpen, fulfillment.NotYet)
NOT_COMPARED = {"id", "ref", "message_id", "order_id", "body_text", "body_html", "next_look_at"}


@pytest.fixture
def env(env):
    """Whoever waits for a row waits until they have it; who waits for each other is told so."""
    return env | {"DATABASE_URL": env["DATABASE_URL"] + "?options=-c%20lock_timeout%3D60s"}


@pytest.fixture
def begin(context, enrol):
    """Put up a scene."""
    enrol()
    always = {"shopper_id": 1, "plan_id": "plan_01", "plan_name": "Pro"}
    bought = {"currency": "inr", "billing_period": "MONTHLY", "amount": Decimal(499), "created_at": START}

    def put_up(scene):
        placed, access = SCENES[scene]
        with writing():
            db.session.execute(text("TRUNCATE orders, accesses, letters RESTART IDENTITY CASCADE"))
            for ref, values in zip(("it", "before"), reversed(placed), strict=False):
                db.session.add(Order(ref=ref, **always, **bought, **values))
                db.session.flush()
            if access:
                db.session.add(Access(**always, granted_at=START - HOUR, **access))

    return put_up


def do(act, now):
    with suppress(*SAYS_NO), writing():
        ACTS[act](now)


def end():
    """All rows as they are; of a planned look only whether there is one, and of ids whose they are."""
    found = [order.id for order in db.session.scalars(select(Order).order_by(Order.id))]
    rows = []
    for table in (Order.__table__, Access.__table__, Letter.__table__):
        for row in db.session.execute(select(table).order_by(table.c.id)).mappings():
            kept = {name: value for name, value in row.items() if name not in NOT_COMPARED}
            about = found.index(row["order_id"]) if row.get("order_id") else None
            rows.append(kept | {"about": about, "due": row.get("next_look_at") is not None})
    db.session.rollback()
    return rows


def in_turn(begin, scene, *acts):
    begin(scene)
    for act, now in acts:
        do(act, now)
    return end()


def statements(begin, scene, act):
    said = []

    def listen(_connection, _cursor, statement, *_):
        said.append(statement)

    begin(scene)
    event.listen(db.engine, "before_cursor_execute", listen)
    do(act, START)
    event.remove(db.engine, "before_cursor_execute", listen)
    return len(said)


@pytest.mark.parametrize("scene", SCENES)
def test_two_at_once_end_as_one_after_the_other(begin, meanwhile, scene):
    soon, later = START + MINUTE, START + 2 * MINUTE
    nothing = in_turn(begin, scene)
    matter = [act for act in ACTS if in_turn(begin, scene, (act, soon)) != nothing]
    ways = 0
    for first, second in product(matter, matter):
        if {first, second} in APART:
            continue
        one, other = (first, soon), (second, later)
        possible = [in_turn(begin, scene, one, other), in_turn(begin, scene, other, one)]
        for number in range(statements(begin, scene, first)):
            begin(scene)
            with meanwhile(number, lambda: do(*other)):  # noqa: B023 (done before the loop goes on)
                do(*one)
            assert end() in possible, f"{second} before statement {number} of {first}"
            ways += 1
    print(f"{scene}: {len(matter)} things that matter, {ways} ways for two of them to meet")
