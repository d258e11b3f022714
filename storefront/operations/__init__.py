"""What people who run the shop use: the operator desk, QA checks, go-live checks, health, metrics, commands.

Optional: without this folder and its line in `create_app` the shop still sells.
"""

from typing import Any

from flask import Flask

from storefront.extensions import settings
from storefront.operations import (
    access,
    cli,
    health,
    heartbeat,
    metrics,
    operator,
    preflight,
    qa,
    webhook_rejections,
)


def init_app(app: Flask) -> None:
    """Register the pages /operator, /qa, /healthz and /metrics, the commands and the signal receivers."""
    # Before the CSRF check, whose refusal would tell that there is a form.
    app.before_request_funcs.setdefault(None, []).insert(0, access.operators_only)
    app.context_processor(links)
    for part in (metrics, health, heartbeat, webhook_rejections, operator, qa, preflight, cli):
        part.init_app(app)


def links() -> dict[str, Any]:
    """Which links the layout shows, and what the ribbon says."""
    return {"operator_desk": True, "qa_page": settings().qa_page, "scenario_under_test": qa.under_test}
