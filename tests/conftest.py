"""For all tests: databases on both engines, and an ear for secrets that get out."""

import dataclasses
import gc
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, appcontext_pushed, request, request_finished
from jinja2 import FileSystemBytecodeCache
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from werkzeug.routing import Rule
from werkzeug.security import generate_password_hash

from storefront import shoppers
from storefront.models import Base
from storefront.sandbox import create_app as create_sandbox
from storefront.sandbox.settings import SandboxSettings

NewDatabase = Callable[[Path], str]  # in this folder; gives the address

# With REQUIRE_POSTGRES set, as in CI, nothing is left out. `make test` has five minutes on two cores:
# these meet PostgreSQL too, the rest SQLite alone, and of what is much alike (`thorough`) one stands for all.
ABOUT_DATABASES = (
    "test_database.py",
    "test_database_trouble.py",
    "test_interleaved.py",
    "test_migrations.py",
    "test_paying.py",
    "test_trouble.py",
)

# These take long: they start first, so that in the end no worker is left alone with one of them.
LONG = ("e2e", "truth", "faults", "journeys")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    if os.environ.get("REQUIRE_POSTGRES") or config.getoption("markexpr") != "not soak":
        return  # whoever asks for something else than `make test` does, gets all of it
    left = {item for item in items if item.get_closest_marker("thorough") or _once_more(item)}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


