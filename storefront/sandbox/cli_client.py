"""How the command line talks to a sandbox that runs, and how it prints what comes back."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import urlencode

import click

from .settings import address

REFUSED, UNREACHABLE = 1, 3
TIMEOUT_S = 120  # walking through a day of retries takes a while

Row = dict[str, Any]
Columns = dict[str, str | Callable[[Row], Any]]


def stop(code: int, text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def call(method: str, path: str, body: Row | None = None) -> Any:
    """A control call; ends the program with a message where it does not succeed."""
    base = address(os.environ)
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if key := os.environ.get("FLEXPRICE_API_KEY"):
        headers["x-api-key"] = key
    data = None if body is None else json.dumps(body).encode()
    url = f"{base}/_sandbox/{path}"
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the sandbox's own address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        _refused(error)
    except (OSError, ValueError):
        stop(UNREACHABLE, f"No sandbox answers at {base}. Start it, or set SANDBOX_URL.")


def _refused(error: urllib.error.HTTPError) -> NoReturn:
    try:
        body = json.loads(error.read())
    except ValueError:
        body = {}
    allowed = body.get("details", {}).get("allowed_values")
    choice = f" Choose one of: {', '.join(map(str, allowed))}." if allowed else ""
    stop(REFUSED, f"{body.get('message') or body.get('error') or error.code}.{choice}")


def get(path: str, **query: Any) -> Any:
    wanted = {name: value for name, value in query.items() if value}
    return call("GET", f"{path}?{urlencode(wanted)}" if wanted else path)


def post(path: str, **body: Any) -> Any:
    return call("POST", path, {name: value for name, value in body.items() if value is not None})


def session_named(name: str) -> str:
    """`last` is the newest session."""
    if name != "last":
        return name
    found = get("sessions")["items"]
    if not found:
        stop(REFUSED, "There is no session yet: start a checkout in the shop.")
    return str(found[0]["id"])


def show(rows: list[Row], columns: Columns, as_json: bool) -> None:
    """Prints a table, or JSON."""
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


def show_events(rows: list[Row], as_json: bool) -> None:
    columns: Columns = {
        "event": "event_type",
        "about": "entity_id",
        "message": "id",
        "state": lambda row: _each(row, "state"),
        "response": lambda row: _each(row, "response_status") or _each(row, "error"),
        "next attempt": lambda row: " ".join(
            d["due_at"][:19] for d in row["deliveries"] if d["state"] == "due"
        ),
    }
    show(rows, columns, as_json)


def _each(row: Row, name: str) -> str:
    values = [str(delivery[name]) for delivery in row["deliveries"] if delivery[name] is not None]
    counted = {value: values.count(value) for value in values}
    return ", ".join(value if count == 1 else f"{value} x{count}" for value, count in counted.items())
