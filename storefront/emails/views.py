"""/emails: what was sent to the signed-in user. With MAIL_URL=keep: it is the only place to read it."""

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from sqlalchemy import Select, or_, select

from storefront.emails.models import Email
from storefront.emails.rendering import render, subject_of
from storefront.extensions import db

MAX_SHOWN = 100
WITH_LINKS = ("password_reset", "confirm_email")  # that open an account, or change one
bp = Blueprint("emails", __name__, url_prefix="/emails")


@bp.get("")
@login_required
def index() -> ResponseReturnValue:
    emails = db.session.scalars(visible().order_by(Email.id.desc()).limit(MAX_SHOWN)).all()
    return render_template("emails/index.html", emails=[(email, subject_of(email)) for email in emails])


@bp.get("/<int:email_id>")
@login_required
def show(email_id: int) -> ResponseReturnValue:
    email = db.session.scalar(visible().where(Email.id == email_id)) or abort(404)
    return render_template("emails/show.html", email=email, rendered=render(email))


@bp.get("/<int:email_id>/html")
@login_required
def html(email_id: int) -> ResponseReturnValue:
    """The HTML part alone, for the frame on its page: it has a policy of its own (web/headers.py)."""
    email = db.session.scalar(visible().where(Email.id == email_id)) or abort(404)
    return render(email).html.replace("<head>", '<head><base target="_top">', 1)


def visible() -> Select[Email]:
    """One's own, and every email for operators; but a link that opens an account is for its owner alone."""
    own, for_operators = Email.user_id == current_user.id, Email.kind.not_in(WITH_LINKS)
    return select(Email).where(or_(own, for_operators) if current_user.is_operator else own)
