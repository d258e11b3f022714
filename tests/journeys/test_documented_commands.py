"""Every command in the documents runs as printed, while the demo runs."""

import importlib.util
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.adoption.processes import ROOT, Process, environment, eventually, free_port

TEXTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/decisions").glob("*.md")]
NOT_COMMANDS = {
    "CHANGELOG.md",
    "flexprice-contract.md",
    "mutants.md",  # a run takes hours
    "sandbox.md",  # has a test of its own
}
PROGRAMS = r"flask|make|python3?|pip|curl|docker|cp|mkdir|gunicorn|\.venv/bin/\w+"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
REF = "0123456789abcdef0123456789abcdef"  # of the order in the documents


def commands(path: Path) -> list[str]:
    """Of fenced blocks, of indented ones, and between backticks in a sentence."""
    text = path.read_text()
    found = [
        line for language, block in FENCE.findall(text) if language == "sh" for line in block.splitlines()
    ]
    prose = FENCE.sub("", text)
    found += re.findall(rf"^ {{4}}((?:{PROGRAMS})\b.*)$", prose, re.MULTILINE)
    found += re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", prose)
    return [" ".join(command.split()) for command in found]


ALL = sorted({command for path in TEXTS if path.name not in NOT_COMMANDS for command in commands(path)})


