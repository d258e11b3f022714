"""The doctor against the real shop and the sandbox: what it finds, and that it leaves nothing behind."""

import json
from datetime import UTC, datetime
from typing import Any

from storefront import lifesigns
from storefront.settings import Settings


def examine(world: Any) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    done = world.shop.test_cli_runner().invoke(args=["doctor", "--json"])
    found: dict[str, list[tuple[str, str]]] = {}
    for line in json.loads(done.output)["checks"]:
        found.setdefault(line["check"], []).append((line["status"], line["why"]))
    return done.exit_code, found


def test_the_shop_answers_a_signed_message_refuses_a_forged_one_and_keeps_one_of_two(world: Any) -> None:
    _, found = examine(world)
    assert [status for status, _ in found["Webhook endpoint"]] == ["ok", "ok", "ok"]
    (message,) = world.events()
    assert message.id.startswith("msg_doctor_")
    assert message.event_type == "storefront.doctor"


def test_the_test_message_is_harmless(world: Any) -> None:
    shopper = world.shopper()
    shopper.buy()
    examine(world)
    world.work()
    assert world.order().state == "awaiting_payment"
    assert next(m for m in world.events() if m.id.startswith("msg_doctor_")).outcome == "noted"
    assert world.emails() == []


def test_a_practice_shop_is_not_ready_and_each_reason_is_named(world: Any) -> None:
    code, found = examine(world)
    assert code == 1
    assert found["Address of the shop"][0][0] == "fails"
    assert found["Not the sandbox's"][0] == (
        "fails",
        "FLEXPRICE_API_URL is this machine: the sandbox, no real Flexprice.",
    )
    assert found["Worker"][0][0] == "fails"
    assert found["API key"] == [("ok", "Flexprice takes it")]
    assert found["API key may write"] == [("ok", "the key may write")]
    assert found["Clock"][0][0] == "ok"
    assert len(found["To be ticked by hand"]) == 5


def test_a_worker_that_is_alive_is_seen(world: Any) -> None:
    with world.shop.app_context():
        lifesigns.beat(datetime.now(UTC))
    _, found = examine(world)
    assert found["Worker"] == [("ok", "alive")]


def test_offers_that_are_not_charged_as_a_shopper_might_think_are_named(world: Any) -> None:
    _, found = examine(world)
    told = " ".join(why for _, why in found["Offers"])
    assert "is not sold" in told
    assert found["Offers"][-1][0] == "ok"


def test_a_secret_that_is_not_the_one_out_there_is_found(world: Any) -> None:
    shop: Settings = world.shop.config["SETTINGS"]
    other = "whsec_YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub3QgdGhlcmU="
    world.shop.config["SETTINGS"] = type(shop)(
        **{**vars(shop), "flexprice_webhook_secrets": (other,)},
    )
    _, found = examine(world)
    assert found["Webhook endpoint"][0] == ("fails", "A signed message is answered 401.")


def test_the_report_holds_no_secret(world: Any) -> None:
    plain = world.shop.test_cli_runner().invoke(args=["doctor"]).output
    whole = plain + world.shop.test_cli_runner().invoke(args=["doctor", "--json"]).output
    for secret in ("sk_sandbox_journeys", "whsec_", "s" * 40):
        assert secret not in whole
    assert "Webhook endpoint" in plain


def test_an_operator_sees_the_report_and_the_page_knocks_nowhere(world: Any) -> None:
    shopper = world.shopper()
    assert shopper.see("/operator/doctor").status_code == 404
    world.set_shopper(shopper, is_operator=True)
    page = shopper.see("/operator/doctor")
    assert page.status_code == 200
    assert "Not tried: a page only looks." in page.text
    assert world.events() == []
