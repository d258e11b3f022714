"""Every environment variable of the shop: read once, checked before the first request."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from email_validator import EmailNotValidError, validate_email

from storefront.flexprice.signature import check_secret

PAYMENT_HOSTS = ("razorpay.com", "rzp.io")
SHOP_NAME = "Kestrel"

NEEDED = {
    "FLEXPRICE_API_URL": "the address of the Flexprice API, ending in /v1",
    "FLEXPRICE_API_KEY": "the key the shop shows to Flexprice",
    "FLEXPRICE_WEBHOOK_SECRET": "the signing secret of your webhook endpoint, one or several",
    "STOREFRONT_URL": "the address shoppers use to reach this shop",
    "SECRET_KEY": "what signs the session cookies, at least 32 random characters",
    "DATABASE_URL": "where the shop keeps its rows, such as sqlite:///instance/shop.db",
    "MAIL_URL": "how letters are posted, keep: or smtp://user:password@host:587",
    "MAIL_FROM": "the address letters come from",
}

TAKEN_HEADERS = {
    "host",
    "content-type",
    "content-length",
    "user-agent",
    "cookie",
    "accept",
    "connection",
}

HOST = re.compile(
    r"(?=.{1,253}(?::|$))[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?"
)


class SettingsError(ValueError):
    """All that is missing or malformed, one readable sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Settings:
    flexprice_api_url: str
    flexprice_api_key: str = field(repr=False)
    flexprice_webhook_secrets: tuple[str, ...] = field(repr=False)  # empty only beside a shared header
    storefront_url: str
    secret_key: str = field(repr=False)
    database_url: str = field(repr=False)
    mail_url: str = field(repr=False)
    mail_from: str
    flexprice_webhook_header: tuple[str, str] | None = field(default=None, repr=False)
    flexprice_environment_id: str | None = None
    payment_hosts: tuple[str, ...] = PAYMENT_HOSTS
    shop_name: str = SHOP_NAME
    rate_limits: str = field(default="memory:", repr=False)
    trusted_proxies: int = 0
    renewal_grace: timedelta = timedelta(days=3)
    qa: str = ""
    metrics_token: str = field(default="", repr=False)  # without one there is no /metrics

    @property
    def production(self) -> bool:
        return self.storefront_url.startswith("https:")

    @property
    def qa_page(self) -> bool:
        """Off in production unless it is switched on."""
        return self.qa == "on" if self.qa else not self.production

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        env = _Reader(environ)
        settings = cls(
            flexprice_api_url=env.needed("FLEXPRICE_API_URL", _api_url),
            flexprice_api_key=env.needed("FLEXPRICE_API_KEY", _api_key),
            flexprice_environment_id=env.optional("FLEXPRICE_ENVIRONMENT_ID") or None,
            flexprice_webhook_secrets=_secrets(env),
            flexprice_webhook_header=_split_header(env.optional("FLEXPRICE_WEBHOOK_HEADER", _webhook_header)),
            storefront_url=env.needed("STOREFRONT_URL", _storefront_url),
            secret_key=env.needed("SECRET_KEY", _secret_key),
            database_url=env.needed("DATABASE_URL", _database_url),
            mail_url=env.needed("MAIL_URL", _mail_url),
            mail_from=env.needed("MAIL_FROM", _mail_from),
            payment_hosts=(*PAYMENT_HOSTS, *env.optional("PAYMENT_HOSTS", _payment_hosts).split()),
            shop_name=env.optional("SHOP_NAME") or SHOP_NAME,
            rate_limits=env.optional("RATE_LIMITS", _rate_limits) or "memory:",
            trusted_proxies=int(env.optional("TRUSTED_PROXIES", _trusted_proxies) or 0),
            renewal_grace=timedelta(days=int(env.optional("RENEWAL_GRACE_DAYS", _days) or 3)),
            qa=env.optional("QA_PAGE", _switch),
            metrics_token=env.optional("METRICS_TOKEN", _metrics_token),
        )
        if env.problems:
            raise SettingsError(env.problems)
        return settings


class _Reader:
    """Takes one variable after the other and keeps every complaint, so that all are reported together."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def needed(self, name: str, check: Callable[[str], str]) -> str:
        if not self.environ.get(name, "").strip():
            self.problems.append(f"{name} is missing: {NEEDED[name]}. See .env.example.")
            return ""
        return self.optional(name, check)

    def optional(self, name: str, check: Callable[[str], str] = str) -> str:
        value = self.environ.get(name, "").strip()
        if not value:
            return ""
        try:
            return check(value)
        except _Wrong as wrong:
            self.problems.append(f"{name} {wrong}. See .env.example.")
            return ""


class _Wrong(ValueError):
    """What is wrong with a value, in words that go after its name and never repeat the value."""


def is_loopback(url: str) -> bool:
    """Whether this address can only mean the machine it is read on."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        raise _Wrong("is not an address that can be read") from None
    return parts


