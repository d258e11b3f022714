"""Figures for Prometheus: behind a token, in its own format, and the same from every process."""

import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from storefront import create_app, lifesigns, orders, outbox, shoppers, tallies, worker
from storefront.catalog import Offer
from storefront.database import writing
from storefront.extensions import db
from storefront.models import Letter, Tally
from storefront.settings import Settings
from storefront.tracing import RequestIds

TOKEN = "a-token-of-sixteen-or-more"


@pytest.fixture
def metered(build, monkeypatch):
    monkeypatch.setattr(tallies, "EVERY", 3600)  # these tests say themselves when to add up
    return build(METRICS_TOKEN=TOKEN)


def get(app, path, **headers):
    return app.test_client().get(path, base_url="http://127.0.0.1:8000", headers=headers)


def scrape(app, add_first=True):
    if add_first:
        with app.app_context():
            app.extensions["tallies"].add()
    answer = get(app, "/metrics", Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_without_a_token_in_the_settings_there_is_no_such_page(app):
    assert get(app, "/metrics").status_code == 404
    assert "tallies" not in app.extensions


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer ", "Basic eDp5", "Bearer ü"])
def test_a_wrong_token_opens_nothing(metered, given):
    answer = get(metered, "/metrics", **({"Authorization": given} if given else {}))
    assert answer.status_code == 401
    assert b"storefront_" not in answer.data


def test_requests_are_counted_by_endpoint_method_and_status(metered):
    for path in ("/sign-in", "/sign-in", "/nowhere"):
        get(metered, path)
    figures = scrape(metered)
    assert figures["storefront_requests_total", "200", "GET", "account.sign_in"] == 2
    assert figures["storefront_requests_total", "404", "GET", "none"] == 1
    assert figures["storefront_request_seconds_total", "account.sign_in"] > 0


def test_webhooks_are_counted_by_their_outcome(metered, tell_to, news):
    tell_to(metered, news("initiated"))
    tell_to(metered, news("initiated"))
    tell_to(metered, news("initiated"), headers={})
    figures = scrape(metered)
    assert figures["storefront_webhooks_total", "", "new"] == 1
    assert figures["storefront_webhooks_total", "", "known"] == 1
    assert figures["storefront_webhooks_total", "missing_header", "refused"] == 1
    assert figures["storefront_inbox_waiting",] == 1


def test_the_worker_counts_what_it_read_and_how_long_it_had_waited(metered, tell_to):
    tell_to(metered, {"event_type": "brand.new", "brand": {"id": "b_1"}})
    with metered.app_context():
        worker.one_pass(datetime.now(UTC) + timedelta(seconds=30))
    figures = scrape(metered)
    assert figures["storefront_messages_total", "done"] == 1
    assert 29 < figures["storefront_message_seconds_total",] < 120
    assert figures["storefront_inbox_waiting",] == figures["storefront_inbox_oldest_seconds",] == 0


def test_calls_to_flexprice_are_counted_with_their_errors(metered, vendor):
    vendor.answers("POST", "/plans/search", {"error": "down"}, 503)
    get(metered, "/")
    figures = scrape(metered)
    assert figures["storefront_upstream_calls_total", "503", "POST", "plans"] == 1


def test_an_unanswered_call_counts_as_one_without_status(metered, vendor):
    vendor.mock.add("POST", "http://127.0.0.1:8001/v1/plans/search", body=requests.ConnectionError("gone"))
    get(metered, "/")
    assert scrape(metered)["storefront_upstream_calls_total", "POST", "none", "plans"] == 1


def test_orders_and_letters_are_read_from_the_rows(metered, seed):
    seed(metered)
    figures = scrape(metered)
    assert figures["storefront_orders", "stuck"] == 1
    assert figures["storefront_orders", "fulfilled"] == 0
    assert figures["storefront_orders_flagged",] == 1
    assert figures["storefront_outbox_waiting",] == figures["storefront_outbox_failing",] == 1
    assert figures["storefront_outbox_oldest_seconds",] > 3000
    assert ("storefront_worker_seconds",) not in figures  # there never was one
    with metered.app_context():
        lifesigns.beat(datetime.now(UTC))
    assert scrape(metered)["storefront_worker_seconds",] < 60


@pytest.fixture
def seed(samples):
    def make(app):
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        with app.app_context(), app.test_request_context(), writing():
            shopper = shoppers.sign_up("Asha Rao", "asha@example.com", samples.PASSWORD, long_ago)
            db.session.flush()
            order, _ = orders.place(
                shopper.id, Offer("plan_01", "Pro", "inr", "MONTHLY", Decimal(499)), long_ago
            )
            order.state, order.flag = "stuck", "Look at me"
            outbox.write("welcome", shopper, long_ago, order)
            db.session.query(Letter).update({"error": "SMTPException"})

    return make


def test_several_processes_add_up_to_one_figure(metered, env):
    other = create_app(Settings.from_env({**env, "METRICS_TOKEN": TOKEN}))
    for app in (metered, other, other):
        get(app, "/sign-in")
    with other.app_context():
        other.extensions["tallies"].add()
        db.session.remove()
        db.engine.dispose()
    assert scrape(metered)["storefront_requests_total", "200", "GET", "account.sign_in"] == 3


def test_what_could_not_be_added_is_added_the_next_time(metered, monkeypatch):
    get(metered, "/sign-in")
    with monkeypatch.context() as trouble:
        trouble.setattr(tallies, "writing", _busy)
        with metered.app_context():
            metered.extensions["tallies"].add()
    get(metered, "/sign-in")
    assert scrape(metered)["storefront_requests_total", "200", "GET", "account.sign_in"] == 2


def _busy():
    raise tallies.DatabaseBusy


def test_counting_from_many_threads_loses_nothing(metered):
    def count():
        with metered.app_context():
            for _ in range(200):
                tallies.count("storefront_test_total")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with metered.app_context():
        metered.extensions["tallies"].add()
        assert db.session.get_one(Tally, "storefront_test_total").value == 1600


def test_a_label_cannot_break_out_of_its_quotes():
    assert tallies.series("x", a='"\\\n') == 'x{a="\\"\\\\\\n"}'


# -- one id for a request, everywhere ---------------------------------------------------------------


def test_the_visitors_id_goes_to_flexprice_into_the_log_and_back(app, vendor, caplog):
    names = RequestIds()
    caplog.handler.addFilter(names)
    caplog.set_level("DEBUG")
    vendor.sells()
    answer = get(app, "/", **{"X-Request-ID": "visitor-0123"})
    assert answer.headers["X-Request-ID"] == "visitor-0123"
    assert vendor.mock.calls[0].request.headers["X-Request-ID"] == "visitor-0123"
    assert all(record.request_id == "visitor-0123" for record in caplog.records)
    caplog.handler.removeFilter(names)


@pytest.mark.parametrize("odd", ["", "short", "with spaces in it", "x" * 65, "line\tbreak-0123"])
def test_an_id_that_does_not_fit_a_log_line_is_replaced(app, odd):
    given = get(app, "/healthz", **{"X-Request-ID": odd}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{24}", given)


def test_the_worker_names_its_calls_after_the_message(context, tell, news, vendor, samples):
    tell(news("completed"), message_id="msg_named")
    vendor.answers("GET", "/checkout/sessions/cs_01", samples.session(checkout_status="completed"))
    worker.read_inbox(datetime.now(UTC) + timedelta(seconds=1))
    assert vendor.mock.calls[0].request.headers["X-Request-ID"] == "msg_named"
