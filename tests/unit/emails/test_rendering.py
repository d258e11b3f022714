"""Emails in words: what they say, to whom by name, and that nobody's words become markup."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from storefront.emails import billing, rendering
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import Order, User
from tests.shop_fixtures import NOW

OF_PLANS = "billing"  # one folder for every fact of a plan or an invoice
KINDS = ["welcome", "payment_failed", "refunded", "password_reset"]
OF_ADDRESSES = ["confirm_email", "email_changed"]
TEMPLATES = Path(__file__).parents[3] / "templates" / "email"


@pytest.fixture
def email(context, add_user, add_order):
    """An email of a kind, about an order with the given columns."""
    add_user()

    def make(kind="welcome", confirmed=True, name="Asha Rao", **columns):
        from storefront.accounts import service

        add_order(**({"state": "failed"} | columns))
        user = db.session.get_one(User, 1)
        user.name, user.email_confirmed_at = name, NOW if confirmed else None
        about = {"password_reset": service.add_reset(user)} if kind == "password_reset" else {}
        if kind != "password_reset":
            about["order"] = db.session.query(Order).order_by(Order.id.desc()).first()
        found = Email(kind=kind, user=user, created_at=NOW, expires_at=NOW, **about)
        db.session.add(found)
        db.session.commit()
        return found

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_rendered(email, kind):
    rendered = rendering.render(email(kind))
    assert rendered.subject.strip() == rendered.subject != ""
    assert "\n" not in rendered.subject
    assert rendered.text.startswith("Hello Asha Rao,\n")
    assert "Hello Asha Rao," in rendered.html
    assert "http://127.0.0.1:8000/" in rendered.text


def test_every_folder_of_templates_is_a_kind():
    assert sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir()) == sorted(
        [*KINDS, *OF_ADDRESSES, OF_PLANS]
    )


@pytest.mark.parametrize("kind", OF_ADDRESSES)
def test_another_address_than_the_users_reads_no_name(email, kind):
    found = email()
    found.kind, found.order, found.recipient = kind, None, "new@example.com"
    rendered = rendering.render(found)
    assert rendered.text.startswith("Hello,\n")
    assert "Asha" not in "".join(rendered)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unconfirmed_address_reads_no_name(email, kind):
    """Anybody can sign up with somebody else's address and any text as their name.

    Kind: a stranger's words are not sent to others.
    """
    rendered = rendering.render(email(kind, confirmed=False, name="Your card was charged"))
    assert "Your card was charged" not in "".join(rendered)
    assert rendered.text.startswith("Hello,\n")


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_text_in_the_markup(email, kind):
    rendered = rendering.render(email(kind, name="<b>Asha</b>", plan_name="<i>Pro</i>"))
    assert "<b>Asha" not in rendered.html
    assert "<i>Pro" not in rendered.html
    assert "Hello <b>Asha</b>," in rendered.text


def test_the_welcome_email_is_a_receipt(email):
    rendered = rendering.render(
        email(
            billing_period="ANNUAL",
            invoice_total_text="123456.78",
            invoice_number="INV-7",
            paid_at=datetime(2026, 9, 1, 20, 30),  # noqa: DTZ001
        )
    )
    assert rendered.subject == "Your Pro plan is active"
    for part in (rendered.text, rendered.html):
        for fact in ("Pro, 1 year", "₹1,23,456.78", "2 Sept 2026, 02:00 IST", "INV-7", "/receipt"):
            assert fact in part


def test_before_the_invoice_is_read_the_price_is_named(email):
    assert "₹499.00 plus tax where it applies" in rendering.render(email()).text


def test_an_unknown_period_is_written_as_it_is(email):
    assert "Pro, fortnightly" in rendering.render(email(billing_period="FORTNIGHTLY")).text


def test_no_email_promises_a_refund_that_was_not_seen(email):
    said = "".join(rendering.render(email("payment_failed"))).lower()
    assert "refund" not in said
    assert "We have no record of a charge." in rendering.render(email("payment_failed")).text


def test_a_list_survives_an_email_that_cannot_be_rendered(email, caplog):
    assert rendering.subject_of(email()) == "Your Pro plan is active"
    broken = email("no_such_kind")
    assert rendering.subject_of(broken) == "no_such_kind"
    assert "cannot be rendered" in caplog.text


@pytest.mark.parametrize("fact", billing.TEXTS)
def test_every_fact_of_a_plan_is_rendered(email, fact):
    found = email()
    details = {"fact": fact, "plan": "Starter", "date": "27 Nov 2026", "number": "INV-1", "amount": "₹499.00"}
    found.kind, found.order, found.details = OF_PLANS, None, json.dumps(details)
    rendered = rendering.render(found)
    assert "Starter" in rendered.subject
    assert "%(" not in rendered.text + rendered.html
    assert "http://127.0.0.1:8000/billing" in rendered.text
