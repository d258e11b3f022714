"""The QA page: each order's checklist, live, with its evidence. It changes no order."""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar, cast

from flask import Blueprint, Response, abort, current_app, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from sqlalchemy import Select, select

from storefront import inbox, lifesigns, orders
from storefront.checklist import Case, Check, Said, checks, gather, over, stamp
from storefront.database import DatabaseBusy, writing
from storefront.extensions import db, flexprice, login, settings
from storefront.flexprice import CheckoutSession, FlexpriceError, Invoice
from storefront.lifecycle import State
from storefront.models import Order
from storefront.troubleshooting import HINTS
from storefront.web import pace
from storefront.web.security import row_number

log = logging.getLogger(__name__)
bp = Blueprint("qa", __name__, url_prefix="/qa")
T = TypeVar("T")

PATIENCE = 3.0  # seconds for each of the three questions
SHOWN = 50  # orders on a page
EXPORTED = 200  # orders in one result


class Answers:
    """What Flexprice last said of the orders looked at lately. In this process only: no order keeps it."""

    def __init__(self, most: int = 500) -> None:
        self._kept: OrderedDict[str, Said] = OrderedDict()
        self._most, self._lock = most, Lock()

    def keep(self, ref: str, said: Said) -> None:
        with self._lock:
            self._kept[ref] = said
            self._kept.move_to_end(ref)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def of(self, ref: str) -> Said | None:
        return self._kept.get(ref)


@dataclass(frozen=True)
class Sheet:
    """One order and its checks."""

    case: Case
    checks: list[Check]

    @property
    def order(self) -> Order:
        return self.case.order

    @property
    def over(self) -> bool:
        return over(self.case, self.checks)


@bp.record_once
def remember_answers(setup: BlueprintSetupState) -> None:
    setup.app.extensions["qa_answers"] = Answers()


@bp.app_context_processor
def a_way_in() -> dict[str, bool]:
    return {"qa_page": settings().qa_page}


@bp.before_request
def for_those_signed_in_where_it_is_on() -> Any:
    if not settings().qa_page:
        abort(404)
    if current_user.is_authenticated:
        return None
    if "HX-Request" in request.headers:  # htmx would put the sign-in page into the checklist's place
        return "", 401, {"HX-Redirect": url_for("account.sign_in", next=url_for("qa.index"))}
    return login.unauthorized()


# -- pages ------------------------------------------------------------------------------------------


@bp.get("")
def index() -> Any:
    return render_template("qa/index.html", **look_at_all())


@bp.get("/orders")
def rows() -> Any:
    return render_template("qa/_orders.html", **look_at_all())


@bp.get("/<ref>")
def show(ref: str) -> Any:
    return render_template("qa/show.html", **look(ref))


@bp.get("/<ref>/checks")
def live(ref: str) -> Any:
    return render_template("qa/_checks.html", **look(ref))


