"""The go-live checks: each finding, and that a check that breaks hides no other."""

import json
import smtplib
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses

from storefront.checkout.context import release
from storefront.emails import smtp, worker
from storefront.extensions import db, settings
from storefront.models import WebhookEvent
from storefront.operations.models import WorkerHeartbeat
from storefront.operations.preflight import (
    billing_checks,
    flexprice_checks,
    report,
    self_test,
    settings_checks,
    shop_checks,
)
from storefront.operations.preflight.result import Check, Context, Finding
from tests import samples
from tests.unit.operations.conftest import now

LIVE = {
    "FLEXPRICE_API_URL": "https://api.flexprice.example/v1",
    "STOREFRONT_URL": "https://shop.kestrel.com",
    "MAIL_URL": "smtp://shop:pass-of-the-mail@mail.kestrel.com:587",
    "CHECKOUT_PAYMENT_HOSTS": "",
}


@pytest.fixture
def app(make_app):
    """New for each test: the process keeps in memory what is tested here."""
    return make_app()


@pytest.fixture
def look(make_app):
    """The findings of one check of a shop with these settings."""
    contexts = []

    def findings(check, worker_alive=True, **changes):
        context = make_app(**changes).app_context()
        context.push()
        contexts.append(context)
        return list(check(Context(settings(), worker_alive, now())))

    yield findings
    release()
    for context in reversed(contexts):
        context.pop()


def told(findings):
    return [finding.status for finding in findings], " ".join(finding.message for finding in findings)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:8000", "fails"),
        ("https://shop.test", "fails"),
        ("https://10.0.0.7", "fails"),
        ("https://intranet", "fails"),
        ("https://shop.kestrel.com", "ok"),
    ],
)
def test_the_address_must_be_public_and_https(look, url, status):
    assert [found.status for found in look(settings_checks.address, STOREFRONT_URL=url)] == [status]


def test_values_of_the_demo_are_recognised(look, env, tmp_path, monkeypatch):
    demo = tmp_path / "demo.env"
    names = ("FLEXPRICE_API_KEY", "FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY")
    demo.write_text("".join(f"{name}={env[name]}\n" for name in names))
    monkeypatch.setattr(settings_checks, "DEMO_ENV", demo)
    statuses, words = told(look(settings_checks.not_the_sandbox, **LIVE))
    assert statuses == ["fails"] * 3
    for name in names:
        assert name in words
        assert env[name] not in words


def test_settings_of_ones_own_are_fine(look):
    assert told(look(settings_checks.not_the_sandbox, **LIVE))[0] == ["ok"]


def test_a_rotation_that_is_still_going_on_is_mentioned(look, env):
    both = env["FLEXPRICE_WEBHOOK_SECRET"] + " whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub3QgdGhlcmU="
    assert told(look(settings_checks.webhook_secret, FLEXPRICE_WEBHOOK_SECRET=both)) == (
        ["warning"],
        "2 are accepted.",
    )


def test_a_refused_key_and_one_that_may_only_read_are_told_apart(look, flexprice):
    flexprice.answer("POST", "/plans/search", {"error": "Unauthorized"}, 401)
    assert told(look(flexprice_checks.api_key)) == (["fails"], "Flexprice refuses the key (401).")
    flexprice.answer("POST", "/customers", {"message": "insufficient permissions"}, 403)
    assert told(look(flexprice_checks.may_write)) == (["fails"], "The key is read-only.")


@pytest.mark.parametrize(
    ("kind", "status"), [("production", "ok"), ("development", "warning"), (None, "by hand")]
)
def test_the_environment_says_what_it_is(look, flexprice, kind, status):
    flexprice.sells(samples.plan(samples.price(), environment_id="env_01"))
    body = {"id": "env_01", "name": "Main", "type": kind} if kind else {"code": "not_found", "message": "no"}
    flexprice.answer("GET", "/environments/env_01", body, 200 if kind else 404)
    assert [found.status for found in look(flexprice_checks.environment)] == [status]


