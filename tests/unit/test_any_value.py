"""Any value in every path part, query parameter, form field and header: no error of ours, no forged log line.

Routes come from the map of the app, form fields from its pages, parameters and headers from its source:
a new one is tried by itself. On both databases: PostgreSQL refuses NUL and numbers beyond its columns.
"""

import io
import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import responses
from flask import Flask

import storefront
from storefront.billing import Invoice, Subscription
from storefront.checkout import State
from storefront.checkout.offers import Catalog
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import Plan
from storefront.models import Order, PlanAccess, WebhookEvent
from storefront.web import request_log
from tests.any_value import VALUES, Forms, encoded, headers_read, in_header, real_path, rules
from tests.samples import plan, price
from tests.shop_fixtures import HOME, NOW, Browser

SOURCE = "\n".join(
    file.read_text() for file in Path(storefront.__file__).parent.rglob("*.py") if "sandbox" not in file.parts
)
PARAMETERS = sorted(
    {*re.findall(r'(?:args\.get|values\.get|query_int)\("(\w+)"', SOURCE)}
    | {*re.findall(r'"(\w+)" in request\.args', SOURCE), "plan", "currency", "billing_period"}
)
HEADERS = headers_read(SOURCE, "X-Forwarded-For", "svix-id", "svix-signature")
LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \S+ \[|  )")
ENDS_THE_SESSION = ("/sign-out", "/qa/customer")  # the second signs up somebody new
Request = dict[str, Any]


