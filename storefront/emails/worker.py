"""The emails' own loop: a slow mail server must not delay a sale."""

import logging
import threading
from email.message import EmailMessage

from storefront.checkout import worker
from storefront.checkout.context import db_now, rollback
from storefront.emails import mailbox, outbox, smtp
from storefront.emails.models import Email
from storefront.emails.rendering import render
from storefront.extensions import db, settings

log = logging.getLogger(__name__)


def run_once(limit: int = 100) -> int:
    """Send what is due, at most `limit` emails.

    :returns: how many were taken up.
    """
    done = 0
    while done < limit and (claimed := worker.claim_due(Email)):
        process(claimed[0])
        done += 1
    return done


def run_forever(stop: threading.Event) -> None:
    """Send until `stop` is set. No exception ends the loop."""
    worker.run_forever(stop, run_once)


def process(email_id: int) -> None:
    """Send one email that this worker has claimed, and write down what came of it. Commits."""
    try:
        email = db.session.get_one(Email, email_id, populate_existing=True)
        if email.expires_at <= db_now():
            outbox.give_up(email, email.error or "expired before it could be sent")
        else:
            deliver(email)
            outbox.mark_sent(email)
            log.info("Email %s (%s) sent", email_id, email.kind)
    except smtp.PermanentFailure as failure:
        log.warning("Email %s is given up: %s", email_id, failure)
        outbox.give_up(db.session.get_one(Email, email_id), str(failure))
    except Exception as error:
        rollback()
        log.warning("Email %s could not be sent: %s", email_id, type(error).__name__)
        outbox.retry_later(db.session.get_one(Email, email_id), type(error).__name__)
    db.session.commit()


def deliver(email: Email) -> None:
    """Render and send; with MAIL_URL=keep: there is nobody to send it to, and /emails shows it."""
    rendered = render(email)
    if settings().mail_url == "keep:":
        return
    message = smtp.compose(
        sender=settings().mail_from,
        sender_name=settings().shop_name,
        recipient=email.to,
        message_key=email.message_key,
        **rendered._asdict(),
    )
    db.session.commit()  # no transaction stays open while the mail server is waited for
    send(message)


def send(message: EmailMessage) -> None:
    """To the mail server, or into the sandbox's mailbox. Raises as both do."""
    shop = settings()
    if shop.mail_url == "sandbox:":
        mailbox.put(message, mailbox.address(shop.flexprice_api_url))
    else:
        smtp.send(message, shop.mail_url)


def send_test_email(recipient: str) -> None:
    """Send a test email at once, for the person who sets up the shop. Raises as `smtp.send` does."""
    shop = settings()
    message = smtp.compose(
        sender=shop.mail_from,
        sender_name=shop.shop_name,
        recipient=recipient,
        subject=f"Test email from {shop.shop_name}",
        text=f"The shop at {shop.storefront_url} can send email.\n",
        html=None,
        message_key=f"test-{db_now():%Y%m%d%H%M%S%f}",
    )
    send(message)
