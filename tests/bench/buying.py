"""`POST /checkout` against an upstream that answers at once."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import requests as http

from tests.bench import floors, rows
from tests.bench.load import load, post
from tests.bench.servers import served
from tests.bench.stub import PLAN
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied, expect
from tests.bench.working import upstream

SHOPPERS = 2_500
SECONDS = 1.0


def clicks(url: str) -> list[bytes]:
    """One click for each shopper."""
    app = rows.shop(url)
    offer = {"plan": PLAN, "currency": "inr", "billing_period": "MONTHLY"}
    made = []
    for number in range(SHOPPERS):
        browser = rows.signed_in(app, number)
        body = urlencode(offer | {"csrf_token": browser.csrf_token}).encode()
        kind = "application/x-www-form-urlencoded"
        made.append(post("/checkout", body, Content_Type=kind, Cookie=browser.cookie, User_Agent=rows.AGENT))
    return made


def buy(name: str, template: Path, requests: list[bytes]) -> Figures:
    with copied(template) as url, upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": name}
        with served("tests.bench.target:app", environ) as server:
            left: Iterator[bytes] = iter(requests)
            warm = expect(load(server.port, 8, 0.3, left))
            before = server.cpu()
            result = load(server.port, 8, SECONDS, left)
            bought = expect(result)
            assert sessions(port) == warm + bought, "exactly one call to Flexprice for each"
            return {
                "rate": bought / result.seconds,
                "cpu": (server.cpu() - before) / bought,
                "p99": result.percentile(0.99),
            }


def sessions(port: int) -> int:
    """How many the upstream was asked to create."""
    return int(http.get(f"http://127.0.0.1:{port}/asked", timeout=10).json()["sessions"])


def measure(rounds: int, folder: Path) -> list[Row]:
    shop_rows, floor_rows = folder / "shop.db", folder / "floor.db"
    rows.fill(f"sqlite:///{shop_rows}", SHOPPERS, open_orders=False)
    floors.fill(f"sqlite:///{floor_rows}", 1)
    requests = clicks(f"sqlite:///{shop_rows}")
    seen = Rounds().run(
        rounds,
        {
            "shop": partial(buy, "shops:shop", shop_rows, requests),
            "sdk": partial(buy, "shops:with_sdk", shop_rows, requests),
            "floor": partial(buy, "floors:checkout", floor_rows, requests),
        },
    )
    return [
        Row(
            "POST /checkout, 8 shoppers",
            "the same with the official SDK: rate",
            seen.ratio("shop", "sdk", "rate"),
            1.5,
        ),
        Row("POST /checkout, 8 shoppers", "gated floor: rate", seen.ratio("shop", "floor", "rate"), 0.85),
    ]
