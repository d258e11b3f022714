"""Letters we owe: written with the sale, posted later."""

import logging
import smtplib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import current_app
from sqlalchemy import Row, Select, select, update

from storefront.database import beside_others, end_reading, insert_or_ignore
from storefront.extensions import db, settings
from storefront.lifesigns import me, unclaimed
from storefront.models import Letter, Order, Shopper, random_key
from storefront.settings import Settings

log = logging.getLogger(__name__)

LONGEST_GAP = timedelta(hours=1)
ABOUT_ORDERS = ("welcome", "payment_failed", "refunded")


def write(kind: str, shopper: Shopper, now: datetime, order: Order | None = None, **facts: Any) -> bool:
    """Owe a letter; False when this order has had one of its kind."""
    return owe(compose(kind, shopper, now, order, **facts))


def owe(letter: dict[str, Any]) -> bool:
    return insert_or_ignore(db.session, Letter, **letter)


def compose(
    kind: str, shopper: Shopper, now: datetime, order: Order | None = None, **facts: Any
) -> dict[str, Any]:
    """The letter, in words; nothing is owed yet."""
    base, templates = settings().storefront_url, current_app.jinja_env
    context: dict[str, Any] = {
        "shopper": shopper,
        "order": order,
        "shop_name": settings().shop_name,
        "account_url": f"{base}/account",
        "members_url": f"{base}/members",
        "retry_url": f"{base}/plans/{order.plan_id}" if order else base,
        **facts,
    }
    current_app.update_template_context(context)  # once for the three, not by `render_template` for each

    def text(name: str) -> str:
        return templates.get_template(f"email/{kind}/{name}").render(context)

    return {
        "shopper_id": shopper.id,
        "order_id": order.id if order else None,
        "kind": kind,
        "recipient": shopper.email,
        "subject": " ".join(text("subject.txt").split()),
        "body_text": text("body.txt"),
        "body_html": text("body.html"),
        "message_id": random_key(),
        "created_at": now,
        "next_try_at": now,
    }


def practise() -> None:
    """Each letter once, for nobody: the first time takes long, and everybody else would wait to write."""
    nobody = Shopper(name="Nobody", email="nobody@example.com")
    order = Order(
        ref=random_key(),
        plan_id="-",
        plan_name="-",
        currency="usd",
        billing_period="MONTHLY",
        amount=Decimal(1),
    )
    for kind in ABOUT_ORDERS:
        compose(kind, nobody, datetime.now(UTC), order)


def of_order(order: Order, kind: str) -> Letter | None:
    return db.session.scalar(select(Letter).where(Letter.order_id == order.id, Letter.kind == kind))


def next_letter(now: datetime, to_claim: bool = False) -> Letter | None:
    due = _due(select(Letter), now).limit(1)
    letter: Letter | None = db.session.scalar(beside_others(due) if to_claim else due)
    return letter


def _due(letters: Select[Any], now: datetime) -> Select[Any]:
    waiting = letters.where(Letter.posted_at.is_(None), Letter.next_try_at <= now, unclaimed(Letter, now))
    return waiting.order_by(Letter.next_try_at)


def are_kept() -> bool:
    """No mail server: letters only stay readable in the shop."""
    return settings().mail_url == "keep:"


def keep(now: datetime, most: int) -> Sequence[Row[int, str]]:
    """Letters that go nowhere are posted by saying so: nothing can happen twice, none need be claimed."""
    due = beside_others(_due(select(Letter.id), now).limit(most))
    kept = (
        update(Letter)
        .where(Letter.id.in_(due.scalar_subquery()))
        .values(posted_at=now, attempts=Letter.attempts + 1, claimed_at=None, claimed_by=None, error=None)
        .returning(Letter.id, Letter.kind)
    )
    return db.session.execute(kept, execution_options={"synchronize_session": False}).all()


def claim(letter: Letter, now: datetime) -> bool:
    """True for the one worker that may post it."""
    result: Any = db.session.execute(
        update(Letter)
        .where(Letter.id == letter.id, Letter.posted_at.is_(None), unclaimed(Letter, now))
        .values(claimed_at=now, claimed_by=me(), attempts=Letter.attempts + 1)
    )
    return bool(result.rowcount)


def give_back(worker: str) -> None:
    """Whoever claimed these cannot go on; they are free at once."""
    db.session.execute(
        update(Letter)
        .where(Letter.claimed_by == worker, Letter.posted_at.is_(None))
        .values(claimed_at=None, claimed_by=None)
    )


def posted(letter: Letter, now: datetime) -> None:
    """It is on its way, whoever else may hold it by now."""
    letter.posted_at, letter.claimed_at, letter.claimed_by, letter.error = now, None, None, None


def not_posted(letter: Letter, error: Exception, now: datetime) -> None:
    gap = min(timedelta(seconds=5) * 2**letter.attempts, LONGEST_GAP)
    db.session.execute(
        update(Letter)
        .where(Letter.id == letter.id, Letter.posted_at.is_(None), Letter.claimed_by == me())
        .values(next_try_at=now + gap, claimed_at=None, claimed_by=None, error=type(error).__name__)
    )


def once_more(letter_id: int, attempts: int, now: datetime) -> bool:
    """Post it now, again if need be. `attempts`: as the operator saw them; a second press finds more."""
    result: Any = db.session.execute(
        update(Letter)
        .where(Letter.id == letter_id, Letter.attempts == attempts, unclaimed(Letter, now))
        .values(posted_at=None, claimed_at=None, claimed_by=None, next_try_at=now)
    )
    return bool(result.rowcount)


def post(letter: Letter, settings: Settings) -> None:
    """Hand the letter to the mail server. Raises OSError or smtplib.SMTPException."""
    email = _as_email(letter, settings.mail_from)
    end_reading()
    with mail_server(settings.mail_url) as server:
        server.send_message(email)


def post_trial(settings: Settings, to: str) -> None:
    """A letter to whoever wants to see that letters arrive. Raises OSError or smtplib.SMTPException."""
    email = EmailMessage()
    email["From"], email["To"] = settings.mail_from, to
    email["Subject"] = f"A trial letter from {settings.shop_name}"
    email.set_content(f"Letters from {settings.storefront_url} arrive.\n")
    with mail_server(settings.mail_url) as server:
        server.send_message(email)


@contextmanager
def mail_server(mail_url: str) -> Iterator[smtplib.SMTP]:
    """The mail server, signed in. Raises OSError or smtplib.SMTPException."""
    where = urlsplit(mail_url)
    secure = where.scheme == "smtps"
    connect = smtplib.SMTP_SSL if secure else smtplib.SMTP
    with connect(where.hostname or "", where.port or (465 if secure else 587), timeout=10) as server:
        if where.username:
            if not secure:
                server.starttls()
            server.login(unquote(where.username), unquote(where.password or ""))
        yield server


def _as_email(letter: Letter, sender: str) -> EmailMessage:
    email = EmailMessage()
    email["From"], email["To"], email["Subject"] = sender, letter.to, letter.subject
    email["Message-ID"] = f"<{letter.message_id}@{sender.rpartition('@')[2].strip('>')}>"
    email.set_content(letter.body_text)
    email.add_alternative(letter.body_html, subtype="html")
    return email
