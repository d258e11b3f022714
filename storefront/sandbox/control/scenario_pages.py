"""The test scenarios as pages: starts them, judges them, takes down who tested and what they say."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Response, g, jsonify, redirect, render_template, request
from flask.typing import ResponseReturnValue

from ..api import auth
from ..api.serializers.common import Body
from ..engine.errors import invalid, not_found
from ..store.control_rows import ScenarioRun
from ..store.database import Session
from ..store.values import rfc3339
from . import request_log
from .access import HOME, answer, asked, control, number
from .console import page_policy, wants_page
from .scenarios import GROUPS, SCENARIOS, runs, shop_client
from .scenarios.calls import send_calls
from .scenarios.facts import Shop
from .scenarios.model import Scenario
from .scenarios.verdicts import NOT_RUN, PASSED, Judgement, judge

bp = control("sandbox_scenarios", __name__, "/_sandbox/scenarios")
bp.after_request(page_policy)

PAGE = "/_sandbox/scenarios"
MAX_NAME_CHARS, MAX_COMMENT_CHARS = 100, 2000
MAX_PRICE = 1_000_000


class Step(NamedTuple):
    """A scenario, its last run, and how it stands at the moment if it is under way."""

    group: str
    key: str
    scenario: Scenario
    run: ScenarioRun | None
    now: Judgement | None = None

    @property
    def verdict(self) -> str:
        return (self.run.verdict if self.run else None) or NOT_RUN

    @property
    def under_way(self) -> bool:
        return self.run is not None and self.run.verdict is None

    @property
    def checks(self) -> list[Body]:
        """What was found: at the verdict, or so far."""
        if self.now:
            return list(self.now.body()["checks"])
        result = self.run.result if self.run else None
        return list(result["checks"]) if result else []

    @property
    def shop(self) -> str:
        """How the shop's half came out."""
        result = self.run.result if self.run else None
        return self.now.shop if self.now else str(result["shop"]) if result else ""


@bp.app_template_filter("cell")
def markdown_cell(value: object) -> str:
    """Text for a cell of a Markdown table: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~-])", r"\\\1", " ".join(str(value).split()))


# How the scenarios stand.


def look(key: str = "") -> tuple[str, Judgement] | None:
    """Judges the run that is under way, or the one named; writes down that it passed."""
    with auth.reading() as session:
        run = session.get(ScenarioRun, key) if key else runs.under_way(session)
        if run is None:
            return None
        key, customer = run.scenario, runs.customer_of(session, run)
    shop = _shop_says(customer.external_id if customer else None)
    with auth.reading() as session:
        found = judge(SCENARIOS[key], runs.facts_of(session, run), shop)
    if found.verdict == PASSED and run.verdict is None:
        with auth.writing() as session:
            runs.record(session, key, found)
    return key, found


def _shop_says(external_id: str | None) -> Shop | str:
    """Only of the default store: it is the demo shop's."""
    settings = auth.settings()
    if g.store != auth.DEFAULT_STORE or not settings.shop_qa_url:
        return shop_client.NOT_ASKED
    return shop_client.ask(settings, customer=external_id) if external_id else Shop({})


def standing() -> list[Step]:
    found = look()
    with auth.reading() as session:
        own = {run.scenario: run for run in session.all(ScenarioRun)}
    judged = dict([found] if found else [])
    return [
        Step(group, key, scenario, run, judged.get(key) if run and run.verdict is None else None)
        for group, scenarios in GROUPS.items()
        for key, scenario in scenarios.items()
        for run in [own.get(key)]
    ]


def _step(key: str) -> Step:
    need(key)
    return next(step for step in standing() if step.key == key)


def need(key: str) -> Scenario:
    """:raises Refusal: there is no such scenario."""
    if key not in SCENARIOS:
        raise not_found(f"scenario {key} not found")
    return SCENARIOS[key]


def buttons_of(step: Step) -> list[Body]:
    """The buttons of a run whose session, subscription or link is known."""
    if step.run is None:
        return []
    with auth.reading() as session:
        known = runs.facts_of(session, step.run).placeholders(str(step.run.since.get("plan", "")))
    found = []
    for label, path, fields in step.scenario.buttons:
        try:
            filled = {name: value.format(**known) for name, value in fields.items()}
            found.append({"label": label, "path": path.format(**known), "fields": filled})
        except KeyError:
            continue
    return found


# Pages.


def shown() -> Body:
    steps = standing()
    current = next((step for step in steps if step.under_way), None)
    return {
        "groups": {title: [step for step in steps if step.group == title] for title in GROUPS},
        "passed": sum(step.verdict == PASSED for step in steps),
        "total": len(steps),
        "current": current,
        "buttons": buttons_of(current) if current else [],
        "shop_url": auth.settings().shop_url,
    }


@bp.get("")
def page() -> ResponseReturnValue:
    return render_template("sandbox/scenarios.html", **shown())


@bp.get("/live")
def live() -> ResponseReturnValue:
    return render_template("sandbox/_scenarios.html", **shown())


