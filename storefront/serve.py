"""The production server, `python -m storefront.serve`: a few processes that share one port.

Waitress reads a whole request before it gives it a thread, so slow or silent clients keep nobody waiting.
One Python process uses one core: `--processes` says how many there are, each with its own `--threads`.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from waitress import create_server, wasyncore  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds that requests under way have after a SIGTERM
TOO_SOON = 3.0  # a process that ends so many seconds after its start would end so again
LIMITS = {
    "max_request_body_size": 1024 * 1024,  # the shop's own limit, with its page, is lower
    "connection_limit": 1000,  # open connections cost a little memory, no thread
    "channel_timeout": 30,  # seconds that a silent connection is kept
    "asyncore_use_poll": True,
    "clear_untrusted_proxy_headers": False,  # whom to believe is the shop's own setting
    "ident": "",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m storefront.serve", description=__doc__)
    parser.add_argument("app", nargs="?", default="wsgi:app", help="module:variable (default: wsgi:app)")
    parser.add_argument("--listen", default="127.0.0.1:8000", help="host:port (default: 127.0.0.1:8000)")
    parser.add_argument("--processes", type=int, default=2, help="default: 2")
    parser.add_argument("--threads", type=int, default=4, help="in each process (default: 4)")
    asked = parser.parse_args()
    host, _, port = asked.listen.rpartition(":")
    return Parent(asked.app, (host.strip("[]"), int(port)), asked.processes, asked.threads).run()


class Parent:
    """Keeps so many processes alive, and ends them in good order."""

    def __init__(self, app: str, address: tuple[str, int], processes: int, threads: int) -> None:
        self.app, self.address, self.threads = app, address, threads
        self.wanted = processes
        self.started: dict[int, float] = {}
        self.stopping = False

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        for _ in range(self.wanted):
            self.start()
        code = 0
        while self.started:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                break
            lived = time.monotonic() - self.started.pop(pid)
            if self.stopping:
                continue
            if lived < TOO_SOON:
                code = os.waitstatus_to_exitcode(status) or 1
                self.stop()
            else:
                log.error("process %s ended after %.0f seconds; starting another", pid, lived)
                self.start()
        return code

    def start(self) -> None:
        pid = os.fork()
        if pid:
            self.started[pid] = time.monotonic()
            return
        try:
            serve(self.app, self.address, self.threads)
        except SystemExit as end:
            if isinstance(end.code, str):  # why the shop refuses to start
                print(end.code, file=sys.stderr, flush=True)
            os._exit(end.code if isinstance(end.code, int) else 1)
        except BaseException:
            logging.exception("the process broke")
            os._exit(1)
        os._exit(0)

    def stop(self, *_: object) -> None:
        self.stopping = True
        for pid in self.started:
            os.kill(pid, signal.SIGTERM)


def serve(app: str, address: tuple[str, int], threads: int) -> None:
    """One process: until a SIGTERM, and then until the requests under way are answered."""
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: stop.append(got))
    module, _, name = app.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    application = getattr(import_module(module), name)

    channels: dict[int, Any] = {}
    with listening(address) as door:
        server = create_server(application, map=channels, sockets=[door], threads=threads, **LIMITS)
        log.info("process %s serves http://%s:%s", os.getpid(), *address)
        while not stop:
            wasyncore.loop(timeout=0.5, use_poll=True, map=channels, count=1)
        server.handle_accept()  # who knocked in the last moment
        server.accepting = False
        until = time.monotonic() + GRACE
        while time.monotonic() < until and any(map(under_way, server.active_channels.values())):
            wasyncore.loop(timeout=0.05, use_poll=True, map=channels, count=1)
        server.task_dispatcher.shutdown()


def listening(address: tuple[str, int]) -> socket.socket:
    """A door of this process's own to the common port: the kernel shares the callers out."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    door = socket.socket(family, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.bind(address)
    return door


def under_way(channel: Any) -> bool:
    return bool(channel.requests or channel.total_outbufs_len)


if __name__ == "__main__":
    sys.exit(main())
