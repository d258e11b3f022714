"""How the shop connects to PostgreSQL: every wait is bounded, poolers work, and UTF-8 is required."""

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import URL

READ_TIMEOUT_S = 5.0  # for an answer of the server: `statement_timeout` does not help when the server hangs
# Parameters of the connection; the same names in DATABASE_URL win. Without prepared statements poolers work.
PARAMETERS = {
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "prepare_threshold": None,
    "client_encoding": "utf8",
}
# A statement, because PgBouncer and Neon refuse the connection parameter `options`.
SESSION = (
    "SELECT set_config('lock_timeout', '1s', false),"
    " set_config('idle_in_transaction_session_timeout', '30s', false)"
)


class BoundedConnection(psycopg.Connection[Any]):
    """Closes when the server does not answer in time, so that a frozen server blocks no thread for long.

    Its errors repeat no values, since they are logged.
    """

    read_timeout_s = READ_TIMEOUT_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, self.read_timeout_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.read_timeout_s:g} s") from None
        except psycopg.Error as error:
            # DETAIL and CONTEXT repeat the row: addresses, password hashes, session keys.
            error.args = (error.diag.message_primary,) if error.diag.message_primary else error.args
            raise


class NotUtf8(psycopg.OperationalError):
    """The database has another encoding: some names could not be stored."""


def connect_args(url: URL) -> dict[str, Any]:
    return {name: value for name, value in PARAMETERS.items() if name not in url.query}


def connect(_dialect: Any, _record: Any, args: list[Any], parameters: dict[str, Any]) -> Any:
    """For SQLAlchemy's event `do_connect`.

    :raises NotUtf8: the database is not in UTF-8.
    """
    connection = BoundedConnection.connect(*args, **parameters)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):  # a pooler may not say
        connection.close()
        raise NotUtf8(
            f"the database is in {encoding}, but must be in UTF8. Create a new one with that encoding."
        )
    connection.autocommit = True
    connection.execute(SESSION)
    connection.autocommit = False
    return connection
