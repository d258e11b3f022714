"""What the pricing pages say about a plan besides its price: features, savings, what is billed later."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from flask import Flask
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy

from storefront.checkout.offers import CENT, Offer, PlanOnSale, Refusal
from storefront.flexprice import Entitlement
from storefront.web.languages import money

MAX_COMPARED = 8  # features side by side; a plan's own page names all of them
MONTHS = {"QUARTERLY": 3, "HALF_YEARLY": 6, "ANNUAL": 12}

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
    reset: str = ""  # how often the allowance starts again, a billing period


def init_app(app: Flask) -> None:
    app.context_processor(
        lambda: {
            "features_of": features_of,
            "compared_features": compared_features,
            "lines_of": lines_of,
            "is_highlighted": is_highlighted,
            "per_month": per_month,
            "saving": saving,
            "is_usage_only": is_usage_only,
            "notes_of": notes_of,
            "refusal_text": refusal_text,
        }
    )


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


def compared_features(plans: Sequence[PlanOnSale]) -> list[str]:
    """The names worth comparing: those of most plans first, then in the order in which plans name them."""
    named = [feature.name for plan in plans for feature in features_of(plan)]
    first = {name: place for place, name in reversed(list(enumerate(named)))}
    return sorted(first, key=lambda name: (-named.count(name), first[name]))[:MAX_COMPARED]


def lines_of(plan: PlanOnSale, compared: Sequence[str]) -> list[Feature]:
    """The plan's features by these names, in this order; a missing one is shown as not included."""
    known = {feature.name: feature for feature in features_of(plan)}
    return [known.get(name) or Feature(name, included=False) for name in compared]


def is_highlighted(plan: PlanOnSale) -> bool:
    """Whether the plan's metadata in Flexprice says `highlight: true`."""
    return plan.plan.metadata.get("highlight") == "true"


def per_month(offer: Offer) -> Decimal | None:
    """What a longer period costs a month, before tax; None for a month or less."""
    months = MONTHS.get(offer.billing_period)
    return (offer.amount / months).quantize(CENT, ROUND_HALF_UP) if months and offer.amount > 0 else None


def saving(plan: PlanOnSale, offer: Offer) -> tuple[Decimal, int] | None:
    """What a year saves against twelve months of the same plan: the amount and whole percents."""
    monthly = plan.offer(offer.currency, "MONTHLY")
    if offer.billing_period != "ANNUAL" or not (monthly and monthly.buyable and offer.buyable):
        return None
    twelve = monthly.amount * 12
    saved = twelve - offer.amount
    return (saved, int(saved * 100 / twelve)) if saved > 0 else None


def is_usage_only(plan: PlanOnSale, offer: Offer) -> bool:
    return plan.has_usage and offer.amount == 0


def notes_of(plan: PlanOnSale, currency: str) -> list[str]:
    """What the first payment does not cover."""
    notes = [_("Usage is billed afterwards, on top of this price.")] if plan.has_usage else []
    return notes + [
        _("A one-time fee of %(amount)s is billed separately.", amount=money(fee.amount, fee.currency))
        for fee in plan.one_time_fees
        if fee.currency == currency
    ]


def refusal_text(plan: PlanOnSale, offer: Offer) -> str:
    """Why the offer cannot be bought here."""
    if is_usage_only(plan, offer):
        return str(_("This plan is billed by usage. Contact us to subscribe."))
    return str(REFUSALS[offer.refusal]) if offer.refusal else ""
