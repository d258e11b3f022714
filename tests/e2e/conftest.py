"""The demo as people start it, and a real Chromium in front of it."""

import base64
import hashlib
import itertools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.e2e.gallery import PASSWORD, Gallery, View, running

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = Path(__file__).resolve().parent / "artifacts"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--renderer-process-limit=1",  # none is kept in stock
]
HTMX = "htmx.org@2.0.11"
HTMX_4 = "htmx.org@4.0.1"
AXE = "axe-core@4.14.1"
CDN = "https://cdn.jsdelivr.net/*"
JAVASCRIPT = [
    {"name": "content-type", "value": "text/javascript"},
    {"name": "access-control-allow-origin", "value": "*"},
]
PINNED = re.compile(r' integrity="[^"]+" crossorigin="anonymous"')
# Whether the tab is visible.
VISIBLE = """seen => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => !seen});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# On the page that waits for a payment, timers run five times as fast.
FASTER_TIMERS = """(real => {
  const faster = location.pathname.endsWith("/success") ? 5 : 1;
  window.setTimeout = (call, ms, ...more) => real(call, ms / faster, ...more);
})(window.setTimeout)"""
START_S = 40.0  # until the demo's banner


def cannot(reason: str) -> NoReturn:
    """What a browser test needs is missing: skip it, or fail when REQUIRE_BROWSER promises it."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"REQUIRE_BROWSER is set, but {reason}", pytrace=False)
    pytest.skip(reason)


# --- When a test fails: a screenshot of every tab, and the trace ---

browsers: list[Browser] = []


def traced(browser: Browser, snapshots: bool = True, **options: Any) -> BrowserContext:
    """A browser context of its own, which records a trace."""
    context = browser.new_context(**{"reduced_motion": "reduce"} | options)
    context.set_default_timeout(15_000)
    context.tracing.start(snapshots=snapshots)
    return context


