"""Protection of the checkout's own pages: forms only from this site, payment links only to payment hosts."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, request, url_for

PAYMENT_HOSTS = ("razorpay.com", "rzp.io")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def words(value: object) -> list[str]:
    """A setting that is a list, or text with spaces or commas between the words."""
    return value.replace(",", " ").split() if isinstance(value, str) else [str(word) for word in value or ()]  # type: ignore[attr-defined]


def payment_hosts(app: Flask) -> list[str]:
    """Hosts a customer may be sent to, with their subdomains: Razorpay's, and CHECKOUT_PAYMENT_HOSTS."""
    return [*PAYMENT_HOSTS, *words(app.config.get("CHECKOUT_PAYMENT_HOSTS"))]


def host_of(url: str | None) -> str:
    """Host and port of an address that a header gives; empty when it cannot be read."""
    try:
        return urlsplit(url or "").netloc
    except ValueError:
        return ""


def is_payment_url(url: str | None) -> bool:
    """Whether a customer may be sent there: https and a payment host, or http to one on this machine."""
    if not url or any(character in url for character in "\\\r\n\t @"):
        return False
    try:
        parts = urlsplit(url)
        where, local = parts.netloc.lower(), parts.hostname in LOOPBACK
    except ValueError:
        return False
    hosts = [host.lower() for host in payment_hosts(current_app)]
    if local:
        return where in hosts and parts.scheme in ("http", "https")
    return parts.scheme == "https" and any(where == host or where.endswith(f".{host}") for host in hosts)


def return_url(ref: str) -> str:
    """The order's address without /success or /failure, as the payment page leads back to it."""
    return base_url() + url_for("checkout.success", ref=ref).removesuffix("/success")


def base_url() -> str:
    """Scheme and host of this request where CHECKOUT_ALLOWED_HOSTS names its host, else CHECKOUT_BASE_URL."""
    config, base = current_app.config, f"{request.scheme}://{request.host}"
    if config.get("CHECKOUT_BASE_URL") and request.host not in words(config.get("CHECKOUT_ALLOWED_HOSTS")):
        base = str(config["CHECKOUT_BASE_URL"]).rstrip("/")
    return base


def check_origin() -> None:
    """Refuse a form of another site. Runs before each POST of the blueprint but the webhook."""
    if request.method == "POST" and request.endpoint != "checkout.webhook" and not _is_own_form():
        abort(403)


def _is_own_form() -> bool:
    fetch_site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if fetch_site:
        return fetch_site == "same-origin"
    if origin:
        return host_of(origin) in {request.host, host_of(current_app.config.get("CHECKOUT_BASE_URL"))} - {""}
    if "Cookie" not in request.headers:
        return True  # nobody is signed in: no one's rights can be used
    if "csrf" not in current_app.extensions:
        return False
    # No header tells where the form came from: then a valid token of Flask-WTF does, if your app has it.
    from flask_wtf.csrf import ValidationError, validate_csrf

    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError:
        return False
    return True


def exempt_webhook(app: Flask, **_: object) -> None:
    """CSRFProtect may be initialised before or after the checkout: exempt the webhook at each request."""
    if csrf := app.extensions.get("csrf"):
        csrf.exempt(app.view_functions["checkout.webhook"])


def secure_headers(response: Response) -> Response:
    """For the checkout's own pages. A header that your app sets afterwards wins."""
    sources = ["'self'"]  # Chromium holds the 303 to the payment page to them
    for host in payment_hosts(current_app):
        local = urlsplit(f"//{host}").hostname in LOOPBACK
        sources += [f"http://{host}"] if local else [f"https://{host}", f"https://*.{host}"]
    policy = f"form-action {' '.join(sources)}; frame-ancestors 'none'; base-uri 'self'"
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("Referrer-Policy", "same-origin")  # order addresses stay here
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    response.vary.add("Cookie")
    if request.endpoint == "checkout.status" and response.status_code == 200:
        response.add_etag()
        response.make_conditional(request)
    return response
