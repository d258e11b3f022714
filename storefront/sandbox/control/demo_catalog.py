"""The plans that the demo sells; their ids are the same after every reset."""

from typing import Any

Body = dict[str, Any]


def fee(currency: str, period: str, amount: str, **details: Any) -> Body:
    return {"currency": currency, "billing_period": period, "amount": amount, **details}


def usage(currency: str, period: str, amount: str, **details: Any) -> Body:
    return fee(currency, period, amount, type="USAGE", **details)


PLANS: list[Body] = [
    {
        "name": "Free",
        "description": "Try it out, for as long as you like",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "0"),
            fee("usd", "MONTHLY", "0"),
        ],
        "entitlements": {"E-mails": 500, "API calls": 1000, "Support": "Community"},
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
        "entitlements": {"E-mails": 10000, "API calls": 50000, "Custom domain": True, "Support": "E-mail"},
    },
    {
        "name": "Team",
        "description": "For a team that sends every day",
        "metadata": {"highlight": "true"},
        "prices": [
            fee("inr", "MONTHLY", "1499.5"),
            fee("inr", "ANNUAL", "14995"),
            fee("usd", "MONTHLY", "29"),
            fee("usd", "ANNUAL", "290"),
        ],
        "entitlements": {
            "E-mails": 100000,
            "API calls": 500000,
            "Custom domain": True,
            "Team seats": 10,
            "Support": "Priority e-mail",
        },
    },
    {
        "name": "Business",
        "description": "For a company that depends on it",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "4999"),
            fee("inr", "ANNUAL", "49990"),
            fee("usd", "MONTHLY", "99"),
            fee("usd", "ANNUAL", "990"),
        ],
        "credit_grants": [{"name": "Welcome credits", "credits": "500"}],
        "entitlements": {
            "E-mails": 1000000,
            "API calls": 5000000,
            "Custom domain": True,
            "Team seats": 50,
            "Support": "Phone",
        },
    },
    {
        "name": "Pay as you go",
        "description": "Only what you send",
        "metadata": {},
        "prices": [
            usage("inr", "MONTHLY", "0.05"),
            usage("usd", "MONTHLY", "0.001"),
            usage(
                "inr",
                "MONTHLY",
                "0",
                lookup_key="sms_inr",
                display_name="Text messages",
                billing_model="TIERED",
                tier_mode="SLAB",
                tiers=[
                    {"up_to": 1000, "unit_amount": "0.2", "flat_amount": "10"},
                    {"up_to": None, "unit_amount": "0.15"},
                ],
            ),
            usage(
                "inr",
                "MONTHLY",
                "25",
                lookup_key="storage_inr",
                display_name="Storage",
                billing_model="PACKAGE",
                transform_quantity={"divide_by": 1000, "round": "up"},
            ),
        ],
        "entitlements": {"Custom domain": True, "Support": "E-mail"},
    },
    {
        "name": "Studio",
        "description": "Templates made with you, once, then a monthly fee",
        "metadata": {},
        "prices": [
            fee("inr", "MONTHLY", "2499"),
            fee("inr", "ONETIME", "5000"),
            fee("usd", "MONTHLY", "49"),
            fee("usd", "ONETIME", "99"),
        ],
        "entitlements": {
            "E-mails": 50000,
            "Custom domain": True,
            "Own templates": True,
            "Support": "A person",
        },
    },
    {
        "name": "Pacific",
        "description": "Sending from Tokyo",
        "metadata": {},
        "prices": [
            fee("jpy", "MONTHLY", "1500"),
            fee("usd", "MONTHLY", "12"),
        ],
        "entitlements": {"E-mails": 20000, "Support": "E-mail"},
    },
    {
        "name": "Classic",
        "description": "Sold until 2025",
        "status": "archived",
        "prices": [fee("inr", "MONTHLY", "299"), fee("usd", "MONTHLY", "5")],
        "entitlements": {"E-mails": 5000},
    },
]
