"""A new customer for a test scenario, in one click. Outside production only."""

import secrets

from flask import Blueprint, abort, current_app, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from storefront import access
from storefront.accounts import service
from storefront.accounts.views import start_session
from storefront.extensions import checkout, settings

bp = Blueprint("qa_customer", __name__, url_prefix="/qa", template_folder="../templates")


@bp.before_request
def test_shops_only() -> None:
    if settings().production or not settings().qa_page:
        abort(404)


@bp.get("/customer")
def show() -> ResponseReturnValue:
    current_app.extensions["qa_ribbon"].forget()  # the scenario was started a moment ago
    return render_template("qa/customer.html")


@bp.post("/customer")
def create() -> ResponseReturnValue:
    """Sign out, sign up as somebody new, and go on to the plans."""
    name = secrets.token_hex(3)
    password = service.hash_password(secrets.token_urlsafe(16))
    user = service.sign_up(f"Tester {name.upper()}", f"tester-{name}@tests.example", password)
    checkout.ensure_customer(access.customer_of(user))
    start_session(user)
    return redirect(url_for("checkout.plans"), 303)
