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
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from waitress import create_server, wasyncore  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

GRACE = 30.0  # seconds that requests and calls under way have after a SIGTERM
NEVER_SERVED = 3  # exit code of a process that could not start: another one could not either
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
        self.processes: set[int] = set()
        self.stopping = False
        self.pid = os.getpid()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.stop)
        for _ in range(self.wanted):
            self.start()
        code = 0
        while self.processes:
            pid, status = os.wait()
            self.processes.discard(pid)
            if self.stopping:
                continue
            if os.waitstatus_to_exitcode(status) == NEVER_SERVED:
                code = 1
                self.stop()
            else:
                log.error("process %s ended; starting another", pid)
                self.start()
        return code

    def start(self) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self.processes.add(pid)
            return
        code = NEVER_SERVED
        try:
            process = Process(self.app, self.address, self.threads)
            code = 1
            process.serve(parent)
            code = 0
        except SystemExit as end:  # why the shop refuses to start
            print(end.code, file=sys.stderr, flush=True)
        except BaseException:
            logging.exception("the process broke")
        os._exit(code)

    def stop(self, *_: object) -> None:
        if os.getpid() != self.pid:
            os._exit(NEVER_SERVED)  # a process told to stop in the moment of its birth
        self.stopping = True
        for pid in tuple(self.processes):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


class Process:
    """One of them: serves until a SIGTERM, and then until the requests under way are answered."""

    def __init__(self, app: str, address: tuple[str, int], threads: int) -> None:
        self.told: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _: self.told.append(got))
        module, _, name = app.partition(":")
        sys.path.insert(0, str(Path.cwd()))
        application = getattr(import_module(module), name)
        door = listening(address)
        self.channels: dict[int, Any] = {}
        self.server = create_server(application, map=self.channels, sockets=[door], threads=threads, **LIMITS)
        log.info("process %s serves http://%s:%s", os.getpid(), *address)

    def serve(self, parent: int) -> None:
        while not self.told and os.getppid() == parent:  # nobody would restart or stop an orphan
            self._turn(0.5)
        self.server.handle_accept()  # who knocked in the last moment
        self.server.accepting = False
        until = time.monotonic() + GRACE
        while time.monotonic() < until and any(map(under_way, self.server.active_channels.values())):
            self._turn(0.05)
        self.server.task_dispatcher.shutdown()
        for work in threading.enumerate():  # what was begun for somebody who has had their page
            if not work.daemon and work is not threading.main_thread():
                work.join(max(0.0, until - time.monotonic()))

    def _turn(self, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, use_poll=True, map=self.channels, count=1)


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
