"""Several messages on their way at once: each customer's in their order, and nobody waits for another's."""

import logging
import threading

from sqlalchemy import Connection

from storefront.sandbox._previous import hooks
from storefront.sandbox._previous.settings import SandboxSettings
from storefront.sandbox._previous.store import Store

log = logging.getLogger(__name__)


class Senders:
    """A few hands. A shop that lets one of them wait delays the messages about that customer, no others."""

    def __init__(self, store: Store, settings: SandboxSettings) -> None:
        self.store, self.settings = store, settings
        self._on_the_way: set[str] = set()  # customers
        self._hands = 0
        self._moved = threading.Condition()

    def send_all(self) -> int:
        """Sends what is due; returns when all is answered, whoever has it in hands. Says how many it sent."""
        sent = 0
        with self._moved:
            self._hands += 1
        try:
            while True:
                sent += self._send()
                with self._moved:
                    self._moved.wait_for(lambda: not self._on_the_way)
                if not self._is_due():
                    return sent
        finally:
            with self._moved:
                self._hands -= 1

    def start(self) -> None:
        """Sends what is due, and waits for nothing."""
        if self._is_due():
            self._help()

    def hurry(self, customer: str, seconds: float) -> None:
        """What is due to this one, however busy all hands are. Waits for the answers, and so long at most."""
        self._lend_a_hand(customer)
        with self._moved:
            self._moved.wait_for(
                lambda: customer not in self._on_the_way and not self._is_due(customer), seconds
            )

    def _help(self) -> None:
        with self._moved:
            if self._hands < self.settings.senders:
                self._lend_a_hand()

    def _lend_a_hand(self, customer: str | None = None) -> None:
        def work() -> None:
            try:
                self._send(customer)
            except Exception:
                log.exception("a message of the sandbox's stumbled")
            finally:
                with self._moved:
                    self._hands -= 1

        with self._moved:
            self._hands += 1
        threading.Thread(target=work, name="sandbox-sender", daemon=True).start()

    def _send(self, customer: str | None = None) -> int:
        """Until none is left (of this customer); says how many attempts were made."""
        sent = 0
        while attempts := self._claim(customer):
            try:
                if customer is None:
                    self.start()
                hooks.send(self.store, self.settings, attempts)
            finally:
                with self._moved:
                    self._on_the_way.discard(attempts[0].customer)
                    self._moved.notify_all()
            sent += len(attempts)
        return sent

    def _claim(self, customer: str | None) -> list[hooks.Attempt]:
        with self._moved:
            self._moved.wait_for(lambda: customer not in self._on_the_way)
            with self.store.writing() as conn:
                first = self._next(conn, customer)
                attempts = hooks.claim(conn, self.settings, first) if first else []
            self._on_the_way |= {attempt.customer for attempt in attempts}
            return attempts

    def _next(self, conn: Connection, customer: str | None) -> hooks.Due | None:
        return hooks.next_due(conn, customer, self._on_the_way)

    def _is_due(self, customer: str | None = None) -> bool:
        with self.store.reading() as conn:
            return self._next(conn, customer) is not None
