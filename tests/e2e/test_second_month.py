"""The months after the first payment, walked in a browser at the demo; the tester moves its clock.

A demo of its own: the clock of all its shoppers is moved.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from tests.e2e.conftest import Demo, running_demo
from tests.e2e.gallery import PASSWORD

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
WITH_AND_WITHOUT = pytest.mark.parametrize("with_script", [True, False], ids=["script", "no script"])
SUBSCRIPTION = re.compile(r"/subscriptions/(subs_\w+)/")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("months"), CHECKOUT_CANCEL_IMMEDIATELY="on") as started:
        yield started


class Subscriber:
    """A shopper with a plan, the tester who moves the time, and the operator who looks on."""

    def __init__(self, shopper: Open, with_script: bool = True) -> None:
        self.shopper = shopper(java_script_enabled=with_script)
        self.page, self.demo = self.shopper.page, self.shopper.demo

    def buys(self, plan: str = "Starter") -> None:
        self.shopper.order(plan)
        self.pays_on_page("/orders/*/success?*")
        self.shopper.waits_elsewhere("Completed")
        self.sees("Current period")

    def pays_on_page(self, back: str = "/billing") -> None:
        self.shopper.is_at_payment()
        self.page.get_by_role("button", name=re.compile(r"\bpay \S", re.I)).first.click()
        self.page.wait_for_url(self.demo.shop + back)

    def sees(self, *texts: str, path: str = "/billing", without: str = "") -> None:
        """The page, once the worker has got so far. Requested without a tab."""
        for _ in range(150):
            html = re.sub("<[^>]+>", "", self.page.request.get(self.demo.shop + path).text())
            if all(text in html for text in texts) and not (without and without in html):
                break
            self.page.wait_for_timeout(100)
        self.shopper.see(path)
        for text in texts:
            expect(self.page.locator("main")).to_contain_text(text)
        if without:
            expect(self.page.locator("main")).not_to_contain_text(without)

    def starts_trial(self) -> None:
        self.shopper.joins()
        self.shopper.see("/plans")
        business = self.page.locator(
            ".card", has=self.page.get_by_role("heading", name="Business", exact=True)
        )
        business.get_by_role("link").first.click()
        self.presses(re.compile("Start the 14-day trial"))
        self.sees("Trial until", "Then we send you the first invoice.")

    def section(self, plan: str) -> Any:
        return self.page.locator("section", has=self.page.get_by_role("heading", name=plan, exact=True))

    def follows(self, *links: str | re.Pattern[str]) -> None:
        for link in links:
            self.page.get_by_role("link", name=link).first.click()

    def presses(self, button: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=button).first.click()

    def pays_invoice(self) -> None:
        self.presses(re.compile("^Pay INV"))
        self.pays_on_page()
        self.sees("Paid", without="Pay INV")

    def in_sandbox(self, button: str) -> None:
        """On the sandbox's page of the newest plan."""
        html = self.page.request.get(f"{self.demo.shop}/billing").text()
        found = SUBSCRIPTION.search(html)
        assert found is not None, html
        self.page.goto(f"{self.demo.sandbox}/_sandbox/subscriptions/{found[1]}")
        self.presses(button)
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(found[1])

    def time_passes(self, step: str) -> None:
        moved = requests.post(f"{self.demo.sandbox}/_sandbox/clock", json={"advance": step}, timeout=60)
        moved.raise_for_status()

    def reads_email(self, subject: str, *texts: str) -> None:
        self.sees(subject, path="/emails")
        self.follows(subject)
        expect(self.page.frame_locator("iframe").locator("body")).to_contain_text(subject.split()[-1])
        for text in texts:
            expect(self.page.frame_locator("iframe").locator("body")).to_contain_text(text)

    def emails(self) -> list[str]:
        self.shopper.see("/emails")
        return self.page.locator("main li a").all_inner_texts()


