"""The figures of a report: DET curves, score distributions, calibration, training curves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from tidyvoice.report.curves import COST_SHOWN, LLR_EDGES, LOG_ODDS
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
    axes_at,
    drawn,
    legend,
    legend_height,
)
from tidyvoice.report.training_log import TrainingLog
from tidyvoice.scoring.metrics import ErrorRates, eer_of

RATE_TICKS = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 95)  # percent
SIDE = WIDTH - LEFT - RIGHT
STRIP, GAP = 0.85, 0.16  # inches
LIMIT = float(LLR_EDGES[-1]) + 1


def det_picture(name: str, title: str, curves: Mapping[str, ErrorRates]) -> Picture:
    """Draw DET curves (Martin et al., 1997) by label, the main one first; the legend adds the EER.

    Probit axes have no rates of 0 and 1, so such points are left out.
    """
    # Room for every EER.
    eers = [eer for rates in curves.values() if (eer := eer_of(rates))] or [0.01]
    low = max([t for t in RATE_TICKS if t <= 100 * min(eers) / 15], default=RATE_TICKS[0])
    high = min([t for t in RATE_TICKS if t >= max(40.0, 250 * max(eers))], default=RATE_TICKS[-1])
    ticks = [tick for tick in RATE_TICKS if low <= tick <= high]
    limits = tuple(ndtri(np.array([low, high]) / 100))

    def draw(_: Figure, axes: Axes) -> None:
        for label, rates, style in _styled(curves):
            inside = (rates.fnr > 0) & (rates.fpr > 0) & (rates.fnr < 1) & (rates.fpr < 1)
            style["linewidth"] = 2 if style["color"] == INK else 1.5
            label = f"{label}, {100 * eer_of(rates):.2f} %"
            axes.plot(ndtri(rates.fpr[inside]), ndtri(rates.fnr[inside]), label=label, **style)
        axes.plot(limits, limits, color=MUTED, linewidth=0.7, zorder=1)
        for axis, rate in ((axes.xaxis, "positive"), (axes.yaxis, "negative")):
            axis.set_major_locator(ticker.FixedLocator(ndtri(np.array(ticks) / 100)))
            axis.set_major_formatter(ticker.FuncFormatter(lambda _, place: f"{ticks[place]:g}"))
            axis.set_minor_locator(ticker.NullLocator())
            axis.set_label_text(f"False {rate} rate (%)")
        axes.set(xlim=limits, ylim=limits)

    return _with_legend(name, title, len(curves), draw, 1 if max(map(len, curves)) > 22 else 2)


def histogram_picture(
    name: str, title: str, edges: np.ndarray, histograms: Mapping[str, np.ndarray], threshold: float
) -> Picture:
    """Draw score densities, see ``curves.histograms``, and a line at the threshold.

    The colour is the label, the dash the language.
    """

    def draw(_: Figure, axes: Axes) -> None:
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

    return _with_legend(name, title, len(histograms), draw)


def reliability_picture(
    name: str, title: str, systems: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Picture:
    """Draw ``curves.reliability`` by label, above the counts of the first system.

    On the diagonal the log-likelihood ratios are right; a flatter curve is overconfident.
    """
    below = BELOW + legend_height(len(systems) + 2) + STRIP + GAP

    def draw(figure: Figure, axes: Axes) -> None:
        axes.plot([-LIMIT, LIMIT], [-LIMIT, LIMIT], color=MUTED, linewidth=0.7, zorder=1)
        for label, (predicted, observed, _), style in _styled(systems):
            first = style["color"] == INK
            style |= {"linewidth": 1.8 if first else 1.3, "markersize": 3.2 if first else 2.2}
            finite = np.isfinite(observed)
            axes.plot(predicted[finite], observed[finite], marker="o", label=label, **style)
        axes.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), ylabel="Observed log odds")
        axes.tick_params(labelbottom=False)
        strip = axes_at(figure, below - STRIP - GAP, STRIP)
        edges = np.concatenate([[-LIMIT], LLR_EDGES, [LIMIT]])
        counts = next(iter(systems.values()))[2]
        for count, colour, label in zip(counts, SERIES, ("targets", "non-targets"), strict=False):
            # A logarithmic axis has no 0, so empty bins are drawn at its foot.
            strip.stairs(np.maximum(count, 0.8), edges, color=colour, label=label, baseline=0.8)
        top = 2.0 * max(counts.max(), 10)
        strip.set(xlim=(-LIMIT, LIMIT), yscale="log", ylim=(0.8, top), ylabel="Trials")
        strip.set_xlabel("Predicted log odds (the log-likelihood ratio)")
        decades = 10.0 ** np.arange(0, np.log10(top) + 1, 2)
        strip.yaxis.set_major_locator(ticker.FixedLocator(decades[decades < top]))
        strip.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        strip.yaxis.set_minor_locator(ticker.NullLocator())
        for axis in (axes.xaxis, strip.xaxis, axes.yaxis):
            axis.set_major_locator(ticker.FixedLocator(np.arange(-10, 11, 5)))
        legend(figure, len(systems) + 2)

    # The figure ends level with the one beside it.
    return drawn(name, title, SIDE - STRIP - GAP, below, draw)


def cost_picture(
    name: str,
    title: str,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray, float, float]],
    bayes_threshold: float | None,
) -> Picture:
    """Draw ``curves.cost_curve`` by label; a line marks the best threshold of perfect LLRs."""

    def draw(_: Figure, axes: Axes) -> None:
        shown = []
        for label, (threshold, cost, best_threshold, best_cost), style in _styled(curves):
            axes.plot(threshold, cost, label=label, **style)
            axes.plot(best_threshold, best_cost, "o", color=style["color"], markersize=4)
            shown += [threshold[0], threshold[-1]]
        if bayes_threshold is not None:
            style = {"color": MUTED, "linewidth": 1, "linestyle": DASHES[2]}
            axes.axvline(bayes_threshold, **style)
            axes.plot([], [], label="Bayes threshold", **style)
            shown.append(bayes_threshold)
        room = 0.03 * (max(shown) - min(shown)) or 0.5  # all scores may be equal
        axes.set(xlim=(min(shown) - room, max(shown) + room), ylim=(0, COST_SHOWN))
        axes.set(xlabel="Threshold", ylabel="Normalised DCF")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(8))

    return _with_legend(name, title, len(curves) + (bayes_threshold is not None), draw)


def bayes_error_picture(
    name: str,
    title: str,
    systems: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    marks: Sequence[float],
) -> Picture:
    """Draw ``curves.bayes_error`` by label: minimum (dashed) and actual (full), where it is known.

    Lines mark the operating points, given as prior log odds.
    """

    def draw(_: Figure, axes: Axes) -> None:
        for mark in marks:
            axes.axvline(mark, color=MUTED, linewidth=0.8, linestyle=DASHES[2], zorder=1)
        for label, (minimum, actual), style in _styled(systems):
            style["linestyle"] = "-"
            if actual is not None:
                axes.plot(LOG_ODDS, actual, label=f"{label}, actual", **style)
            style |= {"linestyle": DASHES[1], "linewidth": 1.2}
            axes.plot(LOG_ODDS, minimum, label=f"{label}, minimum", **style)
        axes.set(xlim=(LOG_ODDS[0], LOG_ODDS[-1]), ylim=(0, COST_SHOWN))
        axes.set(xlabel="Prior log odds of a target", ylabel="Normalised DCF")

    entries = sum(1 + (actual is not None) for _, actual in systems.values())
    return _with_legend(name, title, entries, draw)


def training_pictures(prefix: str, log: TrainingLog) -> list[Picture]:
    """Draw loss, accuracy, learning rate and margin against the iteration, one picture each."""
    panels = {
        "loss": "Loss",
        "accuracy": "Training accuracy (%)",
        "lr": "Learning rate",
        "margin": "Margin (rad)",
    }
    pictures = []
    for key, title in panels.items():
        values = log.values[key]
        if np.isfinite(values).any():

            def draw(_: Figure, axes: Axes, key=key, title=title, values=values) -> None:
                marker = "o" if len(values) == 1 else None
                axes.plot(log.iteration, values, color=SERIES[0], linewidth=1.3, marker=marker)
                axes.set(title=title, xlabel="Iteration")
                positive = values[values > 0]
                if key == "lr" and len(positive) and positive.max() > 20 * positive.min():
                    axes.set_yscale("log")
                    axes.yaxis.set_minor_locator(ticker.NullLocator())
                else:
                    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
                axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
                axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
                axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
                axes.grid(axis="x", visible=False)

            pictures.append(drawn(f"{prefix}-{key}", title, 1.6, BELOW, draw))
    return pictures


def _with_legend(
    name: str, title: str, entries: int, draw: Callable[[Figure, Axes], None], columns: int = 2
) -> Picture:
    def both(figure: Figure, axes: Axes) -> None:
        draw(figure, axes)
        legend(figure, entries, columns)

    return drawn(name, title, SIDE, BELOW + legend_height(entries, columns), both)


def _styled(curves: Mapping[str, Any]) -> list[tuple[str, Any, dict[str, Any]]]:
    """Return label, curve, and colour and dash of each curve; ink for the first one."""
    result = []
    for place, (label, curve) in enumerate(curves.items(), -1):
        style = {"color": SERIES[place % len(SERIES)], "linestyle": DASHES[place % len(DASHES)]}
        if place < 0:
            style = {"color": INK, "linestyle": "-"}
        # matplotlib drops labels that begin with an underscore.
        result.append((f" {label}" if label.startswith("_") else label, curve, style))
    return result
