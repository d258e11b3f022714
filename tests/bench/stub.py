"""An upstream that answers at once: what is measured is the shop. `python -m tests.bench.stub PORT`."""

import json
import selectors
import socket
import sys
from collections.abc import Callable
from itertools import count

PLAN = "plan_bench"
AMOUNT = "499"
PAY_HOST = "pay.bench.example"
NUMBERS = count()


def session(number: int, status: str = "pending") -> dict[str, object]:
    return {
        "id": f"cs_new_{number}",
        "customer_id": "cust_0",
        "checkout_status": status,
        "checkout_invoice_id": f"inv_new_{number}",
        "checkout_payment_id": f"pay_new_{number}",
        "expires_at": "2036-09-01T10:15:00Z",
        "payment_action": {"type": "payment_link", "url": f"https://{PAY_HOST}/{number}"},
        "terminal": status != "pending",
    }


def _price(period: str, amount: str) -> dict[str, object]:
    return {
        "id": f"price_{period}",
        "amount": amount,
        "currency": "inr",
        "type": "FIXED",
        "billing_model": "FLAT_FEE",
        "billing_cadence": "RECURRING",
        "billing_period": period,
        "invoice_cadence": "ADVANCE",
        "status": "published",
    }


def plans() -> dict[str, object]:
    """Six plans as in the sandbox's catalog: monthly and yearly, with four features each."""
    features = [
        {
            "id": f"ent_{n}",
            "feature_id": f"feat_{n}",
            "feature_type": "metered",
            "is_enabled": True,
            "usage_limit": 1000 * n,
            "usage_reset_period": "MONTHLY",
            "feature": {"id": f"feat_{n}", "name": f"Feature {n}", "type": "metered"},
            "status": "published",
        }
        for n in range(1, 5)
    ]
    items = [
        {
            "id": PLAN if n == 0 else f"{PLAN}_{n}",
            "name": f"Plan {n}",
            "description": "For people who measure",
            "display_order": n,
            "status": "published",
            "prices": [
                _price("MONTHLY", AMOUNT if n == 0 else str(999 * n)),
                _price("ANNUAL", str(9990 * (n + 1))),
            ],
            "entitlements": features,
        }
        for n in range(6)
    ]
    return {"items": items, "pagination": {"total": len(items), "limit": 100, "offset": 100}}


def invoice(path: str) -> dict[str, object]:
    number = path.rpartition("_")[2]
    return {
        "id": path.rpartition("/")[2],
        "customer_id": f"cust_{number}",
        "invoice_status": "FINALIZED",
        "payment_status": "SUCCEEDED",
        "currency": "inr",
        "subtotal": AMOUNT,
        "total": AMOUNT,
        "invoice_number": f"INV-{number}",
        "subscription_id": f"subs_{number}",
        "period_end": "2036-10-01T10:00:00Z",
        "subscription": {
            "id": f"subs_{number}",
            "customer_id": f"cust_{number}",
            "plan_id": PLAN,
            "subscription_status": "active",
            "metadata": {},
        },
    }


def known(path: str) -> dict[str, object]:
    return session(0) | {"id": path.rpartition("/")[2], "customer_id": f"cust_{path.rpartition('_')[2]}"}


ANSWERS: dict[tuple[str, str], tuple[int, Callable[[str], dict[str, object]]]] = {
    ("POST", "/v1/checkout/sessions"): (201, lambda path: session(next(NUMBERS))),
    ("GET", "/asked"): (200, lambda path: {"sessions": next(NUMBERS)}),  # which is one more number taken
    ("GET", "/v1/checkout/sessions/"): (200, known),
    ("GET", "/v1/invoices/"): (200, invoice),
    ("POST", "/v1/plans/search"): (200, lambda path: plans()),
    ("POST", "/v1/customers"): (201, lambda path: {"id": "cust_0", "external_id": "bench", "name": "Bench"}),
}


def answer(method: str, path: str) -> bytes:
    found = next((made for (m, p), made in ANSWERS.items() if m == method and path.startswith(p)), None)
    status, body = (found[0], json.dumps(found[1](path)).encode()) if found else (404, b"404 page not found")
    kind = "application/json" if found else "text/plain"
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def serve(port: int) -> None:
    watch = selectors.DefaultSelector()
    door = socket.create_server(("127.0.0.1", port), backlog=256)
    watch.register(door, selectors.EVENT_READ, None)
    heard: dict[socket.socket, bytes] = {}
    while True:
        for key, _ in watch.select():
            if key.fileobj is door:
                line, _ = door.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                watch.register(line, selectors.EVENT_READ, line)
                heard[line] = b""
                continue
            line = key.data
            try:
                piece = line.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                watch.unregister(line)
                line.close()
                del heard[line]
                continue
            heard[line] += piece
            head, mark, body = heard[line].partition(b"\r\n\r\n")
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if mark and len(body) >= length:
                heard[line] = b""
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                line.sendall(answer(method, path))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
