"""Whatever is sent to the API, it answers: in JSON or with a plain 404, and never with a stumble."""

import copy
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import NewDatabase
from tests.sandbox.conftest import near

MANY = settings(
    max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)

# The refusals that are 5xx in the original too.
ITS_OWN = {"internal_error", "database_error", "not_implemented"}


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, sandbox_in: NewDatabase) -> Iterator[Any]:
    """With a sale, an open session and a refund to be stumbled over."""
    for api in near(sandbox_in(tmp_path_factory.mktemp("busy"))):
        api.customer(contact="+919000000001")
        api.stock("tiny", prices=[{"currency": "inr", "amount": "0.5"}])
        late, paid = api.session(), api.session()
        api.advance("46m")
        api.pay(paid)
        api.post("/_sandbox/sweep")
        api.pay(late)
        open_one = api.session(idempotency_key="k")
        api.ids = [late["id"], paid["id"], open_one["id"], late["customer_id"], late["checkout_payment_id"]]
        api.ids += [paid["checkout_invoice_id"], api.bill(paid)["subscription_id"], api.plan("team")["id"]]
        api.ids += [refund["id"] for refund in api.get("/v1/refunds").json()["items"]]
        api.whole = api.asked(idempotency_key="x", metadata={"a": "b"})
        yield api


def routes(api: Any) -> list[tuple[str, str]]:
    rules = [rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith("/v1/")]
    return sorted((rule.rule, method) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"})


def send(api: Any, method: str, path: str, body: Any) -> Any:
    """As it is, NaN too: it is for the other end to refuse what is no JSON."""
    return api.call(method, path, data=json.dumps(body))


def understood(answer: Any) -> None:
    assert answer.headers["X-Request-ID"]
    if answer.status_code == 204:
        assert answer.content == b""
    elif answer.headers["Content-Type"].startswith("text/plain"):
        assert (answer.status_code, answer.text) == (404, "404 page not found")
    else:
        body = json.loads(answer.text)
        assert isinstance(body, dict)
        if answer.status_code >= 500:
            assert body["code"] in ITS_OWN, answer.text
        elif answer.status_code >= 400:
            assert {"message", "error"} & set(body), answer.text


words = st.sampled_from(
    [
        *(
            "",
            "k",
            "user-42",
            "nobody",
            "inr",
            "USD",
            "MONTHLY",
            "ONETIME",
            "razorpay",
            "create_subscription",
        ),
        *("send_invoice", "charge_automatically", "UPI", "ACH", "draft", "active", "archived", "asc", "desc"),
        *(
            "eq",
            "in",
            "gt",
            "gte",
            "contains",
            "before",
            "after",
            "name",
            "created_at",
            "total",
            "prices,plan",
        ),
        *(
            "2026-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00-23:59",
            "2026-02-30T00:00:00Z",
        ),
        *("\x00", "'; DROP TABLE plans", "%", '"', "\\", "💳", "a" * 300, "1e400", "-0.5", "NaN"),
    ]
)
numbers = st.integers(-2, 5) | st.integers() | st.floats() | st.sampled_from([10**30, -(10**400), 2**63])
leaves = st.none() | st.booleans() | numbers | words | st.text(max_size=20)
NAMES = """limit offset order sort status expand filters field operator data_type value string number date
    array boolean plan_ids price_ids lookup_key metadata start_time end_time entity_type entity_ids meter_ids
    billing_periods start_date_lt allow_expired_prices direction customer_id customer_ids plan_id active_at
    external_customer_id subscription_status billing_period with_line_items invoice_ids subscription_id
    invoice_status payment_status currency period_start_gte amount_due_gt skip_line_items external_id name
    email contact timezone address_country tax_treatment contact_persons idempotency_key success_url
    customer_external_id action payment_provider configuration create_subscription_params start_date
    end_date payment_provider_config collection_method payment_method max_mandate_limit"""
OF_A_PRICE = """amount currency billing_period type tiers min_quantity start_date end_date trial_period_days
    invoice_cadence metadata lookup_key transform_quantity"""
COLUMNS = ["id", "name", "status", "created_at", "display_order", "amount", "total", ""]
TAGS = ["string", "number", "boolean", "date", "array"]

names = st.sampled_from(NAMES.split())
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)
bodies = st.dictionaries(names, anything, max_size=6)
conditions = st.fixed_dictionaries(
    {
        "field": st.sampled_from(
            ["id", "name", "status", "created_at", "display_order", "amount", "total", ""]
        ),
        "operator": words,
        "value": st.dictionaries(
            st.sampled_from(["string", "number", "boolean", "date", "array"]),
            leaves | st.lists(leaves),
            max_size=2,
        ),
    }
)
searches = st.builds(
    lambda body, filters, sort: body | {"filters": filters, "sort": sort},
    bodies,
    st.lists(conditions, max_size=3),
    st.lists(st.fixed_dictionaries({"field": words, "direction": words}), max_size=2) | words,
)


@MANY
@given(data=st.data())
def test_any_route_with_any_json_and_query(busy: Any, data: Any) -> None:
    rule, method = data.draw(st.sampled_from(routes(busy)))
    name = data.draw(st.sampled_from(busy.ids) | words | st.text(min_size=1, max_size=30))
    path = "/".join(quote(name, safe="") if part.startswith("<") else part for part in rule.split("/"))
    query = data.draw(st.dictionaries(names, words, max_size=3))
    tail = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())

    understood(send(busy, method, f"{path}?{tail}", data.draw(bodies | anything)))


