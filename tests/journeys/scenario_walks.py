"""What a tester does in each test scenario, over HTTP: in the shop as a new customer, and in the sandbox."""

import re
from collections.abc import Callable
from typing import Any

import requests
from sqlalchemy import select, update

from storefront.billing import Invoice, Subscription
from storefront.checkout.context import db_now
from storefront.extensions import db
from storefront.models import User
from storefront.sandbox.control.scenarios import SCENARIOS
from storefront.sandbox.store.values import stable_id

PAGE = "/_sandbox/scenarios"
WAIT_S = 120.0  # a month of every customer before takes a while on a busy machine
FULL_TURN = 20  # rows that the worker takes up before this customer may have to wait
WORKS, DECLINED = "success@razorpay", "failure@razorpay"


class Walker:
    """One scenario under test: `key`, the world, and the customer who signed up for it."""

    def __init__(self, world: Any, key: str) -> None:
        self.world, self.key = world, key
        self.shopper: Any = None

    # In the sandbox.

    def call(self, path: str, **fields: str) -> requests.Response:
        """As a browser without script sends a form."""
        form = {"back": PAGE} | fields
        url = f"{self.world.sandbox_url}{path}"
        found = requests.post(url, data=form, headers={"Accept": "text/html"}, timeout=WAIT_S)
        assert found.ok, found.text
        return found

    def start(self) -> None:
        self.call(f"{PAGE}/{self.key}/start")

    def presses(self, label: str) -> None:
        """A button of the scenario, once it is shown."""
        url = f"{self.world.sandbox_url}{PAGE}/current"
        shown = requests.get(url, timeout=WAIT_S).json()["buttons"]
        (button,) = [one for one in shown if one["label"] == label]
        self.call(button["path"], **button["fields"])
        self.settle()

    def row(self) -> dict[str, Any]:
        """How the scenario stands, as the export says it."""
        url = f"{self.world.sandbox_url}{PAGE}/result.json"
        rows = requests.get(url, timeout=WAIT_S).json()["scenarios"]
        return next(row for row in rows if row["scenario"] == self.key)

    def verdict(self, **said: str) -> str:
        self.call(f"{PAGE}/{self.key}/verdict", **said)
        return str(self.row()["verdict"])

    # In the shop.

    def signs_up(self) -> Any:
        self.shopper = self.world.shopper(f"Tester{len(self.world.shoppers)} Rao")
        return self.shopper

    def buys(self, plan: str = "Starter") -> str:
        """Gives back where the shop leads to."""
        answer = (self.shopper or self.signs_up()).buy(plan)
        self.world.deliver()
        return str(answer.headers.get("Location", ""))

    def pays(self, url: str, method: str = WORKS) -> requests.Response:
        answer: requests.Response = self.shopper.pay(url, method)
        self.settle()
        return answer

    def buys_and_pays(self, method: str = WORKS) -> requests.Response:
        return self.pays(self.buys(), method)

    def returns(self, answer: requests.Response) -> None:
        """Back to the shop after the payment page; its worker then asks."""
        self.shopper.see(answer.headers["Location"])
        self.settle()

    def settle(self) -> None:
        """Messages arrive and the worker has nothing left to do, without waiting for its real time."""
        for _ in range(2):
            self.world.deliver()
            self._make_due()
            while self.world.work() >= FULL_TURN:  # what others owe is due too, as the clock moves
                pass

    def _make_due(self) -> None:
        """Only what is this customer's: other scenarios have their own."""
        with self.world.shop.app_context():
            key = select(User.key).where(User.email == self.shopper.email).scalar_subquery()
            for model in (Subscription, Invoice):
                own = model.customer_key == key, model.next_attempt_at.is_not(None)
                db.session.execute(update(model).where(*own).values(next_attempt_at=db_now()))
            db.session.commit()
            db.session.remove()

    # On the billing page.

    def opens(self, path: str) -> requests.Response:
        page: requests.Response = self.shopper.see(path)
        assert page.ok, page.text
        return page

    def link_of_invoice(self) -> str:
        """Press Pay on the billing page."""
        page = self.opens("/billing")
        (action,) = re.findall(r'action="(/billing/invoices/[^"]+/pay)"', page.text)
        return str(self.shopper.send(page, action).headers["Location"])

    def pays_invoice(self, method: str = WORKS) -> None:
        answer = self.pays(self.link_of_invoice(), method)
        if answer.headers.get("Location", "").startswith(self.world.shop_url):
            self.returns(answer)

    def follows(self, pattern: str) -> requests.Response:
        """A link of the billing page, by its address."""
        (address, *_) = re.findall(rf'href="({pattern})"', self.opens("/billing").text)
        return self.opens(address.replace("&amp;", "&"))

    def cancels(self) -> None:
        page = self.follows(r"/billing/subscriptions/[^/\"]+/cancel[^\"]*")
        self.sends(page, form_of(page, "now period_end"))

    def sends(self, page: requests.Response, fields: dict[str, str]) -> str:
        """A form that leads to its own page; gives back where the shop leads to."""
        answer = self.shopper.http.post(page.url, data=fields, timeout=WAIT_S, allow_redirects=False)
        assert answer.status_code == 303, answer.text
        self.settle()
        return str(answer.headers["Location"])

    def changes(self, when: str) -> str:
        """To Team; gives back where the shop leads to."""
        page = self.follows(r"/billing/subscriptions/[^/\"]+/change[^\"]*")
        team = stable_id("plan", "team")
        (address, *_) = re.findall(rf'href="([^"]*plan={team}[^"]*MONTHLY[^"]*)"', page.text)
        page = self.opens(address.replace("&amp;", "&"))
        return self.sends(page, form_of(page, when))

    def starts_free(self, plan_id: str) -> None:
        page = self.opens(f"/plans/{plan_id}?currency=inr")
        assert self.shopper.send(page, "/start").status_code == 303
        self.settle()

    def starts_trial(self) -> None:
        self.signs_up()
        self.forgets_prices()
        terms = {"plan": self.own_plan(), "currency": "inr", "billing_period": "MONTHLY"}
        answer = self.shopper.send_by_hand("/billing/start", **terms)
        assert answer.status_code == 303, answer.text
        self.settle()

    def forgets_prices(self) -> None:
        """The shop reads its plans again, as it does after a minute."""
        self.opens("/plans")
        self.world.forget_prices()

    def own_plan(self) -> str:
        """The id of the plan that was put on sale for the scenario."""
        from storefront.sandbox.store.control_rows import ScenarioRun

        with self.world.flexprice() as session:
            return str(session.need(ScenarioRun, self.key).since["plan"])