@bp.get("/<key>")
def one(key: str) -> ResponseReturnValue:
    step = _step(key)
    if not wants_page():
        return jsonify(_row(step))
    buttons, shop_url = buttons_of(step), auth.settings().shop_url
    keys = list(SCENARIOS)
    after = keys[(keys.index(key) + 1) % len(keys)]
    following = {"following": after, "following_title": SCENARIOS[after].title}
    return render_template(
        "sandbox/scenario.html", step=step, buttons=buttons, shop_url=shop_url, **following
    )


@bp.get("/current")
def current() -> ResponseReturnValue:
    """The scenario under way, with its buttons, or null; `?brief=1`: its name, and nothing is judged."""
    if request.args.get("brief"):
        with auth.reading() as session:
            run = runs.under_way(session)
        return jsonify(_named(run.scenario) if run else None)
    step = next((step for step in standing() if step.under_way), None)
    if step is None:
        return jsonify(None)
    return jsonify(_row(step) | _named(step.key) | {"buttons": buttons_of(step)})


def _named(key: str) -> Body:
    return {"scenario": key, "title": SCENARIOS[key].title, "url": f"{auth.settings().url}{PAGE}/{key}"}


# What a tester does.


@bp.post("/<key>/start")
def start(key: str) -> ResponseReturnValue:
    need(key)
    with auth.writing() as session:
        runs.start(session, key)
    if request.form.get("then") == "shop":
        settings = auth.settings()
        return redirect(settings.shop_start or settings.shop_url or HOME, 303)
    return answer({"started": key})


@bp.post("/<key>/send")
def send(key: str) -> ResponseReturnValue:
    """Starts the scenario and sends its bare calls, with their answers as they came."""
    scenario = need(key)
    if not scenario.calls:
        raise not_found(f"scenario {key} has no calls to send")
    with auth.writing() as session:
        runs.start(session, key)
    sent = send_calls(scenario.calls)
    look(key)
    if not wants_page():
        return jsonify(calls=sent)
    return render_template("sandbox/sent.html", scenario=scenario, key=key, calls=sent)


@bp.post("/<key>/price")
def set_price(key: str) -> ResponseReturnValue:
    """Changes the price of the run's own plan to `amount`."""
    amount = number(asked(), "amount", MAX_PRICE)
    with auth.writing() as session:
        run = _need_run(session, key)
        if amount is None or "plan_key" not in run.since:
            raise invalid("This needs an amount, and a scenario with a plan of its own that is under way")
        runs.set_price(session, run, f"{amount:g}")
        customer = runs.customer_of(session, run)
        external_id = customer.external_id if customer else None
        request_log.note(session, "price raised", customer=external_id, amount=f"{amount:g}")
    return answer({"amount": f"{amount:g}"})


def _need_run(session: Session, key: str) -> ScenarioRun:
    """:raises Refusal: the scenario was not started."""
    need(key)
    run = session.get(ScenarioRun, key)
    if run is None:
        raise not_found(f"scenario {key} was not started")
    return run


@bp.post("/<key>/verdict")
def give_verdict(key: str) -> ResponseReturnValue:
    """Passed or Failed as it stands now, with `who` tested and their `comment`. Passed stays passed."""
    body = asked()
    with auth.reading() as session:
        _need_run(session, key)
    found = look(key)
    with auth.writing() as session:
        run = _need_run(session, key)
        if found and run.verdict != PASSED:
            runs.record(session, key, found[1])
        run.who = str(body.get("who") or run.who).strip()[:MAX_NAME_CHARS]
        run.comment = str(body.get("comment") or run.comment).strip()[:MAX_COMMENT_CHARS]
        verdict = run.verdict
    return answer({"scenario": key, "verdict": verdict})


@bp.post("/restart")
def restart() -> ResponseReturnValue:
    """Forgets all verdicts. What was bought stays."""
    with auth.writing() as session:
        runs.clean_up_all(session)
        session.delete(ScenarioRun)
    return answer({"restarted": True})


# The result.


def result() -> Body:
    steps = standing()
    return {
        "written_at": _text(datetime.now(UTC).timestamp()),
        "shop": auth.settings().shop_url,
        "passed": sum(step.verdict == PASSED for step in steps),
        "failed": sum(step.verdict not in (PASSED, NOT_RUN) for step in steps),
        "total": len(steps),
        "scenarios": [_row(step) for step in steps],
    }


def _row(step: Step) -> Body:
    """The same for the page of a scenario and for the export."""
    scenario, run = step.scenario, step.run
    result = (run.result if run else None) or (step.now.body() if step.now else {})
    return {
        "scenario": step.key,
        "group": step.group,
        "title": scenario.title,
        "setup": scenario.setup,
        "steps": list(scenario.steps),
        "expected": scenario.expected,
        "verdict": step.verdict,
        "under_way": step.under_way,
        "verdict_at": _text(run.verdict_at) if run and run.verdict_at else None,
        "sandbox": result.get("sandbox"),
        "shop": result.get("shop"),
        "actual": step.checks,
        "customer": result.get("external_id"),
        "who": run.who if run else "",
        "comment": run.comment if run else "",
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
