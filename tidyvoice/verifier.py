"""From two embeddings to a decision: the mean, the calibration and the scores of a model's trials.

``verifier.json`` in a model's folder holds what is needed; `tidyvoice fit-verifier` writes it.
Works without torch.
"""

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
from tidyvoice.scoring.distribution import BINS, Distribution, Tail

FORMAT = "tidyvoice verifier 1"
MEND = "`tidyvoice fit-verifier` writes one"


@dataclass(frozen=True)
class Verification:
    """What is said of two recordings.

    Attributes:
        score: cosine of the embeddings, the mean subtracted where the model has one.
        llr: natural logarithm of P(both recordings | one speaker) / P(both | two speakers); like
            the following, None where the model carries no calibration.
        probability: that it is one speaker, at the prior.
        same_speaker: whether that is more likely than not.
        threshold: the score at which this decision turns.
        prior: the probability of one speaker before the recordings were heard.
        warnings: what is to be said against the recordings.

    Example:
        >>> from tidyvoice import SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_pretrained("model", device="cpu")
        >>> found = encoder.verify("ann-1.wav", "ann-2.wav", prior=0.5)
        >>> found.same_speaker == (found.score > found.threshold) == (found.llr > 0)
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
class Verifier:
    """What a model's scores mean.

    Attributes:
        model: SHA-256 of the weights of the model that it belongs to.
        mean: the mean embedding that is subtracted, float32 [D].
        slope, offset: llr = slope * score + offset, above 0 the slope.
        distribution: of the scores that it was fitted to.
        notes: what it was fitted to, and what was not checked.

    Example:
        >>> verifier = Verifier.load("model")
        >>> decision = verifier.decide(0.4, prior=0.01)
        >>> decision.same_speaker, verifier.decide(decision.threshold, prior=0.01).probability
        (False, 0.5)
    """

    model: str
    mean: np.ndarray
    slope: float
    offset: float
    distribution: Distribution
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fitted_to(self) -> str:
        """Embeddings and list that it was fitted to, in words."""
        known = [self.notes[key] for key in ("embeddings", "trials") if key in self.notes]
        return " with the list ".join(known) or "data that it does not name"

    def directions(self, embeddings: np.ndarray) -> np.ndarray:
        """Unit vectors float32 [N x D] of raw embeddings [N x D], whose products are the scores."""
        return directions(embeddings, self.mean)

    def llr(self, scores: np.ndarray | float) -> np.ndarray | float:
        """Log-likelihood ratios of scores, in nats."""
        return self.slope * scores + self.offset

    def decide(
        self, score: float, prior: float = 0.5, warnings: tuple[str, ...] = ()
    ) -> Verification:
        """What a score says at a prior; with costs, at the effective prior
        p c_miss / (p c_miss + (1 - p) c_fa).

        Raises:
            TidyVoiceError: the prior is not between 0 and 1.
        """
        odds = log_odds(prior)
        llr = float(self.llr(score))
        threshold = (-odds - self.offset) / self.slope
        # One comparison for all three, so that they never contradict each other.
        probability = 1 / (1 + math.exp(-np.clip(self.slope * (score - threshold), -700, 700)))
        return Verification(score, llr, probability, score > threshold, threshold, prior, warnings)

    def save(self, folder: str | Path) -> Path:
        """Write ``verifier.json`` into a model's folder, whole or not at all."""
        path = Path(folder) / VERIFIER_FILE
        content = {"format": FORMAT, **asdict(self), "mean": self.mean.tolist()}
        write_text(path, json.dumps(content) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "Verifier | None":
        """That of a model's folder; None if there is none.

        Raises:
            TidyVoiceError: the file is damaged, or a value in it has no meaning.
        """
        path = Path(folder) / VERIFIER_FILE
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise TidyVoiceError(f"{path}: its format is not '{FORMAT}'; {MEND}")
            shape = values["distribution"]
            counts = [tuple(int(n) for n in shape[kind]) for kind in ("target", "nontarget")]
            tail = Tail(
                *(float(shape["tail"][key]) for key in ("start", "share", "scale", "shape"))
            )
            made = cls(
                str(values["model"]),
                np.array(values["mean"], dtype=np.float32),
                float(values["slope"]),
                float(values["offset"]),
                Distribution(*counts, tail),
                dict(values["notes"]),
            )
        except KeyError as error:
            raise TidyVoiceError(f"{path}: key {error} is missing; {MEND}") from None
        except (TypeError, ValueError) as error:
            raise TidyVoiceError(f"{path}: cannot be read ({error}); {MEND}") from None
        if made.mean.ndim != 1:
            raise TidyVoiceError(f"{path}: key 'mean' is no row of numbers; {MEND}")
        numbers = [*made.mean, made.slope, made.offset, *asdict(tail).values()]
        sound = np.isfinite(numbers).all() and made.slope > 0 and 0 < tail.share < 1
        if not sound or {len(count) for count in counts} != {BINS}:
            raise TidyVoiceError(f"{path}: a number in it is out of range; {MEND}")
        return made


def directions(embeddings: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors float32 [N x D] of embeddings [N x D], less a mean [D]; zero stays zero."""
    centred = embeddings if mean is None else embeddings - mean
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def log_odds(prior: float) -> float:
    """ln(p / (1 - p)).

    Raises:
        TidyVoiceError: p is not between 0 and 1.
    """
    if not 0 < prior < 1:
        raise TidyVoiceError(f"prior {prior:g}: give a probability between 0 and 1")
    return math.log(prior / (1 - prior))
