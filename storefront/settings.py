"""Every environment variable of the shop: read once, checked before the first request."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from babel.dates import get_timezone
from email_validator import EmailNotValidError, validate_email
from environs import Env, EnvError
from environs.exceptions import EnvValidationError
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from storefront.flexprice import InvalidSecret, check_secret, is_loopback

SHOP_NAME = "Kestrel"
SERVER_THREADS = 8  # of each web process: waitress in the demo, gunicorn in the image
MAX_BODY_BYTES = 256 * 1024  # of a request; webhooks have a limit of their own

NEEDED = {
    "FLEXPRICE_API_URL": "the address of the Flexprice API, ending in /v1",
    "FLEXPRICE_API_KEY": "the API key of your Flexprice environment",
    "FLEXPRICE_WEBHOOK_SECRET": "the signing secret of your webhook endpoint, one or several",
    "STOREFRONT_URL": "the address at which shoppers reach this shop",
    "SECRET_KEY": "signs the session cookies, at least 32 random characters",
    "DATABASE_URL": "where the shop stores its data, such as sqlite:///instance/shop.db",
    "MAIL_URL": "how email is sent, keep:, sandbox: or smtp://user:password@host:587",
    "MAIL_FROM": "the sender address of email",
}

FOR_TESTS_ONLY = {
    "CLOCK_FILE": "moves the shop's time, which a shop in production must not have",
    "DEMO_OPERATOR_TOKEN": "signs an operator in without a password, which a shop in production must not do",
}

FLEXPRICE_DASHBOARD_URL = "https://admin.flexprice.io"
RAZORPAY_DASHBOARD_URL = "https://dashboard.razorpay.com/app"

RESERVED_HEADERS = {"host", "content-type", "content-length", "user-agent", "cookie", "accept", "connection"}
HOST = re.compile(
    r"(?=.{1,253}(?::|$))[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?"
)


class SettingsError(ValueError):
    """Everything that is missing or malformed, one sentence each; no sentence repeats a value.

    :param problems: the sentences.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Settings:
    """The checked settings; `config()` is what Flask and its extensions read of them."""

    flexprice_api_url: str
    flexprice_api_key: str = field(repr=False)
    flexprice_webhook_secret: str = field(repr=False)  # several with spaces between; "" only beside a header
    storefront_url: str  # scheme and host
    secret_key: str = field(repr=False)
    database_url: URL  # its repr hides the password
    mail_url: str = field(repr=False)
    mail_from: str
    flexprice_webhook_header: str = field(default="", repr=False)  # "Name: value"
    flexprice_environment_id: str | None = None
    payment_hosts: tuple[str, ...] = ()  # besides razorpay.com and rzp.io
    shop_name: str = SHOP_NAME
    time_zone: str = "Asia/Kolkata"  # of times on pages and in emails
    rate_limits: str = field(default="memory:", repr=False)
    trusted_proxies: int = 0
    qa: str = ""
    qa_token: str = field(default="", repr=False)  # lets the sandbox read the QA result
    flexprice_dashboard_url: str = FLEXPRICE_DASHBOARD_URL  # the operator desk links there; "" for no link
    razorpay_dashboard_url: str = RAZORPAY_DASHBOARD_URL
    demo_operator_token: str = field(default="", repr=False)  # its address signs the operator in; see demo.py
    grace_days: float = 3  # how long an overdue invoice may stay unpaid before its plan is paused
    cancel_immediately: bool = False  # whether customers may end a plan before its period ends
    clock_file: str = ""  # the test clock: seconds to add to business dates; refused in production
    sandbox_url: str = ""  # of the test bench: its scenario under test is named on every page
    metrics_token: str = field(default="", repr=False)  # without one there is no /metrics

    @property
    def zone(self) -> tzinfo:
        """The shop's time zone."""
        return get_timezone(self.time_zone)

    @property
    def production(self) -> bool:
        return self.storefront_url.startswith("https:")

    @property
    def qa_page(self) -> bool:
        """Whether the QA page is shown: off in production unless QA_PAGE switches it on."""
        return self.qa == "on" if self.qa else not self.production

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings.

        :raises SettingsError: with every problem at once.
        """
        env = _Environment(environ)
        header = env.webhook_header("FLEXPRICE_WEBHOOK_HEADER", "")
        settings = cls(
            flexprice_api_url=env.api_url("FLEXPRICE_API_URL"),
            flexprice_api_key=env.api_key("FLEXPRICE_API_KEY"),
            # A signature or a shared header is always required: verification cannot be switched off.
            flexprice_webhook_secret=env.webhook_secrets("FLEXPRICE_WEBHOOK_SECRET", "" if header else ...),
            flexprice_webhook_header=header,
            flexprice_environment_id=env.str("FLEXPRICE_ENVIRONMENT_ID", None),
            storefront_url=env.storefront_url("STOREFRONT_URL"),
            secret_key=env.secret_key("SECRET_KEY"),
            database_url=env.database_url("DATABASE_URL"),
            mail_url=env.mail_url("MAIL_URL"),
            mail_from=env.mail_from("MAIL_FROM"),
            payment_hosts=env.hosts("CHECKOUT_PAYMENT_HOSTS", ""),
            shop_name=env.str("SHOP_NAME", SHOP_NAME),
            time_zone=env.time_zone("SHOP_TIME_ZONE", "Asia/Kolkata"),
            rate_limits=env.rate_limits("RATE_LIMITS", "memory:"),
            trusted_proxies=env.trusted_proxies("TRUSTED_PROXIES", "0"),
            qa=env.switch("QA_PAGE", ""),
            qa_token=env.token("QA_TOKEN", ""),
            flexprice_dashboard_url=env.dashboard("FLEXPRICE_DASHBOARD_URL", FLEXPRICE_DASHBOARD_URL),
            razorpay_dashboard_url=env.dashboard("RAZORPAY_DASHBOARD_URL", RAZORPAY_DASHBOARD_URL),
            demo_operator_token=env.token("DEMO_OPERATOR_TOKEN", ""),
            sandbox_url=env.str("SANDBOX_URL", "").rstrip("/"),
            metrics_token=env.token("METRICS_TOKEN", ""),
            grace_days=env.days("CHECKOUT_GRACE_DAYS", "3"),
            cancel_immediately=env.switch("CHECKOUT_CANCEL_IMMEDIATELY", "") == "on",
            clock_file=env.str("CLOCK_FILE", ""),
        )
        env.raise_problems()
        if settings.production:
            not_in_production = {name: why for name, why in FOR_TESTS_ONLY.items() if environ.get(name)}
            if not_in_production:
                raise SettingsError([f"{name} {why}." for name, why in not_in_production.items()])
        return settings

    def config(self) -> dict[str, Any]:
        """What Flask, its extensions and checkout/ read from `app.config`."""
        return {
            "SETTINGS": self,
            "SECRET_KEY": self.secret_key,
            "SQLALCHEMY_DATABASE_URI": self.database_url,
            "FLEXPRICE_API_URL": self.flexprice_api_url,
            "FLEXPRICE_API_KEY": self.flexprice_api_key,
            "FLEXPRICE_WEBHOOK_SECRET": self.flexprice_webhook_secret,
            "FLEXPRICE_WEBHOOK_HEADER": self.flexprice_webhook_header,
            "FLEXPRICE_ENVIRONMENT_ID": self.flexprice_environment_id,
            "CHECKOUT_LOGIN_ENDPOINT": "accounts.sign_in",
            "CHECKOUT_GRACE_DAYS": self.grace_days,
            "CHECKOUT_CANCEL_IMMEDIATELY": self.cancel_immediately,
            "CLOCK_FILE": self.clock_file,
            "CHECKOUT_PAYMENT_HOSTS": list(self.payment_hosts),
            "CHECKOUT_BASE_URL": self.storefront_url,
            "CHECKOUT_ALLOWED_HOSTS": [urlsplit(self.storefront_url).netloc],
            # Cookies ignore ports: the sandbox on the same host has none. With __Host- no other host of the
            # domain can set one, nor can plain http.
            "SESSION_COOKIE_NAME": "__Host-storefront" if self.production else "storefront",
            "SESSION_COOKIE_HTTPONLY": True,
            "SESSION_COOKIE_SAMESITE": "Lax",
            "SESSION_COOKIE_SECURE": self.production,
            "WTF_CSRF_TIME_LIMIT": None,  # as long as the session
            "WTF_CSRF_SSL_STRICT": False,  # asks for a Referer, which we do not send; see SameOriginCSRF
            "MAX_CONTENT_LENGTH": MAX_BODY_BYTES,
            "RATELIMIT_ENABLED": self.rate_limits != "off",
            "RATELIMIT_STORAGE_URI": self.rate_limits if "://" in self.rate_limits else "memory://",
            "RATELIMIT_STORAGE_OPTIONS": _store_options(self.rate_limits),
            "RATELIMIT_STRATEGY": "fixed-window"
            if self.rate_limits.startswith("memcached")
            else "moving-window",
            "RATELIMIT_IN_MEMORY_FALLBACK_ENABLED": True,  # a store that is down: each process counts alone
        }


class _Environment(Env):
    """environs over any mapping, with our parsers; an empty value counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(eager=False)
        self._environ = environ
        for name, parse in PARSERS.items():
            self.add_parser(name, parse)

    def _get_value(self, env_key: str, default: Any) -> Any:
        return self._environ.get(env_key, "").strip() or default

    def raise_problems(self) -> None:
        try:
            self.seal()  # type: ignore[no-untyped-call]
        except EnvValidationError as error:
            messages: Mapping[str, Any] = error.error_messages or {}  # type: ignore[assignment]
            raise SettingsError([_sentence(name, found[0]) for name, found in messages.items()]) from None


