"""A TCP tunnel between two processes: it passes bytes on, loses them, trickles them, or accepts nothing."""

import contextlib
import socket
import threading
import time


class Tunnel:
    """Listens on `port` of 127.0.0.1 and forwards to `target`. `swallows`: nothing is forwarded."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.swallows, self.trickles = target, False, False
        self.sockets: list[socket.socket] = []
        self.port = 0
        self.open()

    def open(self) -> None:
        self._listen(backlog=64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def hang_on_read(self) -> None:
        """Requests are taken and never answered."""
        self.close()
        self.swallows = True
        self.open()

    def trickle(self) -> None:
        """Answers come byte by byte, one every two seconds."""
        self.close()
        self.trickles = True
        self.open()

    def hang_on_connect(self) -> None:
        """A full backlog: the kernel drops new connections."""
        self.close()
        self._listen(backlog=0)
        for _ in range(3):
            waiting = socket.socket()
            self.sockets.append(waiting)
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", self.port))

    def close(self) -> None:
        """End the listener and every connection."""
        self.swallows = self.trickles = False
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self.sockets.clear()

    def _listen(self, backlog: int) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(backlog)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.sockets.append(client)
                if self.swallows:
                    continue
                server = socket.create_connection(self.target)
                self.sockets.append(server)
                pairs = ((client, server, False), (server, client, self.trickles))
                for source, sink, slowly in pairs:
                    threading.Thread(target=_forward, args=(source, sink, slowly), daemon=True).start()


def _forward(source: socket.socket, sink: socket.socket, slowly: bool) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 if slowly else 65536):
            sink.sendall(data)
            time.sleep(2 * slowly)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
