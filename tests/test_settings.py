import base64
from pathlib import Path

import pytest

from storefront.settings import NEEDED, Settings, SettingsError, is_loopback

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
GOOD = {
    "FLEXPRICE_API_URL": "https://api.flexprice.example/v1",
    "FLEXPRICE_API_KEY": "sk_of_a_test",
    "FLEXPRICE_WEBHOOK_SECRET": SECRET,
    "STOREFRONT_URL": "https://shop.example",
    "SECRET_KEY": "thirty-two characters, or more..",
    "DATABASE_URL": "postgresql://shop:pw-of-rows@db/shop",
    "MAIL_URL": "smtp://shop:pw-of-mail@mail.example:587",
    "MAIL_FROM": "shop@shop.example",
}


def read(**changes: str) -> Settings:
    return Settings.from_env(GOOD | changes)


def problems(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(**changes)
    return raised.value.problems


def test_good_settings_are_taken_as_they_are():
    settings = read()
    assert settings.flexprice_api_url == "https://api.flexprice.example/v1"
    assert settings.flexprice_webhook_secrets == (SECRET,)
    assert settings.flexprice_environment_id is None
    assert settings.payment_hosts == ("razorpay.com", "rzp.io")
    assert settings.shop_name == "Kestrel"
    assert settings.production


def test_all_that_is_missing_is_reported_together():
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({})
    assert [problem.split()[0] for problem in raised.value.problems] == [
        "FLEXPRICE_API_URL",
        "FLEXPRICE_API_KEY",
        "FLEXPRICE_WEBHOOK_SECRET",
        "STOREFRONT_URL",
        "SECRET_KEY",
        "DATABASE_URL",
        "MAIL_URL",
        "MAIL_FROM",
    ]
    assert all(problem.endswith("See .env.example.") for problem in raised.value.problems)


def test_missing_and_malformed_come_in_one_report():
    assert len(problems(SECRET_KEY="short", STOREFRONT_URL="", MAIL_FROM="nobody")) == 3


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_value_counts_as_missing(empty):
    assert problems(FLEXPRICE_API_KEY=empty) == [
        "FLEXPRICE_API_KEY is missing: the key the shop shows to Flexprice. See .env.example."
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLEXPRICE_API_URL", "api.flexprice.example/v1"),
        ("FLEXPRICE_API_URL", "https://api.flexprice.example"),
        ("FLEXPRICE_API_URL", "http://api.flexprice.example/v1"),
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
        ("STOREFRONT_URL", "https://shop.example/shop"),
        ("STOREFRONT_URL", "https://shop.example?x=1"),
        ("STOREFRONT_URL", "ftp://shop.example"),
        ("STOREFRONT_URL", "https://me:pw@shop.example"),
        ("SECRET_KEY", "x" * 31),
        ("DATABASE_URL", "mysql://db/shop"),
        ("DATABASE_URL", "sqlite:///?timeout=1"),
        ("MAIL_URL", "http://mail.example"),
        ("MAIL_URL", "smtp://:587"),
        ("MAIL_FROM", "shop.example"),
        ("RENEWAL_GRACE_DAYS", "a week"),
        ("RENEWAL_GRACE_DAYS", "-1"),
        ("PAYMENT_HOSTS", "https://pay.example"),
        ("PAYMENT_HOSTS", "pay.example; script-src *"),
        ("QA_PAGE", "perhaps"),
        ("METRICS_TOKEN", "short"),
        ("METRICS_TOKEN", "long enough, but with spaces"),
    ],
)
def test_a_malformed_value_is_named_and_never_repeated(name, value):
    [problem] = problems(**{name: value})
    assert problem.startswith(name)
    assert problem.endswith("See .env.example.")
    assert value not in problem


def test_secrets_may_be_several_while_one_is_rotated():
    other = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
    assert read(FLEXPRICE_WEBHOOK_SECRET=f"{SECRET} {other}").flexprice_webhook_secrets == (SECRET, other)


HEADER = "X-Api-Key: k8Jq2-the-value-agreed-upon"


