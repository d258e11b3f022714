"""A sale takes the same way with one customer stored and with a hundred thousand: by index."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from storefront.sandbox.store.base import Base
from storefront.sandbox.store.rows import Customer

SMALL = {
    "plans",
    "prices",
    "stores",
    "overrides",
    "tasks",
    "scenario_runs",
    "settings",
}  # they do not grow with sales


class Watched:
    """Every statement that was run, as SQLite was given it and as it means to run it."""

    def __init__(self, api: Any) -> None:
        self.engine = api.app.extensions["sandbox"].engine
        self.statements: list[str] = []

    def __enter__(self) -> "Watched":
        if event.contains(self.engine, "checkout", _look_away):
            event.remove(self.engine, "checkout", _look_away)
        event.listen(self.engine, "checkout", self._watch)
        return self

    def __exit__(self, *_exc: object) -> None:
        event.remove(self.engine, "checkout", self._watch)
        event.listen(self.engine, "checkout", _look_away)

    def _watch(self, connection: Any, *_rest: Any) -> None:
        connection.set_trace_callback(self._note)

    def _note(self, statement: str) -> None:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT)", statement):
            self.statements.append(statement)

    def read_whole(self) -> list[tuple[str, str]]:
        """The tables that were read from end to end, and by what."""
        found = []
        for statement, step in self.steps():
            scanned = re.match(r"SCAN (\w+)(?! USING COVERING INDEX)", step)
            if scanned and scanned[1] in Base.metadata.tables and scanned[1] not in SMALL:
                found.append((scanned[1], statement))
        return found

    def steps(self) -> Iterator[tuple[str, str]]:
        with self.engine.connect() as conn:
            for statement in self.statements:
                for step in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}"):
                    yield statement, step.detail


def _look_away(connection: Any, *_rest: Any) -> None:
    connection.set_trace_callback(None)


@pytest.fixture
def crowd(api: Any) -> Any:
    """Rows of others, as many as a plan of a query cares about."""
    with api.app.extensions["sandbox"].write("default") as session:
        now = session.now()
        for n in range(300):
            row = Customer(id=f"cust_{n}", external_id=f"other-{n}", name="A", created_at=now, updated_at=now)
            session.add(row)
        session.flush()
        session.orm.connection().exec_driver_sql("ANALYZE")
    return api


def buy(api: Any, name: str) -> Any:
    api.customer(name)
    session = api.session(customer_external_id=name, idempotency_key=name, params={"metadata": {"ref": name}})
    api.page(session, "decline")
    api.pay(session)
    return session


def test_no_step_of_a_sale_reads_a_table_from_end_to_end(crowd: Any) -> None:
    with Watched(crowd) as watched:
        session = buy(crowd, "user-1")
        crowd.read(session)
        invoice = crowd.bill(session)
        crowd.get(f"/v1/subscriptions/{invoice['subscription_id']}")
        crowd.get(f"/v1/payments/{session['checkout_payment_id']}")
        crowd.get("/v1/customers/external/user-1")
        search = {"external_customer_id": "user-1", "subscription_status": ["draft", "active", "trialing"]}
        crowd.found("/v1/subscriptions/search", **search)
        crowd.found("/v1/invoices/search", subscription_id=invoice["subscription_id"])
        crowd.get(f"/v1/refunds?payment_ids={session['checkout_payment_id']}")
        crowd.post("/v1/checkout/sessions/cs_1/cancel")
        assert crowd.deliver() == 11
        crowd.post("/v1/plans/search", {"expand": "prices,entitlements,features"})

    assert len(watched.statements) > 100
    assert watched.read_whole() == []


@pytest.mark.parametrize("kind", ["invoices", "subscriptions"])
def test_a_list_of_everything_is_counted_in_an_index_and_reads_one_page(crowd: Any, kind: str) -> None:
    for name in ("user-1", "user-2", "user-3"):
        buy(crowd, name)

    with Watched(crowd) as watched:
        page = crowd.post(f"/v1/{kind}/search", {"limit": 2}).json()

    assert (len(page["items"]), page["pagination"]["total"]) == (2, 3)
    assert watched.read_whole() == []


def test_no_step_of_an_ending_reads_a_table_from_end_to_end(crowd: Any) -> None:
    for name in ("user-1", "user-2"):
        crowd.customer(name)
    late, cancelled = (crowd.session(customer_external_id=name) for name in ("user-1", "user-2"))

    with Watched(crowd) as watched:
        crowd.page(cancelled, "cancel")
        crowd.advance("56m")
        crowd.post("/_sandbox/sweep")
        crowd.control("provider", action="pay", link=late["payment_action"]["url"])

    assert crowd.read(late)["checkout_status"] == "expired"
    assert watched.read_whole() == []


def test_a_bad_day_does_not_read_everybody_either(crowd: Any) -> None:
    crowd.post("/_sandbox/faults", {"fault": "slow", "seconds": 0, "customer": "user-2", "times": 9})

    with Watched(crowd) as watched:
        buy(crowd, "user-1")

    assert watched.read_whole() == []


@pytest.mark.thorough
def test_a_sale_runs_as_many_statements_with_many_customers_as_with_few(api: Any) -> None:
    buy(api, "user-0")  # the first call of a store reads its row
    with Watched(api) as first:
        buy(api, "user-1")
    for n in range(20):
        buy(api, f"user-{n + 2}")
    with Watched(api) as last:
        buy(api, "user-99")

    assert len(last.statements) == len(first.statements)
