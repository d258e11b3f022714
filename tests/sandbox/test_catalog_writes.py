"""Plans, prices, features, entitlements and customers: what a write changes, and what is refused."""

from typing import Any

import pytest

PRICE = {
    "amount": "499",
    "currency": "inr",
    "billing_period": "MONTHLY",
    "billing_period_count": 1,
    "billing_model": "FLAT_FEE",
    "type": "FIXED",
    "invoice_cadence": "ADVANCE",
    "entity_type": "PLAN",
}
REFUSED_PRICES = [
    ({"currency": None}, "Request validation failed"),
    ({"currency": "rupee"}, "Request validation failed"),
    ({"type": None, "billing_model": None}, "Request validation failed"),
    ({"billing_period_count": None}, "Billing period count must be greater than 0"),
    ({"type": "GIFT"}, "Invalid price type"),
    ({"billing_model": "BARTER"}, "Invalid billing model"),
    ({"billing_period": "monthly"}, "Invalid billing period"),
    ({"invoice_cadence": "NEVER"}, "Please provide a valid invoice cadence"),
    ({"entity_type": "SHOP"}, "Invalid price entity type"),
    ({"entity_id": "plan_1"}, "The specified plan does not exist"),
    ({"entity_type": "ADDON"}, "The specified addon does not exist"),
    ({"entity_type": "SUBSCRIPTION"}, "The specified subscription does not exist"),
    ({"entity_type": "PRICE"}, "The specified entity type is not supported"),
    ({"amount": None}, "Amount is required to set up flat fee pricing with fiat pricing units"),
    ({"billing_model": "TIERED"}, "Price tiers are required to set up tiered pricing"),
    ({"billing_model": "PACKAGE"}, "Please provide the number of units to set up package pricing"),
    (
        {"billing_model": "PACKAGE", "transform_quantity": {"divide_by": 0, "round": "up"}},
        "Transform quantity divide by must be greater than or equal to 1",
    ),
    (
        {"type": "USAGE", "invoice_cadence": "ARREAR"},
        "Please select a metered feature to set up usage pricing",
    ),
    (
        {"type": "USAGE", "meter_id": "meter_1", "min_quantity": 2},
        "min_quantity cannot be set for usage pricing",
    ),
    ({"type": "USAGE", "meter_id": "meter_1"}, "Please use ARREAR invoice cadence for USAGE price type"),
    (
        {"billing_period": "ONETIME", "invoice_cadence": "ARREAR"},
        "One-time charges are always billed in advance",
    ),
    ({"trial_period_days": -1}, "Please provide a non-negative trial_period_days"),
    (
        {"trial_period_days": 7, "billing_period": "ONETIME"},
        "trial_period_days can only be set for recurring fixed prices",
    ),
    (
        {"start_date": "2027-01-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
        "Start date must be before end date",
    ),
    ({"amount": "-5"}, "Please provide a non-negative amount value"),
    ({"min_quantity": -1}, "min_quantity cannot be negative"),
    ({"amount": "dear"}, "Invalid request format"),
]


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


def made(api: Any, path: str, **body: Any) -> Any:
    answer = api.post(path, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_prices_that_are_refused(catalog_api: Any) -> None:
    plan = made(catalog_api, "/v1/plans", name="Refused")["id"]

    for change, message in REFUSED_PRICES:
        body = PRICE | {"entity_id": plan} | change
        answer = catalog_api.post("/v1/prices", {name: body[name] for name in body if body[name] is not None})

        assert refusal(answer) == (404 if "does not exist" in message else 400, message), change
    bulk = catalog_api.post("/v1/prices/bulk", {"items": [PRICE | {"entity_id": plan}, {}]}).json()
    assert (bulk["message"], bulk["details"]["index"]) == ("Request validation failed", 1)
    assert (
        refusal(catalog_api.post("/v1/prices/bulk", {}))[1] == "Please provide at least one price to create"
    )


def test_a_price_is_named_after_its_plan_and_replaced_by_another_amount(catalog_api: Any) -> None:
    plan = made(catalog_api, "/v1/plans", name="Replaced")["id"]
    old = made(catalog_api, "/v1/prices", **PRICE, entity_id=plan, lookup_key="replaced")
    path = f"/v1/prices/{old['id']}"

    assert old["display_name"] == "Replaced"
    assert catalog_api.get("/v1/prices/lookup/replaced").json()["id"] == old["id"]
    assert catalog_api.get("/v1/prices/lookup/none").json()["details"] == {"lookup_key": "none"}
    alone = catalog_api.call("PUT", path, {"effective_from": "2099-01-01T00:00:00Z"})
    assert refusal(alone)[1].startswith(
        "When providing effective_from, you must also provide one of: amount,"
    )
    early = {"amount": "599", "effective_from": "2020-01-01T00:00:00Z"}
    assert "cannot be before the price's start date" in refusal(catalog_api.call("PUT", path, early))[1]

    new = catalog_api.call("PUT", path, {"amount": "599"}).json()

    assert (new["amount"], new["parent_price_id"]) == ("599", old["id"])
    again = catalog_api.call("PUT", path, {"amount": "699"})
    assert refusal(again) == (400, "Cannot update a terminated price")
    assert refusal(catalog_api.call("DELETE", path))[1] == (
        "Cannot terminate a price that has already been terminated"
    )
    early = {"end_date": "2020-01-01T00:00:00Z"}
    assert "must be on or after" in refusal(catalog_api.call("DELETE", f"/v1/prices/{new['id']}", early))[1]


def test_features_that_are_refused(catalog_api: Any) -> None:
    given = {"type": "boolean", "name": "Single sign-on"}
    feature = made(catalog_api, "/v1/features", **given)
    path = f"/v1/features/{feature['id']}"

    assert feature["lookup_key"] == "single_sign_on"
    refused = [
        ({"name": None}, 400, "Invalid request format"),
        ({"type": "x"}, 400, "Invalid feature type"),
        ({"type": "metered"}, 400, "Please provide meter details to setup a metered feature"),
        ({"unit_singular": "seat"}, 400, "Please provide both unit singular and unit plural"),
        ({}, 409, "A feature with this lookup key already exists"),
    ]
    for change, status, message in refused:
        assert refusal(catalog_api.post("/v1/features", given | change)) == (status, message)
    changed = catalog_api.call("PUT", path, {"name": "SSO", "lookup_key": "other", "metadata": None}).json()
    assert (changed["name"], changed["lookup_key"]) == ("SSO", "single_sign_on")
    assert refusal(catalog_api.call("PUT", path, {"unit_plural": "seats"}))[0] == 400
    assert refusal(catalog_api.call("DELETE", "/v1/features/feat_1"))[1] == (
        "The specified feature does not exist"
    )


def test_entitlements_that_are_refused(catalog_api: Any) -> None:
    plan = made(catalog_api, "/v1/plans", name="Granting")["id"]
    feature = made(catalog_api, "/v1/features", name="Desks", type="static")["id"]
    given = {"plan_id": plan, "feature_id": feature, "feature_type": "static", "static_value": "10"}
    refused = [
        ({"feature_type": None}, 400, "Invalid request format"),
        ({"feature_type": "x"}, 400, "Invalid feature type"),
        ({"feature_type": "boolean"}, 400, "Expected static, got boolean"),
        ({"static_value": ""}, 400, "Static value is required for static features"),
        ({"plan_id": ""}, 400, "Please provide plan_id or entity_type and entity_id"),
        ({"plan_id": "plan_1"}, 404, "Plan with ID plan_1 was not found"),
        ({"feature_id": "feat_1"}, 404, "Feature with ID feat_1 was not found"),
        (
            {"entity_type": "ADDON", "entity_id": "addon_1"},
            400,
            "Only PLAN, ADDON, and SUBSCRIPTION entity types are supported",
        ),
        (
            {"feature_type": "metered", "usage_reset_period": "HOURLY"},
            400,
            "Invalid entitlement usage reset period",
        ),
    ]
    for change, status, message in refused:
        assert refusal(catalog_api.post("/v1/entitlements", given | change)) == (status, message)

    granted = made(catalog_api, "/v1/entitlements", **given)

    assert refusal(catalog_api.post("/v1/entitlements", given))[0] == 409
    assert refusal(catalog_api.call("DELETE", f"/v1/features/{feature}"))[1].startswith("Feature is linked")
    path = f"/v1/entitlements/{granted['id']}"
    assert (
        catalog_api.call("PUT", path, {"usage_limit": 0, "is_enabled": False}).json()["usage_limit"] is None
    )
    assert catalog_api.call("DELETE", path).status_code == 200
    assert catalog_api.get("/v1/entitlements/ent_1").json()["details"] == {"id": "ent_1"}
    assert catalog_api.call("DELETE", f"/v1/features/{feature}").status_code == 200


def test_a_plan_keeps_its_lookup_key_for_itself_and_its_customers(catalog_api: Any) -> None:
    plan = made(catalog_api, "/v1/plans", name="Own", lookup_key="own")["id"]
    made(catalog_api, "/v1/prices", **PRICE, entity_id=plan)
    other = made(catalog_api, "/v1/plans", name="Other")["id"]

    assert refusal(catalog_api.post("/v1/plans", {"name": "Own", "lookup_key": "own"})) == (
        409,
        "Plan with this name already exists",
    )
    renamed = catalog_api.call("PUT", f"/v1/plans/{other}", {"lookup_key": "own"})
    assert renamed.json()["details"] == {"plan_id": other, "plan_name": "Other"}
    made(catalog_api, "/v1/customers", external_id="u-plan", name="A")
    body = {"external_customer_id": "u-plan", "plan_id": plan, "currency": "inr", "billing_period": "MONTHLY"}
    made(catalog_api, "/v1/subscriptions", **body)
    assert refusal(catalog_api.call("DELETE", f"/v1/plans/{plan}"))[1] == (
        "Please remove the active subscriptions before deleting this plan."
    )


@pytest.mark.parametrize("generation", ["legacy", "newest"])
def test_a_customer_is_changed_and_deleted_by_flexprices_rules(api: Any, generation: str) -> None:
    api.switch(generation=generation)
    customer = api.customer("u1", email="a@example.test")
    api.customer("u2")
    path = f"/v1/customers/{customer['id']}"

    def changed(**fields: Any) -> Any:
        return api.call("PUT", path, fields)

    assert api.get("/v1/customers/lookup/u1").json()["id"] == customer["id"]
    assert changed(name="", email=None).json()["name"] == ""
    tags = {"email": "email", "address_country": "len", "timezone": "timezone"}
    details = changed(**dict.fromkeys(tags, "")).json()["details"].values()
    assert sorted(text.split("'")[-2] for text in details) == sorted(tags.values())
    assert refusal(api.call("PUT", "/v1/customers", {}))[1].startswith("Provide id as query parameter")
    both = f"/v1/customers?id={customer['id']}&external_customer_id=u2"
    assert refusal(api.call("PUT", both, {}))[1].startswith("Providing either id or")
    assert changed(external_id="u3").status_code == (500 if generation == "legacy" else 200)
    changed(metadata={"a": "b"})
    assert changed(external_id="u4").json()["metadata"] == {"a": "b", "old_external_ids": "u4"}
    assert changed(external_id="u2").json()["details"] == {"external_id": "u2", "email": "a@example.test"}

    assert api.call("DELETE", path).status_code == 204
    assert refusal(api.call("DELETE", path)) == (404, "Customer does not exist")


@pytest.mark.thorough
def test_a_customer_with_a_plan_or_a_wallet_stays(api: Any) -> None:
    customer = api.customer()
    session = api.session()
    assert api.call("DELETE", f"/v1/customers/{customer['id']}").status_code == 204  # nothing is active yet
    api.change("customers", customer["id"], status="published")
    api.pay(session)
    path = f"/v1/customers/{customer['id']}"

    assert refusal(api.call("DELETE", path))[1] == (
        "Please cancel all subscriptions before deleting the customer"
    )
    subscription = api.bill(session)["subscription_id"]
    now = {"cancellation_type": "immediate", "proration_behavior": "create_prorations"}
    assert api.post(f"/v1/subscriptions/{subscription}/cancel", now).status_code == 200
    assert refusal(api.call("DELETE", path))[1] == "Customer cannot be deleted due to associated wallets"
    (wallet,) = api.found("/v1/wallets/search")
    assert api.found("/v1/wallets/search", status="closed") == []
    assert len(api.found("/v1/wallets/transactions/search", id=wallet["id"])) == 1
