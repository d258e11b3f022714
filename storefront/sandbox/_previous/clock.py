"""The one clock everybody can move. Signatures do not look at it: they carry wall time."""

import re
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from storefront.sandbox._previous.store import lever, pull

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FARTHEST = 366 * 86400  # in one step
END = datetime(2200, 1, 1, tzinfo=UTC)


def now(conn: Connection) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=lever(conn, "clock_offset", 0))


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,7})([smhd])", text.strip())
    found = int(match[1]) * UNITS[match[2]] if match else FARTHEST + 1
    if found > FARTHEST:
        raise ValueError("say how far, for example 90s, 20m, 2h or 31d; a year at most")
    return found


def advance(conn: Connection, text: str) -> datetime:
    """In one jump: what falls due on the way is done late, as after a night with the lid closed."""
    return move_to(conn, now(conn) + timedelta(seconds=seconds(text)))


def move_to(conn: Connection, moment: datetime) -> datetime:
    if moment > END:
        raise ValueError("that is farther than this clock goes")
    pull(conn, "clock_offset", (moment - datetime.now(UTC)).total_seconds())
    return now(conn)
