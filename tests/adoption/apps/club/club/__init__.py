"""A club's site: members sign in and store documents. It existed before it sold anything."""

import os
from typing import Any

from flask import Flask, request
from flask.wrappers import Response

from club import api, auth, pages
from club.extensions import babel, csrf, db, login, migrate


def create_app(config: dict[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY=os.environ.get("SECRET_KEY", "development only, 32 characters."),
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///club.db"),
        MAX_CONTENT_LENGTH=6 * 1024 * 1024,
        UPLOADS=os.environ.get("UPLOADS", "uploads"),
        CSRF=os.environ.get("CLUB_CSRF", "before"),  # when CSRFProtect is initialized: before, after, off
        DOCUMENTS_HOST="docs.club.test",
    )
    app.config.from_mapping(config or {})
    db.init_app(app)
    migrate.init_app(app, db)
    login.init_app(app)
    babel.init_app(app, locale_selector=lambda: request.accept_languages.best_match(["en", "hi"]))
    if app.config["CSRF"] == "before":
        csrf.init_app(app)
    app.register_blueprint(auth.bp)
    app.register_blueprint(pages.bp)
    app.register_blueprint(api.bp)
    app.register_error_handler(404, pages.not_found)
    app.register_error_handler(500, pages.broken)
    if app.config["CSRF"] == "after":
        csrf.init_app(app)
    csrf.exempt(api.bp)
    app.after_request(security_headers)
    return app


def security_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "default-src 'self'; form-action 'self'"
    response.headers["X-Frame-Options"] = "DENY"
    return response
