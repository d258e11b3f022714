"""The calls of a checkout to Flexprice, one documented method per endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import requests

from ._json import Fields, ObjectList, parse_json, read_rows, text, whole
from ._transport import (
    Answer,
    EventHooks,
    Timeout,
    Transport,
    both_timeouts,
    header_value,
    segment,
    unreadable,
)
from .billing import BillingCalls
from .exceptions import UnreadableResponse
from .models import (
    CheckoutSession,
    CheckoutSessionRequest,
    Customer,
    Environment,
    Invoice,
    Payment,
    Plan,
    Refund,
    Subscription,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 4.0  # with the time to connect, a page has its answer within 6 s
CANCEL_READ_TIMEOUT_S = 10.0  # Flexprice first cancels the link at the payment provider
CREATE_READ_TIMEOUT_S = 25.0  # hanging up early aborts the server's own clean-up

PAGE_SIZE = 100  # of a list; Flexprice allows 1 to 1000
MAX_PAGES = 100
EVERY_STATUS = ["DRAFT", "FINALIZED", "VOIDED", "SKIPPED"]  # a search leaves SKIPPED out by itself


class Client(BillingCalls):
    """Flexprice's API, as far as a checkout needs it. Safe to share between threads.

        with Client("https://us.api.flexprice.io/v1", api_key) as client:
            plans = client.list_plans()

    Every method takes `timeout=`, in seconds to read the answer, or (seconds to connect, seconds to read).
    Beside the errors that it documents itself it can raise those that all calls have in common:

    * `NotSent`, `NoAnswer`, `APITimeout`: nothing usable came back
    * `UnreadableResponse`: the server answered 2xx, and what is relied on cannot be read
    * `AuthenticationError`: 401 or 403
    * `NotFound`, `RouteNotFound`: there is no such object, or the server has no such route
    * `InvalidRequest`: any other 4xx
    * `ServerError`: 5xx, 429 or a redirect; try again later
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        environment_id: str | None = None,
        timeout: Timeout = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
        session: requests.Session | None = None,
        event_hooks: EventHooks | None = None,
        max_concurrent: int = 4,
    ) -> None:
        """Make a client; no call is made yet.

        :param base_url: with `/v1`, such as `https://us.api.flexprice.io/v1`.
        :param api_key: sent as `x-api-key`. Flexprice answers 401 to a key sent as a Bearer token.
        :param environment_id: sent as `X-Environment-ID`; only operators' keys need it.
        :param timeout: in seconds, for methods without a longer default of their own.
        :param session: used as it is, with its own proxies and certificates, and left open by `close()`. By
            default a pooled session with the environment's proxy and certificates; a loopback address is
            never asked through a proxy.
        :param event_hooks: `{"request": [f], "response": [g]}`. Each `f(ApiRequest)` is called before a call
            and may add headers, or replace the random `X-Request-ID`; what it raises stops the call. Each
            `g(ApiResponse)` is called after it; what it raises is logged.
        :param max_concurrent: calls under way at once, in all threads. One more raises `NotSent` at once, so
            that a server that hangs cannot take all threads. Give it half of your server's threads.
        :raises ValueError: the key or the environment id cannot be sent as a header, or another setting is
            impossible.
        """
        headers = {"x-api-key": header_value(api_key, "API key")}
        if environment_id:
            headers["X-Environment-ID"] = header_value(environment_id, "environment id")
        transport = Transport(base_url, headers, session, event_hooks, max_concurrent)
        super().__init__(transport, both_timeouts(timeout, (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    # -- catalog and customers

    def list_plans(self, *, timeout: Timeout | None = None) -> ObjectList[Plan]:
        """Return all published plans with their prices and entitlements, by `display_order`.

        Prices that begin later are included: compare `start_date` and `end_date` with the time. Source:
        docs/flexprice-contract.md#b3 (sorting by name fails where entitlements are asked for).
        """
        query = {
            "status": "published",
            "expand": "prices,entitlements,features",
            "sort": [{"field": "display_order", "direction": "asc"}],
        }
        plans = self._list("POST", "/plans/search", query, Plan.from_json, timeout)
        plans.sort(key=lambda plan: plan.display_order)
        return plans

    def get_plan(self, plan_id: str, *, timeout: Timeout | None = None) -> Plan:
        """Return one plan, archived or not, with all its prices, those that have ended too.

        Source: docs/flexprice-contract.md#b4.

        :raises NotFound: there is no such plan.
        """
        return self._one("GET", f"/plans/{segment(plan_id)}", Plan.from_json, timeout)

    def create_customer(
        self,
        external_id: str,
        name: str,
        email: str,
        *,
        metadata: Mapping[str, str] | None = None,
        timeout: Timeout | None = None,
    ) -> Customer:
        """Create a customer. NUL, which Flexprice cannot store, is removed from the name.

        Source: docs/flexprice-contract.md#b1.

        :param external_id: your id, at most 255 characters and without `/`.
        :param name: 1 to 255 characters.
        :param metadata: texts only.
        :raises Conflict: a customer with this external id exists: get it instead.
        :raises InvalidRequest: Flexprice refuses a field, such as an email address that it cannot parse.
        """
        body: dict[str, Any] = {"external_id": external_id, "name": text(name), "email": email}
        if metadata:
            body["metadata"] = dict(metadata)
        return self._one("POST", "/customers", Customer.from_json, timeout, body=body)

    def get_customer_by_external_id(self, external_id: str, *, timeout: Timeout | None = None) -> Customer:
        """Return the published customer with this id of yours.

        Source: docs/flexprice-contract.md#b2.

        :raises CustomerNotFound: there is none; it may have been deleted.
        """
        path = f"/customers/external/{segment(external_id)}"
        return self._one("GET", path, Customer.from_json, timeout)

    def update_customer(
        self,
        external_id: str,
        *,
        name: str | None = None,
        email: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: Timeout | None = None,
    ) -> Customer:
        """Change the customer with this id of yours; what is not given stays.

        The metadata is replaced as a whole: read it and send it too, since Flexprice keeps Razorpay's
        customer id there. Source: docs/flexprice-contract.md#b1.

        :param metadata: all of it; texts only.
        :raises CustomerNotFound: there is no published customer with this external id.
        """
        given = {"name": text(name) if name else None, "email": email, "metadata": metadata}
        body = {key: value for key, value in given.items() if value is not None}
        params = {"external_customer_id": external_id}
        return self._one("PUT", "/customers", Customer.from_json, timeout, body=body, params=params)

    def get_customer(self, customer_id: str, *, timeout: Timeout | None = None) -> Customer:
        """Return the customer with this id of Flexprice's, also a deleted one.

        Source: docs/flexprice-contract.md#b2.

        :raises CustomerNotFound: there is none.
        """
        return self._one("GET", f"/customers/{segment(customer_id)}", Customer.from_json, timeout)

    def get_environment(self, environment_id: str, *, timeout: Timeout | None = None) -> Environment:
        """Return an environment, to tell production from development.

        :raises NotFound: there is none.
        """
        path = f"/environments/{segment(environment_id)}"
        return self._one("GET", path, Environment.from_json, timeout)

    # -- checkout sessions

    def create_checkout_session(
        self, request: CheckoutSessionRequest, *, timeout: Timeout | None = None
    ) -> CheckoutSession:
        """Create a session with a payment page. Reads for 25 s unless `timeout` says otherwise.

        A caller that hangs up early aborts the server's clean-up: the key stays in use for half an hour, and
        an unknown link may exist. Source: docs/flexprice-contract.md#c6a.

        :raises Conflict: a session with this idempotency key is active. Flexprice does not say which one.
        :raises CustomerNotFound: there is no published customer with this external id.
        :raises NotFound: there is no such plan.
        :raises ProviderError: Flexprice could not use the payment provider; nothing can be paid and the key
            is free: send the same request again later.
        :raises InvalidRequest: Flexprice refuses to sell this: no price fits, nothing to charge, a wrong
            field.
        :raises NoAnswer: a session may exist. Look for the reference before sending the request again.
        """
        default = (self._timeout[0], CREATE_READ_TIMEOUT_S)
        return self._one(
            "POST",
            "/checkout/sessions",
            CheckoutSession.from_json,
            both_timeouts(timeout, default),
            body=request.to_json(),
        )

    def get_checkout_session(self, session_id: str, *, timeout: Timeout | None = None) -> CheckoutSession:
        """Return a session. On newer servers this settles a payment whose event was lost.

        Source: docs/flexprice-contract.md#c8.

        :raises NotFound: there is none; right after the create, a replica may not have it yet.
        """
        path = f"/checkout/sessions/{segment(session_id)}"
        return self._one("GET", path, CheckoutSession.from_json, timeout)

    def cancel_checkout_session(self, session_id: str, *, timeout: Timeout | None = None) -> CheckoutSession:
        """Cancel a session and its payment link; it becomes `expired`. Reads for 10 s by default.

        A session that has ended unpaid is returned as it is. Source: docs/flexprice-contract.md#b9.

        :raises RouteNotFound: the server is too old to cancel; the session ends by itself.
        :raises NotFound: there is no such session.
        :raises InvalidRequest: the session is completed.
        """
        path = f"/checkout/sessions/{segment(session_id)}/cancel"
        default = (self._timeout[0], CANCEL_READ_TIMEOUT_S)
        return self._one("POST", path, CheckoutSession.from_json, both_timeouts(timeout, default))

    # -- subscriptions, invoices, payments

    def list_subscriptions(
        self, external_customer_id: str, statuses: Sequence[str], *, timeout: Timeout | None = None
    ) -> ObjectList[Subscription]:
        """Return a customer's subscriptions with one of these statuses.

        Compare `customer_id` with the one you know: a server that does not know a filter ignores it.
        Source: docs/flexprice-contract.md#b10.

        :param statuses: of `draft`, `incomplete`, `trialing`, `active`, `paused`, `cancelled`. Without any,
            Flexprice returns the active ones only.
        :raises CustomerNotFound: there is no published customer with this external id.
        """
        query = {"external_customer_id": external_customer_id, "subscription_status": list(statuses)}
        return self._list("POST", "/subscriptions/search", query, Subscription.from_json, timeout)

    def get_subscription(self, subscription_id: str, *, timeout: Timeout | None = None) -> Subscription:
        """Return a subscription. Source: docs/flexprice-contract.md#b10.

        :raises NotFound: there is none, or its checkout failed or expired.
        """
        path = f"/subscriptions/{segment(subscription_id)}"
        return self._one("GET", path, Subscription.from_json, timeout)

    def get_invoice(self, invoice_id: str, *, timeout: Timeout | None = None) -> Invoice:
        """Return an invoice with its subscription. Source: docs/flexprice-contract.md#b11.

        :raises NotFound: there is none, or its checkout failed or expired.
        """
        return self._one("GET", f"/invoices/{segment(invoice_id)}", Invoice.from_json, timeout)

    def list_invoices(self, subscription_id: str, *, timeout: Timeout | None = None) -> ObjectList[Invoice]:
        """Return a subscription's invoices, newest first, without their lines and without the subscription.

        Skipped ones too: a draft that was read before may have become one.

        Source: docs/flexprice-contract.md#b11.
        """
        query = {"subscription_id": subscription_id, "skip_line_items": True, "invoice_status": EVERY_STATUS}
        return self._list("POST", "/invoices/search", query, Invoice.from_json, timeout)

    def get_payment(self, payment_id: str, *, timeout: Timeout | None = None) -> Payment:
        """Return a payment. Reading a pending one makes Flexprice ask the provider and settle it.

        Do not read one in the moment of the provider's event: that booked it twice. Ask the invoice first.
        Source: docs/flexprice-contract.md#j5.

        :raises NotFound: there is none.
        """
        return self._one("GET", f"/payments/{segment(payment_id)}", Payment.from_json, timeout)

    def list_payments(self, invoice_id: str, *, timeout: Timeout | None = None) -> ObjectList[Payment]:
        """Return the payments of an invoice, as stored: this asks nobody and settles nothing.

        Source: docs/flexprice-contract.md#j5.
        """
        query = {"destination_type": "INVOICE", "destination_id": invoice_id}
        return self._list("GET", "/payments", query, Payment.from_json, timeout)

    def list_refunds(self, payment_id: str, *, timeout: Timeout | None = None) -> ObjectList[Refund]:
        """Return a payment's refunds. Source: docs/flexprice-contract.md#b13.

        :raises RouteNotFound: the server is too old to have refunds.
        """
        query = {"payment_ids": payment_id}
        return self._list("GET", "/refunds", query, Refund.from_json, timeout)

    # -- how

    def _list(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
        timeout: Timeout | None,
    ) -> ObjectList[T]:
        """Read all pages, each object once, and leave out objects that cannot be read.

        The offset in an answer has two meanings (docs/flexprice-contract.md#a4), so it is counted here.
        """
        limits, place = both_timeouts(timeout, self._timeout), "params" if method == "GET" else "body"
        found: dict[str, T] = {}
        bad = offset = total = 0
        for _ in range(MAX_PAGES):
            page = {**query, "limit": PAGE_SIZE, "offset": offset}
            answer = self._transport.send(method, path, limits, **{place: page})
            items, total = _page(answer)
            rows = read_rows(items, lambda item: (read(item), item["id"]))  # which has a readable id
            found |= {object_id: one for one, object_id in rows}
            bad += rows.unreadable
            offset += len(items)
            if not items or offset >= total:
                break
        else:
            log.warning("A list of Flexprice's is cut after %d of %d objects.", offset, total)
            bad += total - offset
        if bad and not found:
            raise unreadable(answer, "no object of the list can be read")
        objects = ObjectList(found.values())
        objects.unreadable = bad
        return objects


def _page(answer: Answer) -> tuple[list[Any], int]:
    """Return the items of a page and the length of the whole list. An empty Go slice may come as null."""
    try:
        fields = Fields(parse_json(answer.raw, tolerant=True), "the list")
        items, total = fields.data.get("items", 0), fields.inner("pagination").required("total", whole)
    except UnreadableResponse as error:
        raise unreadable(answer, error.message) from None
    if not isinstance(items, list | None):
        raise unreadable(answer, "a list without items")
    return items or [], total
