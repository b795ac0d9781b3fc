"""Decisions from embeddings: a back end, calibration and thresholds."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import TypedDict  # pydantic needs it for Python 3.11 and older

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import write_text
from tidyvoice.model_files import VERIFIER_FILE
from tidyvoice.scoring.backend import Backend, Voices
from tidyvoice.scoring.distribution import Distribution
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


# How a verifier was fitted: names of files, numbers, and overlaps of speakers in words.
Notes = TypedDict(
    "Notes",
    dict.fromkeys(("embeddings", "trials"), str)
    | dict.fromkeys(("targets", "nontargets"), int)
    | {"prior": float, "in_sample": list[str], "unchecked": list[str]},
)


class Verifier(Strict):
    """Scores of embeddings and decisions on them.

    Attributes:
        model: SHA-256 of the weights of the model that it belongs to.
        backend: how embeddings are compared, without its speakers' names and language classifier.
        scales: calibrations by number of enrolment recordings, increasing from 1.
        notes: see ``Notes``.

    Example:
        >>> verifier = Verifier.load("model")
        >>> decision = verifier.decide(0.4, prior=0.01)
        >>> decision.same_speaker, verifier.decide(decision.threshold, prior=0.01).probability
        (False, 0.5)
    """

    format: Literal["tidyvoice verifier 4"] = "tidyvoice verifier 4"
    model: Annotated[str, Field(pattern=SHA256)]
    backend: Backend
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)]
    notes: Notes

    @model_validator(mode="after")
    def _increasing(self) -> "Verifier":
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
        return self.backend.prepare(embeddings)

    def scores(self, left: Voices, right: Voices) -> np.ndarray:
        """Score voices in pairs, float64 [N]; ``right`` may be a single voice."""
        if len(right) == 1:
            products = left.vectors @ right.vectors[0]
        else:
            products = np.einsum("nd,nd->n", left.vectors, right.vectors)
        return products + left.biases + right.biases

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


def log_odds(prior: float) -> float:
    """Return ln(p / (1 - p)) of a probability between 0 and 1."""
    if not 0 < prior < 1:
        raise TidyVoiceError(f"prior {prior:g}: give a probability between 0 and 1")
    return math.log(prior / (1 - prior))
