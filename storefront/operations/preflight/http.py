"""How the checks ask: never through a proxy where the address is this machine, and never redirected."""

from typing import Any

import requests

from storefront.settings import is_loopback


def request(method: str, url: str, *, read_timeout_s: float = 5, **options: Any) -> requests.Response:
    """Send one request.

    :param options: as for `requests.request`.
    :raises requests.RequestException: no answer came.
    """
    with requests.Session() as session:
        session.trust_env = not is_loopback(url)
        return session.request(method, url, timeout=(2, read_timeout_s), allow_redirects=False, **options)
