"""HTTP load from one thread: each of some connections sends its next request when it has its answer."""

import http.client
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

ANSWER_TIMEOUT_S = 30.0


@dataclass
class Load:
    """What came of it: how long it took, and a waiting time in seconds for each answer."""

    seconds: float = 0.0
    waits_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.waits_s) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.waits_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def check(self) -> "Load":
        """A figure of refusals is no figure."""
        good = sum(count for status, count in self.statuses.items() if status < 400)
        if self.errors or not good or good < 0.99 * len(self.waits_s):
            raise RuntimeError(f"{self.errors} errors, answers {self.statuses}")
        return self


class Connection:
    """One connection, kept alive for as long as the server likes."""

    def __init__(self, port: int, requests: Iterator[bytes], selector: selectors.BaseSelector) -> None:
        self.port, self.requests, self.selector = port, requests, selector
        self.sock: socket.socket | None = None
        self.received, self.sent_at_s = b"", 0.0

    def send_next(self) -> bool:
        """Send the next request; False when there is none."""
        request = next(self.requests, None)
        if request is None:
            return False
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIMEOUT_S)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(self.sock, selectors.EVENT_READ, self)
        self.received, self.sent_at_s = b"", time.perf_counter()
        self.sock.sendall(request)
        return True

    def read(self) -> int | None:
        """The status of a whole answer; None while it is not whole.

        :raises OSError: the server closed the connection without an answer.
        """
        assert self.sock is not None
        piece = self.sock.recv(262_144)
        if not piece:
            raise ConnectionError("closed")
        self.received += piece
        head, end, body = self.received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if not end or len(body) < length:
            return None
        if b"connection: close" in lines:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        if self.sock is not None:
            self.selector.unregister(self.sock)
            self.sock.close()
            self.sock = None


def load(port: int, connections: int, seconds: float, requests: Iterator[bytes]) -> Load:
    """Send until the time is up or the requests are, then wait for the answers that are still due."""
    result, selector = Load(), selectors.DefaultSelector()
    started_s = time.perf_counter()
    active = sum(Connection(port, requests, selector).send_next() for _ in range(connections))
    while active:
        ready = selector.select(timeout=ANSWER_TIMEOUT_S)
        if not ready:
            result.errors += active
            break
        for key, _ in ready:
            active -= not _advance(key.data, result, started_s + seconds)
    result.seconds = time.perf_counter() - started_s
    selector.close()
    return result


def _advance(connection: Connection, result: Load, until_s: float) -> bool:
    """Read what came; whether the connection goes on."""
    try:
        status = connection.read()
    except OSError:
        result.errors += 1
        connection.close()
        return False
    if status is None:
        return True
    now_s = time.perf_counter()
    result.waits_s.append(now_s - connection.sent_at_s)
    result.statuses[status] = result.statuses.get(status, 0) + 1
    if now_s < until_s and connection.send_next():
        return True
    connection.close()
    return False


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A raw HTTP/1.1 request to 127.0.0.1; `_` in a header's name stands for `-`."""
    fields = {"Host": "127.0.0.1", "Content-Length": str(len(body))} | headers
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def fetch(port: int, path: str) -> int:
    """The status of one GET; 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
