"""Go-live checks of the settings, and what only a person can check."""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from storefront.flexprice import is_loopback
from storefront.operations.preflight.result import BY_HAND, FAILS, OK, WARNING, Context, Finding

DEMO_ENV = Path(__file__).resolve().parents[3] / "instance" / "demo.env"  # what the demo made up
DEMO_KEY_PREFIXES = ("sk_sandbox_", "sk_demo_")
MADE_UP = ("FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY", "QA_TOKEN", "METRICS_TOKEN")
NOT_PUBLIC = (".test", ".local", ".localhost", ".internal", ".example", ".invalid", ".lan", ".home.arpa")
TAKE_YOUR_OWN = "Use the value of your Flexprice account; never copy one from the demo."


def address(context: Context) -> Iterable[Finding]:
    """Customers and Flexprice must reach the shop."""
    url, host = context.settings.storefront_url, urlsplit(context.settings.storefront_url).hostname or ""
    fix = "Set STOREFRONT_URL to the https address customers use; return and webhook addresses follow it."
    if not context.settings.production:
        yield Finding(FAILS, f"{url} is plain http: for practice only.", fix)
    elif not is_public(host):
        yield Finding(FAILS, f"{host} is not a public name: customers and Flexprice cannot reach it.", fix)
    else:
        yield Finding(OK, f"{url}, and with it the success, failure, cancel and webhook addresses")


def is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(NOT_PUBLIC)


def not_the_sandbox(context: Context) -> Iterable[Finding]:
    """No value of the demo goes live."""
    shop, demo = context.settings, demo_values()
    if is_loopback(shop.flexprice_api_url):
        message = "FLEXPRICE_API_URL is this machine: the sandbox, not Flexprice."
        yield Finding(FAILS, message, TAKE_YOUR_OWN)
    if shop.flexprice_api_key in demo or shop.flexprice_api_key.startswith(DEMO_KEY_PREFIXES):
        yield Finding(FAILS, "FLEXPRICE_API_KEY is the demo's.", TAKE_YOUR_OWN)
    if demo.intersection(shop.flexprice_webhook_secret.split()):
        yield Finding(FAILS, "FLEXPRICE_WEBHOOK_SECRET is the sandbox's.", TAKE_YOUR_OWN)
    if shop.secret_key in demo:
        yield Finding(FAILS, "SECRET_KEY is the demo's.", "Make a new one; see .env.example.")
    yield from _left_over(context)
    if not is_loopback(shop.flexprice_api_url) and shop.flexprice_api_key not in demo:
        yield Finding(OK, f"{shop.flexprice_api_url} with a key of its own")


def _left_over(context: Context) -> Iterable[Finding]:
    shop = context.settings
    local = [host for host in shop.payment_hosts if is_loopback(f"//{host}")]
    if local:
        message = f"CHECKOUT_PAYMENT_HOSTS names this machine ({', '.join(local)})."
        yield Finding(FAILS, message, "Remove it.")
    if shop.qa_page and shop.production:
        yield Finding(WARNING, "The QA page is on.", "Set QA_PAGE=off once you sell for real.")


def demo_values() -> set[str]:
    """The secrets that the demo made up for itself, and its API key."""
    lines = DEMO_ENV.read_text(encoding="utf-8").splitlines() if DEMO_ENV.exists() else []
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return {values.get(name, "") for name in (*MADE_UP, "FLEXPRICE_API_KEY")} - {""}


def webhook_secret(context: Context) -> Iterable[Finding]:
    """Whether it is well formed was checked when the shop started."""
    number = len(context.settings.flexprice_webhook_secret.split())
    if number == 1:
        yield Finding(OK, "one, well formed")
    elif number:
        message = f"{number} are accepted."
        yield Finding(WARNING, message, "Remove the old one when the rotation is over.")
    else:
        message = "Webhooks are unsigned and have a shared header only; the shop asks Flexprice about each."
        yield Finding(
            WARNING, message, "With Flexprice Cloud use a signing secret: FLEXPRICE_WEBHOOK_SECRET."
        )


def by_hand(context: Context) -> Iterable[Finding]:
    """What cannot be seen from here."""
    yield from (Finding(BY_HAND, message, where) for message, where in MANUAL)


MANUAL = (
    (
        "Razorpay reports payments to Flexprice: payment_link.paid and payment.captured are enabled.",
        "Razorpay: Settings, Webhooks. Without both, money stays at Razorpay and the session expires.",
    ),
    (
        "Flexprice uses Razorpay's live keys.",
        "Flexprice: Integrations, Razorpay. Live keys begin with rzp_live_.",
    ),
    (
        "Flexprice sends this shop checkout.session.*, subscription.* and, where it has them, refund.*.",
        "Flexprice: Webhooks, the endpoint's events. Events without a subscriber are never sent again.",
    ),
    (
        "The shop can be reached from outside this network.",
        "From a phone without Wi-Fi, open the shop's address and /healthz.",
    ),
    (
        "A small purchase and its refund succeeded.",
        "Buy the cheapest plan, check it at /qa or on the operator's page, then refund it in Razorpay.",
    ),
)
