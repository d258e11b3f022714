"""/v1/plans and /v1/prices: what is for sale and how it is shown."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest


def test_plans_come_bare_unless_expanded(api: Any) -> None:
    bare = api.post("/v1/plans/search", {}).json()

    assert "prices" not in bare["items"][0]
    assert bare["pagination"] == {"total": 7, "limit": 50, "offset": 50}
    team = api.plan("team")
    assert {price["currency"] for price in team["prices"]} == {"inr", "usd"}
    assert team["entitlements"][0]["feature"]["name"] == "Emails"
    assert api.get(f"/v1/plans/{team['id']}").json()["prices"] == team["prices"]
    assert api.get("/v1/plans/plan_1").json()["details"] == {"plan_id": "plan_1"}


def test_a_year_is_cheaper_than_twelve_months(api: Any) -> None:
    for name in ("starter", "team", "business"):
        amounts = {p["billing_period"]: Decimal(p["amount"]) for p in api.plan(name)["prices"]}
        assert amounts["ANNUAL"] < 12 * amounts["MONTHLY"]


def test_prices_are_found_by_entity_and_not_by_plan(api: Any) -> None:
    plan = api.plan("studio")

    found = api.post("/v1/prices/search", {"entity_type": "PLAN", "entity_ids": [plan["id"]]}).json()
    ignored = api.post("/v1/prices/search", {"plan_ids": [plan["id"]]}).json()

    assert found["items"] == plan["prices"]
    assert ignored["pagination"]["total"] > found["pagination"]["total"]
    assert api.post("/v1/prices/search", {"expand": "x"}).json()["details"] == {"field": "x"}


def test_what_a_plan_shows_is_what_was_asked_for(catalog_api: Any) -> None:
    def starter(expand: str) -> Any:
        return catalog_api.found("/v1/plans/search", lookup_key="starter", expand=expand)[0]

    assert "entitlements" not in starter("prices")
    assert "feature" not in starter("entitlements")["entitlements"][0]
    assert starter("entitlements,features")["entitlements"][0]["feature"]["name"] == "Emails"
    assert "credit_grants" not in starter("credit_grant")  # empty lists are left out
    assert starter("prices, meters")["prices"]


def test_prices_that_have_ended_are_shown_only_with_the_whole_plan(catalog_api: Any) -> None:
    (starter,) = catalog_api.found("/v1/plans/search", lookup_key="starter", expand="prices")
    whole = catalog_api.get(f"/v1/plans/{starter['id']}").json()

    assert not any("end_date" in price for price in starter["prices"])
    assert [price["amount"] for price in whole["prices"] if price.get("end_date")] == ["399"]


def test_a_price_that_begins_after_the_first_period_is_shown_and_not_charged(api: Any) -> None:
    fees = [
        {
            "currency": "inr",
            "billing_period": "MONTHLY",
            "amount": "100",
            "start_date": "2099-01-01T00:00:00Z",
        }
    ]
    api.stock("future", prices=fees)
    api.customer()

    assert api.plan("future")["prices"][0]["start_date"] == "2099-01-01T00:00:00Z"
    refused = api.post("/v1/checkout/sessions", api.asked("future"))
    assert (refused.status_code, refused.json()["message"]) == (400, "An unexpected error occurred")


def test_a_planned_price_rise_is_not_charged_yet(api: Any) -> None:
    fee = {"currency": "inr", "billing_period": "MONTHLY"}
    change = (datetime.now(UTC) + timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    now = fee | {"amount": "499", "lookup_key": "now", "end_date": change}
    api.stock("rising", prices=[now, fee | {"amount": "599", "lookup_key": "then", "start_date": change}])
    api.customer()

    assert api.bill(api.session("rising"))["total"] == "499"


def test_a_price_that_begins_within_the_first_period_is_charged_at_once(api: Any) -> None:
    fee = {"currency": "inr", "billing_period": "MONTHLY"}
    soon = (datetime.now(UTC) + timedelta(days=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
    second = fee | {"amount": "50", "lookup_key": "second", "start_date": soon}
    api.stock("growing", prices=[fee | {"amount": "499"}, second])
    api.customer()

    assert api.bill(api.session("growing"))["total"] == "549"


@pytest.mark.parametrize(
    ("price", "total"),
    [
        ({"amount": "0.333", "min_quantity": 5}, "1.67"),
        ({"amount": "12.345"}, "12.35"),
        ({"amount": "1.234", "currency": "kwd"}, "1.234"),
        ({"amount": "1499.5", "currency": "jpy"}, "1500"),
    ],
)
def test_each_line_is_rounded_to_the_decimals_of_its_currency(api: Any, price: Any, total: str) -> None:
    api.stock("odd", prices=[{"currency": "inr", "billing_period": "MONTHLY"} | price])
    api.customer()
    currency = price.get("currency", "inr")

    assert api.bill(api.session("odd", params={"currency": currency}))["total"] == total


def test_an_archived_plan_is_hidden_read_by_id_and_not_sold(api: Any) -> None:
    api.customer()
    (classic,) = api.found("/v1/plans/search", status="archived")

    assert classic["name"] == "Classic"
    assert "Classic" not in [plan["name"] for plan in api.found("/v1/plans/search")]
    assert api.get(f"/v1/plans/{classic['id']}").json()["status"] == "archived"
    refused = api.post("/v1/checkout/sessions", api.asked(params={"plan_id": classic["id"]}))
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        "The plan must be active to create a subscription",
    )
    assert refused.json()["details"] == {"plan_id": classic["id"], "status": "archived"}


def test_tiers_and_packages_are_told_in_full(catalog_api: Any) -> None:
    listed = catalog_api.plan("scale")["prices"]
    prices = {price["display_name"]: price for price in listed if price["currency"] == "inr"}

    assert prices["Text messages"]["tiers"][-1] == {"up_to": None, "unit_amount": "0.15"}
    assert prices["Text messages"]["tier_mode"] == "SLAB"
    assert prices["Stored messages"]["transform_quantity"] == {"divide_by": 1000, "round": "up"}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"sort": [{"field": "display_order", "direction": "asc"}]}, ["Free", "Starter", "Team"]),
        ({"sort": [{"field": "display_order", "direction": "desc"}]}, ["Pacific", "Studio", "Scale"]),
        ({"sort": [{"field": "name", "direction": "asc"}]}, ["Business", "Free", "Pacific"]),
        ({"sort": [{"field": "name"}]}, ["Business", "Free", "Pacific"]),
        ({}, ["Free", "Starter", "Team"]),
        ({"order": "asc"}, ["Pacific", "Studio", "Scale"]),
    ],
)
def test_plans_come_newest_first_or_as_the_sort_list_says(
    catalog_api: Any, asked: Any, names: list[str]
) -> None:
    assert [plan["name"] for plan in catalog_api.found("/v1/plans/search", **asked)][:3] == names


@pytest.mark.parametrize("field", ["created_at", "updated_at", "display_order"])
def test_entitlements_can_be_sorted_by_what_they_have_too(catalog_api: Any, field: str) -> None:
    assert catalog_api.found(
        "/v1/plans/search", expand="entitlements", sort=[{"field": field, "direction": "asc"}]
    )


def test_a_sort_that_entitlements_do_not_know_fails(catalog_api: Any) -> None:
    sort = [{"field": "name", "direction": "asc"}]

    refused = catalog_api.post("/v1/plans/search", {"expand": "prices,entitlements", "sort": sort})

    assert (refused.status_code, refused.json()["message"]) == (400, "Failed to apply query options")


def test_plans_are_found_by_id_key_metadata_and_time(catalog_api: Any) -> None:
    team = catalog_api.plan("team")

    def names(**asked: Any) -> list[str]:
        return [plan["name"] for plan in catalog_api.found("/v1/plans/search", **asked)]

    assert names(plan_ids=[team["id"]]) == ["Team"]
    assert names(lookup_key="team") == ["Team"]
    assert names(lookup_key="") == []
    assert names(metadata={"highlight": "true"}) == ["Team"]
    assert names(metadata={"highlight": "true", "more": "x"}) == []
    assert names(metadata={'a"b': "'"}) == []
    assert names(start_time=team["created_at"]) == ["Free", "Starter", "Team"]
    assert names(end_time="2020-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"billing_periods": ["ANNUAL"]}, 6),
        ({"billing_periods": ["ONETIME"]}, 2),
        ({"entity_type": "PLAN", "billing_periods": ["ANNUAL", "ONETIME"]}, 8),
        ({"entity_type": "ADDON"}, 0),
        ({"price_ids": ["price_1"]}, 0),
        ({"meter_ids": ["meter_1"]}, 0),
        ({"start_date_lt": "2025-01-01T00:00:00Z"}, 0),
        ({"entity_type": "plan"}, 0),
        ({"limit": 5000, "billing_periods": ["ANNUAL"]}, 6),
        ({"limit": 0, "billing_periods": ["ANNUAL"]}, 6),
    ],
)
def test_prices_are_filtered(catalog_api: Any, asked: Any, count: int) -> None:
    answer = catalog_api.post("/v1/prices/search", asked).json()

    assert (len(answer["items"]), answer["pagination"]["total"]) == (count, count)


def test_prices_that_have_ended_are_found_when_asked_for(catalog_api: Any) -> None:
    usual = catalog_api.post("/v1/prices/search", {}).json()["pagination"]["total"]
    every = catalog_api.post("/v1/prices/search", {"allow_expired_prices": True}).json()["pagination"][
        "total"
    ]

    assert every == usual + 1


def test_prices_are_sorted_by_a_word(catalog_api: Any) -> None:
    """`sort` is a list for plans and a word for prices."""
    asked = {"sort": "amount", "order": "desc", "limit": 3}

    assert [price["amount"] for price in catalog_api.found("/v1/prices/search", **asked)] == [
        "49990",
        "14990",
        "5000",
    ]
    assert catalog_api.post("/v1/prices/search", {"sort": [{"field": "amount"}]}).status_code == 400


@pytest.mark.parametrize("expand", ["plan", "meters,priceunit,addons,groups"])
def test_what_prices_may_show_beside_themselves(catalog_api: Any, expand: str) -> None:
    (price, *_) = catalog_api.found("/v1/prices/search", expand=expand)

    assert ("plan" in price) == (expand == "plan")


def test_a_plan_of_your_own_can_be_published_and_replaced(api: Any) -> None:
    fees = [{"currency": "EUR", "billing_period": "WEEKLY", "amount": 5.5, "min_quantity": 2}]
    first = api.stock("mine", name="Mine", prices=fees, entitlements={"Seats": 3, "Support": "Yes"})
    again = api.stock("mine", name="Ours", prices=fees)
    api.customer()

    assert again["id"] == first["id"]
    assert api.plan("mine")["name"] == "Ours"
    session = api.session("mine", params={"currency": "eur", "billing_period": "WEEKLY"})
    assert api.bill(session)["total"] == "11"


@pytest.mark.parametrize(
    "plan",
    [
        {"prices": [{"currency": "inr", "amount": "much"}]},
        {"prices": [{"currency": "rupee", "amount": "1"}]},
        {"prices": [{"currency": "inr", "amount": "1", "billing_period": "monthly"}]},
        {"prices": [{"currency": "inr", "amount": "1"}, {"currency": "inr", "amount": "2"}]},
        {"prices": [{"currency": "inr", "amount": "1", "end_date": "soon"}]},
        {"prices": "free"},
        {"entitlements": ["Seats"]},
        {"status": "sold"},
    ],
)
def test_nonsense_is_not_published(api: Any, plan: Any) -> None:
    assert api.call("PUT", "/_sandbox/plans/mine", plan).status_code == 400
    assert api.found("/v1/plans/search", lookup_key="mine") == []
