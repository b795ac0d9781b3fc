"""Back ends: how embeddings are compared.

A back end subtracts a mean. It may project embeddings, compare them by PLDA in place of the cosine,
and lower scores by what other speakers would score (``CohortOffsets``). In every form, a score is
a scalar product and a number of each side, so that lists of millions of trials take seconds.
``scoring.fitting`` fits back ends to training speakers.

References:
    N. Brümmer, E. de Villiers, "The speaker partitioning problem", Odyssey 2010 (PLDA in its
        two-covariance form).
    D. Garcia-Romero, C. Espy-Wilson, "Analysis of i-vector length normalization in speaker
        recognition systems", Interspeech 2011 (unit length before PLDA).
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator

from tidyvoice.arrays import Array
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.files import write_text
from tidyvoice.readahead import in_blocks
from tidyvoice.scoring.columns import more
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.settings import Strict, read_json

# A vector that shrinks this much when the mean is subtracted is rounding.
VANISHED = 1e-6
# Standard deviations between the mean cohort score of a list and that of the cohort's own speakers.
UNLIKE = 1.5
# Utterances whose cohort scores each thread holds at once: 512 x 3,666 scores are 7 or 15 MiB.
UTTERANCES = 512
TITLES = {"centre": "centred cosine", "nap": "NAP", "lda": "LDA", "plda": "PLDA"}


@dataclass(frozen=True)
class Voices:
    """U embeddings as a back end compares them: s(e, t) = <x_e, x_t> + b_e + b_t.

    Attributes:
        vectors: x, [U x K]; float64 for PLDA, else float32, at unit length.
        biases: b, float64 [U].
    """

    vectors: np.ndarray
    biases: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | np.ndarray) -> "Voices":
        return Voices(self.vectors[rows], self.biases[rows])

    def scores(self, others: "Voices") -> np.ndarray:
        """Return the scores of all with all others, [U x V]."""
        return self.vectors @ others.vectors.T + self.biases[:, None] + others.biases


class _Arrays(Strict):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class Plda(_Arrays):
    """Two-covariance model of vectors [K]: x = mean + speaker + rest, both of them Gaussian.

    ``basis`` [K x K] makes both covariances diagonal: that of the rest is the identity, that of
    the speaker ``between`` [K].
    """

    mean: Array
    basis: Array
    between: Array

    def compare(self, vectors: np.ndarray) -> Voices:
        """Return voices whose scores are ln p(e, t | one speaker) − ln p(e, t | two speakers).

        With z = basis' (x − mean) and ψ = between, the log-likelihood ratio is the sum over the
        dimensions of ln(1 + ψ) − ½ ln(1 + 2ψ) + ψ z_e z_t / (1 + 2ψ)
        − ½ ψ² (z_e² + z_t²) / ((1 + ψ)(1 + 2ψ)).
        """
        psi = self.between.astype(np.float64)
        z = (vectors - self.mean) @ self.basis.astype(np.float64)
        own = z**2 @ (psi**2 / ((1 + psi) * (1 + 2 * psi)))
        constant = (np.log1p(psi) - np.log1p(2 * psi) / 2).sum()
        return Voices(z * np.sqrt(psi / (1 + 2 * psi)), (constant - own) / 2)


class CohortOffsets(_Arrays):
    """Offsets that lower the scores of voices to which many other speakers are similar.

    The mean μ of a voice's highest cohort scores is AS-norm's. Few speakers estimate it badly, and
    the deviation of their scores, by which AS-norm divides, even worse: minDCF rises
    (docs/evaluation.md). So no score is divided, and each is lowered by ``weight`` times
    ½ (μ_e − ``typical``) + ½ (μ_t − ``typical``). The weight is the part of μ's variance that two
    halves of the cohort agree on.

    Attributes:
        vectors, biases: the C speakers of the cohort, compared as voices: [C x K] and [C].
        weight: 0 leaves scores as they are.
        typical: mean of μ over utterances of the cohort's speakers.
        spread: its standard deviation.
    """

    vectors: Array
    biases: Array
    weight: Annotated[float, Field(ge=0, le=1)]
    typical: float
    spread: float

    def lower(self, voices: Voices, source: str | None = None) -> Voices:
        """Return voices with lower scores; warn if the list ``source`` is unlike the cohort."""
        means = self.means(voices)
        away = abs(means.mean() - self.typical) / max(self.spread, 1e-12)
        if source and away > UNLIKE:
            text = f"{source}: these voices score against the cohort {away:.1f} standard deviations"
            text += " away from its own. The cohort is unlike the list: its offsets may not help."
            warnings.warn(text, TidyVoiceWarning, stacklevel=2)
        return Voices(voices.vectors, voices.biases - self.weight * (means - self.typical) / 2)

    def means(self, voices: Voices) -> np.ndarray:
        """Return μ of each voice, float64 [U]: the mean of a tenth of the cohort's scores."""
        cohort, means = Voices(self.vectors, self.biases), np.empty(len(voices))

        def work(part: slice) -> None:
            means[part] = highest_means(voices[part].scores(cohort))

        in_blocks(work, len(voices), UTTERANCES)
        return means


def highest_means(scores: np.ndarray) -> np.ndarray:
    """Return the mean of the highest tenth of each row, at least of one score: float64 [U]."""
    first = scores.shape[1] - max(round(scores.shape[1] / 10), 1)
    return np.partition(scores, first, axis=1)[:, first:].mean(axis=1, dtype=np.float64)


