"""Ratios within a round, their median over the rounds, and a table that says what was reached."""

import json
import os
import platform
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

Figures = dict[str, float]
NOTES = Path(__file__).with_name("notes.md")  # how the figures are made, and why some marks are missed


class Rounds:
    """What every target showed in every round."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Figures]] = defaultdict(list)

    def run(self, number: int, targets: Mapping[str, Callable[[], Figures]]) -> "Rounds":
        """All targets in each round, in another order each time: what drifts, drifts for all of them."""
        for _ in range(number):
            for name in random.sample(list(targets), len(targets)):
                self.seen[name].append(_tried(targets[name]))
        return self

    def ratio(self, one: str, other: str, figure: str, of_other: str | None = None) -> float:
        pairs = zip(self.seen[one], self.seen[other], strict=True)
        ratios = [a[figure] / b[of_other or figure] for a, b in pairs if b[of_other or figure]]
        return statistics.median(ratios) if ratios else float("nan")

    def median(self, one: str, figure: str) -> float:
        return statistics.median(figures[figure] for figures in self.seen[one])

    def worst(self, one: str, figure: str) -> float:
        return max(figures[figure] for figures in self.seen[one])


def _tried(target: Callable[[], Figures]) -> Figures:
    """A round that the machine spoilt (refusals, a process that did not start) is played again, and said."""
    for _ in range(2):
        try:
            return target()
        except (RuntimeError, AssertionError) as why:
            print(f"once more: {why}", flush=True)
    return target()


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


class Kept:
    """What each group showed when it was last run (bench.json), and the page for readers (bench.md)."""

    def __init__(self, folder: Path) -> None:
        self._json, self._page = folder / "bench.json", folder / "bench.md"
        self._groups = json.loads(self._json.read_text()) if self._json.exists() else {}

    def add(self, group: str, rows: list[Row], rounds: int) -> str:
        """Returns the group's table, compared with its last run."""
        last = self._groups.get(group, {}).get("rows", [])
        before = {f"{row['path']} | {row['against']}": row["found"] for row in last}
        table = markdown(rows, before)
        self._groups[group] = {
            "made": f"{datetime.now(UTC):%d %B %Y}",
            "machine": machine(),
            "rounds": rounds,
            "rows": [asdict(row) | {"found": round(row.found, 4)} for row in rows],
            "table": table,
        }
        self._json.write_text(json.dumps(self._groups, indent=1, ensure_ascii=False) + "\n")
        self._page.write_text(self._written())
        return table

    def _written(self) -> str:
        tables = [
            f"## {name}\n\n{group['made']}, {group['machine']}, medians of {group['rounds']} rounds.\n\n"
            f"{group['table']}"
            for name, group in self._groups.items()
        ]
        return "\n".join([NOTES.read_text(), *tables])
