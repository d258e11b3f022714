"""Signals of the accounts (blinker); the sender is the Flask app."""

from blinker import Namespace

# user, reset: sent inside the transaction that stores the reset; receivers add rows and call nobody.
password_reset_requested = Namespace().signal("password-reset-requested")
