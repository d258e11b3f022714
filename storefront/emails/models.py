"""The outbox."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storefront.extensions import db
from storefront.models import EmailChange, Order, PasswordReset, User, random_key


class Email(db.Model):  # type: ignore[name-defined]
    """An email to send: what it is about, and nothing rendered. It is rendered when it is sent or read."""

    __tablename__ = "emails"
    __table_args__ = (UniqueConstraint("order_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))  # a folder of templates/email/
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    order_id: Mapped[int | None] = mapped_column(ForeignKey("checkout_orders.id"))
    password_reset_id: Mapped[int | None] = mapped_column(ForeignKey("password_resets.id"))
    email_change_id: Mapped[int | None] = mapped_column(ForeignKey("email_changes.id"))
    about: Mapped[str | None] = mapped_column(String(300), unique=True)  # the fact of a plan or an invoice
    details: Mapped[str | None] = mapped_column(Text)  # of that fact, as JSON
    recipient: Mapped[str | None] = mapped_column(String(320))  # None: the user's own address
    message_key: Mapped[str] = mapped_column(String(32), unique=True, default=random_key)  # of the Message-ID
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]  # not sent after this
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(index=True)  # None: sent, or given up
    sent_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]  # given up: refused for good, or expired
    error: Mapped[str | None] = mapped_column(Text)  # of the last attempt

    user: Mapped[User] = relationship()
    order: Mapped[Order | None] = relationship()
    password_reset: Mapped[PasswordReset | None] = relationship()
    email_change: Mapped[EmailChange | None] = relationship()

    @property
    def to(self) -> str:
        """Where it is sent."""
        return self.recipient or self.user.email

    @property
    def topic(self) -> str:
        """The fact that it tells of a plan or an invoice, such as "invoice_ready"; else its kind."""
        return self.about.partition(" ")[0] if self.about else self.kind

    @property
    def state(self) -> str:
        """ "sent", "failed" or "queued"."""
        return "sent" if self.sent_at else "failed" if self.failed_at else "queued"