def _web_address(url: str) -> SplitResult:
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        raise _Wrong("must be a whole address, beginning with https://")
    if parts.scheme == "http" and not is_loopback(url):
        raise _Wrong("must begin with https:// (plain http is accepted on this machine's own address only)")
    if parts.username is not None or parts.password is not None:
        raise _Wrong("must not carry a user name or password")
    if parts.query or parts.fragment:
        raise _Wrong("must not have anything after a ? or #")
    return parts


def _api_url(url: str) -> str:
    url = url.rstrip("/")
    if not _web_address(url).path.endswith("/v1"):
        raise _Wrong("must end in /v1")
    return url


def _api_key(key: str) -> str:
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise _Wrong("has a character in it that no key has, perhaps a space or a line break")
    return key


def _webhook_secrets(secrets: str) -> str:
    for place, secret in enumerate(secrets.split(), start=1):
        try:
            check_secret(secret)
        except ValueError:  # its words are left out: they may repeat the secret
            raise _Wrong(
                f"is malformed (secret {place} of {len(secrets.split())}): "
                "each must be whsec_ and the base64 of at least 24 bytes, and spaces go between them"
            ) from None
    return secrets


def _secrets(env: _Reader) -> tuple[str, ...]:
    """Verification is never off: a self-hosted Flexprice that does not sign must send a shared header."""
    name, unsigned = "FLEXPRICE_WEBHOOK_SECRET", env.environ.get("FLEXPRICE_WEBHOOK_HEADER", "").strip()
    read = env.optional if unsigned else env.needed
    return tuple(read(name, _webhook_secrets).split())


def _webhook_header(header: str) -> str:
    name, value = _split_header(header) or ("", "")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not value:
        raise _Wrong("must be the name of a header, a colon and its value")
    if name.lower().startswith(("svix-", "webhook-")) or name.lower() in TAKEN_HEADERS:
        raise _Wrong("must not be a header that has a meaning already")
    if not re.fullmatch(r"[!-~]+", value):
        raise _Wrong("has a character in its value that no value has, perhaps a space or a line break")
    if len(value) < 24:
        raise _Wrong("has too short a value: at least 24 random characters")
    return header


def _split_header(header: str) -> tuple[str, str] | None:
    name, colon, value = header.partition(":")
    return (name.strip(), value.strip()) if colon else None


def _storefront_url(url: str) -> str:
    url = url.rstrip("/")
    if _web_address(url).path:
        raise _Wrong("must be scheme and host only, without a path")
    return url


def _secret_key(key: str) -> str:
    if len(key) < 32:
        raise _Wrong("is too short: at least 32 random characters")
    return key


def _database_url(url: str) -> str:
    if url.startswith("sqlite:///"):
        return _absolute_sqlite(url)
    scheme, mark, rest = url.partition("://")
    if mark and scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    raise _Wrong("must begin with sqlite:/// or postgresql://")


def _absolute_sqlite(url: str) -> str:
    """Relative files are relative to the working directory, for every process and library alike."""
    file, mark, options = url.removeprefix("sqlite:///").partition("?")
    if not file:
        raise _Wrong("names no file after sqlite:///")
    if file == ":memory:":
        return url
    return f"sqlite:///{Path(file).absolute()}{mark}{options}"


def _mail_url(url: str) -> str:
    if url == "keep:":
        return url
    parts = _split(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise _Wrong("must be keep:, or begin with smtp:// or smtps:// and name a host")
    return url


def _mail_from(address: str) -> str:
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise _Wrong("is not an e-mail address") from None
    return address


def _metrics_token(token: str) -> str:
    if len(token) < 16 or not re.fullmatch(r"[!-~]+", token):
        raise _Wrong("must be at least 16 characters, without spaces")
    return token


def _switch(word: str) -> str:
    if word.lower() not in ("on", "off"):
        raise _Wrong("must be on or off")
    return word.lower()


def _payment_hosts(hosts: str) -> str:
    hosts = hosts.lower()
    if not all(HOST.fullmatch(host) for host in hosts.split()):
        raise _Wrong("must be hosts such as pay.example.com or localhost:8001, with spaces between them")
    return hosts


def _days(days: str) -> str:
    if not re.fullmatch(r"[0-9]{1,3}", days):
        raise _Wrong("must be a whole number of days")
    return days


def _rate_limits(where: str) -> str:
    if where in ("memory:", "off") or re.match(r"(rediss?|valkeys?|memcached)://[^\s/]", where):
        return where
    raise _Wrong("must be memory:, off, or the address of a store all processes share, such as redis://host")


def _trusted_proxies(number: str) -> str:
    if not re.fullmatch(r"[0-5]", number):
        raise _Wrong("must be how many proxies stand in front of the shop, 0 to 5")
    return number
