"""The console: the clock, faults, ending a subscription, and what a restart keeps."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from storefront.sandbox import background, create_app
from storefront.sandbox.settings import SandboxSettings

URL = "/v1/checkout/sessions"


def test_the_page_shows_what_happened(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.deliver()

    page = sandbox.get("/_sandbox/")

    assert page.status_code == 200
    assert session["id"] in page.text
    assert "checkout.session.initiated" in page.text


def test_its_buttons_come_back_to_the_page(sandbox: Any) -> None:
    for path, form in (
        ("clock", {"advance": "5m"}),
        ("webhooks", {"mode": "hold"}),
        ("sweep", {"now": "yes"}),
    ):
        answer = sandbox.post(f"/_sandbox/{path}", data=form)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/_sandbox/")
    assert "delivery: hold" in sandbox.get("/_sandbox/").text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clock", {"advance": "tomorrow"}),
        ("clock", {}),
        ("webhooks", {"mode": "x"}),
        ("faults", {"fault": "x"}),
        ("faults", {"fault": "down", "times": "many"}),
        ("faults", {"fault": "slow", "seconds": "nan"}),
    ],
)
def test_an_override_that_is_not_there_is_refused(sandbox: Any, path: str, body: Any) -> None:
    assert sandbox.post(f"/_sandbox/{path}", body).status_code == 400


def test_faults_hit_the_next_calls_of_their_path_only(sandbox: Any) -> None:
    sandbox.customer()
    for fault in ("down", "error_500"):
        sandbox.post("/_sandbox/faults", {"fault": fault, "path": URL, "method": "POST"})

    assert sandbox.get(f"{URL}/cs_1").status_code == 404
    assert sandbox.post(URL, sandbox.asked()).status_code == 503
    broken = sandbox.post(URL, sandbox.asked())
    assert (broken.status_code, broken.text) == (500, "")
    assert sandbox.post(URL, sandbox.asked()).status_code == 201


@pytest.mark.parametrize(("fault", "sessions"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_lost_answer_may_or_may_not_have_made_a_session(sandbox: Any, fault: str, sessions: int) -> None:
    sandbox.customer()
    body = sandbox.asked()
    sandbox.post("/_sandbox/faults", {"fault": fault, "path": URL, "method": "POST", "seconds": 0.05})

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        sandbox.post(URL, body)

    assert len(sandbox.get("/_sandbox/sessions").json()["items"]) == sessions


def test_faults_can_be_removed(sandbox: Any) -> None:
    sandbox.post("/_sandbox/faults", {"fault": "down", "times": 9})
    assert sandbox.call("DELETE", "/_sandbox/faults").status_code == 204
    assert sandbox.customer()["id"]


@pytest.mark.thorough
def test_a_subscription_ends_now_or_later(sandbox: Any, receiver: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.pay(session)
    subscription = sandbox.get(f"/_sandbox/sessions/{session['id']}").json()["subscription_id"]
    cancel = f"/_sandbox/subscriptions/{subscription}/cancel"

    later = sandbox.post(cancel, {"at_period_end": True}).json()["subscription"]
    now = sandbox.post(cancel, {}).json()["subscription"]
    sandbox.deliver()

    assert later["cancel_at"] == later["current_period_end"]
    assert (later["subscription_status"], now["subscription_status"]) == ("active", "cancelled")
    assert receiver.types[-3:] == ["subscription.updated", "subscription.updated", "subscription.cancelled"]
    assert sandbox.post(cancel).status_code == 404
    assert "Cancel now" not in sandbox.see(f"subscriptions/{subscription}")


def test_a_restart_keeps_everything_but_the_process(sandbox: Any) -> None:
    sandbox.customer()
    session = sandbox.session()
    sandbox.advance("26m")
    plans = sandbox.post("/v1/plans/search", {}).json()

    again = create_app(sandbox.app.extensions["sandbox_settings"])

    client, headers = again.test_client(), sandbox.headers
    assert client.get(f"{URL}/{session['id']}", headers=headers).json["checkout_status"] == "pending"
    assert client.post("/v1/plans/search", json={}, headers=headers).json == plans
    assert client.get("/_sandbox/clock").json["now"] > session["expires_at"]
    again.extensions["sandbox"].close()


@pytest.mark.thorough
def test_eight_threads_open_sessions_at_once(sandbox: Any) -> None:
    sandbox.customer()
    body, statuses = sandbox.asked(), []

    def open_five() -> None:
        for _ in range(5):
            url = sandbox.base + URL
            statuses.append(requests.post(url, json=body, headers=sandbox.headers, timeout=20).status_code)

    threads = [threading.Thread(target=open_five) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [201] * 40


def test_the_background_thread_delivers_and_stops(sandbox: Any, receiver: Any) -> None:
    stop = threading.Event()
    extensions = sandbox.app.extensions
    thread = background.start(extensions["sandbox"], extensions["sandbox_dispatcher"], stop)
    sandbox.customer()

    arrived = threading.Event()
    for _ in range(100):
        if receiver.got or arrived.wait(0.05):
            break
    stop.set()
    thread.join(timeout=5)

    assert receiver.types == ["customer.created"]
    assert not thread.is_alive()


def test_settings_come_from_the_environment() -> None:
    settings = SandboxSettings.from_env(
        {"FLEXPRICE_WEBHOOK_SECRET": "whsec_a whsec_b", "SANDBOX_URL": "http://x/"}
    )

    assert settings.webhook_secrets == ("whsec_a", "whsec_b")
    assert settings.url == "http://x"
    assert settings.webhook_url == "http://127.0.0.1:8000/webhooks/flexprice"


@pytest.mark.thorough
def test_it_serves_on_its_own_and_ends_when_told(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {
        "SANDBOX_PORT": str(port),
        "SANDBOX_DATABASE_URL": f"sqlite:///{tmp_path}/s.db",
        "FLEXPRICE_API_KEY": "k",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "storefront.sandbox"], env=env, cwd=tmp_path, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    with process, process.stderr:
        for line in process.stderr:
            if b"Serving" in line:
                break
        answer = requests.post(
            f"http://127.0.0.1:{port}/v1/plans/search", json={}, headers={"x-api-key": "k"}, timeout=5
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0

    assert answer.json()["pagination"]["total"] == 7


@pytest.fixture
def sale(sandbox: Any) -> Any:
    sandbox.customer()
    session = sandbox.session()
    sandbox.pay(session)
    sandbox.deliver()
    return session


@pytest.mark.parametrize("kind", ["sessions", "customers", "subscriptions", "invoices", "payments"])
def test_each_kind_of_thing_has_a_list_and_a_page_each(sandbox: Any, sale: Any, kind: str) -> None:
    (item,) = sandbox.get(f"/_sandbox/{kind}").json()["items"]

    assert item["id"] in sandbox.see(kind)
    assert item["id"] in sandbox.see(f"{kind}/{item['id']}")
    assert sandbox.get(f"/_sandbox/{kind}/{item['id']}").json()["id"] == item["id"]
    assert sandbox.get(f"/_sandbox/{kind}/nothing").status_code == 404


def test_a_delivery_shows_what_went_out_and_what_came_back(sandbox: Any, receiver: Any) -> None:
    receiver.answers = [503]
    sandbox.customer()
    sandbox.walk("6m")
    (delivery,) = sandbox.deliveries()

    page = sandbox.see(f"deliveries/{delivery['id']}")
    first, second = sandbox.get(f"/_sandbox/deliveries/{delivery['id']}").json()["attempts"]

    (sent, body), (again, _) = receiver.got
    assert (first["headers"]["svix-signature"], first["body"]) == (sent["svix-signature"], body)
    assert (first["response_status"], second["response_status"]) == (503, 200)
    assert sent["svix-signature"] in page
    assert again["svix-signature"] in page
    assert "Attempt 2" in page


def test_the_next_try_is_told(sandbox: Any, receiver: Any) -> None:
    receiver.answers = [500]
    sandbox.customer()
    sandbox.deliver()

    (delivery,) = sandbox.deliveries()

    assert delivery["state"] == "due"
    assert delivery["due_at"][:16].replace("T", " ") in sandbox.see("deliveries")


def test_the_header_of_an_unsigned_flexprice_comes_from_the_shops_own_setting() -> None:
    settings = SandboxSettings.from_env({"FLEXPRICE_WEBHOOK_HEADER": "X-Api-Key: a long value"})

    assert (settings.native_header, settings.webhook_signing) == ("X-Api-Key: a long value", "native")


@pytest.mark.parametrize("name", ["SANDBOX_SIGNING", "SANDBOX_RETRIES", "FLEXPRICE_WEBHOOK_HEADER"])
def test_a_setting_that_makes_no_sense_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        SandboxSettings.from_env({name: "nonsense"})


@pytest.mark.thorough
def test_what_was_arranged_and_told_outlives_the_process(sandbox: Any, sale: Any) -> None:
    sandbox.control("faults", fault="down", times=3)
    sandbox.control("outcomes", outcome="declined", session=sale["id"])
    told = sandbox.deliveries()

    again = create_app(sandbox.app.extensions["sandbox_settings"])

    client = again.test_client()
    arranged = [one["name"] for one in client.get("/_sandbox/overrides").json["items"]]
    assert arranged == ["down", "declined"]
    assert client.get("/_sandbox/deliveries").json["items"][::-1] == told
    page = client.get(f"/_sandbox/deliveries/{told[-1]['id']}", headers={"Accept": "text/html"}).text
    assert "svix-signature" in page
    again.extensions["sandbox"].close()


@pytest.mark.thorough
def test_a_session_can_be_played_with_on_its_page(sandbox: Any, sale: Any) -> None:
    page = sandbox.see(f"sessions/{sale['id']}")
    assert "Refund it" in page
    assert "End its subscription" in page

    back = f"/_sandbox/sessions/{sale['id']}"
    form = {"outcome": "refunded", "back": back}
    answer = sandbox.post(f"/_sandbox/sessions/{sale['id']}/outcome", data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, back)
    assert "REFUNDED" in sandbox.see(f"sessions/{sale['id']}")


@pytest.mark.parametrize("back", ["https://elsewhere.test/", "//elsewhere.test/_sandbox/", "/v1/customers"])
def test_a_form_leads_back_to_the_console_and_nowhere_else(sandbox: Any, back: str) -> None:
    answer = sandbox.post("/_sandbox/sweep", data={"now": "yes", "back": back})
    assert answer.headers["Location"] == "/_sandbox/"


@pytest.mark.parametrize(
    ("form", "becomes"),
    [
        ({"name": "generation", "value": "legacy"}, "legacy"),
        ({"name": "razorpay_events", "value": ["payment.failed", "payment_link.paid"]}, 2),
        ({"name": "razorpay_events"}, 0),
    ],
)
def test_a_switch_can_be_turned_on_the_page(sandbox: Any, form: dict[str, Any], becomes: Any) -> None:
    assert "Server behaviour" in sandbox.see("")

    assert sandbox.post("/_sandbox/switch", data=form).status_code == 303

    value = sandbox.get("/_sandbox/switches").json()[form["name"]]
    assert (len(value) if isinstance(value, list) else value) == becomes
    assert sandbox.post("/_sandbox/switch", data={"name": "generation", "value": "x"}).status_code == 400
    assert sandbox.post("/_sandbox/switch", data={"name": "x"}).status_code == 400


def test_the_address_alone_leads_to_the_console(sandbox: Any) -> None:
    assert sandbox.get("/").headers["Location"] == "/_sandbox/"
    assert sandbox.post("/").text == "404 page not found"


def test_its_pages_may_load_what_they_need_and_no_more(sandbox: Any) -> None:
    answer = sandbox.get("/_sandbox/")
    policy = answer.headers["Content-Security-Policy"]

    assert "'unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert "script-src 'self' https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js" in policy
    assert 'integrity="sha384-' in answer.text
    assert "style=" not in answer.text


LISTS = {
    "sessions": ("checkout_status", "completed"),
    "subscriptions": ("subscription_status", "active"),
    "invoices": ("payment_status", "SUCCEEDED"),
    "payments": ("payment_status", "SUCCEEDED"),
    "deliveries": ("event_type", "checkout.session.completed"),
    "log": ("status", "201"),
}


def test_lists_are_narrowed_by_words_and_columns(sandbox: Any, sale: Any) -> None:
    for path, (field, value) in LISTS.items():
        chosen = sandbox.get(f"/_sandbox/{path}?{field}={value}").json()["items"]
        assert chosen, path
        assert {str(one[field]) for one in chosen} == {value}
        assert sandbox.get(f"/_sandbox/{path}?{field}=nothing").json()["items"] == []
        page = sandbox.see(f"{path}?{field}={value}&q=nowhere+at+all")
        assert f"<option selected>{value}</option>" in page
        assert "Nothing matches." in page
        assert f'href="/_sandbox/{path}">Show all' in page


def test_ids_lead_to_what_they_name_and_can_be_copied(sandbox: Any, sale: Any) -> None:
    for path in ("sessions", "customers", "subscriptions", "invoices", "payments", "deliveries", "log"):
        page = sandbox.see(path)
        assert 'class="copy"' in page, path
        assert 'data-copy=""' not in page, path
    (invoice,) = sandbox.get("/_sandbox/invoices").json()["items"]
    for path in ("invoices", f"invoices/{invoice['id']}"):
        assert f'href="/_sandbox/customers/{invoice["customer_id"]}"' in sandbox.see(path)
    assert f'href="/_sandbox/invoices/{invoice["id"]}"' in sandbox.see("payments")


def test_an_object_has_its_facts_before_its_json(sandbox: Any, sale: Any) -> None:
    (invoice,) = sandbox.get("/_sandbox/invoices").json()["items"]
    page = sandbox.see(f"invoices/{invoice['id']}")
    facts, _, body = page.partition("<h2>JSON</h2>")
    assert invoice["invoice_number"] in facts
    assert f"{float(invoice['total']):,.2f} {invoice['currency'].upper()}" in facts
    assert "All invoices" in facts
    assert "&#34;invoice_number&#34;" in body
