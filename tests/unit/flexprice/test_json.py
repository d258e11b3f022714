"""The strict reader: times, amounts, text, and everything that is none of these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from storefront.flexprice import UnreadableResponse
from storefront.flexprice._json import (
    IMPOSSIBLE,
    Fields,
    clean_text,
    parse_json,
    parse_json_list,
    parse_money,
    parse_time,
)


def short_repr(value):
    """A name for any value; the text of a huge whole number cannot be made."""
    return f"{type(value).__name__} {value!r:.20}" if not isinstance(value, int) else "whole number"


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-09-01T10:15:01Z", 0),
        ("2026-09-01T10:15:01.5Z", 500_000),
        ("2026-09-01T10:15:01.123456Z", 123_456),
        ("2026-09-01T10:15:01.123456789Z", 123_456),
        ("2026-09-01T15:45:01.1+05:30", 100_000),
    ],
)
def test_a_time_is_read_as_utc(text, microsecond):
    assert parse_time(text) == datetime(2026, 9, 1, 10, 15, 1, microsecond, tzinfo=UTC)
    assert parse_time(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
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
def test_a_time_in_another_form_is_unreadable(text):
    with pytest.raises(UnreadableResponse):
        parse_time(text)


@pytest.mark.parametrize(
    ("value", "amount"),
    [("499", "499"), ("499.5", "499.5"), (499, "499"), (Decimal("0.1"), "0.1"), ("-1", "-1")],
)
def test_an_amount_is_read_exactly(value, amount):
    assert parse_money(value) == Decimal(amount)


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
        "9" * 50,
    ],
    ids=short_repr,
)
def test_anything_else_is_no_amount(value):
    with pytest.raises(UnreadableResponse):
        parse_money(value)


def test_numbers_never_become_floats():
    assert parse_json(b'{"amount": 0.1}') == {"amount": Decimal("0.1")}


def test_an_impossible_number_spoils_one_field_only():
    body = b'{"a": 1e9999, "b": NaN, "c": ' + b"1" * 5000 + b', "d": 1, "e": 0.5}'
    assert parse_json_list(body) == {
        "a": IMPOSSIBLE,
        "b": IMPOSSIBLE,
        "c": IMPOSSIBLE,
        "d": 1,
        "e": Decimal("0.5"),
    }
    with pytest.raises(UnreadableResponse):
        parse_json(body)
    for read in (Fields.money, Fields.integer, Fields.text, Fields.time, Fields.flag):
        with pytest.raises(UnreadableResponse):
            read(Fields({"field": IMPOSSIBLE}, "thing"), "field")


def test_text_loses_what_cannot_be_stored():
    assert clean_text("a\x00b\ud800c\U0001f600") == "abc\U0001f600"


@pytest.mark.parametrize("length", [0, 1, 255, 256, 5000])
@pytest.mark.parametrize("char", ["a", "é", "\U0001f600", "\x00a"])
def test_a_name_is_cut_to_255_characters(char, length):
    name = Fields({"name": char * length}, "plan").name("name")
    assert name == char.removeprefix("\x00") * min(length, 255)


@pytest.mark.parametrize(
    "value",
    ["x" * 256, "x\x00", "x\ud800", 7, True, []],
    ids=["long", "NUL", "surrogate", "7", "true", "list"],
)
def test_an_id_is_never_changed(value):
    with pytest.raises(UnreadableResponse, match="plan has no usable 'id'"):
        Fields({"id": value}, "plan").id("id")


@pytest.mark.parametrize("value", [None, ""])
def test_missing_null_and_empty_are_one(value):
    fields = Fields({"field": value}, "thing")
    empty = Fields({}, "thing")
    assert fields.optional_id("field") is empty.optional_id("field") is None
    assert fields.time("field") is empty.time("field") is None
    assert fields.name("field") == empty.name("field") == ""


def test_go_zero_time_is_no_time():
    assert Fields({"end": "0001-01-01T00:00:00Z"}, "thing").time("end") is None


def test_metadata_keeps_text_only():
    fields = Fields({"metadata": {"a": "1\x00", "b\ud800": "2", "c": 3, "d": None}}, "thing")
    assert fields.metadata() == {"a": "1", "b": "2"}