class Demo:
    """`python wsgi.py` in a copy of this project, so that its `instance/` is a new one."""

    def __init__(self, home: Path) -> None:
        self.home, self.port, self.sandbox_port = home / "demo", free_port(), free_port()
        away = shutil.ignore_patterns(".*", "instance", "tests", "node_modules")
        shutil.copytree(ROOT, self.home, ignore=away)
        shutil.copy(ROOT / ".env.example", self.home)
        self.env = environment()
        ports = {"PORT": str(self.port), "SANDBOX_PORT": str(self.sandbox_port)}
        self.process = Process([sys.executable, "wsgi.py"], self.home, self.env | ports, home / "demo.log")
        self.process.wait_for(f"http://127.0.0.1:{self.port}/plans")
        eventually(lambda: "Ctrl-C" in self.process.log.read_text(), "the banner")
        self.add_rows()
        stamp = "svix-id: msg_3\nsvix-timestamp: 1788256800\nsvix-signature: v1,AAAA\n"
        (self.home / "headers.txt").write_text(stamp)
        (self.home / "body.json").write_text("{}")

    def add_rows(self) -> None:
        """What the commands are about: a user, an order that is held, an event that is set aside."""
        url = f"http://127.0.0.1:{self.port}"
        with requests.Session() as browser:
            page = browser.get(f"{url}/sign-up", timeout=20).text
            token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
            assert token, page
            form = {"name": "Asha Rao", "email": "asha@example.com", "password": "a sentence to remember"}
            browser.post(f"{url}/sign-up", data=form | {"csrf_token": token[1]}, timeout=20)
        with sqlite3.connect(self.home / "instance" / "shop.db", timeout=20) as db:
            now = "2026-09-01 10:00:00"
            (user_id,) = db.execute("SELECT id FROM users WHERE email = 'asha@example.com'").fetchone()
            order = {
                "ref": REF, "user_id": user_id, "state": "held", "customer_key": f"user-{user_id}",
                "plan_id": "plan_1", "plan_name": "Starter", "currency": "inr", "billing_period": "MONTHLY",
                "amount": "499", "return_url": f"{url}/orders/{REF}", "created_at": now,
                "status_changed_at": now, "attempts": 0,
            }  # fmt: skip
            insert(db, "checkout_orders", order)
            for message_id in ("msg_1", "msg_2"):
                event = {
                    "id": message_id, "event_type": "brand.new", "object_id": "b", "customer_id": "",
                    "signed": 1, "received_at": now, "attempts": 1,
                }  # fmt: skip
                insert(db, "checkout_webhook_events", event)

    def hold_order(self) -> None:
        with sqlite3.connect(self.home / "instance" / "shop.db", timeout=20) as db:
            db.execute(
                "UPDATE checkout_orders SET state = 'held', next_attempt_at = NULL WHERE ref = ?", (REF,)
            )

    def run(self, command: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode in codes, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout


def insert(db: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("docs"))
    yield demo
    demo.process.stop()


# -- how each kind of command is tried -----------------------------------------------------------------


def run(demo: Demo, command: str) -> None:
    demo.hold_order()
    demo.run(command)


def check(demo: Demo, command: str) -> None:
    """It may find something, such as that the demo is no production shop, and say so by its exit code."""
    assert "Traceback" not in demo.run(command, codes=(0, 1))


def one_turn(demo: Demo, command: str) -> None:
    """A worker runs until it is stopped: here it starts, and stops when it is told to."""
    process = subprocess.Popen(
        ["timeout", "-s", "TERM", "3", *shlex.split(command)], cwd=demo.home, env=demo.env
    )
    assert process.wait(60) in (0, 124)


def operator(demo: Demo, command: str) -> None:
    demo.run(command.replace("EMAIL", "asha@example.com"))


def sandbox(demo: Demo, command: str) -> None:
    demo.run(command.replace("127.0.0.1:8001", f"127.0.0.1:{demo.sandbox_port}"))


def served(demo: Demo, command: str) -> None:
    metrics = {"STOREFRONT_URL": f"http://127.0.0.1:{demo.port}", "METRICS_TOKEN": "none"}
    demo.env |= metrics
    try:
        demo.run(command, codes=(0, 22))  # 22: the demo has no METRICS_TOKEN, so there is no /metrics
    finally:
        for name in metrics:
            del demo.env[name]


def help_only(demo: Demo, command: str) -> None:
    demo.run(f"{command} --help")


def made(demo: Demo, command: str) -> None:
    words = shlex.split(command)[1:]
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, env=demo.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def installed(demo: Demo, command: str) -> None:
    """Everything is there already; this asks nobody."""
    wanted = shlex.split(command)[-1]
    check = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", wanted]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def new_language(demo: Demo, command: str) -> None:
    """After `make texts`, which makes the file that this one reads."""
    demo.run("pybabel -q extract -F babel.cfg -k lazy -o translations/messages.pot .")
    demo.run(command.removeprefix(".venv/bin/").replace("<language>", "ta"))
    assert (demo.home / "translations/ta/LC_MESSAGES/messages.po").exists()


def of_the_tests(_demo: Demo, command: str) -> None:
    """They measure this machine or the code, some for minutes: the module exists."""
    assert importlib.util.find_spec(shlex.split(command)[-1])


def elsewhere(_demo: Demo, _command: str) -> None:
    """Run by tests/adoption or tests/test_image.py, or started by the fixture above."""


How = Callable[[Demo, str], None]
HOW: tuple[tuple[str, How], ...] = (
    (r"make [\w =\"\-@.]+", made),
    (r"python3 -m venv .venv", help_only),
    (r"\.venv/bin/pip install -r requirements.*\.txt", installed),
    (r"\.venv/bin/pybabel init .*", new_language),
    (r"(\.venv/bin/)?python wsgi\.py", elsewhere),
    (r"gunicorn wsgi:app", help_only),
    (r"flask --app wsgi (checkout|emails) worker", one_turn),
    (r"flask --app wsgi (preflight|checkout check|webhooks diagnose .*)", check),
    (r"flask --app wsgi checkout worker \|.*", elsewhere),
    (r"flask --app wsgi operator .*", operator),
    (r"flask --app wsgi .*", run),
    (r"flask --app storefront\.sandbox .*", sandbox),
    (r"curl .*STOREFRONT_URL.*", served),
    (r"curl .*", sandbox),
    (r"docker .*", elsewhere),
    (r"python -m tests\.\S+", of_the_tests),
    (r"(CLOCK_FILE=\S+ )?flexprice-sandbox serve .*", elsewhere),
    (
        r"(cp|mkdir|pip) .*|flask (checkout|db|reconcile|preflight)\b.*|flask --app docs/minimal_app .*",
        elsewhere,
    ),
)


@pytest.mark.thorough
@pytest.mark.parametrize("command", ALL)
def test_documented_command_runs(demo: Demo, command: str) -> None:
    how = next((how for pattern, how in HOW if re.fullmatch(pattern, command)), None)
    assert how, f"no test runs this command: {command}"
    how(demo, command)
