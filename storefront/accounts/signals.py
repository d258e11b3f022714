"""Signals of the accounts (blinker); the sender is the Flask app."""

from blinker import Namespace

# user, reset: sent inside the transaction that stores the reset; receivers add rows and call nobody.
password_reset_requested = Namespace().signal("password-reset-requested")

# user, change: sent inside the transaction that stores the change of address.
email_change_requested = Namespace().signal("email-change-requested")

# user, old_email: sent inside the transaction that changes the address.
email_changed = Namespace().signal("email-changed")

# user, fact, about, details: news of a plan or an invoice, once for each `about`; details are texts. Sent
# inside the transaction that stores it; receivers add rows and call nobody.
billing_news = Namespace().signal("billing-news")

# user: sent inside the transaction that removes name and address; receivers remove what they keep of both.
account_deleted = Namespace().signal("account-deleted")
