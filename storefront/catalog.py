"""What is for sale: Flexprice's plans turned into offers, remembered for a minute."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from babel.numbers import get_currency_precision

from storefront.flexprice import Client, Entitlement, FlexpriceError, Plan, Price

log = logging.getLogger(__name__)

MEMORY = timedelta(minutes=1)
REST = timedelta(seconds=10)
QUEUE = 1.0  # seconds behind another who asks Flexprice just now
MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "HALF_YEARLY": 6, "ANNUAL": 12}
PERIODS = ("MONTHLY", "QUARTERLY", "HALF_YEARLY", "ANNUAL", "WEEKLY", "DAILY")  # in the order they are shown


def for_shoppers(text: str) -> str:
    """Marks a sentence as one to translate; the page that shows it does that."""
    return text


NOTHING_TO_CHARGE = for_shoppers(
    "There is nothing to pay for up front, so this plan cannot go through checkout."
)
WRONG_DECIMALS = for_shoppers("We cannot charge this currency correctly yet. Please choose another one.")
NOT_A_FLAT_FEE = for_shoppers(
    "This price depends on the quantity, so we cannot promise what checkout would charge."
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sold (decision 2): a plan in a currency for a billing period. `amount` is before tax."""

    plan_id: str
    plan_name: str
    currency: str
    billing_period: str
    amount: Decimal
    refusal: str | None = None  # a sentence for the shopper

    @property
    def buyable(self) -> bool:
        return self.refusal is None

    @property
    def per_month(self) -> Decimal | None:
        months = MONTHS.get(self.billing_period, 1)
        return self.amount / months if months > 1 else None


@dataclass(frozen=True, slots=True)
class Feature:
    """What belongs to a plan: so many a month, a word of its own, or simply yes."""

    name: str
    included: bool = True
    words: str = ""
    metered: bool = False
    limit: int | None = None  # of a metered one: None is "as many as you like"
    reset: str = ""  # how often the allowance begins anew


@dataclass(frozen=True, slots=True)
class PlanOnSale:
    plan_id: str
    name: str
    description: str
    highlight: bool
    features: tuple[Feature, ...]
    notes: tuple[str, ...]
    by_usage: bool = False  # there is more to pay than what an offer says
    offers: dict[tuple[str, str], Offer] = field(default_factory=dict)  # by (currency, billing period)


@dataclass(frozen=True, slots=True)
class Card:
    """One plan as a page shows it, for the chosen currency and period."""

    plan: PlanOnSale
    offer: Offer | None
    saving: Decimal | None  # a year, against twelve single months
    current: bool
    lines: tuple[Feature, ...] = ()  # the same on every card of a page, in the same order
    more: int = 0  # features of this plan that are not among the lines

    def __getattr__(self, name: str) -> object:
        return getattr(self.plan, name)


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that is for sale, as Flexprice said at `read_at`."""

    plans: tuple[PlanOnSale, ...]
    read_at: datetime

    @property
    def currencies(self) -> list[str]:
        return list(dict.fromkeys(currency for plan in self.plans for currency, _ in plan.offers))

    @property
    def periods(self) -> list[str]:
        sold = {period for plan in self.plans for _, period in plan.offers}
        return [period for period in PERIODS if period in sold]

    def compared(self, most: int) -> list[str]:
        """The features worth comparing: those of most plans, named in the order the plans name them."""
        named = [feature.name for plan in self.plans for feature in plan.features]
        first = {name: place for place, name in reversed(list(enumerate(named)))}
        return sorted(first, key=lambda name: (-named.count(name), first[name]))[:most]

    def plan(self, plan_id: str) -> PlanOnSale | None:
        return next((plan for plan in self.plans if plan.plan_id == plan_id), None)

    def offer(self, plan_id: str, currency: str, billing_period: str) -> Offer | None:
        plan = self.plan(plan_id)
        return plan.offers.get((currency.lower(), billing_period)) if plan else None


class CatalogUnavailable(Exception):
    """Flexprice cannot be asked, and nothing (fresh enough) is remembered."""


class Catalog:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._shelf: Shelf | None = None
        self._not_before: datetime | None = None  # Flexprice did not answer: pages let it rest until then
        self._lock = threading.Lock()

    def shelf(self, now: datetime, since: datetime | None = None) -> tuple[Shelf, bool]:
        """The shelf, and whether it is stale: yesterday's prices are shown rather than none."""
        known = self._shelf
        if known and not self._is_fresh(now, since) and (self._rests(now) or self._lock.locked()):
            return known, True  # no page waits for a Flexprice that is slow or down
        try:
            return self.fresh(now, since), False
        except CatalogUnavailable:
            if known is None:
                raise
            log.warning("Plans shown as of %s: Flexprice cannot be asked", known.read_at)
            return known, True

    def remembered(self, plan_id: str) -> "PlanOnSale | None":
        """Without a question to Flexprice, however old."""
        return self._shelf.plan(plan_id) if self._shelf else None

    def fresh(self, now: datetime, since: datetime | None = None) -> Shelf:
        """Prices no older than a minute, nor than `since`: what a sale is made from.

        Raises CatalogUnavailable.
        """
        if not self._lock.acquire(timeout=QUEUE):  # somebody asks, and gets no answer
            raise CatalogUnavailable
        try:
            if self._shelf is None or not self._is_fresh(now, since):
                self._shelf = self._read(now)
            return self._shelf
        finally:
            self._lock.release()

    def _is_fresh(self, now: datetime, since: datetime | None) -> bool:
        read_at = self._shelf.read_at if self._shelf else None
        return read_at is not None and now - read_at <= MEMORY and (since is None or read_at >= since)

    def _rests(self, now: datetime) -> bool:
        return self._not_before is not None and now < self._not_before

    def _read(self, now: datetime) -> Shelf:
        try:
            plans = self._client.search_plans()
        except FlexpriceError as error:
            log.warning("Plans could not be read from Flexprice: %s (request %s)", error, error.request_id)
            self._not_before = now + REST
            raise CatalogUnavailable from error
        return Shelf(tuple(put_on_sale(plan) for plan in plans), now)


