"""A storm of messages about orders that wait to be paid, and people who look at their page meanwhile."""

import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from queue import Empty, Queue
from urllib.parse import urlsplit

import requests
from sqlalchemy import func, insert, select
from werkzeug.security import generate_password_hash

from storefront.models import Access, InboxMessage, Letter, Order, Shopper

PASSWORD = "a sentence to remember"
EVENTS = (
    ("checkout.session.initiated", "pending"),
    ("checkout.session.completed", "completed"),
    ("checkout.session.completed", "completed"),  # another message about the same session
    ("subscription.activated", ""),
    ("payment.updated", ""),
)
SEED = time.time_ns()


class Storm:
    """Orders to be paid, the news of them, senders who deliver it, and people who look at their page."""

    def __init__(self, town, doors, orders):
        self.town, self.doors, self.chance = town, doors, random.Random(SEED)
        self.name = f"s{time.time_ns()}"
        self.answers, self.looks, self.times = Counter(), Counter(), []
        self.rest = 0  # how long everybody pauses, against the time that their request took
        self.paid = [f"{self.name}x{number}" for number in range(orders)]
        now, quick = datetime.now(UTC), generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
        with town.rows.connect() as connection, connection.begin():
            connection.execute(insert(Shopper), [
                {"email": f"{key}@example.com", "name": "A", "password_hash": quick, "is_operator": False,
                 "created_at": now, "flexprice_id": f"cust_{key}"}
                for key in self.paid
            ])  # fmt: skip
            ids = dict(connection.execute(select(Shopper.flexprice_id, Shopper.id)).all())
            connection.execute(insert(Order), [
                {"shopper_id": ids[f"cust_{key}"], "plan_id": "plan_01", "plan_name": "Pro",
                 "currency": "inr", "billing_period": "MONTHLY", "amount": 499, "created_at": now,
                 "state": "awaiting_payment", "session_id": f"cs_{key}", "customer_id": f"cust_{key}",
                 "looks": 0, "terms_checked_at": now}
                for key in self.paid
            ])  # fmt: skip

    def news(self):
        for key in self.paid:
            session = {"id": f"cs_{key}", "customer_id": f"cust_{key}"}
            for number, (kind, status) in enumerate(EVENTS):
                about = {"checkout_session": session | {"checkout_status": status}} if status else {}
                yield f"msg_{key}_{number}", json.dumps({"event_type": kind, **about}).encode()

    def deliver(self, news, at_most=1, senders=32, pollers=0):
        """Shuffled, each one to `at_most` times; what is not acknowledged is sent again."""
        deliveries = [message for message in news for _ in range(self.chance.randint(1, at_most))]
        self.chance.shuffle(deliveries)
        queue = Queue()
        for number, delivery in enumerate(deliveries):
            queue.put((self.doors[number % len(self.doors)], *delivery))
        over = threading.Event()
        watching = [threading.Thread(target=self.poll, args=(key, over)) for key in self.paid[:pollers]]
        sending = [threading.Thread(target=self.send, args=(queue,)) for _ in range(senders)]
        for thread in (*watching, *sending):
            thread.start()
        for thread in sending:
            thread.join()
        over.set()
        for thread in watching:
            thread.join()
        return len(deliveries)

    def send(self, queue):
        lines = {door: http.client.HTTPConnection(urlsplit(door).netloc, timeout=60) for door in self.doors}
        while True:
            try:
                door, message_id, body = queue.get_nowait()
            except Empty:
                break
            started = time.monotonic()
            lines[door].request("POST", "/webhooks/flexprice", body, self.town.signed(message_id, body))
            answer = lines[door].getresponse()
            answer.read()
            self.times.append(time.monotonic() - started)
            self.answers[answer.status] += 1
            time.sleep(self.rest * self.times[-1])
            if answer.status != 204:
                queue.put((door, message_id, body))
        for line in lines.values():
            line.close()

    def sign_in(self, key):
        """A browser, and the address it asks again and again."""
        browser, door = requests.Session(), self.chance.choice(self.doors)
        page = browser.get(f"{door}/sign-in", timeout=60).text
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page)[1]
        known = {"email": f"{key}@example.com", "password": PASSWORD, "csrf_token": token}
        browser.post(f"{door}/sign-in", data=known, timeout=60, allow_redirects=False)
        [order] = self.town.orders_of(f"{key}@example.com")
        return browser, f"{door}/orders/{order.ref}/status"

    def poll(self, key, over):
        browser, address = self.sign_in(key)
        with browser:
            while not over.is_set():
                answer = browser.get(address, timeout=60)
                self.looks[answer.status_code] += 1
                time.sleep(self.rest * answer.elapsed.total_seconds())

    def read(self):
        """How often which message was read, as the workers' logs say, after they have committed it."""
        return Counter(
            re.findall(rf"storefront.worker: message (msg_{self.name}\S+) ", self.town.logs_whole())
        )

    def check(self):
        """Each order fulfilled once, each letter posted once, each message read by one worker."""
        town = self.town
        town.wait_until(town.settled, "not everything was worked off")
        with town.rows.connect() as connection:
            states = Counter(
                connection.scalars(select(Order.state).where(Order.session_id.contains(self.name)))
            )
            granted = connection.scalars(
                select(Access.order_id).join(Order, Order.id == Access.order_id)
                .where(Order.session_id.contains(self.name))
            ).all()  # fmt: skip
            letters = Counter(connection.scalars(select(Letter.to).where(Letter.to.contains(self.name))))
            kept = connection.scalar(select(func.count()).where(InboxMessage.id.contains(self.name)))
        assert states == {"fulfilled": len(self.paid)}
        assert len(granted) == len(set(granted)) == len(self.paid)
        assert letters == {f"{key}@example.com": 1 for key in self.paid}
        assert letters.items() <= town.letterbox.received().items()
        assert kept == len(self.paid) * len(EVENTS)
        town.wait_until(lambda: len(self.read()) >= kept, "not everything that was read is in the log")
        assert set(self.read().values()) == {1}
        assert "database is locked" not in town.logs_whole()
        assert "Traceback" not in town.logs_whole()


def tell(town, what, times):
    times = sorted(times)
    p50, p99 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.99))
    wal = town.folder / "shop.db-wal"
    size = f", WAL {wal.stat().st_size / 1e6:.1f} MB" if wal.exists() else ""
    print(
        f"\n{town.rows.dialect.name}: {what}; p50 {p50:.0f} ms, p99 {p99:.0f} ms,"
        f" worst {times[-1] * 1000:.0f} ms{size} (seed {SEED})"
    )
