"""Two people sign up with one address in the same moment: one is told that it is taken."""

from sqlalchemy import event, text

from storefront.extensions import db
from storefront.models import User


def test_of_two_with_one_address_one_succeeds(app, browser, flexprice, rows):
    heard = []

    def insert_another(_connection, _cursor, statement, *_):
        if statement.startswith("INSERT INTO users") and not heard:
            heard.append(statement)
            columns = "key, email, name, password_hash, session_key, is_operator, language, created_at"
            values = "'k', 'asha@example.com', 'Another', '-', 's', false, 'en', '2026-09-01 10:00:00'"
            with db.engine.begin() as another:
                another.execute(text(f"INSERT INTO users ({columns}) VALUES ({values})"))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", insert_another)
    fields = {"name": "Asha", "email": "asha@example.com", "password": "another horse battery"}
    answer = browser.post("/sign-up", **fields)
    event.remove(engine, "before_cursor_execute", insert_another)
    assert heard
    assert answer.status_code == 422
    assert [user.name for user in rows(User)] == ["Another"]
