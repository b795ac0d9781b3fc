"""Decisions from embeddings: centring, score normalisation, calibration and thresholds.

A model folder may hold ``verifier.json``, which `tidyvoice fit-verifier` writes. Works without
torch.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.scoring.cohort import Cohort
from tidyvoice.scoring.distribution import BINS, Distribution, Tail
from tidyvoice.scoring.normalization import cohort_statistics

FORMAT = "tidyvoice verifier 2"
FIX = "write a new one with `tidyvoice fit-verifier`"


@dataclass(frozen=True)
class Verification:
    """Result of comparing two voices.

    Attributes:
        score: the verifier's score; the cosine of the embeddings if the model has no verifier.
        llr: natural logarithm of P(both voices | one speaker) / P(both voices | two speakers).
            None without a verifier, like ``probability``.
        probability: posterior probability of one speaker at the prior.
        same_speaker: True if the score exceeds the threshold; None without a threshold.
        threshold: the threshold given or, by default, the score of probability 0.5.
        prior: probability of one speaker before hearing the voices.
        warnings: quality problems of the recordings.

    Example:
        >>> result = encoder.verify("ann-1.wav", "ann-2.wav", prior=0.5)
        >>> result.same_speaker == (result.score > result.threshold) == (result.llr > 0)
        True
    """

    score: float
    llr: float | None
    probability: float | None
    same_speaker: bool | None
    threshold: float | None
    prior: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scale:
    """Calibration for speakers who are enrolled with a number of recordings.

    Attributes:
        recordings: the number of enrolment recordings.
        slope, offset: llr = slope * score + offset; the slope is positive.
        distribution: scores of the trials to which it was fitted.
    """

    recordings: int
    slope: float
    offset: float
    distribution: Distribution

    def llr(self, scores: np.ndarray | float) -> np.ndarray | float:
        """Convert scores to log-likelihood ratios."""
        return self.slope * scores + self.offset


@dataclass(frozen=True)
class Voices:
    """Embeddings prepared for scoring.

    Attributes:
        units: float32 [N x D], centred, at unit length.
        mean, deviation: statistics of each one's highest cohort scores, float64 [N]; 0 and 1
            without a cohort.
    """

    units: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class Verifier:
    """Scores of embeddings and decisions on them.

    The score is the cosine of the centred embeddings. With a cohort, AS-norm normalises it.

    Attributes:
        model: SHA-256 of the weights of the model that it belongs to.
        mean: the embedding to subtract, float32 [D].
        scales: calibrations by number of enrolment recordings, increasing from 1.
        cohort: speakers of the cohort, float32 [C x D], centred, at unit length; None without.
        top_n: number of highest cohort scores used.
        notes: how it was fitted, and what was not checked.

    Example:
        >>> verifier = Verifier.load("model")
        >>> decision = verifier.decide(0.4, prior=0.01)
        >>> decision.same_speaker, verifier.decide(decision.threshold, prior=0.01).probability
        (False, 0.5)
    """

    model: str
    mean: np.ndarray
    scales: tuple[Scale, ...]
    cohort: np.ndarray | None = None
    top_n: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fitted_to(self) -> str:
        """Names of the embeddings and trials to which it was fitted."""
        names = [self.notes[key] for key in ("embeddings", "trials") if key in self.notes]
        return " with the list ".join(names) or "data that it does not name"

    def prepare(self, embeddings: np.ndarray) -> Voices:
        """Prepare raw embeddings [N x D] for ``scores``."""
        units = unit_length(embeddings, self.mean)
        if self.cohort is None:
            return Voices(units, np.zeros(len(units)), np.ones(len(units)))
        cohort = Cohort(self.cohort, [], None, "the verifier's cohort")
        return Voices(units, *cohort_statistics(units, cohort, self.top_n))

    def scores(self, left: Voices, right: Voices) -> np.ndarray:
        """Score voices in pairs, float64 [N]; ``right`` may be a single voice."""
        if len(right.units) == 1:
            cosines = left.units @ right.units[0]
        else:
            cosines = np.einsum("nd,nd->n", left.units, right.units)
        sides = ((cosines - side.mean) / side.deviation for side in (left, right))
        return sum(sides) / 2

    def scale(self, recordings: int = 1) -> Scale:
        """Return the calibration of the nearest number of enrolment recordings from below."""
        return max(
            (scale for scale in self.scales if scale.recordings <= max(recordings, 1)),
            key=lambda scale: scale.recordings,
        )

    def decide(
        self,
        score: float,
        prior: float = 0.5,
        warnings: tuple[str, ...] = (),
        recordings: int = 1,
        threshold: float | None = None,
    ) -> Verification:
        """Decide on a score.

        Args:
            prior: probability of one speaker; with costs of the two errors, the effective prior
                p c_miss / (p c_miss + (1 - p) c_fa).
            recordings: number of enrolment recordings.
            threshold: score to exceed; by default the one at which the probability is 0.5.

        Raises:
            TidyVoiceError: the prior is not between 0 and 1.
        """
        scale = self.scale(recordings)
        even = (-log_odds(prior) - scale.offset) / scale.slope
        # Computed from the difference, so that it is 0.5 exactly at the default threshold.
        probability = 1 / (1 + math.exp(-np.clip(scale.slope * (score - even), -700, 700)))
        limit = even if threshold is None else threshold
        llr = float(scale.llr(score))
        return Verification(score, llr, probability, score > limit, limit, prior, warnings)

    def save(self, folder: str | Path) -> Path:
        """Write ``verifier.json`` into a model folder atomically."""
        path = Path(folder) / VERIFIER_FILE
        content = {"format": FORMAT, **vars(self), "mean": self.mean.tolist()}
        content["scales"] = [asdict(scale) for scale in self.scales]
        if self.cohort is not None:
            content["cohort"] = base64.urlsafe_b64encode(self.cohort.astype("<f4")).decode()
        write_text(path, json.dumps(content) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Verifier | None":
        """Read the verifier of a model folder; None if there is none.

        Raises:
            TidyVoiceError: the file is damaged, or a value is out of range.
        """
        path = Path(folder) / VERIFIER_FILE
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise TidyVoiceError(f"{path}: its format is not '{FORMAT}'; {FIX}")
            mean = np.array(values["mean"], dtype=np.float32)
            if mean.ndim != 1:
                raise TidyVoiceError(f"{path}: 'mean' is not a list of numbers; {FIX}")
            cohort = values["cohort"]
            if cohort is not None:
                cohort = np.frombuffer(base64.urlsafe_b64decode(cohort), "<f4")
                cohort = cohort.reshape(-1, len(mean))
            scales = tuple(map(_scale, values["scales"]))
            top_n, notes = int(values["top_n"]), dict(values["notes"])
        except KeyError as error:
            raise TidyVoiceError(f"{path}: key {error} is missing; {FIX}") from None
        except (TypeError, ValueError) as error:
            raise TidyVoiceError(f"{path}: cannot be read ({error}); {FIX}") from None
        sound = bool(scales) and scales[0].recordings == 1 and all(map(_is_sound, scales))
        sound = sound and bool(np.isfinite(mean).all())
        if cohort is not None:
            sound = sound and 2 <= top_n <= len(cohort) and bool(np.isfinite(cohort).all())
        if not sound:
            raise TidyVoiceError(f"{path}: a number is out of range; {FIX}")
        return cls(str(values["model"]), mean, scales, cohort, top_n, notes)


def _scale(values: Mapping[str, Any]) -> Scale:
    shape = values["distribution"]
    counts = [tuple(int(n) for n in shape[kind]) for kind in ("target", "nontarget")]
    tail = Tail(*(float(shape["tail"][key]) for key in ("start", "share", "scale", "shape")))
    low, high = map(float, shape["span"])
    distribution = Distribution(*counts, tail, (low, high))
    numbers = (float(values[key]) for key in ("slope", "offset"))
    return Scale(int(values["recordings"]), *numbers, distribution)


def _is_sound(scale: Scale) -> bool:
    shape = scale.distribution
    numbers = [scale.slope, scale.offset, *asdict(shape.tail).values(), *shape.span]
    lengths = {len(shape.target), len(shape.nontarget)}
    ordered = scale.slope > 0 and 0 < shape.tail.share < 1 and shape.span[0] < shape.span[1]
    return bool(np.isfinite(numbers).all()) and ordered and lengths == {BINS}


def unit_length(embeddings: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Subtract a mean [D] and scale to unit length, float32 [N x D]; zero stays zero."""
    centred = embeddings if mean is None else embeddings - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def log_odds(prior: float) -> float:
    """Return ln(p / (1 - p)).

    Raises:
        TidyVoiceError: p is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise TidyVoiceError(f"prior {prior:g}: give a probability between 0 and 1")
    return math.log(prior / (1 - prior))
