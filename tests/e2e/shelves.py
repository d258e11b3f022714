"""What the shop of the gallery sells: the usual three plans, one, nine, long ones, odd ones, none at all."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from storefront.flexprice import Entitlement, NeverSent, Plan, Price

LONG_NAME = "The plan for people who could not decide between the others!"  # 60 characters
assert len(LONG_NAME) == 60


# -- what is for sale -------------------------------------------------------------------------------


def price(amount: str, currency: str, period: str, **more: Any) -> Price:
    kind = {"type": "FIXED", "billing_model": "FLAT_FEE", "billing_cadence": "RECURRING"} | more
    return Price.from_json(
        {"id": "p", "amount": amount, "currency": currency, "billing_period": period} | kind
    )


def plan(name: str, rupees: str, features: dict[str, Any], **more: Any) -> Plan:
    year = str(Decimal(rupees) * 10)
    prices = (
        price(rupees, "inr", "MONTHLY"),
        price(year, "inr", "ANNUAL"),
        price(str(Decimal(rupees) / 50), "usd", "MONTHLY"),
    )
    return Plan(
        **{
            "id": "plan_" + name.lower().replace(" ", "_")[:20],
            "name": name,
            "description": f"{name}, described in one line",
            "prices": prices,
            "entitlements": tuple(entitlement(*item) for item in features.items()),
        }
        | more
    )


def entitlement(name: str, value: Any) -> Entitlement:
    if isinstance(value, bool):
        return Entitlement(name, "boolean", value)
    if isinstance(value, str):
        return Entitlement(name, "static", True, static_value=value)
    return Entitlement(name, "metered", True, usage_limit=value, usage_reset_period="MONTHLY")


SMALL = {"E-mails": 10000, "API calls": 50000, "Custom domain": True, "Support": "E-mail"}
TEAM = SMALL | {"E-mails": 100000, "Team seats": 10, "Support": "Priority e-mail"}
LARGE = TEAM | {
    "E-mails": None,
    "API calls": 5000000,
    "Single sign-on": True,
    "Support": "Phone, day and night",
}
FOURTEEN = LARGE | {f"Something more, number {number}": number % 3 != 0 for number in range(1, 8)}
USUAL = (
    plan("Starter", "499", SMALL),
    plan("Team", "1499.50", TEAM, metadata={"highlight": "true"}),
    plan("Business", "4999", LARGE | {"API calls": None}),
)
SHELVES: dict[str, tuple[Plan, ...] | None] = {
    "usual": USUAL,
    "one": USUAL[:1],
    "two": USUAL[:2],
    "nine": tuple(plan(f"Plan {number}", f"{number}99", SMALL) for number in range(1, 10)),
    "long": (
        *USUAL[:2],
        plan(LONG_NAME, "123456.50", FOURTEEN, description="A description that goes on. " * 9),
        plan(
            "Donaudampfschifffahrtsgesellschaftskapitän", "1", {"Rindfleischetikettierungsüberwachung": True}
        ),
    ),
    "odd": (
        plan("Free", "0", {"E-mails": 100}),
        plan("Pay as you go", "1", SMALL, prices=(price("0.05", "inr", "MONTHLY", type="USAGE"),)),
        plan("Pacific", "1", SMALL, prices=(price("1500", "jpy", "MONTHLY"),)),
        plan("Bare", "250", {}, description="", prices=(price("9", "usd", "ANNUAL"),)),
    ),
    "none": (),
    "down": None,
}


class Shelf:
    """Stands in for Flexprice where the catalog asks for plans."""

    def __init__(self, plans: Sequence[Plan] | None) -> None:
        self.plans = plans

    def search_plans(self) -> list[Plan]:
        if self.plans is None:
            raise NeverSent("Flexprice is down")
        return list(self.plans)
