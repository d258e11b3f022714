"""Every page and letter, with hostile text in every place where text comes from somebody else.

The rows are spoiled column by column and the addresses walked one by one, so that neither a new column nor
a new page can be forgotten.
"""

import itertools
import re
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
import responses
from sqlalchemy import String, inspect, select
from storefront.lifecycle import State

from storefront import outbox
from storefront.database import writing
from storefront.models import Access, Base, InboxMessage, Letter, OperatorNote, Order, Refusal, Shopper

HOSTILE = (
    """'"><xss onfocus=alert(1) autofocus style=x:y href="javascript:alert(1)">{{7*7}}<!--&#60;xss&#62;"""
)
# What the shop makes itself, or nobody may choose freely.
OURS = {"external_id", "email", "password_hash", "session_key", "ref", "state", "currency", "billing_period"}
OURS |= {"kind", "recipient", "message_id", "customer_id", "session_id", "plan_id", "body_sha256"}


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Nothing here is about rows, so one engine is enough."""
    return sqlite_in(tmp_path)


class Page(HTMLParser):
    """All that a browser would act upon."""

    def __init__(self, html):
        super().__init__()
        self.bad, self.forms, self.tokens, self.outside = [], 0, 0, []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.bad += [tag] if tag == "xss" else []
        self.bad += [name for name, value in attrs if name.startswith("on") or name in ("style", "autofocus")]
        links = (values.get(name) or "" for name in ("href", "src", "action", "formaction", "hx-get", "data"))
        self.bad += [link for link in links if re.match(r"\s*(javascript|data|vbscript):", link, re.I)]
        if tag == "script" and not values.get("src"):
            self.bad.append("a script in the page")
        if tag == "form" and (values.get("method") or "").lower() == "post":
            self.forms += 1
        if tag == "input" and values.get("name") == "csrf_token" and values.get("value"):
            self.tokens += 1
        if tag == "a" and re.match("https?:", values.get("href") or ""):
            self.outside.append((values["href"], values.get("rel") or ""))

    def handle_comment(self, text):
        if "xss" in text:
            self.bad.append("a comment")


def harmless(html):
    page = Page(html)
    assert page.bad == []
    assert html.count("&lt;xss ") <= html.count("{{7*7}}"), "it was taken for a template"
    assert page.tokens >= page.forms, "a form without its token"
    for href, rel in page.outside:
        assert href.startswith("http://127.0.0.1:8000/") or "noreferrer" in rel or "noopener" in rel
    return True


@pytest.fixture
def flexprice():
    """Sells a hostile plan, and has a hostile word for everything else."""
    plan = {
        "id": "plan_01",
        "name": HOSTILE,
        "description": HOSTILE,
        "lookup_key": HOSTILE,
        "entitlements": [
            {
                "feature_type": kind,
                "is_enabled": True,
                "static_value": HOSTILE,
                "feature": {"name": HOSTILE + kind},
            }
            for kind in ("boolean", "static", "metered")
        ],
        "prices": [
            {
                "id": "price_1",
                "amount": "499",
                "currency": "INR",
                "type": "FIXED",
                "billing_model": "FLAT_FEE",
                "billing_cadence": "RECURRING",
                "billing_period": "MONTHLY",
                "invoice_cadence": "ADVANCE",
                "display_name": HOSTILE,
            }
        ],
    }
    page = {"items": [plan], "pagination": {"total": 1, "limit": 100, "offset": 0}}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.add("POST", "http://127.0.0.1:8001/v1/plans/search", json=page)
        for method in ("GET", "POST"):
            mock.add(method, re.compile("http://127.0.0.1:8001/v1/.*"), json={"error": HOSTILE}, status=400)
        yield mock


@pytest.fixture
def spoiled(app, enrol, order_of, samples):
    """Asha, an operator, has an order in every state, every letter, and messages. All of it is spoiled."""
    asha = enrol(operator=True)
    later = samples.NOW + timedelta(days=9999)
    for number, state in enumerate(State):
        times = {
            "paid_at": samples.NOW,
            "opening_at": samples.NOW,
            "next_ask_at": later,
            "expires_at": samples.NOW,
        }
        order_of(asha, f"plan_{number:02}", state=state, **times)
    with app.app_context(), writing() as session:
        shopper = session.get_one(Shopper, asha)
        orders = list(session.scalars(select(Order)))
        shopper.name = HOSTILE
        for order in orders:
            order.plan_name = HOSTILE
        session.flush()
        for kind, order in zip(("welcome", "payment_failed"), orders, strict=False):
            outbox.write(kind, shopper, samples.NOW, order)
        outbox.write(
            "password_reset", shopper, samples.NOW, reset_url="http://127.0.0.1:8000/reset-password/x"
        )
        session.add(
            Access(shopper_id=asha, plan_id="plan_01", plan_name="x", order_id=1, granted_at=samples.NOW)
        )
        session.add(
            OperatorNote(at=samples.NOW, who="x", subject="order", subject_id=orders[0].ref, text="x")
        )
        caller = {"sender": "x", "agent": "x", "message_id": "x", "body_bytes": 1, "body_sha256": "x"}
        session.add(Refusal(at=samples.NOW, cause="altered", says="x", count=1, **caller))
        for number in range(3):
            session.add(
                InboxMessage(
                    id=f"msg_{number}",
                    event_type="x",
                    object_id="x",
                    customer_id="x",
                    body="x",
                    received_at=samples.NOW,
                    next_try_at=later,
                )
            )
    spoil(app)


def spoil(app):
    with app.app_context(), writing() as session:
        for mapper in Base.registry.mappers:
            keys = {column.name for column in mapper.local_table.primary_key} | OURS
            text = [
                attr.key
                for attr in mapper.column_attrs
                if isinstance(attr.columns[0].type, String) and attr.columns[0].name not in keys
            ]
            if mapper.class_ is Letter:
                continue  # its text was made from the spoiled rows, and is looked at by itself
            unique = {key for key in text if mapper.columns[key].unique}
            for row in session.scalars(select(mapper.class_)):
                for key in text:
                    setattr(row, key, HOSTILE + (str(inspect(row).identity) if key in unique else ""))


@pytest.mark.usefixtures("spoiled", "flexprice")
def test_no_page_does_what_the_text_says(app, browser, rows):
    browser.sign_in()
    known = {
        "ref": [order.ref for order in rows(Order)],
        "letter_id": [letter.id for letter in rows(Letter)],
        "plan": ["plan_01"],
        "kind": ["json", "md"],
        "message_id": [message.id for message in rows(InboxMessage)],
    }
    seen = set()
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.endpoint == "static":
            continue
        names = sorted(rule.arguments)
        for values in itertools.product(*(known.get(name, [1, 2]) for name in names)):
            _, path = rule.build(dict(zip(names, values, strict=True)))
            asked = "&".join(
                f"{name}={quote(HOSTILE)}" for name in ("next", "currency", "since", "q", "state")
            )
            answer = browser.get(f"{path}?id=msg_1&{asked}")
            if answer.mimetype == "text/html":
                assert harmless(answer.text), path
            else:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
            if "&lt;xss onfocus" in answer.text:
                seen.add(rule.endpoint)
    shown = {"plans.index", "plans.show", "orders.success", "orders.failure", "orders.status", "account.show"}
    shown |= {"account.members", "account.letter", "account.letters", "qa.index", "qa.show"}
    shown |= {"operator.index", "operator.order", "operator.message", "operator.refused", "operator.messages"}
    assert shown <= seen, "the hostile text was not even shown"


@pytest.mark.usefixtures("spoiled")
def test_no_letter_does_what_the_text_says(rows):
    letters = rows(Letter)
    assert {letter.kind for letter in letters} == {"welcome", "payment_failed", "password_reset"}
    for letter in letters:
        page = Page(letter.body_html)
        assert [bad for bad in page.bad if bad != "style"] == []
        assert "&lt;xss onfocus" in letter.body_html
        assert HOSTILE in letter.body_text, "plain text is left as it is"
        assert "\n" not in letter.subject


@pytest.mark.usefixtures("flexprice")
def test_no_form_gives_back_what_was_typed_as_more_than_text(app, browser):
    for path in ("/sign-up", "/sign-in", "/forgot-password", "/reset-password/x", "/checkout"):
        typed = dict.fromkeys(
            ("email", "name", "password", "next", "plan", "currency", "billing_period"), HOSTILE
        )
        answer = browser.post(path, **typed)
        assert answer.status_code < 500
        assert harmless(answer.text)
        assert HOSTILE not in answer.headers.get("Location", "")


@pytest.mark.parametrize(
    "path", [f"/{HOSTILE}", f"/orders/{HOSTILE}/success", f"/plans/{HOSTILE}", f"/sign-in?next={HOSTILE}"]
)
def test_no_address_comes_back_as_more_than_text(browser, flexprice, path):
    assert harmless(browser.get(path).text)


LINE_BREAKS = [
    "Asha\r\nBcc: all@example.com",
    "Asha\nBcc: all@example.com",
    "Asha\x00",
    "Asha\x1b[2J",
    "Asha\u2028x",
]


@pytest.mark.parametrize("name", LINE_BREAKS)
def test_a_name_with_more_than_one_line_signs_nobody_up(browser, vendor, rows, name):
    fields = {"name": name, "email": "asha@example.com", "password": "correct horse battery"}
    assert browser.post("/sign-up", **fields).status_code == 422
    assert rows(Shopper) == []


def test_a_plan_name_with_line_breaks_writes_no_header_of_a_letter(app, enrol, order_of, samples, rows):
    ref = order_of(enrol(), plan_name="Pro\r\nBcc: all@example.com", state="fulfilled")
    with app.app_context(), writing() as session:
        order = session.scalar(select(Order).where(Order.ref == ref))
        outbox.write("welcome", order.shopper, samples.NOW, order)
    with app.app_context():
        email = outbox._as_email(rows(Letter)[0], "shop@shop.example")
    assert email["Bcc"] is None
    assert "\n" not in str(email["Subject"])
