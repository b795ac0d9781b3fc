"""Calibration of a list by its own trials: each from a fit that knows neither of its speakers."""

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.calibration import Fit, fit_calibration
from tidyvoice.scoring.quality import Features
from tidyvoice.scoring.trials import Trials


def cross_fit(
    features: Features, speakers: np.ndarray, folds: int = 5, fit: Fit | None = None
) -> np.ndarray:
    """Return log-likelihood ratios of labelled trials, float64 [T].

    The speakers are divided into K folds of about as many trial sides. A trial with sides in the
    folds i and j is mapped by the calibration fitted on the trials with no side in either:
    K (K + 1) / 2 fits in all.

    Args:
        speakers: [U], the speaker of each of the trials' ids, as numbers or names.
        folds: K, at least 3.
        fit: see ``Fit``; its seed also decides between folds that are equally full.

    Raises:
        TidyVoiceError: fewer than 3 folds, fewer speakers than folds, or see ``fit_calibration``.
    """
    fit, trials = fit or Fit(), features.trials
    fold = _folds(trials, speakers, folds, fit.seed)
    enroll, test = fold[trials.enroll], fold[trials.test]
    low, high = np.minimum(enroll, test), np.maximum(enroll, test)
    group = high * (high + 1) // 2 + low  # the place of (high, low) among the pairs of folds
    pairs = np.stack(np.tril_indices(folds), axis=1)

    slopes, offsets = np.zeros((len(pairs), len(features.names))), np.zeros(len(pairs))
    for number in np.unique(group):
        mask = ~np.isin(pairs, pairs[number]).any(axis=1)[group]
        where = f" outside folds {' and '.join(map(str, np.unique(pairs[number]) + 1))} of {folds}"
        calibration = fit_calibration(features, fit, None, mask, [fit.seed, number], where)
        slopes[number], offsets[number] = calibration.line()
    llrs = np.empty(len(trials))
    for part, block in features.blocks():
        llrs[part] = offsets[group[part]]
        for column in range(block.shape[1]):
            llrs[part] += slopes[:, column][group[part]] * block[:, column]
    return llrs


def _folds(trials: Trials, speakers: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each id, int32 [U]: busiest speakers first, each to the emptiest fold."""
    names, codes = np.unique(speakers, return_inverse=True)
    if folds < 3 or len(names) < folds:
        raise TidyVoiceError(
            f"{trials.source}: {folds} folds of {len(names)} speakers. Use at least 3 folds, "
            "because a fit leaves out two of them, and at most one for each speaker."
        )
    sides = sum(np.bincount(side, minlength=len(codes)) for side in (trials.enroll, trials.test))
    sides = np.bincount(codes, weights=sides)
    tie = np.random.Generator(np.random.PCG64(seed)).random(len(names))
    fold, filled = np.empty(len(names), dtype=np.int32), np.zeros(folds)
    for speaker in np.lexsort((tie, -sides)):
        fold[speaker] = np.argmin(filled)
        filled[fold[speaker]] += sides[speaker]
    return fold[codes]
