"""The sandbox from a terminal: serve it, or talk to one that runs.

The commands call the running sandbox over HTTP (SANDBOX_URL, or SANDBOX_PORT of this machine), never its
database, so they also reach one in a container. FLEXPRICE_API_KEY, if set, names the store.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no sandbox answers.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .cli_client import REFUSED, Columns, call, get, post, session_named, show, show_events, stop
from .delivery.modes import MODES
from .engine.outcomes import COMPLETIONS, OUTCOMES

# An event, and the outcome that makes Flexprice send it.
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

as_json = click.option("--json", "as_json", is_flag=True, help="For scripts.")


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """A practice Flexprice. Without a command it serves, as the environment says."""
    if context.invoked_subcommand is None:
        from . import server

        server.main()


SERVE_OPTIONS = {
    "--generation": ("SANDBOX_GENERATION", "`newest` or `legacy`."),
    "--seed": ("SANDBOX_SEED", "A JSON or YAML file with plans, or `demo`."),
    "--database": ("SANDBOX_DATABASE_URL", "An SQLAlchemy URL; in memory if left out."),
    "--webhook-url": ("SANDBOX_WEBHOOK_URL", "Where messages of the default store go."),
    "--url": ("SANDBOX_URL", "Where browsers find it; payment links begin with it."),
}


def _serve_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option, (variable, text) in reversed(SERVE_OPTIONS.items()):
        command = click.option(option, variable.lower(), metavar="TEXT", help=f"{text} [{variable}]")(command)
    return command


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, envvar="SANDBOX_HOST")
@click.option("--port", default=8001, show_default=True, envvar="SANDBOX_PORT")
@_serve_options
def serve(host: str, port: int, **given: str | None) -> None:
    """Serve, and print where, with which key and secret, and a first call.

    It reads the same environment variables as the server without a command; options win.
    """
    from . import server

    options = {name.upper(): value for name, value in given.items() if value is not None}
    try:
        server.serve_alone(host, port, {**os.environ, **options})
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@main.command()
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


@main.command()
@click.option("--session", help="Only about this session (cs_…, or last).")
@click.option("--type", "event_type", help="Only this type.")
@click.option("--limit", default=20, show_default=True)
@as_json
def events(session: str | None, event_type: str | None, limit: int, as_json: bool) -> None:
    """What happened, newest first, and how it was delivered."""
    session = session and session_named(session)
    show_events(get("events", session=session, type=event_type, limit=limit)["items"], as_json)


@main.command()
@click.option("--customer", help="Only about this customer (cust_…).")
@as_json
def messages(customer: str | None, as_json: bool) -> None:
    """The messages that were built, in the order in which they were sent."""
    show(get("messages", customer=customer), {"at": "at", "event": "type", "message": "id"}, as_json)


@main.command(epilog=f"EVENT is one of {', '.join(TRIGGERS)}.")
@click.argument("event", type=click.Choice(list(TRIGGERS)), metavar="EVENT")
@click.option("--session", required=True, help="Which one (cs_…, or last).")
@click.option("--delivery", type=click.Choice(list(MODES)), help="How it is delivered.")
@click.option("--seconds", type=float, help="How long, where something comes later.")
@as_json
def trigger(event: str, session: str, delivery: str | None, seconds: float | None, as_json: bool) -> None:
    """Let the thing happen that EVENT tells of: `checkout.session.completed` pays the session."""
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
    show_events([row for row in after if row["id"] not in before], as_json)


@main.command()
@click.argument("session")
@click.option("--outcome", type=click.Choice(list(OUTCOMES)), default="paid", show_default=True)
@click.option("--completion", type=click.Choice(list(COMPLETIONS)), help="What Flexprice makes of the money.")
@click.option("--delivery", type=click.Choice(list(MODES)), help="How messages are delivered.")
@click.option("--seconds", type=float, help="How long, where something comes later.")
@as_json
def pay(session: str, as_json: bool, **ways: Any) -> None:
    """Pay SESSION (cs_…, or last), or let its payment go another way."""
    answer = post(f"sessions/{session_named(session)}/outcome", **ways)
    post("deliver")
    columns: Columns = {"session": "session", "status": "checkout_status", "payment": "razorpay_payment_id"}
    show([answer], columns, as_json)


@main.command()
@click.argument("message", required=False)
@click.option("--all", "every", is_flag=True, help="Every message, in the order in which things happened.")
@click.option("--session", help="Every message about this session (cs_…, or last).")
@as_json
def resend(message: str | None, every: bool, session: str | None, as_json: bool) -> None:
    """Send MESSAGE (msg_…) again: the same id and body, a new signature."""
    if bool(message) + every + bool(session) != 1:
        raise click.UsageError("Say one of: a message, --session, --all.")
    if message:
        post(f"events/{message}/resend")
        count = 1
    else:
        count = post("events/resend", session=session and session_named(session))["resent"]
    sent = post("deliver")["sent"]
    show([{"resent": count, "sent": sent}], {"resent": "resent", "attempts": "sent"}, as_json)


@main.group(invoke_without_command=True)
@click.pass_context
def clock(context: click.Context) -> None:
    """The sandbox's time; `clock advance 20m` moves it."""
    if context.invoked_subcommand is None:
        click.echo(get("clock")["now"])


