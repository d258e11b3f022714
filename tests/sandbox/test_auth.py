"""Who is let in, what they may do, and how the door says no."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({}, "Unauthorized"),
        ({"x-api-key": "wrong"}, "Unauthorized"),
        ({"Authorization": "sk_sandbox_tests"}, "Invalid authorization header format"),
        ({"Authorization": "Bearer sk_sandbox_tests"}, "Invalid token"),
        ({"Authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"}, "Invalid token claims"),
    ],
)
def test_only_the_api_key_header_opens_the_door(api: Any, headers: dict[str, str], error: str) -> None:
    response = api.get("/v1/plans/x", headers=headers)

    assert (response.status_code, response.json()) == (401, {"error": error})


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nowhere"), ("PATCH", "/v1/customers"), ("GET", "/v1/plans"), ("GET", "/v1//plans/x")],
)
def test_an_unknown_route_is_plain_text_before_any_key(api: Any, method: str, path: str) -> None:
    response = api.call(method, path, headers={})

    assert (response.status_code, response.text) == (404, "404 page not found")
    assert response.headers["Content-Type"].startswith("text/plain")


def test_every_answer_carries_a_request_id(api: Any) -> None:
    assert api.get("/v1/plans/x", headers={"X-Request-ID": "mine"}).headers["X-Request-ID"] == "mine"
    assert len(api.get("/nowhere").headers["X-Request-ID"]) == 26


@pytest.mark.parametrize(
    "path",
    [
        "/v1/customers",
        "/v1/plans/search",
        "/v1/prices/search",
        "/v1/checkout/sessions",
        "/v1/subscriptions/search",
        "/v1/invoices/search",
    ],
)
@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 5000, b'{"name":"\\ud800"}']
)
def test_garbage_is_refused_with_an_envelope(api: Any, path: str, garbage: bytes) -> None:
    answer = api.post(path, data=garbage)

    assert answer.status_code == 400
    assert answer.json()["code"] == "validation_error"


@pytest.mark.parametrize("path", ["/v1/plans/search", "/v1/prices/search", "/v1/subscriptions/search"])
def test_null_is_an_empty_body(api: Any, path: str) -> None:
    """Observed for plans; Go reads it so everywhere."""
    assert api.post(path, data=b"null").json() == api.post(path, data=b"{}").json()
    assert api.post("/v1/customers", data=b"null").status_code == 400


WRITES = [
    ("POST", "/v1/customers"),
    ("POST", "/v1/checkout/sessions"),
    ("POST", "/v1/checkout/sessions/cs_1/cancel"),
    ("DELETE", "/v1/checkout/sessions/cs_1"),
]
READS = [
    ("GET", "/v1/customers/external/x"),
    ("GET", "/v1/checkout/sessions/cs_1"),
    ("POST", "/v1/plans/search"),
    ("POST", "/v1/subscriptions/search"),
]
ENVIRONMENT = "env_01K3B8N36096Q14DR9GPQY77ZX"


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_key_that_may_only_read_changes_nothing(api: Any, method: str, path: str) -> None:
    answer = api.call(method, path, {}, headers={"x-api-key": "sk_sandbox_tests_read_only"})

    assert (answer.status_code, answer.json()) == (403, {"message": "insufficient permissions"})


@pytest.mark.parametrize(("method", "path"), READS)
def test_a_key_that_may_only_read_reads_everything(api: Any, method: str, path: str) -> None:
    asked = None if method == "GET" else {}
    answer = api.call(method, path, asked, headers={"x-api-key": "sk_sandbox_tests_read_only"})

    assert answer.status_code in (200, 404)


def test_a_suspended_tenant_may_read_but_not_write(api: Any) -> None:
    api.switch(tenant="suspended")

    for method, path in WRITES:
        answer = api.call(method, path, {})
        assert (answer.status_code, answer.json()) == (403, {"message": "tenant account is suspended"})
    for method, path in READS:
        assert api.call(method, path, None if method == "GET" else {}).status_code in (200, 404)


@pytest.mark.parametrize("environment", [None, "", "env_of_somebody_else"])
def test_an_operators_key_must_say_which_environment(api: Any, environment: str | None) -> None:
    key = {"x-api-key": "sk_sandbox_tests_operator"}
    named = key if environment is None else key | {"X-Environment-ID": environment}

    answer = api.post("/v1/plans/search", {}, headers=named)

    refusal = {"error": "Access denied", "message": "Invalid or inaccessible environment"}
    assert (answer.status_code, answer.json()) == (403, refusal)
    right = api.post("/v1/plans/search", {}, headers=key | {"X-Environment-ID": ENVIRONMENT})
    assert right.status_code == 200


def test_the_environment_header_means_nothing_to_a_usual_key(api: Any) -> None:
    headers = api.headers | {"X-Environment-ID": "env_of_somebody_else"}

    assert api.post("/v1/plans/search", {}, headers=headers).status_code == 200


def test_a_good_key_is_enough_whatever_authorization_says(api: Any) -> None:
    headers = api.headers | {"Authorization": "Basic nonsense"}

    assert api.post("/v1/plans/search", {}, headers=headers).status_code == 200


def test_unknown_fields_are_ignored(api: Any) -> None:
    api.customer(currency="INR", loyalty={"points": [1, 2]})
    session = api.session(preferred_method="upi", coupons=None, params={"seats": 3})

    assert session["checkout_status"] == "pending"
    assert "preferred_method" not in session
    assert api.found("/v1/plans/search", colour="green")


def test_json_needs_no_content_type(api: Any) -> None:
    headers = api.headers | {"Content-Type": "text/plain"}

    assert api.post("/v1/plans/search", data=b"{}", headers=headers).status_code == 200
