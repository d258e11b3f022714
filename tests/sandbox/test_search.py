"""Filters, sorting and pages of every list, with the quirks of the original."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import NewDatabase
from tests.sandbox.conftest import near

PLANS, PRICES = "/v1/plans/search", "/v1/prices/search"
SUBSCRIPTIONS, INVOICES = "/v1/subscriptions/search", "/v1/invoices/search"
# A list, what it says to the wrong type, what it says to a wrong value, and whether 0 is the default limit.
LISTS = {
    PLANS: ("Invalid filter parameters", "Invalid filter parameters", True),
    PRICES: ("Invalid filter parameters", "Invalid filter parameters", True),
    SUBSCRIPTIONS: ("Invalid filter parameters", "Please provide valid filter parameters", False),
    INVOICES: ("invalid request body", "invalid filter parameters", False),
}


@pytest.fixture(scope="module")
def sold(tmp_path_factory: pytest.TempPathFactory, sandbox_in: NewDatabase) -> Iterator[Any]:
    """Three customers: one bought for a month, one for a year, one has not paid yet. For reading only."""
    for api in near(sandbox_in(tmp_path_factory.mktemp("sold"))):
        for name, plan, params in (
            ("user-1", "starter", {}),
            ("user-2", "team", {"currency": "USD", "billing_period": "ANNUAL"}),
            ("user-3", "studio", {}),
        ):
            api.customer(name)
            session = api.session(plan, customer_external_id=name, params=params)
            if name != "user-3":
                api.pay(session)
        yield api


def amounts(api: Any, **asked: Any) -> list[str]:
    return sorted(invoice["total"] for invoice in api.found(INVOICES, **asked))


@pytest.mark.parametrize("path", LISTS)
def test_a_list_has_fifty_unless_asked(sold: Any, path: str) -> None:
    assert sold.post(path, {}).json()["pagination"]["limit"] == 50
    assert sold.post(path, {"limit": None, "offset": None}).json()["pagination"]["limit"] == 50
    assert sold.post(path, {"limit": 1}).json()["pagination"]["limit"] == 1


@pytest.mark.parametrize("path", LISTS)
def test_the_offset_that_comes_back_is_the_next_one_but_for_invoices(sold: Any, path: str) -> None:
    page = sold.post(path, {"limit": 1, "offset": 1}).json()["pagination"]

    assert page["offset"] == (1 if path == INVOICES else 2)


@pytest.mark.parametrize("path", LISTS)
def test_pages_follow_each_other_without_a_gap(sold: Any, path: str) -> None:
    whole = [item["id"] for item in sold.found(path)]

    pages = [sold.found(path, limit=1, offset=offset) for offset in range(len(whole))]

    assert [item["id"] for page in pages for item in page] == whole


@pytest.mark.parametrize(("path", "said"), LISTS.items())
def test_a_limit_of_nothing_is_the_default_or_refused(
    sold: Any, path: str, said: tuple[str, str, bool]
) -> None:
    answer = sold.post(path, {"limit": 0})

    assert answer.status_code == (200 if said[2] else 400)
    if not said[2]:
        assert answer.json()["message"] == said[1]
        assert answer.json()["details"] == {"limit": "must be between 1 and 1000"}


@pytest.mark.parametrize("path", [PLANS, SUBSCRIPTIONS, INVOICES])
def test_a_page_is_at_most_a_thousand(sold: Any, path: str) -> None:
    answer = sold.post(path, {"limit": 1001}).json()

    assert (answer["message"], answer["details"]) == (
        LISTS[path][1],
        {"limit": "must be between 1 and 1000"},
    )


@pytest.mark.parametrize(
    ("asked", "details"),
    [
        ({"offset": -1}, {"offset": "must be non-negative"}),
        ({"order": "up"}, {"order": "must be either 'asc' or 'desc'"}),
    ],
)
@pytest.mark.parametrize(("path", "said"), LISTS.items())
def test_a_wrong_value_is_named(
    sold: Any, path: str, said: tuple[str, str, bool], asked: Any, details: Any
) -> None:
    answer = sold.post(path, asked)

    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    assert (answer.json()["message"], answer.json()["details"]) == (said[1], details)


@pytest.mark.parametrize("path", LISTS)
def test_time_does_not_run_backwards(sold: Any, path: str) -> None:
    answer = sold.post(
        path, {"start_time": "2026-02-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"}
    ).json()

    assert answer["message"] == "Please provide a valid time range"
    assert answer["details"] == {"end_time": "must be after start_time"}


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "5"},
        {"limit": 1.5},
        {"limit": True},
        {"limit": 10**30},
        {"status": 1},
        {"expand": ["x"]},
        {"start_time": "yesterday"},
        {"start_time": "2026-01-01"},
        {"end_time": 7},
        {"filters": {}},
        {"filters": [1]},
        {"filters": [{"field": "id", "operator": "eq"}]},
        {"filters": [{"field": "id", "operator": "eq", "value": {"string": 1}}]},
        {"filters": [{"field": "id", "operator": "in", "value": {"array": [1]}}]},
        {"filters": [{"field": "id", "operator": "gt", "value": {"number": "many"}}]},
        {"filters": [{"field": "created_at", "operator": "after", "value": {"date": "soon"}}]},
    ],
)
@pytest.mark.parametrize(("path", "said"), LISTS.items())
def test_a_wrong_type_is_refused(sold: Any, path: str, said: tuple[str, str, bool], asked: Any) -> None:
    answer = sold.post(path, asked)

    assert (answer.status_code, answer.json()["message"]) == (400, said[0])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (PLANS, "Failed to apply query options"),
        (PRICES, "Failed to apply price filters"),
        (SUBSCRIPTIONS, "Failed to apply query options"),
        (INVOICES, "Failed to apply query options"),
    ],
)
@pytest.mark.parametrize("field", ["colour", "", "body", "amount; DROP TABLE plans"])
def test_a_field_that_is_no_column_fails(sold: Any, path: str, message: str, field: str) -> None:
    asked = {"filters": [{"field": field, "operator": "eq", "value": {"string": "x"}}]}

    answer = sold.post(path, asked)

    assert (answer.status_code, answer.json()["message"]) == (400, message)


def filtered(operator: str, **value: Any) -> dict[str, Any]:
    kind = next(iter(value))
    field = {"string": "name", "array": "name", "number": "display_order", "date": "created_at"}[kind]
    return {"field": field, "operator": operator, "data_type": kind, "value": value}


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (filtered("eq", string="Team"), ["Team"]),
        (filtered("eq", string="team"), []),
        (filtered("eq", number=1), ["Starter"]),
        (filtered("contains", string="tE"), ["Starter", "Team"]),
        (filtered("contains", string="%"), []),
        (filtered("not_contains", string="e"), ["Pacific", "Studio"]),
        (filtered("in", array=["Team", "Free", "None"]), ["Free", "Team"]),
        (
            filtered("not_in", array=["Free", "Starter", "Team", "Business"]),
            ["Pacific", "Scale", "Studio"],
        ),
        (filtered("gt", number=4), ["Pacific", "Studio"]),
        (filtered("lt", number=1), ["Free"]),
        (filtered("after", date="2025-12-31T22:30:00Z"), ["Free", "Starter"]),
        (filtered("before", date="2025-12-31T18:30:00+00:00"), ["Pacific"]),
    ],
)
def test_filters_mean_what_they_say(catalog_api: Any, condition: Any, names: list[str]) -> None:
    found = catalog_api.found(PLANS, filters=[condition])

    assert sorted(plan["name"] for plan in found) == names


@pytest.mark.parametrize(
    "condition",
    [
        filtered("gte", number=4),
        filtered("gt", string="Team"),
        filtered("contains", number=1),
        filtered("in", string="Team"),
        filtered("in", array=[]),
        filtered("before", string="2026-01-01"),
        filtered("starts_with", string="T"),
        {"field": "name", "value": {"string": "Team"}},
    ],
)
def test_a_filter_that_makes_no_sense_is_left_out_without_a_word(catalog_api: Any, condition: Any) -> None:
    assert len(catalog_api.found(PLANS, filters=[condition])) == 7


def test_several_filters_all_hold(catalog_api: Any) -> None:
    conditions = [filtered("contains", string="a"), filtered("gt", number=4)]

    assert [plan["name"] for plan in catalog_api.found(PLANS, filters=conditions)] == ["Pacific"]


def test_subscriptions_are_those_of_a_customer_a_plan_and_a_time(sold: Any) -> None:
    first, *_ = sold.found(SUBSCRIPTIONS, external_customer_id="user-1")
    ids = {s["id"] for s in sold.found(SUBSCRIPTIONS)}

    def found(**asked: Any) -> list[str]:
        return [one["id"] for one in sold.found(SUBSCRIPTIONS, **asked)]

    assert len(ids) == 2
    assert (
        found(customer_id=first["customer_id"]) == found(customer_ids=[first["customer_id"]]) == [first["id"]]
    )
    assert found(plan_id=first["plan_id"]) == found(subscription_ids=[first["id"]]) == [first["id"]]
    assert found(billing_period=["MONTHLY"]) == [first["id"]]
    assert found(active_at=first["start_date"])
    assert found(active_at="2020-01-01T00:00:00Z") == []
    assert found(start_time="2099-01-01T00:00:00Z") == []
    assert set(found(end_time="2199-01-01T00:00:00Z")) == ids
    assert len(found(subscription_status=["draft", "active"])) == 3
    assert found(status="archived") == []


def test_a_filter_on_the_status_lifts_the_usual_active_only(sold: Any) -> None:
    condition = {"field": "subscription_status", "operator": "eq", "value": {"string": "draft"}}

    assert len(sold.found(SUBSCRIPTIONS, filters=[condition])) == 1


def test_a_status_that_is_none_is_refused(sold: Any) -> None:
    answer = sold.post(SUBSCRIPTIONS, {"subscription_status": ["ACTIVE"]})

    assert (answer.status_code, answer.json()["message"]) == (400, "Invalid subscription status")


def test_what_a_subscription_shows_is_what_was_asked_for(sold: Any) -> None:
    def shown(**asked: Any) -> Any:
        return sold.found(SUBSCRIPTIONS, external_customer_id="user-1", **asked)[0]

    assert (shown()["customer"], shown()["plan"]["name"]) == (None, "Starter")
    assert "line_items" not in shown()
    assert shown(expand="customer")["customer"]["external_id"] == "user-1"
    assert shown(with_line_items=True)["line_items"] == shown(expand="subscription_line_items")["line_items"]
    assert sold.post(SUBSCRIPTIONS, {"expand": "wallet"}).json()["details"] == {"field": "wallet"}


@pytest.mark.parametrize("path", [SUBSCRIPTIONS, INVOICES])
def test_an_unknown_customer_has_no_list(sold: Any, path: str) -> None:
    answer = sold.post(path, {"external_customer_id": "nobody"})

    also = {"external_customer_id": "nobody"} if path == SUBSCRIPTIONS else {}
    assert (answer.status_code, answer.json()["details"]) == (404, {"lookup_key": "nobody"} | also)
    assert sold.found(path, customer_id="cust_1") == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["2499", "290", "499"]),
        ({"external_customer_id": "user-2"}, ["290"]),
        ({"currency": "usd"}, ["290"]),
        ({"currency": "USD"}, []),
        ({"invoice_status": ["DRAFT"]}, ["2499"]),
        ({"invoice_status": ["SKIPPED", "VOIDED"]}, []),
        ({"payment_status": ["SUCCEEDED"]}, ["290", "499"]),
        ({"invoice_type": "SUBSCRIPTION"}, ["2499", "290", "499"]),
        ({"invoice_type": "ONE_OFF"}, []),
        ({"billing_reason": "SUBSCRIPTION_CYCLE", "currency": "inr"}, ["2499", "499"]),
        ({"amount_due_gt": 300}, ["2499", "499"]),
        ({"amount_due_gt": "499"}, ["2499"]),
        ({"amount_remaining_gt": 0}, ["2499"]),
        ({"period_start_lte": "2020-01-01T00:00:00Z"}, []),
        ({"period_end_gte": "2020-01-01T00:00:00Z", "currency": "usd"}, ["290"]),
        ({"subscription_id": "subs_1"}, []),
        ({"status": "deleted"}, []),
    ],
)
def test_invoices_are_filtered(sold: Any, asked: Any, found: list[str]) -> None:
    assert amounts(sold, **asked) == found


def test_invoices_are_sorted_and_shown_without_lines_when_asked(sold: Any) -> None:
    by_total = [{"field": "total", "direction": "desc"}]
    found = sold.found(INVOICES, sort=by_total, skip_line_items=True)

    assert [invoice["total"] for invoice in found] == ["2499", "499", "290"]
    assert "line_items" not in found[0]
    assert (found[0]["customer"]["external_id"], "subscription" in found[0]) == ("user-3", False)
    assert [invoice["total"] for invoice in sold.found(INVOICES)] == ["2499", "290", "499"]
    assert [invoice["total"] for invoice in sold.found(INVOICES, order="asc")] == ["499", "290", "2499"]
