"""The migrations lead to what the models say, on SQLite and PostgreSQL."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from tests.conftest import shop_tables

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    """An empty database."""
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


def test_there_is_one_initial_revision():
    scripts = ScriptDirectory(str(ROOT / "storefront/migrations"))
    assert [script.down_revision for script in scripts.walk_revisions()] == [None]


def test_migrations_agree_with_the_models_and_lead_back(migrate, engine):
    migrate("upgrade")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, shop_tables()) == []
    migrate("downgrade", "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]


@pytest.mark.thorough
def test_two_upgrades_at_once_do_not_disturb_each_other(migrate, engine):
    with ThreadPoolExecutor(2) as two:
        list(two.map(lambda _: migrate("upgrade"), range(2)))
    assert "users" in inspect(engine).get_table_names()


@pytest.mark.thorough
def test_a_failed_upgrade_leaves_no_table_behind(migrate, engine, env, tmp_path):
    """The whole revision is one transaction: after an error it can be run again."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE users (id INTEGER)")
    with pytest.raises(AssertionError, match="already exists"):
        migrate("upgrade")
    assert set(inspect(engine).get_table_names()) <= {"users", "alembic_version"}
