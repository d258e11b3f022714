"""What a store is filled with when it is made or reset."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..store.database import Session
from ..store.rows import Plan
from . import demo_catalog, plan_admin

OPENED = datetime(2026, 1, 1, tzinfo=UTC)


def fill(session: Session, seed: str) -> None:
    """Adds the plans that are not there yet; those that were changed stay as they are.

    :param seed: `demo`, the path of a JSON or YAML file with a list of plans, or nothing.
    :raises ValueError: the file is not a list of plans.
    """
    plans = _keyed(demo_catalog.PLANS) if seed == "demo" else read_plans(Path(seed)) if seed else []
    for order, (key, plan) in enumerate(plans):
        if session.first(Plan, Plan.lookup_key == key) is None:
            made = OPENED - timedelta(hours=order)
            plan_admin.put_plan(session, key, {"display_order": order} | plan, made)


def read_plans(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The plans of a file, each with its lookup key.

    :raises ValueError: it is not a list of plans.
    """
    try:
        found = _parsed(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    plans = found.get("plans") if isinstance(found, dict) else found
    if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
        raise ValueError(f"{path} is not a list of plans")
    return _keyed(plans)


def _parsed(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix not in (".yaml", ".yml"):
        return json.loads(text)
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _keyed(plans: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Each with its lookup key, made of its name where it has none."""
    return [
        (plan.get("lookup_key") or str(plan.get("name", "")).lower().replace(" ", "_"), plan)
        for plan in plans
    ]
