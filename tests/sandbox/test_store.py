"""The database: it survives a restart and a version with other tables; stores do not see each other."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from storefront.sandbox import create_app
from storefront.sandbox.delivery import signing
from storefront.sandbox.settings import SandboxSettings
from storefront.sandbox.store.database import Database
from storefront.sandbox.store.housekeeping import remove_unused
from storefront.sandbox.store.rows import Customer, Plan


def _opened(path: Path) -> Database:
    app = create_app(SandboxSettings(database_url=f"sqlite:///{path}"))
    database: Database = app.extensions["sandbox"]
    return database


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    database = _opened(tmp_path / "sandbox.db")
    with database.write("default") as session:
        now = session.now()
        session.add(Customer(id="cust_1", external_id="u", name="A", created_at=now, updated_at=now))
    database.close()

    database = _opened(tmp_path / "sandbox.db")

    with database.read("default") as session:
        assert session.count(Customer) == 1
    database.close()


def test_tables_of_another_version_are_replaced_by_empty_ones(tmp_path: Path, caplog: Any) -> None:
    with sqlite3.connect(tmp_path / "sandbox.db") as old:
        old.execute("CREATE TABLE customers (id TEXT)")
        old.execute("INSERT INTO customers VALUES ('cust_1')")
    old.close()

    database = _opened(tmp_path / "sandbox.db")

    with database.read("default") as session:
        assert (session.count(Customer), session.count(Plan)) == (0, 8)
    assert "another version" in caplog.text
    database.close()


def test_two_stores_do_not_see_each_other(api: Any) -> None:
    one, two = ({"x-api-key": f"sk_sandbox_{name}"} for name in ("one", "two"))
    customer = api.post("/v1/customers", {"external_id": "u", "name": "A"}, headers=one).json()
    api.post("/_sandbox/clock", {"advance": "31d"}, headers=one)
    api.post("/_sandbox/switches", {"generation": "legacy"}, headers=one)
    api.post("/_sandbox/faults", {"fault": "down", "times": 0}, headers=one)

    path = f"/v1/customers/{customer['id']}"
    assert [api.get(path, headers=key).status_code for key in (one, two)] == [503, 404]
    assert api.get("/_sandbox/messages", headers=two).json() == []
    clocks = [api.get("/_sandbox/clock", headers=key).json()["now"] for key in (one, two)]
    assert clocks[0] > clocks[1]
    assert api.get("/_sandbox/switches", headers=two).json()["generation"] == "newest"
    secrets = [api.get("/_sandbox/store", headers=key).json()["webhook_secret"] for key in (one, two)]
    assert len(set(secrets)) == 2
    assert api.post("/v1/plans/search", {}, headers=two).json()["items"] == []


def test_a_new_store_is_empty_and_sends_nowhere(api: Any) -> None:
    key = {"x-api-key": "sk_sandbox_fresh_one.2"}

    store = api.get("/_sandbox/store", headers=key).json()

    assert store["webhook_url"] == ""
    assert store["webhook_secret"].startswith("whsec_")


def test_reset_empties_one_store(api: Any) -> None:
    one, two = ({"x-api-key": f"sk_sandbox_{name}"} for name in ("one", "two"))
    for key in (one, two):
        api.post("/v1/customers", {"external_id": "u", "name": "A"}, headers=key)
    api.post("/_sandbox/clock", {"advance": "1d"}, headers=one)

    assert api.post("/_sandbox/reset", {}, headers=one).status_code == 200

    found = [api.get("/_sandbox/customers", headers=key).json()["items"] for key in (one, two)]
    assert [len(items) for items in found] == [0, 1]
    set_back = api.post("/_sandbox/clock", {"set": "2026-01-01T00:00:00Z"}, headers=one)
    assert set_back.json()["now"].startswith("2026-01-01T00:00")
    refused = api.post("/_sandbox/clock", {"set": "2026-01-01T00:00:00Z"}, headers=two)
    assert refused.status_code == 409


def test_stores_unused_for_a_day_and_beyond_a_thousand_are_removed(api: Any) -> None:
    database = api.app.extensions["sandbox"]
    for name in ("old", "young"):
        api.post("/v1/plans/search", {}, headers={"x-api-key": f"sk_sandbox_{name}"})
    with database.write("old") as session:
        session.state.used_at -= 2 * 24 * 3600

    assert remove_unused(database, keep="default") == 1
    assert sorted(database.names()) == ["default", "young"]
    assert remove_unused(database, keep="default", room_for=1000) == 1
    assert database.names() == ["default"]
    answer = api.post("/v1/plans/search", {}, headers={"x-api-key": "sk_sandbox_old"})
    assert answer.json()["items"] == []


def test_a_stores_messages_go_to_its_own_endpoint_with_its_own_secret(sandbox: Any, receiver: Any) -> None:
    key = {"x-api-key": "sk_sandbox_other"}
    secret = "whsec_b25lIHN0b3JlJ3Mgb3duIHNlY3JldA=="
    settings = {"webhook_url": f"{receiver.url}/other", "webhook_secret": secret}
    assert sandbox.call("PUT", "/_sandbox/store", settings, headers=key).status_code == 200
    sandbox.post("/_sandbox/webhooks", {"mode": "drop", "times": 0})  # of the default store alone
    sandbox.customer()
    sandbox.post("/v1/customers", {"external_id": "u", "name": "A"}, headers=key)

    sandbox.post("/_sandbox/deliver", {}, headers=key)
    sandbox.deliver()

    ((headers, body),) = receiver.got
    expected = signing.sign(secret, headers["svix-id"], int(headers["svix-timestamp"]), body)
    assert headers["svix-signature"] == expected
    for path in ("overrides", "log", "events", "deliveries"):
        items = sandbox.get(f"/_sandbox/{path}", headers=key).json()["items"]
        assert "user-42" not in str(items)
    assert sandbox.get("/_sandbox/overrides", headers=key).json()["items"] == []


@pytest.mark.parametrize(
    "key",
    ["sk_live_x", "sk_sandbox_", "sk_sandbox_a b", "sk_sandbox_" + "x" * 49, "SK_SANDBOX_a", "sk_sandbox_é"],
)
def test_any_other_key_is_refused_and_makes_no_store(api: Any, key: str) -> None:
    client = api.app.test_client()
    before = api.app.extensions["sandbox"].names()

    for path in ("/v1/plans/x", "/_sandbox/clock"):
        assert client.get(path, headers={"x-api-key": key}).status_code == 401
    assert api.app.extensions["sandbox"].names() == before
