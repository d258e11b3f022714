"""`make bench`: every path against its floor or peer, in the same rounds. Bounded; loads 127.0.0.1 only."""

import argparse
import os
import tempfile
import time
from importlib import import_module
from pathlib import Path

from tests.bench import table

GROUPS = (
    *("webhooks", "working", "buying", "pages", "crowds"),
    *("engines", "practice", "starting", "slow", "serving"),
)
DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("groups", nargs="*", default=[], help=f"some of: {', '.join(GROUPS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is measured has run before and is compiled
    kept = table.Kept(DOCS)
    for name in asked.groups or GROUPS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            rows = import_module(f"tests.bench.{name}").measure(asked.rounds, Path(folder))
        print(f"{name}: {time.monotonic() - began:.0f} s\n{kept.add(name, rows, asked.rounds)}", flush=True)


if __name__ == "__main__":
    main()