def form_of(page: requests.Response, when: str) -> dict[str, str]:
    """The form of a billing page that leads to the same address; `when`: of a change of plan."""
    from tests.journeys.conftest import Forms

    found = [form["fields"] for form in Forms(page.text).forms if not form["action"]]
    return next(fields for fields in found if fields.get("when", "") in when)


# The walks.


def pay_with(method: str) -> Callable[[Walker], Any]:
    return lambda tester: tester.buys_and_pays(method)


def decline_then_pay(tester: Walker) -> None:
    url = tester.buys()
    tester.pays(url, DECLINED)
    tester.pays(url)


def and_press(*labels: str) -> Callable[[Walker], Any]:
    def walk(tester: Walker) -> None:
        tester.buys_and_pays()
        for label in labels:
            tester.presses(label)

    return walk


def cancel(tester: Walker) -> None:
    tester.buys()
    tester.shopper.cancel(tester.world.order())
    tester.settle()


def wait_too_long(tester: Walker) -> None:
    tester.buys()
    tester.presses("Expire the session")


def try_again(tester: Walker) -> None:
    url = tester.buys()
    if "/pay/" not in url:
        tester.settle()
        page = tester.shopper.order_page(tester.world.order())
        if not tester.world.order().payment_url:
            tester.shopper.send(page, "/checkout")
            tester.settle()
        url = tester.world.pay_url()
    tester.pays(url)


def pay_and_return(tester: Walker) -> None:
    tester.returns(tester.buys_and_pays())


def pay_behind_a_raised_price(tester: Walker) -> None:
    shopper = tester.signs_up()
    tester.forgets_prices()
    chosen = {"plan": tester.own_plan(), "currency": "inr", "billing_period": "MONTHLY"}
    page = tester.opens("/review?" + "&".join(f"{name}={value}" for name, value in chosen.items()))
    tester.presses("Raise the price to 350")
    shopper.send(page, "/checkout")
    tester.settle()


