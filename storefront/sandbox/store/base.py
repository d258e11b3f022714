"""What all rows have in common."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, String
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from .types import Moment, Money

Json = dict[str, Any]
USER = "user_sandbox"  # who made a row, in every answer


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """A row of one store; `Session.add` fills in the store's name."""

    type_annotation_map = {
        datetime: Moment(),
        Decimal: Money(),
        Json: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }

    # First of the columns, so that a primary key is always (store, …).
    store: Mapped[str] = mapped_column(String(64), primary_key=True, init=False, default="", sort_order=-1)


class Record(Base, kw_only=True):
    """A row that the API shows: with an id, a row status, and who wrote it when."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(default="published")  # published, archived, deleted
    created_by: Mapped[str] = mapped_column(default=USER)
    updated_by: Mapped[str] = mapped_column(default=USER)
