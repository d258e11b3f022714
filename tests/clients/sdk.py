"""A sale by the official Python SDK, `sync` or `async`."""

import asyncio
import json
import os
import sys
import urllib.request
from typing import Any

from flexprice import Flexprice

API, CONTROL, KEY = (os.environ[name] for name in ("API", "CONTROL", "KEY"))
CUSTOMER = {"external_id": "u1", "name": "Asha"}


def control(method: str, path: str, body: Any) -> None:
    headers = {"x-api-key": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{CONTROL}/{path}", json.dumps(body).encode(), headers, method=method)
    urllib.request.urlopen(request, timeout=10).close()


def asked(plan_id: str) -> dict[str, Any]:
    params = {"plan_id": plan_id, "currency": "INR", "billing_period": "MONTHLY"}
    return {
        "action": "create_subscription",
        "configuration": {"create_subscription_params": params},
        "customer_external_id": "u1",
        "payment_provider": "razorpay",
        "success_url": "https://shop.example/return",
    }


def sell(client: Flexprice) -> tuple[str, str]:
    client.customers.create_customer(**CUSTOMER)
    plan = client.plans.query_plan(lookup_key="pro").items[0]
    session = client.checkout.create_checkout_session(**asked(plan.id))
    control("POST", "provider", {"action": "pay", "link": session.payment_action.url})
    return session.id, client.checkout.get_checkout_session(id=session.id).checkout_status


async def sell_async(client: Flexprice) -> tuple[str, str]:
    await client.customers.create_customer_async(**CUSTOMER)
    plan = (await client.plans.query_plan_async(lookup_key="pro")).items[0]
    session = await client.checkout.create_checkout_session_async(**asked(plan.id))
    await asyncio.to_thread(
        control, "POST", "provider", {"action": "pay", "link": session.payment_action.url}
    )
    return session.id, (await client.checkout.get_checkout_session_async(id=session.id)).checkout_status


async def run_async() -> tuple[str, str]:
    async with Flexprice(server_url=API, api_key_auth=KEY) as client:
        return await sell_async(client)


def main() -> None:
    control("PUT", "plans/pro", {"name": "Pro", "prices": [{"currency": "inr", "amount": "499"}]})
    if sys.argv[1] == "async":
        session_id, status = asyncio.run(run_async())
    else:
        with Flexprice(server_url=API, api_key_auth=KEY) as client:
            session_id, status = sell(client)
    assert status == "completed", status
    print(f"sold {session_id}")


if __name__ == "__main__":
    main()
