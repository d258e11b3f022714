"""What a store is filled with when it is made or reset."""

from ..store.database import Session


def fill(session: Session, seed: str) -> None:
    """:param seed: `demo`, or nothing."""
