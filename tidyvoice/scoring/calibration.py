"""Calibration and fusion: scores become log-likelihood ratios, by logistic regression.

A calibrated score is the natural logarithm of P(trial | same speaker) / P(trial | different
speakers), so that the Bayes threshold of any prior and any costs applies to it. Fusion is the same
with the scores of several systems; quality measures are further features.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import write_text
from tidyvoice.scoring.provenance import COMPARED, Remark, Step
from tidyvoice.scoring.quality import Features
from tidyvoice.settings import Strict, validate

_MEASURES = "quality measures"


class Origin(Strict):
    """Provenance of a fit.

    Attributes:
        systems: the steps that made each system's scores; no steps if they are not known.
        measures: how the quality measures were made.
        speakers: names of the speakers of the fit; None if they are not known.
        remarks: what the fit found when it compared speakers and measures.
    """

    systems: tuple[tuple[Step, ...], ...]
    measures: Step = Step(step=_MEASURES, settings=dict.fromkeys(COMPARED[_MEASURES]))
    speakers: tuple[str, ...] | None = None
    remarks: tuple[Remark, ...] = ()


class Calibration(Strict):
    """An affine map of F features x to a log-likelihood ratio:

        llr = offset + sum over f of weights_f (x_f − mean_f) / scale_f

    Attributes:
        names: the features.
        mean, scale, weights: one value for each feature.
        offset: in nats.
        prior: the prior of a target trial that the fit was weighted for.
        notes: numbers of the fit.
        origin: provenance of the fit; None if it is not known.
    """

    format: Literal["tidyvoice calibration 1"] = "tidyvoice calibration 1"
    names: tuple[str, ...]
    mean: tuple[FiniteFloat, ...]
    scale: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    weights: tuple[FiniteFloat, ...]
    offset: FiniteFloat
    prior: Annotated[float, Field(gt=0, lt=1)]
    notes: dict[str, Any] = Field(default_factory=dict)
    origin: Origin | None = None

    @model_validator(mode="after")
    def _one_value_a_feature(self) -> "Calibration":
        if {len(self.mean), len(self.scale), len(self.weights)} != {len(self.names)}:
            raise ValueError("give one mean, scale and weight for each of the names")
        return self

    def apply(self, features: Features) -> np.ndarray:
        """Return log-likelihood ratios (natural logarithm), float64 [T]; labels are not used.

        Raises:
            TidyVoiceError: the features are not those of the fit.
        """
        if features.names != self.names:
            raise TidyVoiceError(
                f"{features.trials.source}: the calibration was fitted on "
                f"[{', '.join(self.names)}], but has to map [{', '.join(features.names)}]. Give "
                "the same systems and quality measures."
            )
        slope, offset = self.line()
        llrs = np.empty(len(features.trials))
        for part, block in features.blocks():
            llrs[part] = block @ slope + offset
        return llrs

    def line(self) -> tuple[np.ndarray, float]:
        """Return slope [F] and offset for features that are neither centred nor scaled."""
        slope = np.array(self.weights) / np.array(self.scale)
        return slope, float(self.offset - slope @ np.array(self.mean))

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON; the same calibration gives the same bytes."""
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


def load_calibration(path: str | Path) -> Calibration:
    """Read what ``Calibration.save`` wrote.

    Raises:
        TidyVoiceError: no such file, no JSON, a missing key or a wrong value.
    """
    path, hint = Path(path), "Write one with `tidyvoice calibrate --save`."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TidyVoiceError(f"{path}: no such file. {hint}") from None
    except ValueError as error:
        raise TidyVoiceError(f"{path}: not JSON ({error}). {hint}") from None
    if not isinstance(values, dict) or "format" not in values:
        raise TidyVoiceError(f"{path}: not a calibration, because it has no 'format'. {hint}")
    return validate(Calibration, values, path)


