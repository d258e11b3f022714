"""Fixtures of the fault tests: a stack of processes on either database, and buyers who do not give up."""

import contextlib
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
import requests

from tests.faults.stack import API_KEY, PASSWORD, SECRET_KEY, TIMEOUT_S, WEBHOOK_SECRET, Stack


class Page(HTMLParser):
    """A page's forms by action, what it says of the order, and the review and payment pages it links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.phase = self.payment_url = self.review_url = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attr = dict(attrs)
        self.phase = attr.get("data-phase") or self.phase
        if tag == "form":
            self._fields: dict[str, str] = {}
            self.forms.setdefault(attr.get("action") or "", self._fields)
        if tag == "input" and self.forms and attr.get("name"):
            self._fields[str(attr["name"])] = attr.get("value") or ""
        if tag == "a" and "/pay/" in (attr.get("href") or ""):
            self.payment_url = attr["href"] or ""
        if tag == "a" and (attr.get("href") or "").startswith("/review?"):
            self.review_url = self.review_url or attr["href"] or ""

    def action(self, ending: str) -> str | None:
        return next((action for action in self.forms if action.endswith(ending)), None)


class Buyer:
    """Buys one plan and does not give up: without an answer, or with a 503, the buyer tries again."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack, self.email = stack, f"{name}@example.com"
        self.http = requests.Session()
        self.http.headers["Sec-Fetch-Site"] = "same-origin"

    def insist(self, method: str, url: str, **more: Any) -> requests.Response:
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            with contextlib.suppress(requests.RequestException):
                answer = self.http.request(method, url, timeout=40, allow_redirects=False, **more)
                if answer.status_code < 500:
                    return answer
                assert answer.status_code in (502, 503), f"{answer.text}\n{self.stack.logs()}"
            assert time.monotonic() < deadline, self.stack.logs()
            time.sleep(0.1)

    def see(self, path: str) -> Page:
        self.url = urljoin(self.stack.shop_url, path)
        return Page(self.insist("GET", self.url).text)

    def review_page(self) -> Page:
        """Of the first plan that is sold."""
        return self.see(self.see("/plans").review_url)

    def send(self, page: Page, ending: str, **typed: str) -> requests.Response:
        action = page.action(ending)
        assert action is not None, page.forms
        return self.insist("POST", urljoin(self.url, action), data=page.forms[action] | typed)

    def sign_up(self) -> None:
        known = {"email": self.email, "password": PASSWORD}
        answer = self.send(self.see("/sign-up"), "", name="Asha Rao", **known)
        if answer.status_code == 422:  # the first try was kept, only its answer was lost
            answer = self.send(self.see("/sign-in"), "", **known)
        assert answer.status_code == 303, answer.text

    def buy(self) -> None:
        """Until the page says that the plan is active."""
        self.send(self.review_page(), "/checkout")
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            order = self.stack.orders_of(self.email)[-1]
            page = self.see(f"/orders/{order.ref}/failure")
            if page.phase == "ready":
                self.stack.buyers.append(self.email)
                return
            assert time.monotonic() < deadline, f"{page.phase}\n{self.stack.logs()}"
            self.go_on(page)

    def go_on(self, page: Page) -> None:
        if page.payment_url:
            self.pay(page.payment_url)
        elif page.action("/checkout"):
            self.send(page, "/checkout")
        else:
            time.sleep(0.3)
        self.stack.time_passes()

    def pay(self, url: str) -> None:
        page = Page(self.insist("GET", url).text)
        if page.action("/pay"):
            self.url = url
            self.send(page, "/pay", other="success@razorpay")


@pytest.fixture(scope="module")
def new_stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Stack]]:
    stacks: list[Stack] = []

    def start(engine: str) -> Stack:
        folder = tmp_path_factory.mktemp("stack")
        server = request.getfixturevalue("postgres") if engine == "postgresql" else None
        stacks.append(Stack(folder, server.database() if server else f"sqlite:///{folder}/shop.db"))
        return stacks[-1]

    yield start
    for stack in stacks:
        stack.close()
    logs = "".join(stack.whole_logs() for stack in stacks)
    secrets = (WEBHOOK_SECRET, API_KEY, PASSWORD, SECRET_KEY)
    assert [secret for secret in secrets if secret in logs] == []


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres, id="postgres")], scope="module"
)
def stack(request: pytest.FixtureRequest, new_stack: Callable[[str], Stack]) -> Stack:
    """Started once for all tests of a file: each brings its own buyers."""
    return new_stack(request.param)


@pytest.fixture(scope="module")
def new_buyer(stack: Stack) -> Iterator[Callable[[], Buyer]]:
    """A buyer whom the shop has not seen before."""
    buyers: list[Buyer] = []

    def come() -> Buyer:
        buyers.append(Buyer(stack, f"p{time.time_ns()}"))
        return buyers[-1]

    yield come
    for buyer in buyers:
        buyer.http.close()
