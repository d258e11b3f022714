"""Messages as curl, as HAR and with an edited payload; searching lists; the timeline; real time."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest


@pytest.fixture
def delivery(sandbox: Any) -> Any:
    sandbox.customer()
    session = sandbox.session()
    sandbox.pay(session)
    sandbox.deliver()
    found = [one for one in sandbox.deliveries() if one["event_type"] == "checkout.session.completed"]
    return found[0] | {"session": session["id"]}


def test_a_delivery_is_shown_as_curl_and_exported_as_har(sandbox: Any, delivery: Any) -> None:
    one = sandbox.get(f"/_sandbox/deliveries/{delivery['id']}").json()
    har = sandbox.get(f"/_sandbox/deliveries/{delivery['id']}/requests.har").json()["log"]
    every = sandbox.get("/_sandbox/deliveries/requests.har").json()["log"]

    assert one["attempts"][0]["curl"].startswith("curl -i -X POST http://")
    assert "svix-signature: " in one["attempts"][0]["curl"]
    assert har["version"] == "1.2"
    (entry,) = har["entries"]
    assert entry["request"]["postData"]["text"] == one["attempts"][0]["body"]
    assert entry["response"]["status"] == 200
    assert len(every["entries"]) > 1
    assert sandbox.get("/_sandbox/deliveries/9999/requests.har").status_code == 404


def test_an_edited_payload_is_signed_and_sent(sandbox: Any, receiver: Any, delivery: Any) -> None:
    body = json.loads(delivery["body"]) | {"edited": True}
    answer = sandbox.post(f"/_sandbox/deliveries/{delivery['id']}/replay", {"payload": body})
    sandbox.deliver()

    headers, sent = receiver.got[-1]
    assert json.loads(sent)["edited"] is True
    assert headers["svix-id"] != delivery["event_id"]
    assert sandbox.get(f"/_sandbox/deliveries/{answer.json()['delivery_id']}").json()["state"] == "delivered"
    assert sandbox.post(f"/_sandbox/deliveries/{delivery['id']}/replay", {}).status_code == 400


def test_lists_can_be_searched(sandbox: Any, delivery: Any) -> None:
    def found(path: str) -> list[Any]:
        return list(sandbox.get(f"/_sandbox/{path}").json()["items"])

    assert found("customers?q=nobody+at+all") == []
    assert [one["id"] for one in found(f"sessions?q={delivery['session']}")] == [delivery["session"]]
    assert {one["event_type"] for one in found("deliveries?q=session.completed")} == {delivery["event_type"]}
    assert all("POST" in one["what"] for one in found("log?q=POST+201"))
    assert delivery["session"] in sandbox.see("sessions?q=completed")


def test_ids_lead_to_what_they_name(sandbox: Any, delivery: Any) -> None:
    session = sandbox.get(f"/_sandbox/sessions/{delivery['session']}").json()
    page = sandbox.see(f"sessions/{delivery['session']}")

    assert f'href="/_sandbox/subscriptions/{session["subscription_id"]}"' in page
    assert f'data-copy="{delivery["session"]}"' in page


def test_a_timeline_has_calls_events_and_deliveries(sandbox: Any, delivery: Any) -> None:
    path = f"/_sandbox/sessions/{delivery['session']}/timeline"
    items = sandbox.get(path).json()["items"]

    assert {one["who"] for one in items} == {"sandbox", "webhook"}
    assert [one["at"] for one in items] == sorted(one["at"] for one in items)
    assert any(one["what"].startswith("checkout.session.completed, delivery") for one in items)
    assert "The shop: not asked" in sandbox.see(path.removeprefix("/_sandbox/"))


def test_the_clock_goes_back_to_real_time(sandbox: Any) -> None:
    sandbox.customer()
    sandbox.advance("31d")
    answer = sandbox.post("/_sandbox/clock", {"real": True}).json()

    moment = datetime.fromisoformat(answer["now"])
    assert abs((moment - datetime.now(UTC)).total_seconds()) < 60
