"""Real processes for the adoption tests: the sandbox, an app, and what stands between them.

`Relay` receives the sandbox's webhooks and decides whether the app gets them. `LossyApi` forwards calls to
the sandbox and can drop an answer. Neither needs the sandbox's own faults.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin

import requests

ROOT = Path(__file__).parent.parent.parent
KEY = "sk_sandbox_default"
SECRET = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ=="
START_TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(happened: Callable[[], Any], what: str = "it", timeout_s: float = 60) -> Any:
    """The first true value of `happened`; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.2)
    return found


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False


def environment(**extra: str) -> dict[str, str]:
    """Nothing of ours but the PATH of this Python, so that no variable of this machine is needed or heard."""
    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"} | extra


class Process:
    """A command that runs until the test ends; its output is in `log`."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("a") as output:
            self.popen = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)

    def wait_for(self, url: str) -> None:
        def up() -> bool:
            assert self.popen.poll() is None, self.log.read_text()
            return answers(url)

        eventually(up, f"an answer of {url}", START_TIMEOUT_S)

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


def run(command: list[str], cwd: Path, env: dict[str, str], ok: bool = True, timeout_s: int = 120) -> str:
    """Standard output and error of a command that must succeed (or, with `ok=False`, may fail)."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    output = done.stdout + done.stderr
    assert not ok or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{output}"
    return output


@dataclass
class Webhook:
    headers: dict[str, str]
    body: bytes


class Server:
    """A small HTTP server in a thread, one request per connection; `answer` decides the response."""

    def __init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                found = outer.answer(self.command, self.path, dict(self.headers), body)
                if found is None:  # hang up without an answer
                    return
                status, headers, content = found
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = respond

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        raise NotImplementedError

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


class Relay(Server):
    """Between the sandbox's webhooks and the app: forwards, or drops (and acknowledges) them."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.dropping = False
        self.received: list[Webhook] = []
        super().__init__()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        webhook = Webhook(headers, body)
        self.received.append(webhook)
        status = 204 if self.dropping else self.deliver(webhook)
        return status, {}, b""

    def deliver(self, webhook: Webhook) -> int:
        """Post it to the app, byte for byte; returns the status (502 if the app is not there)."""
        passed = {k: v for k, v in webhook.headers.items() if k.lower() not in ("host", "content-length")}
        with suppress(requests.ConnectionError):
            return requests.post(self.target, data=webhook.body, headers=passed, timeout=30).status_code
        return 502

    def deliver_copies(self, webhook: Webhook, copies: int) -> list[int]:
        """The same webhook `copies` times at once; returns the statuses."""
        with ThreadPoolExecutor(copies) as pool:
            return list(pool.map(self.deliver, [webhook] * copies))

    def wait_for(self, event_type: str) -> Webhook:
        """The newest webhook of this type, once there is one."""
        wanted = event_type.encode()
        return eventually(
            lambda: next((w for w in reversed(self.received) if wanted in w.body), None), event_type
        )


class LossyApi(Server):
    """In front of the sandbox's API: forwards each call, and drops the answers that a test asked to lose."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.lose: str | None = None  # the path whose next successful answer is lost
        super().__init__()

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        passed = {
            k: v for k, v in headers.items() if k.lower() not in ("host", "content-length", "connection")
        }
        found = requests.request(method, self.target + path, data=body, headers=passed, timeout=30)
        if method == "POST" and path == self.lose and found.ok:
            self.lose = None
            return None
        kept = {k: v for k, v in found.headers.items() if k.lower() in ("content-type", "x-request-id")}
        return found.status_code, kept, found.content


class Sandbox:
    """`python -m storefront.sandbox` on a free port; `clock_file` gets the seconds by which it is ahead."""

    def __init__(self, home: Path) -> None:
        port = free_port()
        self.clock_file = home / "clock"
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}"
        env = environment(
            SANDBOX_PORT=str(port),
            SANDBOX_URL=self.url,
            SANDBOX_DATABASE_URL=f"sqlite:///{home}/sandbox.db",
            SANDBOX_WEBHOOK_URL="",
            FLEXPRICE_API_KEY=KEY,
            FLEXPRICE_WEBHOOK_SECRET=SECRET,
            CLOCK_FILE=str(self.clock_file),
        )
        self.process = Process([sys.executable, "-m", "storefront.sandbox"], ROOT, env, home / "sandbox.log")
        self.process.wait_for(f"{self.url}/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def control(self, path: str, method: str = "POST", **body: Any) -> Any:
        """A call of the control API, which must succeed."""
        url, headers = f"{self.url}/_sandbox/{path}", {"x-api-key": KEY}
        answer = requests.request(method, url, json=body, headers=headers, timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def start_again(self, webhook_url: str) -> None:
        """Empty the store and its clock, and send its webhooks elsewhere."""
        self.control("reset")
        self.control("store", "PUT", webhook_url=webhook_url, webhook_secret=SECRET)

    def plan(self, name: str) -> str:
        """The id of the plan with this name."""
        found = requests.post(
            f"{self.url}/v1/plans/search", json={}, headers={"x-api-key": KEY}, timeout=20
        ).json()
        return str(next(plan["id"] for plan in found["items"] if plan["name"] == name))

    def pay(self, link: str) -> str:
        """Pay on the payment page, as a browser does; returns where it sends the shopper."""
        page = requests.get(link, timeout=20)
        action = re.search(r'action="([^"]*/pay)"', page.text)
        assert action, page.text
        url = urljoin(page.url, action[1])
        paid = requests.post(url, data={"other": "success@razorpay"}, timeout=20, allow_redirects=False)
        assert paid.status_code in (302, 303), paid.text
        return paid.headers["Location"]
