"""Entitlements, usage, settings, the portal's link, the PDF."""

from typing import Any

import pytest

from .second_month import Shopper


@pytest.fixture
def shopper(api: Any) -> Shopper:
    return Shopper(api)


@pytest.fixture
def subscription(shopper: Shopper) -> Any:
    """To a plan with a metered, a static and a boolean feature."""
    plan = shopper.plan()
    for kind, extra in (
        ("boolean", {}),
        ("static", {"static_value": "gold"}),
        ("metered", {"usage_limit": 200, "usage_reset_period": "MONTHLY"}),
    ):
        made = {"name": kind.title(), "lookup_key": kind, "type": "boolean"}
        feature = shopper.post("/features", made).json()["id"]
        entitlement = {"entity_type": "PLAN", "entity_id": plan, "feature_id": feature, "is_enabled": True}
        answer = shopper.post("/entitlements", entitlement | {"feature_type": "boolean"})
        assert answer.status_code == 201, answer.text
        _become(shopper, feature, answer.json()["id"], kind, extra)
    return shopper.subscribe(plan)


def _become(shopper: Shopper, feature: str, entitlement: str, kind: str, extra: Any) -> None:
    """Behind the API's back: the sandbox makes no meters."""
    from storefront.sandbox.store.rows import Entitlement, Feature

    with shopper.api.app.extensions["sandbox"].write("default") as session:
        session.need(Feature, feature).type = kind
        row = session.need(Entitlement, entitlement)
        row.feature_type = kind
        for name, value in extra.items():
            setattr(row, name, value)


def test_what_a_customer_may_use_and_has_used(shopper: Shopper, subscription: Any) -> None:
    shopper.api.call("PUT", "/_sandbox/usage", {"customer": "user-42", "feature": "metered", "value": 50})

    summary = shopper.get("/customers/usage?customer_lookup_key=user-42")

    assert [one["feature"]["lookup_key"] for one in summary["features"]] == ["metered", "static", "boolean"]
    metered, static, boolean = summary["features"]
    assert (metered["total_limit"], metered["current_usage"], metered["usage_percent"]) == (200, "50", "25")
    assert metered["next_usage_reset_at"] == "2026-10-01T00:00:00Z"
    assert (boolean["total_limit"], boolean["is_unlimited"], static["is_unlimited"]) == (None, True, True)
    by_id = shopper.get(f"/customers/usage?customer_id={shopper.id}&feature_lookup_keys=static")
    assert len(by_id["features"]) == 1


def test_entitlements_end_with_the_subscription_for_the_customer_only(
    shopper: Shopper, subscription: Any
) -> None:
    before = shopper.get("/customers/external/user-42/entitlements")
    assert [one["id"] for one in before["subscriptions"]] == [subscription["id"]]
    static = next(one for one in before["features"] if one["feature"]["type"] == "static")
    assert static["entitlement"]["static_values"] == ["gold"]
    assert static["sources"][0]["entity_name"] == "Solo"

    shopper.post(f"/subscriptions/{subscription['id']}/cancel", {"cancellation_type": "immediate"})

    assert shopper.get(f"/customers/{shopper.id}/entitlements")["features"] == []
    assert len(shopper.get(f"/subscriptions/{subscription['id']}/entitlements")["features"]) == 3
    assert shopper.get("/customers/usage?customer_lookup_key=user-42")["features"] == []


@pytest.mark.thorough
def test_usage_while_its_store_is_down(api: Any, shopper: Shopper, subscription: Any) -> None:
    shopper.api.call("PUT", "/_sandbox/usage", {"customer": "user-42", "feature": "metered", "value": 50})
    api.switch(usage_store="down")

    summary = shopper.get("/customers/usage?customer_lookup_key=user-42")

    assert summary["features"][0]["current_usage"] == "0"


def test_usage_needs_a_customer(shopper: Shopper) -> None:
    assert shopper.get("/customers/usage")["message"] == "Provide customer_id or customer_lookup_key"
    assert shopper.api.get("/v1/customers/usage?customer_lookup_key=nobody").status_code == 404
    charges = shopper.post(
        "/subscriptions/usage", {"subscription_id": shopper.subscribe(shopper.plan())["id"]}
    )
    assert (charges.json()["amount"], charges.json()["charges"]) == (0, None)
    assert shopper.post("/subscriptions/usage", {}).json()["message"] == "Invalid request format"


@pytest.mark.thorough
def test_settings_have_defaults_and_go_back_to_them(api: Any, shopper: Shopper) -> None:
    assert shopper.get("/settings/invoice_config")["value"]["due_date_days"] == 1
    api.call("PUT", "/v1/settings/invoice_config", {"value": {"due_date_days": 5}})
    assert shopper.get("/settings/invoice_config")["value"]["due_date_days"] == 5

    api.call("DELETE", "/v1/settings/invoice_config")

    assert shopper.get("/settings/invoice_config")["value"]["due_date_days"] == 1
    assert api.get("/v1/settings/colours").json()["message"] == "Unknown setting key: colours"
    assert api.call("DELETE", "/v1/settings/invoice_config").status_code == 404  # as it is by default
    none = api.call("PUT", "/v1/settings/subscription_config", {"value": {"grace_period_days": 0}})
    assert "failed on the 'required' tag" in none.json()["details"]["GracePeriodDays"]


def test_the_portal_has_a_link_for_an_hour(shopper: Shopper) -> None:
    link = shopper.get("/customers/portal/user-42")

    assert link["token"] in link["url"]
    assert link["expires_at"].startswith("2026-09-01T11:00")
    assert shopper.api.get("/v1/customers/portal/nobody").status_code == 404


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["Asha Rao", "José Ñandú", "Мария", "आशा राव", "山田太郎"])
def test_a_pdf_takes_names_in_any_script(api: Any, shopper: Shopper, name: str) -> None:
    api.call("PUT", f"/v1/customers/{shopper.id}", {"name": name})
    invoice = shopper.invoices(shopper.subscribe(shopper.plan()))[0]

    rendered = api.get(f"/v1/invoices/{invoice['id']}/pdf")

    assert rendered.headers["Content-Type"] == "application/pdf"
    assert rendered.content.startswith(b"%PDF")
    api.switch(pdf="unavailable")
    assert api.get(f"/v1/invoices/{invoice['id']}/pdf").json()["message"] == "template error"
    assert api.get(f"/v1/invoices/{invoice['id']}/pdf?url=true").status_code == 500
