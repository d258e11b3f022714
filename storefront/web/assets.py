"""Static files under addresses that change with their content, so that browsers may keep them for a year."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

FOR_A_YEAR = "public, max-age=31536000, immutable"


def init_app(app: Flask) -> None:
    folder = Path(app.static_folder or "")

    @app.url_defaults
    def name_the_content(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and (version := fingerprint(folder / values["filename"])):
            values["v"] = version

    @app.after_request
    def keep(response: Response) -> Response:
        """Only under the right name: another process may already have newer files, or still older ones."""
        if request.endpoint == "static" and response.status_code in (200, 304):
            file = folder / (request.view_args or {}).get("filename", "")
            if request.args.get("v") == fingerprint(file):
                response.headers["Cache-Control"] = FOR_A_YEAR
        return response


def fingerprint(file: Path) -> str:
    """Empty for what is no file."""
    try:
        return _fingerprint(file, file.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=256)
def _fingerprint(file: Path, changed_at: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
