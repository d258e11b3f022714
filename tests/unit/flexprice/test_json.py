"""The strict reader: times, amounts, text, and everything that is none of these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from storefront.flexprice import UnreadableResponse
from storefront.flexprice._json import (
    IMPOSSIBLE,
    Fields,
    flag,
    identifier,
    label,
    money,
    parse_json,
    text,
    time,
    whole,
)


def short_repr(value):
    """A name for any value; the text of a huge whole number cannot be made."""
    return f"{type(value).__name__} {value!r:.20}" if not isinstance(value, int) else "whole number"


@pytest.mark.parametrize(
    ("written", "microsecond"),
    [
        ("2026-09-01T10:15:01Z", 0),
        ("2026-09-01T10:15:01.5Z", 500_000),
        ("2026-09-01T10:15:01.123456Z", 123_456),
        ("2026-09-01T10:15:01.123456789Z", 123_456),
        ("2026-09-01T15:45:01.1+05:30", 100_000),
    ],
)
def test_a_time_is_read_as_utc(written, microsecond):
    assert time(written) == datetime(2026, 9, 1, 10, 15, 1, microsecond, tzinfo=UTC)
    assert time(written).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "written", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59+05:30", "9999-01-01T00:00:01Z"]
)
def test_the_last_second_there_is_can_be_shown_in_every_zone(written):
    """Kind: one reader for what Flexprice sends. Some write "no end" so, and pages add a zone."""
    assert time(written) == datetime(9999, 1, 1, tzinfo=UTC)
    assert time(written).astimezone(ZoneInfo("Pacific/Kiritimati")).year == 9999


@pytest.mark.parametrize(
    "written",
    [
        "2026-09-01",
        "2026-09-01T10:15:01",
        "2026-13-01T10:15:01Z",
        "2026-09-01T10:15:01.1234567890Z",
        "2026-09-01T10:15:01Z\n",
        "0001-01-01T00:00:00+05:00",
        "1788256800",
        "2026-09-01T10:15:01+99:00",
    ],
)
def test_a_time_in_another_form_is_unreadable(written):
    with pytest.raises(UnreadableResponse):
        time(written)


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("499", "499"),
        ("499.5", "499.5"),
        (499, "499"),
        (Decimal("0.1"), "0.1"),
        ("-1", "-1"),
        ("9" * 20, "9" * 20),
    ],
)
def test_an_amount_is_read_exactly(value, amount):
    assert money(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-inf",
        "",
        " 1",
        ".5",
        "1_0",
        "1,5",
        "٤",
        "1e999",
        10**5000,
        True,
        None,
        0.1,
        [],
        "9" * 21,
        "0." + "1" * 39,
        "1e20",
        Decimal("1E+20"),
    ],
    ids=short_repr,
)
def test_anything_else_is_no_amount(value):
    with pytest.raises(UnreadableResponse):
        money(value)


def test_numbers_never_become_floats():
    assert parse_json(b'{"amount": 0.1}') == {"amount": Decimal("0.1")}


def test_an_impossible_number_spoils_one_field_only():
    body = b'{"a": 1e9999, "b": NaN, "c": ' + b"1" * 5000 + b', "d": 1, "e": 0.5}'
    assert parse_json(body, tolerant=True) == {
        "a": IMPOSSIBLE,
        "b": IMPOSSIBLE,
        "c": IMPOSSIBLE,
        "d": 1,
        "e": Decimal("0.5"),
    }
    with pytest.raises(UnreadableResponse):
        parse_json(body)
    for read in (money, whole, text, label, identifier, time, flag):
        with pytest.raises(UnreadableResponse):
            Fields({"field": IMPOSSIBLE}, "thing").get("field", read, None)


def test_text_loses_what_cannot_be_stored():
    assert text("a\x00b\ud800c\U0001f600") == "abc\U0001f600"


@pytest.mark.parametrize("length", [0, 1, 255, 256, 5000])
@pytest.mark.parametrize("char", ["a", "é", "\U0001f600", "\x00a"])
def test_a_name_is_cut_to_255_characters(char, length):
    name = Fields({"name": char * length}, "plan").get("name", label, "")
    assert name == char.removeprefix("\x00") * min(length, 255)


@pytest.mark.parametrize(
    "value",
    ["x" * 256, "x\x00", "x\ud800", 7, True, []],
    ids=["long", "NUL", "surrogate", "7", "true", "list"],
)
def test_an_id_is_never_changed(value):
    with pytest.raises(UnreadableResponse, match="plan has no usable 'id'"):
        Fields({"id": value}, "plan").get("id", identifier, "")


@pytest.mark.parametrize("data", [{}, {"field": None}, {"field": ""}])
def test_missing_null_and_empty_are_one(data):
    fields = Fields(data, "thing")
    assert fields.get("field", identifier, "") == fields.get("field", label, "") == ""
    assert fields.get("field", time, None) is None
    with pytest.raises(UnreadableResponse, match="thing has no usable 'field'"):
        fields.required("field", identifier)


def test_go_zero_time_is_no_time():
    assert time("0001-01-01T00:00:00Z") is None


def test_metadata_keeps_text_only():
    fields = Fields({"metadata": {"a": "1\x00", "b\ud800": "2", "c": 3, "d": None}}, "thing")
    assert fields.metadata() == {"a": "1", "b": "2"}
