"""A name and a GSTIN for invoices, kept as metadata of the Flexprice customer.

The shop stores no copy. Other metadata, such as Razorpay's customer id, is kept as it is.
"""

import logging
import re
from string import ascii_uppercase, digits
from typing import NamedTuple

from storefront.checkout import Customer
from storefront.checkout.context import PAGE_TIMEOUT_S, ask
from storefront.extensions import checkout
from storefront.flexprice import CustomerNotFound, FlexpriceError

log = logging.getLogger(__name__)

# Two digits of the state, the ten characters of the PAN, a number, Z, and a check character.
GSTIN = re.compile(r"[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]")
ALPHABET = digits + ascii_uppercase


class BillingDetails(NamedTuple):
    name: str
    gstin: str = ""


def read(customer: Customer) -> BillingDetails:
    """What Flexprice knows; the account's name where it knows nothing, or cannot be asked now."""
    try:
        known = ask(
            checkout.client.get_customer_by_external_id, customer.key, timeout=PAGE_TIMEOUT_S
        ).metadata
    except FlexpriceError as error:
        log.info("The billing details of %s cannot be read: %s", customer.key, error)
        known = {}
    return BillingDetails(known.get("billing_name") or customer.name, known.get("gstin", ""))


def save(customer: Customer, details: BillingDetails) -> None:
    """Read the customer's metadata, merge the details and write it.

    :raises FlexpriceError: Flexprice could not be asked.
    """
    wanted = {"billing_name": details.name, "gstin": details.gstin}
    try:
        known = ask(
            checkout.client.get_customer_by_external_id, customer.key, timeout=PAGE_TIMEOUT_S
        ).metadata
    except CustomerNotFound:
        ask(
            checkout.client.create_customer,
            customer.key,
            customer.name,
            customer.email,
            metadata=wanted,
            timeout=PAGE_TIMEOUT_S,
        )
        return
    metadata = {**known, **wanted}
    ask(checkout.client.update_customer, customer.key, metadata=metadata, timeout=PAGE_TIMEOUT_S)


def is_gstin(text: str) -> bool:
    """Whether it has the form of a GSTIN, with the right check character."""
    if not GSTIN.fullmatch(text):
        return False
    products = [ALPHABET.index(char) * (1 + place % 2) for place, char in enumerate(text[:14])]
    total = sum(product // 36 + product % 36 for product in products)
    return text[14] == ALPHABET[-total % 36]
