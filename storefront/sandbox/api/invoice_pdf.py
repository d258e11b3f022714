"""An invoice as a PDF, with the fonts of this machine where a text needs more than Latin characters."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .serializers.common import Body

AMOUNTS = (
    ("Subtotal", "subtotal"),
    ("Discount", "total_discount"),
    ("Tax", "total_tax"),
    ("Total", "total"),
    ("Due", "amount_remaining"),
)
FONT_FOLDERS = (
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts"),
    *("/Library/Fonts", "/System/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts"),
)
STYLES = ("Bold", "Oblique", "Italic", "Mono")
MOST_FONTS = 400  # how many files are looked into
LATIN = "latin-1"  # what the built-in font has


def is_possible() -> bool:
    """Whether fpdf2 is installed: the extra `pdf` of the wheel."""
    return find_spec("fpdf") is not None


def render(invoice: Body) -> bytes:
    """One page: number, parties, lines, totals.

    :param invoice: as a GET shows it, with its customer and lines.
    """
    from fpdf import FPDF

    texts = _texts(invoice)
    pdf = FPDF()
    pdf.add_page()
    known = _use_fonts(pdf, "".join(texts))
    for number, text in enumerate(texts):
        pdf.set_font_size(10 if number else 16)
        shown = "".join(one if one in known else "?" for one in text)
        pdf.cell(text=shown, new_x="LMARGIN", new_y="NEXT", h=6 if number else 10)
    return bytes(pdf.output())


def _texts(invoice: Body) -> list[str]:
    currency, customer = invoice["currency"].upper(), invoice.get("customer", {})
    found = [f"Invoice {invoice['invoice_number'] or '(draft)'}"]
    found += [
        f"{customer.get('name', '')} {customer.get('email', '')}",
        f"Status: {invoice['payment_status']}",
    ]
    for line in invoice.get("line_items", []):
        found.append(f"{line['quantity']} x {line['display_name']}: {line['amount']} {currency}")
    return found + [f"{label}: {invoice[name]} {currency}" for label, name in AMOUNTS]


def _use_fonts(pdf: Any, text: str) -> set[str]:
    """Sets fonts that have these characters, the built-in one if it is enough; gives back what they have."""
    pdf.set_font("helvetica")
    latin = set(bytes(range(256)).decode(LATIN))
    wanted, known, names = set(text), set[str](), list[str]()
    for path in () if wanted <= latin else _fonts():
        found = wanted & _characters(path)
        if found - known:
            names.append(f"font{len(names)}")
            pdf.add_font(names[-1], fname=path)
            known |= found
        if known == wanted:
            break
    if not names:
        return latin
    pdf.set_font(names[0])
    pdf.set_fallback_fonts(names[1:], exact_match=False)
    return known


def _fonts() -> list[Path]:
    """TrueType and OpenType files, regular ones first."""
    folders = [Path(place).expanduser() for place in FONT_FOLDERS]
    found = [path for folder in folders for path in sorted(folder.rglob("*.[to]tf"))]
    return sorted(found, key=lambda path: any(style in path.stem for style in STYLES))[:MOST_FONTS]


def _characters(path: Path) -> set[str]:
    """What a font has; nothing if it cannot be read."""
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]  # comes with fpdf2

    try:
        with TTFont(path, lazy=True) as font:
            return {chr(code) for code in font.getBestCmap() or {}}
    except (OSError, TTLibError):
        return set()
