"""Go-live checks of what Flexprice says: the key, its environment, the plans, the clock."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

import requests

from storefront.checkout.context import checkout
from storefront.checkout.offers import plan_on_sale, put_on_sale
from storefront.flexprice import AuthenticationError, FlexpriceError, InvalidRequest, NotFound, Plan
from storefront.http import request
from storefront.operations.preflight.result import BY_HAND, FAILS, OK, WARNING, Context, Finding

MAX_SKEW_S, MAX_SKEW_REFUSED_S = 10, 120  # webhooks are refused at 300 s
MIN_AMOUNT = {"inr": Decimal(1), "usd": Decimal("0.01")}  # of Razorpay, docs/flexprice-contract.md, D.6

CHECK_ADDRESS = "Check FLEXPRICE_API_URL from this machine, and the status of Flexprice."


def api_key(context: Context) -> Iterable[Finding]:
    """Flexprice accepts the key."""
    plans = context.plans
    if isinstance(plans, AuthenticationError):
        fix = "Create a new key for this environment in Flexprice. It is sent in x-api-key, never as Bearer."
        yield Finding(FAILS, f"Flexprice refuses the key ({plans.status}).", fix)
    elif isinstance(plans, FlexpriceError):
        message = f"Flexprice did not answer as expected: {plans.status or 'no answer'}."
        yield Finding(FAILS, message, CHECK_ADDRESS)
    else:
        yield Finding(OK, "Flexprice accepts it")


def may_write(context: Context) -> Iterable[Finding]:
    """Every server refuses a customer without a name; how it refuses shows what the key may do."""
    try:
        checkout().client.create_customer("", "", "")
    except AuthenticationError:
        yield Finding(FAILS, "The key is read-only.", "Give it a role that may write.")
    except InvalidRequest:
        yield Finding(OK, "the key may write")
    except FlexpriceError as error:
        yield Finding(FAILS, f"Flexprice could not be asked: {error.status or 'no answer'}.", CHECK_ADDRESS)
    else:
        yield Finding(WARNING, "Flexprice accepted a customer without a name.", "Delete it there.")


def environment(context: Context) -> Iterable[Finding]:
    """The key is of a production environment."""
    plans = context.plans
    found = [plan.environment_id for plan in plans] if isinstance(plans, list) else []
    wanted = context.settings.flexprice_environment_id or next(filter(None, found), "")
    where = "Compare the key with the environments in Flexprice's dashboard."
    if not wanted:
        return [Finding(BY_HAND, "The environment of the key could not be read.", where)]
    try:
        environment = checkout().client.get_environment(wanted)
    except (NotFound, AuthenticationError):
        return [Finding(BY_HAND, f"Flexprice does not say what kind of environment {wanted} is.", where)]
    except FlexpriceError as error:
        message = f"Flexprice could not be asked: {error.status or 'no answer'}."
        return [Finding(WARNING, message, CHECK_ADDRESS)]
    named = f"{environment.name or environment.id} is a {environment.type} environment"
    if environment.type == "production":
        return [Finding(OK, named)]
    return [Finding(WARNING, f"{named}: for tests, not for selling.", "Use a production key.")]


def offers(context: Context) -> Iterable[Finding]:
    """What a page shows is what a session charges; every exception is named."""
    plans = context.plans
    if isinstance(plans, FlexpriceError):
        return [Finding(FAILS, "The plans could not be read, so nothing can be sold.", CHECK_ADDRESS)]
    now = datetime.now(UTC)
    on_sale = list(put_on_sale(plans, now))
    found = [finding for plan in on_sale for finding in _plan_findings(plan.plan, now)]
    if len(on_sale) < len(plans):
        message = f"{len(plans) - len(on_sale)} plans have prices that cannot be computed."
        found.append(Finding(WARNING, message, "The shop's log names them."))
    shown = [offer for plan in on_sale for offer in plan.offers.values()]
    buyable = sum(offer.buyable for offer in shown)
    if buyable:
        found.append(Finding(OK, f"{buyable} of {len(shown)} offers can be bought, at the price shown"))
    else:
        found.append(Finding(FAILS, "No plan can be bought.", "Publish a plan with a recurring fixed price."))
    return found


def _plan_findings(plan: Plan, now: datetime) -> Iterable[Finding]:
    on_sale = plan_on_sale(plan, now)
    for offer in on_sale.offers.values():
        name = f"{plan.name}, {offer.currency.upper()} {offer.billing_period}"
        if offer.refusal:
            yield Finding(WARNING, f"{name} is not sold: {offer.refusal}", "Change its prices in Flexprice.")
        elif offer.amount < MIN_AMOUNT.get(offer.currency, 0):
            message = f"{name}: {offer.amount} is below Razorpay's minimum."
            yield Finding(FAILS, message, "Raise the price.")
    if on_sale.one_time_fees:
        message = f"{plan.name} has a one-time fee, which Flexprice leaves out of the first payment."
        yield Finding(
            WARNING, message, "The page says so. Invoice it separately, or remove it from the plan."
        )
    yield from _trial_findings(plan)


def _trial_findings(plan: Plan) -> Iterable[Finding]:
    """Flexprice compares the recurring fees of one checkout: of a currency and a billing period."""
    trials: dict[tuple[str, str], set[int]] = defaultdict(set)
    for price in plan.prices:
        if price.type == "FIXED" and not price.one_time:
            trials[price.currency, price.billing_period].add(price.trial_period_days)
    if any(len(days) > 1 for days in trials.values()):
        message = f"{plan.name}: its prices have different trials, so Flexprice refuses the checkout (400)."
        yield Finding(FAILS, message, "Give all fees of a currency and period the same trial.")
    elif any(days - {0} for days in trials.values()):
        message = f"{plan.name} has a trial, which checkout ignores: the full first charge is taken at once."
        yield Finding(WARNING, message, "The shop starts trials without a checkout; “Buy” charges at once.")


def clock(context: Context) -> Iterable[Finding]:
    """Signatures that are five minutes off are refused, so the clocks must agree."""
    try:
        answer = request("GET", context.settings.flexprice_api_url)
        theirs = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (requests.RequestException, ValueError, TypeError):
        return [Finding(WARNING, "Flexprice's clock could not be read.", CHECK_ADDRESS)]
    skew_s = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew_s < MAX_SKEW_S:
        return [Finding(OK, f"within {skew_s:.0f} s of Flexprice's")]
    status = WARNING if skew_s < MAX_SKEW_REFUSED_S else FAILS
    return [Finding(status, f"{skew_s:.0f} s away from Flexprice's.", "Synchronise this machine by NTP.")]
