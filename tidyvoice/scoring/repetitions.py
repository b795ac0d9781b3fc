"""Trials that stand twice in a list."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.columns import more

if TYPE_CHECKING:
    from tidyvoice.scoring.trials import TrialList, Trials

# Trials compared with one another at a time, about; a thread holds 8 bytes of each, twice.
SHARE = 2**22


def look_for_repetitions(trials: TrialList) -> None:
    """Warn of trials that stand twice in a list.

    Raises:
        TidyVoiceError: they do with different labels.
    """
    threads = usable_cores()
    # A power of two: what is left of a division by it costs nothing.
    shares = 1 << (max(threads, len(trials) // SHARE) - 1).bit_length()

    def repeated(share: int) -> np.ndarray:
        """The keys that stand twice among those that enrol every ``shares``-th id."""
        keys = np.concatenate(
            [_keys(part)[(part.enroll & (shares - 1)) == share] for part in trials.parts()]
        )
        series = pl.Series(keys)
        if series.n_unique() == len(series):  # half the time of sorting them
            return np.empty(0, dtype=np.int64)
        return series.filter(series.is_duplicated()).unique().sort().to_numpy()

    with ThreadPoolExecutor(threads) as pool:
        twice = np.concatenate(list(pool.map(repeated, range(shares))))
    if len(twice):
        _say(trials, twice)


def _keys(trials: Trials) -> np.ndarray:
    """One int64 of both sides, [T]."""
    return (trials.enroll.astype(np.int64) << 32) | trials.test


def _say(trials: TrialList, twice: np.ndarray) -> None:
    keys, places, labels = [], [], []
    for part in trials.parts():
        key = _keys(part)
        rows = np.flatnonzero(np.isin(key, twice))
        keys.append(key[rows])
        places.append(part.first + rows)
        labels.append(np.zeros(len(rows), bool) if part.label is None else part.label[rows])
    key, place, label = (np.concatenate(values) for values in (keys, places, labels))
    order = np.lexsort((place, key))
    key, place, label = key[order], place[order], label[order]
    later = np.flatnonzero(key[1:] == key[:-1]) + 1
    at = later[np.argmin(place[later])]
    enroll, test = trials.ids[key[at] >> 32], trials.ids[key[at] & 0xFFFFFFFF]
    said = (
        f"{trials.source}:{place[at] + 1}: the trial '{enroll} {test}' stands in line "
        f"{place[at - 1] + 1} already{more(len(later) - 1)}"
    )
    other = int((label[later] != label[later - 1]).sum())
    if other:
        raise TidyVoiceError(
            f"{said}, {other:,} of them with the other label; remove what is wrong"
        )
    warnings.warn(f"{said}; each counts", TidyVoiceWarning, stacklevel=5)
