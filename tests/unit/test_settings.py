"""Settings are checked before the first request: every problem at once, and no sentence repeats a value."""

import base64
import os
from pathlib import Path

import pytest

from storefront.settings import NEEDED, Settings, SettingsError

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
HEADER = "X-Api-Key: k8Jq2-the-value-agreed-upon"
GOOD = {
    "FLEXPRICE_API_URL": "https://api.flexprice.example/v1",
    "FLEXPRICE_API_KEY": "sk_of_a_test",
    "FLEXPRICE_WEBHOOK_SECRET": SECRET,
    "STOREFRONT_URL": "https://shop.example",
    "SECRET_KEY": "thirty-two characters, or more..",
    "DATABASE_URL": "postgresql://shop:pw-of-db@db/shop",
    "MAIL_URL": "smtp://shop:pw-of-mail@mail.example:587",
    "MAIL_FROM": "shop@shop.example",
}


def read(**changes: str) -> Settings:
    return Settings.from_env(GOOD | changes)


def problems(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(**changes)
    return raised.value.problems


def test_good_settings_are_accepted():
    settings = read()
    assert settings.flexprice_api_url == "https://api.flexprice.example/v1"
    assert settings.flexprice_webhook_secret == SECRET
    assert settings.flexprice_environment_id is None
    assert settings.payment_hosts == ()
    assert settings.shop_name == "Kestrel"
    assert settings.production
    assert (settings.rate_limits, settings.trusted_proxies) == ("memory:", 0)


def test_everything_missing_is_reported_together():
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({})
    assert [problem.split()[0] for problem in raised.value.problems] == list(NEEDED)
    assert all(problem.endswith("See .env.example.") for problem in raised.value.problems)


def test_missing_and_malformed_are_reported_together():
    assert len(problems(SECRET_KEY="short", STOREFRONT_URL="", MAIL_FROM="nobody")) == 3


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_value_counts_as_missing(empty):
    assert problems(FLEXPRICE_API_KEY=empty) == [
        "FLEXPRICE_API_KEY is missing: the API key of your Flexprice environment. See .env.example."
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLEXPRICE_API_URL", "api.flexprice.example/v1"),
        ("FLEXPRICE_API_URL", "https://api.flexprice.example"),
        ("FLEXPRICE_API_URL", "http://api.flexprice.example/v1"),
        ("FLEXPRICE_API_URL", "http://[2001:db8::1]/v1"),
        ("FLEXPRICE_API_URL", "https://api.flexprice.example/v1?x=1"),
        ("FLEXPRICE_API_URL", "https://api.flexprice.example:port/v1"),
        ("FLEXPRICE_API_KEY", "two words"),
        ("FLEXPRICE_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
        ("FLEXPRICE_WEBHOOK_SECRET", f"{SECRET} whsec_not*base64"),
        ("FLEXPRICE_WEBHOOK_HEADER", "X-Api-Key"),
        ("FLEXPRICE_WEBHOOK_HEADER", "X-Api-Key:"),
        ("FLEXPRICE_WEBHOOK_HEADER", ": " + "v" * 32),
        ("FLEXPRICE_WEBHOOK_HEADER", "X Api Key: " + "v" * 32),
        ("FLEXPRICE_WEBHOOK_HEADER", "X-Api-Key: " + "v" * 23),
        ("FLEXPRICE_WEBHOOK_HEADER", "X-Api-Key: " + "v" * 32 + " w"),
        ("FLEXPRICE_WEBHOOK_HEADER", "X-Api-Key: " + "é" * 32),
        ("FLEXPRICE_WEBHOOK_HEADER", "Svix-Id: " + "v" * 32),
        ("FLEXPRICE_WEBHOOK_HEADER", "Host: " + "v" * 32),
        ("STOREFRONT_URL", "http://shop.example"),
        ("STOREFRONT_URL", "http://shop"),
        ("STOREFRONT_URL", "https://shop.example/shop"),
        ("STOREFRONT_URL", "https://shop.example?x=1"),
        ("STOREFRONT_URL", "ftp://shop.example"),
        ("STOREFRONT_URL", "https://me:pw@shop.example"),
        ("SECRET_KEY", "x" * 31),
        ("DATABASE_URL", "mysql://db/shop"),
        ("DATABASE_URL", "sqlite:///?timeout=1"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "postgresql://u@h:port/db"),
        ("MAIL_URL", "http://mail.example"),
        ("MAIL_URL", "smtp://:587"),
        ("MAIL_URL", "smtp://user:12#34@mail.example.com"),
        ("MAIL_URL", "smtp://user:12?34@mail.example.com"),
        ("MAIL_URL", "smtp://user:12/34@mail.example.com"),
        ("MAIL_URL", "smtp://mail.example.com/inbox"),
        ("MAIL_FROM", "shop.example"),
        ("CHECKOUT_PAYMENT_HOSTS", "https://pay.example"),
        ("CHECKOUT_PAYMENT_HOSTS", "pay.example; script-src *"),
        ("QA_PAGE", "perhaps"),
        ("QA_TOKEN", "short"),
        ("METRICS_TOKEN", "short"),
        ("FLEXPRICE_DASHBOARD_URL", "javascript:alert(1)"),
        ("RAZORPAY_DASHBOARD_URL", "dashboard.razorpay.com"),
        ("DEMO_OPERATOR_TOKEN", "short"),
        ("METRICS_TOKEN", "long enough, but with spaces"),
        ("RATE_LIMITS", "on"),
        ("TRUSTED_PROXIES", "-1"),
        ("TRUSTED_PROXIES", "yes"),
    ],
)
def test_a_malformed_value_is_named_and_never_repeated(name, value):
    """Kind: settings that cannot work."""
    [problem] = problems(**{name: value})
    assert problem.startswith(name)
    assert problem.endswith("See .env.example.")
    assert value not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [("DATABASE_URL", "sqlite:///"), ("DATABASE_URL", "postgresql://"), ("RATE_LIMITS", "redis://")],
)
def test_an_incomplete_address_is_refused(name, value):
    """Kind: settings that cannot work."""
    assert len(problems(**{name: value})) == 1


