"""Any value in every field of the objects of the second month, as the sandbox really sends them.

Subscriptions, invoices, payments, schedules, changes of plan, customers, entitlements, usage, and the
webhooks about them. No error of ours and no forged log line; the pages of billing, account, operator desk and
QA answer. Once Flexprice is in order again, nothing stays wrong: an open invoice can be paid, a paid one is
settled, and access is what it was.
"""

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter
from sqlalchemy import insert, select

from storefront.billing import Invoice, Subscription
from storefront.checkout import State
from storefront.emails.models import Email
from storefront.extensions import db
from storefront.flexprice import Client
from storefront.flexprice._json import Fields
from storefront.models import Order, User, WebhookEvent
from storefront.sandbox.store.values import stable_id
from tests.any_value import real_path, rules
from tests.shop_fixtures import HOME, send_webhook_to
from tests.unit.checkout.shop_and_sandbox import SANDBOX, Wire
from tests.unit.checkout.test_odd_fields import VALUES, errors, places, put, too_long
from tests.unit.subscriptions.conftest import Story
from tests.unit.test_any_value import forged, log  # noqa: F401 - log is a fixture

DEEPEST_OF_A_WEBHOOK = 3  # its name here, the object, a field of that
FEW = 2  # of the fields, in `make test`
Path = tuple[str, ...]
Rows = dict[Any, list[dict[str, Any]]]
OF_A_SALE = ("POST /v1/plans/search", "POST /v1/checkout/sessions", "GET /v1/checkout/sessions/")
ASK_FLEXPRICE = ("/change", "/pdf")  # pages that may answer 503
TEAM = {"plan": stable_id("plan", "team"), "currency": "inr", "billing_period": "MONTHLY"}


class Recorder(BaseAdapter):
    """Records what the sandbox answers; then it repeats that, with one odd value somewhere."""

    def __init__(self, sandbox: BaseAdapter) -> None:
        super().__init__()
        self.sandbox = sandbox
        self.recording: dict[str, Any] = {}
        self.repeats = False
        self.paths: Sequence[Path] = ()
        self.value: Any = None
        self.read: set[tuple[frozenset[str], str]] = set()  # the keys of an object, and one that was read

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        call = f"{request.method} {urlsplit(request.url or '').path}"
        if not self.repeats:
            got = self.sandbox.send(request)
            if got.status_code < 300 and "json" in got.headers["Content-Type"]:
                self.recording[call] = got.json()
            return Wire._answer(request, got.status_code, got.content, dict(got.headers))
        alike = (known for known in self.recording if kind_of(known) == kind_of(call))
        call = call if call in self.recording else next(alike, call)
        if call not in self.recording:
            return Wire._answer(request, 404, b'{"error": {"message": "not found"}}', {})
        return Wire._answer(request, 200, json.dumps(self.odd(call)).encode(), {})

    def odd(self, name: str) -> Any:
        """What was recorded under this name, with the odd value in it."""
        whole = self.recording[name]
        for path in self.paths:
            whole = put(whole, path[1:], self.value) if path[0] == name else whole
        return whole

    def reads(self, path: Path, recording: dict[str, Any]) -> bool:
        """Whether the shop has read this field, or something in it."""
        if path[0].startswith("webhook") and len(path) > DEEPEST_OF_A_WEBHOOK:
            return False
        *_, parent, value = at(recording, path)
        if isinstance(parent, dict) and (frozenset(parent), path[-1]) in self.read:
            return True
        inner = value if isinstance(value, list) else [value]
        shapes = {shape for shape, _ in self.read}
        return path[-2] == "metadata" or any(isinstance(x, dict) and frozenset(x) in shapes for x in inner)

    def close(self) -> None:
        """Nothing is open."""


def kind_of(call: str) -> str:
    """A call whatever object it names."""
    return re.sub(r"/\w+_\w+", "", call)


def at(value: Any, path: Path) -> Iterator[Any]:
    """The object, and what is in it on the way to a field."""
    yield value
    for name in path:
        value = value[int(name)] if isinstance(value, list) else value[name]
        yield value


class Watched(dict[str, Any]):
    """An object that says what is read of it."""

    def __init__(self, data: dict[str, Any], read: set[tuple[frozenset[str], str]]) -> None:
        super().__init__(data)
        self.read, self.shape = read, frozenset(data)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add((self.shape, name))
        return super().get(name, default)