def _sentence(name: str, problem: str) -> str:
    if problem == "Environment variable not set.":
        problem = f"is missing: {NEEDED[name]}"
    return f"{name} {problem}. See .env.example."


def _store_options(rate_limits: str) -> dict[str, int]:
    quick = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds
    return quick if rate_limits.startswith(("redis", "valkey")) else {}


# -- parsers: each raises EnvError with words that go after the variable's name and never repeat the value --


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it checks it
    except ValueError:
        raise EnvError("is not an address that can be read") from None
    return parts


def _web_address(url: str, http_to_container: bool = False) -> SplitResult:
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        raise EnvError("must be a whole address, beginning with https://")
    local = is_loopback(url) or (
        http_to_container and "." not in parts.hostname and ":" not in parts.hostname
    )
    if parts.scheme == "http" and not local:
        raise EnvError("must begin with https:// (plain http is accepted on this machine's own address only)")
    if parts.username is not None or parts.password is not None:
        raise EnvError("must not contain a user name or password")
    if parts.query or parts.fragment:
        raise EnvError("must not have anything after a ? or #")
    return parts


def _api_url(url: str) -> str:
    """Plain http also to a name without a dot: the sandbox as a container beside the shop."""
    url = url.rstrip("/")
    if not _web_address(url, http_to_container=True).path.endswith("/v1"):
        raise EnvError("must end in /v1")
    return url


