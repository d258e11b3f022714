"""Who is asking, under which name, over what: by what the connection says, or by what one proxy says."""

import re

import pytest

from storefront.models import Letter

HTTPS = {"STOREFRONT_URL": "https://shop.example", "PAYMENT_HOSTS": ""}
FORWARDED = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
}
ODD_NAMES = [
    "evil.example",
    "shop.example.evil.example",
    "shop.example@evil.example",
    "evil.example:80",
    "[::1",
    "a b",
]
ODD_NAMES += ["", "shop.example.", "xn--evil", "<script>", "shop.example/../evil", "shop.example:99999", "é"]


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Nothing here is about rows, so one engine is enough."""
    return sqlite_in(tmp_path)


@pytest.fixture
def shop(build):
    return lambda **changes: build(**HTTPS, **changes).test_client()


def ask(client, path="/sign-in", host="shop.example", method="GET", scheme="https", **more):
    headers = more.pop("headers", {}) | {"Host": host}
    return client.open(path, method=method, base_url=f"{scheme}://shop.example", headers=headers, **more)


# -- under which name -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop.example", "SHOP.example", "shop.example:443"])
def test_it_answers_under_its_own_name(shop, name):
    assert ask(shop(), host=name).status_code == 200


@pytest.mark.parametrize("name", ODD_NAMES)
def test_it_answers_under_no_other(shop, name):
    client = shop()
    for path in ("/", "/sign-in", "/account", "/static/shop.css", "/nowhere"):
        answer = ask(client, path, name)
        assert (path, answer.status_code) == (path, 400)
        assert "Location" not in answer.headers
        assert "evil" not in answer.text
    assert ask(client, "/sign-out", name, "POST").status_code == 400


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_demo_too_answers_on_this_machines_names_only(app, name):
    """A page elsewhere whose name is made to mean 127.0.0.1 learns nothing."""
    answer = app.test_client().get("/sign-in", base_url="http://127.0.0.1:8000", headers={"Host": name})
    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "10.0.0.7", "evil.example"])
def test_the_load_balancer_and_flexprice_may_use_any(shop, tell, name):
    client = shop()
    assert ask(client, "/healthz", name).status_code == 200
    assert ask(client, "/webhooks/flexprice", name, "POST").status_code == 401


def test_in_production_a_loopback_name_is_no_way_round(shop):
    answer = ask(shop(), host="127.0.0.1")
    assert (answer.status_code, answer.location) == (400, None)


# -- what one proxy says ------------------------------------------------------------------------------


def token(client, **more):
    return re.search(r'name="csrf_token"[^>]* value="([^"]+)"', ask(client, "/forgot-password", **more).text)[
        1
    ]


def test_nobody_is_believed_who_was_not_named(shop):
    client = shop()
    answer = ask(client, host="127.0.0.1:8000", headers=FORWARDED)
    assert answer.status_code == 400, "the name comes from the connection"
    for spoofed in (
        "X-Forwarded-Host",
        "Forwarded",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Prefix",
    ):
        plain, odd = ask(client, "/nowhere"), ask(client, "/nowhere", headers={spoofed: "evil.example"})
        assert (odd.status_code, odd.data) == (plain.status_code, plain.data)


def test_behind_one_proxy_name_and_scheme_are_its_word(shop):
    client = shop(TRUSTED_PROXIES="1")
    answer = ask(client, host="127.0.0.1:8000", scheme="http", headers=FORWARDED)
    assert answer.status_code == 200
    assert "Secure" in answer.headers["Set-Cookie"]


def test_what_a_visitor_wrote_before_the_proxy_is_not_its_word(shop):
    """The proxy appends; only the last word is its own."""
    client = shop(TRUSTED_PROXIES="1")
    said = FORWARDED | {"X-Forwarded-Host": "evil.example, shop.example"}
    assert ask(client, host="127.0.0.1:8000", scheme="http", headers=said).status_code == 200
    said = FORWARDED | {"X-Forwarded-Host": "shop.example, evil.example"}
    assert ask(client, host="127.0.0.1:8000", scheme="http", headers=said).status_code == 400


def guess(client, visitor, **more):
    """From one machine, as the proxy tells it."""
    headers = {"X-Forwarded-For": visitor, "X-Forwarded-Proto": "https", "Referer": "https://shop.example/"}
    fields = {"email": "asha@example.com", "password": "a guess, a guess"}
    fields["csrf_token"] = token(client, headers=headers)
    return ask(client, "/sign-in", method="POST", headers=headers, data=fields, **more).status_code


def test_tries_are_counted_by_the_visitor_and_not_by_the_proxy(shop):
    client = shop(TRUSTED_PROXIES="1", RATE_LIMITS="memory:")
    assert [guess(client, "198.51.100.7") for _ in range(11)] == [422] * 10 + [429]
    assert guess(client, "198.51.100.8") == 422
    assert guess(client, "198.51.100.8, 198.51.100.7") == 429, (
        "who writes another address before it is the same"
    )


def test_without_a_proxy_a_made_up_address_gives_no_more_tries(shop):
    client = shop(RATE_LIMITS="memory:")
    assert [guess(client, f"198.51.100.{n}") for n in range(11)] == [422] * 10 + [429]


def test_a_made_up_address_does_not_touch_the_session(shop):
    client = shop()
    token(client)
    before = client.get_cookie("__Host-storefront", "shop.example").value
    ask(client, headers=FORWARDED | {"User-Agent": "another"})
    assert client.get_cookie("__Host-storefront", "shop.example").value == before


def test_over_https_a_form_from_elsewhere_is_refused_even_with_the_token(shop):
    client = shop()
    fields = {"email": "asha@example.com", "csrf_token": token(client)}
    for referer, status in (
        ("https://shop.example/forgot-password", 303),
        ("https://evil.example/", 400),
        ("http://shop.example/", 400),
        (None, 400),
    ):
        headers = {"Referer": referer} if referer else {}
        answer = ask(client, "/forgot-password", method="POST", headers=headers, data=fields)
        assert (referer, answer.status_code) == (referer, status)


# -- links in letters ---------------------------------------------------------------------------------


def test_links_in_letters_come_from_the_setting_whoever_asks_under_whatever_name(build, enrol, app, rows):
    shop = build(TRUSTED_PROXIES="1")
    client = shop.test_client()
    enrol()
    form = client.get("/forgot-password", base_url="http://127.0.0.1:8000").text
    fields = {"email": "asha@example.com", "csrf_token": re.search(r'value="([^"]{20,})"', form)[1]}
    for said in (
        {},
        {"X-Forwarded-Host": "127.0.0.1:666"},
        {"X-Forwarded-Prefix": "/evil"},
        {"Host": "127.0.0.1:666"},
    ):
        answer = client.post("/forgot-password", base_url="http://127.0.0.1:8000", headers=said, data=fields)
        assert answer.status_code == 303
    letters = rows(Letter)
    assert len(letters) == 4
    for letter in letters:
        links = re.findall(r"https?://[^\s<\"]+", letter.body_text + letter.body_html)
        assert links
        assert all(
            link.startswith("http://127.0.0.1:8000/") or link == "http://127.0.0.1:8000" for link in links
        )
