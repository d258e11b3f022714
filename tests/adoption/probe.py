"""Prints what an app answers on its own pages, and on others, as JSON: `python probe.py wsgi:app /plans`.

Runs in the app's folder, before and after the adoption; the two outputs must be equal. Left out: `Date`,
tokens and the session cookie's value, which differ at each run.
"""

import importlib
import json
import re
import sys
from pathlib import Path

PATHS = (
    "/",
    "/nowhere",
    "/broken",
    "/sign-in",
    "/login",
    "/join",
    "/register",
    "/api/members/1",
    "/documents",
)
HOSTS = ("http://127.0.0.1", "http://docs.club.test")
TOKEN = re.compile(r'(name="csrf_token" value=")[^"]*')
COOKIE = re.compile(r"^(\w+)=[^;]*")


def asked(app, base_url: str, path: str) -> dict:
    answer = app.test_client().get(path, base_url=base_url)
    headers = [
        (name, COOKIE.sub(r"\1=…", value) if name == "Set-Cookie" else value)
        for name, value in answer.headers
        if name not in ("Date", "Content-Length")
    ]
    return {"status": answer.status_code, "headers": headers, "body": TOKEN.sub(r"\1…", answer.text)}


def main() -> None:
    sys.path.insert(0, str(Path.cwd()))
    module, _, name = sys.argv[1].partition(":")
    app = getattr(importlib.import_module(module), name)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    own = {f"{base_url}{path}": asked(app, base_url, path) for base_url in HOSTS for path in PATHS}
    more = {path: asked(app, HOSTS[0], path) for path in sys.argv[2:]}
    print(json.dumps({"own": own, "more": more}))


if __name__ == "__main__":
    main()
