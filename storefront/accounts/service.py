"""Users: create one, find one, check a password, and replace a password by an emailed link."""

import base64
import hashlib
import hmac
import secrets
import unicodedata
from datetime import timedelta
from typing import Any, cast

from email_validator import EmailNotValidError, validate_email
from flask import Flask, current_app
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from storefront.accounts.signals import password_reset_requested
from storefront.checkout.context import db_now, rollback
from storefront.extensions import db
from storefront.models import EmailChange, PasswordReset, User, random_key

RESET_LIFETIME = timedelta(hours=1)
# The most frequent passwords of the published lists that are long enough for our form.
COMMON_PASSWORDS = frozenset(
    """
    1234567890 12345678910 123456789a 0123456789 0987654321 9876543210 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc
    qwertyuiop qwerty1234 qwerty12345 qwerty123456 asdfghjkl1 zxcvbnm123 abcdefghij abc1234567 abcd123456
    password12 password123 password1234 password12345 passw0rd123 p@ssw0rd123 mypassword iloveyou12
    iloveyou123 letmein123 welcome123 welcome1234 changeme123 administrator admin12345 admin123456
    football123 sunshine123 princess123 superman123 monkey12345 dragon12345 india12345 india@12345
    """.split()  # noqa: SIM905 - read more easily than a list
)
# Checked for an unknown address, so that it takes as long as a known one. It is the hash of no password.
UNKNOWN_USER_HASH = "scrypt:32768:8:1$unknown$" + "0" * 128


class EmailTaken(Exception):
    """The address has an account already."""


def hash_password(password: str) -> str:
    """Slow on purpose: never call it inside a transaction."""
    return generate_password_hash(normalize_password(password))


def normalize_password(password: str) -> str:
    """Keyboards send é as one character or as two: both are the same password."""
    return unicodedata.normalize("NFKC", password)


def is_common_password(password: str, email: str = "") -> bool:
    """Whether it is guessed first: a favourite of the lists, the address itself, or a few keys repeated."""
    low = password.lower()
    return low in COMMON_PASSWORDS or len(set(low)) < 5 or low == email.lower()


def normalize_email(email: str) -> str:
    """One spelling for one mailbox: lower case, composed accents, the domain in Unicode."""
    try:
        found = validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return email.lower()
    return found.normalized.lower()


def sign_up(name: str, email: str, password_hash: str, language: str = "en") -> User:
    """Create a user. Commits.

    :param language: of the emails to them, such as "hi".
    :raises EmailTaken: the unique index has refused the address.
    """
    user = User(
        name=name,
        email=normalize_email(email),
        password_hash=password_hash,
        language=language,
        created_at=db_now(),
    )
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError as error:
        rollback()
        raise EmailTaken from error
    return user


def keep_language(user: User, language: str) -> None:
    """Write to the user in this language from now on. Commits."""
    if user.language != language:
        user.language = language
        db.session.commit()


def find(email: str) -> User | None:
    """The user with this address, in whichever spelling."""
    return db.session.scalar(select(User).where(User.email == normalize_email(email)))


def by_session_key(key: str) -> User | None:
    """The user whose cookie this is; a changed password or a sign-out has ended all earlier keys."""
    return db.session.scalar(select(User).where(User.session_key == key))


def authenticate(email: str, password: str) -> User | None:
    """The user, when address and password match. An unknown address takes as long as a wrong password."""
    user = find(email)
    matches = check_password_hash(
        user.password_hash if user else UNKNOWN_USER_HASH, normalize_password(password)
    )
    return user if matches else None


def sign_out_everywhere(user: User) -> None:
    """End every session of the user: a cookie is a copy that others may have kept. Commits."""
    user.session_key = random_key()
    db.session.commit()


def set_password(user: User, password_hash: str) -> None:
    """Replace the password and end every session. Does not commit."""
    user.password_hash, user.session_key = password_hash, random_key()


# -- a new password by email ------------------------------------------------------------------------


def request_reset(email: str) -> None:
    """Store a reset for the address and have it emailed; an unknown address costs as much work. Commits."""
    user = find(email)
    now = db_now()
    db.session.execute(
        delete(PasswordReset).where(PasswordReset.user_id.is_(None), PasswordReset.expires_at < now)
    )
    reset = add_reset(user)
    if user:
        password_reset_requested.send(current_app_object(), user=user, reset=reset)
    db.session.commit()


def add_reset(user: User | None) -> PasswordReset:
    """Store a reset. Does not commit."""
    now = db_now()
    reset = PasswordReset(
        user_id=user.id if user else None,
        nonce=random_key(),
        created_at=now,
        expires_at=now + RESET_LIFETIME,
    )
    reset.token_hash = hash_token(token_of(reset))
    db.session.add(reset)
    db.session.flush()
    return reset


def token_of(reset: PasswordReset | EmailChange) -> str:
    """The token of the link. It needs SECRET_KEY: the database alone holds a nonce and a hash."""
    key = str(current_app.config["SECRET_KEY"]).encode()
    digest = hmac.new(key, b"password reset " + reset.nonce.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def find_reset(token: str) -> PasswordReset | None:
    """The reset of this link, while the link works."""
    return db.session.scalar(
        select(PasswordReset).where(
            PasswordReset.token_hash == hash_token(token),
            PasswordReset.user_id.is_not(None),
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > db_now(),
        )
    )


def reset_password(token: str, password_hash: str) -> bool:
    """Use the link: the new password, the end of every session and of every other link. Commits.

    :returns: False when the link does not work, or no longer: of two who use it at once, one succeeds.
    """
    reset = find_reset(token)
    if reset is None or reset.user is None:
        return False
    now = db_now()
    open_resets = PasswordReset.user_id == reset.user_id, PasswordReset.used_at.is_(None)
    claim = update(PasswordReset).where(PasswordReset.id == reset.id, *open_resets).values(used_at=now)
    result: Any = db.session.execute(claim)
    if result.rowcount != 1:
        rollback()
        return False
    db.session.execute(update(PasswordReset).where(*open_resets).values(used_at=now))
    set_password(reset.user, password_hash)
    reset.user.email_confirmed_at = reset.user.email_confirmed_at or now
    db.session.commit()
    return True


def current_app_object() -> Flask:
    """The app itself: the sender of our signals."""
    return cast(Flask, current_app._get_current_object())  # type: ignore[attr-defined]


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


# -- operators --------------------------------------------------------------------------------------


def make_operator(user: User) -> str:
    """Give the user the operator's role and replace their password. Commits.

    Signing up with an address does not prove it: the link goes to the person you mean, and everybody who
    knew the old password is signed out.

    :returns: the token of a link to choose a password.
    """
    password_hash = hash_password(secrets.token_urlsafe(32))
    user.is_operator = True
    set_password(user, password_hash)
    reset = add_reset(user)
    db.session.commit()
    return token_of(reset)


def revoke_operator(user: User) -> None:
    """Take the operator's role away. Commits."""
    user.is_operator = False
    db.session.commit()