def becomes_operator(shopper: Open, demo: Demo) -> Any:
    """By the command, and with a new password, as the command asks."""
    olga = shopper()
    olga.joins()
    olga.see("/account")
    email = olga.page.locator("main .lead").inner_text().split()[-1]
    link = re.search(r"http\S+", demo.command("operator", email))
    assert link is not None
    olga.page.goto(link[0])
    olga.page.locator("input[name=password]").fill(PASSWORD + " well")
    olga.page.locator("main").get_by_role("button").click()
    olga.see("/sign-in")
    olga.page.locator("input[name=email]").fill(email)
    olga.page.locator("input[name=password]").fill(PASSWORD + " well")
    olga.page.locator("main").get_by_role("button", name="Sign in").click()
    olga.page.wait_for_url(demo.shop + "/")
    return olga


def operator_sees(olga: Any, *texts: str) -> None:
    """Of the newest plan."""
    olga.see("/operator/billing")
    for text in texts:
        expect(olga.page.locator("main section").first).to_contain_text(text)


@pytest.mark.thorough
@pytest.mark.parametrize("first_renewal", ["skipped", "billed"])
@WITH_AND_WITHOUT
def test_the_whole_story(shopper: Open, demo: Demo, with_script: bool, first_renewal: str) -> None:
    """Bought, renewed, changed at the renewal, undone, changed today, cancelled, undone, over."""
    switched = {"first_renewal": first_renewal}
    requests.post(f"{demo.sandbox}/_sandbox/switches", json=switched, timeout=20).raise_for_status()
    asha, olga = Subscriber(shopper, with_script), becomes_operator(shopper, demo)
    asha.buys()
    operator_sees(olga, "Starter", "active, access granted")

    asha.in_sandbox("To the next invoice")
    asha.sees("Active.", "To be paid", "Pay INV")
    asha.reads_email("Your invoice for Starter", "₹499.00")
    operator_sees(olga, "PENDING")
    asha.shopper.see("/billing")
    asha.pays_invoice()
    asha.reads_email("Your invoice for Starter is paid")
    asha.sees("SUCCEEDED, 499 INR", path=qa_page(asha))
    operator_sees(olga, "SUCCEEDED", "settled, attempt 1")

    asha.shopper.see("/billing")
    asha.follows("Change plan", "Team, monthly")
    expect(asha.page.locator("main")).to_contain_text("Nothing is charged today.")
    asha.presses("Change at the renewal")
    expect(asha.page.locator("main")).to_contain_text("Then it changes to Team.")
    asha.presses("Undo the planned change")
    expect(asha.page.locator("main")).to_contain_text("It continues after that.")

    asha.follows("Change plan", "Team, monthly")
    expect(asha.page.locator("main")).to_contain_text("The rest of its period is not refunded.")
    asha.presses("Pay and change today")
    asha.shopper.is_at_payment()
    payment_page = asha.page.url
    asha.shopper.see("/account")
    expect(asha.page.locator(".panel--open")).to_contain_text(re.compile(r"in \d+ minutes"))
    asha.page.goto(payment_page)
    asha.pays_on_page("/orders/*/success?*")
    asha.sees("Replaced by another plan.", "Team")
    asha.sees("Team", path="/members", without="Starter")
    operator_sees(olga, "Team", "active, access granted")

    asha.shopper.see("/billing")
    asha.follows("Cancel plan")
    asha.presses("Cancel at the end of the period")
    expect(asha.section("Team")).to_contain_text("then it ends.")
    asha.presses("Keep this plan")
    asha.follows("Cancel plan")
    expect(asha.page.locator("main")).to_contain_text("Nothing is refunded.")
    asha.presses("Cancel at the end of the period")
    operator_sees(olga, "ends")

    asha.in_sandbox("To the period's end")
    asha.sees("Your plan has ended. It ran until", "Buy again", without="Pay INV")
    asha.reads_email("Your plan Team has ended")
    operator_sees(olga, "cancelled, access ended")
    asha.sees("cancelled, access ended", path=qa_page(asha))
    asha.sees("Ended", path="/account", without="Open the members’ pages")
    for subject, times in {"Your plan Team is cancelled": 2, "Your plan Team goes on": 1}.items():
        assert asha.emails().count(subject) == times


def qa_page(asha: Subscriber) -> str:
    """Of the newest order."""
    asha.shopper.see("/qa")
    path = asha.page.locator("main a[href^='/qa/']:not([href*='.'])").first.get_attribute("href")
    return str(path)


