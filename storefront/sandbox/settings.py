"""Settings of the sandbox, from the environment or the command line."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

GENERATIONS = ("newest", "legacy")
SIGNING = ("svix", "native")
RETRIES = ("flexprice", "svix")
DEFAULT_KEY = "sk_sandbox_default"


@dataclass(frozen=True)
class SandboxSettings:
    """How the sandbox starts. What belongs to a store is only the default store's here.

    :param url: where the sandbox is reached; used for payment links.
    :param webhook_url: where the default store's messages go; empty: nowhere.
    :param webhook_secrets: the default store's; each of them signs, as Svix does during a rotation.
    :param senders: messages sent at the same time, each to another customer.
    :param shop_qa_url: the shop's QA JSON, which a verdict of a test scenario asks with `qa_token`.
    :param shop_start: the page of the shop that a test scenario opens; `shop_url` if it is empty.
    :param clock_file: gets the seconds by which the default store's clock is ahead.
    :param seed: what the default store is filled with: `demo`, a path of a YAML or JSON file, or nothing.
    """

    database_url: str = "sqlite:///instance/sandbox.db"
    url: str = "http://127.0.0.1:8001"
    webhook_url: str = "http://127.0.0.1:8000/webhooks/flexprice"
    shop: str = ""
    api_key: str = DEFAULT_KEY
    webhook_secrets: tuple[str, ...] = ("whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ==",)
    old_webhook_secret: str = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="  # noqa: S105 - a test secret
    webhook_signing: str = "svix"
    native_header: str = "X-Flexprice-Key: sandbox-native-key"
    webhook_retries: str = "flexprice"
    merchant: str = "Kestrel"
    generation: str = "newest"
    allowed_hosts: tuple[str, ...] = ()
    seed: str = "demo"
    senders: int = 8
    clock_file: str = ""
    shop_qa_url: str = ""
    qa_token: str = field(default="", repr=False)
    shop_start: str = ""

    @property
    def shop_url(self) -> str:
        """Where the shop's pages are: where its webhooks go, unless set. Empty if neither is known."""
        found = urlsplit(self.webhook_url)
        return self.shop or (f"{found.scheme}://{found.netloc}" if found.netloc else "")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "SandboxSettings":
        """:raises ValueError: a setting cannot work."""
        env = os.environ if environ is None else environ
        secrets = env.get("FLEXPRICE_WEBHOOK_SECRET", "").split()
        header = env.get("FLEXPRICE_WEBHOOK_HEADER", "").strip()
        settings = cls(
            database_url=env.get("SANDBOX_DATABASE_URL") or cls.database_url,
            url=address(env),
            webhook_url=env.get("SANDBOX_WEBHOOK_URL", cls.webhook_url),
            shop=(env.get("SANDBOX_SHOP_URL") or cls.shop).rstrip("/"),
            api_key=env.get("FLEXPRICE_API_KEY") or cls.api_key,
            webhook_secrets=tuple(secrets) or cls.webhook_secrets,
            old_webhook_secret=env.get("SANDBOX_OLD_SECRET") or cls.old_webhook_secret,
            webhook_signing=env.get("SANDBOX_SIGNING") or ("native" if header and not secrets else "svix"),
            native_header=header or cls.native_header,
            webhook_retries=env.get("SANDBOX_RETRIES") or cls.webhook_retries,
            merchant=env.get("SANDBOX_MERCHANT") or cls.merchant,
            generation=env.get("SANDBOX_GENERATION") or cls.generation,
            allowed_hosts=tuple(env.get("SANDBOX_ALLOWED_HOSTS", "").replace(",", " ").split()),
            seed=env.get("SANDBOX_SEED", cls.seed),
            clock_file=env.get("CLOCK_FILE", cls.clock_file),
            shop_qa_url=env.get("SANDBOX_SHOP_QA_URL", "").rstrip("/"),
            qa_token=env.get("QA_TOKEN", ""),
            shop_start=env.get("SANDBOX_SHOP_START_URL", ""),
        )
        settings.check()
        return settings

    def check(self) -> None:
        """:raises ValueError: names the setting and what it may be."""
        for name, value, allowed in (
            ("SANDBOX_SIGNING", self.webhook_signing, SIGNING),
            ("SANDBOX_RETRIES", self.webhook_retries, RETRIES),
            ("SANDBOX_GENERATION", self.generation, GENERATIONS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {' or '.join(allowed)}")
        if ":" not in self.native_header:
            raise ValueError(
                "FLEXPRICE_WEBHOOK_HEADER is a header, for example X-Flexprice-Key: a long value"
            )


def address(env: Mapping[str, str]) -> str:
    """Where the sandbox answers, for payment links and commands."""
    return (env.get("SANDBOX_URL") or f"http://127.0.0.1:{env.get('SANDBOX_PORT') or 8001}").rstrip("/")
