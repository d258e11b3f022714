"""Sends the bare calls of a scenario, as a shop would, with a new customer."""

import json
from collections.abc import Sequence

from flask import current_app, g, request

from ...api import auth
from ...store.rows import Plan
from ...store.values import random_text
from .model import Body, Call


def send_calls(calls: Sequence[Call]) -> list[Body]:
    """Each call and its answer. `{customer}` is a new external id, `{starter}` the id of the plan."""
    names = {"customer": f"scenario-{random_text(10).lower()}"}
    with auth.reading() as session:
        names |= {plan.lookup_key: plan.id for plan in session.all(Plan)}
    return [_send(method, path, _filled(body, names)) for method, path, body in calls]


def _filled(body: Body, names: dict[str, str]) -> Body:
    text = json.dumps(body)
    for name, value in names.items():
        text = text.replace(f"{{{name}}}", value)
    found: Body = json.loads(text)
    return found


def _send(method: str, path: str, body: Body) -> Body:
    """With the store's key."""
    is_default = g.store == auth.DEFAULT_STORE
    key = auth.settings().api_key if is_default else auth.KEY_PREFIX + g.store
    headers = {"x-api-key": key, "Content-Type": "application/json"}
    response = current_app.test_client().open(
        path, method=method, data=json.dumps(body), headers=headers, base_url=request.host_url
    )
    call = {"method": method, "path": path, "body": body}
    return call | {"status": response.status_code, "answer": response.get_json(silent=True)}