def renew(*before: str) -> Callable[[Walker], None]:
    """Buy, go to the next invoice, and press these buttons."""

    def walk(tester: Walker) -> None:
        tester.returns(tester.buys_and_pays())
        for label in ("To the next invoice", *before):
            tester.presses(label)

    return walk


def renew_and_pay(*before: str, then: str = "") -> Callable[[Walker], None]:
    def walk(tester: Walker) -> None:
        renew(*before)(tester)
        tester.pays_invoice()
        if then:
            tester.presses(then)

    return walk


def renew_declined(tester: Walker) -> None:
    renew()(tester)
    tester.pays_invoice(DECLINED)
    tester.pays_invoice()


def renew_on_a_second_link(tester: Walker) -> None:
    renew()(tester)
    tester.link_of_invoice()
    tester.presses("The link expires at Razorpay")
    tester.pays_invoice()


def cancel_plan(*, undo: bool = False, then: str = "") -> Callable[[Walker], None]:
    def walk(tester: Walker) -> None:
        tester.returns(tester.buys_and_pays())
        tester.cancels()
        if undo:
            tester.shopper.send(tester.opens("/billing"), "/undo")
            tester.settle()
        if then:
            tester.presses(then)

    return walk


def change_at_renewal(tester: Walker) -> None:
    tester.returns(tester.buys_and_pays())
    tester.changes("renewal")
    tester.presses("To the period’s end")


def change_today(tester: Walker) -> None:
    tester.returns(tester.buys_and_pays())
    tester.pays(tester.changes("today"))
    tester.settle()


def start_free(tester: Walker) -> None:
    tester.signs_up()
    tester.starts_free(stable_id("plan", "free"))


def cancel_trial(tester: Walker) -> None:
    tester.starts_trial()
    tester.cancels()


def let_the_trial_end(tester: Walker) -> None:
    tester.starts_trial()
    tester.presses("To the trial’s end")
    tester.pays_invoice()


def send(tester: Walker) -> None:
    tester.call(f"{PAGE}/{tester.key}/send")


WALKS: dict[str, Callable[[Walker], Any]] = {
    **{key: pay_with(SCENARIOS[key].title.partition(": ")[2]) for key in SCENARIOS if key.startswith("pay-")},
    "upi-declined": pay_with(DECLINED),
    "declined-then-paid": decline_then_pay,
    "upi-pending": and_press("Approve in the UPI app"),
    "cancel": cancel,
    "merchant-cancels": pay_with(WORKS),
    "link-expires": pay_with(WORKS),
    "not-paid-in-time": wait_too_long,
    "paid-too-late": pay_with(WORKS),
    "paid-twice": and_press("Pay this link once more"),
    "refunded": and_press("Refund it"),
    "half-done": and_press("Razorpay sends the event again"),
    "customer-missing": pay_with(WORKS),
    "zero-amount": send,
    "duplicate-key": send,
    "rate-limited": try_again,
    "tenant-suspended": try_again,
    "price-changed": pay_behind_a_raised_price,
    "link-paid-off": and_press("Expire the session"),
    "api-down": try_again,
    "answer-lost": try_again,
    "slow": try_again,
    "webhook-lost": pay_and_return,
    "webhook-retried": and_press("Try failed deliveries again now"),
    "duplicate-x10": pay_with(WORKS),
    "reversed": pay_with(WORKS),
    "forgery": Walker.buys,
    "rotation": pay_with(WORKS),
    "renewal-paid": renew_and_pay(),
    "renewal-suspended": renew_and_pay("Let 5 days pass"),
    "renewal-declined": renew_declined,
    "renewal-link-expired": renew_on_a_second_link,
    "renewal-paid-twice": renew_and_pay(then="Pay this link once more"),
    "renewal-webhook-lost": renew_and_pay(),
    "message-storm": renew_and_pay(then="Let 6 minutes pass"),
    "cancelled-undone": cancel_plan(undo=True),
    "cancelled-over": cancel_plan(then="To the period’s end"),
    "changed-at-renewal": change_at_renewal,
    "changed-today": change_today,
    "free": start_free,
    "trial-cancelled": cancel_trial,
    "trial-over": let_the_trial_end,
}
