"""Every page, with hostile text in every column where text comes from somebody else.

The rows are filled column by column and the routes walked one by one, so that neither a new column nor a new
page can be forgotten.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
import responses
from flask import Flask
from sqlalchemy import String, inspect, select

from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, PlanAccess, WebhookEvent
from storefront.operations.models import AuditNote, RejectedWebhook
from tests.samples import API, plan, price
from tests.shop_fixtures import NOW

HOSTILE = (
    """'"><xss onfocus=alert(1) autofocus style=x:y href="javascript:alert(1)">{{7*7}}<!--&#60;xss&#62;"""
)
# Columns that the shop fills itself, or with one of a few words.
OURS = {
    "key",
    "email",
    "password_hash",
    "session_key",
    "ref",
    "state",
    "slot",
    "currency",
    "billing_period",
    "kind",
    "customer_key",
    "session_id",
    "plan_id",
    "message_id",
    "message_key",
    "amount",
    "invoice_total",
    "return_url",
    "replaces",
    "replaced_by",
    "action",
    "subject",
    "subject_id",
    "form_key",
    "cause",
    "body_sha256",
    "from_state",
    "to_state",
    "trigger",
    "nonce",
    "token_hash",
}


class Page(HTMLParser):
    """All that a browser would act upon."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.forms = self.tokens = 0
        self.outside: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.bad += [tag] if tag == "xss" else []
        self.bad += [name for name, _ in attrs if name.startswith("on") or name in ("style", "autofocus")]
        links = (values.get(name) or "" for name in ("href", "src", "action", "formaction", "hx-get", "data"))
        self.bad += [link for link in links if re.match(r"\s*(javascript|data|vbscript):", link, re.I)]
        if tag == "script" and not values.get("src"):
            self.bad.append("a script in the page")
        # The choice of a language is held to its Origin alone: a token would set a cookie on every page.
        is_choice = values.get("action") == "/language"
        if tag == "form" and (values.get("method") or "").lower() == "post" and not is_choice:
            self.forms += 1
        if tag == "input" and values.get("name") == "csrf_token" and values.get("value"):
            self.tokens += 1
        if tag == "a" and re.match("https?:", values.get("href") or ""):
            self.outside.append((values["href"] or "", values.get("rel") or ""))

    def handle_comment(self, text: str) -> None:
        if "xss" in text:
            self.bad.append("a comment")


def check(html: str) -> bool:
    page = Page(html)
    assert page.bad == []
    assert html.count("&lt;xss ") <= html.count("{{7*7}}"), "it was rendered as a template"
    assert page.tokens >= page.forms, "a form without its token"
    for href, rel in page.outside:
        assert href.startswith("http://127.0.0.1:8000/") or "noreferrer" in rel or "noopener" in rel
    return True


@pytest.fixture
def hostile_flexprice() -> Iterator[Any]:
    """Sells a plan with hostile names, and answers everything else with hostile text."""
    entitlements = [
        {
            "feature_type": kind, "is_enabled": True, "static_value": HOSTILE,
            "feature": {"name": HOSTILE + kind},
        }
        for kind in ("boolean", "static", "metered")
    ]  # fmt: skip
    sold = plan(
        price(display_name=HOSTILE), name=HOSTILE, description=HOSTILE, lookup_key=HOSTILE,
        entitlements=entitlements,
    )  # fmt: skip
    page = {"items": [sold], "pagination": {"total": 1, "limit": 100, "offset": 0}}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add("POST", f"{API}/plans/search", json=page)
        for method in ("GET", "POST"):
            mock.add(method, re.compile(f"{API}/.*"), json={"error": HOSTILE}, status=400)
        yield mock


@pytest.fixture
def filled(app: Flask, add_user: Callable[..., int], add_order: Callable[..., str]) -> None:
    """Asha, an operator, has an order in every state, emails, events and notes: all with hostile text."""
    asha = add_user(operator=True)
    for number, state in enumerate(State):
        times = {"paid_at": NOW, "fulfilled_at": NOW, "session_requested_at": NOW, "expires_at": NOW}
        add_order(asha, f"plan_{number:02}", state=state, session_id=f"cs_{number}", **times)
    with app.app_context():
        orders = list(db.session.scalars(select(Order)))
        for kind, order in zip(("welcome", "payment_failed", "refunded"), orders, strict=False):
            db.session.add(Email(kind=kind, user_id=asha, order_id=order.id, created_at=NOW, expires_at=NOW))
        access = PlanAccess(user_id=asha, plan_id="plan_01", plan_name="x", order_id=1, granted_at=NOW)
        db.session.add(access)
        note = {"at": NOW, "action": "note", "subject": "order", "subject_id": orders[0].ref}
        db.session.add(AuditNote(who=HOSTILE, text=HOSTILE, **note))
        rejected = {"message": "x", "count": 1, "remote_addr": "x", "user_agent": "x", "message_id": "x"}
        db.session.add(RejectedWebhook(at=NOW, cause="altered", body_bytes=1, body_sha256="x", **rejected))
        for number in range(3):
            row = {
                "id": f"msg_{number}",
                "event_type": "x",
                "object_id": "x",
                "customer_id": "x",
                "body": "x",
            }
            due = NOW + timedelta(days=9999)
            db.session.add(WebhookEvent(**row, received_at=NOW, next_attempt_at=due))
        db.session.commit()
        fill_columns()


def fill_columns() -> None:
    for mapper in db.Model.registry.mappers:
        if mapper.class_ is AuditNote:
            continue  # append-only: written so
        keys = {column.name for column in mapper.local_table.primary_key} | OURS
        text = [
            attr.key
            for attr in mapper.column_attrs
            if isinstance(attr.columns[0].type, String) and attr.columns[0].name not in keys
        ]
        unique = {key for key in text if mapper.columns[key].unique}
        for row in db.session.scalars(select(mapper.class_)):
            for key in text:
                setattr(row, key, HOSTILE + (str(inspect(row).identity) if key in unique else ""))
    db.session.commit()


@pytest.mark.usefixtures("filled", "hostile_flexprice")
def test_no_page_acts_on_hostile_text(app: Flask, browser: Any, rows: Callable[..., Any]) -> None:
    browser.sign_in()
    known: dict[str, list[Any]] = {
        "ref": [order.ref for order in rows(Order)],
        "plan_id": ["plan_01"],
        "event_id": [event.id for event in rows(WebhookEvent)],
        "kind": ["json", "md"],
        "format": ["json", "md"],
    }
    asked = "&".join(f"{name}={quote(HOSTILE)}" for name in ("next", "currency", "since", "q", "state"))
    shown = set()
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint == "static":
            continue
        names = sorted(rule.arguments)
        for values in itertools.product(*(known.get(name, [1, 2]) for name in names)):
            built = rule.build(dict(zip(names, values, strict=True)))
            if built is None:
                continue
            answer = browser.get(f"{built[1]}?id=msg_1&{asked}")
            if answer.mimetype == "text/html":
                framed = rule.endpoint == "emails.html"  # mail programs need inline styles
                assert check(answer.text.replace(" style=", " data-style=") if framed else answer.text), built
            else:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if "&lt;xss onfocus" in answer.text:
                shown.add(rule.endpoint)
    expected = {"checkout.plans", "checkout.plan", "checkout.success", "checkout.failure", "checkout.status"}
    assert expected <= shown, "the hostile text was not even shown"
    assert len({endpoint.partition(".")[0] for endpoint in shown}) >= 4, shown


@pytest.mark.usefixtures("hostile_flexprice")
def test_no_form_repeats_hostile_text_as_markup(browser: Any) -> None:
    fields = ("email", "name", "password", "next", "plan", "currency", "billing_period")
    for path in ("/sign-up", "/sign-in", "/forgot-password", "/reset-password/x", "/checkout"):
        answer = browser.post(path, **dict.fromkeys(fields, HOSTILE))
        assert answer.status_code < 500
        assert check(answer.text)
        assert HOSTILE not in answer.headers.get("Location", "")


@pytest.mark.usefixtures("hostile_flexprice")
@pytest.mark.parametrize(
    "path", [f"/{HOSTILE}", f"/orders/{HOSTILE}/success", f"/plans/{HOSTILE}", f"/sign-in?next={HOSTILE}"]
)
def test_no_address_is_repeated_as_markup(browser: Any, path: str) -> None:
    assert check(browser.get(path).text)
