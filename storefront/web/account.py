"""Sign-up, sign-in, and what a shopper has: plans, orders, letters."""

import logging
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_login import current_user, login_required
from flask_wtf import FlaskForm
from sqlalchemy import or_, select
from wtforms import EmailField, Field, HiddenField, PasswordField, StringField
from wtforms.validators import DataRequired, Email, InputRequired, Length, ValidationError

from storefront import orders, outbox, shoppers
from storefront.database import writing
from storefront.extensions import catalog, db, flexprice, settings
from storefront.flexprice import FlexpriceError
from storefront.models import Access, Letter, Shopper
from storefront.web.security import end_session, safe_next, start_session
from storefront.web.words import _, lazy

log = logging.getLogger(__name__)
bp = Blueprint("account", __name__)


def printable(_form: FlaskForm, field: Field) -> None:
    """No line breaks for the headers of a letter, no NUL for PostgreSQL."""
    if not text(field).isprintable():
        raise ValidationError(_("Please leave out what is not a letter, a number or a sign."))


def not_guessed_first(form: FlaskForm, field: Field) -> None:
    if shoppers.is_guessed_first(text(field), text(form["email"]) if "email" in form else ""):
        raise ValidationError(_("This one is guessed first. Please choose another."))


class NameForm(FlaskForm):
    name = StringField(
        lazy("Name"),
        [
            DataRequired(lazy("Please enter your name.")),
            Length(max=200, message=lazy("Please use at most %(max)d characters.")),
            printable,
        ],
    )


class EmailForm(FlaskForm):
    email = EmailField(
        lazy("E-mail"),
        [
            InputRequired(lazy("Please enter your e-mail address.")),
            Email(lazy("Please enter an e-mail address like name@example.com.")),
            Length(max=255, message=lazy("Please use at most %(max)d characters.")),
        ],
        filters=[lambda typed: typed.strip() if typed else typed],
    )


class PasswordForm(FlaskForm):
    password = PasswordField(
        lazy("Password"),
        [
            InputRequired(lazy("Please choose a password.")),
            Length(10, 200, lazy("Please use at least 10 characters, and at most 200.")),
            not_guessed_first,
        ],
    )


class SignInForm(EmailForm):
    password = PasswordField(
        lazy("Password"),
        [
            InputRequired(lazy("Please enter your password.")),
            Length(max=200, message=lazy("Please use at most %(max)d characters.")),
        ],
    )
    next = HiddenField()


class SignUpForm(NameForm, EmailForm, PasswordForm):
    next = HiddenField()


def text(field: Field) -> str:
    return field.data or ""


def door(template: str, form: FlaskForm) -> str:
    """The page to sign up or in; it names the plan that waits behind it, as far as that is remembered."""
    path = urlsplit(safe_next(form["next"].data)).path
    plan = catalog().remembered(path.rpartition("/")[2])
    chosen = plan if plan and path == url_for("plans.show", plan=plan.plan_id) else None
    return render_template(template, form=form, plan_name=chosen.name if chosen else None)


@bp.get("/sign-up")
def sign_up() -> Any:
    return door("account/sign_up.html", SignUpForm(next=request.args.get("next")))


@bp.post("/sign-up")
def do_sign_up() -> Any:
    form = SignUpForm()
    if not form.validate():
        return door("account/sign_up.html", form), 422
    password_hash = shoppers.hash_password(text(form.password))
    try:
        with writing():
            shopper = shoppers.sign_up(
                text(form.name).strip(), text(form.email), password_hash, datetime.now(UTC)
            )
    except shoppers.EmailTaken:
        form.email.errors = [_("This address has an account already. Please sign in.")]
        return door("account/sign_up.html", form), 422
    introduce(shopper)
    start_session(shopper)
    return redirect(safe_next(form.next.data), 303)


