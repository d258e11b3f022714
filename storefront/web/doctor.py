"""The doctor's report, for operators only. It only looks: what acts is left to the command."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template

from storefront import doctor, lifesigns

bp = Blueprint("doctor", __name__, url_prefix="/operator/doctor")


@bp.get("")
def report() -> Any:
    now = datetime.now(UTC)
    lines = doctor.examine(lifesigns.is_alive(now), now, act=False)
    return render_template(
        "operator/doctor.html", lines=lines, failed=sum(line.status == doctor.FAILS for line in lines)
    )
