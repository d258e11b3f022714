"""The whole deployment as processes that may be killed: sandbox, web servers, workers, a mail server."""

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
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import create_engine, func, select, text, update
from sqlalchemy.orm import Session

from storefront.billing import Invoice, Subscription
from storefront.emails.models import Email
from storefront.models import Order, PlanAccess, User, WebhookEvent
from storefront.sandbox.store.billing_rows import Payment
from storefront.sandbox.store.control_rows import Delivery
from storefront.sandbox.store.rows import CheckoutSession
from tests.conftest import shop_tables

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(__file__).parent / "points"
WEBHOOK_SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
API_KEY = "sk_sandbox_faults"
PASSWORD = "a sentence to remember"
SECRET_KEY = "forty characters that nobody else knows.."
TIMEOUT_S = 120.0  # until a buyer or a test gives up: the machine may be busy
DUE_COLUMNS = {
    Subscription: ("next_attempt_at",),
    Invoice: ("next_attempt_at", "requested_at"),
    WebhookEvent: ("next_attempt_at",),
    Order: ("session_requested_at", "next_attempt_at", "last_checked_at"),
    Email: ("next_attempt_at",),
}


class Process:
    """A process that is started again when it has died."""

    def __init__(self, stack: "Stack", name: str, *arguments: str, **environ: str) -> None:
        self.stack, self.name, self.arguments, self.environ = stack, name, arguments, environ
        self.deaths = 0
        self.wanted = True
        self.start()

    def start(self) -> None:
        with (self.stack.folder / f"{self.name}.log").open("a") as log:
            self.running = subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=ROOT,
                env=self.stack.environ | self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def restart_if_dead(self) -> None:
        if self.wanted and self.running.poll() is not None:
            self.kill()  # children that it left behind
            self.deaths += 1
            self.start()

    def kill(self) -> None:
        """SIGKILL, for its children too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, signal.SIGKILL)
        self.running.wait(30)

    def thaw(self) -> None:
        os.killpg(self.running.pid, signal.SIGCONT)

    def stop(self) -> None:
        self.wanted = False
        self.running.terminate()
        try:
            self.running.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


class Stack:
    """All processes of a shop on one database, and what its tables and the sandbox's say."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder, self.database_url = folder, database_url
        self.faults = folder / "faults"
        self.faults.mkdir()
        self.mail_server = MailServer()
        self.processes: dict[str, Process] = {}
        self.buyers: list[str] = []  # email addresses of those whose plan is ready
        self.engine = create_engine(database_url)
        shop_tables().create_all(self.engine)
        port = free_port()
        self.shop_url, self.sandbox_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
        self.environ = self._environment()
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()
        self.run("sandbox", "-m", "storefront.sandbox")
        self.start_web("web", port)
        self.start_worker("worker")
        self.start_emails("emails")
        self.wait_until_up(self.sandbox_url, f"{self.shop_url}/plans")
        self.sandbox_engine = create_engine(self.environ["SANDBOX_DATABASE_URL"])

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "FLEXPRICE_API_URL": f"{self.sandbox_url}/v1",
            "FLEXPRICE_API_KEY": API_KEY,
            "FLEXPRICE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STOREFRONT_URL": self.shop_url,
            "SECRET_KEY": SECRET_KEY,
            "DATABASE_URL": self.database_url,
            "MAIL_URL": f"smtp://127.0.0.1:{self.mail_server.port}",
            "MAIL_FROM": "shop@example.com",
            "CHECKOUT_PAYMENT_HOSTS": self.sandbox_url.removeprefix("http://"),
            "RATE_LIMITS": "off",
            "CLOCK_FILE": str(self.folder / "clock"),
            "SANDBOX_URL": self.sandbox_url,
            "SANDBOX_PORT": self.sandbox_url.rpartition(":")[2],
            "SANDBOX_DATABASE_URL": f"sqlite:///{self.folder / 'sandbox.db'}",
            "SANDBOX_WEBHOOK_URL": f"{self.shop_url}/webhooks/flexprice",
        }

    # -- processes

    def run(self, name: str, *arguments: str, **environ: str) -> Process:
        self.processes[name] = Process(self, name, *arguments, **environ)
        return self.processes[name]

    def start_web(self, name: str, port: int | None = None, threads: int = 8, **environ: str) -> str:
        """One more web process; its address."""
        listen = f"127.0.0.1:{port or free_port()}"
        arguments = ["-m", "waitress", f"--listen={listen}", f"--threads={threads}", "wsgi:app"]
        self.run(name, *arguments, **(environ | self._watched("web")))
        return f"http://{listen}"

    def start_worker(self, name: str) -> Process:
        return self.run(name, "-m", "flask", "--app", "wsgi", "checkout", "worker", **self._watched("worker"))

    def start_emails(self, name: str) -> Process:
        return self.run(name, "-m", "flask", "--app", "wsgi", "emails", "worker", **self._watched("emails"))

    def _watched(self, role: str) -> dict[str, str]:
        return {"PYTHONPATH": f"{POINTS}", "FAULT_POINTS": str(self.faults), "FAULT_ROLE": role}

    def _supervise(self) -> None:
        while not self._closing.wait(0.05):
            for process in list(self.processes.values()):
                process.restart_if_dead()

    def close(self) -> None:
        self._closing.set()
        self._supervisor.join()
        for process in self.processes.values():
            process.stop()
        self.mail_server.close()
        self.engine.dispose()
        self.sandbox_engine.dispose()

    def wait_until(self, holds: Callable[[], Any], why: str = "") -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not holds():
            assert time.monotonic() < deadline, f"{why}\n{self.logs()}"
            time.sleep(0.05)

    def wait_until_up(self, *urls: str) -> None:
        self.wait_until(lambda: all(answers(url) for url in urls), "a server does not start")

    def logs(self) -> str:
        ends = (f"--- {log.name}\n{log.read_text()[-4000:]}" for log in sorted(self.folder.glob("*.log")))
        return "\n".join(ends)

    def whole_logs(self) -> str:
        return "".join(log.read_text() for log in self.folder.glob("*.log"))

    def usage(self) -> tuple[int, int]:
        """Of the shop's processes together: kilobytes of memory, open files."""
        groups = {process.running.pid for name, process in self.processes.items() if name != "sandbox"}
        memory = files = 0
        for pid in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
            with contextlib.suppress(OSError):
                if os.getpgid(int(pid.name)) in groups:
                    memory += int(re.findall(r"VmRSS:\s+(\d+)", (pid / "status").read_text())[0])
                    files += len(list((pid / "fd").iterdir()))
        return memory, files

    # -- faults

    def fault(self, **wanted: Any) -> None:
        requests.post(f"{self.sandbox_url}/_sandbox/faults", json=wanted, timeout=20).raise_for_status()

    def clear_faults(self) -> None:
        requests.delete(f"{self.sandbox_url}/_sandbox/faults", timeout=20).raise_for_status()

    def arm(self, point: str, other: Process | None = None, by: signal.Signals = signal.SIGKILL) -> None:
        """The process that reaches this point is killed there (or frozen), and another one with it."""
        (self.faults / "stopped").unlink(missing_ok=True)
        pids = [str(other.running.pid)] if other else []
        (self.faults / "armed.new").write_text("\n".join([by.name, point, *pids]))
        (self.faults / "armed.new").rename(self.faults / "armed")

    def was_reached(self) -> bool:
        """Whether a process was killed or frozen at the point."""
        return (self.faults / "stopped").exists()

    def disarm(self) -> bool:
        """Whether a process was killed or frozen there."""
        (self.faults / "armed").unlink(missing_ok=True)
        return self.was_reached()

    def points_passed(self) -> list[str]:
        """The points passed so far, each once, in order."""
        return list(dict.fromkeys((self.faults / "trace").read_text().splitlines()))

    def time_passes(self, gone: timedelta = timedelta(minutes=3)) -> None:
        """Leases end, checks and retries are due. Flexprice tries for hours; its tries are not counted."""
        past = (datetime.now(UTC) - gone).replace(tzinfo=None)
        with self.engine.connect() as connection:
            for model, columns in DUE_COLUMNS.items():
                for name in columns:
                    column = getattr(model, name)
                    with connection.begin():
                        connection.execute(update(model).where(column > past).values({name: past}))
        with self.sandbox_engine.connect() as connection, connection.begin():
            yesterday = datetime.now(UTC) - timedelta(days=1)
            due = update(Delivery).where(Delivery.state == "due")
            connection.execute(due.values(due_at=yesterday, attempt=0))

    def signed(self, message_id: str, body: bytes) -> dict[str, str]:
        """Headers of a webhook, as Flexprice sends it now."""
        key, stamp = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_")), str(int(time.time()))
        digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json",
            "svix-id": message_id,
            "svix-timestamp": stamp,
            "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    # -- what the tables say

    def scalar(self, query: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.scalar(query)

    def orders_of(self, email: str) -> list[Order]:
        with Session(self.engine) as session:
            query = select(Order).join(User, User.id == Order.user_id).where(User.email == email)
            return list(session.scalars(query.order_by(Order.id)))

    def sessions_of(self, order: Order) -> int:
        """How many checkout sessions were made for an order."""
        query = select(func.count()).where(CheckoutSession.idempotency_key == order.ref)
        with self.sandbox_engine.connect() as connection:
            return int(connection.scalar(query) or 0)

    def captured(self) -> Counter[str]:
        """How often each order was paid, by Flexprice's tables."""
        key = CheckoutSession.idempotency_key
        paid = (
            select(key)
            .join(Payment, Payment.id == CheckoutSession.payment_id)
            .where(Payment.payment_status == "SUCCEEDED")
        )
        with self.sandbox_engine.connect() as connection:
            return Counter(connection.scalars(paid))

    def is_settled(self) -> bool:
        """Nothing is on its way and nothing is due."""
        with self.sandbox_engine.connect() as connection:
            due = connection.scalar(select(func.count()).where(Delivery.state == "due"))
        unprocessed = self.scalar(select(func.count()).where(WebhookEvent.processed_at.is_(None)))
        unsent = self.scalar(select(func.count()).where(Email.sent_at.is_(None)))
        unfulfilled = self.scalar(select(func.count()).where(Order.state == "paid"))
        return not (due or unprocessed or unsent or unfulfilled)

    def settle(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not self.is_settled():
            assert time.monotonic() < deadline, self.logs()
            self.time_passes()
            time.sleep(0.5)

    def check_books(self) -> None:
        """Each payment has one order, one access, one email; nobody else has; and nothing is left over."""
        captured = self.captured()
        assert set(captured.values()) <= {1}, captured
        with Session(self.engine) as session:
            orders = list(session.scalars(select(Order)))
            granted = Counter(session.scalars(select(PlanAccess.order_id)))
            welcome = select(User.email).join(Email, Email.user_id == User.id).where(Email.kind == "welcome")
            welcomed = Counter(session.scalars(welcome))
            stored = set(session.scalars(select(WebhookEvent.id)))
        fulfilled = {order.ref for order in orders if order.state == "fulfilled"}
        assert fulfilled == set(captured)
        assert granted == {order.id: 1 for order in orders if order.ref in fulfilled}
        assert welcomed == dict.fromkeys(self.buyers, 1)
        assert self.mail_server.received() == dict.fromkeys(self.buyers, 1)
        with self.sandbox_engine.connect() as connection:
            sent = connection.execute(select(Delivery.event_id, Delivery.state)).all()
        assert {state for _, state in sent} == {"delivered"}
        assert {event for event, _ in sent} <= stored
        if self.engine.dialect.name == "sqlite":
            assert self.scalar(text("PRAGMA integrity_check")) == "ok"


class MailServer(socketserver.ThreadingTCPServer):
    """Takes every email, and remembers to whom it was sent."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailConversation)
        self.port = self.server_address[1]
        self.emails: set[tuple[str, str]] = set()  # (recipient, Message-ID): one that comes twice counts once
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def received(self) -> dict[str, int]:
        return dict(Counter(recipient for recipient, _ in self.emails))

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class MailConversation(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the sender may be killed
            self.converse()

    def converse(self) -> None:
        self.answer("220 ready")
        while command := self.rfile.readline().strip().upper():
            if command == b"DATA":
                self.answer("354 go on")
                email = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                found = dict(re.findall(r"^(To|Message-ID): (.*?)\r?$", email, re.MULTILINE))
                self.server.emails.add((found["To"], found["Message-ID"]))
            self.answer("221 bye" if command == b"QUIT" else "250 ok")

    def answer(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
