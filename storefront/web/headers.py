"""What every response tells the browser: what it may load, whom it may tell, and what it may keep."""

from flask import Flask, Response, current_app, request, session

from storefront.checkout.context import payment_hosts
from storefront.flexprice import is_loopback

HTMX = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"
HSTS = "max-age=31536000"  # seconds: a year

FRAMED = "emails.html"  # an email as it was sent: inline styles, no script; shown on a page of ours only
FRAMED_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox allow-top-navigation-by-user-activation"
)

HEADERS = {
    "Referrer-Policy": "same-origin",  # neither the CDN nor the payment page learns an order's address
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
REVALIDATE = "private, no-cache"
NO_STORE = "private, no-store"  # after a sign-out the Back button must not show it


WITH_TOKEN = ("accounts.reset_password", "account_settings.confirm_email")  # in the address


def init_app(app: Flask) -> None:
    app.after_request(add_headers)


def add_headers(response: Response) -> Response:
    """After the checkout's own headers, so that one policy holds on every page."""
    if request.endpoint == FRAMED:
        response.headers["Content-Security-Policy"] = FRAMED_POLICY
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
    else:
        response.headers["Content-Security-Policy"] = policy(payment_hosts(current_app))
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if current_app.config["SETTINGS"].production:
        response.headers["Strict-Transport-Security"] = HSTS
    if is_personal():
        response.headers["Cache-Control"] = NO_STORE
    elif request.endpoint != "static":
        response.headers.setdefault("Cache-Control", REVALIDATE)
    return response


def policy(hosts: list[str]) -> str:
    """The Content-Security-Policy.

    :param hosts: payment hosts. Chromium drops a redirect after a form to any other host.
    """
    payment = " ".join(source for host in hosts for source in _sources(host))
    return (
        f"default-src 'none'; script-src 'self' {HTMX}; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'; frame-src 'self'; form-action 'self' {payment}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def _sources(host: str) -> tuple[str, ...]:
    if is_loopback(f"//{host}"):
        return (f"http://{host}",)
    return (f"https://{host}", f"https://*.{host}")


def is_personal() -> bool:
    """Whether the page is for one person. The polled fragment is not stored either, but it has an ETag."""
    if request.endpoint in ("static", "checkout.status"):
        return False
    return "_user_id" in session or request.endpoint in WITH_TOKEN
