"""The page that waits for news: with htmx 2, htmx 4 or neither, on a bad line, in a tab nobody sees."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from storefront.lifecycle import State

from storefront.database import writing
from storefront.extensions import db
from storefront.models import Access, Order
from tests.e2e.conftest import SEEN, cdn_answers, unpinned, watched

pytestmark = pytest.mark.browser

STATUS = re.compile(r"/orders/\w+/status")

# In the page: what it asks and is still waiting for, what it says aloud, and how much moves under the reader.
WATCH = """() => {
  window.asked = []; window.waits = 0; window.said = []; window.shift = 0;
  const note = url => {
    if (!url.includes("/status?")) return () => {};
    asked.push(url);
    waits += 1;
    return () => { waits -= 1; };
  };
  const fetch = window.fetch, { open, send } = XMLHttpRequest.prototype;
  window.fetch = (what, ...more) => {
    const done = note(what.url || String(what));
    return fetch(what, ...more).finally(() => setTimeout(done));
  };
  XMLHttpRequest.prototype.open = function (method, url, ...more) {
    this.where = url;
    return open.call(this, method, url, ...more);
  };
  XMLHttpRequest.prototype.send = function (...more) {
    this.addEventListener("loadend", note(this.where));
    return send.apply(this, more);
  };
  addEventListener("DOMContentLoaded", () => {
    const live = document.getElementById("order-live");
    if (live) new MutationObserver(() => window.said.push(live.textContent)).observe(live, {childList: true});
  });
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) window.shift += entry.value;
  }).observe({type: "layout-shift", buffered: true});
}"""


class Waiting:
    """Somebody with an order that is waiting for a payment.

    The clock of their page stands still unless the test winds it, so minutes take no time and nothing races.
    """

    def __init__(self, gallery: Any, page: Page, path: str, ref: str) -> None:
        self.gallery, self.page, self.path, self.ref = gallery, page, path, ref

    def arrives(self) -> None:
        now = datetime.now(UTC)
        self.page.clock.install(time=now)
        self.page.clock.pause_at(now + timedelta(seconds=1))
        self.page.goto(self.gallery.url + self.path)

    def hears(self, state: State) -> None:
        with self.gallery.app.app_context(), writing():
            order = db.session.query(Order).filter_by(ref=self.ref).one()
            order.state = state
            order.paid_at = order.fulfilled_at = order.moved_at = now = datetime.now(UTC)
            granted = Access(shopper_id=order.shopper_id, plan_id=order.plan_id, order_id=order.id)
            granted.plan_name, granted.granted_at = order.plan_name, now
            db.session.query(Access).filter_by(order_id=order.id).delete()
            db.session.add_all([granted] if state is State.FULFILLED else [])

    def passes(self, seconds: float) -> None:
        """So much time in the page; then what was asked is answered and put in its place."""
        self.page.clock.run_for(int(seconds * 1000))
        for _ in range(1000):
            if not self.page.evaluate("waits"):
                break
            self.page.wait_for_timeout(10)
            self.page.clock.run_for(1)
        self.page.clock.run_for(100)

    def lets_minutes_pass(self) -> None:
        """One at a time: a page that goes on asking waits for each answer."""
        for _ in range(10):
            self.passes(60)

    def asked(self) -> int:
        return int(self.page.evaluate("asked.length"))

    def asks(self, times: int) -> None:
        """Second after second, until so many more questions were asked."""
        wanted = self.asked() + times
        for _ in range(20 * times):
            if self.asked() >= wanted:
                return
            self.passes(1)
        raise AssertionError(f"only {self.asked()} of {wanted} questions")

    def sees(self, phase: str, within: int = 20) -> None:
        place = self.page.locator(f"#order-status[data-phase={phase}]")
        for _ in range(within):
            if place.count():
                return
            self.passes(1)
        expect(place).to_be_visible()


@pytest.fixture(scope="module")
def scripts(htmx: bytes, newer_htmx: bytes) -> dict[str, bytes | None]:
    return {"htmx 2": htmx, "htmx 4": newer_htmx, "poll.js": None}


@pytest.fixture(scope="module")
def signed_in(visitors: Any) -> Any:
    context = visitors.context("asha")
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture(params=["htmx 2", pytest.param("htmx 4", marks=pytest.mark.thorough), "poll.js"])
def script(request: pytest.FixtureRequest, scripts: dict[str, bytes | None]) -> bytes | None:
    return scripts[request.param]


@pytest.fixture
def asha(
    visitors: Any, gallery: Any, signed_in: Any, script: bytes | None, newer_htmx: bytes
) -> Iterator[Waiting]:
    context = watched(visitors.browser, storage_state=signed_in, viewport={"width": 1280, "height": 800})
    context.add_init_script(f"({WATCH})()")
    ref = gallery.refs["waiting"]
    someone = Waiting(gallery, context.new_page(), f"/orders/{ref}/success", ref)
    cdn_answers(someone.page, script)
    if script == newer_htmx:
        context.route(f"**{someone.path}*", unpinned)
    someone.hears(State.AWAITING_PAYMENT)
    yield someone
    someone.hears(State.AWAITING_PAYMENT)
    context.unroute_all(behavior="ignoreErrors")
    context.close()


def test_the_htmx_that_is_meant_is_there(asha: Waiting, request: pytest.FixtureRequest) -> None:
    asha.arrives()
    version = asha.page.evaluate("window.htmx ? htmx.version : 'none'")
    wanted = {"htmx 2": "2.0.11", "htmx 4": "4.0.1", "poll.js": "none"}
    assert version == wanted[request.node.callspec.params["script"]]


def test_it_asks_until_there_is_an_end_and_then_no_more(asha: Waiting) -> None:
    asha.arrives()
    asha.sees("checking")
    asha.asks(2)
    asha.hears(State.PAID)
    asha.sees("paid")
    asha.hears(State.FULFILLED)
    asha.sees("ready")

    settled = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= settled + 1

    said = asha.page.evaluate("said")
    assert [text.split(".")[0] for text in said] == ["Payment received", "Starter is yours"]
    assert asha.page.evaluate("shift") < 0.01, "something moved when the fragments came"


def test_late_money_is_seen_on_the_page_of_an_order_that_has_just_ended(asha: Waiting) -> None:
    asha.hears(State.EXPIRED)
    asha.arrives()
    asha.sees("expired")
    asha.asks(1)
    asha.hears(State.PAID_LATE)
    asha.sees("late")
    settled = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= settled + 1


def test_neither_a_stumble_of_the_shop_nor_a_dropped_line_ends_the_asking(asha: Waiting) -> None:
    bad_days = [
        lambda route: route.fulfill(status=500, body="<h1>broken</h1>", content_type="text/html"),
        lambda route: route.abort("connectionreset"),
    ]
    asha.page.route(STATUS, lambda route: bad_days.pop(0)(route) if bad_days else route.fallback())
    asha.arrives()
    asha.hears(State.FULFILLED)
    asha.sees("ready", within=60)
    assert bad_days == []
    expect(asha.page.get_by_role("heading", name="broken")).to_have_count(0)


def test_a_tab_nobody_sees_rests_and_asks_when_it_is_seen_again(asha: Waiting) -> None:
    asha.arrives()
    asha.asks(1)
    asha.page.evaluate(SEEN, False)
    hidden = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= hidden + 1  # one may have been under way
    asha.hears(State.FULFILLED)
    asha.page.evaluate(SEEN, True)
    asha.sees("ready", within=2)


def test_the_focus_stays_where_it_is(asha: Waiting) -> None:
    asha.path = asha.path.replace("success", "failure")
    asha.arrives()
    cancel = asha.page.get_by_role("button", name="Cancel order")
    cancel.focus()
    asha.asks(3)
    expect(cancel).to_be_focused()


def test_a_press_is_heard_though_an_answer_comes_in_its_middle(asha: Waiting) -> None:
    asha.path = asha.path.replace("success", "failure")
    asha.arrives()
    asha.page.evaluate(
        """() => document.addEventListener("click", event => {
          window.heard = event.target.textContent;
          event.preventDefault();
        })"""
    )
    asha.page.get_by_role("button", name="Cancel order").hover()
    asha.page.mouse.down()
    asha.asks(1)
    asha.page.mouse.up()
    assert asha.page.evaluate("heard").strip() == "Cancel order"
    asha.hears(State.FULFILLED)
    asha.sees("ready")


def test_a_signed_out_shopper_is_led_to_the_sign_in(asha: Waiting) -> None:
    asha.arrives()
    asha.page.context.clear_cookies()
    asha.page.clock.resume()
    expect(asha.page.get_by_role("heading", level=1, name="Sign in")).to_be_visible()
