"""Colours and sizes that all figures share, and SVG that a page can recolour."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import resources

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def style_sheet(name: str) -> str:
    """Return one of the style sheets beside this file."""
    return resources.files("tidyvoice.report").joinpath(name).read_text("utf-8")


# Colours on light paper by variable. After "@media" the style sheet has those of dark mode.
LIGHT, _, _ = style_sheet("colours.css").partition("@media")
COLOURS = dict(re.findall(r"(--[\w-]+): (#\w{6});", LIGHT))
INK, MUTED, GRID, PAPER = (COLOURS[f"--{name}"] for name in ("ink", "muted", "grid", "paper"))
SERIES = tuple(COLOURS[f"--series-{number}"] for number in range(1, 6))
# Ten steps of even lightness (Oklab, B. Ottosson, 2020), so that a heat map can be read in grey, in
# print and by colour-blind readers.
HEAT = tuple(COLOURS[f"--heat-{number}"] for number in range(10))
# Text on the middle steps: dark on a light page, light on a dark page.
ON_MIDDLE = COLOURS["--on-middle"]
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
# Inches; at 72 units an inch a figure fits a telephone without scaling. Margins are fixed, so that
# the axes of figures line up.
WIDTH, LEFT, RIGHT, TOP, BELOW = 4.6, 0.62, 0.08, 0.28, 0.48
LEGEND_LINE, LEGEND_GAP = 0.19, 0.14
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a system may have a $ in its name
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.2,
    "legend.borderpad": 0,
}


@dataclass(frozen=True)
class Picture:
    """A figure as SVG: ``inline`` takes its colours from the page, ``plain`` stands alone."""

    name: str
    title: str
    inline: str
    plain: str

    @property
    def address(self) -> str:
        """The plain figure as a ``data:`` address, for a download link."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.plain.encode()).decode()}"


def drawn(
    name: str, title: str, height: float, below: float, draw: Callable[[Figure, Axes], None]
) -> Picture:
    """Draw a matplotlib figure of the common width; the same input gives the same bytes.

    ``name`` is the name of the file and the prefix of the ids of its elements, ``title`` a text for
    screen readers; ``height`` and ``below`` are of the axes and the room beneath them, in inches.
    """
    file = io.StringIO()
    # Element ids are a hash with this salt; no date or creator is written.
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, below + height + TOP))
        draw(figure, axes_at(figure, below, height))
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return picture(name, title, file.getvalue())


def axes_at(figure: Figure, bottom: float, height: float) -> Axes:
    """Add axes of the common width, ``height`` inches high, ``bottom`` inches above the edge."""
    whole = figure.get_figheight()
    width = (WIDTH - LEFT - RIGHT) / WIDTH
    return figure.add_axes((LEFT / WIDTH, bottom / whole, width, height / whole))


def legend(figure: Figure, entries: int, columns: int = 2) -> None:
    """Draw a legend at the foot of the figure, in the room that ``legend_height`` leaves."""
    top = (legend_height(entries, columns) - LEGEND_GAP) / figure.get_figheight()
    figure.legend(loc="upper left", bbox_to_anchor=(0, top), ncols=columns, borderaxespad=0)


def legend_height(entries: int, columns: int = 2) -> float:
    """Return the height of a legend in inches; at least three lines, so that captions line up."""
    return LEGEND_LINE * max(-(-entries // columns), 3) + LEGEND_GAP


def picture(name: str, title: str, svg: str) -> Picture:
    """Return both forms of an SVG file that is drawn in the colours above."""
    plain = re.sub(r"font-family: [^;\"]*", f"font-family: {FONT}", svg)
    inline = re.sub(r"<style.*?</style>", "", plain[plain.index("<svg") :], flags=re.DOTALL)
    inline = re.sub(r'(<svg[^>]*?) width="\S+" height="\S+"', r"\1", inline, count=1)
    inline = inline.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    # Several figures share a page, so their ids must differ.
    inline = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", inline)
    for variable, colour in COLOURS.items():
        inline = inline.replace(colour, f"var({variable})")
    return Picture(name, title, inline, plain)
