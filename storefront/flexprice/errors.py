"""What can go wrong between the shop and Flexprice, sorted by what the caller may do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class FlexpriceError(Exception):
    """Any call that did not end in the object asked for.

    `message` is Flexprice's own text: for logs and operators, never for a shopper.
    """

    retryable: bool = False
    """May the same request (with the same idempotency key) be sent again later?"""
    answered: bool = True
    """Did Flexprice answer? If not, see NeverSent and NoAnswer for what that means."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        details: Mapping[str, Any] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.details: dict[str, Any] = dict(details or {})
        self.request_id = request_id

    def __str__(self) -> str:
        known = (str(self.status or ""), self.code, self.message)
        return " ".join(part for part in known if part)


class NeverSent(FlexpriceError):
    """No connection: the request did not leave, so it has no effect and may be sent again."""

    retryable = True
    answered = False


class NoAnswer(FlexpriceError):
    """Sent, but nothing readable came back: nobody knows whether it took effect.

    Only a read may be repeated blindly; the client then sets `retryable` on the instance.
    """

    answered = False


class Unavailable(FlexpriceError):
    """An answer that says "not now": 429, any 5xx, a redirect, or a read whose answer makes no sense."""

    retryable = True
    retry_after: float | None = None


class NotAllowed(FlexpriceError):
    """401 or 403: the API key, its role or its tenant."""


class NotFound(FlexpriceError):
    """Flexprice knows the route but not the thing."""


class CustomerMissing(NotFound):
    """Flexprice has no published customer with this external id."""


class RouteMissing(FlexpriceError):
    """This server has no such route: it is older than the call."""


class SessionAlreadyOpen(FlexpriceError):
    """409 on creating a session: one with this idempotency key is open. Its id is not told."""


class AlreadyExists(FlexpriceError):
    """The thing to be created exists, e.g. a customer with this external id."""


class Refused(FlexpriceError):
    """Any other 4xx: sending the same again will be refused again."""
