"""Published trial lists, checked against what is known of them and against a corpus."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.scoring.trials import Trials


def check_count(trials: Trials, expected: int | None) -> None:
    """Warn if the list does not have the published number of trials."""
    if expected is not None and len(trials) != expected:
        warnings.warn(
            f"{trials.source}: {len(trials):,} trials, the published list has {expected:,}",
            TidyVoiceWarning,
            stacklevel=2,
        )


def describe(trials: Trials) -> str:
    """Say how many trials there are, and of which kind."""
    kinds = "without labels"
    if trials.label is not None:
        targets = int(trials.label.sum())
        kinds = f"{targets:,} target, {len(trials) - targets:,} non-target"
    return f"{len(trials):,} trials, {kinds}, over {len(trials.ids):,} utterances"


def require_audio(trials: Trials, utterances: Sequence[str], where: str | Path) -> None:
    """Check that each id of the list has a recording.

    Raises:
        TidyVoiceError: the first that has none, with file and line, and how many more.
    """
    trials.places_in(utterances, f"audio in {where}")
