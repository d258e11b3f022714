"""The plans that the demo sells; their ids are the same after every reset.

A plan with `listed: false` in its metadata is a test fixture: the shop shows it at /plans?all only.
"""

from typing import Any

Body = dict[str, Any]


def fee(currency: str, period: str, amount: str, **details: Any) -> Body:
    return {"currency": currency, "billing_period": period, "amount": amount, **details}


def usage(currency: str, period: str, amount: str, **details: Any) -> Body:
    return fee(currency, period, amount, type="USAGE", **details)


UNLISTED = {"listed": "false"}


def seats(number: int) -> Body:
    return {"limit": number, "reset": "NEVER"}


def rates(currency: str, email: str, message: str, more: str, storage: str) -> list[Body]:
    """What Scale costs: a flat rate, a rate in two tiers, and a package of 1,000."""
    return [
        usage(currency, "MONTHLY", email, display_name="Emails", lookup_key=f"emails_{currency}"),
        usage(
            currency,
            "MONTHLY",
            "0",
            lookup_key=f"sms_{currency}",
            display_name="Text messages",
            billing_model="TIERED",
            tier_mode="SLAB",
            tiers=[{"up_to": 1000, "unit_amount": message}, {"up_to": None, "unit_amount": more}],
        ),
        usage(
            currency,
            "MONTHLY",
            storage,
            lookup_key=f"storage_{currency}",
            display_name="Stored messages",
            billing_model="PACKAGE",
            transform_quantity={"divide_by": 1000, "round": "up"},
        ),
    ]


PLANS: list[Body] = [
    {
        "name": "Free",
        "description": "Try it for as long as you like",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "0"),
            fee("usd", "MONTHLY", "0"),
        ],
        "entitlements": {"Emails": 500, "API calls": 1000, "Support": "Community"},
    },
    {
        "name": "Starter",
        "description": "For your first customers",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "399", lookup_key="starter_inr_2025", end_date="2025-12-31T18:30:00Z"),
            fee("inr", "MONTHLY", "499"),
            fee("inr", "ANNUAL", "4990"),
            fee("usd", "MONTHLY", "9"),
            fee("usd", "ANNUAL", "90"),
        ],
        "entitlements": {
            "Emails": 10000,
            "API calls": 50000,
            "Seats": seats(2),
            "Custom domain": True,
            "Support": "Email",
        },
    },
    {
        "name": "Team",
        "description": "For a team that sends every day",
        "metadata": {"highlight": "true"},
        "prices": [
            fee("inr", "MONTHLY", "1499"),
            fee("inr", "ANNUAL", "14990"),
            fee("usd", "MONTHLY", "29"),
            fee("usd", "ANNUAL", "290"),
        ],
        "entitlements": {
            "Emails": 100000,
            "API calls": 500000,
            "Seats": seats(10),
            "Custom domain": True,
            "Support": "Priority email",
        },
    },
    {
        "name": "Business",
        "description": "For a company that depends on it",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "4999", trial_period_days=14),
            fee("inr", "ANNUAL", "49990"),
            fee("usd", "MONTHLY", "99", trial_period_days=14),
            fee("usd", "ANNUAL", "990"),
        ],
        "credit_grants": [{"name": "Welcome credits", "credits": "500"}],
        "entitlements": {
            "Emails": 1000000,
            "API calls": 5000000,
            "Seats": seats(50),
            "Custom domain": True,
            "Support": "Phone",
        },
    },
    {
        "name": "Scale",
        "description": "No fixed fee: you pay for what you use",
        "metadata": {},
        "prices": [
            *rates("inr", "0.05", "0.20", "0.15", "25"),
            *rates("usd", "0.001", "0.004", "0.003", "0.50"),
        ],
        "entitlements": {"Custom domain": True, "Support": "Email"},
    },
    {
        "name": "Studio",
        "description": "Templates made with you, once, then a monthly fee",
        "metadata": UNLISTED,
        "prices": [
            fee("inr", "MONTHLY", "2499"),
            fee("inr", "ONETIME", "5000"),
            fee("usd", "MONTHLY", "49"),
            fee("usd", "ONETIME", "99"),
        ],
        "entitlements": {
            "Emails": 50000,
            "Custom domain": True,
            "Own templates": True,
            "Support": "A person",
        },
    },
    {
        "name": "Pacific",
        "description": "Sending from Tokyo",
        "metadata": UNLISTED,
        "prices": [
            fee("jpy", "MONTHLY", "1500"),
            fee("usd", "MONTHLY", "12"),
        ],
        "entitlements": {"Emails": 20000, "Support": "Email"},
    },
    {
        "name": "Classic",
        "description": "Sold until 2025",
        "status": "archived",
        "prices": [fee("inr", "MONTHLY", "299"), fee("usd", "MONTHLY", "5")],
        "entitlements": {"Emails": 5000},
    },
]
