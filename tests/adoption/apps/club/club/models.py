"""Members and their documents."""

from datetime import datetime

from flask_login import UserMixin
from sqlalchemy import ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from club.extensions import db, login


class Member(UserMixin, db.Model):
    __tablename__ = "members"

    id: Mapped[int] = mapped_column(primary_key=True)
    full_name: Mapped[str] = mapped_column(String(80))
    mail: Mapped[str] = mapped_column(String(120), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    plan: Mapped[str | None] = mapped_column(String(255))  # what they have paid for
    joined_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Document(db.Model):
    __tablename__ = "documents"

    id: Mapped[int] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int]


@login.user_loader
def load_member(member_id: str) -> Member | None:
    return db.session.get(Member, int(member_id))