def _api_key(key: str) -> str:
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EnvError("contains a character that no key has, perhaps a space or a line break")
    return key


def _webhook_secrets(secrets: str) -> str:
    for place, secret in enumerate(secrets.split(), start=1):
        try:
            check_secret(secret)
        except InvalidSecret:  # its message is left out: it may repeat the secret
            raise EnvError(
                f"is malformed (secret {place} of {len(secrets.split())}): "
                "each must be whsec_ and the base64 of at least 24 bytes, with spaces between them"
            ) from None
    return secrets


def _webhook_header(header: str) -> str:
    if not header:
        return ""
    name, _, value = (part.strip() for part in header.partition(":"))
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", name) or not value:
        raise EnvError("must be the name of a header, a colon and its value")
    if name.lower().startswith(("svix-", "webhook-")) or name.lower() in RESERVED_HEADERS:
        raise EnvError("must not be a header that already has a meaning")
    if not re.fullmatch(r"[!-~]+", value):
        raise EnvError("has an invalid character in its value, perhaps a space or a line break")
    if len(value) < 24:
        raise EnvError("has too short a value: at least 24 random characters")
    return f"{name}: {value}"


def _storefront_url(url: str) -> str:
    url = url.rstrip("/")
    if _web_address(url).path:
        raise EnvError("must be scheme and host only, without a path")
    return url


