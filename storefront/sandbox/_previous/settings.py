"""What the sandbox is told when it starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class SandboxSettings:
    database_url: str = "sqlite:///instance/sandbox.db"
    url: str = "http://127.0.0.1:8001"
    webhook_url: str = "http://127.0.0.1:8000/webhooks/flexprice"
    shop: str = ""
    api_key: str = "sk_sandbox"
    # All of them sign, as Svix does while a secret is being rotated.
    webhook_secrets: tuple[str, ...] = ("whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ==",)
    old_webhook_secret: str = "whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMA=="  # noqa: S105 - of tests
    webhook_signing: str = "svix"  # or native: unsigned, with one header
    native_header: str = "X-Flexprice-Key: sandbox-native-key"
    webhook_retries: str = "flexprice"  # or svix, see hooks.LADDERS
    merchant: str = "Kestrel"
    senders: int = 8  # messages under way at once, of as many customers

    @property
    def shop_url(self) -> str:
        """Where the shop's pages are: where its webhooks go, unless said otherwise."""
        return self.shop or "{0.scheme}://{0.netloc}".format(urlsplit(self.webhook_url))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "SandboxSettings":
        env = os.environ if environ is None else environ
        secrets = env.get("FLEXPRICE_WEBHOOK_SECRET", "").split()
        header = env.get("FLEXPRICE_WEBHOOK_HEADER", "").strip()
        settings = cls(
            database_url=env.get("SANDBOX_DATABASE_URL") or cls.database_url,
            url=address(env),
            webhook_url=env.get("SANDBOX_WEBHOOK_URL") or cls.webhook_url,
            shop=(env.get("SANDBOX_SHOP_URL") or cls.shop).rstrip("/"),
            api_key=env.get("FLEXPRICE_API_KEY") or cls.api_key,
            webhook_secrets=tuple(secrets) or cls.webhook_secrets,
            old_webhook_secret=env.get("SANDBOX_OLD_SECRET") or cls.old_webhook_secret,
            webhook_signing=env.get("SANDBOX_SIGNING") or ("native" if header and not secrets else "svix"),
            native_header=header or cls.native_header,
            webhook_retries=env.get("SANDBOX_RETRIES") or cls.webhook_retries,
            merchant=env.get("SANDBOX_MERCHANT") or cls.merchant,
        )
        settings.check()
        return settings

    def check(self) -> None:
        """Complains before the first request, not at the first delivery."""
        if self.webhook_signing not in ("svix", "native"):
            raise ValueError("SANDBOX_SIGNING is svix or native")
        if self.webhook_retries not in ("flexprice", "svix"):
            raise ValueError("SANDBOX_RETRIES is flexprice or svix")
        if ":" not in self.native_header:
            raise ValueError(
                "FLEXPRICE_WEBHOOK_HEADER is a header, for example X-Flexprice-Key: a long value"
            )


def address(env: Mapping[str, str]) -> str:
    """Where the sandbox answers, for its payment links and its commands."""
    return (env.get("SANDBOX_URL") or f"http://127.0.0.1:{env.get('SANDBOX_PORT') or 8001}").rstrip("/")
