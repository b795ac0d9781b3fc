"""Published trial lists, compared with their published size and described."""

import warnings

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
    """Return the number of trials of each kind, and of utterances."""
    kinds = "without labels"
    if trials.label is not None:
        targets = int(trials.label.sum())
        kinds = f"{targets:,} target, {len(trials) - targets:,} non-target"
    return f"{len(trials):,} trials, {kinds}, over {len(trials.ids):,} utterances"