def test_several_secrets_are_accepted_during_a_rotation():
    both = f"{SECRET} whsec_{base64.b64encode(b'fedcba9876543210fedcba9876543210').decode()}"
    assert read(FLEXPRICE_WEBHOOK_SECRET=both).config()["FLEXPRICE_WEBHOOK_SECRET"] == both


def test_a_shared_header_replaces_the_secret():
    settings = read(FLEXPRICE_WEBHOOK_SECRET="", FLEXPRICE_WEBHOOK_HEADER=HEADER)
    assert settings.flexprice_webhook_secret == ""
    assert settings.config()["FLEXPRICE_WEBHOOK_HEADER"] == HEADER
    assert "k8Jq2" not in repr(settings)


def test_verification_cannot_be_switched_off():
    assert len(problems(FLEXPRICE_WEBHOOK_SECRET="", FLEXPRICE_WEBHOOK_HEADER="  ")) == 1


def test_a_malformed_secret_is_refused_beside_a_header():
    assert len(problems(FLEXPRICE_WEBHOOK_SECRET="whsec_short", FLEXPRICE_WEBHOOK_HEADER=HEADER)) == 1


@pytest.mark.parametrize("name", ["CLOCK_FILE", "DEMO_OPERATOR_TOKEN"])
def test_what_is_for_tests_is_refused_in_production(name):
    value = "x" * 24
    [problem] = problems(**{name: value})
    assert problem.startswith(name)
    assert value not in problem
    assert read(**{name: value}, STOREFRONT_URL="http://127.0.0.1:8000")


def test_plain_http_on_this_machine_is_not_production():
    settings = read(STOREFRONT_URL="http://127.0.0.1:8000/", FLEXPRICE_API_URL="http://localhost:8001/v1/")
    assert settings.storefront_url == "http://127.0.0.1:8000"
    assert settings.flexprice_api_url == "http://localhost:8001/v1"
    assert not settings.production
    assert settings.config()["SESSION_COOKIE_NAME"] == "storefront"


