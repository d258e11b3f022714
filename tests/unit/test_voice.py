"""What a person reads is written in standard terms: each banned word has one that can be searched for."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.code_lines import ROOT, breaches

SUFFIXES = {
    ".py",
    ".html",
    ".txt",
    ".md",
    ".js",
    ".css",
    ".yml",
    ".yaml",
    ".toml",
    ".example",
    ".cfg",
    ".conf",
    "",
}
FOLDERS = ("storefront", "templates", "static", "docs", "tests", ".ci", "compose")
SKIPPED_FOLDERS = {"recordings", "__pycache__", "node_modules", "artifacts", "vendor"}
SKIPPED = {ROOT / "docs/flexprice-contract.md", ROOT / "LICENSE", Path(__file__)}

BANNED = {
    "doorman": "webhook verification, authentication",
    "aftercare": "reconciliation",
    "lifesigns": "heartbeat",
    "life signs": "heartbeat",
    "tallies": "metrics, counters",
    "goods": "access, entitlement",
    "anew": "again",
    "meanwhile": "name the time: before the answer, while the call runs",
    "whoever": "name the subject",
    "shall": "must, will",
    "lever": "control, setting",
    "levers": "controls, settings",
    "shelf": "catalog",
    "shelves": "catalog",
    "laid aside": "set aside",
    "at a press": "with a click",
    "so many": "a number",
    "look after": "handle, check",
    "looks after": "handles, checks",
    "by the handful": "in batches",
    "guest": "extension",
    "guests": "extensions",
    "house": "your app, the project",
    "rooms": "packages",
}
# "letter" is an email here, except where it is a character of the alphabet.
LETTER = re.compile(
    r"(?<!ascii_)(?<!capital )(?<!case )(?<!Unicode )(?<![a-z])letters?(?![a-z]|-spacing| case| and | or )",
    re.IGNORECASE,
)
PATTERN = re.compile(
    "|".join(rf"(?<![a-z]){word.replace(' ', '[ _]')}(?![a-z])" for word in BANNED), re.IGNORECASE
)


def texts() -> Iterator[Path]:
    """Every file of ours that a person reads."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES and not SKIPPED_FOLDERS & set(path.parts):
                yield path
    yield from sorted(p for p in ROOT.iterdir() if p.is_file() and p.suffix in SUFFIXES and p.name != ".git")


def findings(text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in (*PATTERN.finditer(line), *LETTER.finditer(line)):
            word = match[0].lower().replace("_", " ")
            found.append(f"{number}: {word!r} -> {BANNED.get(word, 'email')}: {line.strip()[:80]}")
    return found


def test_only_standard_terms() -> None:
    files = [path for path in texts() if path not in SKIPPED]
    assert breaches(files, lambda path: findings(path.read_text(errors="replace"))) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The goods are sent", 1),
        ("def look_after(order):", 1),
        ("a letter with a link", 1),
        ("letter-spacing: 0; capital letters, letters and digits", 0),
        ("marshall the warehouse of never", 0),
    ],
)
def test_words_are_found_in_sentences_and_names(text: str, words: int) -> None:
    assert len(findings(text)) == words
