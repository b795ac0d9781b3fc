"""Calibration and fusion: scores become log-likelihood ratios, by logistic regression.

A calibrated score is the natural logarithm of P(trial | same speaker) / P(trial | different
speakers), to which the Bayes threshold of any prior and any costs applies. Fusion is the same with
the scores of several systems; quality measures are further features.

References:
    N. Brümmer, J. du Preez, "Application-independent evaluation of speaker detection", Computer
        Speech and Language 20, 2006 (prior-weighted logistic regression).
    N. Brümmer, G. Doddington, "Likelihood-ratio calibration using prior-weighted proper scoring
        rules", Interspeech 2013 (the choice of the prior).
    J. Thienpondt, B. Desplanques, K. Demuynck, "The IDLab VoxSRC-20 submission: large margin
        fine-tuning and quality-aware score calibration in DNN based speaker verification",
        ICASSP 2021 (quality measures beside the score).
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import write_text
from tidyvoice.scoring.provenance import COMPARED, Remark, Source, Step
from tidyvoice.scoring.trials import Trials
from tidyvoice.settings import Strict

RAREST = 1e-30  # prior whose weights do not overflow
PRIOR = 0.01  # the challenge's
# Penalty on the weights: it shrinks the weight of a good score by about 1 %.
L2 = 1e-5
LIMIT = 1_000_000  # trials that a fit uses at most
_MEASURES = "quality measures"
BLOCK = 2**16
DRAWN = 2**16  # targets, and non-targets, at most, to judge a measure
# Area under the ROC curve above which a measure alone gives the answer away: docs/evaluation.md has
# values. A measure at 0.65 that is independent of the score lowers an EER of 5 % by a twentieth.
SEPARATING = 0.65


@dataclass(frozen=True)
class Features:
    """Scores of one or several systems, and quality measures, of T trials over U ids.

    Attributes:
        scores: float [T] of each system, in an order that is the same for fitting and applying.
        utterance: {name: float64 [U]}, which gives two measures: the smaller and the larger side.
        language_similarity: float [T], how alike the languages of both sides are.
    """

    trials: Trials
    scores: Sequence[np.ndarray]
    utterance: Mapping[str, np.ndarray] = field(default_factory=dict)
    language_similarity: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The F features: "score", or "score 1", "score 2" and so on, then the measures."""
        number = len(self.scores)
        names = ["score"] if number == 1 else [f"score {n + 1}" for n in range(number)]
        names += [f"{side} {name}" for name in self.utterance for side in ("smaller", "larger")]
        return (*names, *(["language similarity"] if self.language_similarity is not None else []))

    def block(self, part: slice | np.ndarray) -> np.ndarray:
        """Return the features of some trials, given a slice or places [t]: float64 [t x F]."""
        enroll, test = self.trials.enroll[part], self.trials.test[part]
        scores = [np.asarray(scores[part], dtype=np.float64)[:, None] for scores in self.scores]
        measures = []
        for values in self.utterance.values():
            left, right = values[enroll], values[test]
            measures += [np.minimum(left, right), np.maximum(left, right)]
        if self.language_similarity is not None:
            measures.append(self.language_similarity[part])
        # The memory layout decides how a product with the weights is rounded.
        return np.hstack([*scores, *([np.array(measures, np.float64).T] if measures else [])])


class Origin(Strict):
    """Provenance of a fit; the steps of a system are empty if they are unknown."""

    systems: tuple[tuple[Step, ...], ...]
    measures: Step = Step(step=_MEASURES, settings=dict.fromkeys(COMPARED[_MEASURES]))
    speakers: tuple[str, ...] | None = None
    remarks: tuple[Remark, ...] = ()


