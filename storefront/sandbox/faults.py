"""Bad days on request: the next calls to the API go wrong in a way that was asked for."""

import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from storefront.sandbox.door import number_request, show_number
from storefront.sandbox.schema import faults
from storefront.sandbox.store import current_store

# The time-outs hold the line for `seconds` and then cut it, before or after the work is done.
FAULTS = ("down", "error_500", "timeout_before", "timeout_after", "slow")
SECONDS = {"slow": 3.0}  # unless something else was asked for


def arrange(conn: Connection, fault: str, path: str, method: str | None, times: int, seconds: float) -> None:
    row = {"fault": fault, "path": path, "method": method, "times": times, "seconds": seconds}
    conn.execute(insert(faults).values(row))


def clear(conn: Connection) -> None:
    conn.execute(delete(faults))


def register(app: Flask) -> None:
    app.before_request(number_request)
    app.before_request(_before)
    # Run in the opposite order: the number is on the answer before it is spoilt.
    app.after_request(_after)
    app.after_request(show_number)


def _next() -> tuple[str, float] | None:
    """The first fault that fits this call, used up by one."""
    fits = (
        faults.c.times > 0,
        or_(faults.c.method.is_(None), faults.c.method == request.method),
        func.substr(request.path, 1, func.length(faults.c.path)) == faults.c.path,
    )
    query = select(faults.c.id, faults.c.fault, faults.c.seconds).where(*fits).order_by(faults.c.id).limit(1)
    with current_store().reading() as conn:
        if conn.execute(query).first() is None:
            return None
    with current_store().writing() as conn:
        found = conn.execute(query).first()
        if found:
            conn.execute(update(faults).where(faults.c.id == found.id).values(times=faults.c.times - 1))
        return (found.fault, found.seconds) if found else None


def _before() -> Response | None:
    fault = _next() if request.path.startswith("/v1/") else None
    if fault is None:
        return None
    name, seconds = fault
    if name == "timeout_after":
        g.cut_after = seconds
        return None
    request.get_data()  # a server holds the line while a body is unread
    time.sleep(seconds)
    if name == "slow":
        return None
    if name == "down":
        return Response("<html><body>503 Service Unavailable</body></html>", status=503)
    if name == "error_500":
        return Response("", status=500)
    return _cut(Response(status=200, content_type="application/json"), b"{}")


def _after(response: Response) -> Response:
    seconds = g.pop("cut_after", None)
    if seconds is None:
        return response
    time.sleep(seconds)
    return _cut(response, response.get_data())


def _cut(response: Response, body: bytes) -> Response:
    """Promises the whole body, sends half of it, and hangs up."""

    def half() -> Iterator[bytes]:
        yield body[: len(body) // 2]

    response.response = half()
    response.headers["Content-Length"] = str(len(body))
    return response
