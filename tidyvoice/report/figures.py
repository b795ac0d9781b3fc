"""The figures of a report, as SVG: drawn in print colours, recoloured by the page's style sheet."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.special import ndtri

from tidyvoice.report.system import DetCurve, TrainingLog

# Each colour is drawn as it stands here, for light paper, and is also a variable of style.css.
INK, MUTED, GRID = "#1d1d1b", "#6a6a64", "#e3e1da"
SERIES = ("#1f5fa8", "#c4501b", "#2b7f62", "#7c4d9e", "#8f6c00")
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
# Inches; at 72 units an inch a figure needs no scaling on a telephone. Margins are fixed, so that
# the axes of figures below each other line up.
WIDTH, LEFT, RIGHT, TOP, BELOW = 4.6, 0.62, 0.08, 0.28, 0.48
LEGEND_LINE = 0.19
CURVE_POINTS = 600
RATE_TICKS = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 95)  # percent
STYLE = {
    "svg.fonttype": "none",
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
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.4,
    "legend.borderpad": 0,
}


@dataclass(frozen=True)
class Picture:
    """A figure twice: ``inline`` takes its colours from the page, ``plain`` stands alone."""

    name: str
    title: str
    inline: str
    plain: str


def det_picture(name: str, title: str, curves: Mapping[str, DetCurve], pooled: bool) -> Picture:
    """DET curves (Martin et al., 1997): both error rates on probit axes.

    Args:
        curves: by label; the legend adds the EER.
        pooled: whether the first curve is that of all trials, drawn in ink.
    """
    columns = 1 if max(map(len, curves)) > 22 else 2
    legend_height = LEGEND_LINE * (-(-len(curves) // columns) + 0.6)
    side = WIDTH - LEFT - RIGHT
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(side, BELOW + legend_height)
        for number, (label, curve) in enumerate(curves.items()):
            ink = pooled and number == 0
            place = number - pooled
            axes.plot(
                ndtri(curve.fpr),
                ndtri(curve.fnr),
                color=INK if ink else SERIES[place % len(SERIES)],
                linestyle="-" if ink else DASHES[place % len(DASHES)],
                linewidth=2 if ink else 1.5,
                label=f"{label}, {100 * curve.eer:.2f} %",
            )
        low, high = _rate_limits(curves.values())
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.7, zorder=1)
        ticks = [tick for tick in RATE_TICKS if low <= ndtri(tick / 100) <= high]
        for axis, rate in ((axes.xaxis, "positive"), (axes.yaxis, "negative")):
            axis.set_major_locator(FixedLocator(ndtri(np.array(ticks) / 100)))
            axis.set_major_formatter(FuncFormatter(lambda _, place: f"{ticks[place]:g}"))
            axis.set_minor_locator(NullLocator())
            axis.set_label_text(f"False {rate} rate (%)")
        axes.set(xlim=(low, high), ylim=(low, high))
        figure.legend(loc="lower left", bbox_to_anchor=(0, 0), ncols=columns)
        return _picture(name, title, figure)


def histogram_picture(
    name: str, title: str, edges: np.ndarray, histograms: Mapping[str, np.ndarray]
) -> Picture:
    """Score densities by kind of trial: colour tells the label, the dash the language."""
    with matplotlib.rc_context(STYLE):
        # As high as the DET curve that stands beside it.
        figure, axes = _figure(WIDTH - LEFT - RIGHT, BELOW + LEGEND_LINE * 3.6)
        for kind, density in histograms.items():
            colour = SERIES[0] if kind.startswith("target") else SERIES[1]
            cross = kind.endswith("cross-language")
            if not cross:
                axes.stairs(density, edges, color=colour, alpha=0.14, fill=True)
            dash = DASHES[1] if cross else "-"
            axes.stairs(density, edges, color=colour, linestyle=dash, linewidth=1.4, label=kind)
        axes.set(xlabel="Score", ylabel="Density", xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
        figure.legend(loc="lower left", bbox_to_anchor=(0, 0), ncols=2)
        return _picture(name, title, figure)


def training_pictures(prefix: str, log: TrainingLog) -> list[Picture]:
    """Loss, accuracy, learning rate and margin against the iteration, one picture each."""
    panels = (
        ("loss", "Loss", "{:g}"),
        ("accuracy", "Training accuracy (%)", "{:g}"),
        ("lr", "Learning rate", "{:.3g}"),
        ("margin", "Margin (rad)", "{:g}"),
    )
    pictures = []
    chosen = np.unique(np.linspace(0, len(log.iteration) - 1, CURVE_POINTS).astype(int))
    for key, title, form in panels:
        values = log.values[key][chosen]
        if not np.isfinite(values).any():
            continue
        with matplotlib.rc_context(STYLE):
            figure, axes = _figure(1.6, BELOW)
            marker = "o" if len(chosen) == 1 else None
            axes.plot(log.iteration[chosen], values, color=SERIES[0], linewidth=1.3, marker=marker)
            axes.set(title=title, xlabel="Iteration")
            positive = values[values > 0]
            if key == "lr" and len(positive) and positive.max() > 20 * positive.min():
                axes.set_yscale("log")
                axes.yaxis.set_minor_locator(NullLocator())
            else:
                axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _, form=form: form.format(y)))
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
            axes.grid(axis="x", visible=False)
            pictures.append(_picture(f"{prefix}-{key}", title, figure))
    return pictures


def _figure(height: float, below: float) -> tuple[Figure, matplotlib.axes.Axes]:
    """Axes of the common width, ``height`` inches high, with ``below`` inches beneath them."""
    whole = below + height + TOP
    figure = Figure(figsize=(WIDTH, whole))
    width = (WIDTH - LEFT - RIGHT) / WIDTH
    return figure, figure.add_axes((LEFT / WIDTH, below / whole, width, height / whole))


def _rate_limits(curves: Sequence[DetCurve]) -> tuple[float, float]:
    """Probit limits of both axes: room for every EER, rates far from it cut off."""
    eers = [curve.eer for curve in curves if curve.eer > 0] or [0.01]
    low = max([t for t in RATE_TICKS if t <= 100 * min(eers) / 15], default=RATE_TICKS[0])
    high = min([t for t in RATE_TICKS if t >= max(40.0, 250 * max(eers))], default=RATE_TICKS[-1])
    return tuple(ndtri(np.array([low, high]) / 100))


def _picture(name: str, title: str, figure: Figure) -> Picture:
    """Render to SVG, the same bytes every time."""
    file = io.StringIO()
    # Element ids are a hash with this salt; no date or creator is written.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    plain = re.sub(r"font-family: [^;\"]*", f"font-family: {FONT}", file.getvalue())

    inline = plain[plain.index("<svg") :]
    inline = re.sub(r"<style.*?</style>", "", inline, flags=re.DOTALL)
    inline = re.sub(r'(<svg[^>]*?) width="\S+" height="\S+"', r"\1", inline, count=1)
    label = f'<svg role="img" aria-label="{escape(title)}"'
    inline = inline.replace("<svg", label, 1)
    # Several figures share a page, so their ids must differ.
    inline = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", inline)
    for colour, variable in VARIABLES.items():
        inline = inline.replace(colour, f"var({variable})")
    return Picture(name, title, inline, plain)
