"""Static files under addresses with a hash of their content, so that browsers may keep them for a year."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request

ONE_YEAR = "public, max-age=31536000, immutable"


def init_app(app: Flask) -> None:
    app.url_defaults(add_hash)
    app.after_request(cache_by_hash)


def add_hash(endpoint: str, values: dict[str, Any]) -> None:
    """Add `?v=…` to the address of a static file."""
    if endpoint == "static" and (known := content_hash(values["filename"])):
        values["v"] = known


def cache_by_hash(response: Response) -> Response:
    """Only under the current hash: a page from before a release may ask for an old file."""
    if request.endpoint == "static" and response.status_code in (200, 304):
        current = content_hash((request.view_args or {})["filename"])
        if request.args.get("v") == current:
            response.headers["Cache-Control"] = ONE_YEAR
    return response


def content_hash(filename: str) -> str | None:
    """The first 12 hexadecimal digits of the file's SHA-256; None when there is no such file."""
    path = Path(current_app.static_folder or "") / filename
    return _content_hash(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(64)
def _content_hash(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
