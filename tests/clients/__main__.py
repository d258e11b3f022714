"""Runs each client against a store of its own, and says what ran, what failed and what is not installed.

`make clients`, or `python -m tests.clients Node` for those with that word in their name. Exit code 1 if a
client failed; a missing tool is reported and does not count as a failure.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TIMEOUT_S = 600  # the first build of Go's net/http takes minutes on a slow machine
HEADERS = {"id": "svix-id", "timestamp": "svix-timestamp", "signature": "svix-signature"}


class Client(NamedTuple):
    """:param prepare: run before, for what has to be installed or compiled."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    prepare: tuple[str, ...] = ()


CLIENTS = (
    Client("Python SDK, sync", ("python:flexprice",), (sys.executable, "sdk.py", "sync")),
    Client("Python SDK, async", ("python:flexprice",), (sys.executable, "sdk.py", "async")),
    Client("curl and openssl", ("curl", "openssl", "base64", "od"), ("sh", "sale.sh")),
    Client("Node, fetch", ("node",), ("node", "fetch.mjs")),
    Client(
        "Node, @flexprice/sdk 2.0.1",
        ("node", "npm"),
        ("node", "sdk.mjs"),
        ("npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"),
    ),
    Client("Go, net/http", ("go",), ("go", "run", ".")),
)


def missing(client: Client) -> list[str]:
    """The tools and modules that this machine does not have."""
    return [need for need in client.needs if not _is_there(need)]


def _is_there(need: str) -> bool:
    kind, _, name = need.rpartition(":")
    return find_spec(name) is not None if kind else shutil.which(name) is not None


@contextmanager
def sandbox() -> Iterator[tuple[str, str]]:
    """A sandbox as people start it: its URL, and its secret."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    serve = [sys.executable, "-m", "storefront.sandbox", "serve", "--port", str(port)]
    with subprocess.Popen(
        serve, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as server:
        try:
            _await(f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}", "whsec_Y2xpZW50cyBvZiB0aGUgc2FuZGJveCwgcHJhY3RpY2U="
        finally:
            server.terminate()


def _await(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the sandbox did not start")


@contextmanager
def receiver(message: Path) -> Iterator[str]:
    """Writes the first message to files: the body, and each header that matters."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not message.with_suffix(".body").exists():
                message.with_suffix(".body").write_bytes(body)
                for name, header in HEADERS.items():
                    message.with_suffix(f".{name}").write_text(self.headers[header])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def run(client: Client, url: str, secret: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a copy of this folder, so that nothing is installed into it."""
    work = folder / client.name.replace(" ", "-")
    shutil.copytree(HERE, work, ignore=shutil.ignore_patterns("__pycache__"))
    key = f"sk_sandbox_client-{CLIENTS.index(client)}"
    with receiver(work / "message") as hook:
        environ = os.environ | {
            "API": f"{url}/v1",
            "CONTROL": f"{url}/_sandbox",
            "KEY": key,
            "SECRET": secret,
        }
        environ |= {"HOOK": hook, "MESSAGE": str(work / "message"), "PYTHONPATH": ""}
        _set_secret(environ["CONTROL"], key, secret)
        for command in filter(None, (client.prepare, client.command)):
            done = _done(command, work, environ)
            if done.returncode:
                break
    return done


def _done(command: tuple[str, ...], work: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that takes too long has failed."""
    try:
        return subprocess.run(
            command, cwd=work, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"not done after {TIMEOUT_S} s")


def _set_secret(control: str, key: str, secret: str) -> None:
    body = f'{{"webhook_secret": "{secret}"}}'.encode()
    request = urllib.request.Request(f"{control}/store", body, {"x-api-key": key}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def main() -> int:
    failed = False
    with sandbox() as (url, secret), tempfile.TemporaryDirectory() as folder:
        for client in CLIENTS:
            if not all(word in client.name for word in sys.argv[1:]):
                continue
            if lacking := missing(client):
                print(f"missing  {client.name}: {', '.join(lacking)} is not installed here")
                continue
            done = run(client, url, secret, Path(folder))
            failed |= done.returncode != 0
            said = done.stdout.strip().splitlines()
            print(f"ok       {client.name}: {said[-1]}" if not done.returncode else f"FAILED   {client.name}")
            if done.returncode:
                print(done.stdout + done.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
