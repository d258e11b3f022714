"""From the plan to the goods, in the orders in which the news may come."""

from typing import Any


def bought_once(world: Any) -> None:
    assert [order.state for order in world.orders()] == ["fulfilled"]
    assert len(world.accesses()) == 1
    assert world.letters() == ["welcome"]
    assert world.order().flag is None


def test_a_paid_order_is_fulfilled_exactly_once(world: Any) -> None:
    shopper = world.shopper()

    leads_to = shopper.buy("Starter")
    assert leads_to.status_code == 303
    assert leads_to.headers["Location"] == world.pay_url()
    back = shopper.pay(leads_to.headers["Location"])
    assert back.headers["Location"].startswith(f"{world.shop_url}/orders/{world.order().ref}/success")
    world.settle()
    world.settle()

    bought_once(world)
    assert shopper.phase(world.order(), "success") == "ready"
    assert world.order().invoice_number
    assert "Starter" in shopper.see("/members").text
