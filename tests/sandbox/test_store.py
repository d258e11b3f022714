"""The sandbox's database: it survives a restart, and a version that drew its tables otherwise."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from storefront.sandbox._previous import create_app
from storefront.sandbox._previous.schema import customers, plans
from storefront.sandbox._previous.settings import SandboxSettings
from storefront.sandbox._previous.store import add


def _opened(path: Path) -> Any:
    return create_app(SandboxSettings(database_url=f"sqlite:///{path}")).extensions["sandbox"]


def _count(store: Any, table: Any) -> int:
    with store.reading() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar()


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    store = _opened(tmp_path / "sandbox.db")
    with store.writing() as conn:
        add(conn, customers, {"id": "cust_1", "external_id": "user-1", "status": "published"})
    store.close()

    store = _opened(tmp_path / "sandbox.db")

    assert _count(store, customers) == 1
    store.close()


def test_tables_of_another_version_are_replaced_by_empty_ones(tmp_path: Path, caplog: Any) -> None:
    with sqlite3.connect(tmp_path / "sandbox.db") as old:
        old.execute("CREATE TABLE customers (id TEXT)")
        old.execute("INSERT INTO customers VALUES ('cust_1')")
    old.close()

    store = _opened(tmp_path / "sandbox.db")

    assert (_count(store, customers), _count(store, plans)) == (0, 8)
    assert "another version" in caplog.text
    store.close()
