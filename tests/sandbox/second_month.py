"""Steps of a subscription's later months, for the tests."""

from typing import Any

START = "2026-09-01T10:00:00Z"


class Shopper:
    """A customer, what they subscribe to, and how they pay for it."""

    def __init__(self, api: Any, **switches: str) -> None:
        self.api = api
        if switches:
            api.switch(**switches)
        api.control("reset", sure="yes")
        if switches:
            api.switch(**switches)
        api.control("clock", set=START)
        self.id = api.customer()["id"]

    def get(self, path: str) -> Any:
        return self.api.get(f"/v1{path}").json()

    def post(self, path: str, body: Any = None) -> Any:
        return self.api.post(f"/v1{path}", body)

    def plan(self, name: str = "Solo", amount: str = "300", **price: Any) -> str:
        """A new plan with one price; gives back its id."""
        plan = self.post("/plans", {"name": name, "lookup_key": f"{name.lower()}-{amount}"}).json()["id"]
        self.price(plan, name, amount, **price)
        return str(plan)

    def price(self, plan: str, name: str, amount: str, **price: Any) -> None:
        body = {"amount": amount, "currency": "inr", "billing_period": "MONTHLY", "type": "FIXED"}
        body |= {"billing_period_count": 1, "billing_cadence": "RECURRING", "billing_model": "FLAT_FEE"}
        body |= {"invoice_cadence": "ADVANCE", "entity_type": "PLAN", "entity_id": plan}
        answer = self.post(
            "/prices", body | {"price_unit_type": "FIAT", "display_name": f"{name} fee"} | price
        )
        assert answer.status_code == 201, answer.text

    def try_to_subscribe(self, plan: str, **fields: Any) -> Any:
        body = {"external_customer_id": "user-42", "plan_id": plan, "currency": "inr"}
        body |= {"billing_period": "MONTHLY", "collection_method": "send_invoice"}
        body["start_date"] = START  # to the second: the clock goes on while a test runs
        return self.post("/subscriptions", body | fields)

    def subscribe(self, plan: str, **fields: Any) -> Any:
        answer = self.try_to_subscribe(plan, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def buy(self, plan: str) -> Any:
        """By a checkout session that is paid; gives back the subscription."""
        params = {"plan_id": plan, "currency": "inr", "billing_period": "MONTHLY"}
        body = {"customer_external_id": "user-42", "action": "create_subscription"}
        body |= {"payment_provider": "razorpay", "configuration": {"create_subscription_params": params}}
        session = self.post("/checkout/sessions", body).json()
        self.api.control("provider", action="pay", link=session["payment_action"]["url"])
        return self.subscription({"id": self.invoice(session["checkout_invoice_id"])["subscription_id"]})

    def subscription(self, subscription: Any) -> Any:
        return self.get(f"/subscriptions/{subscription['id']}")

    def invoice(self, invoice_id: str) -> Any:
        return self.get(f"/invoices/{invoice_id}")

    def invoices(self, subscription: Any) -> list[Any]:
        """Oldest first, SKIPPED ones too."""
        asked = {"subscription_id": subscription["id"], "order": "asc"}
        asked["invoice_status"] = ["DRAFT", "FINALIZED", "VOIDED", "SKIPPED"]  # type: ignore[assignment]
        return list(self.post("/invoices/search", asked).json()["items"])

    def try_to_pay(self, invoice: Any, **fields: Any) -> Any:
        body = {"destination_type": "INVOICE", "destination_id": invoice["id"], "process_payment": True}
        body |= {"payment_method_type": "PAYMENT_LINK", "payment_gateway": "razorpay", "currency": "inr"}
        return self.post("/payments", body | {"amount": invoice["amount_remaining"]} | fields)

    def link(self, invoice: Any, **fields: Any) -> Any:
        answer = self.try_to_pay(invoice, **fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def at_razorpay(self, action: str, payment: Any, **more: Any) -> None:
        self.api.control("provider", action=action, link=payment["payment_url"], **more)

    def pay(self, invoice: Any, **fields: Any) -> Any:
        """The invoice as it is after its link was paid."""
        self.at_razorpay("pay", self.link(invoice, **fields))
        return self.invoice(invoice["id"])

    def until(self, target: str, thing: Any) -> None:
        self.api.control("clock", until=target, id=thing["id"])

    def advance(self, step: str) -> None:
        self.api.control("clock", advance=step)

    def told(self) -> list[str]:
        """The names of the messages about this customer that were not told yet."""
        found = [one["type"] for one in self.api.get(f"/_sandbox/messages?customer={self.id}").json()]
        known, self.known = getattr(self, "known", 0), len(found)
        return found[known:]


def money(invoices: list[Any]) -> list[tuple[str, str, str]]:
    return [(one["invoice_status"], one["payment_status"], one["total"]) for one in invoices]