def _once_more(item: pytest.Item) -> bool:
    """Has run on SQLite already, and is not about databases."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    engine = str(parameters.get("database_url") or parameters.get("town"))
    return engine.startswith("postgres") and item.path.name not in ABOUT_DATABASES


def pytest_report_header() -> str:
    if os.environ.get("REQUIRE_POSTGRES"):
        return "everything, but for the long ones: make soak"
    return "PostgreSQL: the tests about databases (REQUIRE_POSTGRES=1: everything); the long ones: make soak"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_in: NewDatabase) -> str:
    """A database for this test alone, with the shop's empty tables; its tests can run on both engines."""
    if request.param == "sqlite":
        return sqlite_in(tmp_path)
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture(scope="session")
def sqlite_in(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """A copy of the shop's empty tables in a folder; they are drawn once."""
    drawn = tmp_path_factory.mktemp("drawn") / "shop.db"
    engine = create_engine(f"sqlite:///{drawn}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    Base.metadata.create_all(engine)
    engine.dispose()
    return lambda folder: f"sqlite:///{shutil.copy(drawn, folder)}"


@pytest.fixture(scope="session")
def sandbox_in(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """A copy of the sandbox's tables, with what it sells."""
    drawn = tmp_path_factory.mktemp("drawn") / "sandbox.db"
    create_sandbox(SandboxSettings(database_url=f"sqlite:///{drawn}")).extensions["sandbox"].close()
    return lambda folder: f"sqlite:///{shutil.copy(drawn, folder)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    where = Postgres.found()
    if where is None:
        cannot("no PostgreSQL server is installed here (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="shop-postgres-") as home:
        server = Postgres(where, Path(home))
        try:
            yield server
        finally:
            server.stop()


def cannot(reason: str) -> NoReturn:
    """What these tests need is not here: a reason to skip, unless it was promised (REQUIRE_POSTGRES)."""
    if os.environ.get("REQUIRE_POSTGRES"):
        pytest.fail(f"REQUIRE_POSTGRES is set, but {reason}", pytrace=False)
    pytest.skip(reason)


class Postgres:
    """A server of our own in a temporary folder, on a free port, which forgets everything."""

    HASTE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")

    @staticmethod
    def found() -> Path | None:
        """Where its programs are."""
        places = [Path(found).parent for found in [shutil.which("initdb")] if found]
        debian = Path("/usr/lib/postgresql").glob("*/bin")
        places += sorted(debian, key=lambda place: float(place.parent.name), reverse=True)
        return next((place for place in places if (place / "initdb").exists()), None)

    def __init__(self, programs: Path, home: Path) -> None:
        self.programs, self.rows, self.log = programs, home / "rows", home / "log.txt"
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(home, account.pw_uid, account.pw_gid)
        initdb = [programs / "initdb", "--no-sync", "--auth=trust", "--username=shop", "-D", self.rows]
        subprocess.run(initdb, check=True, capture_output=True, user=self.user, group=self.user, cwd=home)
        self.start()
        self.administer("CREATE DATABASE shop")
        tables = create_engine(self.url("shop"))
        Base.metadata.create_all(tables)
        tables.dispose()

    def start(self) -> None:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", *self.HASTE]
        command = [self.programs / "postgres", "-D", self.rows, "-p", str(self.port), *options]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self.user, group=self.user, cwd=self.rows
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
        """At once: whoever is connected is thrown out."""
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

    def database(self, template: str = "shop") -> str:
        """A new one with the shop's empty tables; `template0` has none."""
        name = f"shop_{uuid.uuid4().hex[:12]}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- haste --------------------------------------------------------------------------------------------


def pytest_collection_finish() -> None:
    """What is there by now stays until the end: looking through it for garbage was a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


@pytest.fixture(scope="session", autouse=True)
def templates_are_compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For all the shops and sandboxes of a run, which are many: it was a third of the time of a journey."""
    folder = tmp_path_factory.mktemp("templates")
    Flask.jinja_options = {"bytecode_cache": FileSystemBytecodeCache(str(folder))}


@pytest.fixture(scope="session", autouse=True)
def addresses_are_compiled_once() -> Iterator[None]:
    """Werkzeug writes two functions for each address of each shop and sandbox: always the same ones."""
    known: dict[object, object] = {}
    compiled = Rule._compile_builder

    def once(rule: Rule, append_unknown: bool = True) -> object:
        key = rule.rule, tuple(rule._trace), repr(rule.defaults), append_unknown
        if key not in known:
            known[key] = compiled(rule, append_unknown)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shop's own hash is slow on purpose, and one test alone is about that."""
    quick = partial(generate_password_hash, method="pbkdf2:sha256:1")
    monkeypatch.setattr(shoppers, "generate_password_hash", quick)
    monkeypatch.setattr(shoppers, "_NOBODY", quick("nobody's password"))


# -- secrets ------------------------------------------------------------------------------------------

TYPED = {"correct horse battery", "another horse battery", "a sentence to remember"}  # passwords of the tests


class Leaks(logging.Handler):
    """Hears every log record and every answer of a shop, and knows the secrets of all shops there were."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.known = TYPED | {"pbkdf2:sha256:1$", "scrypt:32768:"}  # how password hashes begin
        self.heard: list[str] = []

    def learn(self, shop: Flask, **_: Any) -> None:
        """What its settings do not show is secret; of an address, the password."""
        settings = shop.config.get("SETTINGS")
        for field in dataclasses.fields(settings) if settings else ():
            if field.repr:
                continue
            value = getattr(settings, field.name)
            for kept in value if isinstance(value, tuple) else (str(value or ""),):
                secret = urlsplit(kept).password if "://" in kept else kept
                self.known |= {secret} if secret and len(secret) > 8 else set()

    def emit(self, record: logging.LogRecord) -> None:
        self.listen("the log", self.format(record))

    def answered(self, shop: Flask, response: Response, **_: Any) -> None:
        if "SETTINGS" in shop.config and not response.is_streamed:
            told = response.get_data(as_text=True) if not response.direct_passthrough else ""
            self.listen(f"the answer to {request.method} {request.path}", f"{response.headers}{told}")

    def listen(self, where: str, text: str) -> None:
        self.heard += [f"{where} tells {secret[:6]}…" for secret in self.known if secret in text]


@pytest.fixture(scope="session")
def all_leaks() -> Iterator[Leaks]:
    leaks = Leaks()
    logging.getLogger().addHandler(leaks)
    with appcontext_pushed.connected_to(leaks.learn), request_finished.connected_to(leaks.answered):
        yield leaks
    logging.getLogger().removeHandler(leaks)


@pytest.fixture(autouse=True)
def leaks(all_leaks: Leaks) -> Iterator[Leaks]:
    """No secret is in a log, a page or an error: whatever a test is about, it fails when one gets out."""
    yield all_leaks
    heard, all_leaks.heard = all_leaks.heard, []
    assert heard == []