@pytest.mark.parametrize(
    ("prices", "status", "words"),
    [
        ([{}], "ok", "1 of 1 offers can be bought"),
        ([{}, {"billing_period": "ONETIME"}], "warning", "one-time fee"),
        ([{"trial_period_days": 14}], "warning", "a trial, which checkout ignores"),
        ([{"trial_period_days": 14}, {"id": "price_02"}], "fails", "different trials"),
        ([{"trial_period_days": 14}, {"billing_period": "ANNUAL"}], "warning", "a trial, which checkout"),
        ([{"currency": "JPY"}, {}], "warning", "JPY MONTHLY is not sold"),
        ([{"amount": "0"}], "warning", "is not sold: There is nothing to pay"),
        ([{"amount": "0"}], "fails", "No plan can be bought"),
        ([{"amount": "0.5"}], "fails", "below Razorpay's minimum"),
    ],
)
def test_what_is_not_charged_as_shown_is_named(look, flexprice, prices, status, words):
    flexprice.sells(samples.plan(*(samples.price(**price) for price in prices)))
    assert any(found.status == status and words in found.message for found in look(flexprice_checks.offers))


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (60, "warning"), (600, "fails")])
def test_a_clock_that_is_off_is_noticed(look, seconds, status):
    theirs = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    with responses.RequestsMock() as mock:
        mock.add("GET", LIVE["FLEXPRICE_API_URL"], status=401, headers={"Date": theirs})
        assert [found.status for found in look(flexprice_checks.clock, **LIVE)] == [status]


def test_a_database_that_is_not_migrated_fails(look):
    assert told(look(shop_checks.database))[1].startswith("It is at no version")


def test_a_database_that_does_not_answer_fails(look, monkeypatch):
    found = look(shop_checks.worker, worker_alive=False)
    assert found[0].status == "fails"
    db.session.remove()
    monkeypatch.setattr(db.session, "connection", _no_database)
    context = Context(settings(), True, now())
    assert told(shop_checks.database(context)) == (["fails"], "It does not answer: OperationalError.")


def _no_database(*_, **__):
    from sqlalchemy.exc import OperationalError

    raise OperationalError("", {}, Exception("postgresql://user:secret@host"))


def test_mail_that_is_only_kept_will_not_do_in_production(look):
    assert [found.status for found in look(shop_checks.email, **LIVE | {"MAIL_URL": "keep:"})] == ["fails"]


def test_a_mail_server_that_refuses_is_named_without_its_password(look, monkeypatch):
    @contextmanager
    def refusing(url):
        raise smtplib.SMTPAuthenticationError(535, b"pass-of-the-mail is wrong")
        yield

    monkeypatch.setattr(smtp, "mail_server", refusing)
    statuses, words = told(look(shop_checks.email, **LIVE))
    assert statuses == ["fails"]
    assert "pass-of-the-mail" not in words


def test_a_test_email_is_sent(make_app, monkeypatch):
    sent = []

    @contextmanager
    def server(url):
        yield type("Server", (), {"send_message": lambda self, email: sent.append(email)})()

    monkeypatch.setattr(smtp, "mail_server", server)
    with make_app(**LIVE).app_context():
        line = shop_checks.test_email("asha@example.com")
    assert line.status == "by hand"
    assert [(email["To"], email["From"].addresses[0].addr_spec) for email in sent] == [
        ("asha@example.com", "shop@shop.example")
    ]


def test_a_test_email_that_is_refused_fails(make_app, monkeypatch):
    def refusing(recipient):
        raise smtplib.SMTPRecipientsRefused({})

    monkeypatch.setattr(worker, "send_test_email", refusing)
    with make_app(**LIVE).app_context():
        assert shop_checks.test_email("asha@example.com").status == "fails"
    with make_app().app_context():  # emails are only stored
        assert shop_checks.test_email("asha@example.com").status == "fails"


def sign_in_page(**headers):
    mock = responses.RequestsMock()
    mock.add("GET", LIVE["STOREFRONT_URL"] + "/sign-in", headers=headers)
    return mock


