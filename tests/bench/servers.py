"""Processes to be measured: started alike, watched by the kernel's own accounts, and ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A process and its children."""

    process: subprocess.Popen[bytes]
    port: int = 0

    def _pids(self) -> Iterator[int]:
        yield self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        yield from map(int, children.split())

    def cpu(self) -> float:
        """Seconds of processor time so far, user and kernel."""
        spent = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += int(fields[11]) + int(fields[12])
        return spent / TICKS

    def memory(self) -> float:
        """The largest process of them, resident, in MiB."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids()]
        return max(pages) * PAGE / 2**20


@contextmanager
def running(*command: str, port: int = 0, ready: str = "", **environ: str) -> Iterator[Running]:
    """A Python command, until the block ends. `ready`: the path that must answer first."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=inherited | {"PYTHONPATH": str(ROOT)} | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if ready:
            wait_for(port, ready, process)
        yield Running(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, path: str, process: subprocess.Popen[bytes] | None = None) -> None:
    import http.client

    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process and process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            line.request("GET", path)
            if line.getresponse().status < 500:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            line.close()
    raise RuntimeError(f"no answer on {path} after a minute")


@contextmanager
def served(app: str, environ: Mapping[str, str] | None = None, **how: Any) -> Iterator[Running]:
    """The documented start command, for the shop, the floors and the peers alike."""
    port = free_port()
    options = ["--processes", str(how.get("processes", 2)), "--threads", str(how.get("threads", 4))]
    command = ["-m", "storefront.serve", app, "--listen", f"127.0.0.1:{port}", *options]
    with running(*command, port=port, ready=how.get("ready", "/"), **(environ or {})) as server:
        yield server