@pytest.mark.thorough
@WITH_AND_WITHOUT
def test_declined_then_paid(shopper: Open, with_script: bool) -> None:
    asha = Subscriber(shopper, with_script)
    asha.buys()
    asha.in_sandbox("To the next invoice")
    asha.sees("Pay INV")
    asha.presses(re.compile("^Pay INV"))
    asha.shopper.is_at_payment()
    link = asha.page.url
    asha.shopper.declines()
    asha.sees("To be paid", "Pay INV")
    asha.presses(re.compile("^Pay INV"))
    asha.pays_on_page()
    assert link.startswith(asha.demo.sandbox)
    asha.sees("Paid", without="Pay INV")


@pytest.mark.thorough
@WITH_AND_WITHOUT
def test_suspended_and_resumed(shopper: Open, with_script: bool) -> None:
    asha = Subscriber(shopper, with_script)
    asha.buys()
    asha.in_sandbox("To the next invoice")
    asha.sees("To be paid")
    asha.time_passes("25h")
    asha.sees("To be paid, overdue", "Active.")
    asha.time_passes("73h")
    asha.sees("Paused: an invoice is overdue.")
    asha.sees("Paused", path="/account", without="Open the members’ pages")
    asha.reads_email("Your plan Starter is paused")
    asha.shopper.see("/billing")
    asha.pays_invoice()
    asha.sees("Active.", without="Paused")
    asha.sees("Starter", path="/members")
    asha.reads_email("Your plan Starter is active again")


@pytest.mark.thorough
@WITH_AND_WITHOUT
def test_cancelled_at_once(shopper: Open, with_script: bool) -> None:
    """Outside a trial: where the shop allows it, as this one does."""
    asha = Subscriber(shopper, with_script)
    asha.buys()
    asha.follows("Change plan", "Team, monthly")
    asha.presses("Change at the renewal")
    asha.follows("Cancel plan", "Cancel at once instead")
    expect(asha.page.locator("main")).to_contain_text(
        re.compile(
            "you lose access at once. Nothing is refunded.*Your planned change of plan is dropped", re.S
        )
    )
    asha.presses("Cancel now")
    asha.sees("Your plan has ended", "Buy again", without="Cancel plan")
    asha.sees("Ended", path="/account", without="Open the members’ pages")
    asha.reads_email("Your plan Starter has ended")
    assert "Your plan Starter is cancelled" not in asha.emails()


@pytest.mark.thorough
@WITH_AND_WITHOUT
def test_started_free_and_changed(shopper: Open, with_script: bool) -> None:
    asha = Subscriber(shopper, with_script)
    asha.shopper.joins()
    asha.shopper.see("/plans")
    free = asha.page.locator(".card", has=asha.page.get_by_role("heading", name="Free", exact=True))
    free.get_by_role("button", name="Start free").click()
    asha.sees("Active.", "Nothing to pay at the moment.")
    asha.sees("Free", path="/members")
    asha.shopper.see("/plans")
    asha.follows("Buy Starter")
    asha.presses("Continue to payment")
    expect(asha.page.get_by_role("heading", level=1, name="Change to Starter")).to_be_visible()
    asha.presses("Pay and change today")
    asha.pays_on_page("/orders/*/success?*")
    asha.sees("Replaced by another plan.", "Starter")


@pytest.mark.thorough
@WITH_AND_WITHOUT
def test_trials_cancelled_and_over(shopper: Open, with_script: bool) -> None:
    """One is cancelled at once, and is the only one; another shopper's ends, with an invoice."""
    asha = Subscriber(shopper, with_script)
    asha.starts_trial()
    asha.follows("Cancel plan")
    expect(asha.page.locator("main")).to_contain_text("It ends now")
    asha.presses("Cancel now")
    asha.sees("Your plan has ended", without="Cancel plan")
    asha.sees("Ended", path="/account", without="Open the members’ pages")
    asha.shopper.see("/plans")
    expect(asha.page.get_by_role("link", name="Buy Business")).to_be_visible()

    ben = Subscriber(shopper, with_script)
    ben.starts_trial()
    ben.time_passes("14d")
    ben.time_passes("4h")
    ben.sees("To be paid", "Pay INV")
    ben.pays_invoice()
    ben.sees("Active.", "Current period", without="Trial until")
    ben.reads_email("Your invoice for Business")
    ben.sees("Business", path="/members")