GOOD_COOKIE = "__Host-storefront=x; Secure; HttpOnly; Path=/; SameSite=Lax"


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ({"Set-Cookie": GOOD_COOKIE, "Strict-Transport-Security": "max-age=1"}, ["ok", "ok"]),
        ({"Set-Cookie": GOOD_COOKIE.replace("Secure; ", "")}, ["fails", "fails"]),
        ({}, ["warning", "fails"]),
    ],
)
def test_cookies_and_hsts_are_looked_at_as_they_leave_the_proxy(look, headers, statuses):
    with sign_in_page(**headers):
        assert [found.status for found in look(self_test.cookies_and_headers, **LIVE)] == statuses


@pytest.mark.parametrize(
    ("answers", "statuses"),
    [
        ((302, 302, 302), ["fails", "fails", "fails"]),
        ((204, 204, 204), ["ok", "fails", "fails"]),  # answered, but by whom? it is not in our database
        ((204, 204, 401), ["ok", "fails", "ok"]),
    ],
)
def test_an_endpoint_that_is_not_ours_is_found_out(look, answers, statuses):
    with responses.RequestsMock() as mock:
        for status in answers:
            mock.add("POST", LIVE["STOREFRONT_URL"] + "/webhooks/flexprice", status=status)
        assert [found.status for found in look(self_test.webhook_endpoint, **LIVE)] == statuses


def test_an_endpoint_with_a_bad_certificate_says_so(look):
    with responses.RequestsMock() as mock:
        mock.add("POST", LIVE["STOREFRONT_URL"] + "/webhooks/flexprice", body=requests.exceptions.SSLError())
        (found,) = look(self_test.webhook_endpoint, **LIVE)
    assert "certificate" in found.fix


def test_a_check_that_breaks_is_one_line_and_hides_no_other(context, monkeypatch):
    def broken(context):
        raise RuntimeError("with a secret in it")

    checks = (
        Check("One", broken),
        Check("Two", lambda context: [Finding("ok", "fine")]),
    )
    monkeypatch.setattr(report, "CHECKS", checks)
    lines = report.run(act=True)
    assert [(line.check, line.status) for line in lines] == [("One", "fails"), ("Two", "ok")]
    assert "secret" not in lines[0].message


def test_a_page_view_never_acts(context, monkeypatch):
    acting = [check for check in report.CHECKS if check.acts]
    assert {check.title for check in acting} >= {"Webhook endpoint", "Database can be written", "Email"}
    monkeypatch.setattr(report, "CHECKS", acting)
    assert {line.status for line in report.run(act=False)} == {"by hand"}


SETTINGS = {
    "subscription_config": {"auto_cancellation_enabled": True, "grace_period_days": 3},
    "invoice_config": {"finalization_delay_seconds": 7200},
}


@pytest.mark.parametrize(
    ("days", "delay_s", "statuses"),
    [("2", 7200, ["ok", "ok"]), ("3", 7200, ["warning", "ok"]), ("2", 86400, ["ok", "warning"])],
)
def test_what_flexprice_does_about_unpaid_invoices_is_looked_at(look, flexprice, days, delay_s, statuses):
    for key, value in SETTINGS.items():
        value = value | ({"finalization_delay_seconds": delay_s} if key == "invoice_config" else {})
        flexprice.answer("GET", f"/settings/{key}", {"key": key, "value": value})
    found = look(billing_checks.invoices, CHECKOUT_GRACE_DAYS=days)
    assert [finding.status for finding in found] == [*statuses, "by hand", "by hand"]


def test_settings_that_may_not_be_read_are_unknown(look, flexprice):
    flexprice.answer("GET", "/settings/subscription_config", {"message": "insufficient permissions"}, 403)
    statuses, messages = told(look(billing_checks.invoices))
    assert statuses == ["by hand", "by hand", "by hand"]
    assert messages.startswith("Unknown")


# -- the whole report -------------------------------------------------------------------------------


