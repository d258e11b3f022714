"""Sends several messages at the same time: each customer's in their order."""

import logging
import threading
from datetime import timedelta

from sqlalchemy import func, select

from ..settings import SandboxSettings
from ..store.control_rows import Delivery
from ..store.database import Database
from . import sender
from .sender import Message

log = logging.getLogger(__name__)

UNSENT_DELAY = timedelta(seconds=3)
Key = tuple[str, str]  # store, customer


class Dispatcher:
    """A few threads. A receiver that lets one of them wait delays that customer's messages, no others."""

    def __init__(self, database: Database, settings: SandboxSettings) -> None:
        self.database, self.settings = database, settings
        self._on_the_way: set[Key] = set()
        self._threads = 0
        self._moved = threading.Condition()

    def send_all(self, store: str) -> int:
        """Sends what is due in a store; returns when all is answered. Says how many attempts it made."""
        sent = 0
        with self._moved:
            self._threads += 1
        try:
            while True:
                sent += self._send(store)
                with self._moved:
                    self._moved.wait_for(lambda: not self._busy(store))
                if not self._is_due(store):
                    return sent
        finally:
            with self._moved:
                self._threads -= 1

    def start(self) -> None:
        """Sends what is due in any store, and waits for nothing."""
        for store in self.stores_with_deliveries():
            if self._is_due(store) and not self._may_wait(store):
                self._help(store)

    def hurry(self, store: str, customer: str, seconds: float) -> None:
        """Sends what is due to this customer, however busy all threads are; waits at most `seconds`."""
        self._start_thread(store, customer)
        with self._moved:
            self._moved.wait_for(
                lambda: (store, customer) not in self._on_the_way and not self._is_due(store, customer),
                seconds,
            )

    def stores_with_deliveries(self) -> list[str]:
        """The stores that have anything to send, now or later."""
        query = select(Delivery.store).where(Delivery.state == "due").group_by(Delivery.store)
        with self.database.engine.connect() as connection:
            return list(connection.execute(query.order_by(func.min(Delivery.id))).scalars())

    def _busy(self, store: str) -> set[str]:
        return {customer for owner, customer in self._on_the_way if owner == store}

    def _help(self, store: str) -> None:
        """One more thread, if there may be one."""
        with self._moved:
            if self._threads < self.settings.senders:
                self._start_thread(store)

    def _start_thread(self, store: str, customer: str | None = None) -> None:
        def work() -> None:
            try:
                self._send(store, customer)
            except Exception:
                log.exception("a message could not be sent")
            finally:
                with self._moved:
                    self._threads -= 1

        with self._moved:
            self._threads += 1
        threading.Thread(target=work, name="sandbox-sender", daemon=True).start()

    def _send(self, store: str, customer: str | None = None) -> int:
        """Until nothing is due (of this customer); says how many attempts were made."""
        sent = 0
        while messages := self._claim(store, customer):
            try:
                if customer is None and self._is_due(store):
                    self._help(store)
                sender.send(self.database, messages)
            finally:
                with self._moved:
                    self._on_the_way.discard((store, messages[0].customer_id))
                    self._moved.notify_all()
            sent += len(messages)
        return sent

    def _claim(self, store: str, customer: str | None) -> list[Message]:
        with self._moved:
            if customer is not None:
                self._moved.wait_for(lambda: (store, customer) not in self._on_the_way)
            with self.database.write(store) as session:
                messages = sender.claim(session, self.settings, self._busy(store), customer)
            self._on_the_way |= {(store, message.customer_id) for message in messages}
            return messages

    def _may_wait(self, store: str) -> bool:
        """Without an endpoint messages are built three seconds late, unless they are asked for before.

        Flexprice takes as long: what happens right after a message is in its body.
        """
        with self.database.read(store) as session:
            first = sender.due(session)
            late = first is not None and session.now() - first.due_at > UNSENT_DELAY
            return not late and not session.state.webhook_url

    def _is_due(self, store: str, customer: str | None = None) -> bool:
        busy = () if customer else self._busy(store)
        with self.database.read(store) as session:
            return sender.due(session, customer, busy) is not None
