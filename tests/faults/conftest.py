"""A town of processes: a sandbox, shops and workers that may be killed, people who buy, a letter box."""

import base64
import contextlib
import hashlib
import hmac
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.orm import Session

from storefront.models import Access, Base, InboxMessage, Letter, Order, Shopper
from storefront.sandbox.schema import deliveries, payments, sessions

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(__file__).parent / "points"
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
KEY = "sk_sandbox_faults"
PASSWORD = "a sentence to remember"
SECRET_KEY = "a key of forty letters, told to nobody.."
PATIENCE = 120.0  # seconds until a person or a test gives up: the machine may be busy
TIMES = {
    InboxMessage: ("claimed_at", "next_try_at"),
    Order: ("opening_at", "next_look_at", "next_ask_at"),
    Letter: ("claimed_at", "next_try_at"),
}


class Process:
    """Something that runs, and is started again when it has died."""

    def __init__(self, town: "Town", name: str, *arguments: str, **environ: str) -> None:
        self.town, self.name, self.arguments, self.environ = town, name, arguments, environ
        self.deaths = 0
        self.wanted = True
        self.start()

    def start(self) -> None:
        with (self.town.folder / f"{self.name}.log").open("a") as log:
            self.running = subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=ROOT,
                env=self.town.environ | self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def look(self) -> None:
        if self.wanted and self.running.poll() is not None:
            self.kill()  # whoever it leaves behind
            self.deaths += 1
            self.start()

    def kill(self) -> None:
        """-9, with everything it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait(30)

    def end(self) -> None:
        self.wanted = False
        self.running.terminate()
        try:
            self.running.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Town:
    def __init__(
        self, folder: Path, database_url: str, ports: Callable[[], int], web: str = "waitress"
    ) -> None:
        self.folder, self.database_url, self.free_port = folder, database_url, ports
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.letterbox = Letterbox()
        self.sandbox_url = f"http://127.0.0.1:{ports()}"
        self.processes: dict[str, Process] = {}
        self.buyers: list[str] = []
        self.rows = create_engine(database_url)
        Base.metadata.create_all(self.rows)
        sandbox_file = folder / "sandbox.db"
        port = ports()
        self.shop_url = f"http://127.0.0.1:{port}"
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "FLEXPRICE_API_URL": f"{self.sandbox_url}/v1",
            "FLEXPRICE_API_KEY": KEY,
            "FLEXPRICE_WEBHOOK_SECRET": SECRET,
            "STOREFRONT_URL": self.shop_url,
            "SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": database_url,
            "MAIL_URL": f"smtp://127.0.0.1:{self.letterbox.port}",
            "MAIL_FROM": "shop@example.com",
            "PAYMENT_HOSTS": self.sandbox_url.removeprefix("http://"),
            "RATE_LIMITS": "off",
            "SANDBOX_URL": self.sandbox_url,
            "SANDBOX_PORT": self.sandbox_url.rpartition(":")[2],
            "SANDBOX_DATABASE_URL": f"sqlite:///{sandbox_file}",
            "SANDBOX_WEBHOOK_URL": f"{self.shop_url}/webhooks/flexprice",
        }
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()
        self.run("sandbox", "-m", "storefront.sandbox")
        self.open_shop("web", port)
        self.open_worker("worker")
        self.wait_until_open(self.sandbox_url, f"{self.shop_url}/healthz")
        self.flexprice = create_engine(f"sqlite:///{sandbox_file}")

    def run(self, name: str, *arguments: str, **environ: str) -> Process:
        self.processes[name] = Process(self, name, *arguments, **environ)
        return self.processes[name]

    def _watched(self, role: str) -> dict[str, str]:
        return {"PYTHONPATH": str(POINTS), "FAULT_POINTS": str(self.faults), "FAULT_ROLE": role}

    def open_shop(self, name: str, port: int | None = None, *options: str, **environ: str) -> str:
        """One more web process; gives back its address."""
        listen = f"127.0.0.1:{port or self.free_port()}"
        options = options or ("--processes", "1", "--threads", "8")
        environ |= self._watched("web")
        self.run(name, "-m", "storefront.serve", "--listen", listen, *options, **environ)
        return f"http://{listen}"

    def open_worker(self, name: str) -> Process:
        return self.run(name, "-m", "flask", "--app", "wsgi", "work", **self._watched("worker"))

    def _supervise(self) -> None:
        while not self._closing.wait(0.05):
            for process in list(self.processes.values()):
                process.look()

    def close(self) -> None:
        self._closing.set()
        self._supervisor.join()
        for process in self.processes.values():
            process.end()
        self.letterbox.close()
        self.rows.dispose()
        self.flexprice.dispose()

    def wait_until(self, so: Callable[[], Any], why: str = "") -> None:
        deadline = time.monotonic() + PATIENCE
        while not so():
            assert time.monotonic() < deadline, f"{why}\n{self.logs()}"
            time.sleep(0.05)

    def wait_until_open(self, *doors: str) -> None:
        self.wait_until(lambda: all(answers(door) for door in doors))

    def logs(self) -> str:
        return "\n".join(
            f"--- {log.name}\n{log.read_text()[-4000:]}" for log in sorted(self.folder.glob("*.log"))
        )

    def logs_whole(self) -> str:
        return "".join(log.read_text() for log in self.folder.glob("*.log"))

    def weights(self) -> dict[int, tuple[int, int]]:
        """What each of the shop's processes takes: kilobytes of memory, open files."""
        groups = {process.running.pid for name, process in self.processes.items() if name != "sandbox"}
        found = {}
        for pid in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
            with contextlib.suppress(OSError):
                if os.getpgid(int(pid.name)) in groups:
                    memory = re.findall(r"VmRSS:\s+(\d+)", (pid / "status").read_text())[0]
                    found[int(pid.name)] = (int(memory), len(list((pid / "fd").iterdir())))
        return found

    def weight(self) -> tuple[int, int]:
        """All together."""
        memory, files = zip(*self.weights().values(), strict=True)
        return sum(memory), sum(files)

    def signed(self, message_id: str, body: bytes) -> dict[str, str]:
        """As Flexprice would send it now."""
        key, stamp = base64.b64decode(SECRET.removeprefix("whsec_")), str(int(time.time()))
        digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "svix-id": message_id,
            "svix-timestamp": stamp,
            "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    # Faults.

    def fault(self, **wanted: Any) -> None:
        requests.post(f"{self.sandbox_url}/_sandbox/faults", json=wanted, timeout=20).raise_for_status()

    def no_more_faults(self) -> None:
        requests.delete(f"{self.sandbox_url}/_sandbox/faults", timeout=20).raise_for_status()

    def arm(self, point: str, company: Process | None = None) -> None:
        """The process that comes to this point dies there, and its company with it."""
        (self.faults / "died").unlink(missing_ok=True)
        pids = [str(company.running.pid)] if company else []
        (self.faults / "armed.new").write_text("\n".join([point, *pids]))
        (self.faults / "armed.new").rename(self.faults / "armed")

    def disarm(self) -> bool:
        """True when somebody died there."""
        (self.faults / "armed").unlink(missing_ok=True)
        return (self.faults / "died").exists()

    def passed(self) -> list[str]:
        """The points passed so far, each once, in the order they were first come to."""
        return list(dict.fromkeys((self.faults / "trace").read_text().splitlines()))

    def time_passes(self, gone: timedelta = timedelta(minutes=3)) -> None:
        """For everything that waits: claims lapse, the next look is due, a failed delivery is tried again.

        Flexprice tries for hours; here those hours are seconds, so its tries are not counted.
        """
        past = datetime.now(UTC) - gone
        with self.rows.connect() as connection:
            for model, columns in TIMES.items():
                for name in columns:
                    column = getattr(model, name)
                    with connection.begin():
                        connection.execute(update(model).where(column > past).values({name: past}))
        with self.flexprice.connect() as connection, connection.begin():
            due = update(deliveries).where(deliveries.c.state == "due")
            connection.execute(due.values(due_at=deliveries.c.due_at - 24 * 3600, claimed_at=None, attempt=0))

    # What the books say.

    def scalar(self, query: Any) -> Any:
        with self.rows.connect() as connection:
            return connection.scalar(query)

    def orders_of(self, email: str) -> list[Order]:
        with Session(self.rows) as session:
            query = select(Order).join(Shopper, Shopper.id == Order.shopper_id)
            return list(session.scalars(query.where(Shopper.email == email).order_by(Order.id)))

    def sessions_of(self, order: Order) -> int:
        with self.flexprice.connect() as connection:
            query = select(func.count()).where(sessions.c.idempotency_key == order.ref)
            return int(connection.scalar(query) or 0)

    def captured(self) -> Counter[str]:
        """How often each order was paid, by Flexprice's books."""
        key = sessions.c.idempotency_key
        with self.flexprice.connect() as connection:
            paid = connection.execute(
                select(key, payments.c.status)
                .join(payments, payments.c.id == func.json_extract(sessions.c.body, "$.checkout_payment_id"))
                .where(func.json_extract(payments.c.body, "$.payment_status") == "SUCCEEDED")
            )
            return Counter(row[0] for row in paid)

    def settled(self) -> bool:
        """Nothing is on its way and nothing is owed any more."""
        with self.flexprice.connect() as connection:
            due = connection.scalar(select(func.count()).where(deliveries.c.state == "due"))
        unread = self.scalar(select(func.count()).where(InboxMessage.handled_at.is_(None)))
        unposted = self.scalar(select(func.count()).where(Letter.posted_at.is_(None)))
        unfulfilled = self.scalar(select(func.count()).where(Order.state == "paid"))
        return not (due or unread or unposted or unfulfilled)

    def settle(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.settled():
            assert time.monotonic() < deadline, self.logs()
            self.time_passes()
            time.sleep(0.5)

    def check_books(self) -> None:
        """For each who paid one order, one access, one letter; for nobody else; and nothing is left over."""
        captured = self.captured()
        assert set(captured.values()) <= {1}, captured
        with Session(self.rows) as session:
            orders = list(session.scalars(select(Order)))
            granted = Counter(session.scalars(select(Access.order_id)))
            letters = Counter(session.scalars(select(Letter.to).where(Letter.kind == "welcome")))
            kept = set(session.scalars(select(InboxMessage.id)))
        fulfilled = {order.ref for order in orders if order.state == "fulfilled"}
        assert fulfilled == set(captured)
        assert granted == {order.id: 1 for order in orders if order.ref in fulfilled}
        assert letters == dict.fromkeys(self.buyers, 1)
        assert self.letterbox.received() == dict.fromkeys(self.buyers, 1)
        with self.flexprice.connect() as connection:
            told = connection.execute(select(deliveries.c.event_id, deliveries.c.state)).all()
        assert {state for _, state in told} == {"delivered"}
        assert {event for event, _ in told} <= kept
        if self.rows.dialect.name == "sqlite":
            assert self.scalar(text("PRAGMA integrity_check")) == "ok"


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False


class Forms(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.phase = ""
        self.payment_url = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attr = dict(attrs)
        self.phase = attr.get("data-phase") or self.phase
        if tag == "form":
            self._fields: dict[str, str] = {}
            self.forms.setdefault(attr.get("action") or "", self._fields)
        if tag == "input" and self.forms and attr.get("name"):
            self._fields[str(attr["name"])] = attr.get("value") or ""
        if attr.get("id") == "order-pay":
            self.payment_url = attr.get("href") or ""

    def action(self, ending: str) -> str | None:
        return next((action for action in self.forms if action.endswith(ending)), None)


class Person:
    """Buys one plan and does not give up: who gets no answer, or a 503, tries again."""

    def __init__(self, town: Town, name: str) -> None:
        self.town, self.email = town, f"{name}@example.com"
        self.http = requests.Session()

    def insist(self, method: str, url: str, **more: Any) -> requests.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.RequestException):
                answer = self.http.request(method, url, timeout=40, allow_redirects=False, **more)
                if answer.status_code < 500:
                    return answer
                assert answer.status_code in (502, 503), f"{answer.text}\n{self.town.logs()}"
            assert time.monotonic() < deadline, self.town.logs()
            time.sleep(0.1)

    def see(self, path: str) -> Forms:
        self.at = urljoin(self.town.shop_url, path)
        return Forms(self.insist("GET", self.at).text)

    def send(self, page: Forms, ending: str, **typed: str) -> requests.Response:
        action = page.action(ending)
        assert action is not None, page.forms
        return self.insist("POST", urljoin(self.at, action), data=page.forms[action] | typed)

    def sign_up(self) -> None:
        known = {"email": self.email, "password": PASSWORD}
        answer = self.send(self.see("/sign-up"), "", name="Asha Rao", **known)
        if answer.status_code == 422:  # the first try went through, only its answer did not come
            answer = self.send(self.see("/sign-in"), "", **known)
        assert answer.status_code == 303, answer.text

    def buy(self) -> None:
        """Until the page says that the plan is ready."""
        self.send(self.see("/"), "/checkout")
        deadline = time.monotonic() + PATIENCE
        while True:
            order = self.town.orders_of(self.email)[-1]
            page = self.see(f"/orders/{order.ref}/failure")
            if page.phase == "ready":
                return self.town.buyers.append(self.email)
            assert time.monotonic() < deadline, f"{page.phase}\n{self.town.logs()}"
            self.go_on(page)

    def go_on(self, page: Forms) -> None:
        if page.payment_url:
            self.pay(page.payment_url)
        elif page.action("/start-again"):
            self.send(page, "/start-again")
        elif page.action("/checkout"):
            self.send(page, "/checkout")
        else:
            time.sleep(0.3)
        self.town.time_passes()

    def pay(self, url: str) -> None:
        page = Forms(self.insist("GET", url).text)
        if page.action("/pay"):
            self.at = url
            self.send(page, "/pay", other="success@razorpay")


class Letterbox(socketserver.ThreadingTCPServer):
    """Takes every letter, and remembers for whom."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Postman)
        self.port = self.server_address[1]
        self.letters: set[tuple[str, str]] = set()  # one that came twice has the same Message-ID
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def received(self) -> dict[str, int]:
        return dict(Counter(to for to, _ in self.letters))

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Postman(socketserver.StreamRequestHandler):
    server: Letterbox

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever writes may be killed
            self.converse()

    def converse(self) -> None:
        self.say("220 here")
        while word := self.rfile.readline().strip().upper():
            if word == b"DATA":
                self.say("354 go on")
                letter = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                found = dict(re.findall(r"^(To|Message-ID): (.*?)\r?$", letter, re.MULTILINE))
                self.server.letters.add((found["To"], found["Message-ID"]))
            self.say("221 bye" if word == b"QUIT" else "250 good")

    def say(self, words: str) -> None:
        self.wfile.write(f"{words}\r\n".encode())


@pytest.fixture(scope="module")
def a_town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Town]]:
    towns: list[Town] = []

    def found(engine: str) -> Town:
        folder = tmp_path_factory.mktemp("town")
        server = request.getfixturevalue("postgres") if engine == "postgresql" else None
        towns.append(Town(folder, server.database() if server else f"sqlite:///{folder}/shop.db", free_port))
        return towns[-1]

    yield found
    for town in towns:
        town.close()
    told = "".join(town.logs_whole() for town in towns)
    assert [secret for secret in (SECRET, KEY, PASSWORD, SECRET_KEY) if secret in told] == []


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres, id="postgres")], scope="module"
)
def town(request: pytest.FixtureRequest, a_town: Callable[[str], Town]) -> Town:
    """Opened once for all tests of a file: each brings its own people."""
    return a_town(request.param)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def somebody(town: Town) -> Iterator[Callable[[], Person]]:
    """Somebody nobody has seen before."""
    people: list[Person] = []

    def come() -> Person:
        people.append(Person(town, f"p{time.time_ns()}"))
        return people[-1]

    yield come
    for person in people:
        person.http.close()
