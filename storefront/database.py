"""How the shop connects to SQLite and PostgreSQL. Nothing else in the shop depends on which of them it is."""

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from flask import Flask
from psycopg.abc import RV, PQGen
from sqlalchemy import URL, event
from sqlalchemy.exc import DisconnectionError, OperationalError

from storefront.extensions import db
from storefront.settings import SettingsError

BUSY_TIMEOUT_S = 5
READ_TIMEOUT_S = 5.0  # for an answer of PostgreSQL: `statement_timeout` does not help when the server hangs
POOL = {
    "pool_size": 10,
    "max_overflow": 10,
    "pool_timeout": 2,
    "pool_pre_ping": True,
    "hide_parameters": True,
}
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=4194304")
# Parameters of the connection; the same names in DATABASE_URL win. Without prepared statements poolers work.
POSTGRESQL = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "prepare_threshold": None,
    "client_encoding": "utf8",
}
# Statements, because PgBouncer and Neon refuse the connection parameter `options`.
SESSION = (
    "SELECT set_config('lock_timeout', '2s', false),"
    " set_config('idle_in_transaction_session_timeout', '30s', false)"
)


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up and closes when the server does not answer in time, so that a frozen server delays nobody."""

    read_timeout_s = READ_TIMEOUT_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.read_timeout_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.read_timeout_s:g} s") from None


def engine_options(url: URL) -> dict[str, Any]:
    """What Flask-SQLAlchemy hands to `create_engine`."""
    if url.get_backend_name() == "sqlite":
        # IMMEDIATE: two writers wait for each other instead of failing; reads stay free.
        return POOL | {"connect_args": {"isolation_level": "IMMEDIATE", "timeout": BUSY_TIMEOUT_S}}
    given = {name: value for name, value in POSTGRESQL.items() if name not in url.query}
    return POOL | {"connect_args": given}


def init_app(app: Flask) -> None:
    """Prepare the engine of this app.

    :raises SettingsError: the SQLite file cannot be written, or the PostgreSQL database is not in UTF-8.
    """
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        _create_private(Path(engine.url.database or ""))
        event.listen(engine, "do_connect", _connect_sqlite)
        event.listen(engine, "checkout", _refuse_deleted_file)
        return
    event.listen(engine, "do_connect", _connect_postgresql)
    try:
        engine.connect().close()
    except OperationalError as error:
        if "UTF8" in str(error.orig):
            raise SettingsError([f"DATABASE_URL: {error.orig}"]) from None
        app.logger.warning("The database does not answer yet: %s", error.orig)
    engine.dispose()  # a server that forks after this shares no connection


def _create_private(file: Path) -> None:
    """Readable by its owner only; SQLite gives its -wal and -shm files the same mode."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        file.chmod(0o600)
    except OSError as error:
        raise SettingsError(
            [f"DATABASE_URL names a file that cannot be written: {error.strerror}."]
        ) from None


def _connect_sqlite(_dialect: Any, record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
    """Opens the file and never creates one: a deleted database must not turn into an empty one."""
    file = str(args[0])
    connection = sqlite3.connect(f"file:{quote(file)}?mode=rw", uri=True, **parameters)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    record.info["file"], record.info["inode"] = file, _inode(file)
    return connection


def _inode(file: str) -> int | None:
    try:
        return Path(file).stat().st_ino
    except OSError:
        return None


def _refuse_deleted_file(_connection: Any, record: Any, _proxy: Any) -> None:
    """What is written into a deleted file is lost: connect again, which fails while there is no file."""
    if _inode(record.info["file"]) != record.info["inode"]:
        raise DisconnectionError("the database file was deleted or replaced")


def _connect_postgresql(_dialect: Any, _record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
    connection = BoundedConnection.connect(*args, **parameters)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        connection.close()
        raise psycopg.OperationalError(
            f"the database is in {encoding}, but must be in UTF8: create it again."
        )
    connection.autocommit = True
    connection.execute(SESSION)
    connection.autocommit = False
    return connection
