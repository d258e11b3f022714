"""The API's description: as OpenAPI 3.1, and as a page without scripts."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, render_template

FILE = Path(__file__).parent.parent / "openapi.json"
METHODS = ("get", "post", "put", "delete")
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"

bp = Blueprint("sandbox_reference", __name__, url_prefix="/_sandbox")
Operation = dict[str, Any]


@cache
def _text() -> str:
    return FILE.read_text(encoding="utf-8")


@bp.get("/openapi.json")
def openapi() -> Response:
    """Readable from pages of other hosts, so that any OpenAPI viewer can load it."""
    headers = {"Access-Control-Allow-Origin": "*"}
    return Response(_text(), content_type="application/json; charset=utf-8", headers=headers)


@bp.get("/reference")
def page() -> Response:
    spec = json.loads(_text())
    groups = {tag["name"]: (tag["description"], _operations(spec, tag["name"])) for tag in spec["tags"]}
    schemas = spec["components"]["schemas"]
    shown = render_template("sandbox/reference.html", spec=spec, groups=groups, schemas=schemas)
    return Response(shown, headers={"Content-Security-Policy": POLICY})


def _operations(spec: Any, tag: str) -> list[Operation]:
    """Of one tag, in the order of the file; webhooks have no path."""
    items = [*spec["paths"].items(), *((f"webhook: {name}", item) for name, item in spec["webhooks"].items())]
    found = [(path, method, item[method]) for path, item in items for method in METHODS if method in item]
    return [
        operation
        | {
            "path": path,
            "method": method.upper(),
            "request": _request(operation),
            "answers": _answers(operation),
        }
        for path, method, operation in found
        if tag in operation["tags"]
    ]


def _request(operation: Operation) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return next((_name(one["schema"]) for one in content.values()), "")


def _answers(operation: Operation) -> list[tuple[str, str]]:
    """Status, and the schema's name where there is one."""
    return [
        (status, next((_name(one["schema"]) for one in response.get("content", {}).values()), ""))
        for status, response in operation["responses"].items()
        if status.isdigit()
    ]


def _name(schema: Any) -> str:
    """Of the schema that is referred to, also inside a list."""
    target = schema.get("items", schema).get("$ref", "")
    return str(target).rpartition("/")[2]


@bp.app_template_filter("schema_type")
def schema_type(schema: Any) -> str:
    """A schema in a few words: `string`, `list of Price`, `integer or null`."""
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(schema_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {schema_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(schema["enum"])
    kinds = schema.get("type", "anything")
    text = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    return f"{text} ({schema['format']})" if "format" in schema else text
