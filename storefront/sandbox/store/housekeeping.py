"""Removes stores that are no longer used."""

import time

from sqlalchemy import select

from .control_rows import StoreState
from .database import Database, empty_store

MAX_STORES = 1000
UNUSED_AFTER_S = 24 * 3600.0


def remove_unused(database: Database, *, keep: str, room_for: int = 0) -> int:
    """Removes stores unused for a day, and the longest unused beyond 1,000; says how many.

    :param keep: the store that stays in any case.
    :param room_for: how many stores are about to be made.
    """
    query = select(StoreState.store, StoreState.used_at).where(StoreState.store != keep)
    with database.engine.connect() as connection:
        stores = connection.execute(query.order_by(StoreState.used_at.desc())).all()
    oldest = time.time() - UNUSED_AFTER_S
    others = MAX_STORES - 1 - room_for
    unused = [name for place, (name, used) in enumerate(stores) if used < oldest or place >= others]
    for name in unused:
        with database.write(name) as session:
            empty_store(session, keep_state=False)
        database.forget(name)
    return len(unused)
