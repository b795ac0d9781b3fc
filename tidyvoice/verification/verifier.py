"""Decisions from embeddings: centring, score normalisation, calibration and thresholds."""

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, model_validator
from typing_extensions import TypedDict  # pydantic needs it for Python 3.11 and older

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.scoring.cohort import Cohort
from tidyvoice.scoring.distribution import Distribution
from tidyvoice.scoring.normalization import cohort_statistics
from tidyvoice.settings import Strict, read_json

SHA256 = "^[0-9a-f]{64}$"


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


class Scale(Strict):
    """Calibration for a number of enrolment recordings: llr = slope * score + offset."""

    recordings: Annotated[int, Field(ge=1)]
    slope: Annotated[float, Field(gt=0)]
    offset: float
    distribution: Distribution  # of the trials to which it was fitted


@dataclass(frozen=True)
class Voices:
    """Embeddings prepared for scoring."""

    units: np.ndarray  # float32 [N x D], centred, at unit length
    mean: np.ndarray  # of each one's highest cohort scores, float64 [N]; 0 without a cohort
    deviation: np.ndarray  # of the same; 1 without a cohort


def _array(value: np.ndarray | str) -> np.ndarray:
    """Read an array from the text of a ``.npy`` file in base64."""
    if isinstance(value, str):
        file = io.BytesIO(base64.b64decode(value, validate=True))
        try:
            value = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # numpy evaluates the header as Python
            raise ValueError(f"not an array ({error})") from None
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
        raise ValueError("not an array of floats")
    if not value.size or not np.isfinite(value).all():
        raise ValueError("empty, or not finite")
    return value


def _text(array: np.ndarray) -> str:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


Array = Annotated[np.ndarray, PlainValidator(_array), PlainSerializer(_text, when_used="json")]


# How a verifier was fitted: names of files, numbers, and overlaps of speakers in words.
Notes = TypedDict(
    "Notes",
    dict.fromkeys(("embeddings", "trials"), str)
    | dict.fromkeys(("targets", "nontargets", "mean_of", "cohort_of"), int)
    | {"prior": float, "in_sample": list[str], "unchecked": list[str]},
)


class Verifier(Strict):
    """Scores of embeddings and decisions on them.

    The score is the cosine of the centred embeddings. With a cohort, AS-norm normalises it.

    Attributes:
        model: SHA-256 of the weights of the model that it belongs to.
        mean: the embedding to subtract, float32 [D].
        scales: calibrations by number of enrolment recordings, increasing from 1.
        cohort: speakers of the cohort, float32 [C x D], centred, at unit length; None without.
        top_n: number of highest cohort scores used.
        notes: see ``Notes``.

    Example:
        >>> verifier = Verifier.load("model")
        >>> decision = verifier.decide(0.4, prior=0.01)
        >>> decision.same_speaker, verifier.decide(decision.threshold, prior=0.01).probability
        (False, 0.5)
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    format: Literal["tidyvoice verifier 3"] = "tidyvoice verifier 3"
    model: Annotated[str, Field(pattern=SHA256)]
    mean: Array
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)]
    cohort: Array | None = None
    top_n: int = 0
    notes: Notes

    @model_validator(mode="after")
    def _agreeing(self) -> "Verifier":
        cohort = None if self.cohort is None else self.cohort.shape
        if self.mean.ndim != 1 or (cohort and cohort[1:] != self.mean.shape):
            raise ValueError(f"a mean {self.mean.shape} and a cohort {cohort} do not agree")
        if cohort and not 2 <= self.top_n <= cohort[0]:
            raise ValueError(f"top_n is {self.top_n}, of a cohort of {cohort[0]}")
        recordings = [scale.recordings for scale in self.scales]
        if recordings[0] != 1 or sorted(set(recordings)) != recordings:
            raise ValueError(f"recordings of scales are {recordings}: they must increase from 1")
        return self

    @property
    def fitted_to(self) -> str:
        """Names of the embeddings and trials to which it was fitted."""
        return f"{self.notes['embeddings']} and the trial list {self.notes['trials']}"

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
        return [scale for scale in self.scales if scale.recordings <= max(recordings, 1)][-1]

    def decide(
        self,
        score: float,
        prior: float = 0.5,
        warnings: tuple[str, ...] = (),
        recordings: int = 1,
        threshold: float | None = None,
    ) -> Verification:
        """Decide on a score; see ``SpeakerEncoder.verify``."""
        scale = self.scale(recordings)
        even = (-log_odds(prior) - scale.offset) / scale.slope
        # Computed from the difference, so that it is 0.5 exactly at the default threshold.
        probability = 1 / (1 + math.exp(-np.clip(scale.slope * (score - even), -700, 700)))
        limit = even if threshold is None else threshold
        llr = float(scale.slope * score + scale.offset)
        return Verification(score, llr, probability, score > limit, limit, prior, warnings)

    def save(self, folder: str | Path) -> Path:
        """Write ``verifier.json`` into a model folder atomically."""
        path = Path(folder) / VERIFIER_FILE
        write_text(path, self.model_dump_json() + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Verifier | None":
        """Read the verifier of a model folder; None if there is none."""
        path = Path(folder) / VERIFIER_FILE
        if not path.is_file():
            return None
        return read_json(cls, path, "delete it, and write a new one with `tidyvoice fit-verifier`")


def unit_length(embeddings: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Subtract a mean [D] and scale to unit length, float32 [N x D]; zero stays zero."""
    centred = embeddings if mean is None else embeddings - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def log_odds(prior: float) -> float:
    """Return ln(p / (1 - p)) of a probability between 0 and 1."""
    if not 0 < prior < 1:
        raise TidyVoiceError(f"prior {prior:g}: give a probability between 0 and 1")
    return math.log(prior / (1 - prior))
