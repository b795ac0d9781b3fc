"""The heat map of language pairs: SVG with a title on every cell, which needs no script."""

from collections.abc import Sequence
from html import escape

import numpy as np

from tidyvoice.evaluation.categories import LanguageRow
from tidyvoice.evaluation.evaluate import Evaluation
from tidyvoice.evaluation.tables import percent
from tidyvoice.report.drawing import FONT, GRID, HEAT, INK, ON_MIDDLE, PAPER, Picture, picture

# Units of the drawing, shown one to a pixel where there is room.
FEW, CELL, SMALL_CELL = 20, 38, 22  # languages up to which cells show numbers; sides of cells
LETTER, MARGIN = 6.6, 10
BAR, BAR_HEIGHT, BAR_ROOM = 24, 10, 58  # of the key: width and height of a step, height of all
SMALLEST = 0.72  # factor by which the figure may shrink before it scrolls
NICE = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def matrix_picture(name: str, title: str, evaluation: Evaluation) -> Picture:
    """Draw the EER of each pair of languages; the diagonal is within one language.

    Hatched cells lack targets or non-targets, empty ones have no trials.
    """
    languages, pairs = [row.languages[0] for row in evaluation.languages], evaluation.pairs
    side = CELL if len(languages) <= FEW else SMALL_CELL
    left = round(LETTER * max(map(len, languages))) + MARGIN
    foot = left + len(languages) * side
    # Names stand above their columns, and the last one needs room on the right.
    width, height = max(foot + left, left + BAR * len(HEAT) + 4 * MARGIN), foot + BAR_ROOM
    top = scale_top([pair.eer for pair in pairs if pair.eer is not None])
    cells = {frozenset(pair.languages): pair for pair in pairs}
    parts = []
    for place, one in enumerate(languages):
        start = left + place * side
        middle = start + side / 2
        parts.append(_text(left - 6, middle, one, "end"))
        turn = f' transform="rotate(-90 {middle:g} {start - 6:g})"'
        parts.append(_text(middle, start - 6, one, "start", turn))
        for column, other in enumerate(languages[: place + 1]):
            title_of_cell, drawing = _cell(cells.get(frozenset((one, other))), side, top)
            about = one if one == other else f"{other} – {one}"
            parts.append(
                f'<g transform="translate({left + column * side} {start})">'
                f"<title>{escape(about)}: {title_of_cell}</title>{drawing}</g>"
            )
    parts.append(_text(left, foot + 9, "EER (%)", "start"))
    for place, colour in enumerate([*HEAT, None]):
        x, y = left + place * BAR, foot + 18
        if colour:
            box = f'x="{x}" y="{y}" width="{BAR}" height="{BAR_HEIGHT}"'
            parts.append(f'<rect {box} fill="{colour}"/>')
        if place % 5 == 0:
            rate = f"{'' if colour else '≥ '}{100 * top * place / len(HEAT):.3g}"
            parts.append(_text(x, y + BAR_HEIGHT + 9, rate, "middle" if place else "start"))
    size = f"width:100%;max-width:{width}px;min-width:{round(SMALLEST * width)}px"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" style="{size};font-size:11px;font-family: {FONT}">'
        f'<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><path d="M0 0V5" stroke="{GRID}"/>'
        f"</pattern></defs>\n" + "\n".join(parts) + "\n</svg>\n"
    )
    return picture(name, title, svg)


def scale_top(rates: Sequence[float]) -> float:
    """Return the upper end of the colour scale, a round rate: at most three times the median.

    A pair with few targets often has a very high rate, which would leave all the others pale.
    """
    if not rates:
        return 0.1
    wanted = min(max(rates), 3 * float(np.median(rates))) or max(rates) or 0.01
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(decade * next(nice for nice in NICE if nice * decade >= wanted * 0.999999))


def step(rate: float, top: float) -> int:
    """Return the place in ``HEAT`` of a rate: even steps from 0 to ``top``, the last one open."""
    return min(int(rate / top * len(HEAT)), len(HEAT) - 1)


def _cell(pair: LanguageRow | None, side: int, top: float) -> tuple[str, str]:
    """Return the title and the drawing of a cell."""
    box = f'<rect x="0.5" y="0.5" width="{side - 1}" height="{side - 1}"'
    if pair is None:
        return "no trials", f'{box} fill="none" stroke="{GRID}"/>'
    counts = f"{pair.targets:,} targets, {pair.nontargets:,} non-targets"
    if pair.eer is None:
        return f"{counts}: no EER without both", f'{box} fill="url(#hatch)"/>'
    place, middle, number = step(pair.eer, top), len(HEAT) // 2, ""
    if side == CELL:
        ink = ON_MIDDLE if place in (middle - 1, middle) else INK if place < middle else PAPER
        rate = f"{100 * pair.eer:.1f}".replace("100.0", "100")
        number = _text(side / 2, side / 2, rate, "middle", colour=ink)
    return f"EER {percent(pair.eer)} %, {counts}", f'{box} fill="{HEAT[place]}"/>{number}'


def _text(
    x: float, y: float, text: str, anchor: str, transform: str = "", colour: str = INK
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" dominant-baseline="central" '
        f'fill="{colour}"{transform}>{escape(text)}</text>'
    )
