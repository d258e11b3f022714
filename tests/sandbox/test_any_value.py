"""Any value in every path part, query parameter, form field and header of the sandbox: no error of ours.

Routes come from its map, form fields from its pages, parameters and headers from its source: a new one is
tried by itself. Bodies in JSON are the subject of test_fuzz.py.
"""

import re
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import pytest

from storefront import sandbox
from tests.any_value import VALUES, Forms, encoded, headers_read, in_header, real_path, rules
from tests.sandbox.conftest import KEY, Near

SOURCE = "\n".join(file.read_text() for file in Path(sandbox.__file__).parent.rglob("*.py"))
PARAMETERS = sorted(
    {*re.findall(r'args\.get(?:list)?\("(\w+)"', SOURCE), "limit", "offset", "q", "customer_id", "plan", "id"}
)
HEADERS = headers_read(SOURCE, "Accept", "Accept-Language", "If-None-Match")
ITS_OWN = ("internal_error", "database_error", "not_implemented")  # refusals that are 5xx at Flexprice too
ENDS_THE_TEST = ("/_sandbox/reset", "/_sandbox/clock")  # the first forgets what the others need
TARGETS = (("GET", "/v1/plans/1"), ("POST", "/_sandbox/mode"), ("GET", "/_sandbox/"), ("GET", "/pay/1"))
FEW = 10  # one of them is tried in `make test`
Request = dict[str, Any]


@pytest.fixture
def known(api: Near) -> dict[str, str]:
    """A sandbox that has sold something: an id for each part of a path."""
    api.customer()
    paid, waiting = api.session(), api.session(plan="team")
    api.pay(paid)
    code = waiting["payment_action"]["url"].rpartition("/")[2]
    return {"session_id": waiting["id"], "code": code, "customer_id": paid["customer_id"]}


def in_paths(api: Near, values: Iterator[str]) -> Iterator[Request]:
    for rule in rules(api.app):
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}) if rule.arguments else ():
            path = re.sub(r"<[^>]+>", lambda _: encoded(next(values)), rule.rule)
            yield {"method": method, "path": path, "json": {}}


def in_queries(api: Near, known: dict[str, str], values: Iterator[str]) -> Iterator[Request]:
    for rule in rules(api.app):
        if "GET" in rule.methods:
            for name in PARAMETERS:
                yield {"method": "GET", "path": f"{real_path(rule, known)}?{name}={encoded(next(values))}"}
            yield {"method": "GET", "path": f"{real_path(rule, known)}/?%ff%00"}


def in_forms(api: Near, known: dict[str, str], values: Iterator[str]) -> Iterator[Request]:
    """Each field of each form, with the values that the page has in the others."""
    seen = set()
    for rule in rules(api.app):
        page = real_path(rule, known)
        if "GET" not in rule.methods or page.startswith("/v1"):
            continue
        for action, fields in Forms(open_at(api, {"method": "GET", "path": page}).text).found:
            target = action or page
            if (target, *fields) in seen or target.startswith(ENDS_THE_TEST):
                continue
            seen.add((target, *fields))
            for name in fields:
                data = {key: next(values) if key == name else value for key, value in fields.items()}
                body = "&".join(f"{encoded(key)}={encoded(value)}" for key, value in data.items())
                yield {"method": "POST", "path": target, "data": body}


def in_headers(api: Near, known: dict[str, str], values: Iterator[str]) -> Iterator[Request]:
    for method, path in TARGETS:
        for name in HEADERS:
            yield {"method": method, "path": path, "headers": {name: in_header(next(values))}}


def open_at(api: Near, request: Request) -> Any:
    form = {"content_type": "application/x-www-form-urlencoded"} if "data" in request else {}
    headers = {"Accept": "text/html"} | ({"x-api-key": KEY} if request["path"].startswith("/v1") else {})
    headers |= request.get("headers", {})
    return api.app.test_client().open(**request | form | {"base_url": api.base, "headers": headers})


def try_all(api: Near, known: dict[str, str], values: Iterator[str], step: int = 1) -> int:
    kinds = (in_paths(api, values), in_queries(api, known, values), in_forms(api, known, values))
    count = 0
    for request in islice(chain(*kinds, in_headers(api, known, values)), 0, None, step):
        answer = open_at(api, request)
        its_own = answer.is_json and isinstance(answer.json, dict) and answer.json.get("code") in ITS_OWN
        assert answer.status_code < 500 or its_own, request
        assert "X-Evil" not in answer.headers, request
        count += 1
    return count


def test_any_value_anywhere_is_no_error(api: Near, known: dict[str, str]) -> None:
    """Some places, with the values in turn; the next test takes all with all. Kind: text from outside."""
    assert try_all(api, known, cycle(VALUES), FEW) > 100


@pytest.mark.thorough
@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_each_value_in_every_place_is_no_error(api: Near, known: dict[str, str], value: str) -> None:
    """As above, with one value in all places."""
    try_all(api, known, cycle([value]))
