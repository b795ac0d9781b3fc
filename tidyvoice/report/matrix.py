"""The heat map of language pairs: SVG with a title on every cell, which needs no script."""

from collections.abc import Sequence
from html import escape

import numpy as np

from tidyvoice.evaluation.languages import LanguageRow
from tidyvoice.evaluation.tables import percent
from tidyvoice.report.drawing import (
    FONT,
    GRID,
    HEAT,
    INK,
    ON_MIDDLE,
    PAPER,
    Picture,
    picture,
)

# Units of the drawing, shown one to a pixel where there is room.
FEW, CELL, SMALL_CELL = 20, 38, 22  # languages up to which cells show numbers; sides of cells
LETTER = 6.6
MARGIN = 10
BAR, BAR_HEIGHT, BAR_ROOM = 24, 10, 58  # of the key: width and height of a step, height of all
SMALLEST = 0.72  # factor by which the figure may shrink before it scrolls
NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def matrix_picture(
    name: str, title: str, languages: Sequence[str], pairs: Sequence[LanguageRow]
) -> Picture:
    """Draw the EER of each pair of languages; the diagonal is within one language.

    Hatched cells lack targets or non-targets, empty ones have no trials.

    Args:
        languages: in the order of rows and columns.
        pairs: see ``languages.by_language``.
    """
    number = len(languages)
    side = CELL if number <= FEW else SMALL_CELL
    left = round(LETTER * max(map(len, languages))) + MARGIN
    # Names stand above their columns, and the last one needs room on the right.
    width = max(left + number * side + left, left + BAR * len(HEAT) + 4 * MARGIN)
    height = left + number * side
    # The key goes into the empty corner if it fits, and below the matrix otherwise.
    key = (width - BAR * len(HEAT) - 3 * MARGIN, 18 + left)
    if number * side < 2 * (BAR * len(HEAT) + 6 * MARGIN):
        key = (left, height + 18)
        height += BAR_ROOM
    top = scale_top([pair.eer for pair in pairs if pair.eer is not None])
    place = {language: at for at, language in enumerate(languages)}
    cells = {tuple(sorted(place[language] for language in p.languages)): p for p in pairs}
    parts = []
    for row in range(number):
        y = left + row * side
        for column in range(row + 1):
            x = left + column * side
            pair = cells.get((column, row))
            parts.append(_cell(pair, (languages[column], languages[row]), x, y, side, top))
        middle = y + side / 2
        parts.append(_text(left - 6, middle, languages[row], "end"))
        x, y = left + row * side + side / 2, y - 6
        parts.append(_text(x, y, languages[row], "start", f"rotate(-90 {x:g} {y:g})"))
    parts.append(_key(*key, top, pairs))
    size = f"width:100%;max-width:{width}px;min-width:{min(width, round(SMALLEST * width))}px"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="{size};font-size:11px;font-family: {FONT}">'
        f'<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path d="M0 0V5" stroke="{GRID}"/>'
        f"</pattern></defs>\n" + "\n".join(parts) + "\n</svg>\n"
    )
    return picture(name, title, svg)


def scale_top(rates: Sequence[float]) -> float:
    """Return the upper end of the colour scale, a round rate.

    It is at most three times the median: a pair with few targets often has a very high rate, which
    would leave all the others pale.
    """
    if not rates:
        return 0.1
    wanted = min(max(rates), 3 * float(np.median(rates))) or max(rates) or 0.01
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(decade * next(nice for nice in NICE if nice * decade >= wanted * 0.999999))


def step(rate: float, top: float) -> int:
    """Return the place in ``HEAT`` of a rate: even steps from 0 to ``top``, the last one open."""
    return min(int(rate / top * len(HEAT)), len(HEAT) - 1)


def _cell(
    pair: LanguageRow | None, names: tuple[str, str], x: float, y: float, side: int, top: float
) -> str:
    label = names[0] if names[0] == names[1] else f"{names[0]} – {names[1]}"
    inside = f'x="{x + 0.5:g}" y="{y + 0.5:g}" width="{side - 1}" height="{side - 1}"'
    if pair is None:
        text, paint, writing = "no trials", f'fill="none" stroke="{GRID}"', ""
    elif pair.eer is None:
        text = _counts(pair) + ": no EER without both"
        paint, writing = 'fill="url(#hatch)"', ""
    else:
        text = f"EER {percent(pair.eer)} %, {_counts(pair)}"
        at, middle = step(pair.eer, top), len(HEAT) // 2
        colour = ON_MIDDLE if at in (middle - 1, middle) else INK if at < middle else PAPER
        paint = f'fill="{HEAT[at]}"'
        rate = 100 * pair.eer
        figure = f"{rate:.1f}" if rate < 99.95 else "100"
        writing = ""
        if side == CELL:
            writing = _text(x + side / 2, y + side / 2, figure, "middle", colour=colour)
    return f"<g><title>{escape(label)}: {text}</title><rect {inside} {paint}/>{writing}</g>"


def _counts(pair: LanguageRow) -> str:
    return f"{pair.targets:,} targets, {pair.nontargets:,} non-targets"


def _key(x: float, y: float, top: float, pairs: Sequence[LanguageRow]) -> str:
    parts = [_text(x, y - 9, "EER (%)", "start")]
    for at, colour in enumerate(HEAT):
        box = f'x="{x + at * BAR}" y="{y}" width="{BAR}" height="{BAR_HEIGHT}"'
        parts.append(f'<rect {box} fill="{colour}"/>')
    over = any(pair.eer is not None and pair.eer > top * 1.000001 for pair in pairs)
    for at in (0, 5, 10):
        more = "≥ " if at == 10 and over else ""
        rate = f"{more}{100 * top * at / len(HEAT):.3g}"
        parts.append(_text(x + at * BAR, y + BAR_HEIGHT + 9, rate, "middle" if at else "start"))
    return "".join(parts)


def _text(
    x: float, y: float, text: str, anchor: str, transform: str = "", colour: str = INK
) -> str:
    turned = f' transform="{transform}"' if transform else ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" dominant-baseline="central" '
        f'fill="{colour}"{turned}>{escape(text)}</text>'
    )
