"""Who is buying, here and in Flexprice."""

from datetime import datetime
from typing import Any

from email_validator import EmailNotValidError, validate_email
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from werkzeug.security import check_password_hash, generate_password_hash

from storefront.extensions import db, settings
from storefront.flexprice import AlreadyExists, Client
from storefront.models import Access, Shopper, random_key

RESET_LASTS = 3600  # seconds
# The favourites of every published list, as far as they are long enough for our form.
GUESSED_FIRST = """
1234567890 12345678910 123456789a 0123456789 0987654321 9876543210 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc
qwertyuiop qwerty1234 qwerty12345 qwerty123456 asdfghjkl1 zxcvbnm123 abcdefghij abc1234567 abcd123456
password12 password123 password1234 password12345 passw0rd123 p@ssw0rd123 mypassword iloveyou12
iloveyou123 letmein123 welcome123 welcome1234 changeme123 administrator admin12345 admin123456
football123 sunshine123 princess123 superman123 monkey12345 dragon12345 india12345 india@12345
"""
# An unknown address takes as long to refuse as a known one: this is as much work, and no password's.
_NOBODY = "scrypt:32768:8:1$nobody$" + "0" * 128
_BY_SESSION_KEY = select(Shopper).where(Shopper.session_key == bindparam("key"))


class EmailTaken(Exception):
    pass


def hash_password(password: str) -> str:
    """Slow on purpose, so never while others wait to write."""
    return generate_password_hash(password)


def sign_up(name: str, email: str, password_hash: str, now: datetime) -> Shopper:
    """Raises EmailTaken."""
    shopper = Shopper(name=name, email=spelling(email), password_hash=password_hash, created_at=now)
    db.session.add(shopper)
    try:
        db.session.flush()
    except IntegrityError as error:  # the unique index is the check
        raise EmailTaken from error
    return shopper


def spelling(email: str) -> str:
    """One letter box, one spelling: lower case, composed accents, the domain as people read it."""
    try:
        found = validate_email(email, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return email.lower()
    return found.normalized.lower()


def is_guessed_first(password: str, email: str = "") -> bool:
    """What everybody tries: the lists' favourites, the address itself, one key held down."""
    low = password.lower()
    return low in GUESSED_FIRST.split() or len(set(low)) < 5 or low == email.lower()


def find(email: str) -> Shopper | None:
    return db.session.scalar(select(Shopper).where(Shopper.email == spelling(email)))


def nobody(email: str) -> Shopper:
    """Stands in for an unknown address, so that it is as much work as a known one. Never kept."""
    return Shopper(name="Nobody", email=email, session_key=random_key())


def by_session_key(key: str) -> Shopper | None:
    return db.session.scalar(_BY_SESSION_KEY, {"key": key})


def authenticate(email: str, password: str) -> Shopper | None:
    shopper = find(email)
    right = check_password_hash(shopper.password_hash if shopper else _NOBODY, password)
    return shopper if right else None


def create_customer(client: Client, shopper: Shopper, patience: float = 4) -> str:
    """Make the shopper known to Flexprice and return their id there; adopts one that exists already."""
    try:
        return client.create_customer(shopper.external_id, shopper.name, shopper.email, patience=patience).id
    except AlreadyExists:
        return client.find_customer(shopper.external_id).id


def reset_token(shopper: Shopper) -> str:
    """Works once: it carries the session key, and a new password renews that."""
    return _resets().dumps(shopper.session_key)


def by_reset_token(token: str) -> Shopper | None:
    return by_session_key(_key_in(token))


def reset_password(token: str, password_hash: str) -> bool:
    """False when the link is worth nothing by now: of two who use it in one moment, one has it."""
    result: Any = db.session.execute(
        update(Shopper)
        .where(Shopper.session_key == _key_in(token))
        .values(password_hash=password_hash, session_key=random_key())
    )
    return bool(result.rowcount)


def _key_in(token: str) -> str:
    try:
        return str(_resets().loads(token, max_age=RESET_LASTS))
    except BadSignature:
        return ""


def set_password(shopper: Shopper, password_hash: str) -> None:
    shopper.password_hash = password_hash
    sign_out(shopper)


def sign_out(shopper: Shopper) -> None:
    """Everywhere: what a cookie or a reset link carries is worth nothing from here on."""
    shopper.session_key = random_key()


def accesses(shopper_id: int, now: datetime) -> list[Access]:
    """What the shopper may use now."""
    rows = db.session.scalars(select(Access).where(Access.shopper_id == shopper_id).order_by(Access.id))
    return [access for access in rows if access.active_at(now)]


def _resets() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings().secret_key, salt="password reset")
