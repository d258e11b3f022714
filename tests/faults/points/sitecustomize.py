"""Python loads this by itself where PYTHONPATH names its folder: it can stop the process between two steps.

A point is before and after each commit, each call to Flexprice and each email handed over. Those passed are
written to `trace`; at the one named in `armed` the process gets the signal beside it. Nothing of this is in
the shop.
"""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["FAULT_POINTS"])
ROLE = os.environ["FAULT_ROLE"]
SHOP = re.compile(r"/storefront/(?!database\.py|checkout/context\.py)")
IDS = re.compile(r"(?<=/)([a-z]+_[0-9A-Z]{26}|[0-9a-f]{32})(?=/|$)")


def point(where: str) -> None:
    name = f"{ROLE} {where}"
    with (FOLDER / "trace").open("a") as trace:
        trace.write(f"{name}\n")
    try:
        signal_name, armed, *company = (FOLDER / "armed").read_text().split("\n")
    except FileNotFoundError:
        return
    if armed == name:
        (FOLDER / "armed").rename(FOLDER / "stopped")
        for pid in [*company, os.getpid()]:
            os.kill(int(pid), signal.Signals[signal_name])


def place() -> str:
    """Which line of the shop is being carried out."""
    frame = sys._getframe(1)
    while frame and not SHOP.search(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_name}:{frame.f_lineno}" if frame else "?"


def surround(owner: type, method: str, name: Callable[..., str]) -> None:
    does = getattr(owner, method)

    def watched(*args: Any, **more: Any) -> Any:
        where = name(*args)
        point(f"before {where}")
        result = does(*args, **more)
        point(f"after {where}")
        return result

    setattr(owner, method, watched)


def install() -> None:
    import smtplib

    from requests.adapters import HTTPAdapter
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

    for dialect in (PGDialect_psycopg, SQLiteDialect_pysqlite):
        surround(dialect, "do_commit", lambda *_: f"commit in {place()}")
    surround(HTTPAdapter, "send", lambda _, request: f"{request.method} {IDS.sub('…', request.path_url)}")
    surround(smtplib.SMTP, "send_message", lambda *_: "email")


install()
