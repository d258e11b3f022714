"""What may be sold, and for how much: Flexprice's plans turned into offers, cached for a minute."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from ..flexprice import FlexpriceError, Plan, Price

log = logging.getLogger(__name__)

CACHE_TTL_S = 60
RETRY_AFTER_S = 10  # after a failed read, pages show what is cached for so long
CENT = Decimal("0.01")
CURRENCY_CHARS = 3  # of ISO 4217, and of the order's column
PERIODS = {  # in the order they are shown, with the longest time that one lasts
    "MONTHLY": timedelta(days=31),
    "QUARTERLY": timedelta(days=92),
    "HALF_YEARLY": timedelta(days=184),
    "ANNUAL": timedelta(days=366),
    "WEEKLY": timedelta(days=7),
    "DAILY": timedelta(days=1),
}
# ISO 4217 currencies whose minor unit is not a hundredth. Flexprice multiplies every amount by 100 for
# Razorpay (docs/flexprice-contract.md, D.6): these would be charged 10 or 100 times too much or too little.
NOT_HUNDREDTHS = frozenset(
    [
        "bif", "clp", "djf", "gnf", "isk", "jpy", "kmf", "krw", "pyg", "rwf", "ugx", "uyi", "vnd", "vuv",
        "xaf", "xof", "xpf", "bhd", "iqd", "jod", "kwd", "lyd", "omr", "tnd", "clf", "uyw",
    ]
)  # fmt: skip


class Refusal(StrEnum):
    """Why an offer cannot be bought, as a sentence for the customer."""

    FREE = "There is nothing to pay for this plan."
    PER_UNIT = "This plan has per-unit pricing. Contact us to subscribe."
    CURRENCY = "We cannot charge this currency yet. Choose another one."
    PRICE_CHANGE = "The price of this plan is about to change. Contact us to subscribe."
    PERIOD = "This billing period is not available online. Contact us to subscribe."


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan in a currency for a billing period.

    `amount` is what the first invoice charges before tax, in major units. `refusal`: why it is not for sale.
    """

    plan_id: str
    plan_name: str
    currency: str
    billing_period: str
    amount: Decimal
    refusal: Refusal | None = None

    @property
    def buyable(self) -> bool:
        """Whether it is for sale."""
        return self.refusal is None


@dataclass(frozen=True, slots=True)
class PlanOnSale:
    """A plan with its offers by (currency, billing period). `plan` is Flexprice's object, for your pages."""

    plan: Plan
    offers: dict[tuple[str, str], Offer]
    one_time_fees: tuple[Price, ...]  # named on the page; Flexprice leaves them out of the first payment
    has_usage: bool  # usage is billed afterwards, on top
    usage_prices: tuple[Price, ...]  # those in force

    @property
    def id(self) -> str:
        """The plan's id at Flexprice."""
        return self.plan.id

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.plan.name

    def offer(self, currency: str, billing_period: str) -> Offer | None:
        """Return the offer in this currency and period, in any case; None if there is none."""
        return self.offers.get((currency.lower(), billing_period.upper()))


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """All that is for sale, as Flexprice said at `read_at`. `stale`: it could not be read again since."""

    plans: tuple[PlanOnSale, ...]
    read_at: datetime
    read_at_s: float  # by the monotonic clock
    stale: bool = False

    def plan(self, plan_id: str) -> PlanOnSale | None:
        """Return the plan with this id; None if it is not on sale."""
        return next((plan for plan in self.plans if plan.id == plan_id), None)

    @property
    def currencies(self) -> list[str]:
        """The currencies of all offers, in the order of the plans."""
        return list(dict.fromkeys(currency for plan in self.plans for currency, _ in plan.offers))

    @property
    def billing_periods(self) -> list[str]:
        """The billing periods of all offers, in the order of `PERIODS`."""
        sold = {period for plan in self.plans for _, period in plan.offers}
        return [period for period in PERIODS if period in sold]