class LanguageClassifier(_Arrays):
    """Multinomial logistic regression: P(language | centred embedding at unit length)."""

    names: tuple[str, ...]
    weights: Array  # [D x L]
    offsets: Array  # [L]

    @model_validator(mode="after")
    def _agreeing(self) -> "LanguageClassifier":
        if not self.weights.shape[1:] == self.offsets.shape == (len(self.names),):
            raise ValueError("arrays of shapes that do not agree")
        return self

    def posteriors(self, units: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 [U x L]."""
        logits = units @ self.weights + self.offsets
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)


class Backend(_Arrays):
    """Comparison of embeddings of D dimensions; the default is their cosine.

    With a mean m alone, s(e, t) = <e − m, t − m> / (‖e − m‖ ‖t − m‖).

    Attributes:
        method: centre, nap, lda or plda, see ``fitting``.
        mean: subtracted from embeddings, [D].
        projection: applied then to the embeddings at unit length, [D x K].
        plda: compares the result, again at unit length, in place of the cosine.
        cohort: offsets of the scores.
        languages: guesses the language of an embedding, for calibration.
        model: SHA-256 of the weights of the model whose embeddings it was fitted to.
        speakers: the speakers it was fitted to; None if they are not known.
        chosen_by: the speakers whose trials chose it; None if there was no choice.

    Example:
        >>> backend = Backend.load("backend.json")
        >>> voices = backend.prepare(embeddings)
        >>> voices[:1].scores(voices[1:])
    """

    format: Literal["tidyvoice back end 1"] = "tidyvoice back end 1"
    method: Literal["centre", "nap", "lda", "plda"] = "centre"
    mean: Array | None = None
    projection: Array | None = None
    plda: Plda | None = None
    cohort: CohortOffsets | None = None
    languages: LanguageClassifier | None = None
    model: str | None = None
    speakers: tuple[str, ...] | None = None
    chosen_by: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _agreeing(self) -> "Backend":
        try:
            if self.mean is not None:
                vectors = np.ones((1, *self.mean.shape), np.float32)
                self.prepare(vectors)
                if self.languages is not None:
                    self.languages.posteriors(vectors)
        except ValueError as error:
            raise ValueError(f"arrays of shapes that do not agree ({error})") from None
        return self

    @property
    def title(self) -> str:
        """The method in a few words, such as "LDA, cohort offsets"."""
        name = TITLES[self.method] if self.mean is not None else "plain cosine"
        return f"{name}, cohort offsets" if self.cohort else name

    def centre(self, vectors: np.ndarray) -> np.ndarray:
        """Subtract the mean from embeddings [U x D], and scale them to unit length.

        An embedding that is not finite, or equals the mean but for rounding, becomes zero.
        """
        before = np.linalg.norm(vectors, axis=1)
        if self.mean is not None:
            if self.mean.shape != vectors.shape[1:]:
                sizes = f"{vectors.shape[1]} dimensions, those of the back end {len(self.mean)}"
                fix = "Extract both with the same model."
                raise TidyVoiceError(f"the embeddings have {sizes}. {fix}")
            vectors = vectors - self.mean.astype(np.float32)
        return _unit(vectors.astype(np.float32, copy=False), VANISHED * before)

    def compare(self, vectors: np.ndarray) -> Voices:
        """Prepare embeddings [U x D] for scores without the cohort's offsets."""
        vectors = self.centre(vectors)
        if self.projection is not None:
            vectors = _unit(vectors @ self.projection, 0.0)
        if self.plda is not None:
            return self.plda.compare(vectors)
        return Voices(vectors, np.zeros(len(vectors)))

    def prepare(self, vectors: np.ndarray) -> Voices:
        """Prepare raw embeddings [U x D] for scores."""
        voices = self.compare(vectors)
        return self.cohort.lower(voices) if self.cohort else voices

    def voices(self, embeddings: Embeddings, rows: np.ndarray, source: str | None = None) -> Voices:
        """Prepare chosen rows of a table; an embedding without direction is an error.

        ``source`` names the list in the warning about a cohort that is unlike it.
        """
        vectors = embeddings.vectors[rows]
        bad = ~self.centre(vectors).any(axis=1)
        if bad.any():
            which = f"the embedding of '{embeddings.ids[rows[np.argmax(bad)]]}'"
            problem = f"{which}{more(bad.sum() - 1)} is zero, not finite or the mean itself"
            raise TidyVoiceError(f"{problem}: check the audio")
        voices = self.compare(vectors)
        return self.cohort.lower(voices, source) if self.cohort else voices

    def save(self, path: str | Path) -> None:
        """Write a JSON file, atomically."""
        write_text(path, self.model_dump_json(exclude_none=True) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Backend":
        """Read a file that ``save`` wrote."""
        return read_json(cls, Path(path), "write it with `tidyvoice fit-backend`")


def _unit(vectors: np.ndarray, least: np.ndarray | float) -> np.ndarray:
    """Scale rows to unit length; those not longer than ``least``, or not finite, become zero."""
    norms = np.linalg.norm(vectors, axis=1)
    good = (norms > least) & np.isfinite(norms)
    return np.divide(vectors, norms[:, None], out=np.zeros_like(vectors), where=good[:, None])
