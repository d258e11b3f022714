"""Amounts, rounded as Flexprice rounds them."""

from decimal import ROUND_HALF_UP, Decimal

# Decimals of a currency as Flexprice's own table has them; the others have two.
DECIMALS = {"jpy": 0, "krw": 0, "vnd": 0, "clp": 0, "kwd": 3, "bhd": 3, "omr": 3, "jod": 3, "tnd": 3}
SYMBOLS = {"inr": "₹", "usd": "$", "eur": "€", "gbp": "£", "jpy": "¥", "kwd": "KD"}


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Half away from zero, to the currency's decimals: a line of an invoice."""
    places = DECIMALS.get(currency.lower(), 2)
    return amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def minor_units(amount: Decimal) -> int:
    """What Razorpay is asked for: times 100 in every currency."""
    return int((amount * 100).to_integral_value(rounding=ROUND_HALF_UP))
