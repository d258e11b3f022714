"""Counts lines of code without blanks, comments and docstrings: `python -m tests.unit.code_lines FILE…`"""

import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def breaches(files: Iterable[Path], found_in: Callable[[Path], Any]) -> dict[str, Any]:
    """What a rule finds in each file, by the file's name; files in which it finds nothing are left out."""
    return {str(path.relative_to(ROOT)): found for path in files if (found := found_in(path))}


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of all lines that are part of a docstring."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | Function) or not node.body:
            continue
        first = node.body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


@cache
def code_lines(path: Path) -> frozenset[int]:
    """Numbers of the lines that hold code."""
    source = path.read_text()
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return frozenset(lines - docstring_lines(ast.parse(source)))


def python_files(place: Path) -> list[Path]:
    """The file itself, or all Python files in a folder, without migrations."""
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [path for path in found if not {"migrations", "__pycache__"} & set(path.parts)]


def count(place: Path) -> int:
    return sum(len(code_lines(path)) for path in python_files(place))


def functions(path: Path) -> Iterator[tuple[Function, int]]:
    """Each function of a file, nested ones too, with its lines of code; the `def` and decorators count."""
    lines = code_lines(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node, len([n for n in lines if node.lineno <= n <= (node.end_lineno or node.lineno)])


if __name__ == "__main__":
    for name in sys.argv[1:] or ["storefront"]:
        for file in python_files(ROOT / name):
            print(f"{len(code_lines(file)):5} {file.relative_to(ROOT)}")
        print(f"{count(ROOT / name):5} {name} together")
