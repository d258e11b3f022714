"""The legacy generation answers as a real Flexprice server did: every recording, step by step."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storefront.sandbox import create_app
from storefront.sandbox.settings import SandboxSettings
from tests.sandbox.conftest import Near
from tests.sandbox.replay import Replay

RECORDINGS = Path(__file__).parent / "recordings"
ENVIRONMENT = "env_01K3B8N36096Q14DR9GPQY77ZX"
FILES = sorted(RECORDINGS.glob("*.json"))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def legacy(request: pytest.FixtureRequest) -> Iterator[Near]:
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres").database()
    settings = SandboxSettings(
        database_url=url, url="http://sandbox.test", webhook_url="", generation="legacy", seed=""
    )
    app = create_app(settings)
    client = Near(app)
    yield client
    client.http.close()
    app.extensions["sandbox"].close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recording_matches(legacy: Any, file: Path) -> None:
    operator = file.stem == "keys"  # the recorded key needs its environment named
    key = f"sk_sandbox_{file.stem}" + ("_operator" if operator else "")

    replay = Replay(legacy, key, ENVIRONMENT if operator else None)

    assert list(replay.run(json.loads(file.read_text(encoding="utf-8")))) == []


@pytest.mark.thorough
def test_four_at_once_match_with_a_key_each(legacy: Any) -> None:
    def replayed(number: int) -> list[str]:
        client, found = Near(legacy.app), []
        for file in FILES:
            recording = json.loads(file.read_text(encoding="utf-8"))
            if file.stem != "keys":
                found += list(Replay(client, f"sk_sandbox_beside-{number}", None).run(recording))
        client.http.close()
        return found

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(replayed, range(4))) == [[]] * 4


@pytest.mark.parametrize("name", ["paid", "paid-late", "with-one-time-fee"])
def test_the_link_is_what_razorpay_was_asked_for(legacy: Any, name: str) -> None:
    from storefront.sandbox.store.rows import ProviderLink

    recording = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    replay = Replay(legacy, f"sk_sandbox_link-{name}")
    assert list(replay.run(recording)) == []
    (asked,) = [step["provider_received"] for step in recording["steps"] if "provider_received" in step]

    with legacy.app.extensions["sandbox"].read(f"link-{name}") as session:
        link = session.first(ProviderLink)
        sent = link.request | {"amount": link.amount, "currency": link.currency, "short_url": link.url}
        sent |= {"callback_url": link.callback_url, "callback_method": "get", "id": link.id}

    left_out = ("status", "amount_paid")  # Razorpay's answer, not the request
    expected = {key: value for key, value in asked.items() if key not in left_out}
    assert list(replay.compare(expected, sent, "link")) == []
