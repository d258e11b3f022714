"""The test scenarios as pages: starts them, sees by itself that they passed, writes the result down."""

import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Response, current_app, g, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from ..api import auth
from ..api.serializers.common import Body
from ..engine import cancellations, overrides, switches
from ..engine.errors import not_found
from ..store.billing_rows import Subscription
from ..store.control_rows import Delivery, LogLine, Override, ScenarioRun
from ..store.database import Session
from ..store.rows import CheckoutSession, Plan
from ..store.values import rfc3339
from .access import HOME, answer, control
from .console import page_policy, wants_page
from .evidence import Since
from .scenarios import GROUPS, SCENARIOS, Scenario

bp = control("sandbox_scenarios", __name__, "/_sandbox/scenarios")
bp.after_request(page_policy)


class Step(NamedTuple):
    """A scenario and how far it is: open, started, passed."""

    key: str
    scenario: Scenario
    run: ScenarioRun | None

    @property
    def state(self) -> str:
        return "open" if self.run is None else "passed" if self.run.passed_at else "started"


@bp.app_template_filter("cell")
def markdown_cell(value: object) -> str:
    """Text for a cell of a Markdown table: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~-])", r"\\\1", " ".join(str(value).split()))


def steps_of(session: Session) -> dict[str, list[Step]]:
    runs = {run.scenario: run for run in session.all(ScenarioRun)}
    return {
        title: [Step(key, scenario, runs.get(key)) for key, scenario in group.items()]
        for title, group in GROUPS.items()
    }


def check() -> dict[str, list[Step]]:
    """Writes down what has passed since the last look, and removes its overrides."""
    with auth.reading() as session:
        groups = steps_of(session)
        news = {step.key: found for step in _all(groups) if (found := _passed(session, step))}
    if not news:
        return groups
    with auth.writing() as session:
        for key, found in news.items():
            _record(session, key, found)
        return steps_of(session)


def _all(groups: dict[str, list[Step]]) -> list[Step]:
    return [step for steps in groups.values() for step in steps]


def _passed(session: Session, step: Step) -> Body | None:
    """A scenario that needs preparation counts from its start; the others from the beginning."""
    prepared = (step.scenario.overrides or step.scenario.switches) and not step.scenario.calls
    if step.state == "passed" or (step.state == "open" and prepared):
        return None
    since = step.run.since if step.run else session.state.scenarios_since or {}
    known = {name: since[name] for name in Since._fields if name in since}
    return step.scenario.passed(session, Since(**known))


def _record(session: Session, key: str, found: Body) -> None:
    _clean_up(session, key)
    run = session.get(ScenarioRun, key)
    if run is None:
        run = session.add(ScenarioRun(scenario=key, started_at=session.now(), since={}))
    run.passed_at, run.evidence = datetime.now(UTC).timestamp(), found


def _newest(session: Session) -> Body:
    def highest(model: Any, empty: Any) -> Any:
        return session.orm.scalar(select(func.max(model.id)).where(model.store == session.store)) or empty

    return Since(highest(CheckoutSession, ""), highest(LogLine, ""), highest(Delivery, 0))._asdict()


def start_scenario(session: Session, key: str) -> None:
    """Arranges what the scenario needs; one is under way at a time."""
    scenario = SCENARIOS[key]
    for run in session.all(ScenarioRun, ScenarioRun.passed_at.is_(None)):
        _clean_up(session, run.scenario)
    session.delete(ScenarioRun, (ScenarioRun.scenario == key) | ScenarioRun.passed_at.is_(None))
    arranged = [overrides.arrange(session, one.kind, one.name, **one.where).id for one in scenario.overrides]
    before = {name: session.state.switches.get(name) for name in scenario.switches}
    since = _newest(session) | {"overrides": arranged, "switches": before}
    for name, value in scenario.switches.items():
        switches.change(session, name, value)
    session.add(ScenarioRun(scenario=key, started_at=session.now(), since=since))


def _clean_up(session: Session, key: str) -> None:
    """Takes back what was arranged for it."""
    run = session.get(ScenarioRun, key)
    if run is None:
        return
    overrides.remove(session, Override.id.in_(run.since.get("overrides", [])))
    for name, before in run.since.get("switches", {}).items():
        if before is None:
            switches.restore(session, name)
        else:
            switches.change(session, name, before)
    run.since = {name: value for name, value in run.since.items() if name in Since._fields}


def _known(key: str) -> Scenario:
    if key not in SCENARIOS:
        raise not_found(f"scenario {key} not found")
    return SCENARIOS[key]


# Pages.


def shown() -> Body:
    groups = check()
    steps = _all(groups)
    passed = sum(step.state == "passed" for step in steps)
    return {"groups": groups, "passed": passed, "total": len(steps), "shop_url": auth.settings().shop_url}


@bp.get("")
def page() -> ResponseReturnValue:
    return render_template("sandbox/scenarios.html", **shown())


@bp.get("/live")
def live() -> ResponseReturnValue:
    return render_template("sandbox/_scenarios.html", **shown())


@bp.get("/current")
def current() -> ResponseReturnValue:
    """The scenario under way: `{"scenario", "title", "steps", "expected"}`, or null."""
    started = [step for step in _all(check()) if step.state == "started"]
    return jsonify(_described(started[0]) if started else None)


def _described(step: Step) -> Body:
    scenario = step.scenario
    described = {"title": scenario.title, "steps": scenario.steps, "expected": scenario.expected}
    return {"scenario": step.key} | described


@bp.post("/<key>/start")
def start(key: str) -> ResponseReturnValue:
    _known(key)
    with auth.writing() as session:
        _end(session, _bought_for_passed(session))  # first: its messages are not part of the scenario
        start_scenario(session, key)
    if request.form.get("then") == "shop":
        return redirect(auth.settings().shop_url or HOME, 303)
    return answer({"started": key})


@bp.post("/<key>/send")
def send(key: str) -> ResponseReturnValue:
    """Sends the bare calls, with their answers as they came."""
    scenario = _known(key)
    if scenario.calls is None:
        raise not_found(f"scenario {key} has no calls to send")
    sent = [_call(method, path, body) for method, path, body in scenario.calls()]
    check()
    if not wants_page():
        return jsonify(calls=sent)
    return render_template("sandbox/sent.html", scenario=scenario, calls=sent)


def _call(method: str, path: str, body: Body) -> Body:
    """With the store's key, as a shop would."""
    text = json.dumps(body)
    with auth.reading() as session:
        for plan in session.all(Plan):
            text = text.replace(f"{{{plan.lookup_key}}}", plan.id)
    is_default = g.store == auth.DEFAULT_STORE
    key = auth.settings().api_key if is_default else auth.KEY_PREFIX + g.store
    headers = {"x-api-key": key, "Content-Type": "application/json"}
    client = current_app.test_client()
    response = client.open(path, method=method, data=text, headers=headers, base_url=request.host_url)
    answered = response.get_json(silent=True)
    call = {"method": method, "path": path, "body": json.loads(text)}
    return call | {"status": response.status_code, "answer": answered}


