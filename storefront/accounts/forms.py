"""The forms of the accounts."""

import unicodedata

from email_validator import EmailNotValidError, validate_email
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy
from flask_wtf import FlaskForm
from wtforms import EmailField, Field, HiddenField, PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length, ValidationError

from storefront.accounts.service import is_common_password
from storefront.models import MAX_NAME_CHARS

JOINERS = "\u200c\u200d"  # needed inside words of Persian, Sinhala and many other scripts, and in emoji


DIRECTION_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))  # they show nothing themselves


def text(field: Field) -> str:
    return field.data or ""


def fold_spaces(name: str | None) -> str:
    """Every kind of space (full-width, no-break, …) becomes a plain one, and several become one.

    Direction marks, which come along when a name is copied from a page in Arabic or Hebrew, are left out.
    """
    kept = (name or "").translate(DIRECTION_MARKS)
    folded = "".join(" " if unicodedata.category(char) == "Zs" else char for char in kept)
    return " ".join(word for word in folded.split(" ") if word)


def is_printable_name(name: str) -> bool:
    """No control character, line break, surrogate or bidirectional override; joiners only inside a word."""
    padded = f" {name} "
    return all(
        _joins(padded[place], padded[place + 2]) if char in JOINERS else unicodedata.category(char)[0] != "C"
        for place, char in enumerate(name)
    ) and not any(unicodedata.category(char) in ("Zl", "Zp") for char in name)


def _joins(before: str, after: str) -> bool:
    return all(unicodedata.category(char)[0] in "LMS" for char in (before, after))


def name_allowed(_form: FlaskForm, field: Field) -> None:
    if not is_printable_name(text(field)):
        raise ValidationError(_("Remove unsupported characters."))
    if "://" in text(field):
        raise ValidationError(_("A name cannot contain a link."))


def email_allowed(_form: FlaskForm, field: Field) -> None:
    """Any address of the right form, also at .test. Whether email arrives there shows when it is sent."""
    try:
        validate_email(text(field), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise ValidationError(_("Enter an email address like name@example.com.")) from None


def password_allowed(form: FlaskForm, field: Field) -> None:
    if is_common_password(text(field), text(form["email"]) if "email" in form else ""):
        raise ValidationError(_("That password is too common. Choose another."))


class NameForm(FlaskForm):
    name = StringField(
        lazy("Name"),
        [
            DataRequired(lazy("Enter your name.")),
            Length(max=MAX_NAME_CHARS, message=lazy("Use at most %(max)d characters.")),
            name_allowed,
        ],
        filters=[fold_spaces],
    )


def email_field(label: str) -> EmailField:
    return EmailField(
        label,
        [
            InputRequired(lazy("Enter your email address.")),
            Length(max=254, message=lazy("Use at most %(max)d characters.")),
            email_allowed,
        ],
        filters=[lambda typed: typed.strip() if typed else typed],
    )


def new_password_field(label: str) -> PasswordField:
    return PasswordField(
        label,
        [
            InputRequired(lazy("Choose a password.")),
            Length(10, 200, lazy("Use at least 10 characters, and at most 200.")),
            password_allowed,
        ],
    )


class EmailForm(FlaskForm):
    email = email_field(lazy("Email"))


class PasswordForm(FlaskForm):
    password = new_password_field(lazy("Password"))


class CurrentPasswordForm(FlaskForm):
    current_password = PasswordField(
        lazy("Current password"),
        [
            InputRequired(lazy("Enter your current password.")),
            Length(max=200, message=lazy("Use at most %(max)d characters.")),
        ],
    )


class ChangeEmailForm(EmailForm, CurrentPasswordForm):
    email = email_field(lazy("New email"))
    current_password = PasswordField(  # with an id of its own beside the other forms of the page
        lazy("Current password"), [InputRequired(lazy("Enter your current password."))], id="email-password"
    )


class ChangePasswordForm(CurrentPasswordForm, PasswordForm):
    password = new_password_field(lazy("New password"))


class SignInForm(EmailForm):
    password = PasswordField(
        lazy("Password"),
        [
            InputRequired(lazy("Enter your password.")),
            Length(max=200, message=lazy("Use at most %(max)d characters.")),
        ],
    )
    next = HiddenField()


class SignUpForm(NameForm, EmailForm, PasswordForm):
    next = HiddenField()
