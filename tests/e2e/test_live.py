"""The page that polls: with htmx 2, htmx 4 or neither, with failing requests and in a hidden tab."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from storefront.checkout import State
from storefront.extensions import db
from storefront.models import Order
from tests.e2e.conftest import VISIBLE, cdn_answers, traced, unpinned

pytestmark = pytest.mark.browser

STATUS = re.compile(r"/orders/\w+/status")

# In the page: its requests, what the live region said, and the layout shift.
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
    """A person with an order that waits for a payment.

    The clock of the page stands still unless the test advances it.
    """

    def __init__(self, gallery: Any, page: Page, path: str, ref: str) -> None:
        self.gallery, self.page, self.path, self.ref = gallery, page, path, ref

    def arrives(self) -> None:
        now = datetime.now(UTC)
        self.page.clock.install(time=now)
        self.page.clock.pause_at(now + timedelta(seconds=1))
        self.page.goto(self.gallery.url + self.path)

    def becomes(self, state: State) -> None:
        """The order moves to a state."""
        with self.gallery.app.app_context():
            order = db.session.query(Order).filter_by(ref=self.ref).one()
            order.state = state
            order.paid_at = order.fulfilled_at = order.status_changed_at = datetime.now(UTC).replace(
                tzinfo=None
            )
            db.session.commit()

    def passes(self, seconds: float) -> None:
        """Advance the clock of the page, and wait for the responses."""
        self.page.clock.run_for(int(seconds * 1000))
        for _ in range(1000):
            if not self.page.evaluate("waits"):
                break
            self.page.wait_for_timeout(10)
            self.page.clock.run_for(1)
        self.page.clock.run_for(100)

    def lets_minutes_pass(self) -> None:
        """One at a time: a page that polls waits for each response."""
        for _ in range(10):
            self.passes(60)

    def asked(self) -> int:
        return int(self.page.evaluate("asked.length"))

    def asks(self, times: int) -> None:
        """Advance second by second, until that many more requests were sent."""
        wanted = self.asked() + times
        for _ in range(20 * times):
            if self.asked() >= wanted:
                return
            self.passes(1)
        raise AssertionError(f"only {self.asked()} of {wanted} requests")

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
    context = traced(visitors.browser, storage_state=signed_in, viewport={"width": 1280, "height": 800})
    context.add_init_script(f"({WATCH})()")
    ref = gallery.refs["waiting"]
    someone = Waiting(gallery, context.new_page(), f"/orders/{ref}/success", ref)
    cdn_answers(someone.page, script)
    if script == newer_htmx:
        context.route(f"**{someone.path}*", unpinned)
    someone.becomes(State.AWAITING_PAYMENT)
    yield someone
    someone.becomes(State.AWAITING_PAYMENT)
    context.unroute_all(behavior="ignoreErrors")
    context.close()


@pytest.mark.thorough
def test_htmx_is_the_version_under_test(asha: Waiting, request: pytest.FixtureRequest) -> None:
    asha.arrives()
    version = asha.page.evaluate("window.htmx ? htmx.version : 'none'")
    wanted = {"htmx 2": "2.0.11", "htmx 4": "4.0.1", "poll.js": "none"}
    assert version == wanted[request.node.callspec.params["script"]]


def test_polling_ends_with_the_order(asha: Waiting) -> None:
    asha.arrives()
    asha.sees("checking")
    asha.asks(2)
    asha.becomes(State.PAID)
    asha.sees("paid")
    asha.becomes(State.FULFILLED)
    asha.sees("ready")

    settled = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= settled + 1

    said = asha.page.evaluate("said")
    assert [text.split(".")[0] for text in said] == ["Payment received", "You're all set"]
    assert asha.page.evaluate("shift") < 0.01, "the layout moved when the fragments came"


@pytest.mark.thorough
def test_late_payment_appears_on_an_order_that_just_ended(asha: Waiting) -> None:
    asha.becomes(State.EXPIRED)
    asha.arrives()
    asha.sees("expired")
    asha.asks(1)
    asha.becomes(State.PAID_LATE)
    asha.sees("paid_late")
    settled = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= settled + 1


@pytest.mark.thorough
def test_polling_survives_errors(asha: Waiting) -> None:
    failures = [
        lambda route: route.fulfill(status=500, body="<h1>broken</h1>", content_type="text/html"),
        lambda route: route.abort("connectionreset"),
    ]
    asha.page.route(STATUS, lambda route: failures.pop(0)(route) if failures else route.fallback())
    asha.arrives()
    asha.becomes(State.FULFILLED)
    asha.sees("ready", within=60)
    assert failures == []
    expect(asha.page.get_by_role("heading", name="broken")).to_have_count(0)


@pytest.mark.thorough
def test_hidden_tab_pauses_and_polls_when_visible(asha: Waiting) -> None:
    asha.arrives()
    asha.asks(1)
    asha.page.evaluate(VISIBLE, False)
    hidden = asha.asked()
    asha.lets_minutes_pass()
    assert asha.asked() <= hidden + 1  # one may have been under way
    asha.becomes(State.FULFILLED)
    asha.page.evaluate(VISIBLE, True)
    asha.sees("ready", within=2)


@pytest.mark.thorough
def test_focus_stays_where_it_is(asha: Waiting) -> None:
    asha.path = asha.path.replace("success", "failure")
    asha.arrives()
    cancel = asha.page.get_by_role("button", name="Cancel order")
    cancel.focus()
    asha.asks(3)
    expect(cancel).to_be_focused()


@pytest.mark.thorough
def test_click_is_not_lost_to_a_response(asha: Waiting) -> None:
    asha.path = asha.path.replace("success", "failure")
    asha.arrives()
    asha.page.evaluate(
        """() => document.addEventListener("click", event => {
          window.clicked = event.target.textContent;
          event.preventDefault();
        })"""
    )
    asha.page.get_by_role("button", name="Cancel order").hover()
    asha.page.mouse.down()
    asha.asks(1)
    asha.page.mouse.up()
    assert asha.page.evaluate("clicked").strip() == "Cancel order"
    asha.becomes(State.FULFILLED)
    asha.sees("ready")


@pytest.mark.thorough
def test_signed_out_shopper_is_led_to_sign_in(asha: Waiting) -> None:
    asha.arrives()
    asha.page.context.clear_cookies()
    asha.page.clock.resume()
    expect(asha.page.get_by_role("heading", level=1, name="Sign in")).to_be_visible()
