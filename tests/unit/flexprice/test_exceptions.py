"""The tree of exceptions: as drawn, and fit for logs and pickles."""

from __future__ import annotations

import inspect
import pickle
from datetime import timedelta

import pytest

from storefront import flexprice
from storefront.flexprice import FlexpriceError, InvalidSecret, InvalidSignature, NoAnswer, exceptions

DRAWN = inspect.cleandoc(exceptions.__doc__).splitlines()[2:]


def drawn_parents():
    """Yield each name of the drawing with the name it is drawn under."""
    above = {}
    for line in DRAWN:
        name, depth = line.split()[0], len(line) - len(line.lstrip())
        above[depth] = name
        yield name, above.get(depth - 2)


@pytest.mark.parametrize(("name", "parent"), list(drawn_parents()))
def test_the_drawing_is_true(name, parent):
    if parent:
        assert getattr(exceptions, name).__bases__[0].__name__ == parent


def test_the_drawing_is_complete():
    classes = {name for name, found in vars(exceptions).items() if isinstance(found, type)}
    defined = {name for name in classes if getattr(exceptions, name).__module__ == exceptions.__name__}
    assert defined == {name for name, _parent in drawn_parents()} - {"ValueError"}
    assert defined <= set(flexprice.__all__)


@pytest.mark.parametrize(
    "error",
    [
        FlexpriceError("gone", status=410, code="x", details={"a": "b"}, request_id="r"),
        NoAnswer("no answer (ReadTimeout)", retryable=True, retry_after=timedelta(seconds=3)),
        InvalidSignature("stale", "400 s old"),
        InvalidSecret("the webhook secret is empty or not text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_an_error_shows_status_code_and_message():
    assert str(FlexpriceError("gone", status=410, code="not_found")) == "410 not_found gone"
    assert str(FlexpriceError("no connection")) == "no connection"


def test_retryable_is_of_the_class_or_given():
    assert NoAnswer("lost").retryable is False
    assert NoAnswer("lost", retryable=True).retryable is True
