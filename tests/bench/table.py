"""Ratios within a round, their median over the rounds, and the table for docs/bench.md."""

import os
import platform
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

Figures = dict[str, float]


class Rounds:
    """What every target showed in every round."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Figures]] = defaultdict(list)

    def run(self, number: int, targets: Mapping[str, Callable[[], Figures]]) -> "Rounds":
        """All targets in each round, in another order each time: what drifts, drifts for all of them."""
        for _ in range(number):
            for name in random.sample(list(targets), len(targets)):
                self.seen[name].append(targets[name]())
        return self

    def ratio(self, one: str, other: str, figure: str) -> float:
        pairs = zip(self.seen[one], self.seen[other], strict=True)
        return statistics.median(a[figure] / b[figure] for a, b in pairs)

    def median(self, one: str, figure: str) -> float:
        return statistics.median(figures[figure] for figures in self.seen[one])


@dataclass(frozen=True)
class Row:
    """One line of the table. `at_most`: a cost, the less the better."""

    path: str
    against: str
    found: float
    reach: float
    at_most: bool = False
    unit: str = "×"

    @property
    def reached(self) -> bool:
        return self.found <= self.reach if self.at_most else self.found >= self.reach

    def line(self) -> str:
        sign, reached = "≤" if self.at_most else "≥", "yes" if self.reached else "**no**"
        found, reach = f"{self.found:.2f} {self.unit}", f"{sign} {self.reach:g} {self.unit}"
        return f"| {self.path} | {self.against} | {found} | {reach} | {reached} |"


def table(rows: list[Row], rounds: int) -> str:
    cores, kernel = len(os.sched_getaffinity(0)), platform.release().partition("-")[0]
    machine = f"{cores} cores, {platform.machine()}, Linux {kernel}, Python {platform.python_version()}"
    head = ["| path | against | found | reach | reached |", "|---|---|---|---|---|"]
    made = f"{datetime.now(UTC):%d %B %Y}, {machine}, medians of {rounds} rounds."
    return "\n".join([made, "", *head, *(row.line() for row in rows)])