def save_artifacts(test: str) -> None:
    ARTIFACTS.mkdir(exist_ok=True)
    name = re.sub(r"\W+", "-", test).strip("-")
    for number, context in enumerate(context for browser in browsers for context in browser.contexts):
        for tab, page in enumerate(context.pages):
            page.screenshot(path=ARTIFACTS / f"{name}-{number}-{tab}.png", full_page=True)
        context.tracing.stop(path=ARTIFACTS / f"{name}-{number}.zip")
        context.tracing.start(snapshots=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed and call.when == "call":
        save_artifacts(item.name)
    return report


# --- The shop ---


@dataclass(frozen=True)
class Demo:
    shop: str
    sandbox: str
    environ: dict[str, str] = field(default_factory=dict, repr=False)

    def command(self, *words: str) -> str:
        """`flask --app wsgi …`, with the demo's settings."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *words],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def webhooks(self, mode: str) -> None:
        requests.post(f"{self.sandbox}/_sandbox/webhooks", json={"mode": mode}, timeout=10).raise_for_status()

    def mute(self) -> None:
        """The shop learns nothing about payments: no webhook, no answer."""
        self.webhooks("hold")
        wanted = {"fault": "down", "path": "/v1/checkout/sessions/", "method": "GET", "times": 1000}
        requests.post(f"{self.sandbox}/_sandbox/faults", json=wanted, timeout=10).raise_for_status()

    def unmute(self) -> None:
        requests.delete(f"{self.sandbox}/_sandbox/faults", timeout=10).raise_for_status()
        self.webhooks("normal")


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as started:
        yield started


@contextmanager
def running_demo(home: Path, **more: str) -> Iterator[Demo]:
    """`python wsgi.py`, with its databases in a folder of its own."""
    port, sandbox_port = free_ports()
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    given = {
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "DATABASE_URL": f"sqlite:///{home}/shop.db",
        "SANDBOX_DATABASE_URL": f"sqlite:///{home}/sandbox.db",
        "CLOCK_FILE": f"{home}/clock",
        "FLEXPRICE_API_KEY": "sk_sandbox_default",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "RATE_LIMITS": "off",  # the whole suite comes from one address
    } | more
    log = home / "log.txt"
    started = threading.Event()
    with (
        log.open("w") as kept,
        subprocess.Popen(
            [sys.executable, "wsgi.py"],
            cwd=ROOT,
            env=inherited | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as child,
    ):

        def read() -> None:
            for line in child.stdout or ():
                kept.write(line)
                kept.flush()
                if "Try this" in line:
                    started.set()
            started.set()  # it has ended

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            ready = started.wait(START_S) and child.poll() is None
            assert ready, f"the demo did not start:\n{log.read_text()}"
            shop, sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
            made = {
                "FLEXPRICE_API_URL": f"{sandbox}/v1",
                "STOREFRONT_URL": shop,
                "MAIL_URL": "keep:",
                "MAIL_FROM": "shop@kestrel.test",
            }
            yield Demo(shop, sandbox, inherited | given | made)
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
            try:
                code = child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
            reader.join(5)
    assert code == 0, f"the demo ended with {code}:\n{log.read_text()}"
    assert "Traceback" not in log.read_text(), log.read_text()


# --- From npm: htmx, as the CDN would serve it, and what checks the pages ---


Npm = Callable[[str, str], bytes]


@pytest.fixture(scope="session")
def npm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Npm:
    """`npm("htmx.org@2.0.11", "dist/htmx.min.js")`: one file of a pinned package, fetched once and kept."""
    cache = getattr(request.config, "cache", None)
    kept = Path(cache.mkdir("npm")) if cache else tmp_path_factory.mktemp("npm")

    def read(package: str, member: str) -> bytes:
        tarball = kept / f"{package}.tgz"
        if not tarball.exists():
            fetch(package, tarball, tmp_path_factory.mktemp("pack"))
        with tarfile.open(tarball) as archive:
            found = archive.extractfile(f"package/{member}")
            assert found is not None
            with found:
                return found.read()

    return read


def fetch(package: str, tarball: Path, home: Path) -> None:
    program = shutil.which("npm")
    if program is None:
        cannot(f"npm, which fetches {package}, is missing")
    try:
        subprocess.run([program, "pack", package], cwd=home, check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError) as error:
        cannot(f"{package} could not be fetched: {error}")
    next(home.glob("*.tgz")).replace(tarball)  # whole or not at all: other workers look too


@pytest.fixture(scope="session")
def htmx(npm: Npm) -> bytes:
    """The pinned file, from the package it comes from."""
    return npm(HTMX, "dist/htmx.min.js")


@pytest.fixture(scope="session")
def newer_htmx(npm: Npm) -> bytes:
    return npm(HTMX_4, "dist/htmx.min.js")


def unpinned(route: Route) -> None:
    """The page as it is, but for the hash that lets htmx 2 in and no other."""
    answer = route.fetch()
    route.fulfill(response=answer, body=PINNED.sub(' crossorigin="anonymous"', answer.text()))


def cdn_answers(page: Page, script: bytes | None) -> None:
    """With this script, or cannot be reached. Only what is asked of the CDN is stopped on its way.

    Playwright's `route` stops every request, and has the browser keep nothing: a third of all the time.
    """
    devtools = page.context.new_cdp_session(page)

    def answer(asked: dict[str, Any]) -> None:
        request = {"requestId": asked["requestId"]}
        if script is None:
            devtools.send("Fetch.failRequest", request | {"errorReason": "Failed"})
        else:
            body = base64.b64encode(script).decode()
            found = {"responseCode": 200, "responseHeaders": JAVASCRIPT, "body": body}
            devtools.send("Fetch.fulfillRequest", request | found)

    devtools.on("Fetch.requestPaused", answer)
    devtools.send("Fetch.enable", {"patterns": [{"urlPattern": CDN}]})


@pytest.fixture(scope="session")
def integrity(htmx: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(htmx).digest()).decode()


# --- The browser ---


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        cannot(f"{CHROMIUM} is missing")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        browsers.append(browser)
        yield browser
        browsers.remove(browser)
        browser.close()


class Visitors:
    """The people who look at the gallery: signed out, Asha with her orders, Bela who has none."""

    def __init__(self, browser: Browser, gallery: Gallery) -> None:
        self.browser, self.gallery = browser, gallery
        self.known: dict[str, BrowserContext] = {}

    def context(self, who: str, **options: Any) -> BrowserContext:
        context = traced(
            self.browser, snapshots=False, **options
        )  # one page a test: its screenshot is enough
        if who:
            page = context.new_page()
            page.goto(self.gallery.url + "/sign-in")
            page.locator("input[name=email]").fill(f"{who}@example.com")
            page.locator("input[name=password]").fill(PASSWORD)
            page.locator("main").get_by_role("button").click()
            page.wait_for_url(self.gallery.url + "/")
            page.close()
        return context

    def page(self, who: str) -> Page:
        """The same tab for the same person, without htmx: the page is what the shop sent."""
        if who not in self.known:
            self.known[who] = self.context(who)
            cdn_answers(self.known[who].new_page(), b"")
        return self.known[who].pages[0]

    def go(self, view: View, page: Page | None = None) -> Page:
        """Opens the page, and sends its form where something is typed."""
        page = page or self.page(view.who)
        self.gallery.sell(view.catalog)
        page.goto(self.gallery.url + view.path)
        if view.typed is not None:
            field = page.locator(f"input[name={next(iter(view.typed), 'csrf_token')}]")
            form = page.locator("main form", has=field)
            for name, typed in view.typed.items():
                form.locator(f"input[name={name}]").fill(typed)
            with page.expect_navigation():
                form.get_by_role("button").click()
        assert page.url == self.gallery.url + (view.lands or view.path)
        return page

    def close(self) -> None:
        for context in self.known.values():
            context.close()


class Shopper:
    """A person with a browser, and every error of its console and network."""

    numbers = itertools.count(1)

    def __init__(self, context: BrowserContext, demo: Demo, prepare: Callable[[Page], None]) -> None:
        self.context, self.demo, self.prepare = context, demo, prepare
        self.page = self.new_tab()
        self.problems: list[str] = []
        # FASTER_TIMERS, which an email's sandboxed frame refuses as it refuses every script.
        self.expected: list[str] = [r"Blocked script execution in '[^']*/emails/\d+/html'"]
        context.on("console", self._logged)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on("response", self._answered)

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.text} ({message.location['url']})")

    def _answered(self, response: Any) -> None:
        if response.status >= 500:
            self.problems.append(f"{response.status} {response.url}")

    def unexpected(self) -> list[str]:
        return [line for line in self.problems if not any(re.search(known, line) for known in self.expected)]

    def new_tab(self) -> Page:
        page = self.context.new_page()
        self.prepare(page)
        return page

    def see(self, path: str) -> None:
        self.page.goto(self.demo.shop + path)

    def press(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).click()

    def joins(self) -> None:
        """Signs up without the page: most tests are about what comes afterwards."""
        address, web = f"{self.demo.shop}/sign-up", self.page.request
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', web.get(address).text())
        assert token is not None
        response = web.post(address, form={"csrf_token": token[1], **self.details()}, max_redirects=0)
        assert response.status == 303

    def details(self) -> dict[str, str]:
        email = f"asha{next(self.numbers)}@example.com"
        return {"name": "Asha Rao", "email": email, "password": PASSWORD}

    def sign_up_for(self, plan: str = "Starter", at: str = "/plans") -> None:
        """From the list of plans, by way of signing up, to the review page."""
        self.see(at)
        self.page.get_by_role("link", name=f"Buy {plan}").click()
        for name, typed in self.details().items():
            self.page.locator(f"input[name={name}]").fill(typed)
        self.page.locator("main").get_by_role("button", name="Sign up").click()
        expect(self.page.get_by_role("heading", level=1, name="Review your order")).to_be_visible()

    def buy(self, plan: str = "Starter") -> None:
        """From the list of plans or a plan's page, by way of the review page, or from there."""
        self.reviews(plan)
        self.press("Continue to payment")
        self.is_at_payment()

    def reviews(self, plan: str = "Starter") -> None:
        if "/review?" not in self.page.url:
            self.page.get_by_role("link", name=f"Buy {plan}").click()
        expect(self.page.get_by_role("heading", level=1, name="Review your order")).to_be_visible()

    def order(self, plan: str = "Starter") -> None:
        self.joins()
        self.see("/plans")
        self.buy(plan)

    def is_at_payment(self) -> None:
        self.page.wait_for_url(f"{self.demo.sandbox}/pay/*")

    def pay(self) -> None:
        self.page.get_by_role("button", name=re.compile(r"\bpay \S", re.I)).first.click()
        self.page.wait_for_url(f"{self.demo.shop}/orders/*/success?*", wait_until="commit")

    def makes_happen(self, outcome: str, delivery: str = "normal") -> None:
        """On the payment page, with the test controls."""
        self.page.locator("details > summary").first.click()
        self.page.locator("select[name=outcome]").select_option(outcome)
        self.page.locator("select[name=delivery]").select_option(delivery)
        self.page.locator("form:has(select[name=outcome]) button").click()

    def declines(self) -> None:
        """A payment on the payment page that is declined."""
        self.page.locator("details > summary").first.click()
        self.press(re.compile("decline", re.I))
        expect(self.page.get_by_role("alert")).to_be_visible()

    def tabs_to(self, target: Locator) -> None:
        """By the keyboard alone."""
        for _ in range(60):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                return
        raise AssertionError(f"the keyboard does not reach {target}")

    def opens_order(self) -> None:
        """The open one, from the account page."""
        self.see("/account")
        self.page.locator("tbody").get_by_role("link", name="Continue or cancel").click()
        expect(self.page.locator("#order-status")).to_be_visible()

    def opens_order_of(self, state: str) -> None:
        """Waits until an order is in that state, and opens it from the account's page."""
        self.waits_elsewhere(state)
        self.see("/account")
        self.page.locator("tbody tr", has_text=state).get_by_role("link").first.click()

    def sees_phase(self, phase: str | re.Pattern[str], seconds: float = 15) -> None:
        expect(self.page.locator("#order-status")).to_have_attribute(
            "data-phase", phase, timeout=seconds * 1000
        )

    def sees_money_go_back(self) -> None:
        """The end may be known before the refund is: the page polls on, and shows it by itself."""
        self.sees_phase("paid_late", seconds=60)

    def waits_elsewhere(self, state: str) -> None:
        """Until the account page says so, requested without a tab."""
        for _ in range(100):
            if state in self.page.request.get(f"{self.demo.shop}/account").text():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"no order became {state}")

    def sees_orders(self, *states: str) -> None:
        """On the account page, the newest first."""
        self.see("/account")
        expect(self.page.locator("table tbody tr td:nth-child(2)")).to_have_text(list(states))


