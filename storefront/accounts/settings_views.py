"""The settings of an account: name, email address, password, and deleting it."""

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user, login_required, login_user, logout_user
from flask_wtf import FlaskForm

from storefront.accounts import changes, limits, service
from storefront.accounts.forms import (
    ChangeEmailForm,
    ChangePasswordForm,
    CurrentPasswordForm,
    NameForm,
    text,
)
from storefront.accounts.redirects import clear_session
from storefront.extensions import db

bp = Blueprint("account_settings", __name__, url_prefix="/account")


@bp.get("/settings")
@login_required
def show() -> ResponseReturnValue:
    return page()


def page(**sent: FlaskForm) -> str:
    """All forms; `sent` is the one that has mistakes."""
    forms: dict[str, FlaskForm] = {
        "name": NameForm(formdata=None, name=current_user.name),
        "email": ChangeEmailForm(formdata=None),
        "password": ChangePasswordForm(formdata=None),
    }
    return render_template("account/settings.html", wrong=next(iter(sent.values()), None), **forms | sent)


def is_own_password(form: CurrentPasswordForm) -> bool:
    """Whether the form has the user's password; says so beside the field if not."""
    if service.authenticate(current_user.email, text(form.current_password)):
        return True
    form.current_password.errors = [_("This is not your current password.")]
    return False


@bp.post("/settings/name")
@login_required
def change_name() -> ResponseReturnValue:
    form = NameForm()
    if not form.validate():
        return page(name=form), 422
    changes.rename(current_user, text(form.name))
    flash(_("Your name has been changed."), "info")
    return redirect(url_for("account_settings.show"), 303)


@bp.post("/settings/email")
@login_required
@limits.own_password_guesses
@limits.email_changes
def change_email() -> ResponseReturnValue:
    form = ChangeEmailForm()
    if not (form.validate() and is_own_password(form)):
        return page(email=form), 422
    try:
        changes.request_email_change(current_user, text(form.email))
    except service.EmailTaken:
        form.email.errors = [_("An account with this email address exists already.")]
        return page(email=form), 422
    flash(_("Open the link that we emailed to %(email)s.", email=text(form.email)), "info")
    return redirect(url_for("account_settings.show"), 303)


@bp.get("/email/<token>")
def confirm_email(token: str) -> ResponseReturnValue:
    """A button, because mail programs open links by themselves."""
    change = changes.find_email_change(token) or abort(404)
    return render_template("account/confirm_email.html", new_email=change.new_email)


@bp.post("/email/<token>")
@limits.new_passwords
def do_confirm_email(token: str) -> ResponseReturnValue:
    change = changes.find_email_change(token) or abort(404)
    try:
        changes.confirm_email_change(change)
    except service.EmailTaken:
        flash(_("An account with this email address exists already."), "error")
    else:
        flash(_("Your email address has been changed."), "info")
    return redirect(url_for("account_settings.show"), 303)


@bp.post("/settings/password")
@login_required
@limits.own_password_guesses
def change_password() -> ResponseReturnValue:
    form = ChangePasswordForm()
    if not (form.validate() and is_own_password(form)):
        return page(password=form), 422
    service.set_password(current_user, service.hash_password(text(form.password)))
    db.session.commit()
    login_user(current_user)  # this browser stays signed in
    flash(_("Your password has been changed. You are signed out on all other devices."), "info")
    return redirect(url_for("account_settings.show"), 303)


@bp.get("/delete")
@login_required
def delete() -> ResponseReturnValue:
    return delete_page(CurrentPasswordForm(formdata=None))


def delete_page(form: CurrentPasswordForm) -> str:
    blocked = changes.blocks_deletion(current_user)
    return render_template("account/delete.html", form=form, blocked=blocked)


@bp.post("/delete")
@login_required
@limits.own_password_guesses
def do_delete() -> ResponseReturnValue:
    form = CurrentPasswordForm()
    if not (form.validate() and is_own_password(form)):
        return delete_page(form), 422
    if not changes.delete_account(current_user):
        return delete_page(form), 409
    logout_user()
    clear_session()
    flash(_("Your account has been deleted."), "info")
    return redirect(url_for("web.start"), 303)
