"""The documents keep their word: every command in them runs, every file and name they point at is there."""

import ast
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
import yaml
from sqlalchemy import delete
from werkzeug.serving import make_server

from storefront import create_app, inbox, shoppers
from storefront.database import writing, writing_rows
from storefront.extensions import db
from storefront.flexprice import Event
from storefront.lifecycle import State
from storefront.models import Heartbeat, InboxMessage
from storefront.sandbox import create_app as create_sandbox
from storefront.sandbox.settings import SandboxSettings
from storefront.settings import Settings
from storefront.web import metrics

ROOT = Path(__file__).parent.parent
TEXTS = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")) if path.name != "CHANGELOG.md"]
PROGRAMS = "flask|make|python3?|pip|curl|docker|cp|rm|\\.venv/bin/\\w+"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(path):
    """Of fenced blocks, of indented ones, and between backticks in a sentence."""
    text = path.read_text()
    blocks = [block for language, block in FENCE.findall(text) if language == "sh"]
    found = [line for block in blocks for line in block.splitlines()]
    prose = FENCE.sub("", text)
    found += re.findall(rf"^ {{4}}((?:{PROGRAMS})\b.*)$", prose, re.MULTILINE)
    found += re.findall(rf"`((?:{PROGRAMS}) [^`]+)`", prose)
    return [" ".join(command.split()) for command in found]


ALL = sorted({(path.name, command) for path in TEXTS for command in commands(path)})


