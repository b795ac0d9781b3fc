"""Labels of scores from a trial list, such as one whose labels are announced after a challenge."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

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
    """Read a score file; with ``key``, take the labels from that trial list.

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
    # A join of 12 million pairs takes seconds, this comparison a tenth of one.
    same = len(trials) == len(key) and trials.first_other(key) is None
    label = key.label if same else _joined(trials, key)
    if trials.label is not None and len(other := np.flatnonzero(label != trials.label)):
        first = int(other[0])
        raise TidyVoiceError(
            f"{trials.source}:{first + 1}: '{trials.pair(first)}' is a "
            f"{LABELS[0 if trials.label[first] else 1]} trial here, and none in {key.source}"
            f"{more(len(other) - 1)}; remove the labels that are wrong"
        )
    return ScoreTable(replace(trials, label=label), table.scores)


def _joined(trials: Trials, key: Trials) -> np.ndarray:
    """Look up the label of each trial by its pair: bool [T]."""
    places = by_stem(trials.ids, trials.source)
    by_stem(key.ids, key.source)
    own = np.array([places.get(stem(i), -1) for i in key.ids], dtype=np.int64)
    scored = pl.DataFrame({"pair": _pairs(trials.enroll.astype(np.int64), trials.test)})
    listed = pl.DataFrame({"pair": _pairs(own[key.enroll], own[key.test]), "label": key.label})
    found = scored.join(
        listed.unique("pair", keep="any"), on="pair", how="left", maintain_order="left"
    )["label"]
    _refuse_missing(found.is_null(), trials, f"is not in {key.source}")
    without = ~listed["pair"].is_in(scored["pair"].unique().implode())
    _refuse_missing(without, key, f"has no score in {trials.source}")
    return found.to_numpy()


def _pairs(enroll: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Number pairs of places, int64; those with an id that is not known (-1) are negative."""
    return enroll << 32 | test


def _refuse_missing(missing: pl.Series, trials: Trials, said: str) -> None:
    if missing.any():
        first = int(missing.arg_max())
        raise TidyVoiceError(
            f"{trials.source}:{first + 1}: the trial '{trials.pair(first)}' {said}"
            f"{more(int(missing.sum()) - 1)}; give the list that was scored"
        )