class Catalog:
    """The plans on sale. Safe to share between threads.

    :param list_plans: asks Flexprice.
    :param moved_by: how far the dates of prices are ahead of real time; see `context.moved_by`.
    """

    def __init__(
        self, list_plans: Callable[[], Sequence[Plan]], moved_by: Callable[[], timedelta] = timedelta
    ) -> None:
        self._list_plans, self._moved_by = list_plans, moved_by
        self.cached: CatalogSnapshot | None = None  # what was read last, whatever its age
        self._retry_at_s = 0.0

    def current(self, newer_than: datetime | None = None) -> CatalogSnapshot:
        """For pages: at most a minute old and read after `newer_than`, or marked stale while that cannot be.

        :param newer_than: naive UTC; a price that was found to be wrong is not shown again.
        :raises FlexpriceError: when nothing is cached.
        """
        known = self.cached
        if known and self._is_fresh(known, newer_than):
            return known
        if known and time.monotonic() < self._retry_at_s:
            return replace(known, stale=True)
        try:
            return self._read()
        except FlexpriceError as error:
            if known is None:
                raise
            log.warning("Showing the plans of %s: Flexprice cannot be read: %s", known.read_at, error)
            return replace(known, stale=True)

    def for_sale(self, newer_than: datetime | None = None) -> CatalogSnapshot:
        """For a sale: never stale, and read after `newer_than` (naive UTC).

        :raises FlexpriceError: when Flexprice cannot be read.
        """
        known = self.cached
        return known if known and self._is_fresh(known, newer_than) else self._read()

    def _is_fresh(self, known: CatalogSnapshot, newer_than: datetime | None) -> bool:
        is_new = newer_than is None or known.read_at > newer_than
        return is_new and time.monotonic() - known.read_at_s < CACHE_TTL_S

    def _read(self) -> CatalogSnapshot:
        started_s, now = time.monotonic(), datetime.now(UTC)
        try:
            plans = self._list_plans()
        except FlexpriceError:
            self._retry_at_s = time.monotonic() + RETRY_AFTER_S
            raise
        on_sale = tuple(put_on_sale(plans, now + self._moved_by()))
        self.cached = CatalogSnapshot(on_sale, now.replace(tzinfo=None), started_s)
        return self.cached


def put_on_sale(plans: Iterable[Plan], now: datetime) -> Iterable[PlanOnSale]:
    """A plan whose prices cannot be computed is left out and logged: it must not hide the others."""
    for plan in plans:
        try:
            yield plan_on_sale(plan, now)
        except ArithmeticError:
            log.warning("Plan %s is left out: its prices cannot be computed", plan.id)


def plan_on_sale(plan: Plan, now: datetime) -> PlanOnSale:
    """Return the plan with its offers at `now`."""
    lasting = [price for price in plan.prices if price.end_date is None or price.end_date > now]
    recurring = [price for price in lasting if not price.one_time]
    keys = dict.fromkeys((p.currency, p.billing_period) for p in recurring if _has_begun(p, now))
    return PlanOnSale(
        plan=plan,
        offers={key: make_offer(plan, recurring, *key, now) for key in keys},
        one_time_fees=tuple(price for price in lasting if price.one_time and _has_begun(price, now)),
        has_usage=any(price.type == "USAGE" for price in recurring),
        usage_prices=tuple(p for p in recurring if p.type == "USAGE" and _has_begun(p, now)),
    )


def make_offer(plan: Plan, recurring: list[Price], currency: str, period: str, now: datetime) -> Offer:
    """What the first invoice charges: each FIXED price of this currency and period that is in force now."""
    of_offer = [price for price in recurring if (price.currency, price.billing_period) == (currency, period)]
    fixed = [price for price in of_offer if price.type == "FIXED"]
    in_force = [price for price in fixed if _has_begun(price, now)]
    # A price that begins within the first period is charged at once (docs/flexprice-contract.md, B.6).
    soon = now + PERIODS.get(period, timedelta(days=366))
    refusal = None
    if any(price.billing_model != "FLAT_FEE" for price in in_force):
        refusal = Refusal.PER_UNIT
    elif any(not _has_begun(price, now) and _has_begun(price, soon) for price in fixed):
        refusal = Refusal.PRICE_CHANGE
    elif period not in PERIODS or any(price.billing_period_count != 1 for price in in_force):
        refusal = Refusal.PERIOD  # a checkout sells a price for every two months as a monthly one
    amount = sum((rounded(price.amount * (price.min_quantity or 1)) for price in in_force), Decimal(0))
    if refusal is None and amount <= 0:
        refusal = Refusal.FREE
    elif refusal is None and (currency in NOT_HUNDREDTHS or len(currency) != CURRENCY_CHARS):
        refusal = Refusal.CURRENCY
    return Offer(plan.id, plan.name, currency, period, amount, refusal)


def rounded(amount: Decimal) -> Decimal:
    """An amount as Flexprice rounds each invoice line: half away from zero, to two decimals."""
    return amount.quantize(CENT, ROUND_HALF_UP)


def _has_begun(price: Price, now: datetime) -> bool:
    return price.start_date is None or price.start_date <= now
