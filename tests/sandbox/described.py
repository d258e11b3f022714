"""Holds answers to the sandbox's OpenAPI description."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "storefront" / "sandbox" / "openapi.json"
SPEC: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
METHODS = ("get", "put", "post", "delete", "patch")


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Paths without a parameter come first: `/v1/payments/search` is no payment."""
    paths = sorted(SPEC["paths"], key=lambda path: ("{" in path, path.count("{"), -len(path)))
    return [(re.compile(re.sub(r"{[^}]*}", "[^/]+", path)), path) for path in paths]


@cache
def operation(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """The described path and operation of a request; None if there is none."""
    for pattern, described in _patterns():
        if pattern.fullmatch(path) and method.lower() in SPEC["paths"][described]:
            found: dict[str, Any] = SPEC["paths"][described][method.lower()]
            return described, found
    return None


@cache
def _validator(method: str, described: str, status: str) -> Draft202012Validator | None:
    responses = SPEC["paths"][described][method.lower()]["responses"]
    response = responses.get(status) or responses.get("default")
    if response is None:
        raise AssertionError(f"{method} {described} answers {status}, which is not described")
    if "$ref" in response:
        response = SPEC["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response.get("content", {}).get("application/json", {}).get("schema")
    return schema and Draft202012Validator(schema | {"components": SPEC["components"]})


def differences(method: str, path: str, status: int, body: Any) -> list[str]:
    """What an answer has that its description does not allow."""
    found = operation(method, path.partition("?")[0])
    if found is None:
        return [f"{method} {path} is not described"]
    validator = _validator(method, found[0], str(status))
    if validator is None:
        return [] if body in (None, "") else [f"{method} {path} {status} has a body"]
    return [
        f"{method} {path} {status}: {error.json_path} {error.message}"
        for error in validator.iter_errors(body)
    ]


def parsed(text: str) -> Any:
    """JSON, or nothing if a fault broke it."""
    try:
        return json.loads(text)
    except ValueError:
        return None
