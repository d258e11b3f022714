"""How often a door may be knocked at, by whom, and what is said to those who knock too often."""

import pytest

from storefront.models import Letter, Order, Shopper
from storefront.web import limits

WHO = {"name": "Asha Rao", "email": "asha@example.com", "password": "correct horse battery"}


@pytest.fixture
def database_url(sqlite_in, tmp_path):
    """Counting is done elsewhere, so one engine is enough."""
    return sqlite_in(tmp_path)


@pytest.fixture
def app(build):
    """The shop with its limits on; everywhere else in the tests they are off."""
    return build(RATE_LIMITS="memory:")


@pytest.fixture
def few(monkeypatch):
    """Fewer of one limit than a test could reach in a moment. Before the shop is built."""

    def change(endpoint, **rate):
        rates = tuple(old._replace(**rate) for old in limits.LIMITS[endpoint])
        monkeypatch.setitem(limits.LIMITS, endpoint, rates)

    return change


def turned_away(answer, at_most=15 * 60):
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= at_most
    assert "A little slower, please" in answer.text
    assert "No money has moved by this request." in answer.text
    return True


def test_guessing_at_one_account_ends_after_ten_tries(browser, enrol):
    enrol()
    for _ in range(10):
        assert browser.sign_in(password="a guess, a guess").status_code == 422
    assert turned_away(browser.sign_in(password="a guess, a guess"))
    assert turned_away(browser.sign_in()), "the right password must not tell that it is right"


def test_the_spelling_of_the_address_gives_no_more_guesses(browser, enrol):
    enrol()
    for number in range(10):
        spelled = "Asha@Example.com" if number % 2 else " asha@example.com "
        browser.sign_in(spelled, "a guess, a guess")
    assert turned_away(browser.sign_in("ASHA@EXAMPLE.COM", "a guess, a guess"))


def test_somebody_else_in_the_same_house_can_still_sign_in(browser, open_browser, enrol):
    enrol()
    enrol("ben@example.com", "cust_02")
    for _ in range(11):
        browser.sign_in(password="a guess, a guess")
    assert open_browser().sign_in("ben@example.com").status_code == 303


def test_signing_in_rightly_counts_for_nothing(browser, enrol):
    enrol()
    assert {browser.sign_in().status_code for _ in range(15)} == {303}


def test_one_machine_guesses_at_sixty_accounts_and_no_more(browser):
    for number in range(60):
        assert browser.sign_in(f"a{number}@example.com", "a guess, a guess").status_code == 422
    assert turned_away(browser.sign_in("one.more@example.com", "a guess, a guess"), 3600)


def from_address(browser, address, path, **fields):
    token = browser.token()
    return browser.raw_post(path, fields | {"csrf_token": token}, environ_overrides={"REMOTE_ADDR": address})


def test_many_machines_guess_fifty_times_at_one_account(browser, enrol):
    enrol()
    wrong = {"email": "asha@example.com", "password": "a guess, a guess"}
    for number in range(50):
        answer = from_address(browser, f"198.51.100.{number}", "/sign-in", **wrong)
        assert answer.status_code == 422
    assert turned_away(from_address(browser, "198.51.100.99", "/sign-in", **wrong), 3600)


