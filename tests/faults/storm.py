"""Many webhooks at once about orders that wait for their payment, and buyers who poll their page."""

import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from queue import Empty, Queue
from urllib.parse import urlsplit

import requests
from sqlalchemy import func, insert, select
from werkzeug.security import generate_password_hash

from storefront.emails.models import Email
from storefront.models import Order, PlanAccess, User, WebhookEvent

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
    """Orders to be paid, the news of them, senders who deliver it, and buyers who look at their page."""

    def __init__(self, stack, webs, orders):
        self.stack, self.webs, self.chance = stack, webs, random.Random(SEED)
        self.name = f"s{time.time_ns()}"
        self.answers, self.polls, self.times = Counter(), Counter(), []
        self.pause = 0  # how long everybody pauses, against the time that their request took
        self.paid = [f"{self.name}x{number}" for number in range(orders)]
        now = datetime.now(UTC).replace(tzinfo=None)
        quick = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")
        later = now + timedelta(hours=1)
        with stack.engine.connect() as connection, connection.begin():
            connection.execute(insert(User), [
                {"email": f"{key}@example.com", "name": "A", "password_hash": quick, "is_operator": False,
                 "created_at": now, "key": f"key_{key}"}
                for key in self.paid
            ])  # fmt: skip
            ids = dict(connection.execute(select(User.key, User.id)).all())
            connection.execute(insert(Order), [
                {"user_id": ids[f"key_{key}"], "customer_key": f"key_{key}", "slot": f"key_{key} plan_01",
                 "plan_id": "plan_01", "plan_name": "Pro", "currency": "inr", "billing_period": "MONTHLY",
                 "amount": "499", "created_at": now, "status_changed_at": now, "attempts": 0,
                 "state": "awaiting_payment", "session_id": f"cs_{key}", "session_requested_at": now,
                 "flexprice_customer_id": f"cust_{key}", "invoice_verified_at": now, "return_url": "http://x/",
                 "last_checked_at": later, "next_attempt_at": later, "invoice_number": "INV-1"}
                for key in self.paid
            ])  # fmt: skip

    def messages(self):
        for key in self.paid:
            session = {"id": f"cs_{key}", "customer_id": f"cust_{key}"}
            for number, (kind, status) in enumerate(EVENTS):
                about = {"checkout_session": session | {"checkout_status": status}} if status else {}
                yield f"msg_{key}_{number}", json.dumps({"event_type": kind, **about}).encode()

    def deliver(self, messages, at_most=1, senders=32, pollers=0):
        """Shuffled, each one to `at_most` times; what is not acknowledged is sent again."""
        deliveries = [message for message in messages for _ in range(self.chance.randint(1, at_most))]
        self.chance.shuffle(deliveries)
        queue = Queue()
        for number, delivery in enumerate(deliveries):
            queue.put((self.webs[number % len(self.webs)], *delivery))
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
        connections = {web: http.client.HTTPConnection(urlsplit(web).netloc, timeout=60) for web in self.webs}
        while True:
            try:
                web, message_id, body = queue.get_nowait()
            except Empty:
                break
            started = time.monotonic()
            connections[web].request("POST", "/webhooks/flexprice", body, self.stack.signed(message_id, body))
            answer = connections[web].getresponse()
            answer.read()
            self.times.append(time.monotonic() - started)
            self.answers[answer.status] += 1
            time.sleep(self.pause * self.times[-1])
            if answer.status != 204:
                queue.put((web, message_id, body))
        for connection in connections.values():
            connection.close()

    def sign_in(self, key):
        """A browser, and the URL that it polls."""
        browser, web = requests.Session(), self.chance.choice(self.webs)
        page = browser.get(f"{web}/sign-in", timeout=60).text
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page)[1]
        known = {"email": f"{key}@example.com", "password": PASSWORD, "csrf_token": token}
        browser.post(f"{web}/sign-in", data=known, timeout=60, allow_redirects=False)
        [order] = self.stack.orders_of(f"{key}@example.com")
        return browser, f"{web}/orders/{order.ref}/status"

    def poll(self, key, over):
        browser, address = self.sign_in(key)
        with browser:
            while not over.is_set():
                answer = browser.get(address, timeout=60)
                self.polls[answer.status_code] += 1
                time.sleep(self.pause * answer.elapsed.total_seconds())

    def check(self):
        """Each order is fulfilled once, each email sent once, each event stored once."""
        stack = self.stack
        stack.wait_until(stack.is_settled, "not everything was worked off")
        with stack.engine.connect() as connection:
            states = Counter(
                connection.scalars(select(Order.state).where(Order.session_id.contains(self.name)))
            )
            granted = connection.scalars(
                select(PlanAccess.order_id).join(Order, Order.id == PlanAccess.order_id)
                .where(Order.session_id.contains(self.name))
            ).all()  # fmt: skip
            owed = select(User.email).join(Email, Email.user_id == User.id)
            emails = Counter(connection.scalars(owed.where(User.email.contains(self.name))))
            stored = connection.scalar(select(func.count()).where(WebhookEvent.id.contains(self.name)))
        assert states == {"fulfilled": len(self.paid)}
        assert len(granted) == len(set(granted)) == len(self.paid)
        assert emails == {f"{key}@example.com": 1 for key in self.paid}
        assert emails.items() <= stack.mail_server.received().items()
        assert stored == len(self.paid) * len(EVENTS)
        assert "database is locked" not in stack.whole_logs()
        assert "Traceback" not in stack.whole_logs()


def tell(stack, what, times):
    times = sorted(times)
    p50, p99 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.99))
    wal = stack.folder / "shop.db-wal"
    size = f", WAL {wal.stat().st_size / 1e6:.1f} MB" if wal.exists() else ""
    print(
        f"\n{stack.engine.dialect.name}: {what}; p50 {p50:.0f} ms, p99 {p99:.0f} ms,"
        f" worst {times[-1] * 1000:.0f} ms{size} (seed {SEED})"
    )
