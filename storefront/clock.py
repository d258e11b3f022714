"""The clock of business dates: real time, moved by CLOCK_FILE where the sandbox's clock is the shop's.

Deadlines of payments, and since when and until when a plan may be used, are dates of this clock. Retries,
signatures and sessions are real time. subscriptions/ reads the same file, and can be copied without this one.
"""

from datetime import datetime, timedelta
from pathlib import Path

from flask import current_app

from storefront.checkout.context import db_now


def shop_now() -> datetime:
    """Naive UTC; the database's clock in production."""
    return db_now() + moved_by()


def moved_by() -> timedelta:
    """What the sandbox wrote there, in seconds; nothing without a file, or before its first move."""
    path = current_app.config.get("CLOCK_FILE")
    try:
        return timedelta(seconds=float(Path(path).read_text())) if path else timedelta()
    except (OSError, ValueError, OverflowError):
        return timedelta()
