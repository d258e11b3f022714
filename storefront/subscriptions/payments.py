"""Pay an open invoice by one live link, however often the button is pressed.

The truth is the invoice's payment status: it is asked first, always. Reading a pending payment settles it,
and in the moment of the provider's own event that booked it twice (docs/flexprice-contract.md#j5): so it is
read a minute after its customer came back, or when the button is pressed again.
"""

import logging
from datetime import timedelta

from ..checkout.context import PAGE_TIMEOUT_S, ask, backoff, checkout, commit, db_now
from ..checkout.orders import change, check_now
from ..flexprice import (
    InvalidRequest,
    Invoice,
    NoAnswer,
    NotFound,
    NotSent,
    Payment,
    UnreadableResponse,
)
from .context import WRITE_TIMEOUT_S, get_invoice, note
from .invoices import move, record_invoice, subscription_of
from .models import InvoiceMixin
from .states import PAID, Link, News
from .sync import settle_access

log = logging.getLogger(__name__)

ANSWER_IS_LOST = timedelta(seconds=40)  # longer than the call waits
QUIET_AFTER_RETURN = timedelta(seconds=60)
MONEY_IS_BOOKED_AFTER = timedelta(seconds=60)
FIRST_READ, LONGEST_GAP = timedelta(minutes=15), timedelta(hours=12)
SETTLED_BY = "Settled by"  # a note that needs nobody any more
WORDS_OF_A_DEAD_LINK = ("FAILED", "CANCELLED", "VOIDED")


def pay(row_id: int, return_url: str) -> str | None:
    """Where the customer can pay now; None: there is nothing to pay, or it is being looked into. Commits.

    :param return_url: of our page for this invoice; the number of the attempt is added to it.
    :raises FlexpriceError: Flexprice could not be asked; this request charged nobody.
    """
    told = read_invoice(row_id, timeout=PAGE_TIMEOUT_S)
    invoice = get_invoice(row_id)
    if not told.open or subscription_of(invoice).replaced_by:
        return None
    if invoice.link == Link.OPEN and not _just_returned(invoice):
        read_payment(row_id)
        invoice = get_invoice(row_id)
    lost = invoice.link == Link.REQUESTED and _answer_is_lost(invoice)
    if lost or (invoice.link in (Link.NONE, Link.FAILED) and _claim_attempt(invoice, return_url)):
        request_link(row_id, told)
    invoice = get_invoice(row_id)
    return invoice.payment_url if invoice.link == Link.OPEN and not _may_be_paid(invoice) else None


def _may_be_paid(invoice: InvoiceMixin) -> bool:
    """Money was seen, or the customer says so, or they have just come back: nobody is sent to pay."""
    return invoice.money_seen_at is not None or invoice.returned_paid or _just_returned(invoice)


def read_invoice(row_id: int, timeout: tuple[float, float] | None = None) -> Invoice:
    """Read it by its id and write it, with the access that follows. Commits.

    What a later read has written in between stays: an old answer would suspend somebody who has paid.
    """
    invoice = get_invoice(row_id)
    subscription_id, version = invoice.subscription_id, subscription_of(invoice).version
    told = ask(checkout().client.get_invoice, invoice.invoice_id, timeout=timeout)
    if told.subscription_id != subscription_id:
        raise UnreadableResponse("the invoice belongs to another subscription")
    subscription = subscription_of(get_invoice(row_id))
    if change(subscription, {"version": version + 1}, version=version):
        record_invoice(subscription, told)
        settle_access(subscription)
    else:
        check_now(subscription)
    commit()
    return told


def _just_returned(invoice: InvoiceMixin) -> bool:
    return invoice.returned_at is not None and db_now() - invoice.returned_at < QUIET_AFTER_RETURN


def _answer_is_lost(invoice: InvoiceMixin) -> bool:
    return invoice.requested_at is None or db_now() - invoice.requested_at > ANSWER_IS_LOST


def _claim_attempt(invoice: InvoiceMixin, return_url: str) -> bool:
    """True for the one caller who may ask for the next link. Commits."""
    now, number = db_now(), invoice.attempt + 1
    mine = move(
        invoice, News.REQUESTED, attempt=number, payment_key=f"{invoice.invoice_id[-40:]}:{number}",
        requested_at=now, next_attempt_at=now + ANSWER_IS_LOST, attempts=0,
        return_url=f"{return_url}/{number}",
        returned_at=None, returned_paid=False, payment_id=None, payment_url=None, provider_page=False,
    )  # fmt: skip
    commit()
    return mine


def request_link(row_id: int, told: Invoice) -> None:
    """Ask for the link of the current attempt; the same key gives the same payment. Commits.

    Without an answer nothing is known: the worker sends the same request with the same key.
    """
    invoice = get_invoice(row_id)
    key, return_url = invoice.payment_key or "", invoice.return_url or ""
    client = checkout().client
    try:
        payment = ask(client.create_payment_link, told, key, return_url, timeout=WRITE_TIMEOUT_S)
    except InvalidRequest as error:  # it was paid, voided, or less remains: no link was made
        log.warning("invoice %s: no link: %s", told.id, error)
        move(get_invoice(row_id), News.REFUSED, next_attempt_at=None)
        check_now(subscription_of(get_invoice(row_id)))
    except (NoAnswer, NotSent) as error:
        log.warning("invoice %s: no answer to its link: %s", told.id, error)
    else:
        record_payment(get_invoice(row_id), payment)
        commit()
        if payment.status == "INITIATED" and not payment.payment_url:
            _process(row_id, payment.id)
    commit()


