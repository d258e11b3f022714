"""How a page goes on looking: quickly at first, then every 15 seconds (decision 14)."""

from datetime import datetime
from itertools import accumulate

from flask import request

LADDER = (1, 2, 2, 3, 5, 8, 13, 15)  # seconds between looks
LOOKS_AT = tuple(accumulate(LADDER))


def since(now: datetime) -> int:
    """When this visitor began to watch, in Unix seconds: the page hands it on from look to look."""
    at = int(now.timestamp())
    return min(max(request.args.get("since", at, type=int), at - 3600), at)


def delay(watched: int) -> int:
    """Seconds until the next look, for somebody who has watched for so many seconds."""
    return next((gap for gap, end in zip(LADDER, LOOKS_AT, strict=True) if watched < end), 15)