class Calibration(Strict):
    """An affine map of F features x to a log-likelihood ratio in nats:

        llr = offset + sum over f of weights_f (x_f − mean_f) / scale_f

    ``prior`` is the prior of a target trial of the fit, ``notes`` are its numbers.
    """

    format: Literal["tidyvoice calibration 1"] = "tidyvoice calibration 1"
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    mean: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    weights: tuple[float, ...]
    offset: float
    prior: Annotated[float, Field(gt=0, lt=1)]
    notes: dict[str, Any] = Field(default_factory=dict)
    origin: Origin | None = None

    @model_validator(mode="after")
    def _one_value_a_feature(self) -> "Calibration":
        if {len(self.mean), len(self.scale), len(self.weights)} != {len(self.names)}:
            raise ValueError("give one mean, scale and weight for each of the names")
        return self

    def apply(self, features: Features) -> np.ndarray:
        """Return log-likelihood ratios, float64 [T]."""
        if features.names != self.names:
            ours, others = ", ".join(self.names), ", ".join(features.names)
            problem = f"a calibration of [{ours}] has to map [{others}]"
            raise TidyVoiceError(f"{features.trials.source}: {problem}: give the same measures")
        slope, offset = self.line()
        llrs = np.empty(len(features.trials))
        for start in range(0, len(llrs), BLOCK):
            part = slice(start, start + BLOCK)
            llrs[part] = features.block(part) @ slope + offset
        return llrs

    def line(self) -> tuple[np.ndarray, float]:
        """Return slope [F] and offset for features that are neither centred nor scaled."""
        slope = np.array(self.weights) / np.array(self.scale)
        return slope, float(self.offset - slope @ np.array(self.mean))

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON; the same calibration gives the same bytes."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


def check_measures(features: Features, listed: Source) -> list[Remark]:
    """Record quality measures that alone separate targets from non-targets, and warn of them.

    A fit takes such a measure for the answer, which it is on no other list. The area under the ROC
    curve is an estimate for long lists.
    """
    label, systems = features.trials.label, len(features.scores)
    if len(features.names) == systems:
        return []
    if label is None or label.all() or not label.any():
        return [Remark(kind="unchecked", reason="unknown labels", one=listed)]
    rng = np.random.Generator(np.random.PCG64(0))
    places = [np.flatnonzero(kind) for kind in (label, ~label)]
    places = [p if len(p) <= DRAWN else p[rng.integers(len(p), size=DRAWN)] for p in places]
    targets, nontargets = map(len, places)
    values, areas = features.block(np.concatenate(places)), {}
    for name, column in zip(features.names[systems:], values.T[systems:], strict=True):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks = np.cumsum(counts) - counts / 2  # ties share their mean rank
        area = (ranks[place[:targets]].mean() - targets / 2) / nontargets
        if max(area, 1 - area) > SEPARATING:
            areas[name] = float(max(area, 1 - area))
    if not areas:
        return []
    text = f"{', '.join(areas)}: this alone separates the targets of the {listed.role}"
    fix = "Leave it out, or use other trials."
    text = f"{listed.path}: {text} from the non-targets. {fix}"
    warnings.warn(text, TidyVoiceWarning, stacklevel=2)
    return [Remark(kind="confounded", reason="separating", one=listed, details={"areas": areas})]


