"""The line between a shop and Flexprice: it carries calls, swallows them, or takes none up."""

import contextlib
import socket
import threading


class Line:
    def __init__(self, to: tuple[str, int]) -> None:
        self.to, self.swallows = to, False
        self.ends: list[socket.socket] = []
        self.port = 0
        self.carry()

    def carry(self) -> None:
        self._open(backlog=64)
        threading.Thread(target=self._accept, args=(self.door,), daemon=True).start()

    def hang_on_read(self) -> None:
        """Whoever calls is heard, and never answered."""
        self.hang_up()
        self.swallows = True
        self.carry()

    def hang_on_connect(self) -> None:
        """A full queue that nobody serves: the kernel drops whoever comes to it now."""
        self.hang_up()
        self._open(backlog=0)
        for _ in range(3):
            waiting = socket.socket()
            self.ends.append(waiting)
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", self.port))

    def hang_up(self) -> None:
        self.swallows = False
        with contextlib.suppress(OSError):
            self.door.shutdown(socket.SHUT_RDWR)  # wakes who waits for callers
        self.door.close()
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.ends.clear()

    def _open(self, backlog: int) -> None:
        self.door = socket.socket()
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.door.bind(("127.0.0.1", self.port))
        self.port = self.door.getsockname()[1]
        self.door.listen(backlog)

    def _accept(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = door.accept()
                self.ends.append(caller)
                if not self.swallows:
                    callee = socket.create_connection(self.to)
                    self.ends.append(callee)
                    for pair in ((caller, callee), (callee, caller)):
                        threading.Thread(target=_carry, args=pair, daemon=True).start()


def _carry(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while said := one.recv(65536):
            other.sendall(said)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
