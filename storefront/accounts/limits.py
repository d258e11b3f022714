"""How often the forms of the accounts may be sent. Keys are fingerprints: they are stored and logged."""

import hashlib

from flask import Response, request
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from storefront.accounts.service import normalize_email
from storefront.extensions import client_network, limiter


def account() -> str:
    """The account that is named, by the spelling under which its row is found; it need not exist."""
    email = normalize_email(request.form.get("email", "").strip())
    return hashlib.sha256(email.encode()).hexdigest()[:16]


def account_from_here() -> str:
    return f"{account()} {client_network()}"


def signed_in() -> str:
    """The user; their network before a sign-in."""
    try:
        return str(current_user.id) if current_user.is_authenticated else client_network()
    except SQLAlchemyError:  # the page answers 503; Flask-Limiter would give up the store of its counts
        return client_network()


def refused(response: Response) -> bool:
    """Count mistakes only."""
    return response.status_code == 422


def done(response: Response) -> bool:
    """Count what succeeded only: mistakes in a form must not lock out a whole network."""
    return response.status_code == 303


one_person_guesses = limiter.limit("10 per 15 minutes", key_func=account_from_here, deduct_when=refused)
many_guess_at_one_account = limiter.limit("50 per hour", key_func=account, deduct_when=refused)
one_guesses_at_many_accounts = limiter.limit("60 per hour", key_func=client_network, deduct_when=refused)
sign_ups = limiter.limit("20 per hour", key_func=client_network, deduct_when=done)
sign_up_mistakes = limiter.limit("120 per hour", key_func=client_network, deduct_when=refused)
reset_emails = limiter.limit("3 per hour", key_func=account)
reset_requests = limiter.limit("20 per hour", key_func=client_network)
own_password_guesses = limiter.limit("10 per 15 minutes", key_func=signed_in, deduct_when=refused)
email_changes = limiter.limit("5 per hour", key_func=signed_in, deduct_when=done)
new_passwords = limiter.limit("20 per hour", key_func=client_network)