@bp.post("/restart")
def restart() -> ResponseReturnValue:
    """Forgets all results: what has happened until now no longer counts."""
    with auth.writing() as session:
        for key in SCENARIOS:
            _clean_up(session, key)
        session.delete(ScenarioRun)
        session.state.scenarios_since = _newest(session)
    return answer({"restarted": True})


@bp.post("/end-subscriptions")
def end_subscriptions() -> ResponseReturnValue:
    """Cancels every active subscription, so that each plan can be bought once more."""
    with auth.writing() as session:
        return answer({"ended": _end(session, Subscription.id.is_not(None))})


def _end(session: Session, which: Any) -> int:
    found = session.all(Subscription, Subscription.subscription_status == "active", which)
    for row in found:
        cancellations.end_now(session, row, reason="")
    return len(found)


def _bought_for_passed(session: Session) -> Any:
    """The subscriptions that were bought for scenarios that passed."""
    passed = session.all(ScenarioRun, ScenarioRun.passed_at.is_not(None))
    ids = [run.evidence["session"] for run in passed if run.evidence and "session" in run.evidence]
    rows = session.all(CheckoutSession, CheckoutSession.id.in_(ids))
    return Subscription.id.in_([row.subscription_id for row in rows if row.subscription_id])


# The result.


def result() -> Body:
    shows = shown()
    rows = [_result_row(title, step) for title, steps in shows["groups"].items() for step in steps]
    return {
        "written_at": _text(datetime.now(UTC).timestamp()),
        "shop": shows["shop_url"],
        "passed": shows["passed"],
        "total": shows["total"],
        "scenarios": rows,
    }


def _result_row(group: str, step: Step) -> Body:
    passed = step.run if step.state == "passed" else None
    return _described(step) | {
        "group": group,
        "passed": passed is not None,
        "passed_at": _text(passed.passed_at) if passed and passed.passed_at else None,
        "evidence": passed.evidence if passed else None,
    }


def _text(moment: float) -> str:
    return rfc3339(datetime.fromtimestamp(moment, UTC).replace(microsecond=0))


@bp.get("/result.json")
def as_json() -> ResponseReturnValue:
    return jsonify(result())


@bp.get("/result.md")
def as_markdown() -> ResponseReturnValue:
    text = render_template("sandbox/scenarios.md", **result())
    return Response(text, content_type="text/markdown; charset=utf-8")
