"""Requests to our own addresses and the sandbox: never through a proxy where that is this machine."""

from typing import Any

import requests

from storefront.flexprice import is_loopback


def request(
    method: str, url: str, *, timeout: tuple[float, float] = (2, 5), **options: Any
) -> requests.Response:
    """Send one request; it is not redirected.

    :param timeout: seconds to connect, and to wait for each part of the answer.
    :param options: as for `requests.request`.
    :raises requests.RequestException: no answer came.
    """
    with requests.Session() as session:
        session.trust_env = not is_loopback(url)
        return session.request(method, url, timeout=timeout, allow_redirects=False, **options)
