"""Engines: SQLite in a file or in memory, PostgreSQL; and the tables of this version."""

import atexit
import logging
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.schema import CreateTable, DropTable

from .base import Base

log = logging.getLogger(__name__)

VERSION = Table("sandbox_version", MetaData(), Column("version", Integer, nullable=False))
BUSY_TIMEOUT_S = 15
POOL_SIZE = 20
MIN_MEMORY_BYTES = 256 * 1024 * 1024


def engine(url: str) -> Engine:
    """:param url: one without a place is in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_size=POOL_SIZE, pool_pre_ping=True)
    if parsed.database in (None, "", ":memory:"):
        parsed = parsed.set(database=str(_temporary_folder() / "sandbox.db"))
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    made = create_engine(parsed, pool_size=POOL_SIZE)
    event.listen(made, "connect", _prepare_sqlite)
    event.listen(made, "begin", _begin_sqlite)
    return made


def _temporary_folder() -> Path:
    """For a database without a place: in memory where there is such a file system, gone with the process.

    SQLite's own in-memory databases cannot be used by several threads at once.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folder below it is private
    large = memory.is_dir() and shutil.disk_usage(memory).free > MIN_MEMORY_BYTES  # Docker gives 64 MB
    folder = Path(tempfile.mkdtemp(prefix="flexprice-sandbox-", dir=memory if large else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # this module begins transactions itself
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_TIMEOUT_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("sandbox_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def create_tables(engine: Engine) -> None:
    """Makes the tables. Those of another version of the sandbox are emptied: they hold test data."""
    drawn = "".join(str(CreateTable(table)) for table in Base.metadata.sorted_tables)
    version = zlib.crc32(drawn.encode()) & 0x7FFFFFFF
    with engine.begin() as connection:
        present = set(inspect(connection).get_table_names())
        if VERSION.name in present and connection.execute(select(VERSION.c.version)).scalar() == version:
            return
        ours = [table for table in Base.metadata.sorted_tables if table.name in present]
        if ours:
            log.warning("the database is of another version of the sandbox: its tables are emptied")
        for table in reversed(ours):
            connection.execute(DropTable(table))
        Base.metadata.create_all(connection)
        VERSION.create(connection, checkfirst=True)
        connection.execute(VERSION.delete())
        connection.execute(VERSION.insert().values(version=version))
