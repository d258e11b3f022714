"""Who calls: an API key names a store and a role. The checks run in Flexprice's order."""

import hmac
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import NotFound

from ..engine import switches
from ..settings import SandboxSettings
from ..store.control_rows import StoreState
from ..store.database import STORE_NAME, Database, Session, create_store
from ..store.housekeeping import remove_unused
from .serializers.common import ENVIRONMENT_ID

DEFAULT_STORE = "default"
KEY_PREFIX = "sk_sandbox_"
READ_ONLY, OPERATOR = "_read_only", "_operator"
USED_AT_STEP_S = 60.0  # how exactly the last use of a store is kept

NEWEST_ONLY: set[Callable[..., Any]] = set()  # views that legacy does not have


class Caller(NamedTuple):
    store: str
    role: str  # "", READ_ONLY or OPERATOR


def settings() -> SandboxSettings:
    found: SandboxSettings = current_app.extensions["sandbox_settings"]
    return found


def database() -> Database:
    found: Database = current_app.extensions["sandbox"]
    return found


def newest_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """A route that the legacy generation answers with a plain 404."""
    NEWEST_ONLY.add(view)
    return view


def caller(key: str) -> Caller | None:
    """The store and role of `sk_sandbox_<name>` or the configured key; None for every other key."""
    role = next((role for role in (READ_ONLY, OPERATOR) if key.endswith(role)), "")
    base = key.removesuffix(role)
    if hmac.compare_digest(base.encode(), settings().api_key.encode()):
        return Caller(DEFAULT_STORE, role)
    name = base.removeprefix(KEY_PREFIX)
    return Caller(name, role) if base.startswith(KEY_PREFIX) and STORE_NAME.fullmatch(name) else None


def ensure_store(name: str) -> None:
    """Makes the store on its first use; one that was unused the longest may have to go for it."""
    if database().known(name):
        return
    remove_unused(database(), keep=DEFAULT_STORE, room_for=1)
    with database().write(name) as session:
        if session.get(StoreState, None) is None:
            state = create_store(session)
            state.defaults = default_switches(settings())


def default_switches(chosen: SandboxSettings) -> dict[str, Any]:
    return {
        "generation": chosen.generation,
        "webhook_signing": chosen.webhook_signing,
        "webhook_retries": chosen.webhook_retries,
    }


@contextmanager
def reading() -> Iterator[Session]:
    """The caller's store, for reading; from a lagging replica where a fault asks for it."""
    with database().read(g.store) as session:
        session.lag = g.get("lag")
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """The caller's store, for one transaction."""
    with database().write(g.store) as session:
        session.link_base = link_base()
        yield session


def link_base() -> str:
    """Where payment links begin: the configured URL, else the host that was called."""
    return settings().url or request.host_url.rstrip("/")


def v1(name: str, module: str) -> Blueprint:
    """A blueprint below /v1 that asks for a key."""
    blueprint = Blueprint(name, module, url_prefix="/v1")
    blueprint.before_request(authenticate)
    return blueprint


def authenticate() -> tuple[Response, int] | None:
    """Route, key, environment, tenant, role, in this order."""
    key = caller(request.headers.get("x-api-key", ""))
    _refuse_newest_only(key.store if key else DEFAULT_STORE)
    if key is None:
        g.store = DEFAULT_STORE
        return jsonify({"error": _why_not(request.headers.get("Authorization"))}), 401
    g.store = key.store
    ensure_store(key.store)
    view = database().view(key.store)
    if view is None or time.time() - view.used_at > USED_AT_STEP_S:
        note_use(key.store)
    tenant = switches.read_of(view, "tenant") if view else "active"
    return _forbidden(key.role, tenant)


def _refuse_newest_only(store: str) -> None:
    """Legacy answers a route of the newest generation as it answers any unknown one, whatever the key."""
    if current_app.view_functions[request.endpoint or ""] not in NEWEST_ONLY:
        return
    ensure_store(store)
    view = database().view(store)
    if view and switches.read_of(view, "generation") == "legacy":
        raise NotFound


def note_use(store: str) -> None:
    """Keeps the store from being removed as unused."""
    with database().write(store) as session:
        session.state.used_at = time.time()


def _forbidden(role: str, tenant: str) -> tuple[Response, int] | None:
    if role == OPERATOR and request.headers.get("X-Environment-ID") != ENVIRONMENT_ID:
        return jsonify({"error": "Access denied", "message": "Invalid or inaccessible environment"}), 403
    if is_read():
        return None
    if tenant == "suspended":
        return jsonify({"message": "tenant account is suspended"}), 403
    if role == READ_ONLY:
        return jsonify({"message": "insufficient permissions"}), 403
    return None


def is_read() -> bool:
    """Routes without a role check: GET, `…/search` and `…/preview`."""
    return request.method == "GET" or request.path.endswith(("/search", "/preview"))


def _why_not(authorization: str | None) -> str:
    """Flexprice takes only a dashboard's token as Bearer, never an API key."""
    if not authorization:
        return "Unauthorized"
    if not authorization.startswith("Bearer "):
        return "Invalid authorization header format"
    is_jwt = re.fullmatch(r"Bearer [\w-]+\.[\w-]+\.[\w-]*", authorization)
    return "Invalid token claims" if is_jwt else "Invalid token"