def _process(row_id: int, payment_id: str) -> None:
    """Make the link of a payment that has none. A refusal says nothing of it: it is asked for again."""
    try:
        payment = ask(checkout().client.process_payment, payment_id, timeout=WRITE_TIMEOUT_S)
    except (InvalidRequest, NoAnswer, NotSent) as error:
        log.warning("payment %s: its link is not made yet: %s", payment_id, error)
        return
    record_payment(get_invoice(row_id), payment)


def record_payment(invoice: InvoiceMixin, payment: Payment) -> None:
    """What a payment says about its invoice's link. "Succeeded" alone settles nothing."""
    if payment.invoice_id != invoice.invoice_id:
        note(invoice, f"Payment {payment.id} names another invoice")
        return
    if payment.idempotency_key and payment.idempotency_key != invoice.payment_key:
        return  # of an earlier attempt: its link is dead
    now = db_now()
    change(invoice, {"payment_id": payment.id, "provider_page": payment.provider_id.startswith("inv_")})
    if payment.status in PAID:
        change(invoice, {"money_seen_at": invoice.money_seen_at or now, "next_attempt_at": now})
    elif payment.status in WORDS_OF_A_DEAD_LINK:
        claimed = invoice.returned_paid
        move(invoice, News.FAILED_BUT_CLAIMED if claimed else News.FAILED, next_attempt_at=None)
    elif payment.amount > invoice.remaining:  # a credit note came after the link
        move(invoice, News.ASKS_TOO_MUCH, next_attempt_at=None)
    elif payment.payment_url:
        move(
            invoice,
            News.LINKED,
            payment_url=payment.payment_url,
            attempts=0,
            next_attempt_at=now + FIRST_READ,
        )
    # else: the link is being made; the worker sends the same request again


def read_payment(row_id: int) -> None:
    """Ask the payment, after the invoice was found open. Commits."""
    invoice = get_invoice(row_id)
    if invoice.payment_id is None:
        return
    try:
        payment = ask(checkout().client.get_payment, invoice.payment_id, timeout=PAGE_TIMEOUT_S)
    except NotFound:
        note(get_invoice(row_id), "Flexprice no longer knows its payment")
    else:
        record_payment(get_invoice(row_id), payment)
    commit()
    if payment_settled(row_id):
        read_invoice(row_id)
    settle_access(subscription_of(get_invoice(row_id)))
    commit()


def payment_settled(row_id: int) -> bool:
    return get_invoice(row_id).money_seen_at is not None


def check_invoice(row_id: int) -> bool:
    """A turn of the worker for an invoice with a link: the invoice first, then its payment. Commits.

    :returns: whether nothing more is to be asked.
    """
    invoice = get_invoice(row_id)
    if invoice.link not in (Link.REQUESTED, Link.OPEN):
        change(invoice, {"next_attempt_at": None}, link=invoice.link)
        commit()
        return True
    told = read_invoice(row_id)
    invoice = get_invoice(row_id)
    if invoice.link == Link.REQUESTED and told.open:
        request_link(row_id, told)
    elif invoice.link == Link.REQUESTED:
        move(invoice, News.REFUSED, next_attempt_at=None)
        commit()
    elif invoice.link == Link.OPEN:
        _check_open(row_id)
    return get_invoice(row_id).link not in (Link.REQUESTED, Link.OPEN)


def _check_open(row_id: int) -> None:
    """The invoice is not paid, its link may be: read it; money that is not booked in time is for a person."""
    invoice = get_invoice(row_id)
    seen = invoice.money_seen_at
    if seen is None:
        read_payment(row_id)
    elif db_now() - seen > MONEY_IS_BOOKED_AFTER:
        move(invoice, News.MONEY_UNBOOKED, next_attempt_at=None)
        commit()


def next_gap(invoice: InvoiceMixin) -> timedelta:
    """How long until the worker looks again: doubling, and short while somebody waits."""
    if invoice.link == Link.REQUESTED:
        return backoff(invoice.attempts, timedelta(seconds=10), timedelta(hours=1))
    if invoice.money_seen_at:
        return MONEY_IS_BOOKED_AFTER + timedelta(seconds=1)
    first = QUIET_AFTER_RETURN if invoice.returned_at else FIRST_READ
    return backoff(invoice.attempts, first, LONGEST_GAP)


def note_return(invoice: InvoiceMixin, attempt: int, claims_paid: bool) -> None:
    """The customer came back: what the address claims chooses words, and grants nothing. Commits.

    :param attempt: by whose link; money that an earlier one took after it was found dead is booked nowhere.
    """
    if attempt != invoice.attempt:
        if claims_paid and 0 < attempt < invoice.attempt and not invoice.paid:
            move(invoice, News.FAILED_BUT_CLAIMED, next_attempt_at=None)
        commit()
        return
    if invoice.link == Link.OPEN and invoice.returned_at is None:
        now = db_now()
        values = {"returned_at": now, "attempts": 0, "next_attempt_at": now + QUIET_AFTER_RETURN}
        change(invoice, values, link=Link.OPEN, returned_at=None)
        check_now(subscription_of(invoice))  # the invoice may be paid already
    if claims_paid and not invoice.returned_paid:
        change(invoice, {"returned_paid": True})
        if invoice.link == Link.FAILED:
            move(invoice, News.FAILED_BUT_CLAIMED)
    commit()


def settle_by_hand(row_id: int, *, by: str) -> bool:
    """An operator has seen to the money of an invoice that was for a person. Does not commit."""
    invoice = get_invoice(row_id)
    settled = move(invoice, News.CLOSED, review_note=f"{SETTLED_BY} {by}", money_seen_at=db_now())
    if settled:
        settle_access(subscription_of(invoice))
    return settled