def look(ref: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    since = pace.since(now)
    return {"sheet": examined(ref, now), "since": since, "delay": pace.delay(int(now.timestamp()) - since)}


def look_at_all() -> dict[str, Any]:
    now = datetime.now(UTC)
    since, before = pace.since(now), request.args.get("before", type=row_number)
    wanted = visible().limit(SHOWN)
    found = list(db.session.scalars(wanted.where(Order.id < before) if before else wanted))
    return {
        "sheets": sheets(found, now),
        "older": found[-1].id if len(found) == SHOWN else None,
        "before": before,
        "since": since,
        "delay": pace.delay(int(now.timestamp()) - since),
    }


# -- results to paste into a ticket -----------------------------------------------------------------


@bp.get("/<ref>/result.<kind>")
def result(ref: str, kind: str) -> Response:
    now = datetime.now(UTC)
    return written([examined(ref, now)], kind, now)


@bp.get("/result.<kind>")
def result_of_all(kind: str) -> Response:
    """What is known without asking Flexprice anew: one click must not become hundreds of calls."""
    now = datetime.now(UTC)
    return written(sheets(list(db.session.scalars(visible().limit(EXPORTED))), now), kind, now)


def written(found: list[Sheet], kind: str, now: datetime) -> Response:
    facts = {"shop": settings().storefront_url, "written_at": stamp(now)}
    if kind == "json":
        text = json.dumps(facts | {"orders": [plain(sheet) for sheet in found]}, indent=2, ensure_ascii=False)
        return Response(text + "\n", mimetype="application/json")
    if kind != "md":
        abort(404)
    text = render_template("qa/result.md", sheets=[plain(sheet) for sheet in found], **facts)
    return Response(text, mimetype="text/plain")  # shown, to be copied; Markdown would be downloaded


def plain(sheet: Sheet) -> dict[str, Any]:
    """No name, no address, no payment link: a ticket is read by many."""
    order = sheet.order
    return {
        "order": order.ref,
        "state": str(order.state),
        "plan": order.plan_name,
        "amount": f"{order.amount} {order.currency.upper()} {order.billing_period}",
        "placed_at": stamp(order.created_at),
        "checks": [
            {
                "check": check.title,
                "result": check.result,
                "evidence": [{"what": piece.label, "is": piece.value} for piece in check.evidence],
                "cause": check.cause,
                "fix": check.fix,
            }
            for check in sheet.checks
        ],
    }


@bp.app_template_filter()
def md(text: str) -> str:
    """Fit for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


# -- looking ----------------------------------------------------------------------------------------


def visible() -> Select[Order]:
    """One's own orders; for an operator everybody's. The newest first."""
    everything = select(Order).order_by(Order.id.desc())
    return everything if current_user.is_operator else everything.where(Order.shopper_id == current_user.id)


def examined(ref: str, now: datetime) -> Sheet:
    order = db.session.scalar(visible().where(Order.ref == ref)) or abort(404)
    ask_flexprice(order, now)
    return sheets([order], now)[0]


def sheets(found: list[Order], now: datetime) -> list[Sheet]:
    cases = gather(found, answers().of, lifesigns.is_alive(now), now)
    return [Sheet(case, checks(case, HINTS)) for case in cases]


def answers() -> Answers:
    return cast(Answers, current_app.extensions["qa_answers"])


def ask_flexprice(order: Order, now: datetime) -> None:
    """Bounded per order, together with the order's own page (decision 14); the answers stay in memory.

    Like there, the end of an open session is filed for the worker: who asks in the order's turn must not
    keep the answer from it.
    """
    ref, session_id, invoice_id, known = order.ref, order.session_id, order.invoice_id, order.subscription_id
    waiting = order.state == State.AWAITING_PAYMENT
    if not session_id or (order.next_ask_at and order.next_ask_at > now):
        return
    try:
        with writing():
            mine = orders.claim_asking(order.id, now)
        if not mine:
            return
        said = questions(session_id, invoice_id, known, now)
        answers().keep(ref, said)
        if isinstance(said.session, CheckoutSession):
            with writing():
                note(order.id, said.session, waiting, now)
    except DatabaseBusy:
        log.warning("order %s: not asked about just now: the database is busy", ref)


def questions(session_id: str, invoice_id: str | None, known: str | None, now: datetime) -> Said:
    client = flexprice()
    session = answer(lambda: client.get_session(session_id, patience=PATIENCE))
    if isinstance(session, FlexpriceError) and not session.answered:
        return Said(now, session)  # the next two would wait in vain as well
    invoice_id = session.invoice_id if isinstance(session, CheckoutSession) else invoice_id
    invoice = answer(lambda: client.get_invoice(invoice_id, patience=PATIENCE)) if invoice_id else None
    named = invoice.subscription_id if isinstance(invoice, Invoice) else known
    subscription = answer(lambda: client.get_subscription(named, patience=PATIENCE)) if named else None
    return Said(now, session, invoice, subscription)


def answer(ask: Callable[[], T]) -> T | FlexpriceError:
    try:
        return ask()
    except FlexpriceError as error:
        return error


def note(order_id: int, session: CheckoutSession, waiting: bool, now: datetime) -> None:
    if session.terminal and waiting:
        inbox.note_answer(session.id, session.status, now)
    elif session.next_poll_after and session.next_poll_after > orders.ASK_AT_MOST_EVERY:
        orders.ask_later(order_id, now + session.next_poll_after)
