"""Asks the shop for its half of a verdict."""

import json
import logging
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError

from ...settings import SandboxSettings
from .facts import Shop

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
MAX_BODY_BYTES = 1_000_000
NOT_ASKED, NO_ANSWER = "not asked", "no answer"
HTTP = urllib3.PoolManager(maxsize=4)


def ask(settings: SandboxSettings, **about: str) -> Shop | str:
    """What the shop says of a `customer` (external id) or a `session`.

    :returns: NOT_ASKED without an address and a token; NO_ANSWER if it cannot be read.
    """
    if not settings.shop_qa_url or not settings.qa_token:
        return NOT_ASKED
    url = f"{settings.shop_qa_url}/result.json?{urlencode(about)}"
    headers = {"Authorization": f"Bearer {settings.qa_token}", "Accept": "application/json"}
    try:
        response = HTTP.request(
            "GET",
            url,
            headers=headers,
            timeout=TIMEOUT_S,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        body = response.read(MAX_BODY_BYTES) if response.status == 200 else b""
        response.release_conn()
    except HTTPError as error:
        log.warning("the shop's QA JSON cannot be read: %s", type(error).__name__)
        return NO_ANSWER
    return _parsed(body)


def _parsed(body: bytes) -> Shop | str:
    try:
        found = json.loads(body)
    except ValueError:
        return NO_ANSWER
    return Shop(found) if isinstance(found, dict) else NO_ANSWER
