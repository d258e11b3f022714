"""A load of HTTP requests from one thread: so many connections, each sends when it has its answer."""

import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE = 30.0  # seconds until an answer that does not come is an error


@dataclass
class Load:
    """What came of it. Seconds; `waits` has one entry for each answer."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    errors: int = 0

    @property
    def answers(self) -> int:
        return len(self.waits)

    @property
    def rate(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


class _Line:
    """One connection, kept alive for as long as the server likes."""

    def __init__(self, port: int, requests: Iterator[bytes], watch: selectors.BaseSelector) -> None:
        self.port, self.requests, self.watch = port, requests, watch
        self.sock: socket.socket | None = None
        self.got = b""
        self.sent_at = 0.0

    def send(self) -> bool:
        """False when there is nothing left to send."""
        request = next(self.requests, None)
        if request is None:
            return False
        self.got = b""
        self.sent_at = time.perf_counter()
        self._connected().sendall(request)
        return True

    def _connected(self) -> socket.socket:
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.watch.register(self.sock, selectors.EVENT_READ, self)
        return self.sock

    def close(self) -> None:
        if self.sock is not None:
            self.watch.unregister(self.sock)
            self.sock.close()
            self.sock = None

    def receive(self) -> int | None:
        """The status of a whole answer; None while it is not whole. Raises OSError when the line is cut."""
        piece = self._connected().recv(262144)
        if not piece:
            raise ConnectionError("hung up")
        self.got += piece
        head, mark, body = self.got.partition(b"\r\n\r\n")
        if not mark:
            return None
        lower = head.lower()
        status = int(head[9:12])
        if b"transfer-encoding: chunked" in lower:
            whole = body.endswith(b"0\r\n\r\n")
        else:
            start = lower.find(b"content-length:")
            length = int(lower[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0
            whole = len(body) >= length
        if not whole:
            return None
        if b"connection: close" in lower:  # waitress hangs up after a 204
            self.close()
        return status


def load(
    port: int, connections: int, seconds: float, requests: Iterator[bytes], patience: float = PATIENCE
) -> Load:
    """Send until the time is up or the requests are, then wait for the answers still owed."""
    result = Load()
    watch = selectors.DefaultSelector()
    began = time.perf_counter()
    until = began + seconds
    lines = 0
    for _ in range(connections):
        lines += _Line(port, requests, watch).send()
    while lines:
        ready = watch.select(timeout=patience)
        if not ready:
            result.errors += lines
            break
        for key, _ in ready:
            line = key.data
            try:
                status = line.receive()
            except OSError:
                result.errors += 1
                line.close()
                lines -= 1
                continue
            if status is None:
                continue
            now = time.perf_counter()
            result.waits.append(now - line.sent_at)
            result.statuses[status] = result.statuses.get(status, 0) + 1
            if now < until and line.send():
                continue
            line.close()
            lines -= 1
    result.seconds = time.perf_counter() - began
    watch.close()
    return result


def post(path: str, body: bytes, **headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Length: {len(body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, **headers: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode()
