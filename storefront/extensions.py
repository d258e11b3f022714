"""The Flask extensions of the demo shop, made once and bound to each app in `create_app`."""

import logging
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import cast

from flask import Flask, current_app, g, request
from flask_babel import Babel
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from storefront.checkout import Checkout
from storefront.checkout.context import host_of
from storefront.settings import Settings

log = logging.getLogger(__name__)
HOLD_IPV4 = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))
MIGRATIONS = Path(__file__).parent / "migrations"


class Base(DeclarativeBase):
    """The base of every model of the shop. Its constraints have names, so that migrations can alter them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class SameOriginCSRF(CSRFProtect):
    """Accepts a form that the browser says comes from this shop; any other form needs its token.

    `Sec-Fetch-Site` and `Origin` prove as much as the token does, and they survive a sign-in or a sign-out in
    another tab, after which the token of an open form no longer fits.
    """

    def protect(self, apply_exemptions: bool = False) -> None:
        if is_same_origin():
            g.csrf_valid = True
        else:
            super().protect(apply_exemptions=apply_exemptions)


def is_same_origin() -> bool:
    """Whether the browser says that this request comes from a page of this shop."""
    if site := request.headers.get("Sec-Fetch-Site"):
        return site == "same-origin"
    origin = host_of(request.headers.get("Origin"))
    return origin != "" and origin == request.host


def client_network() -> str:
    """Where the request comes from, as rate limits count it: an IPv4 address, or an IPv6 network.

    A household has 2^64 addresses of IPv6. A server that listens on IPv6 sees IPv4 as ::ffff:192.0.2.1, and
    behind NAT64 as 64:ff9b::192.0.2.1. Proxies may add a port, as in 192.0.2.1:4711 or [2001:db8::1]:443.
    """
    text = (request.remote_addr or "").strip()
    host = text.partition("]")[0].lstrip("[") if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host.partition("%")[0])  # without the name of a network card
    except ValueError:
        log.warning("A client's address cannot be read: %r", text[:100])
        return "unknown"
    if isinstance(address, IPv6Address) and any(address in network for network in HOLD_IPV4):
        address = IPv4Address(int(address) & 0xFFFFFFFF)
    return str(ip_network((address, 64), strict=False) if isinstance(address, IPv6Address) else address)


checkout = Checkout()
db = SQLAlchemy(model_class=Base)
migrate = Migrate()
login = LoginManager()
csrf = SameOriginCSRF()
babel = Babel()
limiter = Limiter(client_network)  # storage and strategy: RATELIMIT_* in the app's configuration


def init_app(app: Flask) -> None:
    """Bind all but `checkout` (see create_app) and `babel` (bound by web/, which chooses the language)."""
    db.init_app(app)
    migrate.init_app(app, db, directory=str(MIGRATIONS), command="db")
    login.init_app(app)
    csrf.init_app(app)
    limiter.init_app(app)


def settings() -> Settings:
    """The settings of the current app."""
    return cast(Settings, current_app.config["SETTINGS"])
