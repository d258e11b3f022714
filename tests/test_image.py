"""The Dockerfile, as far as it can be held to its word without Docker: its steps are walked by hand."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def steps(kind):
    """The instructions of the last stage."""
    stage = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    return [line.partition(" ")[2] for line in stage.splitlines() if line.startswith(f"{kind} ")]


def in_context(path):
    """As Docker reads .dockerignore: the last rule that matches wins, and a folder is its content."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!")
        if not rule or rule.startswith("#"):
            continue
        names = [path, *(str(folder) for folder in Path(path).parents)]
        if any(fnmatch(name, rule) or fnmatch(f"/{name}", rule.replace("**", "*")) for name in names):
            kept = line.startswith("!")
    return kept


@pytest.fixture
def image(tmp_path):
    """What the COPY lines bring, and nothing else."""
    for step in steps("COPY"):
        if step.startswith("--from"):
            continue
        source, target = step.split()
        files = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*")
        for file in files:
            name = file.relative_to(ROOT)
            if file.is_file() and in_context(str(name)):
                place = tmp_path / (
                    name if target == "./" else Path(target) / file.relative_to(ROOT / source)
                )
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
    return tmp_path


@pytest.fixture
def environ(image):
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FLEXPRICE_API_URL": "http://127.0.0.1:9/v1",
        "FLEXPRICE_API_KEY": "sk_of_a_test",
        "FLEXPRICE_WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "STOREFRONT_URL": "http://127.0.0.1:8000",
        "SECRET_KEY": "thirty-two characters, or more..",
        "DATABASE_URL": f"sqlite:///{image}/shop.db",
        "MAIL_URL": "keep:",
        "MAIL_FROM": "shop@shop.example",
    }


def command(kind, port):
    words = next(iter(steps(kind)))
    given = json.loads(words[words.index("[") :])
    return [re.sub(r"\b8000\b", str(port), word).replace("0.0.0.0", "127.0.0.1") for word in given]


def test_the_image_serves_is_healthy_and_stops_when_it_is_told_to(image, environ):
    assert not (image / "storefront" / "sandbox").exists()
    assert (image / "storefront" / "migrations" / "alembic.ini").exists()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    upgrade = shlex.split("flask --app wsgi db upgrade")
    subprocess.run([sys.executable, "-m", *upgrade], cwd=image, env=environ, check=True, capture_output=True)

    with subprocess.Popen(command("CMD", port), cwd=image, env=environ, stderr=subprocess.DEVNULL) as shop:
        try:
            healthy = command("HEALTHCHECK", port)
            for _ in range(100):
                if (
                    subprocess.run(healthy, env=environ, stderr=subprocess.DEVNULL, check=False).returncode
                    == 0
                ):
                    break
                time.sleep(0.2)
            assert subprocess.run(healthy, env=environ, check=False).returncode == 0
            shop.send_signal(getattr(signal, steps("STOPSIGNAL")[0]))
            assert shop.wait(40) == 0
            assert subprocess.run(healthy, env=environ, capture_output=True, check=False).returncode != 0
        finally:
            if shop.poll() is None:
                shop.kill()


def test_the_image_does_not_run_as_root():
    assert steps("USER") == ["shop"]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("wsgi.py", True),
        ("storefront/web/orders.py", True),
        ("storefront/migrations/versions/0001_the_first_rows.py", True),
        ("templates/base.html", True),
        ("storefront/sandbox/api.py", False),
        ("storefront/__pycache__/x.pyc", False),
        ("instance/demo.env", False),
        (".env", False),
        (".git/config", False),
        ("tests/test_image.py", False),
    ],
)
def test_no_secret_and_no_ballast_goes_into_the_image(path, kept):
    assert in_context(path) is kept
