"""The Flask app: settings, database, routes."""

from types import ModuleType

from flask import Flask

from .api import auth, errors, http
from .control import console, faults, rendering, request_log, seeding
from .delivery.dispatcher import Dispatcher
from .settings import SandboxSettings
from .store.control_rows import StoreState
from .store.database import Database, create_store


def create_app(settings: SandboxSettings | None = None) -> Flask:
    """:param settings: read from the environment if left out."""
    settings = settings or SandboxSettings.from_env()
    app = Flask(__name__)
    app.url_map.merge_slashes = False  # Flexprice's router does not redirect a doubled slash
    http.register(app)
    errors.register(app)
    faults.register(app)
    request_log.register(app)
    rendering.register(app)
    _handlers()
    for module in _routes():
        app.register_blueprint(module.bp)
    app.register_blueprint(console.front)
    put_on(app, Database(settings.database_url, settings.clock_file, auth.DEFAULT_STORE), settings)
    return app


def put_on(app: Flask, database: Database, settings: SandboxSettings) -> None:
    """Gives the app its database, its settings and what it keeps in memory, as at every start."""
    app.extensions["sandbox"], app.extensions["sandbox_settings"] = database, settings
    _prepare_default_store(database, settings)
    app.extensions["sandbox_dispatcher"] = Dispatcher(database, settings)
    app.extensions["sandbox_log"] = request_log.Waiting()


def _routes() -> list[ModuleType]:
    """The route modules; each has a blueprint `bp`."""
    from .api import (
        checkout_sessions,
        coupons,
        customer_records,
        customers,
        features,
        invoices,
        payments,
        plan_changes,
        plan_replacements,
        plans,
        portal,
        prices,
        refunds,
        schedules,
        seats,
        subscriptions,
        usage,
        wallets,
    )
    from .api import settings as tenant_settings
    from .control import (
        control_api,
        controls,
        mail,
        message_tools,
        pay,
        plan_admin,
        reference,
        scenario_pages,
        timeline,
    )

    return [
        customers,
        plans,
        prices,
        features,
        checkout_sessions,
        refunds,
        subscriptions,
        invoices,
        payments,
        schedules,
        plan_changes,
        plan_replacements,
        seats,
        wallets,
        usage,
        coupons,
        customer_records,
        portal,
        tenant_settings,
        control_api,
        controls,
        plan_admin,
        mail,
        message_tools,
        timeline,
        reference,
        console,
        scenario_pages,
        pay,
    ]


def _handlers() -> list[ModuleType]:
    """The modules that register handlers of tasks by being imported."""
    from .engine import plan_replacements, razorpay, renewals, session_lifecycle, trials

    return [plan_replacements, razorpay, renewals, session_lifecycle, trials]


def _prepare_default_store(database: Database, settings: SandboxSettings) -> None:
    """The default store's endpoint, secrets and switches are the server's settings, at every start."""
    with database.write(auth.DEFAULT_STORE) as session:
        state = session.get(StoreState, None) or create_store(session, seed=settings.seed)
        state.webhook_url = settings.webhook_url
        state.webhook_secrets = list(settings.webhook_secrets)
        state.defaults, state.seed = auth.default_switches(settings), settings.seed
        seeding.fill(session, settings.seed)
