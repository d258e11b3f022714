"""How Flexprice refuses."""

from typing import Any

STATUS = {
    "validation_error": 400,
    "invalid_operation": 400,
    "permission_denied": 403,
    "not_found": 404,
    "already_exists": 409,
    "version_conflict": 409,
    "too_many_requests": 429,
    "internal_error": 500,
    "system_error": 500,
    "database_error": 500,
    "not_implemented": 501,
}


class Refusal(Exception):
    """An answer other than success, in Flexprice's envelope.

    :param code: one of `STATUS`.
    :param reason: the internal text that a failed session shows as `failure_reason`; the message if left out.
    :param bare: answer with `{"error": message}` instead of the envelope, as the schedule routes do.
    """

    def __init__(
        self, code: str, message: str, *, reason: str = "", bare: bool = False, **details: Any
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.bare, self.details = code, message, bare, details
        self.reason = reason or message

    @property
    def status(self) -> int:
        return STATUS[self.code]

    def body(self) -> dict[str, Any]:
        if self.bare:
            return {"error": self.message}
        envelope = {"code": self.code, "message": self.message, "http_status_code": self.status}
        return envelope | ({"details": self.details} if self.details else {})


def not_found(message: str, **details: Any) -> Refusal:
    return Refusal("not_found", message, **details)


def invalid(message: str, **details: Any) -> Refusal:
    return Refusal("validation_error", message, **details)
