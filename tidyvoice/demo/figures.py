"""The figures of the page: where a score lies among those of known trials, and spectrograms."""

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
from tidyvoice.verifier import Verification, Verifier

JOINED = 8  # bins of the verifier's distribution in one of the figure
MARGIN = 0.05  # of the scores, on both sides of what is drawn
HEIGHT, LOW = 2.1, 1.25  # inches, of the axes
HERTZ = (500, 1000, 2000, 4000, 7000)
SPREAD = (5, 99.8)  # percentiles of the energies at both ends of the colours
COLOURS = LinearSegmentedColormap.from_list("heat", HEAT)


def scores_picture(verifier: Verifier, found: Verification) -> Picture:
    """Densities of the scores that the verifier was fitted to; score and threshold among them."""
    score, turn = (signed(value, 3, plus=False) for value in (found.score, found.threshold))
    edges = verifier.distribution.edges[::JOINED]
    counts = {
        "same speaker": verifier.distribution.target,
        "different speakers": verifier.distribution.nontarget,
    }
    densities = {}
    for kind, count in counts.items():
        joined = np.reshape(count, (-1, JOINED)).sum(axis=1)
        densities[kind] = joined / joined.sum() / np.diff(edges)
    # A prior may ask for a score that no cosine reaches: then the line is outside, which is true.
    threshold = float(np.clip(found.threshold, -1, 1))
    held = edges[:-1][sum(densities.values()) > 0]
    marks = (found.score, threshold, held.min(), held.max() + edges[1] - edges[0])
    limits = (max(min(marks) - MARGIN, -1.0), min(max(marks) + MARGIN, 1.0))

    def draw(figure: Figure, axes: Axes) -> None:
        for (kind, density), colour in zip(densities.items(), SERIES, strict=False):
            axes.stairs(density, edges, color=colour, alpha=0.14, fill=True)
            axes.stairs(density, edges, color=colour, linewidth=1.4, label=f"trials, {kind}")
        axes.axvline(found.score, color=INK, linewidth=2, label=f"these two, {score}")
        axes.axvline(
            found.threshold, color=MUTED, linewidth=1.2, linestyle=DASHES[1],
            label=f"threshold, {turn}",
        )  # fmt: skip
        axes.set(title="Scores of known trials", xlabel="Score (cosine)", ylabel="Density")
        axes.set_xlim(limits)
        axes.set_ylim(bottom=0)
        for axis, most in ((axes.xaxis, 9), (axes.yaxis, 5)):
            axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
            axis.set_major_formatter(
                FuncFormatter(lambda value, _: f"{value:g}".replace("-", MINUS))
            )
        axes.grid(axis="x", visible=False)
        legend(figure, 4)

    side = "above" if found.same_speaker else "not above"
    title = (
        f"Scores of {sum(counts['same speaker']):,} trials of the same speaker and of "
        f"{sum(counts['different speakers']):,} of different speakers. The score of these two "
        f"recordings, {score}, is {side} the threshold, {turn}."
    )
    return drawn("scores", title, HEIGHT, BELOW + legend_height(4), draw)


def spectrogram(name: str, title: str, features: np.ndarray, frontend: Frontend) -> Picture:
    """Draw features [T x F] over time, against frequency in Hz where they are bands.

    Args:
        name: what the ids of its elements begin with.
        title: read aloud in place of the figure.
    """
    frames, bins = features.shape
    # Frames stand at their centres; the centres of the features at 1 ... F.
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
