"""One way to write money: with the decimals that are charged."""

from decimal import Decimal

from babel import Locale
from babel.numbers import format_currency

from storefront.checkout.offers import NOT_HUNDREDTHS


def format_money(amount: Decimal, currency: str, locale: Locale | str) -> str:
    """Write an amount with its currency.

    Flexprice charges two decimals (docs/flexprice-contract.md, B.6), also where the Unicode tables that
    Babel reads leave them out: RSD 499.50 is no RSD 500. The currencies without hundredths are not sold.

    :param amount: in major units.
    """
    standard_digits = currency.lower() in NOT_HUNDREDTHS
    return format_currency(amount, currency.upper(), locale=locale, currency_digits=standard_digits)
