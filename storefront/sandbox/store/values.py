"""Ids, times and amounts as Flexprice writes them."""

import hashlib
import secrets
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
ULID_RANDOM_BITS = 80

_last_ulid = 0
_ulid_lock = threading.Lock()


def ulid() -> str:
    """A 26-character ULID; within one process each is greater than the one before."""
    global _last_ulid
    number = (time.time_ns() // 1_000_000 << ULID_RANDOM_BITS) | secrets.randbits(ULID_RANDOM_BITS)
    with _ulid_lock:
        _last_ulid = number = max(number, _last_ulid + 1)
    return "".join(CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_id(prefix: str) -> str:
    return f"{prefix}_{ulid()}"


def stable_id(prefix: str, name: str) -> str:
    """An id derived from a name, so that seeded plans keep theirs after a reset."""
    digest = hashlib.sha256(f"{prefix}/{name}".encode()).digest()
    return f"{prefix}_01" + "".join(CROCKFORD[byte % 32] for byte in digest[:24])


def random_text(length: int) -> str:
    """Letters and digits, as in the ids of Razorpay and Svix."""
    return "".join(secrets.choice(ALPHANUMERIC) for _ in range(length))


def rfc3339(moment: datetime) -> str:
    """UTC with Z; trailing zeros of the fraction are dropped, as Go does."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text.rstrip("0").rstrip(".") + "Z"


def optional_time(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def decimal_text(amount: Decimal) -> str:
    """Major units without trailing zeros: 499, 499.5."""
    return format(amount.normalize(), "f") if amount else "0"
