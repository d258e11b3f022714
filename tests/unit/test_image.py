"""The Dockerfile and compose.yaml, as far as they can be tested without Docker: step by step."""

import json
import os
import re
import runpy
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
import requests
import yaml

from storefront.settings import SERVER_THREADS, Settings
from tests.conftest import free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


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
        *sources, _target = step.split()  # the target has the name of the source, or is the folder itself
        for source in sources:
            files = [ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*")
            for file in files:
                name = file.relative_to(ROOT)
                if file.is_file() and in_context(str(name)):
                    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, tmp_path / name)
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


@pytest.mark.thorough
def test_the_image_serves_and_stops_cleanly(image, environ):
    assert not (image / "storefront" / "sandbox").exists()
    assert (image / "storefront" / "migrations" / "alembic.ini").exists()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    upgrade = shlex.split("flask --app wsgi db upgrade")
    subprocess.run([sys.executable, "-m", *upgrade], cwd=image, env=environ, check=True, capture_output=True)

    serve = [*command("CMD", port), "--bind", f"127.0.0.1:{port}"]
    with subprocess.Popen(serve, cwd=image, env=environ, stderr=subprocess.DEVNULL) as shop:
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
        ("gunicorn.conf.py", True),
        ("storefront/web/pages.py", True),
        ("storefront/migrations/versions/20261127_initial.py", True),
        ("templates/base.html", True),
        ("storefront/sandbox/api.py", False),
        ("storefront/__pycache__/x.pyc", False),
        ("instance/demo.env", False),
        (".env", False),
        (".git/config", False),
        ("tests/unit/test_image.py", False),
    ],
)
def test_the_image_holds_no_secret_and_no_tests(path, kept):
    assert in_context(path) is kept


# -- compose.yaml -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def test_there_are_two_servers_and_two_workers(services):
    assert [services[name]["deploy"]["replicas"] for name in ("web", "worker")] == [2, 2]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("worker", ["checkout", "worker"]),
        ("emails", ["emails", "worker"]),
        ("migrate", ["db", "upgrade"]),
    ],
)
def test_every_command_exists(services, image, environ, service, command):
    assert services[service]["command"] == ["flask", "--app", "wsgi", *command]
    help_page = [sys.executable, "-m", *services[service]["command"], "--help"]
    ended = subprocess.run(help_page, cwd=image, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_nothing_starts_before_the_migration(services):
    for name in ("web", "worker", "emails"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", ["web", "worker", "emails"])
def test_the_resolver_is_bounded(services, name):
    """Kind: one deadline for whatever is waited for. Four seconds of Flexprice's and two of this are six."""
    assert services[name]["dns_opt"] == ["timeout:2", "attempts:1"]


def test_only_the_proxy_and_the_sandbox_are_reachable(services):
    assert {name for name, service in services.items() if "ports" in service} == {"proxy", "sandbox"}
    for name in ("proxy", "sandbox"):
        assert all(port.startswith("127.0.0.1:") for port in services[name]["ports"])
    assert services["sandbox"]["profiles"] == ["sandbox"]


def test_the_settings_of_compose_are_accepted(services, environ):
    given = {**environ, **services["web"]["environment"]}
    given["DATABASE_URL"] = "postgresql://shop:pw@db/shop"
    settings = Settings.from_env(given)
    assert settings.rate_limits.startswith("redis://")
    assert settings.trusted_proxies == 1


def test_a_stopped_server_has_time_to_finish(services):
    assert int(services["web"]["stop_grace_period"].rstrip("s")) > gunicorn_settings()["graceful_timeout"]


def gunicorn_settings():
    return runpy.run_path(str(ROOT / "gunicorn.conf.py"))


def test_the_server_has_the_threads_that_the_shop_counts_on():
    assert gunicorn_settings()["threads"] == SERVER_THREADS


@pytest.fixture
def nginx_conf(tmp_path):
    """The proxy's configuration, for a port of this machine, before a shop that does not answer."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed here (Debian: apt install nginx)")
    server = (ROOT / "deploy" / "nginx.conf").read_text()
    for there, here in (
        ("server web:8000", "server 127.0.0.1:9"),
        ("listen 80", f"listen 127.0.0.1:{free_port()}"),
        ("/dev/stderr", f"{tmp_path}/error.log"),
    ):
        assert there in server
        server = server.replace(there, here)
    conf = tmp_path / "nginx.conf"
    paths = f"pid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/main.log;"
    conf.write_text(f"daemon off;\n{paths}\nevents {{}}\nhttp {{\n{server}\n}}\n")
    return conf


def test_nginx_accepts_its_configuration(nginx_conf):
    ended = subprocess.run(["nginx", "-t", "-c", nginx_conf], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_nginx_logs_no_token_when_the_shop_is_away(nginx_conf):
    """Kind: what may be logged. Its line about a failed request holds the whole path."""
    port = re.search(r"listen 127.0.0.1:(\d+)", nginx_conf.read_text())[1]
    running = subprocess.Popen(["nginx", "-c", nginx_conf])
    try:
        url = f"http://127.0.0.1:{port}/reset-password/live-token"
        connected = requests.adapters.Retry(connect=20, backoff_factor=0.1)
        with requests.Session() as session:
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=connected))
            assert session.get(url, timeout=60).status_code == 502
            assert session.get(url, headers={"X": "x" * 9000}, timeout=60).status_code == 400
    finally:
        running.terminate()
        running.wait(60)
    logs = [path.read_text() for path in nginx_conf.parent.glob("*.log")]
    assert logs
    assert not any("live-token" in log for log in logs)
