"""`flask preflight`: is the shop ready to go live?"""

import json

import click
from flask.cli import with_appcontext

from storefront.operations.preflight import report
from storefront.operations.preflight.result import FAILS, OK, WARNING, Result
from storefront.operations.preflight.shop_checks import test_email

COLOURS = {OK: "green", WARNING: "yellow", FAILS: "red"}


@click.command("preflight")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.option("--email-to", help="Also send a test email to this address.")
@with_appcontext
def preflight(as_json: bool, email_to: str | None) -> None:
    """Check whether the shop is ready to go live. Exits with 1 when a check fails.

    It sends test events (msg_preflight_…) to the shop's own address, writes a row of its own, and signs in at
    the mail server; it sells and changes nothing.
    """
    results = report.run(act=True)
    if email_to:
        results.append(test_email(email_to))
    failed = sum(result.status == FAILS for result in results)
    if as_json:
        ready = {"ready": not failed, "checks": [result._asdict() for result in results]}
        click.echo(json.dumps(ready, indent=2))
    else:
        print_report(results, failed)
    if failed:
        raise SystemExit(1)


def print_report(results: list[Result], failed: int) -> None:
    before = ""
    for result in results:
        if result.check != before:
            click.secho(result.check, bold=True)
        before = result.check
        click.echo("  " + click.style(f"{result.status:8}", fg=COLOURS.get(result.status)) + result.message)
        if result.fix:
            click.echo(f"  {'':8}→ {result.fix}")
    click.echo(f"{failed} of {len(results)} fail." if failed else "Nothing fails.")
