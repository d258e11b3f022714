"""The one clock everybody can move. Signatures do not look at it: they carry wall time."""

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from storefront.sandbox.store import lever, pull

UNITS = {"s": 1, "m": 60, "h": 3600}


def now(conn: Connection) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=lever(conn, "clock_offset", 0))


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,7})([smh])", text.strip())
    if match is None:
        raise ValueError("say how far, for example 90s, 20m or 2h")
    return int(match[1]) * UNITS[match[2]]


def advance(conn: Connection, text: str) -> datetime:
    pull(conn, "clock_offset", lever(conn, "clock_offset", 0) + seconds(text))
    return now(conn)
