"""The outbox: which emails are owed, and when each is tried again (the outbox pattern).

The receivers run in the transaction of the order: they add rows and call nobody. A rollback owes nothing.
"""

import json
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import delete, select

from storefront.accounts.changes import CHANGE_LIFETIME
from storefront.accounts.service import RESET_LIFETIME
from storefront.checkout import State, Trigger
from storefront.checkout.context import backoff, db_now
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.models import EmailChange, Order, PasswordReset, User

LIFETIME = timedelta(days=5)  # a mail server that is away for longer has lost its emails
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=10), timedelta(hours=1)
KINDS = {State.FULFILLED: "welcome", State.REFUNDED: "refunded", State.PAID_LATE: "refunded"}


def enqueue_for_order(_app: Flask, order: Order, to_state: State, trigger: Trigger, **_: Any) -> None:
    """Owe the email of this transition, once for each order and kind."""
    kind = "payment_failed" if trigger == Trigger.PAYMENT_FAILED else KINDS.get(to_state)
    if order.user.deleted_at is not None:  # there is no address any more
        return
    if kind is None or trigger == Trigger.CLOSED:  # closed by hand: the operator writes what there is to say
        return
    known = select(Email.id).where(Email.order_id == order.id, Email.kind == kind)
    if db.session.scalar(known) is None:
        add(Email(kind=kind, user_id=order.user_id, order_id=order.id), LIFETIME)


def enqueue_password_reset(_app: Flask, user: User, reset: PasswordReset, **_: Any) -> None:
    """Owe the email with the link; a link that has expired is not sent."""
    add(Email(kind="password_reset", user_id=user.id, password_reset_id=reset.id), RESET_LIFETIME)


def enqueue_email_change(_app: Flask, user: User, change: EmailChange, **_: Any) -> None:
    """Owe the email with the link, to the new address."""
    of = {"user_id": user.id, "email_change_id": change.id, "recipient": change.new_email}
    add(Email(kind="confirm_email", **of), CHANGE_LIFETIME)


def enqueue_email_changed(_app: Flask, user: User, old_email: str, **_: Any) -> None:
    """Tell the old address that it is no longer the account's."""
    add(Email(kind="email_changed", user_id=user.id, recipient=old_email), LIFETIME)


def enqueue_billing_news(
    _app: Flask, user: User, fact: str, about: str, details: dict[str, str], **_: Any
) -> None:
    """Owe the email about a fact of a plan or an invoice, once."""
    known = select(Email.id).where(Email.about == about)
    if user.deleted_at is None and db.session.scalar(known) is None:
        told = json.dumps(details | {"fact": fact})
        add(Email(kind="billing", user_id=user.id, about=about, details=told), LIFETIME)


def remove_all(_app: Flask, user: User, **_: Any) -> None:
    """The account is deleted: what was emailed to it is removed, and nothing more is sent."""
    db.session.execute(delete(Email).where(Email.user_id == user.id))


def add(email: Email, lifetime: timedelta) -> None:
    """Add a row to the current transaction."""
    now = db_now()
    email.created_at, email.next_attempt_at, email.expires_at = now, now, now + lifetime
    db.session.add(email)


def mark_sent(email: Email) -> None:
    email.sent_at, email.next_attempt_at, email.failed_at, email.error = db_now(), None, None, None


def give_up(email: Email, reason: str) -> None:
    """No further attempt: shown to operators, who can send it again."""
    email.failed_at, email.next_attempt_at, email.error = db_now(), None, reason


def retry_later(email: Email, reason: str) -> None:
    """Wait twice as long as before the last attempt, at most an hour."""
    gap = backoff(email.attempts, FIRST_RETRY, LONGEST_RETRY)
    email.next_attempt_at, email.error = db_now() + gap, reason


def send_again(email_id: int, attempts: int) -> bool:
    """For an operator: send it now, also when it was sent or given up. Commits.

    :param attempts: as the operator saw them: a second click finds more and does nothing.
    :returns: whether it was scheduled.
    """
    now = db_now()
    email = db.session.get(Email, email_id, with_for_update=True)
    scheduled = email is not None and email.attempts == attempts and (email.state != "queued" or attempts > 0)
    if email is not None and scheduled:
        email.sent_at, email.failed_at, email.next_attempt_at = None, None, now
        if email.password_reset is None:  # a link's own time is not extended
            email.expires_at = now + LIFETIME
    db.session.commit()
    return scheduled
