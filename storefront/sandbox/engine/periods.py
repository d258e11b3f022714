"""Billing periods."""

import calendar
from datetime import datetime, timedelta

MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "HALF_YEARLY": 6, "ANNUAL": 12}
DAYS = {"DAILY": 1, "WEEKLY": 7}


def period_end(anchor: datetime, start: datetime, period: str, count: int = 1) -> datetime:
    """The end of the period that begins at `start`, without a fraction of a second.

    Months keep the day of the anchor where they have it: 31 January, 28 February, 31 March.
    """
    whole = start.replace(microsecond=0)
    if period in DAYS:
        return whole + timedelta(days=DAYS[period] * count)
    month = start.month - 1 + MONTHS[period] * count
    year, month = start.year + month // 12, month % 12 + 1
    day = min(anchor.day, calendar.monthrange(year, month)[1])
    return whole.replace(year=year, month=month, day=day)
