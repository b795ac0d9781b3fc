"""Figures of the page: the scores of known trials, and spectrograms."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from tidyvoice.demo.markup import MINUS, signed
from tidyvoice.frontends import Frontend
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.report.drawing import (
    BELOW,
    DASHES,
    HEAT,
    INK,
    MUTED,
    SERIES,
    Picture,
    drawn,
    legend,
    legend_height,
)
from tidyvoice.verification.verifier import Verification, Verifier

JOINED = 8  # bins of the verifier's distribution that form one bin of the figure
MARGIN = 0.025  # of the span of the scores, on both sides of what is drawn
HEIGHT, LOW = 2.1, 1.25  # heights of the axes in inches
HERTZ = (500, 1000, 2000, 4000, 7000)
SPREAD = (5, 99.8)  # percentiles of the energies at the ends of the colour map
COLOURS = LinearSegmentedColormap.from_list("heat", HEAT)


def scores_picture(verifier: Verifier, result: Verification) -> Picture:
    """Draw the densities of the verifier's trials with the score and the threshold."""
    score, threshold_text = (
        signed(value, 3, plus=False) for value in (result.score, result.threshold)
    )
    distribution = verifier.scale().distribution
    edges, (low, high) = distribution.edges[::JOINED], distribution.span
    counts = {"same speaker": distribution.target, "different speakers": distribution.nontarget}
    densities = {}
    for kind, count in counts.items():
        joined = np.reshape(count, (-1, JOINED)).sum(axis=1)
        densities[kind] = joined / joined.sum() / np.diff(edges)
    # A prior may ask for a score beyond all known ones; the line then lies outside the figure.
    threshold, score_shown = np.clip((result.threshold, result.score), low, high)
    held = edges[:-1][sum(densities.values()) > 0]
    marks = (score_shown, threshold, held.min(), held.max() + edges[1] - edges[0])
    margin = MARGIN * (high - low)
    limits = (max(min(marks) - margin, low), min(max(marks) + margin, high))

    def draw(figure: Figure, axes: Axes) -> None:
        for (kind, density), colour in zip(densities.items(), SERIES, strict=False):
            axes.stairs(density, edges, color=colour, alpha=0.14, fill=True)
            axes.stairs(density, edges, color=colour, linewidth=1.4, label=f"trials, {kind}")
        axes.axvline(result.score, color=INK, linewidth=2, label=f"these two, {score}")
        axes.axvline(
            result.threshold, color=MUTED, linewidth=1.2, linestyle=DASHES[1],
            label=f"threshold, {threshold_text}",
        )  # fmt: skip
        axes.set(title="Scores of known trials", xlabel="Score", ylabel="Density")
        axes.set_xlim(limits)
        axes.set_ylim(bottom=0)
        for axis, most in ((axes.xaxis, 9), (axes.yaxis, 5)):
            axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(
                FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS))
            )
        axes.grid(axis="x", visible=False)
        legend(figure, 4)

    side = "above" if result.same_speaker else "not above"
    title = (
        f"Scores of {sum(counts['same speaker']):,} trials of the same speaker and of "
        f"{sum(counts['different speakers']):,} of different speakers. The score of these two "
        f"recordings, {score}, is {side} the threshold, {threshold_text}."
    )
    return drawn("scores", title, HEIGHT, BELOW + legend_height(4), draw)


def spectrogram(name: str, title: str, features: np.ndarray, frontend: Frontend) -> Picture:
    """Draw the features [T x F] of the model, time in s against frequency in Hz, if it is known.

    Args:
        name: prefix of the ids in the figure.
        title: text for screen readers.
    """
    frames, bins = features.shape
    # A frame is drawn at its centre, a feature at its number from 1 to F.
    shift = frontend.frame_shift / SAMPLE_RATE
    start = (frontend.num_samples(1) / SAMPLE_RATE - shift) / 2
    ends = (start, start + frames * shift)
    low, high = np.percentile(features, SPREAD)

    def draw(_: Figure, axes: Axes) -> None:
        axes.imshow(
            features.T, origin="lower", aspect="auto", interpolation="nearest",
            cmap=COLOURS, vmin=low, vmax=high, extent=(*ends, 0.5, bins + 0.5),
        )  # fmt: skip
        axes.set_ylabel("Feature", labelpad=1)
        if frontend.hertz is not None:
            places = np.interp(HERTZ, frontend.hertz, np.arange(1, bins + 1))
            axes.yaxis.set_major_locator(FixedLocator(places))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda _, place: f"{HERTZ[place]:,}"))
            axes.set_ylabel("Frequency (Hz)", labelpad=1)
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        axes.set(title="Features of the model")
        axes.set(xlabel="Time (s)", ylim=(0.5, bins + 0.5))
        axes.grid(visible=False)

    return drawn(name, title, LOW, BELOW, draw)
