"""Ratios within a round, their median over the rounds, and a table that says what was reached."""

import json
import os
import platform
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

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

    def ratio(self, one: str, other: str, figure: str, of_other: str | None = None) -> float:
        pairs = zip(self.seen[one], self.seen[other], strict=True)
        ratios = [a[figure] / b[of_other or figure] for a, b in pairs if b[of_other or figure]]
        return statistics.median(ratios) if ratios else float("nan")

    def median(self, one: str, figure: str) -> float:
        return statistics.median(figures[figure] for figures in self.seen[one])

    def worst(self, one: str, figure: str) -> float:
        return max(figures[figure] for figures in self.seen[one])


@dataclass(frozen=True)
class Row:
    path: str
    against: str
    found: float
    reach: float
    at_most: bool = False  # a cost: the less the better
    unit: str = "×"

    @property
    def reached(self) -> bool:
        return self.found <= self.reach if self.at_most else self.found >= self.reach

    @property
    def key(self) -> str:
        return f"{self.path} | {self.against}"

    def cells(self, before: float | None) -> list[str]:
        sign = "≤" if self.at_most else "≥"
        return [
            self.path,
            self.against,
            f"{self.found:.2f} {self.unit}",
            f"{sign} {self.reach:g} {self.unit}",
            "yes" if self.reached else "**no**",
            self._since(before),
        ]

    def _since(self, before: float | None) -> str:
        if not before or not self.found:
            return ""
        change = self.found / before if self.at_most else before / self.found
        return (
            f"slower: was {before:.2f}"
            if change > 1.25
            else f"better: was {before:.2f}"
            if change < 0.8
            else ""
        )


HEAD = ["path", "against", "found", "reach", "reached", "since the last run"]


def markdown(rows: Iterable[Row], before: Mapping[str, float]) -> str:
    lines = [HEAD, ["---"] * len(HEAD), *(row.cells(before.get(row.key)) for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def machine() -> str:
    cores, kernel = len(os.sched_getaffinity(0)), platform.release().split("-")[0]
    return f"{cores} cores, {platform.machine()}, Linux {kernel}, Python {platform.python_version()}"


def write(folder: Path, rows: list[Row], rounds: int) -> str:
    """Keep the figures for the next run (bench.json) and the table for readers (bench.md)."""
    kept = folder / "bench.json"
    before = json.loads(kept.read_text())["found"] if kept.exists() else {}
    table = markdown(rows, before)
    intro = (
        "# What it costs\n\n"
        f"Made by `make bench` on {datetime.now(UTC):%d %B %Y}: {machine()}; medians of {rounds} interleaved "
        "rounds, ratios within the round. Load and servers share the machine.\n\n"
    )
    found = before | {row.key: round(row.found, 4) for row in rows}
    kept.write_text(json.dumps({"found": found}, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    (folder / "bench.md").write_text(intro + table)
    return table
