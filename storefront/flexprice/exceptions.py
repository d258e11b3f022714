"""What can go wrong in a call to Flexprice, sorted by what the caller may do next.

FlexpriceError
  APIConnectionError        no usable answer came back
    NotSent                 the request never left: send it again at once, with the same key
    NoAnswer                sent, but no usable answer: the server may have acted
      APITimeout            the answer did not come in time
      UnreadableResponse    the server answered 2xx, and the answer cannot be read
  AuthenticationError       401, 403: the API key, its role or its environment
  NotFound                  404: there is no such object
    CustomerNotFound        404 for a customer
    RouteNotFound           404 in plain text: this server has no such route
  Conflict                  409: the external id exists, or the idempotency key is in use
  InvalidRequest            any other 4xx: the same request will be refused again
  ServerError               5xx, 429, an unexpected redirect: send it again later
    ProviderError           Flexprice could not use the payment provider: nothing can be paid
  InvalidSignature          a webhook that cannot be trusted
ValueError
  InvalidSecret             a webhook signing secret with which nothing could ever be verified
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

REASONS = {
    "missing_header": "The id, timestamp or signature header is missing.",
    "malformed_header": "A webhook header is not in the form Svix sends.",
    "malformed_body": "The body is not UTF-8 text.",
    "no_match": "No signature was made with one of the configured secrets.",
    "stale": "The signature is right, but older than five minutes: a replay, or a clock is wrong.",
    "future": "The signature is right, but from the future: a clock is wrong.",
    "shared_header": "Not signed, and without the configured shared header.",
}
"""Why a webhook is rejected: the keys are the values of `InvalidSignature.reason`."""


class FlexpriceError(Exception):
    """The base of all errors of this package.

    :param message: Flexprice's own text on one line. For logs and operators; never show it to a shopper.
    :param status: the HTTP status of the answer; 0 when there was none.
    :param code: Flexprice's code, such as `validation_error`; empty when there is none.
    :param details: Flexprice's details, such as `{"lookup_key": "user-42"}`; often empty.
    :param request_id: the call's `X-Request-ID`, which Flexprice's support can search for.
    :param retry_after: how long the answer asks the caller to wait; None when it does not say.
    :param retryable: whether the same request may be sent again. None: what the class says.
    """

    retryable: bool = False
    """Whether the same request, with the same idempotency key, may be sent again."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        request_id: str = "",
        retry_after: timedelta | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.status or ""), self.code, self.message) if part)


class APIConnectionError(FlexpriceError):
    """No usable answer came back. `NotSent` and `NoAnswer` say whether the server may have acted."""


class NotSent(APIConnectionError):
    """The request never left, so it has no effect: unknown host, refused connection, certificate, or busy.

    "Busy" means that all of the client's `max_concurrent` calls are under way.
    """

    retryable = True


class NoAnswer(APIConnectionError):
    """The request was sent and no usable answer came: the server may or may not have acted.

    `retryable` is True for reads only. After a lost answer to a create, look for what it may have created.
    """


class APITimeout(NoAnswer):
    """The answer did not come in time. The server may still be working on the request."""


class UnreadableResponse(NoAnswer):
    """The server answered 2xx, or sent an event, that cannot be read.

    As with any `NoAnswer`, a write has probably taken effect; only a read is `retryable`.
    """


class AuthenticationError(FlexpriceError):
    """401 or 403: the API key is wrong, or its role, tenant or environment does not allow the call."""


class NotFound(FlexpriceError):
    """404: the server has the route, but not the object."""


class CustomerNotFound(NotFound):
    """404 for a customer: there is no published customer with this id. Creating it again helps."""


class RouteNotFound(NotFound):
    """404 in plain text: this server is older than the call and has no such route."""


class Conflict(FlexpriceError):
    """409: a customer with this external id exists, or a session with this idempotency key is active."""


class InvalidRequest(FlexpriceError):
    """Any other 4xx. The same request will be refused again."""


class ServerError(FlexpriceError):
    """5xx, 429 or an unexpected redirect: not now. The same request may be sent again later."""

    retryable = True


class ProviderError(ServerError):
    """Flexprice could not use the payment provider, so no payment page was opened and nothing can be paid.

    The status is 400 for a customer who is new at the provider and 500 for a known one. Either way the
    idempotency key is free again, and the same request may be sent again later
    (docs/flexprice-contract.md#c6).
    """


class InvalidSignature(FlexpriceError):
    """A webhook that cannot be trusted.

    :param reason: a key of `REASONS`.
    :param detail: the name of the header, or how many seconds the clock is off. Holds no secret.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(REASONS[reason])
        self.args = (reason, detail)  # pickle and copy build the exception from these
        self.reason = reason
        self.detail = detail


class InvalidSecret(ValueError):
    """The signing secret cannot be right. The text never holds any part of it."""