class Shop:
    """One that serves, with two messages and a shopper in it; the commands of the documents run on it."""

    def __init__(self, home):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.home, self.url = home, f"http://127.0.0.1:{self.port}"
        self.settings = {
            "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
            "FLEXPRICE_API_KEY": "sk_of_a_test",
            "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "STOREFRONT_URL": self.url,
            "SECRET_KEY": "thirty-two characters, or more..",
            "DATABASE_URL": f"sqlite:///{home}/shop.db",
            "MAIL_URL": "keep:",
            "MAIL_FROM": "shop@shop.example",
            "METRICS_TOKEN": "a-token-of-sixteen-or-more",
        }
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environ = {"PATH": path, "PYTHONPATH": str(ROOT)} | self.settings
        self.run("flask --app wsgi db upgrade")
        self.app = create_app(Settings.from_env(self.settings))
        with self.app.app_context(), writing():
            shoppers.sign_up("Asha Rao", "asha@example.com", "no password", datetime.now(UTC))
        (home / "headers.txt").write_text(
            "svix-id: msg_3\nsvix-timestamp: 1788256800\nsvix-signature: v1,AAAA\n"
        )
        (home / "body.json").write_text("{}")

    def receive(self):
        """Two messages as they came: the first waits, the second is handled."""
        now, body = datetime.now(UTC), b'{"event_type":"brand.new","brand":{"id":"b"}}'
        with self.app.app_context():
            with writing_rows() as kept:
                kept.execute(delete(InboxMessage))
                for message_id in ("msg_1", "msg_2"):
                    inbox.store(kept, message_id, Event.from_body(body), body, now)
            with writing():
                first, second = inbox.claim(now, 2)
                inbox.again(first, "Flexprice does not say so yet", now)
                inbox.done(second, "noted", now)

    def run(self, command):
        shell = ["sh", "-c", command]
        done = subprocess.run(
            shell, cwd=self.home, env=self.environ, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def started(self, command):
        return subprocess.Popen(
            shlex.split(command),
            cwd=self.home,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


class Practice:
    """A sandbox that serves, for the commands that speak to one; its messages go to the shop."""

    def __init__(self, home, shop_url):
        self.server = make_server("127.0.0.1", 0, lambda *request: self.app(*request), threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.app = create_sandbox(
            SandboxSettings(
                database_url=f"sqlite:///{home}/sandbox.db",
                url=self.url,
                webhook_url=f"{shop_url}/webhooks/flexprice",
                webhook_secrets=("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",),
            )
        )
        serving = {"poll_interval": 0.05}
        threading.Thread(target=self.server.serve_forever, kwargs=serving, daemon=True).start()

    def ask(self, path, **body):
        key = {"x-api-key": self.app.extensions["sandbox_settings"].api_key}
        answer = requests.post(f"{self.url}/v1/{path}", json=body, headers=key, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    def new_session(self):
        """Of a customer of its own, with its first messages on record."""
        requests.delete(f"{self.url}/_sandbox/faults", timeout=20)
        customer = f"asha-{secrets.token_hex(4)}"
        self.ask("customers", external_id=customer, name="Asha Rao")
        (plan,) = [p for p in self.ask("plans/search")["items"] if p["name"] == "Starter"]
        wanted = {"plan_id": plan["id"], "currency": "INR", "billing_period": "MONTHLY"}
        return self.ask(
            "checkout/sessions",
            customer_external_id=customer,
            action="create_subscription",
            payment_provider="razorpay",
            configuration={"create_subscription_params": wanted},
        )["id"]

    def newest_message(self):
        found = requests.get(f"{self.url}/_sandbox/deliveries", timeout=20).json()["items"]
        return found[0]["event_id"]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.app.extensions["sandbox"].close()


@pytest.fixture(scope="module")
def practice(shop):
    shop.practice = Practice(shop.home, shop.url)
    yield shop.practice
    shop.practice.close()


def ended(process):
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.decode()


def wait_for(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = Shop(tmp_path_factory.mktemp("docs"))
    server = shop.started(f"python -m storefront.serve --processes 1 --listen 127.0.0.1:{shop.port}")
    try:
        wait_for(lambda: answers(shop.url))
        yield shop
    finally:
        code, output = ended(server)
        with shop.app.app_context():
            db.session.remove()
            db.engine.dispose()
    assert code == 0, output


def answers(url):
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False


# -- how each kind of command is tried -----------------------------------------------------------------


def in_the_shop(shop, command):
    """In this process, for speed; the doctor ends with 1 where not everything is ready."""
    arguments = shlex.split(command.replace("EMAIL", "asha@example.com"))[3:]
    for name in ("headers.txt", "body.json"):
        arguments = [str(shop.home / name) if argument == name else argument for argument in arguments]
    shop.receive()
    done = shop.app.test_cli_runner().invoke(args=arguments)
    finds_something = "doctor" in arguments and len(arguments) != 2  # not: what was refused lately
    assert done.exit_code == (1 if finds_something else 0), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)


def in_the_sandbox(shop, command):
    session = shop.practice.new_session()
    command = command.replace("cs_…", session).replace("msg_…", shop.practice.newest_message())
    arguments = shlex.split(command, comments=True)[3:]
    environ = {"SANDBOX_URL": shop.practice.url}
    done = shop.practice.app.test_cli_runner().invoke(args=arguments, env=environ, input="y\n")
    assert done.exit_code == 0, done.output


def levers(shop, command):
    shop.run(f"{command.replace('http://127.0.0.1:8001', shop.practice.url)} --fail --silent --show-error")


def run(shop, command):
    shop.run(command)


def worker(shop, command):
    with shop.app.app_context(), writing():
        db.session.execute(delete(Heartbeat))
    process = shop.started(command)
    wait_for(lambda: requests.get(f"{shop.url}/healthz", timeout=5).json()["worker"] == "ok")
    code, output = ended(process)
    assert code == 0, output


def served(shop, command):
    """Served by this very command, but for the port."""
    assert "-m storefront.serve" in command
    shop.run(f"{command} --help")


def made(shop, command):
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, env=shop.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def installed(shop, command):
    """Everything is there already; this asks nobody."""
    pip = command.replace(".venv/bin/pip", f"{sys.executable} -m pip")
    done = subprocess.run(
        [*shlex.split(pip), "--quiet", "--disable-pip-version-check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def new_environment(shop, command):
    shop.run(f"{command} --without-pip")
    assert (shop.home / ".venv" / "bin" / "python").exists()


def in_test(name):
    """Run by another test, which reads the document or does the same at greater length."""

    def there(shop, command):
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / "tests" / file).read_text()

    return there


IMAGE = "test_image.py::test_the_image_serves_is_healthy_and_stops_when_it_is_told_to"
COPYING = "test_copying.py::test_a_bare_app_that_follows_the_guide_sells_a_plan"
DEMO = "test_wsgi.py::test_the_demo_starts_says_what_to_try_and_stops_cleanly"

HOW = (
    (r"make [\w =\"-]+", made),
    (r"python3 -m venv .venv", new_environment),
    (r"\.venv/bin/pip install -r requirements.*\.txt", installed),
    (
        r"(\.venv/bin/)?python wsgi\.py",
        in_test(DEMO),
    ),
    (r"python -m storefront\.serve.*", served),
    (r"flask --app wsgi db upgrade", run),
    (r"flask --app wsgi work", worker),
    (r"flask --app wsgi (doctor|operator|inbox|reconcile)\b.*", in_the_shop),
    (r"flask --app storefront\.sandbox .*", in_the_sandbox),
    (r"curl .*/_sandbox/.*", levers),
    (r"curl .*", run),
    (r"docker .*", in_test(IMAGE)),
    (
        r"(cp|rm) .*|flask --app app .*",
        in_test(COPYING),
    ),
)


@pytest.mark.parametrize(("text", "command"), ALL)
def test_every_command_in_the_documents_works(shop, practice, text, command):
    how = next((how for pattern, how in HOW if re.fullmatch(pattern, command)), None)
    assert how, f"{text}: nobody tries this command: {command}"
    how(shop, command)


def test_blocks_are_commands_python_or_drawings():
    """What is in another language, nothing here would notice when it rots."""
    languages = {language for path in TEXTS for language, _ in FENCE.findall(path.read_text())}
    assert languages <= {"sh", "python", "mermaid"}


# -- what they point at --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", FENCE.sub("", path.read_text()))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_file_and_name_in_the_code_is_there(path):
    pointed = re.findall(
        r"`((?:storefront|templates|static|tests)/[\w./-]*)`(?: `([\w.]+)`)?", path.read_text()
    )
    missing = [f"{file} {name}" for file, name in pointed if not is_there(file, name)]
    assert missing == []


def test_every_difference_names_the_line_of_ours_that_handles_it():
    table = re.findall(r"^\| (?!what|---)(.*) \|$", (ROOT / "docs/differences.md").read_text(), re.MULTILINE)
    handled = [re.findall(r"`storefront/[\w/.]+` `[\w.]+`", row.rpartition(" | ")[2]) for row in table]
    assert len(table) == 24  # all that we know of
    assert all(handled)


def is_there(file, name):
    if "sandbox*" in file or "artifacts" in file:  # a pattern; a folder that is made when it is needed
        return True
    place = ROOT / file
    if not name or not file.endswith(".py"):
        return place.exists()
    return place.exists() and name in names(ast.parse(place.read_text()).body)


def names(body, inside=""):
    """All that a module or a class defines: function, CONSTANT, Class, Class.method, Class.field."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield inside + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{node.name}.")
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (inside + target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_setting_they_name_exists(path):
    example = (ROOT / ".env.example").read_text()
    known = set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) | {"CREATE_TIMEOUT"}
    named = set(re.findall(r"[`$]([A-Z]+_[A-Z_]+)\b(?=[`=/\"])", path.read_text()))
    assert {name for name in named - known if not name.startswith(("SANDBOX_", "REQUIRE_", "SOAK_"))} == set()


# -- the alerts -----------------------------------------------------------------------------------------

RULES = [
    rule
    for group in yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_watches_a_figure_we_show(rule, shop):
    assert rule["annotations"]["summary"]
    assert re.search(rf"^\| .*\b{rule['alert']}\b", (ROOT / "docs/operating.md").read_text(), re.MULTILINE)
    figures = re.findall(r"\bstorefront_\w+", rule["expr"])
    assert figures
    assert set(figures) <= set(metrics.HELP)
    assert rule["expr"].count("(") == rule["expr"].count(")")
    for states in re.findall(r'state=~?"([^"]+)"', rule["expr"]):
        assert set(states.split("|")) <= set(State)
    for endpoint in re.findall(r'endpoint="([^"]+)"', rule["expr"]):
        assert endpoint in shop.app.view_functions
