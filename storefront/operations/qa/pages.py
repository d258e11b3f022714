"""The QA page /qa: the checks of each order, live, with their evidence. It changes no order."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, abort, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_login import current_user
from sqlalchemy import Select, select

from storefront.checkout.context import shop_now
from storefront.checkout.phases import poll_delay_s
from storefront.extensions import db, login, settings
from storefront.models import Order, User
from storefront.money import format_money
from storefront.operations import emails, heartbeat
from storefront.operations.access import has_qa_token, query_int, refuse_nul
from storefront.operations.qa import facts
from storefront.operations.qa.answers import answers, ask_about_some, ask_flexprice
from storefront.operations.qa.checks import Check, is_final, run_checks, stamp, without_answers
from storefront.operations.qa.evidence import Case, gather
from storefront.operations.qa.hints import HINTS

bp = Blueprint("qa", __name__, url_prefix="/qa", template_folder="../templates")
bp.before_request(refuse_nul)

MAX_SHOWN = 50  # orders on a page
MAX_EXPORTED = 200  # orders in one result
MARKDOWN = re.compile(r"([\\`*\[\]|~])")


@dataclass(frozen=True)
class Sheet:
    """One order and its checks."""

    case: Case
    checks: list[Check]

    @property
    def order(self) -> Order:
        return self.case.order

    @property
    def final(self) -> bool:
        return is_final(self.case, self.checks)


@bp.before_request
def require_sign_in() -> ResponseReturnValue | None:
    """404 where the page is off; the sandbox reads the results with QA_TOKEN instead of signing in."""
    if not settings().qa_page:
        abort(404)
    if current_user.is_authenticated or has_qa_token():
        return None
    if "HX-Request" in request.headers:  # htmx would put the sign-in page in place of the checks
        return "", 401, {"HX-Redirect": url_for("accounts.sign_in", next=url_for("qa.index"))}
    return login.unauthorized()  # type: ignore[no-any-return]


@bp.context_processor
def variables() -> dict[str, Any]:
    return {
        "price": lambda amount, currency: format_money(amount, currency, get_locale() or "en"),
        "stamp": stamp,
        "has_emails": emails.in_use(),
        "sees_all": sees_all(),
    }


# -- pages ------------------------------------------------------------------------------------------


@bp.get("")
def index() -> ResponseReturnValue:
    return render_template("qa/index.html", **all_sheets())


@bp.get("/orders")
def rows() -> ResponseReturnValue:
    return render_template("qa/_orders.html", **all_sheets())


@bp.get("/<ref>")
def show(ref: str) -> ResponseReturnValue:
    return render_template("qa/show.html", sheet=checked(ref, shop_now()), **polling())


@bp.get("/<ref>/checks")
def live(ref: str) -> ResponseReturnValue:
    return render_template("qa/_checks.html", sheet=checked(ref, shop_now()), **polling())


def polling() -> dict[str, int]:
    """Since when the page is watched (Unix time), and the seconds until the next poll."""
    now_s = int(datetime.now(UTC).timestamp())
    since = min(max(query_int("since", now_s), 0), now_s)
    return {"since": since, "delay": poll_delay_s(now_s - since)}


def all_sheets() -> dict[str, Any]:
    before = query_int("before", 0)
    wanted = visible().limit(MAX_SHOWN)
    found = asked_in_part(wanted.where(Order.id < before) if before else wanted)
    older = found[-1].id if len(found) == MAX_SHOWN else None
    return {"sheets": sheets(found, shop_now()), "older": older, "before": before or None, **polling()}


# -- results to paste into a ticket -----------------------------------------------------------------


@bp.get("/<ref>/result.<kind>")
def result(ref: str, kind: str) -> ResponseReturnValue:
    now = shop_now()
    return export([checked(ref, now)], kind, now)


@bp.get("/result.<kind>")
def result_of_all(kind: str) -> ResponseReturnValue:
    """As the list says it: Flexprice is asked about a few orders, so one click is not hundreds of calls.

    With `?session=<id>` only the order of that session, and Flexprice is asked. With `?customer=<key>` the
    orders of that customer, for a verdict of the sandbox.
    """
    now, session_id, customer = shop_now(), request.args.get("session", ""), request.args.get("customer", "")
    if session_id:
        ref = db.session.scalar(visible().where(Order.session_id == session_id).with_only_columns(Order.ref))
        return export([checked(ref, now)] if ref else [], kind, now)
    if customer and has_qa_token():
        own = visible().join(User, Order.user_id == User.id).where(User.key == customer).limit(MAX_EXPORTED)
        return export(sheets(list(db.session.scalars(own)), now), kind, now, **facts.of_customer(customer))
    return export(sheets(asked_in_part(visible().limit(MAX_EXPORTED)), now), kind, now)


def export(found: list[Sheet], kind: str, now: datetime, **more: Any) -> ResponseReturnValue:
    about = {"shop": settings().storefront_url, "written_at": stamp(now)} | more
    if kind == "json":
        text = json.dumps(about | {"orders": [plain(sheet) for sheet in found]}, indent=2, ensure_ascii=False)
        return Response(text + "\n", mimetype="application/json")
    if kind != "md":
        abort(404)
    text = render_template("qa/result.md", sheets=[plain(sheet) for sheet in found], md=md, **about)
    return Response(text, mimetype="text/plain")  # shown, to be copied; Markdown would be downloaded


def plain(sheet: Sheet) -> dict[str, Any]:
    """Without a name, an address or a payment link: a ticket is read by many."""
    order = sheet.order
    return {
        "order": order.ref,
        "session": order.session_id,
        "state": order.state,
        "plan": order.plan_name,
        "amount": f"{order.amount} {order.currency.upper()} {order.billing_period}",
        "placed_at": stamp(order.created_at),
        "final": sheet.final,
        "checks": [plain_check(check) for check in sheet.checks],
        **facts.of_order(sheet.case),
    }


def plain_check(check: Check) -> dict[str, Any]:
    return {
        "key": check.key,
        "check": check.title,
        "result": check.result,
        "evidence": [{"label": piece.label, "value": piece.value} for piece in check.evidence],
        "cause": check.cause,
        "action": check.action,
    }


def md(text: str) -> str:
    """Text for one cell of a Markdown table: nothing in it is markup, a link or an image."""
    escaped = MARKDOWN.sub(r"\\\1", " ".join(text.split()))
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;")
    return escaped.replace("://", ":\u200b//").replace("www.", "www\u200b.")  # else it becomes a link


# -- reading ----------------------------------------------------------------------------------------


def sees_all() -> bool:
    return has_qa_token() or (current_user.is_authenticated and current_user.is_operator)


def visible() -> Select[Order]:
    """One's own orders; every order for operators and the sandbox. The newest first."""
    every = select(Order).order_by(Order.id.desc())
    return every if sees_all() else every.where(Order.user_id == current_user.id)


def checked(ref: str, now: datetime) -> Sheet:
    order = db.session.scalar(visible().where(Order.ref == ref)) or abort(404)
    ask_flexprice(order)
    return sheets([order], now)[0]


def asked_in_part(wanted: Select[Order]) -> list[Order]:
    """These orders, after Flexprice was asked about a few of them."""
    ask_about_some(list(db.session.scalars(wanted)))
    return list(db.session.scalars(wanted))


def sheets(found: list[Order], now: datetime) -> list[Sheet]:
    cases = gather(found, answers().of, heartbeat.is_alive(), now)
    return [Sheet(case, without_answers(case, run_checks(case, HINTS))) for case in cases]
