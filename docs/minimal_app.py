"""The smallest app that sells a Flexprice plan correctly, in one file.

With the sandbox running, and FLEXPRICE_API_URL, FLEXPRICE_API_KEY and FLEXPRICE_WEBHOOK_SECRET set:

    python -m flask --app docs/minimal_app init-db
    python -m flask --app docs/minimal_app run --port 8000
    python -m flask --app docs/minimal_app reconcile          # every minute, from cron

Five rules carry the whole flow. Keep them when you copy it:

1. Commit the order before calling Flexprice, and use its reference as the idempotency key.
2. Believe only a signed webhook, or Flexprice when asked. Reaching the return URL proves nothing.
3. Verify the signature over the raw body, before anything parses it.
4. Store the event, move the order and grant access in one transaction: each happens once, however
   often the webhook is delivered. On an error answer 5xx, and it is delivered again.
5. Ask Flexprice when a webhook is late. The answer takes the same path.

Left out, see storefront/checkout/: sign-in, CSRF, double clicks, changed prices, refunds, late
payments, overwritten sessions, allowed payment hosts, retries of the create call, email.
"""

import contextlib
import os
import secrets
import sqlite3

from flask import Flask, abort, g, redirect, render_template_string, request, url_for
from flask.typing import ResponseReturnValue

from storefront import flexprice
from storefront.flexprice import CheckoutSession, FlexpriceError

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000
client = flexprice.Client(os.environ["FLEXPRICE_API_URL"], os.environ["FLEXPRICE_API_KEY"])
verifier = flexprice.WebhookVerifier(os.environ["FLEXPRICE_WEBHOOK_SECRET"].split())
BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000")
CUSTOMER = "customer-1"  # your signed-in user; Flexprice knows this external id

SCHEMA = """
CREATE TABLE orders (ref TEXT PRIMARY KEY, plan_id TEXT NOT NULL, session_id TEXT UNIQUE,
                     status TEXT NOT NULL DEFAULT 'pending');  -- pending, paid, failed, expired
CREATE TABLE events (id TEXT PRIMARY KEY, type TEXT NOT NULL);  -- webhooks handled already
CREATE TABLE access (order_ref TEXT PRIMARY KEY, plan_id TEXT NOT NULL);
"""


@app.post("/checkout")  # add your CSRF protection
def checkout() -> ResponseReturnValue:
    ref, plan_id = secrets.token_hex(16), request.form["plan"]
    page = BASE_URL + url_for("order", ref=ref)
    with get_db() as db:  # rule 1: committed before the call
        db.execute("INSERT INTO orders (ref, plan_id) VALUES (?, ?)", (ref, plan_id))
    wanted = flexprice.CheckoutSessionRequest(CUSTOMER, plan_id, "INR", "MONTHLY", ref, page, page, page)
    try:
        session = client.create_checkout_session(wanted)
    except FlexpriceError as error:  # it may be open all the same: never a second call
        app.logger.warning("order %s: %s", ref, error)
        return redirect(page, 303)
    with get_db() as db:
        db.execute("UPDATE orders SET session_id = ? WHERE ref = ?", (session.id, ref))
    return redirect(session.payment_url or page, 303)


@app.post("/webhooks/flexprice")
def webhook() -> ResponseReturnValue:
    body = request.get_data()  # rule 3: the raw bytes
    try:
        event_id = verifier.verify(body, request.headers)
        event = flexprice.Event.from_body(body)
    except FlexpriceError as error:
        app.logger.warning("webhook rejected: %s", error)
        return {"error": "webhook rejected"}, 401
    with get_db() as db:  # rule 4: one transaction
        added = db.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (event_id, event.type))
        if added.rowcount and event.session:
            apply_session(db, event.session)  # the body is signed: no call is needed
    return "", 204


def apply_session(db: sqlite3.Connection, session: CheckoutSession) -> None:
    order = db.execute("SELECT ref FROM orders WHERE session_id = ?", (session.id,)).fetchone()
    if order and session.terminal:  # completed, failed or expired
        settle(db, order["ref"], "paid" if session.status == "completed" else session.status)


def settle(db: sqlite3.Connection, ref: str, status: str) -> None:
    """Move the order; if this call made it paid, grant access. A paid order never moves again."""
    moved = db.execute("UPDATE orders SET status = ? WHERE ref = ? AND status != 'paid'", (status, ref))
    if moved.rowcount and status == "paid":  # replace the next line; write rows only, call nobody
        db.execute("INSERT INTO access SELECT ref, plan_id FROM orders WHERE ref = ?", (ref,))


@app.cli.command("reconcile")
def reconcile() -> None:
    """Ask Flexprice about every pending order (rule 5)."""
    for order in get_db().execute("SELECT * FROM orders WHERE status = 'pending'").fetchall():
        try:
            ask(order["ref"], order["session_id"])
        except FlexpriceError as error:
            app.logger.warning("order %s: %s", order["ref"], error)


def ask(ref: str, session_id: str | None) -> None:
    if session_id:
        session = client.get_checkout_session(session_id)
        with get_db() as db:
            apply_session(db, session)
        return
    found = client.list_subscriptions(CUSTOMER, ["active"])  # the answer to create was lost
    if any(subscription.metadata.get("order_ref") == ref for subscription in found):
        with get_db() as db:
            settle(db, ref, "paid")


@app.get("/")
def plans() -> ResponseReturnValue:
    page = """{% for plan in plans %}<form method="post" action="/checkout">{{ plan.name }}
      <button name="plan" value="{{ plan.id }}">Buy</button></form>{% endfor %}"""
    return render_template_string(page, plans=client.list_plans())


@app.get("/orders/<ref>")
def order(ref: str) -> ResponseReturnValue:
    """Where the shopper comes back to. It only shows (rule 2), and reloads itself while pending."""
    row = get_db().execute("SELECT * FROM orders WHERE ref = ?", (ref,)).fetchone() or abort(404)
    page = """{% if o.status == "pending" %}<meta http-equiv="refresh" content="3">{% endif %}
      Order {{ o.ref[-8:] }}: {{ o.status }}"""
    return render_template_string(page, o=row)


@app.cli.command("init-db")
def init_db() -> None:
    """Create the tables, and the customer at Flexprice."""
    get_db().executescript(SCHEMA)
    with contextlib.suppress(flexprice.Conflict):  # the customer exists already
        client.create_customer(CUSTOMER, "Asha Rao", "asha@example.com")


def get_db() -> sqlite3.Connection:
    if "db" not in g:
        g.db = sqlite3.connect(os.environ.get("DATABASE", "minimal.db"), isolation_level="IMMEDIATE")
        g.db.row_factory = sqlite3.Row
    return g.db


@app.teardown_appcontext
def close_db(_error: BaseException | None) -> None:
    if "db" in g:
        g.pop("db").close()
