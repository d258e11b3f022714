"""What users change about their account: name, email address, password; and deleting it."""

import logging
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from storefront import access
from storefront.accounts import service
from storefront.accounts.service import EmailTaken, current_app_object, normalize_email, token_of
from storefront.accounts.signals import account_deleted, email_change_requested, email_changed
from storefront.checkout.context import PAGE_TIMEOUT_S, ask, db_now, rollback, shop_now
from storefront.extensions import checkout, db
from storefront.flexprice import FlexpriceError
from storefront.models import EmailChange, Order, PasswordReset, User, random_key

log = logging.getLogger(__name__)

CHANGE_LIFETIME = timedelta(hours=24)


def rename(user: User, name: str) -> None:
    """Change the name, here and at Flexprice. Commits."""
    user.name = name
    db.session.commit()
    tell_flexprice(user)


def tell_flexprice(user: User) -> None:
    """Give Flexprice the user's name and address; where it cannot be reached, invoices keep the old ones."""
    try:
        ask(
            checkout.client.update_customer,
            user.key,
            name=user.name,
            email=user.email,
            timeout=PAGE_TIMEOUT_S,
        )
    except FlexpriceError as error:
        rollback()
        log.warning("Flexprice does not know the new name or address of %s: %s", user.key, error)


# -- another email address --------------------------------------------------------------------------


def request_email_change(user: User, email: str) -> None:
    """Have a link emailed to the new address; nothing changes before it is used. Commits.

    :raises EmailTaken: an account has this address.
    """
    if service.find(email) is not None:
        raise EmailTaken
    now = db_now()
    earlier = update(EmailChange).where(EmailChange.user_id == user.id, EmailChange.expires_at > now)
    db.session.execute(earlier.values(expires_at=now))
    change = EmailChange(
        user_id=user.id,
        new_email=normalize_email(email),
        nonce=random_key(),
        created_at=now,
        expires_at=now + CHANGE_LIFETIME,
    )
    change.token_hash = service.hash_token(token_of(change))
    db.session.add(change)
    db.session.flush()
    email_change_requested.send(current_app_object(), user=user, change=change)
    db.session.commit()


def find_email_change(token: str) -> EmailChange | None:
    """The change of this link, while the link works."""
    return db.session.scalar(
        select(EmailChange).where(
            EmailChange.token_hash == service.hash_token(token),
            EmailChange.used_at.is_(None),
            EmailChange.expires_at > db_now(),
        )
    )


def confirm_email_change(change: EmailChange) -> None:
    """Use the link: the account has the new address, and the old one is told. Commits.

    :raises EmailTaken: another account has the address by now.
    """
    user, now = change.user, db_now()
    old_email = user.email
    user.email, user.email_confirmed_at, change.used_at = change.new_email, now, now
    email_changed.send(current_app_object(), user=user, old_email=old_email)
    try:
        db.session.commit()
    except IntegrityError as error:
        rollback()
        raise EmailTaken from error
    tell_flexprice(user)


# -- deleting the account ---------------------------------------------------------------------------


def blocks_deletion(user: User) -> str:
    """ "plan" or "order" where something is active, else empty."""
    if access.active(user, shop_now()):
        return "plan"
    in_use = select(Order.id).where(Order.user_id == user.id, Order.slot.is_not(None))
    return "order" if db.session.scalar(in_use.limit(1)) is not None else ""


def delete_account(user: User) -> bool:
    """Remove the user's name and address everywhere; orders stay, without them. Commits.

    The customer at Flexprice stays, with its invoices.

    :returns: False when a plan or an order is active.
    """
    if blocks_deletion(user):
        rollback()
        return False
    account_deleted.send(current_app_object(), user=user)
    for model in (EmailChange, PasswordReset):
        db.session.execute(delete(model).where(model.user_id == user.id))
    of_user = update(Order).where(Order.user_id == user.id)
    db.session.execute(of_user.values(customer_name=None, customer_email=None))
    user.name, user.email = "Deleted account", f"deleted-{user.key}@deleted.invalid"
    user.email_confirmed_at, user.is_operator, user.deleted_at = None, False, db_now()
    user.password_hash, user.session_key = "", random_key()
    db.session.commit()
    return True
