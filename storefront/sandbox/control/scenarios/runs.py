"""Runs of test scenarios: started, bound to a new customer, judged and recorded."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from ...engine import overrides
from ...store.control_rows import LogLine, Override, ScenarioRun
from ...store.database import Session
from ...store.rows import Customer
from ...store.values import random_text
from .. import plan_admin
from . import SCENARIOS
from .facts import Facts
from .model import Body
from .verdicts import PASSED, Judgement

NAME_LENGTH = 4


def start(session: Session, key: str) -> ScenarioRun:
    """Sets up what the scenario needs. One is under way at a time; another without a verdict is not run."""
    scenario = SCENARIOS[key]
    clean_up_all(session)
    session.delete(ScenarioRun, ScenarioRun.verdict.is_(None) | (ScenarioRun.scenario == key))
    since: Body = {"customer": _newest(session, Customer), "log": _newest(session, LogLine)}
    since["overrides"] = [_arranged(session, one) for one in scenario.overrides]
    if scenario.plan:
        since |= _put_on_sale(session, scenario.plan)
    return session.add(ScenarioRun(scenario=key, started_at=session.now(), since=since))


def _newest(session: Session, model: Any) -> str:
    return session.orm.scalar(select(func.max(model.id)).where(model.store == session.store)) or ""


def _arranged(session: Session, one: Any) -> int:
    return overrides.arrange(session, one.kind, one.name, customer=overrides.NEXT_CUSTOMER, **one.where).id


def _from(session: Session) -> datetime:
    """When a price begins: by the earlier of both clocks, as a shop reads its catalog by wall time."""
    return min(session.now(), datetime.now(UTC))


def _put_on_sale(session: Session, plan: Body) -> Body:
    name = f"Test {random_text(NAME_LENGTH)}"
    key = name.lower().replace(" ", "-")
    row = plan_admin.put_plan(session, key, plan | {"name": name}, _from(session))
    return {"plan": row.id, "plan_key": key, "plan_name": name}


def set_price(session: Session, run: ScenarioRun, amount: str) -> None:
    """Changes the price of the run's own plan."""
    plan = SCENARIOS[run.scenario].plan or {}
    prices = [fee | {"amount": amount} for fee in plan["prices"]]
    body = plan | {"name": run.since["plan_name"], "prices": prices}
    plan_admin.put_plan(session, run.since["plan_key"], body, _from(session))


def clean_up_all(session: Session) -> None:
    for run in session.all(ScenarioRun):
        clean_up(session, run)


def clean_up(session: Session, run: ScenarioRun) -> None:
    """Removes its overrides and takes its plan off sale; what was bought stays."""
    if arranged := run.since.get("overrides"):
        overrides.remove(session, Override.id.in_(arranged))
    scenario = SCENARIOS.get(run.scenario)
    if "plan_key" in run.since and scenario and scenario.plan:
        body = scenario.plan | {"name": run.since["plan_name"], "status": "archived"}
        plan_admin.put_plan(session, run.since["plan_key"], body, _from(session))
    kept = {name: value for name, value in run.since.items() if name not in ("overrides", "plan_key")}
    run.since = kept


def under_way(session: Session) -> ScenarioRun | None:
    """The run that was started and has no verdict yet."""
    return session.first(ScenarioRun, ScenarioRun.verdict.is_(None), order=ScenarioRun.started_at.desc())


def customer_of(session: Session, run: ScenarioRun) -> Customer | None:
    """The first one who was made after the start: the run is about nobody else."""
    return session.first(Customer, Customer.id > run.since["customer"], order=Customer.id)


def facts_of(session: Session, run: ScenarioRun) -> Facts:
    customer = customer_of(session, run)
    return Facts(session, customer.id if customer else None, run.since["log"])


def record(session: Session, key: str, found: Judgement) -> None:
    """Writes the verdict down; a scenario that passed is cleaned up."""
    run = session.get(ScenarioRun, key)
    if run is None:
        return
    customer = customer_of(session, run)
    about = {"customer": customer.id, "external_id": customer.external_id} if customer else {}
    run.verdict, run.verdict_at = found.verdict, datetime.now(UTC).timestamp()
    run.result = found.body() | about
    if found.verdict == PASSED:
        clean_up(session, run)
