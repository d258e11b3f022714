"""Changes of quantity."""

from ..store.database import Session
from ..store.rows import CheckoutSession


def apply_paid_change(session: Session, checkout: CheckoutSession) -> None:
    """Applies `checkout.change` once its checkout session is paid."""
