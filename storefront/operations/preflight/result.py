"""What a check looks at, and what it finds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from storefront.checkout.context import checkout
from storefront.flexprice import FlexpriceError, Plan
from storefront.settings import Settings

OK, WARNING, FAILS, BY_HAND = "ok", "warning", "fails", "by hand"


class Finding(NamedTuple):
    """One result of a check: `status` is OK, WARNING, FAILS or BY_HAND."""

    status: str
    message: str
    fix: str = ""


class Result(NamedTuple):
    """One line of the report."""

    check: str
    status: str
    message: str
    fix: str


@dataclass(frozen=True)
class Context:
    """What the checks look at. Flexprice's plans are read once. `now` is naive UTC."""

    settings: Settings
    worker_alive: bool
    now: datetime

    @cached_property
    def plans(self) -> list[Plan] | FlexpriceError:
        try:
            return checkout().client.list_plans()
        except FlexpriceError as error:
            return error


class Check(NamedTuple):
    """`acts`: it sends a request or writes a row, which the page must not do; only the command does."""

    title: str
    look: Callable[[Context], Iterable[Finding]]
    acts: bool = False
