"""The doctor's report for operators. A page only looks: what knocks at doors is left to the command."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, abort, render_template
from flask_login import current_user, login_required

from storefront import doctor, worker

bp = Blueprint("doctor", __name__, url_prefix="/operator/doctor")


@bp.get("")
@login_required
def report() -> Any:
    if not current_user.is_operator:
        abort(404)
    now = datetime.now(UTC)
    lines = doctor.examine(worker.is_alive(now), now, act=False)
    return render_template(
        "operator/doctor.html", lines=lines, failed=sum(line.status == doctor.FAILS for line in lines)
    )
