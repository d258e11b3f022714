"""Lists in pages: all of them, each object once, and one odd object spoils nothing."""

from __future__ import annotations

import json
import logging
from itertools import count

import pytest
import responses
from responses import matchers

from storefront.flexprice import UnreadableResponse
from storefront.flexprice import client as client_module
from tests.unit.flexprice.samples import ENTITLEMENT, PLAN, PRICE, REFUND, URL, page

SEARCH = f"{URL}/plans/search"


def odd_price(**parts):
    return PLAN | {"id": "plan_odd", "prices": [PRICE, PRICE | parts]}


def odd_entitlement(**parts):
    return PLAN | {"id": "plan_odd", "entitlements": [ENTITLEMENT | parts]}


ODD = [
    7,
    None,
    [],
    "plan",
    {},
    PLAN | {"id": None},
    PLAN | {"id": 7},
    PLAN | {"id": "p" * 256},
    PLAN | {"id": "plan\x00odd"},
    PLAN | {"name": 7},
    PLAN | {"description": []},
    PLAN | {"display_order": "first"},
    PLAN | {"display_order": 1.5},
    PLAN | {"display_order": 2**63},
    PLAN | {"metadata": []},
    PLAN | {"prices": {}},
    PLAN | {"prices": [7]},
    PLAN | {"entitlements": "none"},
    odd_price(amount=""),
    odd_price(amount=None),
    odd_price(amount=".5"),
    odd_price(amount="1e999"),
    odd_price(amount="NaN"),
    odd_price(amount=True),
    odd_price(currency=None),
    odd_price(type=None),
    odd_price(min_quantity="many"),
    odd_price(trial_period_days=0.5),
    odd_price(start_date="2026-12-01"),
    odd_price(start_date="2026-12-01T00:00:00"),
    odd_price(end_date="soon"),
    odd_price(billing_period_count="1"),
    odd_price(billing_period=7),
    odd_entitlement(static_value=5),
    odd_entitlement(usage_limit=0.5),
    odd_entitlement(is_enabled="yes"),
    odd_entitlement(feature=[]),
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_one_odd_object_is_left_out(server, client, caplog, odd):
    items = [PLAN | {"id": "plan_a"}, odd, PLAN | {"id": "plan_b"}]
    server.post(SEARCH, json=page(items))
    with caplog.at_level(logging.WARNING, logger="storefront.flexprice"):
        plans = client.list_plans()
    assert [plan.id for plan in plans] == ["plan_a", "plan_b"]
    assert plans.unreadable == 1
    (record,) = caplog.records
    assert record.getMessage().startswith("Left out an unreadable object of Flexprice's (id ")


def test_the_log_names_the_id_and_nothing_else(server, client, caplog):
    odd = PLAN | {"id": "plan\n_odd", "name": "Secret plan", "display_order": "secret"}
    server.post(SEARCH, json=page([PLAN, odd]))
    with caplog.at_level(logging.WARNING, logger="storefront.flexprice"):
        client.list_plans()
    assert "(id plan_odd)" in caplog.text
    assert "ecret" not in caplog.text


@pytest.mark.parametrize("number", [b"1e9999", b"NaN", b"-Infinity", b"9" * 5000])
def test_an_impossible_number_spoils_one_object(server, client, number):
    good, odd = json.dumps(PLAN).encode(), b'{"id": "plan_odd", "display_order": ' + number + b"}"
    body = b'{"items": [' + good + b", " + odd + b'], "pagination": {"total": 2}}'
    server.post(SEARCH, body=body)
    plans = client.list_plans()
    assert ([plan.id for plan in plans], plans.unreadable) == (["plan_01"], 1)


def test_a_list_of_odd_objects_is_unreadable(server, client):
    server.post(SEARCH, json=page(ODD[:5]))
    with pytest.raises(UnreadableResponse, match="no object") as caught:
        client.list_plans()
    assert caught.value.retryable


def test_an_empty_list_is_readable(server, client):
    server.post(SEARCH, json=page([]))
    plans = client.list_plans()
    assert (plans, plans.unreadable) == ([], 0)


def test_all_pages_are_read(server, client):
    def query(offset):
        return [matchers.json_params_matcher({"limit": 100, "offset": offset}, strict_match=False)]

    plans = [PLAN | {"id": f"plan_{n}"} for n in range(3)]
    server.post(SEARCH, json=page(plans[:2], 3, 777), match=query(0))
    server.post(SEARCH, json=page(plans[2:], 3, 0), match=query(2))
    assert {plan.id for plan in client.list_plans()} == {"plan_0", "plan_1", "plan_2"}


def test_odd_objects_of_all_pages_are_counted(server, client):
    server.post(SEARCH, json=page([PLAN, 7], 4))
    server.post(SEARCH, json=page([8, 9], 4))
    assert client.list_plans().unreadable == 3


def test_an_object_on_two_pages_counts_once(server, client):
    server.post(SEARCH, json=page([PLAN], 2))
    server.post(SEARCH, json=page([PLAN], 2))
    assert len(client.list_plans()) == 1


@pytest.mark.parametrize("items", [[], None])
def test_an_empty_page_ends_the_list(server, client, items):
    server.post(SEARCH, json=page(items, 5))
    assert client.list_plans() == []


def endless(plans):
    numbers = count()

    def answer(_request):
        items = [PLAN | {"id": f"plan_{next(numbers)}"} for _ in range(100)]
        return 200, {}, json.dumps(page(items, plans))

    return answer


def test_a_list_too_long_is_cut(server, client, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_PAGES", 3)
    server.add_callback(responses.POST, SEARCH, endless(10**9))
    plans = client.list_plans()
    assert (len(plans), plans.unreadable, len(server.calls)) == (300, 10**9 - 300, 3)


def test_very_many_plans_are_read(server, client):
    server.add_callback(responses.POST, SEARCH, endless(5000))
    plans = client.list_plans()
    assert (len(plans), plans.unreadable) == (5000, 0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        7,
        {"items": {}, "pagination": {"total": 0}},
        {"items": []},
        {"items": [], "pagination": {"total": "1"}},
        {"items": [], "pagination": {"total": True}},
        {"items": [], "pagination": []},
    ],
    ids=count(),
)
def test_a_list_in_another_shape_is_unreadable(server, client, body):
    server.post(SEARCH, json=body)
    with pytest.raises(UnreadableResponse) as caught:
        client.list_plans()
    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("unreadable", 200, True)


def test_a_get_list_pages_by_query(server, client):
    for offset, number in ((0, 1), (1, 2)):
        query = {"payment_ids": "pay_01", "limit": 100, "offset": offset}
        item = REFUND | {"id": f"ref_{number}"}
        server.get(f"{URL}/refunds", json=page([item], 2), match=[matchers.query_param_matcher(query)])
    assert [refund.id for refund in client.list_refunds("pay_01")] == ["ref_1", "ref_2"]
