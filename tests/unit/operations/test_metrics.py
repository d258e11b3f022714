"""/metrics: behind a token, from the database for orders, events and emails, and timings of all processes."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import checkout, db
from storefront.models import User
from storefront.operations import heartbeat
from tests.shop_fixtures import HOME, send_webhook_to
from tests.unit.operations.conftest import now

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a-token-of-sixteen-or-more"


@pytest.fixture
def app(make_app):
    """The shop with metrics on."""
    return make_app(METRICS_TOKEN=TOKEN)


def get(app, path, **headers):
    return app.test_client().get(path, base_url=HOME, headers=headers)


def scrape(app):
    answer = get(app, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return figures(answer.text)


def figures(text):
    return {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def grown(before, after, *name):
    """The timings belong to the process, which runs other tests too."""
    return after.get(name, 0) - before.get(name, 0)


def test_without_a_token_there_is_no_such_page(make_app):
    assert get(make_app(), "/metrics").status_code == 404


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer ", "Basic eDp5", "Bearer ü"])
def test_a_wrong_token_opens_nothing(app, given):
    answer = get(app, "/metrics", **({"Authorization": given} if given else {}))
    assert answer.status_code == 401
    assert b"storefront_" not in answer.data


def test_requests_are_counted_by_endpoint_method_and_status(app):
    before = scrape(app)
    for path in ("/sign-in", "/sign-in", "/nowhere"):
        get(app, path)
    after = scrape(app)
    requests_total = "storefront_http_requests_total"
    assert grown(before, after, requests_total, "accounts.sign_in", "GET", "200") == 2
    assert grown(before, after, requests_total, "none", "GET", "404") == 1
    assert grown(before, after, "storefront_http_request_seconds_sum", "accounts.sign_in") > 0
    assert grown(before, after, "storefront_http_request_seconds_count", "accounts.sign_in") == 2


def test_webhooks_are_counted_by_their_answer(app, webhook):
    before = scrape(app)
    send_webhook_to(app, webhook("initiated"))
    send_webhook_to(app, webhook("initiated"))
    send_webhook_to(app, webhook("initiated"), headers={})
    after = scrape(app)
    requests_total = "storefront_http_requests_total"
    assert grown(before, after, requests_total, "checkout.webhook", "POST", "204") == 2
    assert grown(before, after, requests_total, "checkout.webhook", "POST", "401") == 1
    assert after["storefront_events_due",] == 1


def test_calls_to_flexprice_are_timed_with_their_errors(app, flexprice):
    before = scrape(app)
    flexprice.answer("POST", "/plans/search", {"error": "down"}, 503)
    get(app, "/plans")
    name = "storefront_flexprice_call_seconds_count"
    assert grown(before, scrape(app), name, "POST", "plans", "503") == 1


def test_an_unanswered_call_has_no_status(app, flexprice):
    before = scrape(app)
    flexprice.mock.add("POST", "http://127.0.0.1:8001/v1/plans/search", body=requests.ConnectionError("gone"))
    get(app, "/plans")
    name = "storefront_flexprice_call_seconds_count"
    assert grown(before, scrape(app), name, "POST", "plans", "none") >= 1


def test_orders_events_and_emails_are_read_from_the_rows(app, add_user, add_order, add_rows, make_event):
    add_user()
    add_order(state=State.STUCK, review_note="Look at me", next_attempt_at=now() - timedelta(minutes=5))
    hour_ago = now() - timedelta(hours=1)
    known = {"kind": "welcome", "user_id": 1, "created_at": hour_ago, "expires_at": now() + timedelta(days=1)}
    add_rows(
        make_event(next_attempt_at=None),
        make_event(id="msg_2", next_attempt_at=hour_ago),
        Email(**known, next_attempt_at=now(), error="SMTPException"),
        Email(**known, failed_at=now(), error="recipient refused (550)"),
    )
    found = scrape(app)
    assert found["storefront_orders", "stuck"] == 1
    assert found["storefront_orders", "fulfilled"] == 0
    assert found["storefront_orders_needing_review",] == 1
    assert found["storefront_order_checks_due",] == 1
    assert found["storefront_order_checks_oldest_due_seconds",] >= 300
    assert found["storefront_events_due",] == found["storefront_events_set_aside",] == 1
    assert found["storefront_events_oldest_due_seconds",] >= 3600
    assert found["storefront_emails_queued",] == found["storefront_emails_failing",] == 1
    assert found["storefront_emails_failed",] == 1
    assert found["storefront_emails_oldest_queued_seconds",] >= 3600
    assert ("storefront_worker_heartbeat_age_seconds",) not in found  # no worker has ever run


def test_the_age_of_the_heartbeat_is_shown(app):
    with app.app_context():
        checkout.run_once()
    assert scrape(app)["storefront_worker_heartbeat_age_seconds",] < 60


OTHER_PROCESS = """
from storefront import create_app
app = create_app()
for _ in range(3):
    app.test_client().get("/sign-in", base_url="http://127.0.0.1:8000")
answer = app.test_client().get("/metrics", base_url="http://127.0.0.1:8000",
                               headers={"Authorization": "Bearer a-token-of-sixteen-or-more"})
print(answer.text)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_processes_that_share_a_folder_are_added_up(env, tmp_path):
    folder = tmp_path / "metrics"
    folder.mkdir()
    environment = env | {"METRICS_TOKEN": TOKEN, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS],
            cwd=ROOT,
            env=environment | {"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
    found = figures(done.stdout)
    assert found["storefront_http_requests_total", "accounts.sign_in", "GET", "200"] == 6


def test_a_scrape_names_no_user(app, add_user):
    add_user()
    with app.app_context():
        assert db.session.get_one(User, 1).email not in str(scrape(app))
        heartbeat.write()
