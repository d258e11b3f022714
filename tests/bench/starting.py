"""What a process costs before its first request: import, start, memory."""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import cycle
from pathlib import Path

from tests.bench import rows
from tests.bench.load import get, load
from tests.bench.servers import ROOT, free_port, running, served
from tests.bench.table import Figures, Rounds, Row
from tests.bench.webhooks import copied
from tests.bench.working import upstream

PEERS = "import flask, flask_sqlalchemy, requests"
SHOP = "import storefront, storefront.settings as s; storefront.create_app(s.Settings.from_env())"


def imported(code: str, environ: dict[str, str]) -> Figures:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=os.environ | environ)
    return {"seconds": time.perf_counter() - began}


def first_page() -> Figures:
    """`make run` on a machine where everything is installed."""
    port, sandbox_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "PORT": str(port),
            "SANDBOX_PORT": str(sandbox_port),
            "DATABASE_URL": f"sqlite:///{folder}/shop.db",
            "SANDBOX_DATABASE_URL": f"sqlite:///{folder}/sandbox.db",
            "FLEXPRICE_API_KEY": "sk_of_the_bench",
            "FLEXPRICE_WEBHOOK_SECRET": rows.SECRET,
            "SECRET_KEY": "the bench signs its cookies with this",
        }
        began = time.perf_counter()
        with running("wsgi.py", port=port, ready="/", **environ):
            return {"seconds": time.perf_counter() - began}


def memory(name: str, template: Path) -> Figures:
    with copied(template) as url, upstream() as port:
        environ = rows.environ(url, port) | {"BENCH_TARGET": name}
        with served("tests.bench.target:app", environ) as server:
            load(server.port, 8, 1.0, cycle([get("/")]))
            return {"MiB": server.memory()}


def measure(rounds: int, folder: Path) -> list[Row]:
    template = folder / "shop.db"
    rows.fill(f"sqlite:///{template}", 10)
    environ = rows.environ(f"sqlite:///{folder}/imported.db")
    seen = Rounds().run(
        rounds,
        {
            "peers": partial(imported, PEERS, {}),
            "shop": partial(imported, SHOP, environ),
            "page": first_page,
            "memory": partial(memory, "shops:shop", template),
            "hello": partial(memory, "floors:hello_sqlalchemy", template),
        },
    )
    return [
        Row("import and build the shop", PEERS, seen.ratio("shop", "peers", "seconds"), 1.4, True),
        Row("make run (installed) to the first page", PEERS, seen.ratio("page", "peers", "seconds"), 3, True),
        Row(
            "memory of a web process",
            "Flask + Flask-SQLAlchemy hello-world",
            seen.ratio("memory", "hello", "MiB"),
            1.3,
            True,
        ),
    ]
