"""/v1/customers: made once, found twice, and refused in Go's words."""

import re
from typing import Any

import pytest


def test_a_customer_is_made_once_and_found_twice(api: Any) -> None:
    made = api.post("/v1/customers", {"external_id": "user-42", "name": "Asha", "currency": "INR"})
    again = api.post("/v1/customers", {"external_id": "user-42", "name": "Asha"})

    assert made.status_code == 201
    assert again.status_code == 409
    assert again.json() == {
        "code": "already_exists",
        "message": "A customer with this identifier already exists",
        "http_status_code": 409,
        "details": {"external_id": "user-42"},
    }
    read = api.get("/v1/customers/external/user-42").json()
    assert api.get(f"/v1/customers/{made.json()['id']}").json() == read
    times = ("created_at", "updated_at")
    assert read | {name: made.json()[name] for name in times} == made.json()
    assert all(re.fullmatch(r".+\.\d{9}Z", made.json()[name]) for name in times)


def test_null_in_metadata_is_an_empty_text(api: Any) -> None:
    made = api.post("/v1/customers", {"external_id": "u", "name": "A", "metadata": {"n": None}}).json()

    assert made["metadata"] == {"n": ""}


def test_a_text_with_u0000_is_a_database_error(api: Any) -> None:
    answer = api.post("/v1/customers", {"external_id": "u\x00", "name": "A"})

    assert (answer.status_code, answer.json()["code"]) == (500, "database_error")


def test_too_long_an_external_id_is_a_database_error(api: Any) -> None:
    answer = api.post("/v1/customers", {"external_id": "u" * 256, "name": "A"})

    assert (answer.status_code, answer.json()["code"]) == (500, "database_error")


def test_an_unknown_customer_is_named_in_the_refusal(api: Any) -> None:
    by_key = api.get("/v1/customers/external/user-1")

    assert by_key.status_code == 404
    assert by_key.json()["message"] == "Customer with lookup key user-1 was not found"
    assert by_key.json()["details"] == {"lookup_key": "user-1"}
    assert api.get("/v1/customers/cust_1").json()["details"] == {"customer_id": "cust_1"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"external_id": "u"}, "Name"),
        ({"name": "A"}, "ExternalID"),
        ({"external_id": "u", "name": "A", "email": "nobody"}, "Email"),
        ({"external_id": "u", "name": "A", "address_country": "in"}, "AddressCountry"),
        ({"external_id": "u", "name": "A", "contact": "1" * 21}, "Contact"),
    ],
)
def test_a_broken_customer_rule_is_told_in_go_names(api: Any, body: Any, field: str) -> None:
    answer = api.post("/v1/customers", body)

    assert answer.status_code == 400
    assert answer.json()["message"] == "Request validation failed"
    assert list(answer.json()["details"]) == [field]


def test_a_customer_has_all_the_fields_of_the_contract(api: Any) -> None:
    address = {"address_line1": "1 MG Road", "address_city": "Pune", "address_country": "IN"}
    made = api.customer(contact="+919000000001", timezone="Asia/Kolkata", metadata={"a": "b"}, **address)

    assert made.items() >= address.items()
    assert (made["contact"], made["timezone"], made["metadata"]) == (
        "+919000000001",
        "Asia/Kolkata",
        {"a": "b"},
    )
    assert made["address_state"] == made["address_line2"] == made["email"] == ""
    assert (made["status"], made["id"][:5]) == ("published", "cust_")
    assert {"environment_id", "tenant_id", "created_at", "updated_at", "created_by", "updated_by"} <= set(
        made
    )
    assert api.told() == ["customer.created"]


def test_a_timezone_is_utc_unless_told(api: Any) -> None:
    assert api.customer()["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("change", "field", "tag"),
    [
        ({"name": "n" * 256}, "Name", "max"),
        ({"contact": "1" * 21}, "Contact", "max"),
        ({"address_line1": "a" * 256}, "AddressLine1", "max"),
        ({"address_state": "a" * 101}, "AddressState", "max"),
        ({"address_postal_code": "1" * 21}, "AddressPostalCode", "max"),
        ({"address_country": "XX"}, "AddressCountry", "iso3166_1_alpha2"),
        ({"email": "Asha <asha@example.test>"}, "Email", "email"),
        ({"email": "asha@localhost"}, "Email", "email"),
        ({"timezone": "Asia/Nowhere"}, "Timezone", "timezone"),
    ],
)
def test_every_limit_is_kept(api: Any, change: Any, field: str, tag: str) -> None:
    answer = api.post("/v1/customers", {"external_id": "u", "name": "A"} | change)

    message = (
        f"Key: 'CreateCustomerRequest.{field}' Error:Field validation for '{field}' failed on the '{tag}' tag"
    )
    assert answer.status_code == 400
    assert answer.json()["details"] == {field: message}


@pytest.mark.parametrize("metadata", [{"n": 1}, {"n": ["x"]}, [], "x"])
def test_metadata_is_text_and_nothing_else(api: Any, metadata: Any) -> None:
    answer = api.post("/v1/customers", {"external_id": "u", "name": "A", "metadata": metadata})

    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid request format")


def test_an_e_mail_address_may_be_used_twice(api: Any) -> None:
    api.customer("user-1", email="asha@example.test")

    assert api.customer("user-2", email="asha@example.test")["id"]


def test_razorpays_customer_is_told_once_and_shown_when_asked(api: Any) -> None:
    customer = api.customer()
    api.session()
    api.session()

    whole = api.get(f"/v1/customers/{customer['id']}?expand=integrations").json()

    assert whole["metadata"]["razorpay_customer_id"] == whole["integrations"][0]["provider_entity_id"]
    assert api.told().count("customer.updated") == 1
    assert "integrations" not in api.get("/v1/customers/external/user-42").json()
    refused = api.get("/v1/customers/external/user-42?expand=wallets").json()
    assert (refused["message"], refused["details"]) == (
        "Field is not allowed to be expanded",
        {"field": "wallets"},
    )


def test_an_archived_customer_is_found_by_id_alone_and_frees_the_name(api: Any) -> None:
    customer = api.customer()
    api.change("customers", customer["id"], status="archived")

    assert api.get("/v1/customers/external/user-42").status_code == 404
    assert api.get(f"/v1/customers/{customer['id']}").json()["status"] == "archived"
    assert api.customer()["id"] != customer["id"]


def test_a_path_with_a_slash_in_it_leads_nowhere(api: Any) -> None:
    api.customer("a/b")

    answer = api.get("/v1/customers/external/a%2Fb")

    assert (answer.status_code, answer.text) == (404, "404 page not found")
