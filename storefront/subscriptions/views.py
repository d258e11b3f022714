"""The billing page and its forms. A GET changes nothing but what the return address claims."""

import logging
import time
from datetime import UTC, timedelta
from typing import Any

from flask import abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy import select

from ..checkout import context as checkout_context
from ..checkout import orders, purchase
from ..checkout import views as checkout_views
from ..checkout.context import PAGE_TIMEOUT_S, ask, checkout, commit, db_now, rollback, session, shop_now
from ..checkout.models import Customer
from ..checkout.offers import Offer, PlanOnSale, Refusal
from ..checkout.states import State
from ..checkout.views import login_url, usable_id
from ..flexprice import CustomerFeature, FlexpriceError
from . import changes, payments, starts
from .context import find_invoice, find_subscription, invoices_of, subscriptions, subscriptions_of
from .models import InvoiceMixin, SubscriptionMixin
from .states import Link
from .sync import running_of

log = logging.getLogger(__name__)

USAGE_IS_KEPT_S = 60.0
INVOICE_IS_MADE_WITHIN = timedelta(hours=3)
UNAVAILABLE = "This could not be done at the moment. This request did not charge you. Try again in a minute."


# -- seeing -----------------------------------------------------------------------------------------


def billing() -> ResponseReturnValue:
    customer = _customer()
    rows = [row for row in subscriptions_of(customer.key) if row.order_ref or not row.replaced_by]
    known = {row.subscription_id: invoices_of(row.subscription_id) for row in rows}
    bills = {subscription_id: [i for i in found if _shown(i)] for subscription_id, found in known.items()}
    preparing = {row.id for row in rows if _is_prepared(row, known[row.subscription_id])}
    plan_names = _plan_names({row.planned_plan_id for row in rows if row.planned_plan_id})
    commit()
    return page(
        "billing.html",
        subscriptions=rows,
        invoices=bills,
        features=features_of(customer) if any(row.runs for row in rows) else None,
        payable=_payable(rows, bills),
        plan_names=plan_names,
        preparing=preparing,
    )


def _shown(invoice: InvoiceMixin) -> bool:
    return invoice.status in ("FINALIZED", "VOIDED")


def _is_prepared(row: SubscriptionMixin, invoices: list[InvoiceMixin]) -> bool:
    """A period has just ended: its invoice may come for three hours (docs/flexprice-contract.md#j2)."""
    now, end = shop_now(), row.period_end
    if not row.runs or row.replaced_by or end is None:
        return False
    draft = any(invoice.status == "DRAFT" for invoice in invoices)  # the period has rolled
    began = end if end <= now else row.period_start if draft else None
    return began is not None and began <= now < began + INVOICE_IS_MADE_WITHIN


def _payable(rows: list[SubscriptionMixin], bills: dict[str, list[InvoiceMixin]]) -> set[int]:
    """Open invoices with a button. Those of a replaced plan are not asked for, nor those for a person."""
    return {
        invoice.id
        for row in rows
        if row.replaced_by is None
        for invoice in bills[row.subscription_id]
        if invoice.is_open and invoice.link != Link.REVIEW and invoice.money_seen_at is None
    }


def features_of(customer: Customer) -> dict[str, Any]:
    """What the customer may use and has used, read at most once a minute; `rows` None: it cannot be read."""
    cache = subscriptions().usage
    known = cache.get(customer.key)
    if known and time.monotonic() - known[0] < USAGE_IS_KEPT_S:
        return dict(known[1])
    rows: list[CustomerFeature] | None = None
    client = checkout().client
    try:
        rows = ask(client.list_entitlements, customer.key, timeout=PAGE_TIMEOUT_S)
        metered = {f.name: f for f in ask(client.list_usage, customer.key, timeout=PAGE_TIMEOUT_S)}
        rows = [metered.get(feature.name, feature) for feature in rows]
    except FlexpriceError as error:
        log.warning("The usage of a customer cannot be read: %s", error)
    found = {"rows": rows, "as_of": shop_now().replace(tzinfo=UTC)}
    if len(cache) > 1000:
        cache.clear()
    cache[customer.key] = (time.monotonic(), found)
    return found