class Month:
    """A customer with an open renewal: what Flexprice says while it is open, and once it is paid."""

    def __init__(self, story: Story) -> None:
        self.story, self.shop = story, story.shop
        self.wire = Recorder(story.wire)
        http = requests.Session()
        http.mount(SANDBOX, self.wire)
        self.shop.extensions["checkout"].client = Client(f"{SANDBOX}/v1", "sk_of_a_test", session=http)
        with self.shop.app_context():
            db.session.scalars(select(User)).one().is_operator = True
            db.session.commit()

    def live(self) -> None:
        """What the recordings are of."""
        story = self.story
        story.must("/_sandbox/switches", first_renewal="billed")
        bill = story.owing()
        self.invoice_id, self.plan = bill.invoice_id, f"/billing/subscriptions/{bill.subscription_id}"
        self.pages = list(self._pages(story.the_orders()[0].ref))
        self.unlinked_rows = self._rows()
        self.press_all()
        self.settle()
        self.visit_all()
        self.open, self.linked_rows = self._record(), self._rows()
        story.at_provider(self.bill.payment_url or "", "pay")
        self.settle()
        self.visit_all()
        self.paid = self._record()
        self.check_paid()
        self.wire.repeats = True

    def _pages(self, ref: str) -> Iterator[str]:
        known = {"ref": ref, "subscription_id": self.plan.rpartition("/")[2], "invoice_id": self.invoice_id}
        for rule in rules(self.shop):
            shown = rule.rule.startswith(("/billing", "/account", "/operator/", "/qa", "/members", "/orders"))
            if "GET" in rule.methods and shown and rule.endpoint != "qa.customer":
                yield real_path(rule, known | {"name": "orders", "attempt": "0"})

    def press_all(self) -> None:
        """Every button of the billing page. What is planned in the end is a change of plan."""
        press = self.story.press
        for path, data in (
            (f"/billing/invoices/{self.invoice_id}/pay", {}),
            (f"/billing/invoices/{self.invoice_id}/pay", {}),
            (f"{self.plan}/cancel", {"when": "period_end"}),
            (f"{self.plan}/undo", {"what": "cancel"}),
            (f"{self.plan}/change", TEAM | {"when": "renewal"}),
            (f"{self.plan}/undo", {"what": "change"}),
            (f"{self.plan}/change", TEAM | {"when": "renewal"}),
        ):
            answer = press(path, **data)
            assert answer.status_code in (200, 303, 409, 503), (path, answer.status_code)

    def visit_all(self) -> None:
        self.shop.extensions["subscriptions"].usage.clear()
        for path in self.pages:
            answer = self.story.browser.get(path, base_url=HOME)
            usual = (200, 302, 303, 404, *((503,) if path.endswith(ASK_FLEXPRICE) else ()))
            assert answer.status_code in usual, (path, answer.status_code)

    def settle(self) -> None:
        """The worker asks about everything."""
        self.story.due_again()
        self.story.settle(deliver=not self.wire.repeats)

    # -- with an odd value

    def fields(self, recording: dict[str, Any]) -> tuple[list[Path], list[Path]]:
        """Those that the shop reads, of a list its first; and the others, without what is in them."""
        read: dict[Path, Path] = {}
        unread: list[Path] = []
        for path in places(recording):
            in_another = any(path[: len(other)] == other for other in unread)
            if len(path) == 1 or in_another or path[0].startswith(OF_A_SALE):
                continue
            if self.wire.reads(path, recording):
                kind = kind_of(path[0]), *(name for name in path[1:] if not name.isdigit())
                read.setdefault((*kind, path[-1]), path)
            else:
                unread.append(path)
        return list(read.values()), unread

    def while_open(self, paths: Sequence[Path], value: Any) -> None:
        self._begin(self.open, self.unlinked_rows, paths, value)
        self._hear()
        self.press_all()
        self.settle()
        self.visit_all()
        self.wire.paths = ()
        self.settle()
        self.check_open()

    def once_paid(self, paths: Sequence[Path], value: Any) -> None:
        self._begin(self.paid, self.linked_rows, paths, value)
        self._hear()
        self.settle()
        self.visit_all()
        self.wire.paths = ()
        self.settle()
        self.check_paid()

    def _begin(self, recording: dict[str, Any], rows: Rows, paths: Sequence[Path], value: Any) -> None:
        self.wire.recording, self.wire.paths, self.wire.value = recording, paths, value
        self._restore(rows)

    def _hear(self) -> None:
        for number, name in enumerate(name for name in self.wire.recording if name.startswith("webhook ")):
            body = json.dumps(self.wire.odd(name)).encode()
            answer = send_webhook_to(self.shop, body, message_id=f"odd_{number}")
            assert answer.status_code in (204, 400, 413), name

    # -- what must be true

    @property
    def bill(self) -> Invoice:
        return next(bill for bill in self.story.bills() if bill.invoice_id == self.invoice_id)

    def check_access(self) -> None:
        (row, *_), bill = self.story.subscriptions(), self.bill
        assert (row.status, row.access) == ("active", "granted"), bill.review_note
        assert self.story.has_access("Starter")
        assert {order.state for order in self.story.the_orders()} == {State.FULFILLED}

    def check_open(self) -> None:
        """It can be paid, or somebody was told why not."""
        self.check_access()
        assert self.bill.is_open
        assert self.story.press_pay(self.bill).startswith(SANDBOX) or self.bill.review_note

    def check_paid(self) -> None:
        self.check_access()
        assert (self.bill.paid, self.bill.link) == (True, "settled")

    # -- rows and recordings

    def _record(self) -> dict[str, Any]:
        """The answers so far, and the latest webhook of each type."""
        heard = {}
        for event_id in self.story.events("subscription.", "invoice.", "payment."):
            if body := self.story._body(event_id):
                heard[f"webhook {json.loads(body)['event_type']}"] = json.loads(body)
        return self.wire.recording | heard

    def _rows(self) -> Rows:
        with self.shop.app_context():
            tables = db.metadata.sorted_tables
            return {t: [dict(row) for row in db.session.execute(select(t)).mappings()] for t in tables}

    def _restore(self, rows: Rows) -> None:
        with self.shop.app_context():
            for table in reversed(rows):
                db.session.execute(table.delete())
            for table, found in rows.items():
                if found:
                    db.session.execute(insert(table), found)
            db.session.commit()
        self.story.forget_prices()


