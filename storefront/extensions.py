"""The database, the sign-in, the form guard and the Flexprice client, as the others find them."""

from pathlib import Path
from typing import cast

from flask import current_app
from flask_login import LoginManager
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect

from storefront.catalog import Catalog
from storefront.flexprice import Client, SharedHeader, Verifier
from storefront.models import Base
from storefront.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"

db = SQLAlchemy(metadata=Base.metadata)
login = LoginManager()
csrf = CSRFProtect()


def settings() -> Settings:
    return cast(Settings, current_app.config["SETTINGS"])


def flexprice() -> Client:
    return cast(Client, current_app.extensions["flexprice"])


def catalog() -> Catalog:
    return cast(Catalog, current_app.extensions["catalog"])


def verifier() -> Verifier | None:
    """None where Flexprice signs nothing and no secret is set; then there is a shared header."""
    return cast("Verifier | None", current_app.extensions["verifier"])


def shared_header() -> SharedHeader | None:
    return cast("SharedHeader | None", current_app.extensions["shared_header"])
