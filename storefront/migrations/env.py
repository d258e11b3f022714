"""How `flask db` runs the migrations: one transaction, one upgrade at a time, on SQLite and PostgreSQL."""

import logging

from alembic import context
from flask import current_app
from sqlalchemy import Connection

LOCK_TIMEOUT_S = 30  # an upgrade waits for the writers of a running shop
UPGRADE_LOCK = 7204  # an arbitrary key, the same for every upgrade of this shop

log = logging.getLogger("alembic.env")
db = current_app.extensions["migrate"].db


def run_offline() -> None:
    """Print the statements instead of running them (`flask db upgrade --sql`)."""
    url = db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    with db.engine.connect() as connection:
        begin(connection)
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            transactional_ddl=True,
            render_as_batch=connection.dialect.name == "sqlite",
            process_revision_directives=skip_empty,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


def begin(connection: Connection) -> None:
    """Wait for another upgrade and for writers, then hold the transaction."""
    if connection.dialect.name == "sqlite":
        # Changing a table makes a copy and drops the original: that must not count as deleting its rows.
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql(f"PRAGMA busy_timeout={LOCK_TIMEOUT_S * 1000}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.connection.dbapi_connection.read_timeout_s = 10 * LOCK_TIMEOUT_S  # type: ignore[union-attr]
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})")


def skip_empty(_context: object, _revision: object, directives: list) -> None:
    """`flask db migrate` writes no revision when the models and the tables agree."""
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives.clear()
        log.info("No changes in schema detected.")


if context.is_offline_mode():
    run_offline()
else:
    run_online()
