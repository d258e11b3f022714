"""The guided list as pages: sets the stage, notices by itself what happened, writes the result down."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from flask import Blueprint, Response, current_app, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from storefront.sandbox._previous import clock, controls, endings, journal, levers
from storefront.sandbox._previous.console import page_policy, wants_page
from storefront.sandbox._previous.door import current_settings
from storefront.sandbox._previous.errors import not_found
from storefront.sandbox._previous.scenarios import GROUPS, SCENARIOS, Scenario, Since
from storefront.sandbox._previous.schema import deliveries, plans, sessions, subscriptions, walks
from storefront.sandbox._previous.schema import levers as facts
from storefront.sandbox._previous.store import Body, current_store, lever, pull, rfc3339

bp = Blueprint("sandbox_guide", __name__, url_prefix="/_sandbox/guide")
bp.after_request(page_policy)


class Step(NamedTuple):
    """A scenario and how far it is: untouched, on stage, seen."""

    key: str
    scenario: Scenario
    walk: Any

    @property
    def state(self) -> str:
        return "seen" if self.walk and self.walk.seen_at else "staged" if self.walk else "open"


# Looking.


def look(conn: Connection) -> dict[str, list[Step]]:
    known = {walk.scenario: walk for walk in conn.execute(select(walks))}
    return {
        title: [Step(key, scenario, known.get(key)) for key, scenario in group.items()]
        for title, group in GROUPS.items()
    }


def tick() -> dict[str, list[Step]]:
    """Writes down what has happened since the last look, and takes its stage down."""
    with current_store().reading() as conn:
        groups = look(conn)
        news = {step.key: evidence for step in _steps(groups) if (evidence := _happened(conn, step))}
    if not news:
        return groups
    with current_store().writing() as conn:
        for key, evidence in news.items():
            _take_down(conn, key)
            seen = {"seen_at": datetime.now(UTC).timestamp(), "evidence": evidence}
            row = {"scenario": key, "staged_at": clock.now(conn).timestamp(), "since": {}} | seen
            statement = upsert(walks).values(row)
            conn.execute(statement.on_conflict_do_update(index_elements=["scenario"], set_=seen))
        return look(conn)


def _steps(groups: dict[str, list[Step]]) -> list[Step]:
    return [step for steps in groups.values() for step in steps]


def _happened(conn: Connection, step: Step) -> Body | None:
    """What needs a stage counts from there on; everything else from the first minute."""
    if step.state == "seen":
        return None
    if step.state == "open" and (step.scenario.stage or step.scenario.switches) and not step.scenario.calls:
        return None
    since = step.walk.since if step.walk else lever(conn, "guide_since", Since()._asdict())
    return step.scenario.happened(conn, Since(*(since[name] for name in Since._fields)))


def _newest(conn: Connection) -> Body:
    return Since(
        session=conn.execute(select(func.max(sessions.c.id))).scalar() or "",
        journal=journal.newest(conn),
        delivery=conn.execute(select(func.max(deliveries.c.id))).scalar() or 0,
    )._asdict()


# Setting the stage.


def set_stage(conn: Connection, key: str) -> None:
    scenario = SCENARIOS[key]
    for other in conn.execute(select(walks.c.scenario).where(walks.c.seen_at.is_(None))).scalars().all():
        _take_down(conn, other)  # one stage at a time
    conn.execute(delete(walks).where(or_(walks.c.scenario == key, walks.c.seen_at.is_(None))))
    since = _newest(conn) | {
        "levers": [
            levers.arrange(conn, pulled.kind, pulled.name, **pulled.where) for pulled in scenario.stage
        ],
        "switches": {name: lever(conn, f"switch:{name}") for name in scenario.switches},
    }
    for name, value in scenario.switches.items():
        pull(conn, f"switch:{name}", value)
    row = {"scenario": key, "staged_at": clock.now(conn).timestamp(), "since": since}
    conn.execute(insert(walks).values(row))


def _take_down(conn: Connection, key: str) -> None:
    since = conn.execute(select(walks.c.since).where(walks.c.scenario == key)).scalar() or {}
    levers.take_back(conn, levers.A.id.in_(since.get("levers", [])))
    for name, before in since.get("switches", {}).items():
        if before is None:
            conn.execute(delete(facts).where(facts.c.name == f"switch:{name}"))
        else:
            pull(conn, f"switch:{name}", before)
    rest = {name: value for name, value in since.items() if name not in ("levers", "switches")}
    conn.execute(update(walks).where(walks.c.scenario == key).values(since=rest))


def _known(key: str) -> Scenario:
    if key not in SCENARIOS:
        raise not_found(f"scenario {key} not found")
    return SCENARIOS[key]


# Pages.


def shown() -> Body:
    groups = tick()
    steps = _steps(groups)
    seen = [step for step in steps if step.state == "seen"]
    return {"groups": groups, "seen": len(seen), "total": len(steps), "shop_url": current_settings().shop_url}


@bp.get("")
def page() -> ResponseReturnValue:
    return render_template("sandbox/guide.html", **shown())


@bp.get("/live")
def live() -> ResponseReturnValue:
    return render_template("sandbox/_guide.html", **shown())


@bp.post("/<key>/stage")
def stage(key: str) -> ResponseReturnValue:
    _known(key)
    with current_store().writing() as conn:
        _give_back(conn, _bought_for_the_list(conn))  # first: the stage is not for the news of it
        set_stage(conn, key)
    if request.form.get("then") == "shop":
        return redirect(current_settings().shop_url, 303)
    return controls.done(staged=key)


@bp.post("/<key>/send")
def send(key: str) -> ResponseReturnValue:
    """The bare calls, with their answers as they came."""
    scenario = _known(key)
    if scenario.calls is None:
        raise not_found(f"scenario {key} has nothing to send")
    sent = [_call(method, path, body) for method, path, body in scenario.calls()]
    tick()
    if not wants_page():
        return jsonify(calls=sent)
    return render_template("sandbox/sent.html", scenario=scenario, calls=sent)


def _call(method: str, path: str, body: Body) -> Body:
    """Through the front door, with the key, as a shop would."""
    text = json.dumps(body)
    with current_store().reading() as conn:
        for plan in conn.execute(select(plans.c.id, plans.c.lookup_key)):
            text = text.replace(f"{{{plan.lookup_key}}}", plan.id)
    headers = {"x-api-key": current_settings().api_key, "Content-Type": "application/json"}
    answer = current_app.test_client().open(path, method=method, data=text, headers=headers)
    asked, answered = json.loads(text), answer.get_json(silent=True)
    return {"method": method, "path": path, "body": asked, "status": answer.status_code, "answer": answered}


@bp.post("/restart")
def restart() -> ResponseReturnValue:
    """All ticks away: what has happened until now counts no more."""
    with current_store().writing() as conn:
        for key in SCENARIOS:
            _take_down(conn, key)
        conn.execute(delete(walks))
        pull(conn, "guide_since", _newest(conn))
    return controls.done(restarted=True)


@bp.post("/give-back")
def give_back() -> ResponseReturnValue:
    """Ends every subscription, so that each plan can be bought once more."""
    with current_store().writing() as conn:
        return controls.done(ended=_give_back(conn, subscriptions.c.id.is_not(None)))


def _give_back(conn: Connection, which: Any) -> int:
    active = select(subscriptions.c.body).where(subscriptions.c.subscription_status == "active", which)
    found = list(conn.execute(active).scalars())
    for subscription in found:
        endings.end_subscription(conn, subscription, at_period_end=False)
    return len(found)


def _bought_for_the_list(conn: Connection) -> Any:
    """What was bought for lines that are ticked: a tester needs each plan more than once."""
    seen = conn.execute(select(walks.c.evidence).where(walks.c.seen_at.is_not(None))).scalars()
    ids = [evidence["session"] for evidence in seen if "session" in evidence]
    return subscriptions.c.id.in_(select(sessions.c.subscription_id).where(sessions.c.id.in_(ids)))


# The result.


def result() -> Body:
    shows = shown()
    rows = [
        {
            "scenario": step.key,
            "title": step.scenario.title,
            "group": title,
            "do": step.scenario.do,
            "see": step.scenario.see,
            "seen": step.state == "seen",
            "seen_at": _words(step.walk.seen_at) if step.state == "seen" else None,
            "evidence": step.walk.evidence if step.state == "seen" else None,
        }
        for title, steps in shows["groups"].items()
        for step in steps
    ]
    return {
        "written_at": _words(datetime.now(UTC).timestamp()),
        "shop": shows["shop_url"],
        "seen": shows["seen"],
        "total": shows["total"],
        "scenarios": rows,
    }


def _words(moment: float) -> str:
    return rfc3339(datetime.fromtimestamp(moment, UTC).replace(microsecond=0))


@bp.get("/result.json")
def as_json() -> ResponseReturnValue:
    return jsonify(result())


@bp.get("/result.md")
def as_markdown() -> ResponseReturnValue:
    text = render_template("sandbox/guide.md", **result())
    return Response(text, content_type="text/markdown; charset=utf-8")