def put_on_sale(plan: Plan) -> PlanOnSale:
    recurring = [price for price in plan.prices if not price.one_time]
    keys = dict.fromkeys((price.currency, price.billing_period) for price in recurring)
    return PlanOnSale(
        plan_id=plan.id,
        name=plan.name,
        description=plan.description,
        highlight=plan.metadata.get("highlight") == "true",
        features=tuple(feature(entitlement) for entitlement in plan.entitlements),
        notes=notes(plan),
        by_usage=any(price.type == "USAGE" for price in plan.prices),
        offers={key: make_offer(plan, recurring, *key) for key in keys},
    )


def make_offer(plan: Plan, recurring: list[Price], currency: str, period: str) -> Offer:
    """What the session will charge: contract B.6, decision 2."""
    fixed = [
        p for p in recurring if p.type == "FIXED" and (p.currency, p.billing_period) == (currency, period)
    ]
    amount = sum((p.amount * (p.min_quantity or 1) for p in fixed), Decimal(0))
    refusal = None
    if any(price.billing_model != "FLAT_FEE" for price in fixed):
        refusal = NOT_A_FLAT_FEE
    elif amount <= 0:
        refusal = NOTHING_TO_CHARGE
    elif get_currency_precision(currency.upper()) != 2:
        refusal = WRONG_DECIMALS  # Flexprice multiplies by 100 whatever the currency (contract D.6)
    return Offer(plan.id, plan.name, currency, period, amount, refusal)


def notes(plan: Plan) -> tuple[str, ...]:
    """What the first payment does not cover, said beforehand."""
    said = []
    if any(price.type == "USAGE" for price in plan.prices):
        said.append(for_shoppers("Usage is billed afterwards, on top of this price."))
    if any(price.one_time for price in plan.prices):
        said.append(for_shoppers("A one-time fee belongs to this plan. It is not part of the first payment."))
    return tuple(said)


def feature(entitlement: Entitlement) -> Feature:
    kind = entitlement.feature_type
    return Feature(
        entitlement.feature_name,
        included=entitlement.is_enabled or kind != "boolean",
        words=entitlement.static_value if kind == "static" else "",
        metered=kind == "metered",
        limit=entitlement.usage_limit if kind == "metered" else None,
        reset=entitlement.usage_reset_period,
    )


def card(
    plan: PlanOnSale, currency: str, period: str, owned: frozenset[str], compared: Sequence[str] = ()
) -> Card:
    offer = plan.offers.get((currency, period))
    monthly = plan.offers.get((currency, "MONTHLY"))
    saving = None
    if offer and monthly and period == "ANNUAL" and offer.buyable and monthly.buyable:
        saving = max(monthly.amount * 12 - offer.amount, Decimal(0)) or None
    has = {feature.name: feature for feature in plan.features}
    return Card(
        plan,
        offer,
        saving,
        plan.plan_id in owned,
        lines=tuple(has.get(name) or Feature(name, included=False) for name in compared),
        more=len(has.keys() - set(compared)),
    )
