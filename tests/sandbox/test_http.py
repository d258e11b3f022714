"""What Flexprice's HTTP server does around its routes, and which hosts and origins the sandbox answers."""

from typing import Any

import pytest

from storefront.sandbox import create_app
from storefront.sandbox.settings import SandboxSettings


def test_a_trailing_slash_redirects_without_a_request_id(api: Any) -> None:
    get = api.get("/v1/plans/plan_1/")
    post = api.post("/v1/customers/", {})

    assert (get.status_code, get.headers["Location"]) == (301, "/v1/plans/plan_1")
    assert (post.status_code, post.headers["Location"]) == (307, "/v1/customers")
    assert "X-Request-ID" not in get.headers
    assert api.get("/v1/nowhere/").status_code == 404


def test_head_is_unknown_and_options_always_succeeds(api: Any) -> None:
    assert api.call("HEAD", "/v1/plans/plan_1").status_code == 404
    assert api.call("OPTIONS", "/v1/anything", headers={}).status_code == 200


def test_answers_carry_cors_headers_and_a_charset(api: Any) -> None:
    answer = api.post("/v1/plans/search", {})

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_health_needs_no_key(api: Any) -> None:
    answer = api.get("/health", headers={})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8001", 200),
        ("127.0.0.1:8001", 200),
        ("[::1]:8001", 200),
        ("flexprice", 200),
        ("sandbox.test", 200),
        ("sandbox.test.", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example", 400),
    ],
)
def test_only_known_hosts_are_answered(api: Any, host: str, status: int) -> None:
    """Kind: one reader for host names."""
    for path in ("/_sandbox/clock", "/health", "/_sandbox/"):
        client = api.app.test_client()
        assert client.get(path, headers={"Host": host}).status_code == status, path


def test_configured_hosts_are_answered() -> None:
    settings = SandboxSettings(
        database_url="sqlite://", url="https://pay.example", allowed_hosts=("Sandbox.Example",), seed=""
    )
    client = create_app(settings).test_client()

    answered = {
        host: client.get("/health", headers={"Host": host}).status_code
        for host in ("pay.example", "sandbox.example:8001", "sandbox", "10.0.0.7", "other.example")
    }

    assert list(answered.values()) == [200, 200, 200, 200, 400]


@pytest.mark.parametrize(
    ("url", "begins"), [("https://pay.example", "https://pay.example"), ("", "http://box:8001")]
)
def test_links_begin_with_the_url_or_the_host_of_the_call(url: str, begins: str) -> None:
    app = create_app(SandboxSettings(database_url="sqlite://", url=url, seed="demo"))
    client = app.test_client()
    headers = {"Host": "box:8001", "x-api-key": "sk_sandbox_default"}
    plan = client.get("/v1/plans/lookup/starter", headers=headers).json or {}
    client.post("/v1/customers", headers=headers, json={"external_id": "u", "name": "A"})
    params = {"plan_id": plan["id"], "currency": "INR", "billing_period": "MONTHLY"}
    asked = {
        "customer_external_id": "u",
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "configuration": {"create_subscription_params": params},
        "success_url": "https://shop.test/return",
    }

    session = client.post("/v1/checkout/sessions", headers=headers, json=asked).json or {}

    assert session["payment_action"]["url"].startswith(f"{begins}/pay/")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://sandbox.test", 200),
        ("http://evil.example", 403),
        ("http://[", 403),
        ("null", 403),
    ],
)
def test_a_control_call_compares_origin_and_host(api: Any, origin: str | None, status: int) -> None:
    headers = api.headers | ({"Origin": origin} if origin else {})

    assert api.post("/_sandbox/sweep", {}, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"external_id": "a", "name": "A"} and more', 201),
        (b'{"External_ID": "b", "NAME": "B"}', 201),
        (b'{"external_id": "c", "name": "C\xff"}', 201),
        (b'\xef\xbb\xbf{"external_id": "d", "name": "D"}', 400),
    ],
)
def test_bodies_are_read_as_go_reads_them(api: Any, body: bytes, status: int) -> None:
    answer = api.http.post(api.base + "/v1/customers", data=body, headers=api.headers, timeout=5)

    assert answer.status_code == status, answer.text
