"""Replays a recording of a real Flexprice server and says what differs. See recordings/README.md."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

PLACEHOLDER = re.compile(r"<([a-z_]+?)_(\d+)>")
MOMENT = re.compile(r"^<now(?:([+-])(\d+)([md]))?>$")
ANYTHING = ("<tenant>", "<environment>", "<user>", "<text>")
MADE_BY_CALLER = ("ext", "email", "lookup", "idempotency_key", "change")
FREE_FORM = ("rzp_", "link", "key", "invoice_number")  # placeholders that are no ids of Flexprice
# Built when delivered: those of a draft that has ended are lost.
MAY_BE_LOST = {"subscription.draft.created", "invoice.update", "invoice.update.payment", "customer.updated"}
DEPENDS_ON_DELIVERY = ("payment_action", "overpaid_amount")
FINAL = re.compile(r"^checkout\.session\.(completed|failed|expired|cancelled)$")
SLACK = {"m": timedelta(seconds=200), "d": timedelta(seconds=130_000)}
PRORATION_SLACK = 0.05
ACTIONS = {"pay": "pay", "decline": "decline", "cancel": "cancel_link", "expire": "expire_link"}
STARTS_AT = "2026-11-27T14:00:00Z"

Differences = Iterator[str]


class Replay:
    """One recording on one store.

    :param api: a client with `call(method, path, body, headers=…)`; `key` names the store.
    """

    def __init__(self, api: Any, key: str, environment: str | None = None) -> None:
        self.api, self.headers = api, {"x-api-key": key}
        if environment:
            self.headers["X-Environment-ID"] = environment
        self.bound: dict[str, str] = {}
        self.customers: list[str] = []
        self.known: set[str] = set()
        self.prorated = self.moved = False
        self.now = datetime.now(UTC)

    def run(self, recording: Any) -> Differences:
        self.prorated = recording.get("prorated", False)
        self.control("POST", "reset", {})
        self.control("POST", "clock", {"set": STARTS_AT})
        for number, step in enumerate(recording["steps"]):
            for difference in self._step(step):
                yield f"{recording['name']}#{number} {difference}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.api.call(method, f"/_sandbox/{path}", self.fill(body), headers=self.headers)
        assert answer.status_code < 400, answer.text
        return answer.json()

    def _step(self, step: Any) -> Differences:
        if "call" in step:
            yield from self._call(step["call"], step["answer"])
        elif step.get("provider") == "fails":
            failure = {"action": "fail", "step": step.get("step", "link"), "times": step["times"]}
            self.control("POST", "provider", failure)
        elif "provider" in step:
            action = {"action": ACTIONS[step["provider"]], "link": step["link"]}
            events = {"events": step["events"]} if "events" in step else {}
            self.control("POST", "provider", action | events)
        elif "clock" in step:
            self.moved = True
            self.control("POST", "clock", {"until": step["until"], "id": step["of"]})
        elif "webhooks" in step:
            yield from self._messages(step["webhooks"])

    def _call(self, call: Any, expected: Any) -> Differences:
        self.now = _instant(self.control("GET", "clock")["now"])
        headers = self.headers | (call.get("headers") or {})
        path, where = self.fill(call["path"]), f"{call['method']} {call['path']}"
        answer = self.api.call(call["method"], f"/v1{path}", self.fill(call.get("body")), headers=headers)
        if answer.status_code not in (expected["status"], expected.get("or")):
            yield f"{where}: status {answer.status_code}, recorded {expected['status']}: {answer.text[:200]}"
        elif answer.status_code == expected["status"] and answer.status_code != 202:
            body = answer.json() if answer.text and answer.text[0] in "{[" else answer.text
            yield from self.compare(expected["body"], body, where)
            if call["path"] == "/customers" and answer.status_code == 201:
                self.customers.append(body["id"])

    def fill(self, thing: Any) -> Any:
        """A request with its placeholders replaced."""
        if isinstance(thing, dict):
            return {key: self.fill(value) for key, value in thing.items()}
        if isinstance(thing, list):
            return [self.fill(value) for value in thing]
        if not isinstance(thing, str):
            return thing
        if MOMENT.match(thing):
            return (self.now + _distance(thing)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return PLACEHOLDER.sub(lambda match: self._value(match.group(0)), thing)

    def _value(self, name: str) -> str:
        if name not in self.bound:
            fresh = f"rec-{uuid.uuid4().hex[:20]}"
            self.bound[name] = f"{fresh}@example.com" if name.startswith("<email") else fresh
        return self.bound[name]

    # Comparing.

    def compare(self, want: Any, have: Any, path: str, exact: bool = True) -> Differences:
        if isinstance(want, dict) and isinstance(have, dict):
            yield from self._objects(want, have, path, exact)
        elif isinstance(want, list) and isinstance(have, list):
            yield from self._lists(want, have, path, exact)
        elif isinstance(want, str) and isinstance(have, str):
            yield from self._texts(want, have, path, exact)
        elif want == "<number>" and isinstance(have, int):
            return
        elif (want != have and (exact or type(want) is not type(have))) or isinstance(
            want, bool
        ) != isinstance(have, bool):
            yield f"{path}: recorded {want!r}, here {have!r}"

    def _objects(self, want: Any, have: Any, path: str, exact: bool) -> Differences:
        for key in sorted(set(want) | set(have)):
            if key in want and key in have:
                yield from self.compare(want[key], have[key], f"{path}.{key}", exact)
            elif exact or not (key.endswith("_at") or key in DEPENDS_ON_DELIVERY):
                yield f"{path}.{key}: {'missing here' if key in want else 'not recorded'}"

    def _lists(self, want: Any, have: Any, path: str, exact: bool) -> Differences:
        if path.endswith((".line_items", ".attempts")):  # these come in no fixed order
            want, have = (sorted(rows, key=_order) for rows in (want, have))
        if len(want) != len(have):
            yield f"{path}: recorded {len(want)} items, here {len(have)}"
        for number, (one, other) in enumerate(zip(want, have, strict=False)):
            yield from self.compare(one, other, f"{path}[{number}]", exact)

    def _texts(self, want: str, have: str, path: str, exact: bool) -> Differences:
        if want in ANYTHING or want == have:
            return
        difference = f"{path}: recorded {want!r}, here {have!r}"
        if MOMENT.match(want):
            if exact and not self.moved and not self._is_near(want, have):
                yield difference
        elif PLACEHOLDER.fullmatch(want):
            if not self._is_bound(want, have, exact):
                yield difference
        elif PLACEHOLDER.search(want):
            if not re.fullmatch(self._pattern(want), have, re.DOTALL):
                yield difference
        elif exact and not (self.prorated and _close(want, have)):
            yield difference

    def _is_near(self, want: str, have: str) -> bool:
        try:
            return abs(_instant(have) - self.now - _distance(want)) <= SLACK["d" if "d" in want else "m"]
        except ValueError:
            return False

    def _is_bound(self, want: str, have: str, exact: bool) -> bool:
        kind = want[1:].rsplit("_", 1)[0]
        if kind == "invoice_number" and not exact:
            return True
        if want not in self.bound and kind not in MADE_BY_CALLER:
            self.bound[want] = have
            return kind.startswith(FREE_FORM) or have.startswith(f"{kind}_")
        return self._value(want) == have

    def _pattern(self, want: str) -> str:
        parts = re.split(r"(<[a-z_]+?_\d+>)", want)
        known = (self.bound.get(part, part) for part in parts)
        return "".join(".+?" if PLACEHOLDER.fullmatch(part) else re.escape(part) for part in known)

    def _messages(self, wanted: Any) -> Differences:
        """The messages about this recording's customers since the last look."""
        rows = [row for one in self.customers for row in self.control("GET", f"messages?customer={one}")]
        found = sorted((row for row in rows if row["id"] not in self.known), key=lambda row: row["at"])
        self.known |= {row["id"] for row in found}
        for want in wanted:
            while found and found[0]["type"] != want["type"] and found[0]["type"] in MAY_BE_LOST:
                found.pop(0)
            if found and found[0]["type"] == want["type"]:
                have, exact = found.pop(0)["body"], bool(FINAL.match(want["type"]))
                yield from self.compare(_steady(want["body"]), _steady(have), want["type"], exact)
            elif want["type"] not in MAY_BE_LOST:
                yield f"message {want['type']} is missing"
                return
        if more := [row["type"] for row in found if row["type"] not in MAY_BE_LOST]:
            yield f"more messages than recorded: {more}"


def _steady(body: Any) -> Any:
    """Without what depends on the moment of delivery: the customer's metadata gains Razorpay's id."""
    if isinstance(body, list):
        return [_steady(value) for value in body]
    if not isinstance(body, dict):
        return body
    return {
        key: {name: _steady(part) for name, part in value.items() if name != "metadata"}
        if key == "customer" and isinstance(value, dict)
        else _steady(value)
        for key, value in body.items()
    }


def _order(row: Any) -> list[str]:
    names = ("attempt_number", "display_name", "amount", "quantity", "price_id")
    return [str(row.get(name, "")) for name in names]


def _close(want: str, have: str) -> bool:
    try:
        return abs(float(want) - float(have)) <= PRORATION_SLACK
    except ValueError:
        return False


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))


def _distance(text: str) -> timedelta:
    match = MOMENT.match(text)
    assert match
    sign, amount, unit = match.groups()
    size = timedelta(days=int(amount or 0)) if unit == "d" else timedelta(minutes=int(amount or 0))
    return -size if sign == "-" else size
