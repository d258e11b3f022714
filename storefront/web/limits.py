"""How often a door may be knocked at. The webhook is not here: what Flexprice says is never turned away."""

import hashlib
import time
from collections.abc import Callable
from functools import wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from flask import Flask, Response, request, session
from flask_limiter import Limiter, RateLimitExceeded

from storefront.settings import Settings


def network() -> str:
    """Where the request comes from. A household of IPv6 has 2^64 addresses, so its network counts as one."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:
        return "somewhere"
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def visitor() -> str:
    """The signed-in browser; somebody who is not signed in counts with their network."""
    key = session.get("_user_id")
    return _fingerprint(key) if key else network()


def named_account() -> str:
    """The address that was typed in, whether it has an account or not."""
    return _fingerprint(request.form.get("email", "").strip().lower())


def named_account_from_here() -> str:
    return f"{named_account()} {network()}"


def _fingerprint(text: str) -> str:
    """Keys are stored and logged: neither place needs an address or a session."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refused(response: Response) -> bool:
    return response.status_code == 422


class Rate(NamedTuple):
    most: str
    of: Callable[[], str]
    counts: Callable[[Response], bool] | None = None  # all requests, if nothing is said
    scope: str | None = None  # doors with one scope are counted together


ORDER = Rate("120 per minute", visitor, scope="orders")  # six tabs that poll by the ladder stay below half
QA = Rate("120 per minute", visitor, scope="qa")

LIMITS: dict[str, tuple[Rate, ...]] = {
    "account.do_sign_in": (
        Rate("10 per 15 minutes", named_account_from_here, refused),  # one person guesses at another
        Rate("50 per hour", named_account, refused),  # many machines guess at one account
        Rate("60 per hour", network, refused),  # one machine guesses at many accounts
    ),
    "account.do_sign_up": (Rate("20 per hour", network),),
    "account.send_reset": (
        Rate("3 per hour", named_account),  # nobody's letter box is filled
        Rate("20 per hour", network),
    ),
    "account.do_reset_password": (Rate("20 per hour", network),),
    "checkout.start": (Rate("20 per minute; 100 per hour", visitor),),
    "orders.success": (ORDER,),
    "orders.failure": (ORDER,),
    "orders.status": (ORDER,),
    "orders.cancel": (ORDER,),
    "orders.start_again": (ORDER,),
    "qa.index": (QA,),
    "qa.rows": (QA,),
    "qa.show": (QA,),
    "qa.live": (QA,),
    "qa.result": (QA,),
    "qa.result_of_all": (QA,),
}


def init_app(app: Flask) -> None:
    shop: Settings = app.config["SETTINGS"]
    if shop.rate_limits == "off":
        return
    store = "memory://" if shop.rate_limits == "memory:" else shop.rate_limits
    quick: dict[str, str | int] = {"socket_connect_timeout": 1, "socket_timeout": 1}
    limiter = Limiter(
        network,
        app=app,
        storage_uri=store,
        storage_options=quick if store.startswith(("redis", "valkey")) else {},
        strategy="moving-window" if not store.startswith("memcached") else "fixed-window",
        in_memory_fallback_enabled=True,  # a store that is down lets each process count for itself
    )
    for endpoint, rates in LIMITS.items():
        view = app.view_functions[endpoint]
        for rate in rates:
            view = _limited(limiter, rate)(view)
        app.view_functions[endpoint] = _says_when(limiter, view)


def _limited(limiter: Limiter, rate: Rate) -> Callable[[Any], Any]:
    if rate.scope:
        return limiter.shared_limit(rate.most, rate.scope, key_func=rate.of)
    return limiter.limit(rate.most, key_func=rate.of, deduct_when=rate.counts)


def _says_when(limiter: Limiter, view: Callable[..., Any]) -> Callable[..., Any]:
    """A refusal carries how many seconds it lasts."""

    @wraps(view)
    def door(**values: Any) -> Any:
        try:
            return view(**values)
        except RateLimitExceeded as error:
            ends = limiter.current_limit.reset_at if limiter.current_limit else 0
            error.retry_after = max(1, int(ends - time.time()))
            raise

    return door