def introduce(shopper: Shopper) -> None:
    """Make the shopper known to Flexprice. If it is down or slow, the first checkout does it."""
    try:
        customer_id = shoppers.create_customer(flexprice(), shopper, patience=2)
    except FlexpriceError as error:
        log.warning("shopper %s is not known to Flexprice yet: %s", shopper.external_id, error)
        return
    with writing():
        shopper.flexprice_id = customer_id


@bp.get("/sign-in")
def sign_in() -> Any:
    return door("account/sign_in.html", SignInForm(next=request.args.get("next")))


@bp.post("/sign-in")
def do_sign_in() -> Any:
    form = SignInForm()
    shopper = shoppers.authenticate(text(form.email), text(form.password)) if form.validate() else None
    if shopper is None:
        if not form.errors:
            form.password.errors = [_("Address and password do not match.")]
        return door("account/sign_in.html", form), 422
    start_session(shopper)
    return redirect(safe_next(form.next.data), 303)


@bp.post("/sign-out")
def sign_out() -> Any:
    end_session()
    flash(_("You are signed out, here and in every other browser."), "info")
    return redirect(url_for("plans.index"), 303)


@bp.get("/forgot-password")
def forgot_password() -> Any:
    return render_template("account/forgot_password.html", form=EmailForm())


@bp.post("/forgot-password")
def send_reset() -> Any:
    """Says the same whether the address is known or not, and takes as long."""
    form = EmailForm()
    if not form.validate():
        return render_template("account/forgot_password.html", form=form), 422
    shopper = shoppers.find(text(form.email))
    someone = shopper or shoppers.nobody(text(form.email))
    path = url_for("account.reset_password", token=shoppers.reset_token(someone))
    letter = outbox.compose(
        "password_reset", someone, datetime.now(UTC), reset_url=settings().storefront_url + path
    )
    with writing():
        if shopper:
            outbox.owe(letter)
    flash(_("If that address has an account, a letter with a link is on its way."), "info")
    return redirect(url_for("account.sign_in"), 303)


@bp.get("/reset-password/<token>")
def reset_password(token: str) -> Any:
    if shoppers.by_reset_token(token) is None:
        abort(404)
    return render_template("account/reset_password.html", form=PasswordForm())


@bp.post("/reset-password/<token>")
def do_reset_password(token: str) -> Any:
    form = PasswordForm()
    if not form.validate():
        return render_template("account/reset_password.html", form=form), 422
    if shoppers.by_reset_token(token) is None:
        abort(404)
    password_hash = shoppers.hash_password(text(form.password))
    with writing():
        shoppers.reset_password(token, password_hash) or abort(404)
    flash(_("Your password is changed. Please sign in."), "info")
    return redirect(url_for("account.sign_in"), 303)


@bp.get("/account")
@login_required
def show() -> Any:
    rows = db.session.scalars(select(Access).where(Access.shopper_id == current_user.id)).all()
    return render_template(
        "account/show.html",
        accesses=rows,
        orders=orders.of_shopper(current_user),
        now=datetime.now(UTC),
    )


@bp.get("/members")
@login_required
def members() -> Any:
    held = shoppers.accesses(current_user.id, datetime.now(UTC))
    if not held:
        flash(_("This page is for members. Choose a plan to get in."), "info")
        return redirect(url_for("plans.index"), 303)
    return render_template("account/members.html", accesses=held)


@bp.get("/letters")
@login_required
def letters() -> Any:
    rows = db.session.scalars(_visible_letters().order_by(Letter.id.desc()).limit(200)).all()
    return render_template("account/letters.html", letters=rows)


@bp.get("/letters/<int:letter_id>")
@login_required
def letter(letter_id: int) -> Any:
    found = db.session.scalar(_visible_letters().where(Letter.id == letter_id)) or abort(404)
    return render_template("account/letter.html", letter=found)


def _visible_letters() -> Any:
    """One's own, and all for operators; but a link that opens somebody's account is for them alone."""
    own, open_to_operators = Letter.shopper_id == current_user.id, Letter.kind != "password_reset"
    return select(Letter).where(or_(own, open_to_operators) if current_user.is_operator else own)
