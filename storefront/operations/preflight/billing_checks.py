"""Go-live checks of the later months: what Flexprice does by itself about invoices that are not paid."""

from collections.abc import Iterable, Mapping
from typing import Any

from storefront.checkout.context import checkout
from storefront.flexprice import FlexpriceError
from storefront.operations import billing
from storefront.operations.preflight.result import BY_HAND, OK, WARNING, Context, Finding

UNKNOWN = "Unknown: the key cannot read Flexprice's settings."
LOOK_THERE = "Look at the invoice and subscription settings in Flexprice's dashboard."
LONG_DELAY_S = 6 * 3600
SYNC = "Flexprice's invoice sync to Razorpay must be off: its page does not lead back to the shop."
FIRST_RENEWAL = (
    "After a checkout the first renewal may make no invoice: usage of the first period is not billed then."
)


def invoices(context: Context) -> Iterable[Finding]:
    """When invoices become final, and what becomes of a plan that stays unpaid."""
    if not billing.in_use():
        return
    try:
        ends = checkout().client.get_setting("subscription_config")
        makes = checkout().client.get_setting("invoice_config")
    except FlexpriceError:
        yield Finding(BY_HAND, UNKNOWN, LOOK_THERE)
    else:
        yield _about_cancellation(ends, context.settings.grace_days)
        yield _about_delay(makes)
    yield Finding(BY_HAND, SYNC, "Look at the connection's settings in Flexprice's dashboard.")
    yield Finding(BY_HAND, FIRST_RENEWAL, "Sell plans with usage only after a trial sale of your own.")


def _about_cancellation(setting: Mapping[str, Any], ours: float) -> Finding:
    """Flexprice must not end a plan that the shop still only suspends."""
    if setting.get("auto_cancellation_enabled") is not True:
        return Finding(OK, "Flexprice ends no unpaid plan by itself")
    theirs = float(setting.get("grace_period_days") or 0)
    if theirs > ours:
        return Finding(OK, f"Flexprice ends a plan {theirs:g} days after the due date")
    message = f"Flexprice ends an unpaid plan after {theirs:g} days, and CHECKOUT_GRACE_DAYS is {ours:g}."
    return Finding(WARNING, message, "Give Flexprice the longer grace, or switch its cancellation off.")


def _about_delay(setting: Mapping[str, Any]) -> Finding:
    delay_s = int(setting.get("finalization_delay_seconds") or 0)
    if delay_s <= LONG_DELAY_S:
        return Finding(OK, f"an invoice is final {delay_s // 60} minutes after it was computed")
    message = f"An invoice is final only {delay_s // 3600} hours after it was computed."
    return Finding(WARNING, message, "Shorten finalization_delay_seconds: customers wait for their invoice.")
