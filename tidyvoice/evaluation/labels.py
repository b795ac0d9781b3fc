"""Labels for scores from a trial list, such as the labels that a challenge publishes later."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.columns import more
from tidyvoice.scoring.trials import (
    LABELS,
    ScoreTable,
    Trials,
    by_stem,
    read_scores,
    read_trials,
    stem,
)


def read_labelled(scores: str | Path, key: str | Path | None = None) -> ScoreTable:
    """Read a score file; ``key`` is a trial list that gives the labels.

    Raises:
        TidyVoiceError: see ``read_scores``, ``read_trials`` and ``with_labels``.
    """
    table = read_scores(scores)
    return table if key is None else with_labels(table, read_trials(key))


def with_labels(table: ScoreTable, key: Trials) -> ScoreTable:
    """Return the scores with the labels that ``key`` gives their pairs (enroll, test).

    The order of ``key`` does not matter. Ids match with or without ``.wav``.

    Raises:
        TidyVoiceError: ``key`` has no labels, a pair is in only one of the two lists, or the scores
            carry another label already: file and line of the first, and how many more.
    """
    trials = table.trials
    if key.label is None:
        raise TidyVoiceError(
            f"{key.source}:1: a list without labels; give lines '1|0 enroll test' or 'enroll test "
            "target|nontarget'"
        )
    # Sorting 12 million pairs takes seconds, this comparison 0.1 s.
    same = len(trials) == len(key) and trials.first_other(key) is None
    label = key.label if same else _joined(trials, key)
    if trials.label is not None and len(other := np.flatnonzero(label != trials.label)):
        first = int(other[0])
        raise TidyVoiceError(
            f"{trials.source}:{first + 1}: '{trials.pair(first)}' is a "
            f"{LABELS[0 if trials.label[first] else 1]} trial here, but not in {key.source}"
            f"{more(len(other) - 1)}; remove the labels that are wrong"
        )
    return ScoreTable(replace(trials, label=label), table.scores)


def _joined(trials: Trials, key: Trials) -> np.ndarray:
    """Look up the label of each trial by its pair: bool [T]."""
    places = by_stem(trials.ids, trials.source)
    by_stem(key.ids, key.source)
    rows = np.array([places.get(stem(i), -1) for i in key.ids], dtype=np.int64)
    scored = trials.enroll.astype(np.int64) << 32 | trials.test
    listed = rows[key.enroll] << 32 | rows[key.test]  # below 0 with an id that has no score
    # Searching in sorted order is five times as fast.
    by_score, by_key = np.argsort(scored), np.argsort(listed)
    scored, listed = scored[by_score], listed[by_key]
    _refuse_missing(by_score[~_among(scored, listed)], trials, f"is not in {key.source}")
    _refuse_missing(by_key[~_among(listed, scored)], key, f"has no score in {trials.source}")
    label = np.empty(len(trials), dtype=bool)
    label[by_score] = key.label[by_key[np.searchsorted(listed, scored)]]
    return label


def _among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell which sorted values are among sorted others: bool [n]."""
    places = np.minimum(np.searchsorted(others, values), len(others) - 1)
    return others[places] == values


def _refuse_missing(rows: np.ndarray, trials: Trials, problem: str) -> None:
    """Refuse trials that are in one list only."""
    if len(rows):
        first = int(rows.min())
        raise TidyVoiceError(
            f"{trials.source}:{first + 1}: the trial '{trials.pair(first)}' {problem}"
            f"{more(len(rows) - 1)}; give the list that was scored"
        )
