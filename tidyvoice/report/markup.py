"""Pieces of HTML. What is passed as markup is HTML already; what is passed as text is escaped."""

import base64
from collections.abc import Collection, Sequence
from html import escape

from tidyvoice.report.drawing import Picture


def section(name: str, title: str, markup: str) -> str:
    """A section with a heading, and an id that links lead to."""
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{markup}\n</section>'


def absent(text: str) -> str:
    """Says what is missing, and why."""
    return f'<p class="absent">{escape(text)}</p>'


def note(markup: str) -> str:
    """A remark below a table or figure."""
    return f'<p class="note">{markup}</p>'


def scroll(markup: str, label: str) -> str:
    """What may be wider than the page; focusable, so that a keyboard can scroll it."""
    label = escape(label)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{markup}</div>'


def folded(summary: str, markup: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{escape(summary)}</summary>{markup}</details>"


def table(
    name: str,
    label: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: Collection[int] = (),
    kind: str = "",
) -> str:
    """A table in a box that scrolls.

    Args:
        label: text, read aloud.
        head, rows: markup of the cells; the first column heads the rows.
        left: columns that are aligned to the left.
        kind: further classes.
    """
    sides = [' class="text"' if column in left else "" for column in range(len(head))]
    top = "".join(f'<th scope="col"{s}>{c}</th>' for c, s in zip(head, sides, strict=True))
    body = "".join(row(cells, sides) for cells in rows)
    markup = (
        f'<table id="{name}" class="{kind}"><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table>"
    )
    return scroll(markup, label)


def row(cells: Sequence[str], sides: Sequence[str] = (), kind: str = "") -> str:
    """A row of a table; the first cell heads it."""
    sides = sides or [""] * len(cells)
    first, *others = cells
    rest = "".join(f"<td{side}>{cell}</td>" for cell, side in zip(others, sides[1:], strict=True))
    attribute = f' class="{kind}"' if kind else ""
    return f'<tr{attribute}><th scope="row"{sides[0]}>{first}</th>{rest}</tr>\n'


def value(text: str) -> str:
    """A number as ``scoring.tables`` writes it; its interval goes below it, small."""
    number, _, bounds = text.partition(" ")
    return f"{number}<small>{bounds}</small>" if bounds else number


def signed(number: float, form: str) -> str:
    """A number with a minus sign for a hyphen."""
    return format(number, form).replace("-", "−")


def grid(figures: Sequence[tuple[Picture, str]]) -> str:
    """Figures with their captions (text), beside each other where there is room."""
    return '<div class="figures">' + "".join(figure(*pair) for pair in figures) + "</div>"


def figure(picture: Picture, caption: str, scrolls: bool = False) -> str:
    """A figure, its caption (text), and a link that saves it as SVG."""
    data = base64.b64encode(picture.plain.encode()).decode()
    drawing = scroll(picture.inline, picture.title) if scrolls else picture.inline
    return (
        f'<figure id="{picture.name}">{drawing}<figcaption><span>{escape(caption)}</span>'
        f'<a class="download" download="{picture.name}.svg" '
        f'href="data:image/svg+xml;base64,{data}">SVG</a></figcaption></figure>\n'
    )


def slug(name: str) -> str:
    """A name as part of an id."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)