@pytest.fixture
def month(story: Story, monkeypatch: pytest.MonkeyPatch) -> Month:
    made, begin = Month(story), Fields.__init__

    def watch(fields: Fields, data: Any, kind: str) -> None:
        begin(fields, data, kind)
        fields.data = Watched(fields.data, made.wire.read)

    with monkeypatch.context() as patched:
        patched.setattr(Fields, "__init__", watch)
        made.live()
    return made


@pytest.fixture
def try_all(month: Month, caplog: pytest.LogCaptureFixture, rows: Any, log: io.StringIO) -> Any:  # noqa: F811
    """Puts a value into these fields, and looks for errors, forged lines and what no column holds."""

    def run(act: Callable[[Sequence[Path], Any], None], paths: Sequence[Path], value: Any) -> None:
        act(paths, value)
        told = (ascii(value)[:40], paths[:3])
        assert errors(caplog) == [], told
        caplog.clear()
        assert forged(log) == [], told
        for model in (Subscription, Invoice, Order, WebhookEvent, Email):
            assert [too_long(row) for row in rows(model) if too_long(row)] == [], told

    return run


@pytest.mark.thorough
def test_odd_object_takes_nothing_else_down(month: Month) -> None:
    """An odd plan for a subscription, an odd feature: the rest is read, and what is known stays."""
    schedules = next(call for call in month.paid if call.endswith("/schedules"))
    features = next(call for call in month.paid if call.endswith("/entitlements"))
    names = [feature["feature"]["name"] for feature in month.paid[features]["features"]]
    odd = [(schedules, "schedules", "0"), (features, "features", "0")]
    month.once_paid((), None)
    month._begin(month.paid, month.linked_rows, odd, 7)
    month.settle()
    month.check_paid()
    (row,) = month.story.subscriptions()
    assert (row.attempts, row.planned_plan_id) == (0, TEAM["plan"])
    month.shop.extensions["subscriptions"].usage.clear()
    page = month.story.see()
    assert [name for name in names if name in page] == names[1:]


@pytest.mark.thorough
def test_odd_value_in_some_fields_causes_no_error(month: Month, try_all: Any) -> None:
    """Nothing odd, so that the tests reach every step; a few fields; and all that nobody reads, at once.

    Kind: one reader for what Flexprice sends.
    """
    values = cycle(VALUES)
    for act, recording in ((month.while_open, month.open), (month.once_paid, month.paid)):
        read, unread = month.fields(recording)
        assert len(read) > 50
        try_all(act, (), None)
        try_all(act, unread, next(values))
        for path in read[:: len(read) // FEW]:
            try_all(act, (path,), next(values))


@pytest.mark.thorough
@pytest.mark.parametrize("first", [0, 12, 24])
def test_odd_value_in_each_field_causes_no_error(month: Month, try_all: Any, first: int) -> None:
    """All fields, each with one of the values."""
    values = islice(cycle(VALUES), first, None)
    for act, recording in ((month.while_open, month.open), (month.once_paid, month.paid)):
        for path in month.fields(recording)[0]:
            try_all(act, (path,), next(values))


@pytest.mark.thorough
def test_odd_values_in_fields_that_nobody_reads_cause_no_error(month: Month, try_all: Any) -> None:
    for act, recording in ((month.while_open, month.open), (month.once_paid, month.paid)):
        for value in VALUES:
            try_all(act, month.fields(recording)[1], value)