def fit_calibration(
    features: Features,
    prior: float = PRIOR,
    origin: Origin | None = None,
    mask: np.ndarray | None = None,
    seed: int | list[int] = 0,
) -> Calibration:
    """Fit a calibration on labelled trials, of other speakers than those it is reported on.

    With p the prior and H(p) its entropy, the fit is the minimum over weights w and offset of

        1/H(p) [p mean over targets of ln(1 + e^−(llr + logit p))
                + (1 − p) mean over non-targets of ln(1 + e^(llr + logit p))] + L2/2 ‖w‖²

    in which knowing nothing costs 1, whatever the prior, and w belong to standardised features.
    A feature that is constant gets the weight 0.

    The map fits best at the ``prior``: on cosines, 0.5 gave 4 % less Cllr and 20 % more actual cost
    at 0.01. With some hundred targets 0.1 is better for both. ``mask``, bool [T], chooses the
    trials that the fit may use; ``seed`` draws ``LIMIT`` of them.
    """
    # Imported here: it takes a second, and applying does without.
    from sklearn.linear_model import LogisticRegression

    trials = features.trials
    if not RAREST <= prior < 1:
        raise TidyVoiceError(f"prior is {prior:g}. Give a number between {RAREST} and 1.")
    kinds = () if trials.label is None else (trials.label, ~trials.label)
    places = [np.flatnonzero(kind if mask is None else kind & mask) for kind in kinds]
    if not places or not all(map(len, places)):
        text = "a calibration is fitted on labelled targets and non-targets (with --cross-fit"
        fix = "use a list with both, and more speakers"
        raise TidyVoiceError(f"{trials.source}: {text}, those outside two folds): {fix}")
    targets, nontargets = places
    rng = np.random.Generator(np.random.PCG64(seed))
    notes = {"trials": trials.source, "targets": len(targets), "nontargets": len(nontargets)}
    notes |= {"l2": L2, "limit": LIMIT, "seed": seed}
    # Half of each kind, or more of one if there are fewer of the other.
    nontargets = _sample(nontargets, max(LIMIT // 2, LIMIT - len(targets)), rng)
    targets = _sample(targets, max(LIMIT // 2, LIMIT - len(nontargets)), rng)
    x = features.block(np.append(targets, nontargets))
    y = np.arange(len(x)) < len(targets)

    even = np.where(y, 0.5 / len(targets), 0.5 / len(nontargets))
    mean = even @ x
    x -= mean
    scale = np.sqrt(even @ x**2)
    scale[scale <= 1e-9 * np.abs(mean)] = 1.0
    x /= scale
    systems = features.names[: len(features.scores)]
    for name, column in zip(systems, x.T, strict=False):
        if (even * np.where(y, column, -column)).sum() <= 0:
            problem = f"{name} is no higher for targets than for non-targets"
            fix = "negate the scores, or correct the labels"
            raise TidyVoiceError(f"{trials.source}: {problem}: {fix}")
    entropy = -prior * np.log(prior) - (1 - prior) * np.log1p(-prior)
    regression = LogisticRegression(C=1 / L2, solver="newton-cholesky", tol=1e-7)
    regression.fit(x, y, sample_weight=even * np.where(y, 2 * prior, 2 - 2 * prior) / entropy)
    return Calibration(
        names=features.names,
        mean=mean.tolist(),
        scale=scale.tolist(),
        weights=regression.coef_[0].tolist(),
        offset=float(regression.intercept_[0] - np.log(prior / (1 - prior))),
        prior=prior,
        notes=notes,
        origin=origin,
    )


def _sample(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    if len(places) <= most:
        return places
    return np.sort(rng.choice(places, most, replace=False))


def cross_fit(
    features: Features, speakers: np.ndarray, folds: int = 5, prior: float = PRIOR
) -> np.ndarray:
    """Return log-likelihood ratios of labelled trials by fits to other speakers, float64 [T].

    The speakers are divided into K folds of about as many trial sides. A trial with sides in the
    folds i and j is mapped by the calibration fitted on the trials with no side in either:
    K (K + 1) / 2 fits in all.

    ``speakers`` [U] are those of the trials' ids, as numbers or names; K = ``folds`` is at least 3.
    """
    fold = _folds(features.trials, speakers, folds)
    enroll, test = features.trials.enroll, features.trials.test
    low, high = np.minimum(fold[enroll], fold[test]), np.maximum(fold[enroll], fold[test])
    llrs = np.empty(len(features.trials))
    for number, (i, j) in enumerate(zip(*np.tril_indices(folds), strict=True)):
        rows = np.flatnonzero((high == i) & (low == j))
        if not len(rows):
            continue
        outside = (fold != i) & (fold != j)
        mask = outside[enroll] & outside[test]
        slope, offset = fit_calibration(features, prior, None, mask, [0, number]).line()
        columns = features.block(rows).T
        llrs[rows] = sum((w * column for w, column in zip(slope, columns, strict=True)), offset)
    return llrs


def _folds(trials: Trials, speakers: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each id, int32 [U]: busiest speakers first, each to the emptiest fold."""
    names, codes = np.unique(speakers, return_inverse=True)
    if folds < 3 or len(names) < folds:
        fix = "use 3 or more, but not more than speakers"
        raise TidyVoiceError(f"{trials.source}: {folds} folds of {len(names)} speakers: {fix}")
    sides = np.bincount(codes[np.append(trials.enroll, trials.test)], minlength=len(names))
    tie = np.random.Generator(np.random.PCG64(0)).random(len(names))
    fold, filled = np.empty(len(names), dtype=np.int32), np.zeros(folds)
    for speaker in np.lexsort((tie, -sides)):
        fold[speaker] = np.argmin(filled)
        filled[fold[speaker]] += sides[speaker]
    return fold[codes]
