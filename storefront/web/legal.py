"""Terms, privacy, refunds and contact: short texts in templates/legal/, to be replaced by your own."""

from flask import Blueprint, render_template, request

bp = Blueprint("legal", __name__)


def page() -> str:
    return render_template(f"legal{request.path}.html")


for name in ("terms", "privacy", "refunds", "contact"):
    bp.add_url_rule(f"/{name}", name, page)
