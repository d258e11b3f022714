"""openapi.json says what the sandbox answers: its routes, its schemas, and a page for people."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.sandbox.described import METHODS, SPEC, differences

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.json"))
STATIC = "/static/{filename}"


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, item[method])
        for path, item in SPEC["paths"].items()
        for method in METHODS
        if method in item
    ]


def shape(rule: str) -> str:
    return re.sub(r"<[^>]*>|{[^}]*}", "{}", rule)


def test_it_is_openapi() -> None:
    validate(SPEC)
    assert SPEC["openapi"] == "3.1.0"


def test_every_route_is_described_and_every_description_is_a_route(api: Any) -> None:
    routes = {
        (method.lower(), shape(rule.rule))
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert {(method, shape(path)) for method, path, _ in operations()} == routes


def test_path_parameters_are_declared() -> None:
    for method, path, operation in operations():
        named = [one["$ref"].rpartition("/")[2] for one in operation.get("parameters", []) if "$ref" in one]
        assert sorted(named) == sorted(re.findall(r"{(\w+)}", path)), (method, path)


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(SPEC)
    for reference in set(re.findall(r'"#/([^"]+)"', text)):
        place: Any = SPEC
        for part in reference.split("/"):
            place = place[part]
    for kind in ("schemas", "parameters", "responses"):
        for name in SPEC["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


def test_examples_fit_their_schemas() -> None:
    for name, schema in SPEC["components"]["schemas"].items():
        checker = Draft202012Validator(schema | {"components": SPEC["components"]})
        for example in schema.get("examples", []):
            assert list(checker.iter_errors(example)) == [], name


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
def test_what_the_real_server_answered_fits(file: Path) -> None:
    found = []
    for step in json.loads(file.read_text(encoding="utf-8"))["steps"]:
        if "call" not in step:
            continue
        path = re.sub(r"<[a-z_]+_\d+>", "id", step["call"]["path"].partition("?")[0])
        body = _without_placeholders(step["answer"]["body"])
        found += differences(step["call"]["method"], f"/v1{path}", step["answer"]["status"], body)

    assert found == []


def _without_placeholders(value: Any) -> Any:
    """`<number>` stands for a number."""
    if isinstance(value, dict):
        return {key: _without_placeholders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_placeholders(one) for one in value]
    return 1 if value == "<number>" else value


def test_it_is_served_and_needs_no_key(api: Any) -> None:
    answer = api.get("/_sandbox/openapi.json", headers={})

    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json() == SPEC


def test_people_read_it_without_a_script_or_another_host(api: Any) -> None:
    page = api.see("reference")

    for _, path, operation in operations():
        assert path in page
        assert f'id="{operation["operationId"]}"' in page
    assert 'id="schema-CheckoutSession"' in page
    assert not re.search(r'(src|href)="https?://', page)
    assert "<script" not in page
