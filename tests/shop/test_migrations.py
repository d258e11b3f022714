"""The schema, step by step: what the steps lead to is what the models say, on both engines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.orm import Session

from storefront.models import Base

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    """An empty one."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/shop.db"
    return request.getfixturevalue("postgres").database(template="template0")


@pytest.fixture
def migrate(env):
    """`flask db …`, as it is run."""

    def run(*arguments):
        ended = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", "db", *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | env,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


@pytest.fixture
def engine(env):
    engine = create_engine(env["DATABASE_URL"])
    yield engine
    engine.dispose()


def test_there_is_one_last_step():
    assert len(ScriptDirectory(str(ROOT / "storefront/migrations")).get_heads()) == 1


def test_the_steps_lead_to_what_the_models_say_and_back(migrate, engine):
    migrate("upgrade")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert partial_indexes(engine) == {"one_open_order_per_shopper_and_plan", "orders_to_hand_over"}

    migrate("downgrade", "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]


def partial_indexes(engine):
    """Which alembic does not compare."""
    table = "pg_indexes" if engine.dialect.name == "postgresql" else "sqlite_master"
    name, definition = ("indexname", "indexdef") if table == "pg_indexes" else ("name", "sql")
    with engine.connect() as connection:
        query = text(f"SELECT {name} FROM {table} WHERE {definition} LIKE '% WHERE %'")
        return {row for row in connection.scalars(query) if not row.startswith("pg_")}


# What a shop of the first day had written: one of everything.
FIRST_ROWS = {
    "shoppers": "(id, external_id, email, name, password_hash, flexprice_id, is_operator, session_key, "
    "created_at) VALUES (1, 'x1', 'asha@example.com', 'Asha', 'h',"
    " 'cust_1', false, 'k1', '2026-09-01 10:00:00')",
    "orders": "(id, ref, shopper_id, state, plan_id, plan_name, currency, billing_period, amount, created_at,"
    " looks, session_id, customer_id)"
    " VALUES (1, 'r1', 1, 'fulfilled', 'plan_1', 'Pro', 'inr', 'MONTHLY', '499.50', '2026-09-01 10:00:00',"
    " 3, 'cs_1', 'cust_1')",
    "accesses": "(id, shopper_id, plan_id, plan_name, order_id, granted_at)"
    " VALUES (1, 1, 'plan_1', 'Pro', 1, '2026-09-01 10:00:00')",
    "inbox": "(id, event_type, object_id, customer_id, received_at, attempts, next_try_at)"
    " VALUES ('msg_1', 'checkout.session.completed', 'cs_1', 'cust_1', '2026-09-01 10:00:00', 0,"
    " '2026-09-01 10:00:00')",
    "letters": "(id, shopper_id, order_id, kind, recipient, subject, body_text, body_html, message_id,"
    " created_at, attempts, next_try_at)"
    " VALUES (1, 1, 1, 'welcome', 'asha@example.com', 's', 't', 'h', 'm1', '2026-09-01 10:00:00', 0,"
    " '2026-09-01 10:00:00')",
    "heartbeats": "(name, beat_at) VALUES ('worker', '2026-09-01 10:00:00')",
}


def test_an_upgrade_keeps_every_row_of_the_first_day(migrate, engine):
    migrate("upgrade", "0001")
    with engine.begin() as connection:
        for table, row in FIRST_ROWS.items():
            connection.execute(text(f"INSERT INTO {table} {row}"))
        before = whole(connection)

    migrate("upgrade")

    with engine.connect() as connection:
        after = whole(connection)
        if engine.dialect.name == "sqlite":
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
    assert set(before) == set(FIRST_ROWS)
    for table, row in before.items():
        assert row.items() <= after[table].items()
    with Session(engine) as session:  # and the shop can read them
        for mapper in Base.registry.mappers:
            found = session.scalars(select(mapper.class_)).all()
            assert len(found) == (mapper.class_.__tablename__ in FIRST_ROWS)


def whole(connection):
    return {
        table: dict(connection.execute(text(f"SELECT * FROM {table}")).mappings().one())
        for table in FIRST_ROWS
    }
