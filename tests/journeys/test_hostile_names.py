"""A shopper with a hostile name, at the sandbox: a tester who looks at its pages runs nothing of theirs."""

from typing import Any

import requests

HOSTILE = "\"'><xss onfocus=alert(1) autofocus>{{7*7}}"


def test_no_page_of_the_sandbox_does_what_a_name_says(world: Any) -> None:
    asha = world.visitor()
    answer = asha.send(
        asha.see("/sign-up"), "", name=HOSTILE, email="asha@example.com", password="a sentence to remember"
    )
    assert answer.status_code == 303
    paying = asha.buy().headers["Location"]
    asha.pay(paying, f"failure@razorpay{HOSTILE}")
    pages = {url: requests.get(url, timeout=10) for url in (paying, *pages_of(world))}
    for url, page in pages.items():
        assert page.status_code == 200, url
        if page.headers["Content-Type"] == "application/json":
            continue  # no browser reads tags in it
        assert "<xss" not in page.text, url
        assert page.text.count("&lt;xss") <= page.text.count("{{7*7}}"), url
    assert "&lt;xss" in pages[paying].text


def pages_of(world: Any) -> list[str]:
    """All of the sandbox's own that need nothing in their address."""
    rules = [rule for rule in world.sandbox.url_map.iter_rules() if "GET" in rule.methods]
    paths = [rule.rule for rule in rules if not rule.arguments and not rule.rule.startswith("/v1/")]
    return [world.sandbox_url + path for path in paths]
