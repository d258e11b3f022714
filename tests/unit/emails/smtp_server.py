"""A mail server for tests: real sockets, real TLS, and the answers it was told to give."""

import socketserver
import ssl
import subprocess
import threading
import time
from pathlib import Path


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for an IP address or a host name: its file, and the key's."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    alternative = f"IP:{name}" if name[0].isdigit() else f"DNS:{name}"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    command += ["-addext", f"subjectAltName={alternative}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class MailServer(socketserver.ThreadingTCPServer):
    """`answers` maps a command ("RCPT", "DATA", …) to what is answered; `drip` sends bytes for ever.

    `drip_tls`: each TLS handshake begins with a long record that comes byte by byte.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, certificate: tuple[Path, Path] | None = None, implicit_tls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = int(self.server_address[1])
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, certificate))
        self.implicit_tls = implicit_tls
        self.answers: dict[str, str] = {}
        self.drip = self.drip_tls = False
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        if self.server.implicit_tls:
            self._start_tls()
        if self.server.drip:
            return self._drip()
        self._say("220 mail.test ESMTP")
        while line := self.rfile.readline():
            command = line.decode().strip()
            self.server.commands.append(command)
            verb = command.split()[0].upper()
            if not self._answer(verb):
                return None
        return None

    def _answer(self, verb: str) -> bool:
        if verb in self.server.answers:
            self._say(self.server.answers[verb])
        elif verb == "EHLO":
            starttls = "250-STARTTLS\r\n" if self.server.context and not self.server.implicit_tls else ""
            self._say(f"250-mail.test\r\n{starttls}250 AUTH PLAIN LOGIN")
        elif verb == "STARTTLS":
            self._say("220 go ahead")
            self._start_tls()
        elif verb == "DATA":
            self._say("354 end with a dot")
            self.server.messages.append(self._read_message())
            self._say("250 accepted")
        elif verb == "AUTH":
            self._say("235 signed in")
        elif verb == "QUIT":
            self._say("221 bye")
            return False
        else:
            self._say("250 ok")
        return True

    def _read_message(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def _start_tls(self) -> None:
        assert self.server.context
        if self.server.drip_tls:
            self.wfile.write(b"\x16\x03\x03\x3f\xff")  # a handshake record of 16 KB
            self._drip()
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)

    def finish(self) -> None:
        super().finish()
        self.request.close()  # after STARTTLS it is another one than the server's

    def _drip(self) -> None:
        """A byte now and then, so that no single read times out."""
        while True:
            self.wfile.write(b"2")
            time.sleep(0.05)

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())
