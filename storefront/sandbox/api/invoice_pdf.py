"""An invoice as a PDF."""

from importlib.util import find_spec

from .serializers.common import Body

AMOUNTS = (
    ("Subtotal", "subtotal"),
    ("Discount", "total_discount"),
    ("Tax", "total_tax"),
    ("Total", "total"),
    ("Due", "amount_remaining"),
)
LATIN = "latin-1"  # what the built-in fonts have; see `_plain`


def is_possible() -> bool:
    """Whether fpdf2 is installed: the extra `pdf` of the wheel."""
    return find_spec("fpdf") is not None


def render(invoice: Body) -> bytes:
    """One page: number, parties, lines, totals.

    :param invoice: as a GET shows it, with its customer and lines.
    """
    from fpdf import FPDF

    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=16)
    title = f"Invoice {invoice['invoice_number'] or '(draft)'}"
    pdf.cell(text=_plain(title), new_x="LMARGIN", new_y="NEXT", h=10)
    pdf.set_font("helvetica", size=10)
    for text in _lines(invoice):
        pdf.cell(text=_plain(text), new_x="LMARGIN", new_y="NEXT", h=6)
    return bytes(pdf.output())


def _lines(invoice: Body) -> list[str]:
    currency, customer = invoice["currency"].upper(), invoice.get("customer", {})
    found = [
        f"{customer.get('name', '')} {customer.get('email', '')}",
        f"Status: {invoice['payment_status']}",
    ]
    for line in invoice.get("line_items", []):
        found.append(f"{line['quantity']} x {line['display_name']}: {line['amount']} {currency}")
    return found + [f"{label}: {invoice[name]} {currency}" for label, name in AMOUNTS]


def _plain(text: str) -> str:
    return text.encode(LATIN, "replace").decode(LATIN)
