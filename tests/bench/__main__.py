"""`make bench`: each path against the same thing done plainly, in the same rounds. Loads 127.0.0.1 only."""

import argparse
import tempfile
from pathlib import Path

from .measure import GROUPS
from .table import Row, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    rows: list[Row] = []
    for name in asked.groups:
        with tempfile.TemporaryDirectory() as folder:
            found = GROUPS[name](asked.rounds, Path(folder))
        print("\n".join(row.line() for row in found), flush=True)
        rows += found
    print("\n" + table(rows, asked.rounds))


if __name__ == "__main__":
    main()
