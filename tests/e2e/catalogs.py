"""What the shop of the gallery sells: the usual three plans, one, nine, long ones, odd ones, none at all."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from storefront.flexprice import Entitlement, NotSent, Plan, Price

LONG_NAME = "The plan for people who could not decide between the others!"
UNBROKEN_NAME = "x" * 60


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
    limit, reset = (value[0], "NEVER") if isinstance(value, tuple) else (value, "MONTHLY")
    return Entitlement(name, "metered", True, usage_limit=limit, usage_reset_period=reset)


SMALL = {"Emails": 10000, "API calls": 50000, "Seats": (2,), "Custom domain": True, "Support": "Email"}
TEAM = SMALL | {"Emails": 100000, "Seats": (10,), "Support": "Priority email"}
LARGE = TEAM | {
    "Emails": None,
    "API calls": 5000000,
    "Single sign-on": True,
    "Support": "Phone, day and night",
}
FOURTEEN = LARGE | {f"Something more, number {number}": number % 3 != 0 for number in range(1, 8)}
TIERS = [{"up_to": 1000, "unit_amount": "0.2"}, {"up_to": None, "unit_amount": "0.15"}]
USAGE = {"type": "USAGE", "billing_model": "TIERED", "tiers": TIERS, "display_name": "Text messages"}
PACKAGE = {"type": "USAGE", "transform_quantity": {"divide_by": 1000}, "display_name": "Stored messages"}
USUAL = (
    plan("Free", "0", {"Emails": 500, "API calls": 1000, "Support": "Community"}),
    plan("Starter", "499", SMALL),
    plan("Team", "1499", TEAM, metadata={"highlight": "true"}),
    plan("Business", "4999", LARGE | {"API calls": None}),
    plan(
        "Scale",
        "0",
        {"Custom domain": True, "Support": "Email"},
        prices=(
            price("0.05", "inr", "MONTHLY", type="USAGE", display_name="Emails"),
            price("0", "inr", "MONTHLY", **USAGE),
            price("25", "inr", "MONTHLY", **PACKAGE),
        ),
    ),
)
FEE = {"id": "fee", "billing_period": "ONETIME"}
CATALOGS: dict[str, tuple[Plan, ...] | None] = {
    "usual": USUAL,
    "one": USUAL[1:2],
    "two": USUAL[1:3],
    "nine": tuple(plan(f"Plan {number}", f"{number}99", SMALL) for number in range(1, 10)),
    "long": (
        *USUAL[1:2],
        plan(UNBROKEN_NAME, "499", {"y" * 60: "z" * 60}),
        plan(LONG_NAME, "123456.50", FOURTEEN, description="A description that goes on. " * 9),
        plan(
            "Donaudampfschifffahrtsgesellschaftskapitän", "1", {"Rindfleischetikettierungsüberwachung": True}
        ),
    ),
    "odd": (
        plan("Free", "0", {"Emails": 100}),
        plan("Pay as you go", "1", SMALL, prices=(price("0.05", "inr", "MONTHLY", type="USAGE"),)),
        plan("Pacific", "1", SMALL, prices=(price("1500", "jpy", "MONTHLY"),)),
        plan("Bare", "250", {}, description="", prices=(price("9", "usd", "ANNUAL"),)),
        plan("Seats", "9", SMALL, prices=(price("99", "inr", "MONTHLY", billing_model="PACKAGE"),)),
        plan("Set up", "9", SMALL, prices=(price("99", "inr", "MONTHLY"), price("500", "inr", "ONETIME"))),
    ),
    "none": (),
    "down": None,
}


def reader(plans: Sequence[Plan] | None) -> Callable[[], Sequence[Plan]]:
    """Stands in for Flexprice where the catalog asks for plans; None: it cannot be reached."""

    def list_plans() -> Sequence[Plan]:
        if plans is None:
            raise NotSent("Flexprice is down")
        return plans

    return list_plans