@dataclass(frozen=True)
class Fit:
    """Options of the fit of a calibration.

    With p the prior and H(p) its entropy, the fit is the minimum over weights w and offset of

        1/H(p) [p mean over targets of ln(1 + e^−(llr + logit p))
                + (1 − p) mean over non-targets of ln(1 + e^(llr + logit p))] + l2/2 ‖w‖²

    in which knowing nothing costs 1, whatever the prior, and w belong to standardised features.

    Attributes:
        prior: where the map fits best; the challenge's by default. On scores that no affine map
            calibrates everywhere (skewed, as cosines are), 0.5 gave 4 % less Cllr and 20 % more
            actual cost at 0.01. With some hundred targets 0.1 is better for both.
        l2: penalty on the weights. The default shrinks the weight of a good score by about 1 %.
        limit: number of trials that the fit uses at most, drawn at random: half of them targets,
            or more of one kind if there are fewer of the other.
        seed: seed of the draw.

    Raises:
        TidyVoiceError: a value out of range.
    """

    prior: float = 0.01
    l2: float = 1e-5
    limit: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise TidyVoiceError(f"prior is {self.prior:g}. Give a number between 0 and 1.")
        if not 0 < self.l2 < np.inf:
            raise TidyVoiceError(f"l2 is {self.l2:g}. Give a number above 0.")


def fit_calibration(
    features: Features,
    fit: Fit | None = None,
    origin: Origin | None = None,
    mask: np.ndarray | None = None,
    seed: list[int] | None = None,
    where: str = "",
) -> Calibration:
    """Fit a calibration on labelled trials, of other speakers than those it is reported on.

    A feature that is constant gets the weight 0. A system whose weight is not positive beside the
    other features, though its scores alone are higher for targets, gives a warning.

    Args:
        origin: provenance, kept with the calibration.
        mask: bool [T], the trials that the fit may use; all by default.
        seed: replaces that of ``fit``.
        where: names the trials that may be used in error messages.

    Raises:
        TidyVoiceError: no labels, no trial of a kind, or scores that are no higher for targets.
    """
    # Imported here: it takes a second, and applying does without.
    from sklearn.linear_model import LogisticRegression

    fit, trials = fit or Fit(), features.trials
    if trials.label is None:
        raise TidyVoiceError(
            f"{trials.source}: the fit of a calibration needs labels. Score a list with "
            "'target|nontarget'."
        )
    rng = np.random.Generator(np.random.PCG64(fit.seed if seed is None else seed))
    targets, nontargets = (
        np.flatnonzero(kind if mask is None else kind & mask)
        for kind in (trials.label, ~trials.label)
    )
    if not len(targets) or not len(nontargets):
        raise TidyVoiceError(
            f"{trials.source}: no {'non-target' if len(targets) else 'target'} trial{where}. A "
            "calibration is fitted on both kinds: use a list with more speakers."
        )
    notes = {"trials": trials.source, "targets": len(targets), "nontargets": len(nontargets)}
    half = fit.limit // 2
    nontargets = _sample(nontargets, max(half, fit.limit - len(targets)), rng)
    targets = _sample(targets, max(half, fit.limit - len(nontargets)), rng)
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
            raise TidyVoiceError(
                f"{trials.source}: {name} is no higher for targets than for non-targets{where}. A "
                "higher score must mean the same speaker: negate the scores, or correct the labels."
            )
    p = fit.prior
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    regression = LogisticRegression(C=1 / fit.l2, solver="newton-cholesky", tol=1e-7)
    regression.fit(x, y, sample_weight=even * np.where(y, 2 * p, 2 - 2 * p) / entropy)
    weights = regression.coef_[0]
    for name, weight in zip(systems, weights, strict=False):
        if weight <= 0:
            warnings.warn(
                f"{trials.source}: the weight of {name} is not positive{where}, although it alone "
                "is higher for targets: the other features contain its information. Compare the "
                "result without it.",
                TidyVoiceWarning,
                stacklevel=2,
            )
    notes |= {"l2": fit.l2, "limit": fit.limit, "seed": fit.seed}
    return Calibration(
        names=features.names,
        mean=mean.tolist(),
        scale=scale.tolist(),
        weights=weights.tolist(),
        offset=float(regression.intercept_[0] - np.log(p / (1 - p))),
        prior=p,
        notes=notes,
        origin=origin,
    )


def _sample(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    if len(places) <= most:
        return places
    return np.sort(rng.choice(places, most, replace=False))