def _secret_key(key: str) -> str:
    if len(key) < 32:
        raise EnvError("is too short: at least 32 random characters")
    return key


def _database_url(url: str) -> URL:
    if url.startswith("sqlite:///"):
        return _sqlite_file(url.removeprefix("sqlite:///"))
    scheme, _, rest = url.partition("://")
    if not rest or scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise EnvError("must begin with sqlite:/// or postgresql://")
    try:
        return make_url(f"postgresql+psycopg://{rest}")
    except (ArgumentError, ValueError):
        raise EnvError("is not an address that can be read: is the port a number?") from None


def _sqlite_file(name: str) -> URL:
    """An absolute path, and no URL text: a folder may have a `?` or `%` in its name."""
    if not name or "?" in name or name == ":memory:":
        raise EnvError("must name a file after sqlite:///, without options")
    return URL.create("sqlite", database=str(Path(name).absolute()))


def _mail_url(url: str) -> str:
    if url in ("keep:", "sandbox:"):
        return url
    parts = _split(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise EnvError("must be keep: or sandbox:, or begin with smtp:// or smtps:// and name a host")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise EnvError("has something after the host; in a password write # as %23, ? as %3F and / as %2F")
    return url


def _mail_from(address: str) -> str:
    try:
        validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise EnvError("is not an email address") from None
    return address


def _token(token: str) -> str:
    if token and (len(token) < 16 or not re.fullmatch(r"[!-~]+", token)):
        raise EnvError("must be at least 16 characters, without spaces")
    return token


def _dashboard(url: str) -> str:
    if url == "none":
        return ""
    _web_address(url)
    return url.rstrip("/")


def _switch(word: str) -> str:
    if word.lower() not in ("", "on", "off"):
        raise EnvError("must be on or off")
    return word.lower()


def _hosts(hosts: str) -> tuple[str, ...]:
    found = tuple(hosts.lower().split())
    if not all(HOST.fullmatch(host) for host in found):
        raise EnvError("must be hosts such as pay.example.com or localhost:8001, with spaces between them")
    return found


def _rate_limits(store: str) -> str:
    if store in ("memory:", "off") or re.match(r"(rediss?|valkeys?|memcached)://[^\s/]", store):
        return store
    raise EnvError(
        "must be memory:, off, or the address of a store all processes share, such as redis://host"
    )


def _time_zone(name: str) -> str:
    try:
        get_timezone(name)
    except LookupError:
        raise EnvError("must be the name of a time zone, such as Asia/Kolkata") from None
    return name


def _trusted_proxies(number: str) -> int:
    if not re.fullmatch(r"[0-5]", number):
        raise EnvError("must be the number of proxies in front of the shop, 0 to 5")
    return int(number)


def _days(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text):
        raise EnvError("must be a number of days, such as 3")
    return float(text)


PARSERS = {
    "days": _days,
    "api_url": _api_url,
    "api_key": _api_key,
    "webhook_secrets": _webhook_secrets,
    "webhook_header": _webhook_header,
    "storefront_url": _storefront_url,
    "secret_key": _secret_key,
    "database_url": _database_url,
    "mail_url": _mail_url,
    "mail_from": _mail_from,
    "hosts": _hosts,
    "rate_limits": _rate_limits,
    "time_zone": _time_zone,
    "trusted_proxies": _trusted_proxies,
    "dashboard": _dashboard,
    "switch": _switch,
    "token": _token,
}
