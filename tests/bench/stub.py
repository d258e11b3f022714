"""A Flexprice that answers at once, so that the shop is measured. `python -m tests.bench.stub PORT`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

PLAN, AMOUNT = "plan_bench", "499"
PAYMENT_HOST = "pay.bench.example"
created = count(1)


def checkout_session(number: int) -> dict[str, Any]:
    return {
        "id": f"cs_new_{number}",
        "customer_id": "cust_0",
        "action": "create_subscription",
        "payment_provider": "razorpay",
        "checkout_status": "pending",
        "checkout_invoice_id": f"inv_new_{number}",
        "checkout_payment_id": f"pay_new_{number}",
        "expires_at": "2036-09-01T10:15:00Z",
        "created_at": "2036-09-01T10:00:00Z",
        "updated_at": "2036-09-01T10:00:00Z",
        "payment_action": {"type": "payment_link", "url": f"https://{PAYMENT_HOST}/{number}"},
    }


def plans() -> dict[str, Any]:
    price = {
        "id": "price_monthly",
        "amount": AMOUNT,
        "currency": "inr",
        "type": "FIXED",
        "billing_model": "FLAT_FEE",
        "billing_cadence": "RECURRING",
        "billing_period": "MONTHLY",
        "billing_period_count": 1,
        "invoice_cadence": "ADVANCE",
        "status": "published",
    }
    plan = {"id": PLAN, "name": "Bench", "status": "published", "prices": [price]}
    return {"items": [plan], "pagination": {"total": 1, "limit": 100, "offset": 100}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/checkout/sessions"):
            self.answer(201, checkout_session(next(created)))
        elif self.path.endswith("/plans/search"):
            self.answer(200, plans())
        else:
            self.answer(404, {"code": "not_found"})

    def do_GET(self) -> None:
        self.answer(200, {"created": next(created)} if self.path == "/created" else {})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
