"""Each line of the doctor's report, and that no trouble of one hides the others."""

import smtplib
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses

from storefront import doctor, outbox, selftest
from storefront.doctor import Patient
from storefront.extensions import db, settings

LIVE = {
    "FLEXPRICE_API_URL": "https://api.flexprice.example/v1",
    "STOREFRONT_URL": "https://shop.kestrel.com",
    "MAIL_URL": "smtp://shop:mail-password@mail.kestrel.com:587",
    "PAYMENT_HOSTS": "",
}


@pytest.fixture
def look(build, request):
    """The findings of one check of a shop with these settings."""
    contexts = []

    def findings(check, worker_alive=True, **changes):
        context = build(**changes).app_context()
        context.push()
        contexts.append(context)
        return list(check(Patient(settings(), worker_alive, datetime.now(UTC))))

    yield findings
    for context in reversed(contexts):
        context.pop()


def told(findings):
    return [finding.status for finding in findings], " ".join(finding.why for finding in findings)


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
    assert [found.status for found in look(doctor.address, STOREFRONT_URL=url)] == [status]


def test_values_of_the_demo_are_recognised(look, env, tmp_path, monkeypatch):
    demo = tmp_path / "demo.env"
    names = ("FLEXPRICE_API_KEY", "FLEXPRICE_WEBHOOK_SECRET", "SECRET_KEY")
    demo.write_text("".join(f"{name}={env[name]}\n" for name in names))
    monkeypatch.setattr(doctor, "DEMO_ENV", demo)
    statuses, words = told(look(doctor.not_the_sandbox, **LIVE))
    assert statuses == ["fails"] * 3
    for name in names:
        assert name in words
        assert env[name] not in words


def test_settings_of_ones_own_are_fine(look):
    assert told(look(doctor.not_the_sandbox, **LIVE))[0] == ["ok"]


def test_a_rotation_that_is_still_going_on_is_mentioned(look, env):
    both = env["FLEXPRICE_WEBHOOK_SECRET"] + " whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub3QgdGhlcmU="
    assert told(look(doctor.secret, FLEXPRICE_WEBHOOK_SECRET=both)) == (["warning"], "2 are accepted.")


def test_a_refused_key_and_one_that_may_only_read_are_told_apart(look, vendor):
    vendor.answers("POST", "/plans/search", {"error": "Unauthorized"}, 401)
    assert told(look(doctor.key)) == (["fails"], "Flexprice refuses the key (401).")
    vendor.answers("POST", "/customers", {"message": "insufficient permissions"}, 403)
    assert told(look(doctor.may_write)) == (["fails"], "The key may only read.")


@pytest.mark.parametrize(
    ("kind", "status"), [("production", "ok"), ("development", "warning"), (None, "by hand")]
)
def test_the_environment_says_what_it_is(look, vendor, samples, kind, status):
    vendor.sells(samples.plan(samples.price(), environment_id="env_01"))
    body = {"id": "env_01", "name": "Main", "type": kind} if kind else {"code": "not_found", "message": "no"}
    vendor.answers("GET", "/environments/env_01", body, 200 if kind else 404)
    assert [found.status for found in look(doctor.environment)] == [status]


@pytest.mark.parametrize(
    ("prices", "status", "words"),
    [
        ([{}], "ok", "1 of 1 offers can be bought"),
        ([{}, {"billing_period": "ONETIME"}], "warning", "one-time fee"),
        ([{"trial_period_days": 14}], "warning", "a trial, which checkout ignores"),
        ([{"trial_period_days": 14}, {"billing_period": "ANNUAL"}], "fails", "different trials"),
        ([{"currency": "JPY"}, {}], "warning", "JPY MONTHLY is not sold"),
        ([{"amount": "0"}], "warning", "is not sold: There is nothing to pay"),
        ([{"amount": "0"}], "fails", "No plan can be bought"),
        ([{"amount": "0.5"}], "fails", "below what Razorpay takes"),
    ],
)
def test_what_is_not_charged_as_shown_is_named(look, vendor, samples, prices, status, words):
    vendor.sells(samples.plan(*(samples.price(**price) for price in prices)))
    assert any(found.status == status and words in found.why for found in look(doctor.offers))


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (60, "warning"), (600, "fails")])
def test_a_clock_that_is_off_is_noticed(look, seconds, status):
    theirs = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    with responses.RequestsMock() as mock:
        mock.add("GET", LIVE["FLEXPRICE_API_URL"], status=401, headers={"Date": theirs})
        assert [found.status for found in look(doctor.clock, **LIVE)] == [status]


