"""`flask checkout …`: the worker, and what an operator or a developer asks about."""

import signal
import threading
from typing import Any, NoReturn

import click
from flask import current_app, render_template, url_for
from flask.cli import AppGroup
from sqlalchemy import or_, select

from ..flexprice import FlexpriceError
from . import orders, reconciliation, webhooks, worker
from .context import ask, checkout, commit, release, rollback, session
from .models import OrderMixin
from .states import OPEN, TRANSITIONS, State, Trigger

cli = AppGroup("checkout", help="Flexprice Checkout: run the worker, look into orders and webhook events.")


@cli.command("worker")
@click.option("--once", is_flag=True, help="Do what is due and end; for cron.")
def run_worker(once: bool) -> None:
    """Process webhook events, fulfill paid orders, find what was lost."""
    if once:
        click.echo(f"{worker.run_once()} taken up")
        return
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda *_: stop.set())
    worker.run_forever(stop)


@cli.command("reconcile")
@click.option("--dry-run", is_flag=True, help="Say what would change, and write nothing.")
def reconcile(dry_run: bool) -> None:
    """Ask Flexprice about every open or paid order now. Use it after an outage of webhooks."""
    Order = checkout().Order
    known = or_(Order.session_requested_at.is_not(None), Order.session_id.is_not(None))
    waiting = select(Order.id).where(Order.state.in_([*OPEN, State.PAID]), known).order_by(Order.id)
    act = preview_orders if dry_run else reconcile_orders
    results = act(list(session().scalars(waiting)))
    for ref, before, after, problem in results:
        click.echo(f"{ref}  {before} -> {after}" + (f"  ({problem})" if problem else ""))
    click.echo(f"{len(results)} orders checked")
    if any(problem for *_, problem in results):
        raise SystemExit(1)


def reconcile_orders(order_ids: list[int]) -> list[tuple[str, str, str, str]]:
    """Check orders now, whatever their gaps. Each result: reference, state before, state after, error."""
    results = []
    for order_id in order_ids:
        order = orders.get(order_id)
        ref, before, problem = order.ref, order.state, ""
        for _ in range(3):  # an open order may become paid, and a paid one fulfilled
            state = order.state
            try:
                reconciliation.check_order(order_id)
            except (FlexpriceError, orders.FulfillmentFailed) as error:
                rollback()
                problem = str(error)
            order = orders.get(order_id)
            if problem or order.state == state:
                break
        results.append((ref, before, order.state, problem))
    return results


def preview_orders(order_ids: list[int]) -> list[tuple[str, str, str, str]]:
    """What `reconcile_orders` would do with orders: the same results, and nothing is written."""
    results = []
    for order_id in order_ids:
        order = orders.get(order_id)
        ref, before, after, problem = order.ref, order.state, order.state, ""
        try:
            after = _state_to_be(order)
        except FlexpriceError as error:
            problem = str(error)
        results.append((ref, before, after, problem))
    return results


def _state_to_be(order: OrderMixin) -> str:
    if order.state == State.PAID:
        as_ordered = order.invoice_verified_at or not reconciliation.differences_of(
            order, reconciliation.read_invoice(order)
        )
        return State.FULFILLED if as_ordered else State.HELD
    trigger: Trigger | None
    if order.session_id:
        trigger = orders.trigger_for(order, ask(checkout().client.get_checkout_session, order.session_id))
    else:
        paid = any(found.status in ("active", "trialing") for found in orders.traces_of(order))
        trigger = Trigger.PAYMENT_COMPLETED if paid and (order.amount or order.is_open) else None
    return TRANSITIONS.get((State(order.state), trigger), order.state) if trigger else order.state


@cli.command("show")
@click.argument("ref")
def show(ref: str) -> None:
    """Print an order: its columns, and the webhook events about it."""
    order, Row = _order(ref), checkout().WebhookEvent
    for column in checkout().Order.__table__.columns:
        name = {"amount": "amount_text", "invoice_total": "invoice_total_text"}.get(column.key, column.key)
        if (value := getattr(order, name)) is not None:
            click.echo(f"{column.key:24} {value}")
    about = or_(Row.order_ref == order.ref, Row.object_id.in_(_ids_of(order)))
    for event in session().scalars(select(Row).where(about).order_by(Row.received_at)):
        click.echo(f"{event.received_at}  {event.event_type}  {event.outcome or 'due'}")


def _order(ref: str) -> OrderMixin:
    return orders.find(ref=ref) or _fail("There is no such order.")


def _fail(text: str) -> NoReturn:
    raise click.ClickException(text)


def _ids_of(order: OrderMixin) -> list[str]:
    return [found for found in (order.session_id, order.payment_id, order.subscription_id) if found]


