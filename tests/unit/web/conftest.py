"""Nothing in these tests depends on which database it is: they run on SQLite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask


@pytest.fixture
def database_url(sqlite_in: Callable[[Path], str], tmp_path: Path) -> str:
    return sqlite_in(tmp_path)


@pytest.fixture
def sell(app: Flask) -> Callable[..., None]:
    """Puts plans on sale without Flexprice: `sell(plan(price()))`."""
    from storefront.checkout.offers import Catalog
    from storefront.flexprice import Plan

    def put(*plans: dict[str, Any]) -> None:
        app.extensions["checkout"].catalog = Catalog(lambda: [Plan.from_json(plan) for plan in plans])

    return put
