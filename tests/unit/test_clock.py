"""The clock of business dates, moved by a file."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from storefront.checkout.context import db_now, moved_by, shop_now


@pytest.mark.parametrize(("text", "seconds"), [("86400.5", 86400.5), ("", 0), ("soon", 0), ("1e999", 0)])
def test_file_moves_the_clock(app: Flask, tmp_path: Path, text: str, seconds: float) -> None:
    (tmp_path / "clock").write_text(text)
    app.config["CLOCK_FILE"] = str(tmp_path / "clock")
    with app.app_context():
        assert moved_by() == timedelta(seconds=seconds)
        assert abs(shop_now() - db_now() - timedelta(seconds=seconds)) < timedelta(seconds=5)


def test_without_a_file_it_is_real_time(app: Flask, tmp_path: Path) -> None:
    with app.app_context():
        for place in (None, "", str(tmp_path / "missing")):
            app.config["CLOCK_FILE"] = place
            assert moved_by() == timedelta()