@cli.command("resolve")
@click.argument("ref")
@click.option("--fulfill", "how", flag_value="fulfill", help="Fulfill a held or stuck order as it is.")
@click.option("--refunded", "how", flag_value="refunded", help="The money went back.")
@click.option("--close", "how", flag_value="close", help="End an order that would wait for ever.")
def resolve(ref: str, how: str | None) -> None:
    """Decide about an order that waits for a person."""
    decisions = {
        "fulfill": orders.release_for_fulfillment,
        "refunded": orders.confirm_refund,
        "close": orders.close,
    }
    if how is None:
        raise click.UsageError("Say what to do: --fulfill, --refunded or --close.")
    order = _order(ref)
    moved = decisions[how](order, by="operator:command line")
    commit()
    if not moved:
        raise click.ClickException(f"An order that is {order.state} cannot be resolved so.")
    click.echo(f"{order.ref} is {order.state}")


@cli.command("events")
@click.option("--set-aside", is_flag=True, help="Only events that wait for a person.")
@click.option("--retry", "event_id", help="Process this event again.")
def events(set_aside: bool, event_id: str | None) -> None:
    """List webhook events, newest first, or process one again."""
    if event_id:
        if not webhooks.retry(event_id):
            raise click.ClickException("There is no such event.")
        click.echo("It is due.")
        return
    Row = checkout().WebhookEvent
    newest = select(Row).order_by(Row.received_at.desc()).limit(100)
    if set_aside:
        newest = newest.where(Row.processed_at.is_(None), Row.next_attempt_at.is_(None))
    for event in session().scalars(newest):
        click.echo(f"{event.received_at}  {event.id}  {event.event_type}  {event.outcome or 'due'}")


@cli.command("check")
def check() -> None:
    """Check the settings, the layout and the connection to Flexprice."""
    problems = [*_missing_settings(), *_layout_problems(), *_flexprice_problems()]
    for problem in problems:
        click.echo(f"problem: {problem}")
    for warning in _warnings():
        click.echo(f"warning: {warning}")
    if problems:
        raise SystemExit(1)
    click.echo("The checkout is set up.")


def _missing_settings() -> list[str]:
    config = current_app.config
    needed = ["FLEXPRICE_API_URL", "FLEXPRICE_API_KEY", "CHECKOUT_LOGIN_ENDPOINT"]
    if not config.get("FLEXPRICE_WEBHOOK_HEADER"):
        needed.append("FLEXPRICE_WEBHOOK_SECRET")
    return [f"{name} is not set" for name in needed if not config.get(name)]


def _layout_problems() -> list[str]:
    layout = current_app.config.get("CHECKOUT_LAYOUT") or "base.html"
    shown = {"title": "", "message": "checkout-check", "next_url": "/", "next_label": ""}
    try:
        with current_app.test_request_context(url_for_check("checkout.plans")):
            html = render_template("checkout/message.html", checkout_layout=layout, **shown)
    except Exception as error:
        return [f"The page cannot be rendered in {layout}: {type(error).__name__}: {error}"]
    finally:
        release()
    return [] if "checkout-check" in html else [f"{layout} has no block named content"]


def url_for_check(page: str) -> str:
    """Return the address of a page, outside a request."""
    with current_app.test_request_context():
        return url_for(page)


def _flexprice_problems() -> list[str]:
    try:
        plans = checkout().client.list_plans()
    except FlexpriceError as error:
        return [f"Flexprice cannot be asked: {error}"]
    return [] if plans else ["Flexprice has no published plan"]


def _warnings() -> list[str]:
    config, found = current_app.config, []
    if config.get("SESSION_COOKIE_SAMESITE") == "Strict":
        found.append(
            'SESSION_COOKIE_SAMESITE is "Strict": customers come back from Razorpay signed out. Use "Lax"'
        )
    if not config.get("CHECKOUT_BASE_URL"):
        found.append("CHECKOUT_BASE_URL is not set: return addresses are made from the Host header")
    found += _policy_warnings()
    return found


def _policy_warnings() -> list[str]:
    """A Content-Security-Policy of the app's own must let forms lead to the payment hosts."""
    return [
        f"{page}: form-action in its Content-Security-Policy lacks the payment hosts; Chromium drops them"
        for page in ("checkout.plans", "subscriptions.billing")
        if page in current_app.view_functions and "rzp.io" not in _form_action(page)
    ]


def _form_action(page: str) -> str:
    """What the page's policy says of forms; one that says nothing allows Razorpay."""
    response: Any = current_app.test_client().get(url_for_check(page))
    policy = response.headers.get("Content-Security-Policy", "")
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
    return str(directives.get("form-action", "rzp.io"))
