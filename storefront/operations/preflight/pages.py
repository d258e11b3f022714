"""The report of the go-live checks, for operators. It only looks; what acts is left to the command."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from storefront.operations import emails
from storefront.operations.preflight import report as checks
from storefront.operations.preflight.result import FAILS

bp = Blueprint("preflight", __name__, url_prefix="/operator/preflight", template_folder="../templates")


@bp.get("")
def report() -> ResponseReturnValue:
    results = checks.run(act=False)
    failed = sum(result.status == FAILS for result in results)
    return render_template(
        "operator/preflight.html", results=results, failed=failed, has_emails=emails.in_use()
    )
