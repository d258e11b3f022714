"""The verdict of a test scenario: how the checks of the sandbox's and of the shop's half came out."""

from typing import Any, NamedTuple

from .facts import Facts, Shop
from .model import Body, Scenario
from .shop_client import NOT_ASKED

PASSED, FAILED, NOT_RUN = "Passed", "Failed", "Not run"


class Line(NamedTuple):
    """One check: what was expected, what was found."""

    half: str  # "sandbox" or "shop"
    expected: str
    actual: str
    holds: bool


class Judgement(NamedTuple):
    lines: list[Line]
    shop: str  # Passed, Failed, "not asked" or "no answer"

    @property
    def sandbox(self) -> str:
        return _verdict(self.lines, "sandbox")

    @property
    def verdict(self) -> str:
        """Passed needs both halves; a shop that was not asked does not count."""
        shop_agrees = self.shop in (PASSED, NOT_ASKED)
        return PASSED if self.sandbox == PASSED and shop_agrees else FAILED

    def body(self) -> Body:
        return {"sandbox": self.sandbox, "shop": self.shop, "checks": [line._asdict() for line in self.lines]}


def _verdict(lines: list[Line], half: str) -> str:
    return PASSED if all(line.holds for line in lines if line.half == half) else FAILED


def judge(scenario: Scenario, facts: Facts, shop: Shop | str) -> Judgement:
    """:param shop: what the shop said, or why it said nothing."""
    lines = [_line("sandbox", check, facts) for check in scenario.checks]
    if not scenario.shop:
        return Judgement(lines, NOT_ASKED)
    if isinstance(shop, str):
        return Judgement(lines, shop)
    lines += [_line("shop", check, shop) for check in scenario.shop]
    return Judgement(lines, _verdict(lines, "shop"))


def _line(half: str, check: Any, about: Any) -> Line:
    holds, actual = check.look(about)
    return Line(half, check.expected, actual, bool(holds))