@pytest.mark.thorough
@MANY
@given(data=st.data())
def test_any_search(busy: Any, data: Any) -> None:
    paths = [rule for rule, _ in routes(busy) if rule.endswith("/search")]

    understood(send(busy, "POST", data.draw(st.sampled_from(paths)), data.draw(searches)))


def places(body: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in body.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@MANY
@given(data=st.data())
def test_a_session_with_anything_in_one_or_two_places(busy: Any, data: Any) -> None:
    body = copy.deepcopy(busy.whole)
    config = {"collection_method": "charge_automatically", "max_mandate_limit": "5", "payment_method": "UPI"}
    if data.draw(st.booleans()):
        body["payment_provider_config"] = config
    params = body["configuration"]["create_subscription_params"]
    params |= data.draw(st.dictionaries(st.sampled_from(["start_date", "end_date", "metadata"]), words))
    for place in data.draw(st.lists(st.sampled_from(list(places(body))), max_size=2)):
        inside = body
        for key in place[:-1]:
            inside = inside.get(key) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside[place[-1]] = data.draw(anything)

    understood(send(busy, "POST", "/v1/checkout/sessions", body))


@MANY
@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode), kind=words)
def test_any_bytes(busy: Any, raw: bytes, kind: str) -> None:
    headers = busy.headers | {"Content-Type": quote(kind)}

    for path in ("/v1/customers", "/v1/plans/search", "/v1/checkout/sessions"):
        answer = busy.call("POST", path, data=raw, headers=headers)
        understood(answer)
        assert answer.status_code in (200, 400)


@MANY
@given(
    path=st.text(max_size=40),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]),
    key=words,
)
def test_any_path_and_any_key(busy: Any, path: str, method: str, key: str) -> None:
    answer = busy.call(method, f"/v1/{quote(path)}", {}, headers={"x-api-key": quote(key)})

    understood(answer)
    assert answer.status_code in (401, 404)


@pytest.mark.thorough
@MANY
@given(body=bodies | anything)
def test_any_plan_of_ones_own(busy: Any, body: Any) -> None:
    answer = send(busy, "PUT", "/_sandbox/plans/fuzz", body)

    understood(answer)
    understood(busy.post("/v1/plans/search", {"expand": "prices,entitlements,features"}))


@pytest.mark.thorough
@MANY
@given(
    fee=st.dictionaries(st.sampled_from(OF_A_PRICE.split()), anything, max_size=4),
)
def test_any_price_of_ones_own(busy: Any, fee: Any) -> None:
    whole = {"amount": "5", "currency": "inr", "billing_period": "MONTHLY"} | fee
    stocked = send(busy, "PUT", "/_sandbox/plans/fuzz", {"prices": [whole]})

    understood(stocked)
    if stocked.status_code == 200:
        understood(busy.post("/v1/checkout/sessions", busy.asked("fuzz")))


# The control API and the payment page.

CONTROLS = """advance through mode outcome completion delivery times seconds session customer target path
    method signing retries name value back status at_period_end sure then limit type other stage"""
SET = [
    "5m",
    "9999d",
    "drop",
    "hold",
    "paid",
    "refunded",
    "late",
    "half_done",
    "twice",
    "native",
    "svix",
    "yes",
    "down",
]
control_values = st.sampled_from(SET) | anything
forms = st.dictionaries(st.sampled_from(CONTROLS.split()), control_values, max_size=4)


def doors(api: Any) -> list[tuple[str, str]]:
    rules = [rule for rule in api.app.url_map.iter_rules() if rule.rule.startswith(("/_sandbox", "/pay"))]
    return sorted((rule.rule, method) for rule in rules for method in rule.methods - {"HEAD", "OPTIONS"})


@pytest.mark.thorough
@MANY
@given(data=st.data())
def test_any_control_any_page_and_any_payment(busy: Any, data: Any) -> None:
    rule, method = data.draw(st.sampled_from(doors(busy)))
    link = busy.get("/_sandbox/sessions").json()["items"][0]["link"]
    numbers = st.integers(0, 3) | st.just(10**30)
    name = data.draw(st.sampled_from([*busy.ids, link]) | numbers.map(str) | words.filter(bool))
    path = "/".join(quote(name, safe="") if part.startswith("<") else part for part in rule.split("/"))
    form, headers = data.draw(forms), {"Accept": data.draw(st.sampled_from(["text/html", "*/*"]))}
    query = "&".join(f"{key}={quote(str(value))}" for key, value in data.draw(forms).items())

    if data.draw(st.booleans()):
        answer = busy.call(method, f"{path}?{query}", data=json.dumps(form), headers=headers)
    else:
        answer = busy.call(
            method, f"{path}?{query}", data={k: str(v) for k, v in form.items()}, headers=headers
        )

    assert answer.status_code < 500, answer.text
    busy.post("/_sandbox/overrides/clear")
    busy.post("/_sandbox/webhooks", {"mode": "drop"})


def test_a_key_that_is_no_json_leaves_the_guided_list_readable(api: Any) -> None:
    refused = send(api, "POST", "/v1/checkout/sessions", {"idempotency_key": float("nan")})

    assert refused.status_code == 400
    assert api.get("/_sandbox/scenarios/result.json").status_code == 200
