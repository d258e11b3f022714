"""`flask --app storefront.sandbox._previous …`: the sandbox from a terminal.

The commands talk to the running sandbox over HTTP (SANDBOX_URL, or SANDBOX_PORT of this machine), never to
its database: so they also reach one in a container, messages go out at once, and only one process writes.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no sandbox answers.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import requests

from storefront.sandbox._previous.events import PLANS
from storefront.sandbox._previous.faults import FAULTS
from storefront.sandbox._previous.outcomes import COMPLETIONS, OUTCOMES
from storefront.sandbox._previous.settings import address

REFUSED, AWAY = 1, 3
PATIENCE = 120  # seconds: a walk through a day of retries takes a while

# An event, and what must happen to a session so that Flexprice tells of it.
TRIGGERS = {
    "checkout.session.completed": "paid",
    "checkout.session.failed": "cancelled",
    "checkout.session.expired": "not_paid_in_time",
    "payment_link.paid": "paid",
    "payment_link.cancelled": "cancelled",
    "payment_link.expired": "link_expired",
    "payment.failed": "declined",
    "refund.succeeded": "refunded",
    "subscription.cancelled": "",
    "subscription.updated": "",
}

Row = dict[str, Any]
Columns = dict[str, str | Callable[[Row], Any]]


# The line to the sandbox.


def stop(code: int, text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def call(method: str, path: str, **options: Any) -> Any:
    base = address(os.environ)
    headers = {"Accept": "application/json"}
    try:
        url = f"{base}/_sandbox/{path}"
        answer = requests.request(method, url, headers=headers, timeout=PATIENCE, **options)
        answered = answer.json()
    except (requests.RequestException, ValueError):
        stop(AWAY, f"No sandbox answers at {base}. Start it with `make run`, or set SANDBOX_URL.")
    if answer.ok:
        return answered
    allowed = answered.get("details", {}).get("allowed_values")
    choice = f" Choose one of: {', '.join(allowed)}." if allowed else ""
    stop(REFUSED, f"{answered.get('message', answer.status_code)}.{choice}")


def get(path: str, **query: Any) -> Any:
    return call("GET", path, params={name: value for name, value in query.items() if value})


def post(path: str, **body: Any) -> Any:
    return call("POST", path, json={name: value for name, value in body.items() if value is not None})


def session_named(name: str) -> str:
    """`last` is the newest one."""
    if name != "last":
        return name
    found = get("sessions")["items"]
    if not found:
        stop(REFUSED, "There is no session yet: start a checkout in the shop.")
    return str(found[0]["id"])


# What is printed.


def show(rows: list[Row], columns: Columns, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        click.echo("Nothing yet.")
        return
    cells = [[_cell(row, what) for what in columns.values()] for row in rows]
    table = [[heading.upper() for heading in columns], *cells]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(row: Row, what: str | Callable[[Row], Any]) -> str:
    value = row.get(what) if isinstance(what, str) else what(row)
    return "" if value is None else str(value)


def told(rows: list[Row], as_json: bool) -> None:
    columns: Columns = {
        "event": "event_type",
        "about": "entity_id",
        "message": "id",
        "state": lambda row: _each(row, "state"),
        "answer": lambda row: _each(row, "response_status") or _each(row, "error"),
        "next try": lambda row: " ".join(d["due_at"][:19] for d in row["deliveries"] if d["state"] == "due"),
    }
    show(rows, columns, as_json)


def _each(row: Row, name: str) -> str:
    values = [str(delivery[name]) for delivery in row["deliveries"] if delivery[name] is not None]
    counted = {value: values.count(value) for value in values}
    return ", ".join(value if count == 1 else f"{value} ×{count}" for value, count in counted.items())


as_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


# The commands.


@click.command()
@click.option("--limit", default=20, show_default=True)
@as_json
def sessions(limit: int, as_json: bool) -> None:
    """The newest checkout sessions."""
    columns: Columns = {
        "session": "id",
        "status": "checkout_status",
        "link": "link_state",
        "created": lambda row: row["created_at"][:19],
        "key": "idempotency_key",
    }
    show(get("sessions")["items"][:limit], columns, as_json)


@click.command()
@click.option("--session", help="Only about this session (cs_…, or last).")
@click.option("--type", "event_type", help="Only this type.")
@click.option("--limit", default=20, show_default=True)
@as_json
def events(session: str | None, event_type: str | None, limit: int, as_json: bool) -> None:
    """What happened, newest first, and how it was told."""
    session = session and session_named(session)
    told(get("events", session=session, type=event_type, limit=limit)["items"], as_json)


@click.command(epilog=f"EVENT is one of {', '.join(TRIGGERS)}.")
@click.argument("event", type=click.Choice(list(TRIGGERS)), metavar="EVENT")
@click.option("--session", required=True, help="Which one (cs_…, or last).")
@click.option("--delivery", type=click.Choice(list(PLANS)), help="How it is told.")
@click.option("--seconds", type=float, help="How long, where something comes later.")
@as_json
def trigger(event: str, session: str, delivery: str | None, seconds: float | None, as_json: bool) -> None:
    """Make it happen to a session of yours, so that EVENT is told of it.

    Nothing is made up: `checkout.session.completed` pays the session.
    """
    session = session_named(session)
    before = {row["id"] for row in get("events", session=session, limit=200)["items"]}
    if event.startswith("subscription."):
        subscription = get(f"sessions/{session}").get("subscription_id")
        post(f"subscriptions/{subscription}/cancel", at_period_end=event.endswith("updated") or None)
    elif event == "payment_link.paid" and get(f"sessions/{session}")["link_state"] == "paid":
        post(f"sessions/{session}/paid-again")
    else:
        post(f"sessions/{session}/outcome", outcome=TRIGGERS[event], delivery=delivery, seconds=seconds)
    post("deliver")
    after = get("events", session=session, limit=200)["items"]
    told([row for row in after if row["id"] not in before], as_json)


@click.command()
@click.argument("session")
@click.option("--outcome", type=click.Choice(list(OUTCOMES)), default="paid", show_default=True)
@click.option("--completion", type=click.Choice(list(COMPLETIONS)), help="What Flexprice makes of the money.")
@click.option("--delivery", type=click.Choice(list(PLANS)), help="How the shop is told.")
@click.option("--seconds", type=float, help="How long, where something comes later.")
@as_json
def pay(session: str, as_json: bool, **ways: Any) -> None:
    """Pay SESSION (cs_…, or last), or let its payment go another way."""
    answer = post(f"sessions/{session_named(session)}/outcome", **ways)
    post("deliver")
    columns: Columns = {"session": "session", "status": "checkout_status", "payment": "razorpay_payment_id"}
    show([answer], columns, as_json)


@click.command()
@click.argument("message", required=False)
@click.option("--all", "every", is_flag=True, help="Every message, in the order in which things happened.")
@click.option("--session", help="Every message about this session (cs_…, or last).")
@as_json
def resend(message: str | None, every: bool, session: str | None, as_json: bool) -> None:
    """Send MESSAGE (msg_…) again: the same id, the same body, a fresh signature."""
    if bool(message) + every + bool(session) != 1:
        raise click.UsageError("Say one of: a message, --session, --all.")
    if message:
        post(f"events/{message}/resend")
        count = 1
    else:
        count = post("events/resend", session=session and session_named(session))["resent"]
    sent = post("deliver")["sent"]
    show([{"resent": count, "sent": sent}], {"resent": "resent", "attempts made": "sent"}, as_json)


@click.group(invoke_without_command=True)
@click.pass_context
def clock(context: click.Context) -> None:
    """What time it is in the sandbox; `clock advance 20m` moves it."""
    if context.invoked_subcommand is None:
        click.echo(post("clock", advance="0s")["now"])


@clock.command()
@click.argument("step")
@click.option("--jump", is_flag=True, help="Skip what falls due on the way, as a lid that was closed.")
@as_json
def advance(step: str, jump: bool, as_json: bool) -> None:
    """Move the clock by STEP (90s, 20m, 18h, 3d): retries and sweeps happen at their time on the way."""
    answer = post("clock", advance=step, through=not jump)
    show([answer], {"now": "now", "attempts made": "sent"}, as_json)


@click.group()
def arrange() -> None:
    """Let things go wrong: faults of the API, outcomes and completions of payments, ways of telling."""


def _arrangement(name: str, path: str, known: Any, argument: str, times: int = 1) -> None:
    @arrange.command(name, help=f"One of: {', '.join(known)}.")
    @click.argument("what", type=click.Choice(list(known)), metavar=name.upper())
    @click.option("--session", help="For this session alone.")
    @click.option("--customer", help="For this customer alone, by either of the two ids.")
    @click.option("--times", default=times, show_default=True, help="So often; 0: until it is taken back.")
    @click.option("--seconds", type=float, help="How long, where it takes time.")
    def arranged(what: str, **where: Any) -> None:
        post(path, **{argument: what}, **where)
        _levers(False)


_arrangement("fault", "faults", FAULTS, "fault")
_arrangement("outcome", "outcomes", OUTCOMES, "outcome")
_arrangement("completion", "completions", COMPLETIONS, "completion")
_arrangement("delivery", "webhooks", PLANS, "mode", times=0)  # a sale is many messages


def _levers(as_json: bool) -> None:
    columns: Columns = {
        "kind": "kind",
        "name": "name",
        "for": lambda row: row["session"] or row["customer"] or "all",
        "calls": lambda row: " ".join(filter(None, (row["method"], row["path"]))),
        "times": lambda row: row["times"] or "until taken back",
    }
    show(get("levers")["items"], columns, as_json)


@click.command()
@click.option("--clear", is_flag=True, help="Take them all back.")
@as_json
def levers(clear: bool, as_json: bool) -> None:
    """What is arranged to go otherwise than usual."""
    if clear:
        post("levers/clear")
    _levers(as_json)


@click.group()
def guide() -> None:
    """The guided list of scenarios."""


@guide.command("list")
@as_json
def guide_list(as_json: bool) -> None:
    """The scenarios, and which of them have been seen."""
    columns: Columns = {
        "seen": lambda row: "✓" if row["seen"] else "",
        "scenario": "scenario",
        "title": "title",
    }
    show(get("guide/result.json")["scenarios"], columns, as_json)


@guide.command()
@click.argument("scenario")
def stage(scenario: str) -> None:
    """Set the stage for SCENARIO."""
    post(f"guide/{scenario}/stage")
    (row,) = [row for row in get("guide/result.json")["scenarios"] if row["scenario"] == scenario]
    click.echo(f"{row['title']}\n{row['do']}\nYou should see: {row['see']}")


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Forget everything and seed the plans again."""
    if not yes:
        click.confirm("Forget every customer, session and message?", abort=True)
    post("reset", sure="yes")
    click.echo("The sandbox is as new.")


COMMANDS = (sessions, events, trigger, pay, resend, clock, arrange, levers, guide, reset)
