"""DET curves, score distributions and training curves."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.special import ndtri

from tidyvoice.evaluation.categories import POOLED
from tidyvoice.report.curves import DetCurve
from tidyvoice.report.drawing import (
    BELOW,
    DASHES,
    INK,
    LEFT,
    MUTED,
    RIGHT,
    SERIES,
    WIDTH,
    Picture,
    drawn,
    entry,
    legend,
    legend_height,
)
from tidyvoice.report.training_log import TrainingLog

T = TypeVar("T")

CURVE_POINTS = 600
RATE_TICKS = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 95)  # percent
SIDE = WIDTH - LEFT - RIGHT


def det_picture(name: str, title: str, curves: Mapping[str, DetCurve], pooled: bool) -> Picture:
    """DET curves (Martin et al., 1997): both error rates on probit axes.

    Args:
        curves: by label; the legend adds the EER.
        pooled: whether the first curve is that of all trials, drawn in ink.
    """
    columns = 1 if max(map(len, curves)) > 22 else 2
    low, high = _rate_limits(curves.values())
    ticks = [tick for tick in RATE_TICKS if low <= ndtri(tick / 100) <= high]

    def draw(figure: Figure, axes: Axes) -> None:
        for (label, curve), (colour, dash) in zip(
            curves.items(), line_styles(len(curves), pooled), strict=True
        ):
            axes.plot(
                ndtri(curve.fpr),
                ndtri(curve.fnr),
                color=colour,
                linestyle=dash,
                linewidth=2 if colour == INK else 1.5,
                label=entry(f"{label}, {100 * curve.eer:.2f} %"),
            )
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.7, zorder=1)
        for axis, rate in ((axes.xaxis, "positive"), (axes.yaxis, "negative")):
            axis.set_major_locator(FixedLocator(ndtri(np.array(ticks) / 100)))
            axis.set_major_formatter(FuncFormatter(lambda _, place: f"{ticks[place]:g}"))
            axis.set_minor_locator(NullLocator())
            axis.set_label_text(f"False {rate} rate (%)")
        axes.set(xlim=(low, high), ylim=(low, high))
        legend(figure, len(curves), columns)

    return drawn(name, title, SIDE, BELOW + legend_height(len(curves), columns), draw)


def histogram_picture(
    name: str,
    title: str,
    edges: np.ndarray,
    histograms: Mapping[str, np.ndarray],
    threshold: float,
) -> Picture:
    """Score densities by kind of trial: colour tells the label, the dash the language.

    Args:
        edges: scores [B + 1].
        histograms: by kind, density [B].
        threshold: marked by a line.
    """

    def draw(figure: Figure, axes: Axes) -> None:
        for kind, density in histograms.items():
            colour = SERIES[0] if kind.startswith("target") else SERIES[1]
            cross = kind.endswith("cross-language")
            if not cross:
                axes.stairs(density, edges, color=colour, alpha=0.14, fill=True)
            dash = DASHES[1] if cross else "-"
            axes.stairs(density, edges, color=colour, linestyle=dash, linewidth=1.4, label=kind)
        axes.axvline(threshold, color=MUTED, linewidth=0.8, linestyle=DASHES[2], zorder=1)
        axes.set(xlabel="Score", ylabel="Density", xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0)
        axes.grid(axis="x", visible=False)
        legend(figure, len(histograms))

    return drawn(name, title, SIDE, BELOW + legend_height(len(histograms)), draw)


def training_pictures(prefix: str, log: TrainingLog) -> list[Picture]:
    """Loss, accuracy, learning rate and margin against the iteration, one picture each."""
    panels = (
        ("loss", "Loss", "{:g}"),
        ("accuracy", "Training accuracy (%)", "{:g}"),
        ("lr", "Learning rate", "{:.3g}"),
        ("margin", "Margin (rad)", "{:g}"),
    )
    chosen = np.unique(np.linspace(0, len(log.iteration) - 1, CURVE_POINTS).astype(int))
    iteration, pictures = log.iteration[chosen], []
    for key, title, form in panels:
        values = log.values[key][chosen]
        if np.isfinite(values).any():

            def draw(_: Figure, axes: Axes, key=key, title=title, form=form, values=values) -> None:
                marker = "o" if len(values) == 1 else None
                axes.plot(iteration, values, color=SERIES[0], linewidth=1.3, marker=marker)
                axes.set(title=title, xlabel="Iteration")
                positive = values[values > 0]
                if key == "lr" and len(positive) and positive.max() > 20 * positive.min():
                    axes.set_yscale("log")
                    axes.yaxis.set_minor_locator(NullLocator())
                else:
                    axes.yaxis.set_major_locator(MaxNLocator(4))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: form.format(y)))
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
                axes.grid(axis="x", visible=False)

            pictures.append(drawn(f"{prefix}-{key}", title, 1.6, BELOW, draw))
    return pictures


def named(curves: Mapping[str, T]) -> dict[str, T]:
    """The curves of a system's categories by the names that figures give these."""
    return {"all trials" if key == POOLED else key: curve for key, curve in curves.items()}


def line_styles(number: int, pooled: bool) -> list[tuple[str, object]]:
    """Colour and dash of each of ``number`` curves; ink for the first if it is of all trials."""
    places = range(-pooled, number - pooled)
    return [
        (INK, "-") if p < 0 else (SERIES[p % len(SERIES)], DASHES[p % len(DASHES)]) for p in places
    ]


def _rate_limits(curves: Sequence[DetCurve]) -> tuple[float, float]:
    """Probit limits of both axes: room for every EER, rates far from it cut off."""
    eers = [curve.eer for curve in curves if curve.eer > 0] or [0.01]
    low = max([t for t in RATE_TICKS if t <= 100 * min(eers) / 15], default=RATE_TICKS[0])
    high = min([t for t in RATE_TICKS if t >= max(40.0, 250 * max(eers))], default=RATE_TICKS[-1])
    return tuple(ndtri(np.array([low, high]) / 100))
