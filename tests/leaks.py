"""A listener that knows the secrets of every shop in the tests and hears every log record and every response.

Whatever a test is about, it fails when a secret gets out: keys, passwords, hashes, session keys, links.
"""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, appcontext_pushed, request, request_finished
from sqlalchemy import URL, event

TYPED = {"correct horse battery", "another horse battery", "a sentence to remember"}  # passwords of the tests
HASHES = {"pbkdf2:sha256:1$", "scrypt:32768:"}  # how password hashes begin


class Leaks(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.known = TYPED | HASHES
        self.known_to_their_owner: set[str] = set()  # shown on pages and in emails, never in a log
        self.heard: list[str] = []

    def learn_settings(self, app: Flask, **_: Any) -> None:
        """What the settings do not show is secret; of an address, the password."""
        settings = app.config.get("SETTINGS")
        for field in dataclasses.fields(settings) if settings else ():
            value = getattr(settings, field.name)
            if isinstance(value, URL):
                self._learn(str(value.password or ""))
            elif field.name == "flexprice_webhook_secret":
                for secret in value.split():
                    self._learn(secret)
            elif not field.repr:
                self._learn(
                    (urlsplit(value).password or "") if "://" in value else value.partition(": ")[2] or value
                )

    def learn_row(self, _mapper: Any, _connection: Any, row: Any) -> None:
        for column in ("password_hash", "session_key", "token_hash", "nonce"):
            self._learn(getattr(row, column, ""))

    def _learn(self, secret: str) -> None:
        if len(secret) > 8:
            self.known.add(secret)

    def learn_token(self, token: str) -> None:
        self.known_to_their_owner.add(token)

    def emit(self, record: logging.LogRecord) -> None:
        self.listen("the log", self.format(record), self.known | self.known_to_their_owner)

    def answered(self, app: Flask, response: Response, **_: Any) -> None:
        if "SETTINGS" in app.config and not response.is_streamed:
            body = "" if response.direct_passthrough else response.get_data().decode(errors="replace")
            self.listen(
                f"the answer to {request.method} {request.path}", f"{response.headers}{body}", self.known
            )

    def listen(self, where: str, text: str, secrets: set[str]) -> None:
        self.heard += [f"{where} contains {secret[:6]}…" for secret in secrets if secret in text]


@pytest.fixture(scope="session")
def all_leaks() -> Iterator[Leaks]:
    from storefront.accounts import service
    from storefront.models import PasswordReset, User

    leaks = Leaks()
    event.listen(User, "after_insert", leaks.learn_row)
    event.listen(User, "after_update", leaks.learn_row)
    event.listen(PasswordReset, "after_insert", leaks.learn_row)

    def learn_link(mapper: Any, connection: Any, reset: PasswordReset) -> None:
        leaks.learn_token(service.token_of(reset))

    event.listen(PasswordReset, "after_insert", learn_link)
    logging.getLogger().addHandler(leaks)
    with appcontext_pushed.connected_to(leaks.learn_settings), request_finished.connected_to(leaks.answered):
        yield leaks
    logging.getLogger().removeHandler(leaks)
    event.remove(User, "after_insert", leaks.learn_row)
    event.remove(User, "after_update", leaks.learn_row)
    event.remove(PasswordReset, "after_insert", leaks.learn_row)
    event.remove(PasswordReset, "after_insert", learn_link)


@pytest.fixture(autouse=True)
def leaks(all_leaks: Leaks) -> Iterator[Leaks]:
    yield all_leaks
    heard, all_leaks.heard = all_leaks.heard, []
    assert heard == []
