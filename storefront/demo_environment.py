"""The demo's environment: what `python wsgi.py` makes up, and what `flask --app wsgi …` reads of it.

It is kept in instance/demo.env, readable by its owner only.
"""

import base64
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENV_FILE = ROOT / "instance" / "demo.env"
OPERATOR = "operator@kestrel.test"
ENV_FILE_IS_USED = "None of FLEXPRICE_*, SECRET_KEY and DATABASE_URL is set: reading instance/demo.env."

log = logging.getLogger(__name__)
Environment = dict[str, str]


class CannotStart(Exception):
    """A sentence for the person who started the demo."""


def load_environment(environ: Mapping[str, str]) -> Environment:
    """For `flask --app wsgi …`: the demo's environment, when the environment names no shop of its own."""
    names_a_shop = any(
        name.startswith("FLEXPRICE_") or name in ("SECRET_KEY", "DATABASE_URL") for name in environ
    )
    if names_a_shop or not ENV_FILE.exists():
        return dict(environ)
    log.info(ENV_FILE_IS_USED)
    return read_env_file() | dict(environ)


def read_env_file() -> Environment:
    lines = ENV_FILE.read_text(encoding="utf-8").splitlines() if ENV_FILE.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def demo_environment() -> Environment:
    """What the environment says, and for the rest what makes the demo run. Empty counts as not set."""
    given = {name: value for name, value in os.environ.items() if value}
    port, sandbox_port = port_of("PORT", "8000"), port_of("SANDBOX_PORT", "8001")
    shop, sandbox = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{sandbox_port}"
    made = kept_secrets() | {
        "PORT": port,
        "SANDBOX_PORT": sandbox_port,
        "FLEXPRICE_API_URL": f"{sandbox}/v1",
        "FLEXPRICE_API_KEY": "sk_sandbox_default",
        "STOREFRONT_URL": shop,
        "DATABASE_URL": "sqlite:///instance/shop.db",
        "MAIL_URL": "sandbox:",
        "MAIL_FROM": "shop@kestrel.test",
        "CHECKOUT_PAYMENT_HOSTS": f"127.0.0.1:{sandbox_port}",
        "SANDBOX_URL": sandbox,
        "FLEXPRICE_DASHBOARD_URL": f"{sandbox}/_sandbox",
        "RAZORPAY_DASHBOARD_URL": "none",
        "CLOCK_FILE": str(ENV_FILE.parent.resolve() / "clock"),
        "SANDBOX_WEBHOOK_URL": f"{shop}/webhooks/flexprice",
        "SANDBOX_DATABASE_URL": "sqlite:///instance/sandbox.db",
        "SANDBOX_SHOP_QA_URL": f"{shop}/qa",
        "SANDBOX_SHOP_START_URL": f"{shop}/qa/customer",
        "SANDBOX_MERCHANT": given.get("SHOP_NAME", "Kestrel"),
    }
    write_env_file({name: value for name, value in made.items() if name not in given})
    return made | given | {"PYTHONUNBUFFERED": "1"}


def kept_secrets() -> Environment:
    """The demo's secrets: made at the first start and kept."""
    made = {
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
        "SECRET_KEY": secrets.token_urlsafe(48),
        "QA_TOKEN": secrets.token_urlsafe(24),
        "DEMO_OPERATOR_PASSWORD": secrets.token_urlsafe(12),
        "DEMO_OPERATOR_TOKEN": secrets.token_urlsafe(24),
    }
    known = read_env_file()
    return {name: known.get(name, value) for name, value in made.items()}


def write_env_file(values: Environment) -> None:
    """Readable by its owner only."""
    try:
        ENV_FILE.parent.mkdir(mode=0o700, exist_ok=True)
        ENV_FILE.parent.chmod(0o700)
        ENV_FILE.touch(mode=0o600)
        ENV_FILE.chmod(0o600)
        ENV_FILE.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")
    except OSError as error:
        raise CannotStart(f"The folder instance/ cannot be written: {error.strerror}.") from None


def port_of(variable: str, default: str) -> str:
    port = os.environ.get(variable) or default
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise CannotStart(f"{variable} must be a port number between 1 and 65535.")
    return port


def banner(environ: Environment, with_sandbox: bool) -> str:
    if not with_sandbox:
        here = f"http://127.0.0.1:{environ['PORT']}"
        return f"The shop is at {environ['STOREFRONT_URL']} (on this machine: {here}). Ctrl-C stops it."
    shop, sandbox = environ["STOREFRONT_URL"], environ["SANDBOX_URL"]
    return f"""
  The shop      {shop}
  The sandbox   {sandbox}  (a practice Flexprice; no real money)
  Tests         {sandbox}/_sandbox/scenarios  (test scenarios with a verdict each)
  Mail          {sandbox}/_sandbox/mail  (every email of the shop; nothing is sent)
  Operator      {shop}/demo/operator/{environ["DEMO_OPERATOR_TOKEN"]}  (signs you in)
                or sign in as {OPERATOR}, password {environ["DEMO_OPERATOR_PASSWORD"]}

  Try this:
    1. Open {shop}, choose a plan and sign up with any name and email address.
    2. Review and pay with the test card 4386 2894 0766 0153 (UPI failure@razorpay shows a declined payment).
    3. Watch the page change to "You're all set", then read your email at {shop}/emails

  Ctrl-C stops everything; your data is still there next time.
"""
