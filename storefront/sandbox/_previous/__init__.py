"""A practice Flexprice, with its payment page and its webhooks; it shares no code with the shop.

What no source says and we decided ourselves is marked [infer], see docs/fidelity.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from storefront.sandbox._previous.settings import SandboxSettings

ROOT = Path(__file__).resolve().parents[3]


def create_app(settings: "SandboxSettings | None" = None) -> "Flask":
    from flask import Flask

    from storefront.sandbox._previous import (
        catalog,
        cli,
        console,
        controls,
        customers,
        errors,
        faults,
        guide,
        offers,
        pay,
        records,
        sessions,
        shelf,
        switches,
    )
    from storefront.sandbox._previous.senders import Senders
    from storefront.sandbox._previous.settings import SandboxSettings
    from storefront.sandbox._previous.store import Store

    settings = settings or SandboxSettings.from_env()
    app = Flask(__name__, template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
    app.url_map.merge_slashes = False  # Flexprice's router redirects nobody who writes two
    app.extensions["sandbox"] = store = Store(settings.database_url)
    app.extensions["sandbox_settings"] = settings
    app.extensions["sandbox_senders"] = Senders(store, settings)
    with store.writing() as conn:
        catalog.seed(conn)

    errors.register(app)
    for door in (customers, offers, sessions, records, pay, controls, switches, shelf, console, guide):
        app.register_blueprint(door.bp)
    app.register_blueprint(console.front)
    faults.register(app)
    for command in cli.COMMANDS:
        app.cli.add_command(command)
    return app
