"""For all tests: databases of both kinds, and a listener that hears secrets getting out.

The fixtures of the shop are in tests/shop_fixtures.py.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Engine, MetaData, create_engine, event, text
from sqlalchemy.exc import OperationalError

# No property test depends on how fast the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

pytest_plugins = ["tests.shop_fixtures", "tests.leaks"]

NewDatabase = Callable[[Path], str]  # in this folder; gives the address

# `make test` runs a fixed sample; RUN_ALL_TESTS and any other `-m` run all. Left out are tests like another
# (marker `thorough`), all but these files on PostgreSQL, and the cases of one test beyond CASES.
ON_POSTGRESQL = (
    "test_database.py",
    "test_database_failures.py",
    "test_interleavings.py",
    "test_any_order.py",
)
ALSO_ON_POSTGRESQL = ("test_a_paid_order_is_fulfilled_exactly_once", "test_wrong_clock")
ONLY_ON_POSTGRESQL = (  # the stricter one
    "test_hostile_text.py",
    "test_any_value.py",
    "test_odd_fields.py",
    "test_migrations.py",
)
SLOW_FOLDERS = ("e2e", "faults", "journeys", "adoption")  # started first, so that no core waits at the end
CASES = dict.fromkeys(SLOW_FOLDERS, 1) | {
    "sandbox": 1, "checkout": 2, "web": 1, "operations": 1, "accounts": 2, "emails": 2, "subscriptions": 1
}  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in SLOW_FOLDERS)
    if os.environ.get("RUN_ALL_TESTS") or config.getoption("markexpr") != "not soak":
        return
    cases: dict[tuple[str, bool], list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("thorough") or not _on_wanted_engine(item):
            continue
        name = item.nodeid.partition("[")[0]
        cases.setdefault((name, _on_postgresql(item)), []).append(item)
    kept = {item for of_a_test in cases.values() for item in _spread(of_a_test)}
    left = [item for item in items if item not in kept]
    items[:] = [item for item in items if item in kept]
    config.hook.pytest_deselected(items=left)


def pytest_make_parametrize_id(val: object) -> str | None:
    """An id without a backslash: one with it names no test when mutmut gives it back to pytest."""
    if isinstance(val, str | bytes) and "\\" in ascii(val):
        return ascii(val).replace("\\", "%")
    return None


def _spread(cases: list[pytest.Item]) -> list[pytest.Item]:
    """As many cases of one test as are run, spread evenly; the first is always one of them."""
    path = cases[0].path
    every_case = path.name in ("test_states.py", "test_recordings.py")
    at_most = len(cases) if every_case else CASES.get(path.parent.name, len(cases))
    return cases[:: -(-len(cases) // at_most)]


def _on_wanted_engine(item: pytest.Item) -> bool:
    if _on_postgresql(item):
        wanted = item.path.name in (*ON_POSTGRESQL, *ONLY_ON_POSTGRESQL)
        return wanted or item.name.startswith(ALSO_ON_POSTGRESQL)
    return item.path.name not in ONLY_ON_POSTGRESQL or "database_url" not in getattr(item, "fixturenames", ())


def _on_postgresql(item: pytest.Item) -> bool:
    return any(marker.name == "postgres" for marker in item.iter_markers())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_in: NewDatabase) -> str:
    """A database for this test alone, with the shop's empty tables, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return sqlite_in(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def sqlite_in(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Copies a file with the shop's empty tables into a folder."""
    drawn = tmp_path_factory.mktemp("drawn") / "shop.db"
    engine = create_engine(f"sqlite:///{drawn}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    shop_tables().create_all(engine)
    engine.dispose()
    return lambda folder: f"sqlite:///{shutil.copy(drawn, folder)}"


def shop_tables() -> MetaData:
    """Every table of the shop, those of its optional packages included."""
    from importlib import import_module

    from storefront.extensions import db

    for package in ("models", "emails.models", "operations.models", "billing"):
        try:
            import_module(f"storefront.{package}")
        except ModuleNotFoundError as missing:
            if not (missing.name or "").startswith("storefront."):
                raise
    return db.metadata


@pytest.fixture(scope="session")
def sandbox_in(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Copies the sandbox's tables into a folder, with what it sells."""
    from storefront.sandbox import create_app as create_sandbox
    from storefront.sandbox.settings import SandboxSettings

    drawn = tmp_path_factory.mktemp("drawn") / "sandbox.db"
    create_sandbox(SandboxSettings(database_url=f"sqlite:///{drawn}")).extensions["sandbox"].close()
    return lambda folder: f"sqlite:///{shutil.copy(drawn, folder)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    programs = Postgres.find_programs()
    if programs is None:
        cannot("no PostgreSQL server is installed here (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="shop-postgres-") as home:
        server = Postgres(programs, Path(home))
        try:
            yield server
        finally:
            server.stop()


def cannot(reason: str) -> NoReturn:
    """What a test needs is missing: skip it, or fail when REQUIRE_POSTGRES promises it."""
    if os.environ.get("REQUIRE_POSTGRES"):
        pytest.fail(f"REQUIRE_POSTGRES is set, but {reason}", pytrace=False)
    pytest.skip(reason)


class Postgres:
    """A server of our own in a temporary folder, on a free port, without durability."""

    FAST = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")

    @staticmethod
    def find_programs() -> Path | None:
        places = [Path(found).parent for found in [shutil.which("initdb")] if found]
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        places += sorted(debian, key=lambda place: float(place.parent.name), reverse=True)
        return next((place for place in places if (place / "initdb").exists()), None)

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs, self.data, self.log = programs, home / "data", home / "log.txt"
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(home, account.pw_uid, account.pw_gid)
        initdb = [programs / "initdb", "--no-sync", "--auth=trust", "--username=shop", "--encoding=UTF8"]
        initdb += ["--locale=C.UTF-8", "-D", self.data]
        subprocess.run(initdb, check=True, capture_output=True, user=self.user, group=self.user, cwd=home)
        self.start()
        self.administer("CREATE DATABASE shop")
        engine = create_engine(self.url("shop"))
        shop_tables().create_all(engine)
        engine.dispose()

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", *self.FAST]
        command = [self.programs / "postgres", "-D", self.data, "-p", str(self.port), *options]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.user, group=self.user, cwd=self.data
            )
        deadline = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            self.administer("SELECT 1")
        except OperationalError:
            return False
        return True

    def stop(self) -> None:
        """At once: every client is disconnected."""
        self.process.send_signal(2)
        self.process.wait(30)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://shop@127.0.0.1:{self.port}/{name}"

    def administer(self, statement: str) -> None:
        engine: Engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def database(self, template: str = "shop", encoding: str = "") -> str:
        """A new one with the shop's empty tables; `template0` has none."""
        name = f"shop_{uuid.uuid4().hex[:12]}"
        options = f" ENCODING '{encoding}' LOCALE 'C'" if encoding else ""
        self.administer(f"CREATE DATABASE {name} TEMPLATE {template}{options}")
        return self.url(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session", autouse=True)
def templates_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For all the apps of a run."""
    folder = tmp_path_factory.mktemp("templates")
    Flask.jinja_options = {"bytecode_cache": FileSystemBytecodeCache(str(folder))}
