"""Style, script and picture under addresses that change with what is in them: browsers may keep them."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request

A_YEAR = "public, max-age=31536000, immutable"


def init_app(app: Flask) -> None:
    app.url_defaults(stamp)
    app.after_request(keep)


def stamp(endpoint: str, values: dict[str, Any]) -> None:
    """Adds `?v=…` to every link to a static file."""
    if endpoint == "static" and (known := fingerprint(values["filename"])):
        values["v"] = known


def keep(response: Response) -> Response:
    """For ever, but only under the fingerprint of what is sent: an old page may ask for an old file."""
    if request.endpoint == "static" and response.status_code in (200, 304):
        current = fingerprint((request.view_args or {})["filename"])
        if request.args.get("v") == current:
            response.headers["Cache-Control"] = A_YEAR
    return response


def fingerprint(filename: str) -> str | None:
    path = Path(current_app.static_folder or "") / filename
    return _fingerprint(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(64)
def _fingerprint(path: Path, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
