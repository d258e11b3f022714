"""The demo's own tables, and the two of checkout/ on the demo's `db`. Times are UTC without a zone."""

import secrets
from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storefront.checkout import OrderMixin, WebhookEventMixin
from storefront.extensions import db

MAX_NAME_CHARS = 80


def random_key() -> str:
    """128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


class User(UserMixin, db.Model):  # type: ignore[name-defined]
    """Somebody with an account: a shopper, or an operator of the shop."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(32), unique=True, default=random_key)  # Flexprice's external_id
    email: Mapped[str] = mapped_column(
        String(320), unique=True
    )  # as accounts.service.normalize_email writes it
    email_confirmed_at: Mapped[datetime | None]  # they opened a link that we emailed to this address
    name: Mapped[str] = mapped_column(String(MAX_NAME_CHARS))
    password_hash: Mapped[str] = mapped_column(String(255))
    # In the session cookie instead of the id: a new one signs the user out everywhere.
    session_key: Mapped[str] = mapped_column(String(32), unique=True, default=random_key)
    is_operator: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str] = mapped_column(String(8), default="en")  # of the emails: "en", "hi"
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]  # name, email and password are gone; orders refer to the row

    def get_id(self) -> str:
        return self.session_key


class PasswordReset(db.Model):  # type: ignore[name-defined]
    """A link to choose a new password: single use, kept as a hash, valid until `expires_at`."""

    __tablename__ = "password_resets"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)  # None: unknown address
    nonce: Mapped[str] = mapped_column(String(32), default=random_key)  # makes the token, with SECRET_KEY
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship()


class EmailChange(db.Model):  # type: ignore[name-defined]
    """A link to confirm another email address: single use, kept as a hash, valid until `expires_at`."""

    __tablename__ = "email_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    new_email: Mapped[str] = mapped_column(String(320))
    nonce: Mapped[str] = mapped_column(String(32), default=random_key)  # makes the token, with SECRET_KEY
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()


class Order(OrderMixin, db.Model):  # type: ignore[name-defined]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)

    user: Mapped[User] = relationship()


class WebhookEvent(WebhookEventMixin, db.Model):  # type: ignore[name-defined]
    pass


class OrderTransition(db.Model):  # type: ignore[name-defined]
    """The history of an order: one row for each transition, appended in its transaction."""

    __tablename__ = "order_transitions"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("checkout_orders.id"), index=True)
    from_state: Mapped[str] = mapped_column(String(20))
    to_state: Mapped[str] = mapped_column(String(20))
    trigger: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(320))  # a webhook event, the worker, a page, an operator


class PlanAccess(db.Model):  # type: ignore[name-defined]
    """What a user may use: one row per plan, granted again when the plan is bought again."""

    __tablename__ = "plan_access"
    __table_args__ = (UniqueConstraint("user_id", "plan_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    plan_id: Mapped[str] = mapped_column(String(255))
    plan_name: Mapped[str] = mapped_column(String(255))
    order_id: Mapped[int] = mapped_column(ForeignKey("checkout_orders.id"), index=True)
    granted_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]  # an invoice is overdue: access comes back when it is paid

    user: Mapped[User] = relationship()
    order: Mapped[Order] = relationship()

    def active_at(self, now: datetime) -> bool:
        """Whether the plan may be used at `now`: not ended, not suspended, and before its scheduled end."""
        ends_at = self.order.access_ends_at
        return self.revoked_at is None and self.suspended_at is None and (ends_at is None or now < ends_at)