def test_plain_http_reaches_a_container_beside_the_shop():
    assert read(FLEXPRICE_API_URL="http://sandbox:8001/v1").flexprice_api_url == "http://sandbox:8001/v1"


def test_production_cookies_are_secure():
    config = read().config()
    assert config["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert config["SESSION_COOKIE_SECURE"]
    assert config["SESSION_COOKIE_HTTPONLY"]


def test_the_qa_page_is_off_in_production_unless_switched_on():
    https, here = "https://shop.example", "http://127.0.0.1:8000"
    assert read(STOREFRONT_URL=here).qa_page
    assert not read(STOREFRONT_URL=here, QA_PAGE="off").qa_page
    assert not read(STOREFRONT_URL=https).qa_page
    assert read(STOREFRONT_URL=https, QA_PAGE="ON").qa_page


def test_a_plan_is_cancelled_at_once_only_where_it_is_switched_on():
    assert not read().config()["CHECKOUT_CANCEL_IMMEDIATELY"]
    assert not read(CHECKOUT_CANCEL_IMMEDIATELY="off").config()["CHECKOUT_CANCEL_IMMEDIATELY"]
    assert read(CHECKOUT_CANCEL_IMMEDIATELY="on").config()["CHECKOUT_CANCEL_IMMEDIATELY"]


def test_a_relative_sqlite_file_is_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        read(DATABASE_URL="sqlite:///instance/shop.db").database_url.database
        == f"{tmp_path}/instance/shop.db"
    )
    assert read(DATABASE_URL="sqlite:////var/shop.db").database_url.database == "/var/shop.db"


@pytest.mark.parametrize("folder", ["what?", "50%", "a#b", "a b", "é"])
def test_the_working_directory_may_have_any_name(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    url = read(DATABASE_URL="sqlite:///instance/shop.db").database_url
    assert url.database == f"{tmp_path}/{folder}/instance/shop.db"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_uses_psycopg(scheme):
    """Kind: settings that cannot work."""
    assert read(DATABASE_URL=f"{scheme}://db/shop").database_url.drivername == "postgresql+psycopg"


def test_checkout_gets_the_additional_payment_hosts():
    config = read(CHECKOUT_PAYMENT_HOSTS="Pay.example 127.0.0.1:8001").config()
    assert config["CHECKOUT_PAYMENT_HOSTS"] == ["pay.example", "127.0.0.1:8001"]


def test_printed_settings_show_no_secret():
    shown = repr(read(RATE_LIMITS="redis://:pw-of-redis@store", QA_TOKEN="t" * 20, METRICS_TOKEN="m" * 20))
    for secret in (SECRET, "sk_of_a_test", "thirty-two", "pw-of-", "tttt", "mmmm"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("store", "uri"),
    [
        ("memory:", "memory://"),
        ("redis://:pw@store:6379/0", "redis://:pw@store:6379/0"),
        ("memcached://store:11211", "memcached://store:11211"),
    ],
)
def test_rate_limits_are_counted_in_the_named_store(store, uri):
    config = read(RATE_LIMITS=store).config()
    assert (config["RATELIMIT_ENABLED"], config["RATELIMIT_STORAGE_URI"]) == (True, uri)


def test_rate_limits_can_be_switched_off():
    assert not read(RATE_LIMITS="off").config()["RATELIMIT_ENABLED"]


def test_the_process_environment_is_the_default(monkeypatch):
    for name, value in GOOD.items():
        monkeypatch.setitem(os.environ, name, value)
    assert Settings.from_env().storefront_url == "https://shop.example"


def test_every_setting_is_explained_in_the_example():
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    optional = {
        "CHECKOUT_PAYMENT_HOSTS",
        "FLEXPRICE_DASHBOARD_URL",
        "FLEXPRICE_ENVIRONMENT_ID",
        "FLEXPRICE_WEBHOOK_HEADER",
        "METRICS_TOKEN",
        "QA_PAGE",
        "QA_TOKEN",
        "RATE_LIMITS",
        "RAZORPAY_DASHBOARD_URL",
        "SHOP_NAME",
        "SHOP_TIME_ZONE",
        "TRUSTED_PROXIES",
    }
    listed = {line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert listed == set(NEEDED) | optional
