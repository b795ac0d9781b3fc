"""Pieces of a model card in Markdown."""

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """A value that stays within its cell of a table."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [head, rule, *([cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def numbered(lines: Iterable[str]) -> str:
    """A list whose order counts."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
