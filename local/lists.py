"""Published trial lists, checked against what is known of them and against a corpus."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.scoring.spool import Spool
from tidyvoice.scoring.trials import TrialList


@contextmanager
def read_list(path: Path, expected: int | None, folder: Path) -> Iterator[Spool]:
    """A list, read once into a nameless file in ``folder``; another number of trials is warned of.

    Raises:
        TidyVoiceError: see ``tidyvoice.scoring.trials.read_trials``.
    """
    with Spool.of_trials(path, folder) as trials:
        check_count(trials, expected)
        yield trials


def check_count(trials: TrialList, expected: int | None) -> None:
    """Warn of a list that has another number of trials than was published."""
    if expected is not None and len(trials) != expected:
        warnings.warn(
            f"{trials.source}: {len(trials):,} trials, the published list has {expected:,}",
            TidyVoiceWarning,
            stacklevel=2,
        )


def count_labels(trials: TrialList) -> tuple[int, int] | None:
    """How many target and non-target trials there are; None for a list without labels."""
    targets = 0
    for part in trials.parts():
        if part.label is None:
            return None
        targets += int(part.label.sum())
    return targets, len(trials) - targets


def describe(trials: TrialList) -> str:
    """The list in words: how many trials, and of which kind."""
    labels = count_labels(trials)
    kinds = (
        "without labels" if labels is None else f"{labels[0]:,} target, {labels[1]:,} non-target"
    )
    return f"{len(trials):,} trials, {kinds}, over {len(trials.ids):,} utterances"


def require_audio(trials: TrialList, utterances: Sequence[str], where: str | Path) -> None:
    """That each id of the list has a recording.

    Raises:
        TidyVoiceError: the first that has none, with file and line, and how many more.
    """
    trials.places_in(utterances, f"audio in {where}")