@pytest.fixture
def reachable(app, flexprice):
    """Requests to the shop's address reach this shop; gives its report as JSON."""
    client = app.test_client()

    def forward(request):
        body = request.body or b""
        raw = body.encode() if isinstance(body, str) else body
        headers = [(name, value) for name, value in request.headers.items() if name != "Content-Length"]
        answer = client.open(request.url, method=request.method, data=raw, headers=headers)
        return answer.status_code, dict(answer.headers), answer.data

    for method, path in (("POST", "/webhooks/flexprice"), ("GET", "/sign-in")):
        flexprice.mock.add_callback(method, "http://127.0.0.1:8000" + path, callback=forward)
    flexprice.sells(samples.plan(samples.price()))
    flexprice.answer("POST", "/customers", {"code": "validation_error", "message": "name is required"}, 400)
    date = format_datetime(datetime.now(UTC), usegmt=True)
    flexprice.mock.add("GET", samples.API, status=404, headers={"Date": date})

    def examine():
        done = app.test_cli_runner().invoke(args=["preflight", "--json"])
        found = {}
        for result in json.loads(done.output)["checks"]:
            found.setdefault(result["check"], []).append((result["status"], result["message"]))
        return done.exit_code, found

    return examine


def test_the_endpoint_is_tested_and_one_event_stored(reachable, rows, work):
    _, found = reachable()
    assert [status for status, _ in found["Webhook endpoint"]] == ["ok", "ok", "ok"]
    (event,) = rows(WebhookEvent)
    assert event.id.startswith("msg_preflight_")
    work()
    assert rows(WebhookEvent)[0].outcome == "ignored"


def test_a_practice_shop_is_not_ready(reachable):
    code, found = reachable()
    assert code == 1
    assert found["Address of the shop"][0][0] == "fails"
    assert found["Not the sandbox"][0] == (
        "fails",
        "FLEXPRICE_API_URL is this machine: the sandbox, not Flexprice.",
    )
    assert found["Worker"][0] == ("fails", "Worker heartbeat missing: paid orders are not fulfilled.")
    assert found["API key"] == [("ok", "Flexprice accepts it")]
    assert found["API key may write"] == [("ok", "the key may write")]
    assert found["Clock"][0][0] == "ok"
    assert found["Database can be written"] == [("ok", "a row was written")]
    assert found["Offers"][-1][0] == "ok"
    assert len(found["To check by hand"]) == 5


def test_a_running_worker_is_seen(reachable, work):
    work()
    _, found = reachable()
    assert found["Worker"] == [("ok", "its loop turns")]


def test_a_secret_that_differs_out_there_is_found(app, reachable):
    other = "whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub3QgdGhlcmU="
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], flexprice_webhook_secret=other)
    _, found = reachable()
    assert found["Webhook endpoint"][0] == ("fails", "An authentic event is answered 401.")


def test_the_report_holds_no_secret(app, reachable, env, flexprice):
    reachable()
    plain = app.test_cli_runner().invoke(args=["preflight"]).output
    for name in ("FLEXPRICE_API_KEY", "FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY"):
        assert env[name] not in plain
    assert "Webhook endpoint" in plain


def test_the_page_is_for_operators_and_only_looks(asha, operator, flexprice, rows):
    assert asha.get("/operator/preflight").status_code == 404
    flexprice.sells(samples.plan(samples.price()))
    flexprice.mock.add("GET", samples.API, status=404)
    page = operator.get("/operator/preflight")
    assert page.status_code == 200
    assert "Not checked: this page only looks." in page.text
    assert rows(WebhookEvent) == rows(WorkerHeartbeat) == []


def test_mail_without_tls_to_another_machine_is_a_warning(look, monkeypatch):
    @contextmanager
    def server(url):
        yield type("Server", (), {"noop": lambda self: (250, b"ok")})()

    monkeypatch.setattr(smtp, "mail_server", server)
    plain = LIVE | {"MAIL_URL": "smtp://mail.kestrel.com:25"}
    assert told(look(shop_checks.email, **plain))[0] == ["ok", "warning"]
    assert told(look(shop_checks.email, **LIVE))[0] == ["ok"]
