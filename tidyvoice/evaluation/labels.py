"""Labels for scores from a trial list, such as the labels that a challenge publishes later."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.trials import ScoreTable, Trials, by_stem, read_scores, read_trials, stem


def read_labelled(scores: str | Path, key: str | Path | None = None) -> ScoreTable:
    """Read a score file; the trial list ``key`` gives the labels of its pairs (enroll, test).

    The order of ``key`` does not matter. A pair that is in only one of the two files is an error,
    and so is a score with another label.
    """
    table = read_scores(scores)
    if key is None:
        return table
    trials, labelled = table.trials, read_trials(key)
    if labelled.label is None:
        forms = "'1|0 enroll test' or 'enroll test target|nontarget'"
        raise TidyVoiceError(f"{key}:1: a list without labels. Give lines {forms}.")
    # Joining 12 million pairs takes seconds, this comparison 0.1 s.
    same = len(trials) == len(labelled) and trials.first_other(labelled) is None
    label = labelled.label if same else _joined(trials, labelled)
    if trials.label is not None:
        trials.refuse(label != trials.label, f"has another label in {key}; remove the wrong one")
    return ScoreTable(replace(trials, label=label), table.scores)


def _joined(trials: Trials, key: Trials) -> np.ndarray:
    """Look up the label of each trial by its pair: bool [T]."""
    places = by_stem(trials.ids, trials.source)
    by_stem(key.ids, key.source)
    rows = np.array([places.get(stem(i), -1) for i in key.ids], dtype=np.int64)
    scored = pl.DataFrame({"pair": trials.enroll.astype(np.int64) << 32 | trials.test})
    # An id without a score makes the pair negative.
    pairs = {"pair": rows[key.enroll] << 32 | rows[key.test], "label": key.label}
    listed = pl.DataFrame(pairs).unique("pair", keep="any")
    label = scored.join(listed, on="pair", how="left", maintain_order="left")["label"]
    advice = "give the list that was scored"
    trials.refuse(label.is_null().to_numpy(), f"is not in {key.source}; {advice}")
    extra = ~pl.Series(pairs["pair"]).is_in(scored["pair"].implode()).to_numpy()
    key.refuse(extra, f"has no score in {trials.source}; {advice}")
    return label.to_numpy()