@pytest.fixture(autouse=True)
def flexprice_knows_nothing() -> Iterator[None]:
    """So that a purchase is refused, and no request leaves this machine."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST", "PUT", "DELETE"):
            mock.add(method, re.compile(".*"), json={"error": "x"}, status=404)
        yield


@pytest.fixture
def known(app: Flask, add_user: Callable[..., int], add_order: Callable[..., str]) -> dict[str, str]:
    """A shop with a plan, an operator who has orders, an event and an email: what pages need."""
    others = plan(price("0"), id="plan_free", name="Free"), plan(price("999"), id="plan_02", name="Team")
    sold = [Plan.from_json(one) for one in (plan(price()), *others)]
    app.extensions["checkout"].catalog = Catalog(lambda: sold)
    user = add_user(operator=True)
    ref = add_order(user, state=State.FULFILLED, paid_at=NOW, fulfilled_at=NOW, invoice_total_text="499")
    for state in (State.AWAITING_PAYMENT, State.HELD):
        add_order(user, f"plan_{state}", state=state, session_id=f"cs_{state}", review_note="look")
    with app.app_context():
        order = db.session.query(Order).filter_by(ref=ref).one()
        db.session.add(
            PlanAccess(user_id=user, plan_id="plan_01", plan_name="Pro", order_id=order.id, granted_at=NOW)
        )
        db.session.add(Email(kind="welcome", user=order.user, order=order, created_at=NOW, expires_at=NOW))
        customer, told = order.user.key, {"status": "active", "period_end": NOW + timedelta(days=30)}
        terms = {"plan_id": "plan_01", "plan_name": "Pro", "currency": "inr", "billing_period": "MONTHLY"}
        theirs = {"customer_key": customer, "access": "granted", "flexprice_customer_id": "cust_01"} | terms
        ends = {"cancel_at": told["period_end"], "cancel_schedule_id": "sch_1", "review_note": "look"}
        changes = {"planned_plan_id": "plan_free", "planned_at": NOW, "change_schedule_id": "sch_2"}
        for number, more in enumerate(({"order_ref": ref}, ends, changes)):
            db.session.add(Subscription(subscription_id=f"subs_{number}", **theirs | told | more))
        bill = {
            "customer_key": customer,
            "status": "FINALIZED",
            "payment_status": "PENDING",
            "currency": "inr",
        }
        for number, link in enumerate(("none", "open", "review")):
            bill |= {"invoice_id": f"inv_{number}", "subscription_id": f"subs_{number}", "link": link}
            db.session.add(
                Invoice(**bill, number="INV-1", total_text="499", remaining_text="499", due_date=NOW)
            )
        row = {"id": "msg_1", "event_type": "x", "object_id": "x", "customer_id": "x", "received_at": NOW}
        db.session.add(WebhookEvent(**row, outcome="failed", error="x"))
        db.session.commit()
    ids = {"subscription_id": "subs_0", "invoice_id": "inv_0", "attempt": "0", "kind": "subscription"}
    return {"ref": ref, "plan_id": "plan_01", "event_id": "msg_1", "name": "orders"} | ids


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the shop writes, as it writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(request_log.RequestFields())
    handler.setFormatter(request_log.OneLine(request_log.FORMAT))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def in_paths(app: Flask, values: Iterator[str]) -> Iterator[Request]:
    for rule in rules(app):
        if rule.arguments:
            for method in sorted((rule.methods or set()) & {"GET", "POST"}):
                path = re.sub(r"<[^>]+>", lambda _: encoded(next(values)), rule.rule)
                yield {"method": method, "path": path}


def in_queries(app: Flask, known: dict[str, str], values: Iterator[str]) -> Iterator[Request]:
    for rule in rules(app):
        if "GET" in (rule.methods or ()):
            for name in PARAMETERS:
                yield {"method": "GET", "path": f"{real_path(rule, known)}?{name}={encoded(next(values))}"}


def in_forms(pages: list[tuple[str, str]], values: Iterator[str]) -> Iterator[Request]:
    """Each field of each form, with the values that the page has in the others."""
    seen = set()
    for path, html in pages:
        for action, fields in Forms(html).found:
            target = action or path
            if target.partition("?")[0] in ENDS_THE_SESSION or (target, *fields) in seen:
                continue
            seen.add((target, *fields))
            for name in fields:
                data = "&".join(
                    f"{encoded(key)}={encoded(next(values) if key == name else value)}"
                    for key, value in fields.items()
                )
                yield {"method": "POST", "path": target, "data": data}


def in_headers(app: Flask, known: dict[str, str], values: Iterator[str]) -> Iterator[Request]:
    few = islice(rules(app), 0, None, 4)
    targets = [("POST", "/webhooks/flexprice"), ("POST", "/sign-in"), ("GET", "/nowhere")]
    targets += [("GET", real_path(rule, known)) for rule in few if "GET" in (rule.methods or ())]
    for method, path in targets:
        for name in HEADERS:
            yield {"method": method, "path": path, "headers": {name: in_header(next(values))}}


def send(browser: Browser, request: Request) -> Any:
    headers = {"Sec-Fetch-Site": "same-origin"} | request.get("headers", {})
    form = (
        {"data": request["data"], "content_type": "application/x-www-form-urlencoded"}
        if "data" in request
        else {}
    )
    return browser.client.open(
        request["path"], method=request["method"], base_url=HOME, headers=headers, **form
    )


@pytest.fixture
def try_all(app: Flask, known: dict[str, str], open_browser: Callable[[], Browser], log: io.StringIO) -> Any:
    """Sends every request with the values in turn, signed in as an operator; forms also signed out."""

    def run(values: Iterator[str], one_in: int = 1) -> int:
        signed_in, stranger = open_browser(), open_browser()
        assert signed_in.sign_in().status_code == 303
        stranger.get("/sign-in")
        paths = [real_path(rule, known) for rule in rules(app) if "GET" in (rule.methods or ())]
        paths.append("/billing/subscriptions/subs_0/change?plan=plan_02&currency=inr&billing_period=MONTHLY")
        count = 0
        for browser in (signed_in, stranger):
            pages = [(path, browser.get(path).text) for path in paths]
            requests = [in_forms(pages, values)]
            if browser is signed_in:
                requests += [
                    in_paths(app, values),
                    in_queries(app, known, values),
                    in_headers(app, known, values),
                ]
            for request in islice((one for kind in requests for one in kind), 0, None, one_in):
                answer = send(browser, request)
                assert answer.status_code not in (500, 502), request
                assert "X-Evil" not in answer.headers, request
                count += 1
        assert signed_in.get("/operator/").status_code == 200, "signed out on the way"
        return count

    return run


def forged(log: io.StringIO) -> list[str]:
    return [line for line in log.getvalue().splitlines() if not LINE.match(line)]


def test_any_value_anywhere_is_no_error(try_all: Any, log: io.StringIO) -> None:
    """Each fifth place, with the values in turn. Kind: text from outside, on both databases."""
    assert try_all(cycle(VALUES), one_in=5) > 100
    assert forged(log) == []


@pytest.mark.thorough
@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_each_value_in_every_place_is_no_error(try_all: Any, log: io.StringIO, value: str) -> None:
    """Every place, with one value."""
    try_all(cycle([value]))
    assert forged(log) == []
