"""Figures of the page: the scores of known trials, and spectrograms."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from tidyvoice.frontends import Frontend
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.report import drawing
from tidyvoice.verification.verifier import Verification, Verifier

JOINED = 8  # bins of the verifier's distribution that form one bin of the figure
HEIGHT, LOW = 2.1, 1.25  # heights of the axes in inches
HERTZ = (500, 1000, 2000, 4000, 7000)
SPREAD = (5, 99.8)  # percentiles of the energies at the ends of the colour map
COLOURS = LinearSegmentedColormap.from_list("heat", drawing.HEAT)


def scores_picture(verifier: Verifier, result: Verification) -> drawing.Picture:
    """Draw the densities of the verifier's trials with the score and the threshold."""
    fitted = verifier.scale().distribution
    kinds = {"same speaker": fitted.target, "different speakers": fitted.nontarget}
    edges = fitted.edges[::JOINED]

    def draw(figure: Figure, axes: Axes) -> None:
        for (kind, counts), colour in zip(kinds.items(), drawing.SERIES, strict=False):
            joined = np.reshape(counts, (-1, JOINED)).sum(axis=1)
            density = joined / joined.sum() / np.diff(edges)
            axes.stairs(density, edges, color=colour, alpha=0.14, fill=True)
            axes.stairs(density, edges, color=colour, linewidth=1.4, label=f"trials, {kind}")
        dash, label = drawing.DASHES[1], f"threshold, {result.threshold:.3f}"
        axes.axvline(result.score, color=drawing.INK, label=f"these two, {result.score:.3f}")
        axes.axvline(result.threshold, color=drawing.MUTED, linestyle=dash, label=label)
        # A prior may ask for a score beyond all known ones; its line lies outside the figure.
        axes.set(title="Scores of known trials", xlabel="Score", ylabel="Density", xlim=fitted.span)
        axes.set_ylim(bottom=0)
        drawing.legend(figure, 4)

    title = f"Scores of known trials; these two have {result.score:.3f}"
    below = drawing.BELOW + drawing.legend_height(4)
    return drawing.drawn("scores", title, HEIGHT, below, draw)


def spectrogram(name: str, title: str, features: np.ndarray, frontend: Frontend) -> drawing.Picture:
    """Draw the features [T x F] of the model, time in s against frequency in Hz, if it is known.

    ``name`` is the prefix of the ids in the figure, ``title`` its text for screen readers.
    """
    frames, bins = features.shape
    # A frame is drawn at its centre, a feature at its number from 1 to F.
    shift = frontend.frame_shift / SAMPLE_RATE
    start = (frontend.num_samples(1) / SAMPLE_RATE - shift) / 2
    extent = (start, start + frames * shift, 0.5, bins + 0.5)
    low, high = np.percentile(features, SPREAD)

    def draw(_: Figure, axes: Axes) -> None:
        style = {"origin": "lower", "aspect": "auto", "extent": extent}
        axes.imshow(features.T, COLOURS, vmin=low, vmax=high, **style)
        axes.set(title="Features of the model", xlabel="Time (s)", ylabel="Feature")
        if frontend.hertz is not None:
            places = np.interp(HERTZ, frontend.hertz, np.arange(1, bins + 1))
            axes.yaxis.set_major_locator(FixedLocator(places))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda _, place: f"{HERTZ[place]:,}"))
            axes.set_ylabel("Frequency (Hz)")
        axes.grid(visible=False)

    return drawing.drawn(name, title, LOW, drawing.BELOW, draw)
