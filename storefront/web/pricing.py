"""What the pricing pages say about a plan besides its price: features, savings, what is billed later."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from flask import Flask
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy

from storefront.checkout.offers import Offer, PlanOnSale, Refusal, rounded
from storefront.flexprice import Entitlement
from storefront.web.languages import number, period, price
from storefront.web.rates import rates_of

MONTHS = {"QUARTERLY": 3, "HALF_YEARLY": 6, "ANNUAL": 12}
ONE = Decimal(1)

REFUSALS = {
    Refusal.FREE: lazy("There is nothing to pay for this plan. Contact us to start."),
    Refusal.PER_UNIT: lazy("This plan has per-unit pricing. Contact us to subscribe."),
    Refusal.CURRENCY: lazy("We cannot charge this currency yet. Choose another one."),
    Refusal.PRICE_CHANGE: lazy("The price of this plan is about to change. Contact us to subscribe."),
    Refusal.PERIOD: lazy("This billing period is not available online. Contact us to subscribe."),
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of a plan: an allowance, a text of its own, or simply yes or no."""

    name: str
    included: bool = True
    text: str = ""
    metered: bool = False
    limit: int | None = None  # of a metered feature; None: unlimited
    reset: str = ""  # how often the allowance starts again, a billing period; NEVER for seats


def init_app(app: Flask) -> None:
    functions = (
        *(listed, currencies_of, periods_of, shown_offer, highest_saving, features_of, feature_line),
        *(feature_value, comparison, rates_of, is_highlighted, per_month, saving, is_usage_only, notes_of),
        *(refusal_text,),
    )
    app.context_processor(lambda: {function.__name__: function for function in functions})


# -- which plans, currencies and periods ------------------------------------------------------------


def listed(plans: Sequence[PlanOnSale], everything: bool = False) -> list[PlanOnSale]:
    """The plans of the pricing page: those whose metadata in Flexprice does not say `listed: false`."""
    return [plan for plan in plans if everything or plan.plan.metadata.get("listed") != "false"]


def currencies_of(plans: Sequence[PlanOnSale]) -> list[str]:
    return list(dict.fromkeys(currency for plan in plans for currency, _period in plan.offers))


def periods_of(plans: Sequence[PlanOnSale], known: Sequence[str]) -> list[str]:
    """The billing periods of these plans, in the order of `known`."""
    sold = {period for plan in plans for _currency, period in plan.offers}
    return [period for period in known if period in sold]


def shown_offer(plan: PlanOnSale, currency: str, billing_period: str) -> Offer | None:
    """The offer for this choice. A plan without a fixed fee is the same for each period: any offer does."""
    in_currency = [offer for (known, _period), offer in plan.offers.items() if known == currency.lower()]
    without_fee = in_currency[0] if in_currency and not any(offer.amount for offer in in_currency) else None
    return plan.offer(currency, billing_period) or without_fee


def is_highlighted(plan: PlanOnSale) -> bool:
    """Whether the plan's metadata in Flexprice says `highlight: true`."""
    return plan.plan.metadata.get("highlight") == "true"


# -- features ---------------------------------------------------------------------------------------


def features_of(plan: PlanOnSale) -> list[Feature]:
    return [_feature(entitlement) for entitlement in plan.plan.entitlements]


def _feature(entitlement: Entitlement) -> Feature:
    kind = entitlement.feature_type
    return Feature(
        entitlement.feature_name,
        included=entitlement.is_enabled or kind != "boolean",
        text=entitlement.static_value if kind == "static" else "",
        metered=kind == "metered",
        limit=entitlement.usage_limit if kind == "metered" else None,
        reset=entitlement.usage_reset_period,
    )


def feature_line(feature: Feature) -> str:
    """As in "10 seats", "50,000 API calls / month", "Custom domain", "Support: Email"."""
    if not feature.metered:
        return f"{feature.name}: {feature.text}" if feature.text else feature.name
    if feature.limit is None:
        return str(_("Unlimited %(feature)s", feature=_within(feature.name)))
    return f"{number(feature.limit)} {_within(feature.name)}{_each(feature)}"


def feature_value(feature: Feature) -> str:
    """As in a table: "50,000 / month", "10", "Unlimited", "Email"; empty for a feature that is just there."""
    if not feature.metered:
        return feature.text
    return str(_("Unlimited")) if feature.limit is None else f"{number(feature.limit)}{_each(feature)}"


def _each(feature: Feature) -> str:
    return f" / {period(feature.reset)}" if feature.reset not in ("", "NEVER") else ""


def _within(name: str) -> str:
    """A feature's name inside a line: "seats" for "Seats", but "API calls"."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def comparison(plans: Sequence[PlanOnSale]) -> list[tuple[str, list[Feature]]]:
    """Every feature with its value in each plan, in the order of the plan that names most."""
    known = [{feature.name: feature for feature in features_of(plan)} for plan in plans]
    names = dict.fromkeys(name for features in sorted(known, key=len, reverse=True) for name in features)
    return [(name, [features.get(name) or Feature(name, False) for features in known]) for name in names]


# -- money ------------------------------------------------------------------------------------------


def per_month(offer: Offer) -> Decimal | None:
    """What a longer period costs a month, before tax; None for a month or less."""
    months = MONTHS.get(offer.billing_period)
    return rounded(offer.amount / months) if months and offer.amount > 0 else None


def saving(plan: PlanOnSale, offer: Offer) -> tuple[Decimal, int] | None:
    """What a year saves against twelve months of the same plan: the amount and rounded percents."""
    monthly = plan.offer(offer.currency, "MONTHLY")
    if offer.billing_period != "ANNUAL" or not (monthly and monthly.buyable and offer.buyable):
        return None
    twelve = monthly.amount * 12
    saved = twelve - offer.amount
    return (saved, int((saved * 100 / twelve).quantize(ONE, ROUND_HALF_UP))) if saved > 0 else None


def highest_saving(plans: Sequence[PlanOnSale], currency: str) -> str:
    """For the choice of periods: "Save 17%", or "Save up to 17%" where plans differ; empty for none."""
    offers = [(plan, plan.offer(currency, "ANNUAL")) for plan in plans]
    found = [saved[1] for plan, offer in offers if offer and (saved := saving(plan, offer))]
    if not found:
        return ""
    if len(set(found)) == 1:
        return str(_("Save %(percent)s%%", percent=found[0]))
    return str(_("Save up to %(percent)s%%", percent=max(found)))


def is_usage_only(plan: PlanOnSale, offer: Offer) -> bool:
    return plan.has_usage and offer.amount == 0


def notes_of(plan: PlanOnSale, offer: Offer) -> list[str]:
    """What the first payment does not cover."""
    usage = plan.has_usage and not is_usage_only(plan, offer)
    notes = [_("Usage is billed afterwards, on top of this price.")] if usage else []
    return notes + [
        _(
            "A one-time set-up fee of %(amount)s is not part of the first payment and is billed separately.",
            amount=price(fee.amount, fee.currency),
        )
        for fee in plan.one_time_fees
        if fee.currency == offer.currency
    ]


def refusal_text(plan: PlanOnSale, offer: Offer) -> str:
    """Why the offer cannot be bought here."""
    if is_usage_only(plan, offer):
        return str(_("This plan is billed by usage. Contact us to subscribe."))
    return str(REFUSALS[offer.refusal]) if offer.refusal else ""
