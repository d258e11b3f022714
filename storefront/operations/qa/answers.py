"""Asks Flexprice about an order for the QA page; the answers stay in the memory of this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeVar, cast

from flask import current_app

from storefront.checkout import State, orders
from storefront.checkout.context import checkout, commit, db_now
from storefront.flexprice import (
    APIConnectionError,
    AuthenticationError,
    CheckoutSession,
    FlexpriceError,
    Invoice,
)
from storefront.models import Order
from storefront.operations.qa.evidence import Answer

T = TypeVar("T")

ASK_INTERVAL_S = 3.0  # between two questions about one order, however many pages show it
TIMEOUT_S = (1.0, 3.0)  # to connect, to read, for each of three questions
BUDGET_S = 4.0  # for all questions of one page
ASKED_AT_ONCE = 5  # orders of a list, in one request
KEPT_FRESH = timedelta(minutes=1)  # then a list asks again
MAX_KEPT = 500
LIST = ""  # claimed by lists: all of them together ask once in `ASK_INTERVAL_S`


class Answers:
    """What Flexprice last said about the orders that were looked at recently."""

    def __init__(self, most: int = MAX_KEPT) -> None:
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._asked_at_s: OrderedDict[str, float] = OrderedDict()
        self._most, self._lock = most, Lock()

    def claim(self, ref: str) -> bool:
        """Whether this order may be asked about now; then nobody else may for `ASK_INTERVAL_S`."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._asked_at_s.get(ref, float("-inf")) < ASK_INTERVAL_S:
                return False
            self._store(self._asked_at_s, ref, now_s)
            return True

    def keep(self, ref: str, answer: Answer) -> None:
        with self._lock:
            self._store(self._kept, ref, answer)

    def of(self, ref: str) -> Answer | None:
        return self._kept.get(ref)

    def _store(self, kept: OrderedDict[str, T], ref: str, value: T) -> None:
        kept[ref] = value
        kept.move_to_end(ref)
        if len(kept) > self._most:
            kept.popitem(last=False)


def answers() -> Answers:
    return cast(Answers, current_app.extensions["qa_answers"])


def ask_flexprice(order: Order, until_s: float | None = None) -> None:
    """Ask about the order's session, invoice and subscription. A final status makes the worker check now.

    :param until_s: on the monotonic clock; questions that are left then are not asked
    """
    ref, session_id, invoice_id, known = order.ref, order.session_id, order.invoice_id, order.subscription_id
    waiting = order.state == State.AWAITING_PAYMENT
    if not session_id or not answers().claim(ref):
        return
    commit()  # no transaction stays open across the calls
    answer = questions(session_id, invoice_id, known, until_s or time.monotonic() + BUDGET_S)
    answers().keep(ref, answer)
    if waiting and isinstance(answer.session, CheckoutSession) and answer.session.terminal:
        orders.check_now(order)
        commit()


def ask_about_some(found: list[Order]) -> None:
    """Ask about a few orders of a list: first those without an answer, then those with the oldest one."""
    if not found or not answers().claim(LIST):
        return
    before, until_s = db_now() - KEPT_FRESH, time.monotonic() + BUDGET_S
    due = [order for order in found if order.session_id and _answered_at(order, before) <= before]
    due.sort(key=lambda order: _answered_at(order, before - KEPT_FRESH))
    for order in due[:ASKED_AT_ONCE]:
        ref = order.ref
        ask_flexprice(order, until_s)
        answer = answers().of(ref)
        if time.monotonic() >= until_s or (answer and not answer.reached):
            break


def _answered_at(order: Order, never: datetime) -> datetime:
    answer = answers().of(order.ref)
    return answer.at if answer else never


def questions(session_id: str, invoice_id: str | None, known: str | None, until_s: float) -> Answer:
    client, now = checkout().client, db_now()
    commit()

    def ask(call: Callable[..., T], object_id: str | None) -> T | FlexpriceError | None:
        left_s = until_s - time.monotonic()
        if not object_id or left_s <= 0:
            return None
        return answer_of(lambda: call(object_id, timeout=(TIMEOUT_S[0], min(TIMEOUT_S[1], left_s))))

    session = ask(client.get_checkout_session, session_id)
    if isinstance(session, APIConnectionError | AuthenticationError):
        return Answer(now, session)  # the next two would fail too
    invoice_id = session.invoice_id if isinstance(session, CheckoutSession) else invoice_id
    invoice = ask(client.get_invoice, invoice_id)
    named = invoice.subscription_id if isinstance(invoice, Invoice) else known
    subscription = ask(client.get_subscription, named)
    return Answer(now, session, invoice, subscription, in_time=time.monotonic() < until_s)


def answer_of(ask: Callable[[], T]) -> T | FlexpriceError:
    try:
        return ask()
    except FlexpriceError as error:
        return error