@pytest.fixture
def shopper(
    request: pytest.FixtureRequest, chromium: Browser, demo: Demo, htmx: bytes
) -> Iterator[Callable[..., Shopper]]:
    """`shopper(...)` opens a new browser context; an error of its browser fails the test."""
    opened: list[tuple[BrowserContext, Shopper]] = []

    def open_browser(
        script: bytes | None = htmx,
        cdn: Callable[[Route], None] | None = None,
        fast_timers: bool = True,
        newer: bytes = b"",
        **options: Any,
    ) -> Shopper:
        context = traced(chromium, **options)
        if newer:
            context.route(re.compile(r"/orders/\w+/(success|failure)"), unpinned)
        if fast_timers:
            context.add_init_script(FASTER_TIMERS)
        if cdn:
            context.route(f"{CDN}*", cdn)
        prepare = (lambda _: None) if cdn else partial(cdn_answers, script=newer or script)
        opened.append((context, Shopper(context, demo, prepare)))
        return opened[-1][1]

    yield open_browser
    problems = [line for _, someone in opened for line in someone.unexpected()]
    if problems:
        save_artifacts(request.node.name)
    for context, _ in opened:
        context.unroute_all(behavior="ignoreErrors")
        context.close()
    if problems:
        pytest.fail("the browser reported:\n" + "\n".join(problems), pytrace=False)


# --- The gallery: every page in every state, without a payment ---


@pytest.fixture(scope="package")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with running(tmp_path_factory.mktemp("gallery")) as shop:
        yield shop


@pytest.fixture(scope="package")
def visitors(chromium: Browser, gallery: Gallery) -> Iterator[Visitors]:
    """A browser context for each person, signed in where they have a name."""
    people = Visitors(chromium, gallery)
    yield people
    people.close()


@pytest.fixture(scope="session")
def axe(npm: Npm) -> str:
    return npm(AXE, "axe.min.js").decode()


@pytest.fixture
def muted(demo: Demo) -> Iterator[None]:
    """The shop learns nothing about payments until the test unmutes it."""
    demo.mute()
    yield
    demo.unmute()