def pdf(invoice_id: str) -> ResponseReturnValue:
    invoice = _own_invoice(invoice_id)
    if not _shown(invoice):
        abort(404)
    name = invoice.number or "invoice"
    try:
        content = ask(checkout().client.get_invoice_pdf, invoice.invoice_id, timeout=PAGE_TIMEOUT_S)
    except FlexpriceError as error:
        log.warning("invoice %s: no PDF: %s", invoice_id, error)
        return said("No PDF at the moment", "The PDF of this invoice cannot be made at the moment.", 503)
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in name)
    headers = {
        "Content-Type": "application/pdf",
        "Content-Disposition": f'inline; filename="{safe}.pdf"',
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return content, 200, headers


# -- paying -----------------------------------------------------------------------------------------


def pay(invoice_id: str) -> ResponseReturnValue:
    invoice = _own_invoice(invoice_id)
    shown_at = url_for("subscriptions.returned", invoice_id=invoice.invoice_id, attempt=0)
    came_from = checkout_context.base_url() + shown_at.removesuffix("/0")
    where = payments.pay(invoice.id, came_from)
    if where and checkout_context.is_payment_url(where):
        at_provider = _own_invoice(invoice_id).provider_page  # it does not lead back to us
        return page("provider_page.html", url=where) if at_provider else redirect(where, 303)
    return redirect(url_for("subscriptions.billing"), 303)


def returned(invoice_id: str, attempt: int) -> ResponseReturnValue:
    invoice = _own_invoice(invoice_id)
    payments.note_return(invoice, attempt, request.args.get("razorpay_payment_link_status") == "paid")
    return redirect(url_for("subscriptions.billing"), 303)


# -- cancelling -------------------------------------------------------------------------------------


def cancel(subscription_id: str) -> ResponseReturnValue:
    row = _own_subscription(subscription_id)
    at_once = row.in_trial or (may_cancel_now() and request.values.get("when") == "now")
    if request.method == "GET":
        return page("cancel.html", subscription=row, at_once=at_once, may_cancel_now=may_cancel_now())
    return _do(changes.cancel, row.id, immediately=at_once)


def may_cancel_now() -> bool:
    """CHECKOUT_CANCEL_IMMEDIATELY: whether customers may end a plan before its period ends."""
    return bool(current_app.config.get("CHECKOUT_CANCEL_IMMEDIATELY"))


def undo(subscription_id: str) -> ResponseReturnValue:
    row = _own_subscription(subscription_id)
    what = "change" if request.form.get("what") == "change" else "cancel"
    return _do(changes.undo, row.id, what)


# -- another plan -----------------------------------------------------------------------------------


def change(subscription_id: str) -> ResponseReturnValue:
    row, customer = _own_subscription(subscription_id), _customer()
    snapshot = ask(checkout().catalog.for_sale)
    row = _own_subscription(subscription_id)
    plan = snapshot.plan(request.values.get("plan", ""))
    offer = _offer_of(plan, row)
    if offer is None:
        return page("change.html", subscription=row, offers=_other_offers(snapshot.plans, row), offer=None)
    if request.method == "GET":
        return page("change.html", subscription=row, offer=offer, **_why_not(row, offer))
    if request.form.get("when") == "today":
        return _change_today(row, customer, offer)
    return _do(changes.change_at_renewal, row.id, offer)


def _offer_of(plan: PlanOnSale | None, row: SubscriptionMixin) -> Offer | None:
    values = request.values
    currency, period = values.get("currency", row.currency), values.get("billing_period", row.billing_period)
    return plan.offer(currency, period) if plan else None


def _other_offers(plans: tuple[PlanOnSale, ...], row: SubscriptionMixin) -> list[Offer]:
    listed = [plan for plan in plans if plan.plan.metadata.get("listed") != "false"]
    offers = [offer for plan in listed for offer in plan.offers.values() if offer.currency == row.currency]
    sold = [offer for offer in offers if offer.buyable or offer.refusal == Refusal.FREE]
    return [o for o in sold if (o.plan_id, o.billing_period) != (row.plan_id, row.billing_period)]


def _why_not(row: SubscriptionMixin, offer: Offer) -> dict[str, str]:
    return {
        "not_at_renewal": changes.why_not_at_renewal(row, offer),
        "not_today": changes.why_not_today(row, offer),
    }


def _change_today(row: SubscriptionMixin, customer: Customer, offer: Offer) -> ResponseReturnValue:
    try:
        order = changes.change_today(row.id, customer, offer, checkout_context.return_url)
    except changes.Refused as refused:
        rollback()
        return said("Your plan was not changed", str(refused), 409)
    return redirect(checkout_views.where_to_pay(order), 303)


def offer_change(customer: Customer, offer: Offer) -> ResponseReturnValue | None:
    """`before_start` of the checkout: another plan while one is active is a change of plan."""
    if "subscriptions" not in current_app.extensions:
        return None
    running = running_of(customer.key)
    row = next((row for row in running if row.plan_id != offer.plan_id), None)
    if row is None or any(row.plan_id == offer.plan_id for row in running):
        return None
    chosen: dict[str, Any] = {
        "plan": offer.plan_id,
        "currency": offer.currency,
        "billing_period": offer.billing_period,
    }
    return redirect(url_for("subscriptions.change", subscription_id=row.subscription_id, **chosen), 303)


# -- nothing to pay ---------------------------------------------------------------------------------


def start() -> ResponseReturnValue:
    """Start a free plan, or one with a trial; the order's page says how it goes."""
    customer, form = checkout().hooks.customer_loader(), request.form
    if customer is None:
        return redirect(login_url(url_for("checkout.plans")), 303)
    plan_id = usable_id(form.get("plan", ""), 400)
    plan = ask(checkout().catalog.for_sale).plan(plan_id) or abort(404)
    offer = plan.offer(form.get("currency", ""), form.get("billing_period", "")) or abort(404)
    trial = starts.trial_days(plan, offer) > 0 and offer.buyable
    if not (trial or offer.refusal == Refusal.FREE):
        return said("This plan has a price", "It cannot be started without a payment.", 422)
    begun = orders.find(slot=orders.slot_of(customer.key, plan_id))  # pressed twice: its page
    if trial and begun is None and starts.had_trial(customer.key, plan_id):
        return said("Your trial is used", "There is one trial per plan. You can buy the plan.", 409)
    if (response := offer_change(customer, offer)) is not None:
        return response
    try:
        order = starts.start_free(customer, offer, checkout_context.return_url)
    except (purchase.AlreadyOwned, purchase.OpenOrderExists) as other:
        return redirect(url_for("checkout.success", ref=other.order.ref), 303)
    return redirect(url_for("checkout.success", ref=order.ref), 303)


# -- how --------------------------------------------------------------------------------------------


def _customer() -> Customer:
    """Who is signed in; somebody who is not is sent to sign in, whatever was asked for."""
    customer = checkout().hooks.customer_loader()
    if customer is None:
        is_form = request.method == "POST"
        next_url = url_for("subscriptions.billing") if is_form else request.full_path.rstrip("?")
        abort(redirect(login_url(next_url), 303))
    return customer


def _own_subscription(subscription_id: str) -> SubscriptionMixin:
    customer, known = _customer(), usable_id(subscription_id)
    return find_subscription(subscription_id=known, customer_key=customer.key) or abort(404)


def _own_invoice(invoice_id: str) -> InvoiceMixin:
    customer, known = _customer(), usable_id(invoice_id)
    return find_invoice(invoice_id=known, customer_key=customer.key) or abort(404)


def _do(act: Any, *args: Any, **kwargs: Any) -> ResponseReturnValue:
    try:
        act(*args, **kwargs)
    except changes.Refused as refused:
        rollback()
        return said("Nothing was changed", str(refused), 409, refused.__cause__)
    return redirect(url_for("subscriptions.billing"), 303)


def page(template: str, **values: Any) -> str:
    layout = current_app.config.get("CHECKOUT_LAYOUT") or "base.html"
    real, now = db_now(), shop_now()
    jinja = current_app.jinja_env  # your app's translations where it has Flask-Babel
    texts = jinja.globals["gettext"] if getattr(jinja, "newstyle_gettext", False) else _in_english
    values |= {"checkout_layout": layout, "now": now, "real_now": real, "_": texts}
    return render_template(f"subscriptions/{template}", **values)


def _in_english(text: str, **values: Any) -> Markup:
    return Markup(text) % values  # noqa: S704 - a text of these templates, not of a stranger


def _plan_names(plan_ids: set[str]) -> dict[str, str]:
    """Names of plans that are known by their id; of what was sold and what is cached, without a call."""
    if not plan_ids:
        return {}
    Order, cached = checkout().Order, checkout().catalog.cached
    of_plans = (Order.plan_id.in_(plan_ids), Order.state == State.FULFILLED)
    sold = select(Order.plan_id, Order.plan_name).where(*of_plans).distinct()
    names = {row.plan_id: row.plan_name for row in session().execute(sold.limit(100))}
    return names | ({plan.id: plan.name for plan in cached.plans} if cached else {})


def said(title: str, text: str, status: int, cause: BaseException | None = None) -> ResponseReturnValue:
    return page("message.html", title=title, message=text, reason=getattr(cause, "message", "")), status


def flexprice_failed(error: FlexpriceError) -> ResponseReturnValue:
    """Says only what this request did."""
    rollback()
    log.warning("Flexprice could not be asked: %s (request %s)", error, error.request_id)
    return said("Not available at the moment", UNAVAILABLE, 503)
