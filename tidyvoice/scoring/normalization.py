"""Score normalisation by a cohort of other speakers: S-norm and AS-norm.

References:
    P. Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010 (S-norm).
    D. Sturim, D. Reynolds, "Speaker adaptive cohort selection for Tnorm in text-independent
        speaker verification", ICASSP 2005 (an adaptive cohort).
    P. Matějka, O. Novotný, O. Plchot, L. Burget, M. Diez Sánchez, J. Černocký, "Analysis of score
        normalization in multilingual speaker recognition", Interspeech 2017 (AS-norm, there
        AS-norm1).
"""

from collections.abc import Mapping

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.readahead import in_blocks
from tidyvoice.scoring.backend import UTTERANCES, Backend
from tidyvoice.scoring.cosine import BLOCK, voices_of
from tidyvoice.scoring.embeddings import Embeddings, every_id
from tidyvoice.scoring.fitting import speaker_sums
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.trials import ScoreTable

# A standard deviation of float32 cosines below this is rounding.
FLAT = 1e-6
# About so many scores are compared with the cosine.
CHECKED, TOLERANCE = 10_000, 1e-3


def speaker_cohort(
    embeddings: Embeddings,
    utt2spk: Mapping[str, str],
    mean: np.ndarray | None = None,
    source: str = "cohort",
) -> Embeddings:
    """Return each speaker's mean raw embedding, less ``mean`` [D], at unit length, by name."""
    speakers = speakers_of(every_id(embeddings, source), utt2spk)
    sums, counts = speaker_sums(embeddings.vectors, speakers, source)
    means = Embeddings(speakers.names, (sums / counts[:, None]).astype(np.float32))
    voices = Backend(mean=mean).voices(means, np.arange(len(counts)))
    return Embeddings(speakers.names, voices.vectors)


def as_norm(
    scores: np.ndarray,
    enroll_cohort_scores: np.ndarray,
    test_cohort_scores: np.ndarray,
    top_n: int | None,
) -> np.ndarray:
    """Return ½ [(s − μ_e) / σ_e + (s − μ_t) / σ_t], float64 [T] (Matějka et al., AS-norm1).

    μ and σ (of the population) are those of the ``top_n`` highest cohort scores of each side.

    Args:
        scores: float [T], cosines.
        enroll_cohort_scores, test_cohort_scores: float [T x C], those of each side with a cohort.
        top_n: at least 2; None takes the whole cohort, which is S-norm (Kenny 2010).
    """
    scores = np.asarray(scores, dtype=np.float64)
    total = np.zeros(scores.shape)
    for side, cohort_scores in (("enrolment", enroll_cohort_scores), ("test", test_cohort_scores)):
        if scores.ndim != 1 or cohort_scores.ndim != 2 or len(cohort_scores) != len(scores):
            shapes = f"{side} cohort scores {cohort_scores.shape} for scores {scores.shape}"
            raise TidyVoiceError(f"{shapes}: give one row for each trial")
        total += _z(scores, *top_moments(cohort_scores, top_n, f"{side} cohort"))
    return total / 2


def normalize(
    table: ScoreTable,
    embeddings: Embeddings,
    cohort: Embeddings,
    mean: np.ndarray | None = None,
    method: str = "asnorm",
    top_n: int = 300,
    source: str = "cohort",
) -> np.ndarray:
    """Normalise the scores of a list by AS-norm or S-norm: float64 [T], in its order.

    Args:
        table, embeddings: T trials with their cosines, and raw embeddings of at least their ids.
        cohort: other speakers, see ``speaker_cohort``, less the same ``mean`` [D] as the scores.
        top_n: number of highest cohort scores that count; the ``method`` "snorm" takes all.
        source: the cohort's name in error messages.
    """
    vectors = vectors_of(table, embeddings, mean)
    top_n = None if method == "snorm" else top_n
    mu, sigma = cohort_statistics(vectors, cohort.vectors, top_n, source)
    trials, normalized = table.trials, np.empty(len(table.trials))

    def work(part: slice) -> None:
        scores, sides = table.scores[part], (trials.enroll[part], trials.test[part])
        normalized[part] = sum(_z(scores, mu[side], sigma[side]) for side in sides) / 2

    in_blocks(work, len(trials), BLOCK)
    return normalized


def cohort_statistics(
    vectors: np.ndarray, cohort: np.ndarray, top_n: int | None, source: str = "cohort"
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population deviation of the ``top_n`` highest cosines: float64 [U] each.

    ``vectors`` and ``cohort`` are centred and at unit length, float32 [U x D] and [C x D]. Without
    ``top_n`` all count.
    """
    mean, std = np.empty((2, len(vectors)))

    def work(part: slice) -> None:
        mean[part], std[part] = top_moments(vectors[part] @ cohort.T, top_n, source)

    in_blocks(work, len(vectors), UTTERANCES)
    return mean, std


def vectors_of(table: ScoreTable, embeddings: Embeddings, mean: np.ndarray | None) -> np.ndarray:
    """Return the unit vectors of the ids, float32 [U x D].

    Refuse scores of another mean and calibrated scores: a sample is compared with the cosines.
    """
    trials = table.trials
    vectors = voices_of(embeddings, trials, Backend(mean=mean)).vectors
    step = max(len(trials) // CHECKED, 1)
    enroll, test = vectors[trials.enroll[::step]], vectors[trials.test[::step]]
    cosines, scores = np.einsum("td,td->t", enroll, test), table.scores[::step]
    wrong = np.flatnonzero(~(np.abs(scores - cosines) < TOLERANCE))
    if len(wrong):
        score, cosine = scores[wrong[0]], cosines[wrong[0]]
        both = f"the score is {score:.4f}, the cosine of these embeddings {cosine:.4f}"
        fix = "Use scores of the same files and mean."
        raise TidyVoiceError(f"{trials.source}:{wrong[0] * step + 1}: {both}. {fix}")
    return vectors


def top_moments(
    cohort_scores: np.ndarray, top_n: int | None, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population deviation of the ``top_n`` highest of each row, float64 [U].

    A ``top_n`` below 2 or above the size of the cohort, which ``source`` names, is an error.
    """
    size = cohort_scores.shape[1]
    if not 2 <= (size if top_n is None else top_n) <= size:
        fix = f"use a number from 2 to {size:,}, or a cohort of more speakers"
        raise TidyVoiceError(f"{source} has {size:,} entries, top_n is {top_n or 'all'}: {fix}")
    if top_n is not None:
        cohort_scores = np.partition(cohort_scores, size - top_n, axis=1)[:, size - top_n :]
    highest = cohort_scores.astype(np.float64)
    return highest.mean(axis=1), highest.std(axis=1)


def _z(scores: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    flat = ~(std > FLAT)
    if flat.any():
        which = f"the cohort scores of an utterance are all equal ({int(flat.sum()):,} trials)"
        raise TidyVoiceError(f"{which}: raise top_n, and check the speakers of the cohort")
    return (scores - mean) / std