@clock.command()
@click.argument("step")
@click.option("--jump", is_flag=True, help="Skip what falls due on the way; it happens late.")
@as_json
def advance(step: str, jump: bool, as_json: bool) -> None:
    """Move the clock by STEP (90s, 20m, 18h, 3d): what falls due happens at its time on the way."""
    answer = post("clock", advance=step, jump=jump or None)
    show([answer], {"now": "now", "attempts": "sent"}, as_json)


@clock.command()
@click.argument("target")
@click.argument("object_id")
@as_json
def until(target: str, object_id: str, as_json: bool) -> None:
    """Move the clock until TARGET of OBJECT_ID: session_expiry, period_end, invoice_finalized, …"""
    answer = post("clock", until=target, id=object_id)
    show([answer], {"now": "now", "attempts": "sent"}, as_json)


@main.group()
def arrange() -> None:
    """Override what happens next: API faults, outcomes, completions, delivery modes."""


def _arrangement(name: str, path: str, argument: str, times: int = 1) -> None:
    @arrange.command(name)
    @click.argument("what", metavar=name.upper())
    @click.option("--session", help="For this session alone.")
    @click.option("--customer", help="For this customer alone, by either of the two ids.")
    @click.option("--times", default=times, show_default=True, help="So often; 0: until it is removed.")
    @click.option("--seconds", type=float, help="How long, where it takes time.")
    def arranged(what: str, **where: Any) -> None:
        post(path, **{argument: what}, **where)
        _show_overrides(False)


_arrangement("fault", "faults", "fault")
_arrangement("outcome", "outcomes", "outcome")
_arrangement("completion", "completions", "completion")
_arrangement("delivery", "webhooks", "mode", times=0)  # a sale is many messages


def _show_overrides(as_json: bool) -> None:
    columns: Columns = {
        "kind": "kind",
        "name": "name",
        "for": lambda row: row["session"] or row["customer"] or "all",
        "calls": lambda row: " ".join(filter(None, (row["method"], row["path"]))),
        "times": lambda row: row["times"] or "until removed",
    }
    show(get("overrides")["items"], columns, as_json)


@main.command()
@click.option("--clear", is_flag=True, help="Remove them all.")
@as_json
def overrides(clear: bool, as_json: bool) -> None:
    """What is arranged to go otherwise than usual."""
    if clear:
        post("overrides/clear")
    _show_overrides(as_json)


@main.group()
def scenario() -> None:
    """The test scenarios."""


@scenario.command("list")
@as_json
def scenario_list(as_json: bool) -> None:
    """The scenarios and their verdicts."""
    columns: Columns = {
        "scenario": "scenario",
        "verdict": "verdict",
        "title": "title",
    }
    show(get("scenarios/result.json")["scenarios"], columns, as_json)


@scenario.command()
@click.argument("name")
def start(name: str) -> None:
    """Start the scenario NAME."""
    post(f"scenarios/{name}/start")
    row = get(f"scenarios/{name}")
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(row["steps"], 1))
    click.echo(f"{row['title']}\nSetup: {row['setup']}\n{steps}\nExpected: {row['expected']}")


@scenario.command()
@click.argument("name")
@click.option("--who", default="", help="Who tested.")
@click.option("--comment", default="", help="What there is to say.")
def verdict(name: str, who: str, comment: str) -> None:
    """Record the verdict of the scenario NAME, and show each check. Exit code 1 if it failed."""
    post(f"scenarios/{name}/verdict", who=who, comment=comment)
    row = get(f"scenarios/{name}")
    for line in row["actual"]:
        mark = "ok " if line["holds"] else "NO "
        click.echo(f"{mark} {line['half']}: {line['expected']} ({line['actual']})")
    click.echo(f"{row['title']}: {row['verdict']}")
    if row["verdict"] != "Passed":
        raise SystemExit(REFUSED)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def seed(file: str) -> None:
    """Put the plans of FILE (JSON or YAML) into the store."""
    from .control.seeding import read_plans

    try:
        plans = read_plans(Path(file))
    except ValueError as error:
        stop(REFUSED, str(error))
    for key, plan in plans:
        call("PUT", f"plans/{key}", plan)
        click.echo(key)


@main.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(yes: bool) -> None:
    """Delete everything in the store, and seed it again."""
    if not yes:
        click.confirm("Delete every customer, session and message?", abort=True)
    post("reset")
    click.echo("The store is empty, or as it was seeded.")
