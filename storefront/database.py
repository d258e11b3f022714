"""How the shop connects to its database. Nothing else depends on whether it is SQLite or PostgreSQL."""

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask
from sqlalchemy import URL, event
from sqlalchemy.exc import DisconnectionError, OperationalError

from storefront import postgresql
from storefront.checkout.context import release
from storefront.extensions import db
from storefront.settings import SettingsError

BUSY_TIMEOUT_S = 5
POOL = {
    "pool_size": 10,
    "max_overflow": 10,
    "pool_timeout": 2,
    "pool_pre_ping": True,
    "hide_parameters": True,
}
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=4194304")
# IMMEDIATE: two writers wait for each other instead of failing; reads stay free.
SQLITE = {"isolation_level": "IMMEDIATE", "timeout": BUSY_TIMEOUT_S}


def engine_options(url: URL) -> dict[str, Any]:
    """What Flask-SQLAlchemy hands to `create_engine`."""
    on_sqlite = url.get_backend_name() == "sqlite"
    return POOL | {"connect_args": SQLITE if on_sqlite else postgresql.connect_args(url)}


def init_app(app: Flask) -> None:
    """Prepare the engine of this app.

    :raises SettingsError: the SQLite file cannot be written, or the PostgreSQL database is not in UTF-8.
    """
    with app.app_context():
        engine = db.engine
    # Runs before Flask-SQLAlchemy's own: a connection that broke in a request must not spoil its answer.
    app.teardown_appcontext(let_go)
    if engine.dialect.name == "sqlite":
        create_private(Path(engine.url.database or ""))
        event.listen(engine, "do_connect", connect_sqlite)
        event.listen(engine, "checkout", refuse_deleted_file)
        return
    event.listen(engine, "do_connect", postgresql.connect)
    try:
        engine.connect().close()
    except OperationalError as error:
        if isinstance(error.orig, postgresql.NotUtf8):
            raise SettingsError([f"DATABASE_URL: {error.orig}"]) from None
        app.logger.warning("The database does not answer yet: %s", error.orig)
    engine.dispose()  # a server that forks after this shares no connection


def let_go(_error: BaseException | None) -> None:
    """The end of a request or a command. Raises nothing."""
    release()


def create_private(file: Path) -> None:
    """Readable by its owner only; SQLite gives its -wal and -shm files the same mode."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        file.chmod(0o600)
    except OSError as error:
        raise SettingsError(
            [f"DATABASE_URL names a file that cannot be written: {error.strerror}."]
        ) from None


def connect_sqlite(_dialect: Any, record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
    """Open the file and never create one: a deleted database must not turn into an empty one."""
    connection = sqlite3.connect(f"file:{quote(str(args[0]))}?mode=rw", uri=True, **parameters)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    record.info["file"], record.info["inode"] = args[0], inode(args[0])
    return connection


def inode(file: str) -> int | None:
    return Path(file).stat().st_ino if Path(file).exists() else None


def refuse_deleted_file(_connection: Any, record: Any, _proxy: Any) -> None:
    """What is written into a deleted file is lost: connect again, which fails while there is no file."""
    if inode(record.info["file"]) != record.info["inode"]:
        raise DisconnectionError("the database file was deleted or replaced")
