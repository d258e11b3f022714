"""What the sandbox is told when it starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SandboxSettings:
    database_url: str = "sqlite:///instance/sandbox.db"
    url: str = "http://127.0.0.1:8001"
    webhook_url: str = "http://127.0.0.1:8000/webhooks/flexprice"
    api_key: str = "sk_sandbox"
    # All of them sign, as Svix does while a secret is being rotated.
    webhook_secrets: tuple[str, ...] = ("whsec_c3RvcmVmcm9udC1zYW5kYm94LXNlY3JldC0wMQ==",)
    merchant: str = "Kestrel"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "SandboxSettings":
        env = os.environ if environ is None else environ
        secrets = env.get("FLEXPRICE_WEBHOOK_SECRET", "").split()
        return cls(
            database_url=env.get("SANDBOX_DATABASE_URL") or cls.database_url,
            url=(env.get("SANDBOX_URL") or cls.url).rstrip("/"),
            webhook_url=env.get("SANDBOX_WEBHOOK_URL") or cls.webhook_url,
            api_key=env.get("FLEXPRICE_API_KEY") or cls.api_key,
            webhook_secrets=tuple(secrets) or cls.webhook_secrets,
            merchant=env.get("SANDBOX_MERCHANT") or cls.merchant,
        )
