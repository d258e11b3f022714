"""The apps in apps/: a copy of one, adopted by the steps of the two guides, and served with a worker."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, text

from tests.adoption import months
from tests.adoption.processes import (
    KEY,
    ROOT,
    SECRET,
    LossyApi,
    Process,
    Relay,
    Sandbox,
    environment,
    eventually,
    free_port,
    run,
)
from tests.adoption.steps import BOARD, CLUB, Edit, NewFile, Step

HERE = Path(__file__).parent
PYTEST = [sys.executable, "-m", "pytest", "-q", "--rootdir=.", "--confcutdir=.", "-c", "/dev/null"]


@dataclass
class Host:
    """One of the apps, and how a person uses it."""

    name: str
    app: str  # for `flask --app`
    steps: tuple[Step, ...]  # of docs/copying.md
    months: tuple[Step, ...]  # of docs/second-month.md
    billing: str  # address of the billing page
    sign_up: str  # address of its form
    form: dict[str, str]
    migrated: bool
    layout: str  # words of its layout


HOSTS = {
    "club": Host(
        "club",
        "wsgi",
        CLUB,
        months.CLUB,
        "/billing",
        "/join",
        {"name": "Asha Rao", "mail": "asha@example.com", "password": "a long password"},
        True,
        "Home",
    ),
    "board": Host(
        "board",
        "app",
        BOARD,
        months.BOARD,
        "/my/plan",
        "/register",
        {"name": "asha", "email": "asha@example.com", "password": "a long password"},
        False,
        "<title>Board",
    ),
}


class Place:
    """A folder with a copy of a host app."""

    def __init__(self, host: Host, folder: Path, source: Path | None = None) -> None:
        """:param source: the folder of another `Place`, with what was done there."""
        self.host, self.folder, self.python = host, folder, sys.executable
        ignored = shutil.ignore_patterns("__pycache__") if source is None else None
        shutil.copytree(source or HERE / "apps" / host.name, folder, ignore=ignored)
        self.env = environment(REFERENCE=str(ROOT), SECRET_KEY="s" * 40)
        if host.migrated and source is None:
            self.flask("db", "upgrade")

    def copy(self, folder: Path, **env: str) -> "Place":
        """The app as it is now, with its database, for a test that changes it."""
        other = Place(self.host, folder, self.folder)
        other.env |= env
        return other

    def use_python(self, python: str) -> None:
        self.python = python
        self.env["PATH"] = f"{Path(python).parent}:{self.env['PATH']}"

    def flask(self, *arguments: str, ok: bool = True) -> str:
        return self.run(self.python, "-m", "flask", "--app", self.host.app, *arguments, ok=ok)

    def run(self, *command: str, ok: bool = True) -> str:
        return run(list(command), self.folder, self.env, ok)

    def follow(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            for action in step.actions:
                self.act(action)

    def act(self, action: str | NewFile | Edit) -> None:
        if isinstance(action, str):
            self.run("sh", "-ec", action)
        elif isinstance(action, NewFile):
            (self.folder / action.path).write_text(action.text)
        else:
            path = self.folder / action.path
            assert path.read_text().count(action.old) == 1, action
            path.write_text(path.read_text().replace(action.old, action.new))

    def probe(self, *more: str, **env: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What its own pages answer, and the pages `more`: see probe.py."""
        app = f"{self.host.app}:app"
        done = subprocess.run(
            [self.python, str(HERE / "probe.py"), app, *more],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found = json.loads(done.stdout)
        return found["own"], found["more"]

    def own_tests(self) -> str:
        return self.run(*[self.python, *PYTEST[1:]], "-p", "no:cacheprovider", "tests")


class Stages:
    """Each host app at three stages: as it was, with the checkout, with the second month. Made once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.made: dict[str, Place] = {}

    def original(self, name: str) -> Place:
        return self._made(f"{name}-original", lambda folder: Place(HOSTS[name], folder))

    def selling(self, name: str) -> Place:
        """After docs/copying.md."""
        return self._made(
            f"{name}-selling", lambda folder: self._after(self.original(name), folder, HOSTS[name].steps)
        )

    def adopted(self, name: str) -> Place:
        """After docs/second-month.md too."""
        return self._made(
            f"{name}-adopted", lambda folder: self._after(self.selling(name), folder, HOSTS[name].months)
        )

    def _made(self, key: str, make: Callable[[Path], Place]) -> Place:
        if key not in self.made:
            self.made[key] = make(self.home / key)
        return self.made[key]

    def _after(self, before: Place, folder: Path, steps: tuple[Step, ...]) -> Place:
        place = before.copy(folder)
        place.follow(steps)
        return place


class Shop:
    """An adopted app that serves with a worker, against a sandbox that is emptied; the caller stops it."""

    def __init__(self, place: Place, sandbox: Sandbox) -> None:
        self.place, self.sandbox, home = place, sandbox, place.folder.parent
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.relay = Relay(f"{self.url}/billing/webhooks/flexprice")
        sandbox.start_again(self.relay.url)
        self.api = LossyApi(self.sandbox.url)
        place.env |= {
            "FLEXPRICE_API_URL": f"{self.api.url}/v1",
            "FLEXPRICE_API_KEY": KEY,
            "FLEXPRICE_WEBHOOK_SECRET": SECRET,
            "CHECKOUT_BASE_URL": self.url,
            "CHECKOUT_ALLOWED_HOSTS": f"localhost:{port}",
            "CHECKOUT_PAYMENT_HOSTS": self.sandbox.host,
            "CLOCK_FILE": str(self.sandbox.clock_file),
        }
        flask = [place.python, "-m", "flask", "--app", place.host.app]
        self.web = Process([*flask, "run", "--port", str(port)], place.folder, place.env, home / "web.log")
        self.worker = Process([*flask, "checkout", "worker"], place.folder, place.env, home / "worker.log")
        self.web.wait_for(self.url)

    def stop(self) -> None:
        for part in (self.web, self.worker, self.api, self.relay):
            part.stop()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in the database that holds the orders."""
        if self.place.host.name == "board":
            with sqlite3.connect(self.place.folder / "orders.db") as db:
                return db.execute(query).fetchall()
        engine = create_engine(self.place.env["DATABASE_URL"])
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def user_id(self, name: str) -> int:
        """Of the board, whose users are in another database."""
        with sqlite3.connect(self.place.folder / "board.db") as db:
            return int(db.execute("SELECT id FROM user WHERE name = ?", (name,)).fetchone()[0])

    def usable_plans(self, name: str) -> list[str]:
        """What this customer may use now, by the rows of the app."""
        if self.place.host.name == "board":
            found = f"SELECT plan FROM access WHERE user_id = {self.user_id(name)} AND suspended_at IS NULL"
        else:
            found = f"SELECT plan FROM members WHERE full_name = '{name}' AND plan_suspended_at IS NULL"
        return [plan for (plan,) in self.rows(found) if plan]

    def logs(self) -> str:
        """What both processes wrote, without the access log."""
        lines = (self.web.log.read_text() + self.worker.log.read_text()).splitlines()
        return "\n".join(line for line in lines if '] "' not in line)


class Browser:
    """A signed-up customer."""

    def __init__(self, shop: Shop, url: str = "", **form: str) -> None:
        self.shop, self.url = shop, url or shop.url
        self.http = requests.Session()
        host = shop.place.host
        self.form = host.form | form
        signed_up = self.post(host.sign_up, self.form, of=host.sign_up)
        assert signed_up.status_code == 302, signed_up.text

    def get(self, path: str) -> requests.Response:
        return self.http.get(self.at(path), timeout=30)

    def at(self, path: str) -> str:
        return path if path.startswith("http") else f"{self.url}{path}"

    def post(self, path: str, form: dict[str, str], of: str) -> requests.Response:
        """Submit a form of the page `of`, with its token and the headers that a browser sends."""
        page = self.get(of).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        if token:
            form = form | {"csrf_token": token[1]}
        headers = {"Origin": self.url, "Referer": self.at(of), "Sec-Fetch-Site": "same-origin"}
        return self.http.post(self.at(path), data=form, headers=headers, timeout=40, allow_redirects=False)

    def buy(self, plan: str = "Starter") -> str:
        """Where the click leads: the payment page, or the order's page."""
        plan_id = self.shop.sandbox.plan(plan)
        of = f"/billing/plans/{plan_id}?currency=inr&billing_period=MONTHLY"
        form = {"plan": plan_id, "currency": "inr", "billing_period": "MONTHLY"}
        sent = self.post("/billing/checkout", form, of=of)
        assert sent.status_code == 303, f"{sent.status_code}\n{sent.text}\n{self.shop.logs()}"
        return sent.headers["Location"]

    def wait_for(self, path: str, words: str) -> str:
        def seen() -> str:
            text = self.get(path).text
            return text if words in text else ""

        try:
            return str(eventually(seen, f"{words!r} on {path}", 30))
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.get(path).text}\n{self.shop.logs()}") from late
