"""The clock of a store, which can be moved. Signatures do not use it: they carry wall time."""

import re
from datetime import UTC, datetime, timedelta

from ..store.database import Session

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_STEP = timedelta(days=366)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def parse_step(text: str) -> timedelta:
    """`90s`, `20m`, `18h` or `31d`.

    :raises ValueError: it is none of these, or longer than a year.
    """
    match = re.fullmatch(r"(\d{1,8})([smhd])", text.strip())
    step = timedelta(seconds=int(match[1]) * UNITS_S[match[2]]) if match else LONGEST_STEP * 2
    if step > LONGEST_STEP:
        raise ValueError("send a step such as 90s, 20m, 2h or 31d; at most a year")
    return step


def move_to(session: Session, moment: datetime) -> datetime:
    """Sets the store's clock; nothing that falls due is done here.

    :raises ValueError: beyond the year 2200.
    """
    if moment > LATEST:
        raise ValueError("the clock ends with the year 2199")
    session.state.clock_offset_s = (moment - datetime.now(UTC)).total_seconds()
    return session.now()
