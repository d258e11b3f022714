"""What every answer tells the browser: what it may load, whom it may tell, what it may keep."""

from flask import Flask, Response, request, session

from storefront.settings import Settings, is_loopback

HTMX = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"

HEADERS = {
    "Referrer-Policy": "same-origin",  # neither the CDN nor the payment page learns an order's address
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
REVALIDATE = "private, no-cache"
FORGET = "private, no-store"  # after a sign-out the Back button must not bring it up again


def init_app(app: Flask) -> None:
    shop: Settings = app.config["SETTINGS"]
    headers = HEADERS | {"Content-Security-Policy": policy(shop.payment_hosts)}
    if shop.production:
        headers["Strict-Transport-Security"] = "max-age=31536000"

    always = [(name.lower(), name, value) for name, value in headers.items()]

    @app.after_request
    def add(response: Response) -> Response:
        said = {name.lower() for name in response.headers.keys()}  # noqa: SIM118 - pairs, otherwise
        for lower, name, value in always:
            if lower not in said:
                response.headers.add(name, value)
        if request.endpoint != "static" and "cache-control" not in said:
            response.headers.add("Cache-Control", FORGET if is_personal() else REVALIDATE)
        return response


def policy(payment_hosts: tuple[str, ...]) -> str:
    payment = " ".join(origin for host in payment_hosts for origin in _origins(host))
    return (
        f"default-src 'none'; script-src 'self' {HTMX}; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self'; form-action 'self' {payment}; base-uri 'none'; frame-ancestors 'none'"
    )


def _origins(host: str) -> tuple[str, ...]:
    """Chromium drops the 303 after a POST to a host that form-action does not list (decision 16)."""
    if is_loopback(f"//{host}"):
        return (f"http://{host}",)
    return (f"https://{host}", f"https://*.{host}")


def is_personal() -> bool:
    """A page for one person. Not the polled fragment: an unchanged one is answered 304 (decision 14)."""
    if request.endpoint == "orders.status":
        return False
    return "_user_id" in session or request.endpoint == "account.reset_password"