def test_a_whole_network_of_ipv6_counts_as_one(browser, few, build):
    few("account.do_reset_password", most="3 per hour")
    visitor = type(browser)(build(RATE_LIMITS="memory:"))
    path, typed = "/reset-password/x", {"password": "a guess, a guess"}
    answers = [from_address(visitor, f"2001:db8::{n}", path, **typed) for n in range(1, 5)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert from_address(visitor, "2001:db8:0:1::1", path, **typed).status_code == 404


def test_accounts_are_not_made_by_the_hundred(browser, vendor, rows):
    vendor.answers("POST", "/customers", {"id": "cust_01", "external_id": "x"}, 201)
    for number in range(20):
        assert browser.post("/sign-up", **(WHO | {"email": f"a{number}@example.com"})).status_code == 303
    assert turned_away(browser.post("/sign-up", **WHO), 3600)
    assert len(rows(Shopper)) == 20


@pytest.mark.parametrize("known", [True, False])
def test_nobodys_letter_box_is_filled_and_nobody_learns_of_an_account(browser, enrol, rows, known):
    if known:
        enrol()
    for _ in range(3):
        assert browser.post("/forgot-password", email="asha@example.com").status_code == 303
    assert turned_away(browser.post("/forgot-password", email="asha@example.com"), 3600)
    assert len(rows(Letter)) == (3 if known else 0)


def test_checkouts_are_not_started_by_the_hundred(asha, rows, vendor, samples):
    vendor.sells(samples.plan(samples.price()))
    form = {"plan": "nothing", "currency": "inr", "billing_period": "MONTHLY"}
    assert {asha.post("/checkout", **form).status_code for _ in range(20)} == {404}
    assert turned_away(asha.post("/checkout", **form), 60)
    assert rows(Order) == []


def test_a_page_that_polls_by_the_ladder_in_six_tabs_is_never_turned_away(asha, order_of):
    ref = order_of()
    looks_in_the_first_minute = 9
    answers = [asha.get(f"/orders/{ref}/status") for _ in range(6 * looks_in_the_first_minute)]
    assert {answer.status_code for answer in answers} == {200}


def test_guessing_at_orders_ends_and_the_shopper_beside_is_not_touched(asha, enrol, open_browser, order_of):
    enrol("ben@example.com", "cust_02")
    ref = order_of(2)
    for number in range(120):
        door = ("success", "failure", "status")[number % 3]
        assert asha.get(f"/orders/{number:032x}/{door}").status_code == 404
    assert turned_away(asha.get(f"/orders/{ref}/status"), 60)
    ben = open_browser()
    ben.sign_in("ben@example.com")
    assert ben.get(f"/orders/{ref}/status").status_code == 200


def test_a_refusal_is_no_fragment_so_the_page_keeps_what_it_shows(asha):
    for _ in range(120):
        asha.get("/orders/x/status", headers={"HX-Request": "true"})
    answer = asha.get("/orders/x/status", headers={"HX-Request": "true"})
    assert turned_away(answer, 60)
    assert 'id="order-status"' not in answer.text
    assert "HX-Redirect" not in answer.headers


def test_webhooks_are_never_turned_away(tell, news, sign):
    for number in range(300):
        assert tell(news(), message_id=f"msg_{number}").status_code == 204
        assert tell(b"{}", {}).status_code == 401
    assert "webhooks.receive" not in limits.LIMITS


@pytest.mark.parametrize("endpoint", limits.LIMITS)
def test_the_table_names_doors_that_are_there(app, endpoint):
    assert endpoint in app.view_functions


def test_every_door_that_takes_a_password_or_starts_a_payment_is_in_the_table(app):
    posts = {rule.endpoint for rule in app.url_map.iter_rules() if "POST" in rule.methods}
    shoppers_own = {name for name in posts if name.partition(".")[0] in ("account", "checkout", "orders")}
    assert shoppers_own - set(limits.LIMITS) == {"account.sign_out"}


def test_neither_address_nor_session_is_in_a_key_or_a_log(browser, enrol, caplog):
    caplog.set_level("DEBUG")
    enrol()
    for _ in range(11):
        browser.sign_in(password="a guess, a guess")
    assert "exceeded" in caplog.text
    assert "asha" not in caplog.text.lower()


def test_off_means_off(build, open_browser):
    shop = build(RATE_LIMITS="off")
    browser = type(open_browser())(shop)
    answers = [browser.sign_in("x@example.com", "a guess, a guess").status_code for _ in range(12)]
    assert set(answers) == {422}


def test_a_store_that_is_down_turns_nobody_away_and_each_process_counts_for_itself(build, open_browser):
    shop = build(RATE_LIMITS="redis://127.0.0.1:1/0")
    browser = type(open_browser())(shop)
    answers = [browser.sign_in("x@example.com", "a guess, a guess").status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_two_shops_do_not_count_together(build, open_browser):
    one, other = (type(open_browser())(build(RATE_LIMITS="memory:")) for _ in range(2))
    for _ in range(11):
        one.sign_in("x@example.com", "a guess, a guess")
    assert other.sign_in("x@example.com", "a guess, a guess").status_code == 422
