"""docs/copying.md, done word by word: a bare Flask app takes our files and sells a plan."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from werkzeug.serving import make_server

from storefront.sandbox import create_app as create_sandbox
from storefront.sandbox.due import run_due
from storefront.sandbox.settings import SandboxSettings

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "copying.md").read_text()
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
KEY = "sk_sandbox_copying"
PATIENCE = 90  # seconds


def blocks(language):
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


BARE, INSTALLED, USERS = blocks("python")
TAKE, RUN, DOCTOR = blocks("sh")

OWN_SIGN_IN = """
from flask import request

@app.get("/my-sign-in")
def my_sign_in():
    let_into_the_shop(request.args["name"], request.args["email"])
    return "signed in"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(happened):
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
    return found


@pytest.fixture
def place(tmp_path):
    """The bare app, then the steps of the guide."""
    (tmp_path / "app.py").write_text(BARE)
    sh(TAKE, tmp_path, {"SHOP": str(ROOT)})
    for cache in tmp_path.rglob("__pycache__"):
        shutil.rmtree(cache)
    (tmp_path / "app.py").write_text(INSTALLED + USERS + OWN_SIGN_IN)
    return tmp_path


def sh(commands, place, environ):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", commands],
        cwd=place,
        env={"PATH": path} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def sandbox(tmp_path):
    port, home = free_port(), free_port()
    settings = SandboxSettings(
        database_url=f"sqlite:///{tmp_path}/sandbox.db",
        url=f"http://127.0.0.1:{port}",
        webhook_url=f"http://127.0.0.1:{home}/webhooks/flexprice",
        api_key=KEY,
        webhook_secrets=(SECRET,),
    )
    app = create_sandbox(settings)
    server = make_server("127.0.0.1", port, app, threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    app.home = home
    app.here = f"127.0.0.1:{port}"
    yield app
    server.shutdown()
    server.server_close()
    app.extensions["sandbox"].close()


@pytest.fixture
def environ(place, sandbox):
    return {
        "FLEXPRICE_API_URL": f"http://{sandbox.here}/v1",
        "FLEXPRICE_API_KEY": KEY,
        "FLEXPRICE_WEBHOOK_SECRET": SECRET,
        "STOREFRONT_URL": f"http://127.0.0.1:{sandbox.home}",
        "SECRET_KEY": "s" * 40,
        "DATABASE_URL": f"sqlite:///{place}/app.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@example.com",
        "PAYMENT_HOSTS": sandbox.here,
    }


def field(page, name):
    return re.search(rf'name="{name}"[^>]*?value="([^"]*)"', page)[1]


def test_a_bare_app_that_follows_the_guide_sells_a_plan(place, sandbox, environ):
    assert not (place / "storefront" / "sandbox").exists()
    upgrade, work = RUN.splitlines()
    upgraded = sh(upgrade, place, environ)
    assert upgraded.returncode == 0, upgraded.stderr
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    serve = [sys.executable, "-m", "storefront.serve", "app:app", "--processes", "1"]
    log = (place / "log.txt").open("w")
    processes = [
        subprocess.Popen(
            [*serve, "--listen", f"127.0.0.1:{sandbox.home}"], cwd=place, env=path | environ, stderr=log
        ),
        subprocess.Popen(work.split(), cwd=place, env=path | environ, stderr=log),
    ]
    try:
        sell(f"http://127.0.0.1:{sandbox.home}", sandbox)
        told = sh(DOCTOR, place, environ)
        assert "a forged message is refused" in told.stdout, told.stderr
    finally:
        for process in processes:
            process.terminate()
        ended = [process.wait(40) for process in processes]
        log.close()
    assert ended == [0, 0], (place / "log.txt").read_text()


def sell(home, sandbox):
    with requests.Session() as browser:
        eventually(lambda: answers(f"{home}/healthz"))
        assert "This was here before" in browser.get(f"{home}/", timeout=20).text

        who = {"name": "Asha Rao", "email": "asha@example.com"}
        assert browser.get(f"{home}/my-sign-in", params=who, timeout=20).text == "signed in"
        starter = re.search(r'href="(/plans/[^"?]+)[^"]*"[^>]*>Starter<', browser.get(f"{home}/plans").text)[
            1
        ]
        page = browser.get(home + starter, timeout=20).text
        wanted = {name: field(page, name) for name in ("csrf_token", "plan", "currency", "billing_period")}
        sent = browser.post(f"{home}/checkout", data=wanted, timeout=40, allow_redirects=False)
        assert (sent.status_code, sandbox.here in sent.headers["Location"]) == (303, True)

        paying = requests.get(sent.headers["Location"], timeout=20)
        action = re.search(r'action="([^"]*/pay)"', paying.text)[1]
        requests.post(
            requests.compat.urljoin(paying.url, action), data={"other": "success@razorpay"}, timeout=20,
            allow_redirects=False,
        )  # fmt: skip
        run_due(sandbox)
        eventually(lambda: "Starter" in browser.get(f"{home}/members", timeout=20).text)
        assert "Starter" in browser.get(f"{home}/letters", timeout=20).text


def answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
