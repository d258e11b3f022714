"""A pretended server with strict mocks, and a client for it."""

from __future__ import annotations

import pytest
import responses

from storefront.flexprice import Client
from tests.unit.flexprice.samples import KEY, URL


@pytest.fixture
def server():
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield mock


@pytest.fixture
def client():
    with Client(URL + "/", KEY) as client:
        yield client
