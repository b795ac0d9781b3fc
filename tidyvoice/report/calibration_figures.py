"""Figures of calibration: reliability, cost against threshold, normalised Bayes error."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

from tidyvoice.report.curves import (
    COST_SHOWN,
    LLR_EDGES,
    LOG_ODDS,
    BayesError,
    CostCurve,
    Reliability,
)
from tidyvoice.report.drawing import (
    BELOW,
    DASHES,
    MUTED,
    SERIES,
    Picture,
    axes_at,
    drawn,
    entry,
    legend,
    legend_height,
)
from tidyvoice.report.figures import SIDE, line_styles

STRIP, GAP = 0.85, 0.16  # inches
LIMIT = float(LLR_EDGES[-1]) + 1


def reliability_picture(name: str, title: str, systems: Mapping[str, Reliability]) -> Picture:
    """Observed against predicted log odds at prior 0.5, above the counts of the first system.

    On the diagonal a log-likelihood ratio means what it says; a curve that is flatter is too sure.
    """
    below = BELOW + legend_height(len(systems) + 2) + STRIP + GAP

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot([-LIMIT, LIMIT], [-LIMIT, LIMIT], color=MUTED, linewidth=0.7, zorder=1)
        for number, ((label, found), (colour, dash)) in enumerate(
            zip(systems.items(), line_styles(len(systems), True), strict=True)
        ):
            known = np.isfinite(found.observed)
            axes.plot(
                found.predicted[known],
                found.observed[known],
                color=colour,
                linestyle=dash,
                linewidth=1.8 if number == 0 else 1.3,
                marker="o",
                markersize=3.2 if number == 0 else 2.2,
                label=entry(label),
            )
        axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), ylabel="Observed log odds")
        axes.tick_params(labelbottom=False)
        strip = axes_at(figure, below - STRIP - GAP, STRIP)
        first = next(iter(systems.values()))
        edges = np.concatenate([[-LIMIT], LLR_EDGES, [LIMIT]])
        for counts, colour, label in (
            (first.targets, SERIES[0], "targets"),
            (first.nontargets, SERIES[1], "non-targets"),
        ):
            # On a logarithmic axis 0 has no place: it is drawn at the foot.
            strip.stairs(np.maximum(counts, 0.8), edges, color=colour, label=label, baseline=0.8)
        top = 2.0 * max(first.targets.max(), first.nontargets.max(), 10)
        strip.set(xlim=(-LIMIT, LIMIT), yscale="log", ylim=(0.8, top), ylabel="Trials")
        strip.set_xlabel("Predicted log odds (the log-likelihood ratio)")
        decades = 10.0 ** np.arange(0, np.log10(top) + 1, 2)
        strip.yaxis.set_major_locator(FixedLocator(decades[decades < top]))
        strip.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        strip.yaxis.set_minor_locator(NullLocator())
        for both in (axes, strip):
            both.xaxis.set_major_locator(FixedLocator(np.arange(-10, 11, 5)))
        axes.yaxis.set_major_locator(FixedLocator(np.arange(-10, 11, 5)))
        legend(figure, len(systems) + 2)

    # Ends level with the figure beside it.
    return drawn(name, title, SIDE - STRIP - GAP, below, draw)


def cost_picture(
    name: str, title: str, curves: Mapping[str, CostCurve], bayes_threshold: float | None
) -> Picture:
    """Normalised cost against the threshold, with each curve's minimum as a dot.

    Args:
        curves: by label, the first of all trials.
        bayes_threshold: where log-likelihood ratios should be cut; None for other scores.
    """
    entries = len(curves) + (bayes_threshold is not None)

    def draw(figure: Figure, axes: Axes) -> None:
        for (label, curve), (colour, dash) in zip(
            curves.items(), line_styles(len(curves), True), strict=True
        ):
            axes.plot(curve.threshold, curve.cost, color=colour, linestyle=dash, label=entry(label))
            axes.plot(curve.best_threshold, curve.best_cost, "o", color=colour, markersize=4)
        low = min(curve.threshold[0] for curve in curves.values())
        high = max(curve.threshold[-1] for curve in curves.values())
        if bayes_threshold is not None:
            axes.axvline(bayes_threshold, color=MUTED, linewidth=1, linestyle=DASHES[2])
            axes.plot(
                [], [], color=MUTED, linewidth=1, linestyle=DASHES[2], label="Bayes threshold"
            )
            low, high = min(low, bayes_threshold), max(high, bayes_threshold)
        room = 0.03 * (high - low)
        axes.set(xlim=(low - room, high + room), ylim=(0, COST_SHOWN))
        axes.set(xlabel="Threshold", ylabel="Normalised DCF")
        axes.xaxis.set_major_locator(MaxNLocator(8))
        legend(figure, entries)

    return drawn(name, title, SIDE, BELOW + legend_height(entries), draw)


def bayes_error_picture(
    name: str, title: str, systems: Mapping[str, BayesError], marks: Sequence[float]
) -> Picture:
    """Normalised Bayes error: actual (full) and minimum (dashed) cost against prior log odds.

    Args:
        systems: by label.
        marks: prior log odds of the operating points, marked by lines.
    """

    entries = sum(1 + (found.actual is not None) for found in systems.values())

    def draw(figure: Figure, axes: Axes) -> None:
        for mark in marks:
            axes.axvline(mark, color=MUTED, linewidth=0.8, linestyle=DASHES[2], zorder=1)
        for (label, found), (colour, _) in zip(
            systems.items(), line_styles(len(systems), True), strict=True
        ):
            if found.actual is not None:
                axes.plot(LOG_ODDS, found.actual, color=colour, label=entry(f"{label}, actual"))
            axes.plot(
                LOG_ODDS,
                found.minimum,
                color=colour,
                linestyle=DASHES[1],
                linewidth=1.2,
                label=entry(f"{label}, minimum"),
            )
        axes.set(xlim=(LOG_ODDS[0], LOG_ODDS[-1]), ylim=(0, COST_SHOWN))
        axes.set(xlabel="Prior log odds of a target", ylabel="Normalised DCF")
        legend(figure, entries)

    return drawn(name, title, SIDE, BELOW + legend_height(entries), draw)
