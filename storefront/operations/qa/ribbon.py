"""The ribbon: which test scenario of the sandbox is under test. Outside production only."""

import logging
import time
from threading import Lock
from typing import Any

import requests

from storefront.extensions import settings
from storefront.http import request

log = logging.getLogger(__name__)

TIMEOUT_S = (0.3, 1.0)  # to connect, to read
KEEP_S, KEEP_FAILURE_S = 2.0, 10.0


class Ribbon:
    """What the sandbox said last; a page asks at most every two seconds."""

    def __init__(self) -> None:
        self._known: dict[str, str] | None = None
        self._ask_at_s, self._lock = 0.0, Lock()

    def current(self) -> dict[str, str] | None:
        """`title` and `url` of the scenario under test; None: there is none, or no sandbox."""
        shop = settings()
        if shop.production or not shop.sandbox_url:
            return None
        if time.monotonic() >= self._ask_at_s and self._lock.acquire(blocking=False):
            try:
                self._known = self._asked(f"{shop.sandbox_url}/_sandbox/scenarios/current?brief=1")
            finally:
                self._lock.release()
        return self._known

    def forget(self) -> None:
        """Ask again with the next page."""
        self._ask_at_s = 0.0

    def _asked(self, url: str) -> dict[str, str] | None:
        self._ask_at_s = time.monotonic() + KEEP_FAILURE_S
        try:
            found: Any = request("GET", url, timeout=TIMEOUT_S).json()
        except (requests.RequestException, ValueError) as error:
            log.info("The sandbox does not say what is under test: %s", type(error).__name__)
            return None
        self._ask_at_s = time.monotonic() + KEEP_S
        if not isinstance(found, dict) or not str(found.get("url", "")).startswith(("http://", "https://")):
            return None
        return {"title": str(found.get("title", "")), "url": str(found["url"])}
