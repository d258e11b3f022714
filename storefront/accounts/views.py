"""Sign-up, sign-in, sign-out, a new password, the account page and the members' page."""

from urllib.parse import parse_qs, urlsplit

from flask import Blueprint, abort, current_app, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from flask_login import current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm
from sqlalchemy import select

from storefront import access
from storefront.accounts import limits, service
from storefront.accounts.forms import EmailForm, PasswordForm, SignInForm, SignUpForm, text
from storefront.accounts.redirects import clear_session, safe_next, to_sign_in
from storefront.checkout import context
from storefront.checkout.context import shop_now
from storefront.checkout.offers import PlanOnSale
from storefront.extensions import checkout, db
from storefront.flexprice import FlexpriceError
from storefront.models import Order, PlanAccess, User

__all__ = ["bp", "to_sign_in"]

MAX_ORDERS_SHOWN = 200
bp = Blueprint("accounts", __name__)


# -- sign up and sign in ----------------------------------------------------------------------------


@bp.get("/sign-up")
def sign_up() -> ResponseReturnValue:
    return form_page("account/sign_up.html", SignUpForm(next=request.args.get("next")))


@bp.post("/sign-up")
@limits.sign_ups
@limits.sign_up_mistakes
def do_sign_up() -> ResponseReturnValue:
    form = SignUpForm()
    if not (form.validate() and cookies_accepted(form)):
        return form_page("account/sign_up.html", form), 422
    password_hash = service.hash_password(text(form.password))
    try:
        user = service.sign_up(text(form.name), text(form.email), password_hash, page_language())
    except service.EmailTaken:
        form.email.errors = [_("An account with this email address exists already. Sign in.")]
        return form_page("account/sign_up.html", form), 422
    checkout.ensure_customer(access.customer_of(user))  # if it fails, the first purchase does it
    start_session(user)
    return redirect(safe_next(form.next.data), 303)


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    return form_page("account/sign_in.html", SignInForm(next=request.args.get("next")))


@bp.post("/sign-in")
@limits.one_person_guesses
@limits.many_guess_at_one_account
@limits.one_guesses_at_many_accounts
def do_sign_in() -> ResponseReturnValue:
    form = SignInForm()
    valid = form.validate() and cookies_accepted(form)
    user = service.authenticate(text(form.email), text(form.password)) if valid else None
    if user is None:
        if not form.errors:
            form.password.errors = [_("Incorrect email or password.")]
        return form_page("account/sign_in.html", form), 422
    start_session(user)
    return redirect(safe_next(form.next.data), 303)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    if current_user.is_authenticated:
        service.sign_out_everywhere(current_user)
    logout_user()
    clear_session()
    flash(_("You've been signed out on all devices."), "info")
    return redirect("/", 303)


def start_session(user: User) -> None:
    """Sign in. The language chosen in this browser is kept for the emails, else the account's is used."""
    clear_session()  # nothing else from before the sign-in stays valid
    service.keep_language(user, session.setdefault("language", user.language))
    login_user(user)


def page_language() -> str:
    """The language of this request's page, such as "hi"."""
    locale = get_locale()
    return locale.language if locale else "en"


def cookies_accepted(form: FlaskForm) -> bool:
    """The page with the form has set a cookie: a browser that does not send it back cannot stay signed in."""
    if not request.cookies:
        form.form_errors.append(_("Your browser blocks cookies. Allow cookies for this shop to sign in."))
    return bool(request.cookies)


def form_page(template: str, form: SignInForm | SignUpForm) -> str:
    """The page names the plan that the visitor goes on to buy."""
    return render_template(template, form=form, plan_name=chosen_plan(safe_next(form.next.data)))


def chosen_plan(target: str) -> str | None:
    """The name of the plan whose page, or whose review page, the visitor goes on to."""
    parts = urlsplit(target)
    plan_id = parse_qs(parts.query).get("plan", [""])[0] or parts.path.rpartition("/")[2]
    pages = (url_for("checkout.plan", plan_id=plan_id), url_for("review.show")) if plan_id else ()
    if parts.path not in pages:
        return None
    try:
        plan = context.checkout().catalog.current().plan(plan_id)
    except FlexpriceError:
        return None
    return plan.name if plan else None


# -- a new password ---------------------------------------------------------------------------------


@bp.get("/forgot-password")
def forgot_password() -> ResponseReturnValue:
    return render_template("account/forgot_password.html", form=EmailForm())


@bp.post("/forgot-password")
@limits.reset_emails
@limits.reset_requests
def request_reset() -> ResponseReturnValue:
    """Says the same whether the address has an account or not."""
    form = EmailForm()
    if not form.validate():
        return render_template("account/forgot_password.html", form=form), 422
    service.request_reset(text(form.email))
    flash(_("If an account exists for that email, we've sent a reset link."), "info")
    return redirect(url_for("accounts.sign_in"), 303)


@bp.get("/reset-password/<token>")
def reset_password(token: str) -> ResponseReturnValue:
    service.find_reset(token) or abort(404)
    return render_template("account/reset_password.html", form=PasswordForm())


@bp.post("/reset-password/<token>")
@limits.new_passwords
def do_reset_password(token: str) -> ResponseReturnValue:
    form = PasswordForm()
    if not form.validate():
        return render_template("account/reset_password.html", form=form), 422
    service.find_reset(token) or abort(404)
    service.reset_password(token, service.hash_password(text(form.password))) or abort(404)
    flash(_("Your password has been changed. Sign in with it."), "info")
    return redirect(url_for("accounts.sign_in"), 303)


# -- what a user has --------------------------------------------------------------------------------


@bp.get("/account")
@login_required
def show() -> ResponseReturnValue:
    granted = db.session.scalars(
        select(PlanAccess).where(PlanAccess.user_id == current_user.id).order_by(PlanAccess.id)
    )
    orders = db.session.scalars(
        select(Order)
        .where(Order.user_id == current_user.id)
        .order_by(Order.id.desc())
        .limit(MAX_ORDERS_SHOWN)
    )
    emails_url = url_for("emails.index") if "emails" in current_app.blueprints else None
    return render_template(
        "account/show.html",
        accesses=granted.all(),
        orders=orders.all(),
        now=shop_now(),
        emails_url=emails_url,
    )


@bp.get("/members")
@login_required
def members() -> ResponseReturnValue:
    granted = access.active(current_user, shop_now())
    if not granted:
        flash(_("Choose a plan to access this page."), "info")
        return redirect("/", 303)
    return render_template("account/members.html", accesses=granted, plans=plans_on_sale(), now=shop_now())


def plans_on_sale() -> dict[str, PlanOnSale]:
    """By id, for what they include; empty while Flexprice cannot be asked."""
    try:
        return {plan.id: plan for plan in context.ask(context.checkout().catalog.current).plans}
    except FlexpriceError:
        return {}