def test_a_shared_header_stands_in_for_the_secret_of_a_flexprice_that_does_not_sign():
    settings = read(FLEXPRICE_WEBHOOK_SECRET="", FLEXPRICE_WEBHOOK_HEADER=HEADER)
    assert settings.flexprice_webhook_secrets == ()
    assert settings.flexprice_webhook_header == ("X-Api-Key", "k8Jq2-the-value-agreed-upon")
    assert "k8Jq2" not in repr(settings)


def test_there_is_no_way_to_have_neither_secret_nor_shared_header():
    assert len(problems(FLEXPRICE_WEBHOOK_SECRET="", FLEXPRICE_WEBHOOK_HEADER="  ")) == 1


def test_a_malformed_secret_is_refused_beside_a_shared_header_too():
    assert len(problems(FLEXPRICE_WEBHOOK_SECRET="whsec_short", FLEXPRICE_WEBHOOK_HEADER=HEADER)) == 1


def test_plain_http_is_for_this_machine_and_is_not_production():
    settings = read(STOREFRONT_URL="http://127.0.0.1:8000/", FLEXPRICE_API_URL="http://localhost:8001/v1/")
    assert settings.storefront_url == "http://127.0.0.1:8000"
    assert settings.flexprice_api_url == "http://localhost:8001/v1"
    assert not settings.production


def test_the_qa_page_is_for_practice_unless_it_is_switched_on():
    https, here = "https://shop.example", "http://127.0.0.1:8000"
    assert read(STOREFRONT_URL=here).qa_page
    assert not read(STOREFRONT_URL=here, QA_PAGE="off").qa_page
    assert not read(STOREFRONT_URL=https).qa_page
    assert read(STOREFRONT_URL=https, QA_PAGE="ON").qa_page


def test_a_relative_sqlite_file_is_found_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        read(DATABASE_URL="sqlite:///instance/shop.db").database_url
        == f"sqlite:///{tmp_path}/instance/shop.db"
    )
    assert read(DATABASE_URL="sqlite:////var/shop.db").database_url == "sqlite:////var/shop.db"


def test_extra_payment_hosts_come_after_the_two_of_razorpay():
    hosts = read(PAYMENT_HOSTS="Pay.example 127.0.0.1:8001").payment_hosts
    assert hosts == ("razorpay.com", "rzp.io", "pay.example", "127.0.0.1:8001")


def test_printing_the_settings_shows_no_secret():
    shown = repr(read())
    for secret in (SECRET, "sk_of_a_test", "thirty-two", "pw-of-rows", "pw-of-mail"):
        assert secret not in shown


def test_every_setting_is_explained_in_the_example():
    example = (Path(__file__).parent.parent / ".env.example").read_text()
    optional = {
        "FLEXPRICE_ENVIRONMENT_ID",
        "FLEXPRICE_WEBHOOK_HEADER",
        "METRICS_TOKEN",
        "PAYMENT_HOSTS",
        "QA_PAGE",
        "RATE_LIMITS",
        "RENEWAL_GRACE_DAYS",
        "SHOP_NAME",
        "TRUSTED_PROXIES",
    }
    listed = {line.split("=")[0] for line in example.splitlines() if line and not line.startswith("#")}
    assert listed == set(NEEDED) | optional


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.8.0.1", True),
        ("http://[::1]:80", True),
        ("https://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(url, expected):
    assert is_loopback(url) is expected


def test_without_a_word_tries_are_counted_here_and_no_proxy_is_believed():
    assert (read().rate_limits, read().trusted_proxies) == ("memory:", 0)


@pytest.mark.parametrize("where", ["off", "memory:", "redis://:pw@store:6379/0", "memcached://store:11211"])
def test_tries_can_be_counted_elsewhere(where):
    assert read(RATE_LIMITS=where).rate_limits == where
    assert "pw@" not in repr(read(RATE_LIMITS=where))


@pytest.mark.parametrize(
    "wrong",
    [
        {"RATE_LIMITS": "on"},
        {"RATE_LIMITS": "redis://"},
        {"TRUSTED_PROXIES": "-1"},
        {"TRUSTED_PROXIES": "yes"},
    ],
)
def test_a_limit_nobody_keeps_and_a_proxy_nobody_counts_are_refused(wrong):
    assert len(problems(**wrong)) == 1
