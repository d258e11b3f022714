"""The rates of a plan that is billed by usage, in words."""

from decimal import Decimal
from typing import NamedTuple

from flask_babel import gettext as _

from storefront.checkout.offers import PlanOnSale
from storefront.flexprice import Price, Tier
from storefront.web.languages import number, unit_price


class Rate(NamedTuple):
    """What is measured, and what it costs."""

    name: str
    text: str


def rates_of(plan: PlanOnSale, currency: str) -> list[Rate]:
    """The usage prices in force in this currency, in the order in which Flexprice lists them."""
    return [
        Rate(price.display_name or plan.name, _text(price))
        for price in plan.usage_prices
        if price.currency == currency.lower()
    ]


def _text(price: Price) -> str:
    """As in "₹0.05 each", "₹25 per 1,000", "₹0.20 each up to 1,000, then ₹0.15 each"."""
    if price.tiers:
        return str(_(", then ")).join(_tier(tier, price.currency) for tier in price.tiers)
    if price.package_size > 1:
        amount = unit_price(price.amount, price.currency)
        return str(_("%(amount)s per %(count)s", amount=amount, count=number(price.package_size)))
    return _each(price.amount, price.currency)


def _tier(tier: Tier, currency: str) -> str:
    text = _each(tier.unit_amount, currency)
    if tier.up_to is not None:
        text = str(_("%(price)s up to %(count)s", price=text, count=number(tier.up_to)))
    if tier.flat_amount:
        text = str(_("%(price)s plus %(amount)s", price=text, amount=unit_price(tier.flat_amount, currency)))
    return text


def _each(amount: Decimal, currency: str) -> str:
    return str(_("%(amount)s each", amount=unit_price(amount, currency)))