def test_a_database_that_is_not_migrated_fails(look):
    assert told(look(doctor.database))[1].startswith("It is at no version")


def test_a_database_that_does_not_answer_fails(look, monkeypatch):
    found = look(doctor.worker, worker_alive=False)
    assert found[0].status == "fails"
    db.session.remove()
    monkeypatch.setattr(db.session, "connection", _no_database)
    patient = Patient(settings(), True, datetime.now(UTC))
    assert told(doctor.database(patient)) == (["fails"], "It does not answer: OperationalError.")


def _no_database(*_, **__):
    from sqlalchemy.exc import OperationalError

    raise OperationalError("", {}, Exception("postgresql://user:secret@host"))


def test_mail_that_is_only_kept_will_not_do_in_production(look):
    assert [found.status for found in look(doctor.mail, **LIVE | {"MAIL_URL": "keep:"})] == ["fails"]


def test_a_mail_server_that_refuses_is_named_without_its_password(look, monkeypatch):
    @contextmanager
    def refusing(url):
        raise smtplib.SMTPAuthenticationError(535, b"mail-password is wrong")
        yield

    monkeypatch.setattr(outbox, "mail_server", refusing)
    statuses, words = told(look(doctor.mail, **LIVE))
    assert statuses == ["fails"]
    assert "mail-password" not in words


def test_a_trial_letter_is_sent_to_whoever_asks_for_one(build, monkeypatch):
    sent = []

    @contextmanager
    def server(url):
        yield type("Server", (), {"send_message": lambda self, email: sent.append(email)})()

    monkeypatch.setattr(outbox, "mail_server", server)
    with build(**LIVE).app_context():
        line = doctor.trial_letter("asha@example.com")
    assert line.status == "by hand"
    assert [(email["To"], email["From"]) for email in sent] == [("asha@example.com", "shop@shop.example")]


def test_a_trial_letter_that_is_not_taken_fails(build, monkeypatch):
    def refusing(settings, to):
        raise smtplib.SMTPRecipientsRefused({})

    monkeypatch.setattr(outbox, "post_trial", refusing)
    with build(**LIVE).app_context():
        assert doctor.trial_letter("asha@example.com").status == "fails"
    with build().app_context():  # letters are only kept
        assert doctor.trial_letter("asha@example.com").status == "fails"


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
        assert [found.status for found in look(doctor.own_pages, **LIVE)] == statuses


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
            mock.add("POST", LIVE["STOREFRONT_URL"] + selftest.PATH, status=status)
        assert [found.status for found in look(doctor.own_door, **LIVE)] == statuses


def test_an_endpoint_with_a_bad_certificate_says_so(look):
    with responses.RequestsMock() as mock:
        mock.add("POST", LIVE["STOREFRONT_URL"] + selftest.PATH, body=requests.exceptions.SSLError())
        (found,) = look(doctor.own_door, **LIVE)
    assert "certificate" in found.fix


def test_a_check_that_breaks_is_one_line_and_hides_no_other(context, monkeypatch):
    def broken(patient):
        raise RuntimeError("with a secret in it")

    checks = (
        doctor.Check("One", broken),
        doctor.Check("Two", lambda patient: [doctor.Finding("ok", "fine")]),
    )
    monkeypatch.setattr(doctor, "CHECKS", checks)
    lines = doctor.examine(True, datetime.now(UTC), act=True)
    assert [(line.check, line.status) for line in lines] == [("One", "fails"), ("Two", "ok")]
    assert "secret" not in lines[0].why


def test_a_page_view_never_acts(context, monkeypatch):
    acting = [check for check in doctor.CHECKS if check.acts]
    assert {check.title for check in acting} >= {"Webhook endpoint", "Database can be written", "Mail"}
    monkeypatch.setattr(doctor, "CHECKS", acting)
    assert {line.status for line in doctor.examine(True, datetime.now(UTC), act=False)} == {"by hand"}
