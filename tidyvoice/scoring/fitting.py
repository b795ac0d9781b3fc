"""Fitting back ends to the embeddings of training speakers.

All methods see embeddings less their mean, at unit length. ``scoring.backend`` cites PLDA.

References:
    A. Solomonoff, W. Campbell, I. Boardman, "Advances in channel compensation for SVM speaker
        recognition", ICASSP 2005 (nuisance attribute projection).
    A. Hatch, S. Kajarekar, A. Stolcke, "Within-class covariance normalization for SVM-based speaker
        recognition", Interspeech 2006 (smoothing of the covariance within speakers).
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.backend import (
    Backend,
    CohortOffsets,
    LanguageClassifier,
    Plda,
    highest_means,
)
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import Groups

METHODS = ("centre", "nap", "lda", "plda")
SMOOTHING = 0.3  # part of the covariance within speakers that is replaced by its mean variance
EM_STEPS = 20
LEAST = 1e-6  # eigenvalue of a covariance, relative to the largest
SPLITS = 20  # of the cohort into halves
UTTERANCES = 2000  # at most, whose cohort scores are compared between the halves
PER_LANGUAGE = 500  # utterances, at most, for the language classifier


@dataclass(frozen=True)
class Speech:
    """Embeddings with the speaker and, where it is known, the language of each."""

    embeddings: Embeddings
    speakers: Groups
    languages: Groups | None = None
    source: str = "the embeddings"


def fit_backend(
    speech: Speech, method: str = "centre", dimensions: int | None = None, cohort: bool = True
) -> Backend:
    """Fit a back end.

    Args:
        speech: embeddings of the training speakers, N x D.
        method: "centre" compares by the cosine; "nap" first removes the ``dimensions`` in which a
            speaker differs most between languages; "lda" keeps those that tell speakers apart;
            "plda" compares by PLDA, after LDA if ``dimensions`` are given.
        cohort: lower scores by what these speakers score against a voice.
    """
    total = speech.embeddings.vectors.shape[1]
    if method not in METHODS:
        raise TidyVoiceError(f"--method {method}: use {', '.join(METHODS)}.")
    if (method in ("nap", "lda") and dimensions is None) or (method == "centre" and dimensions):
        needed = "none" if method == "centre" else f"a number from 1 to {total - 1}"
        raise TidyVoiceError(f"--dimensions: --method {method} needs {needed}.")
    most = most_dimensions(speech, method)
    if dimensions is not None and not 1 <= dimensions <= most:
        raise TidyVoiceError(f"--method {method} --dimensions {dimensions}: give 1 to {most:,}.")
    backend = Backend(
        mean=speech.embeddings.mean(),
        model=speech.embeddings.model,
        speakers=tuple(speech.speakers.names),
    )
    units = backend.centre(speech.embeddings.vectors)
    codes, fitted = speech.speakers.codes, {}
    if method == "nap":
        fitted["projection"] = language_complement(units, codes, _languages(speech), dimensions)
    elif dimensions:
        fitted["projection"] = discriminant(units, codes, dimensions)
    backend = backend.model_copy(update=fitted)
    if method == "plda":
        fitted["plda"] = fit_plda(backend.compare(speech.embeddings.vectors).vectors, codes)
    backend = backend.model_copy(update={**fitted, "method": method})
    if cohort:
        return backend.model_copy(update={"cohort": cohort_offsets(backend, speech)})
    return backend


def most_dimensions(speech: Speech, method: str) -> int:
    """Return the largest number of dimensions that a method can remove (nap) or keep."""
    codes, total = speech.speakers.codes, speech.embeddings.vectors.shape[1]
    if method == "nap":  # a speaker of n languages has n - 1 differences
        pairs = np.unique(np.stack([codes, _languages(speech)]), axis=1)
        return min(pairs.shape[1] - len(np.unique(codes)), total - 1)
    return min(len(speech.speakers.names), total) - 1


def language_complement(
    units: np.ndarray, speakers: np.ndarray, languages: np.ndarray, dimensions: int
) -> np.ndarray:
    """Return the projection that removes directions in which speakers differ between languages.

    They are the first eigenvectors of the covariance of d, where d is the mean of a speaker's
    utterances in a language less the mean over the speaker's languages. float32 [D x D].
    """
    shifts = _language_shifts(units, speakers, languages)
    directions = np.linalg.eigh(shifts.T @ shifts)[1][:, -dimensions:]
    return (np.eye(len(directions)) - directions @ directions.T).astype(np.float32)


def discriminant(units: np.ndarray, speakers: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the projection of linear discriminant analysis of speakers, float32 [D x K].

    The covariance within speakers is that of all their utterances, in all languages. It is smoothed
    (Hatch et al.), so that few speakers do not fit it too closely.
    """
    within, between, _ = _covariances(units, speakers)
    size = len(within)
    smoothed = (1 - SMOOTHING) * within + SMOOTHING * np.trace(within) / size * np.eye(size)
    vectors = linalg.eigh(between, smoothed, subset_by_index=(size - dimensions, size - 1))[1]
    return vectors[:, ::-1].astype(np.float32)


def fit_plda(vectors: np.ndarray, speakers: np.ndarray, steps: int = EM_STEPS) -> Plda:
    """Fit the two-covariance model to vectors [N x K] by EM, which starts at their moments.

    In the basis that diagonalises both covariances, the posterior of a speaker with n utterances
    of mean z is Gaussian with variance v = ψ / (1 + n ψ) and mean n v z in each dimension.
    """
    within, between, (means, counts) = _covariances(vectors, speakers)
    mean = means.mean(axis=0)
    scatter = within * (len(vectors) - len(counts))  # within speakers, about their means
    between = _positive(between - within * (1 / counts).mean())
    within = _positive(within)
    for _ in range(steps):
        psi, basis = linalg.eigh(between, within)
        psi, back, n = np.maximum(psi, 0), basis.T @ within, counts[:, None]  # back = 1 / basis
        z = (means - mean) @ basis
        variance = psi / (1 + n * psi)
        speaker = n * variance * z
        rest = basis.T @ scatter @ basis + ((z - speaker) * n).T @ (z - speaker)
        rest[np.diag_indices_from(rest)] += (n * variance).sum(axis=0)
        spread = speaker.T @ speaker / len(means) + np.diag(variance.mean(axis=0))
        between, within = back.T @ spread @ back, back.T @ rest @ back / len(vectors)
    psi, basis = linalg.eigh(between, within)
    return Plda(mean=mean, basis=basis, between=np.maximum(psi, 0))


def fit_languages(speech: Speech, seed: int = 0) -> LanguageClassifier | None:
    """Fit a language classifier to at most ``PER_LANGUAGE`` utterances of each language.

    None if fewer than two languages are known.
    """
    # Takes a second to import, and nothing else here needs it.
    from sklearn.linear_model import LogisticRegression

    languages = speech.languages
    if languages is None or len(languages.names) < 2:
        return None
    units = Backend(mean=speech.embeddings.mean()).centre(speech.embeddings.vectors)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(units))
    order = order[np.argsort(languages.codes[order], kind="stable")]
    codes = languages.codes[order]
    chosen = order[np.arange(len(order)) - np.searchsorted(codes, codes) < PER_LANGUAGE]
    # Components of unit variance: the scale that scikit-learn's default penalty is meant for.
    scale = np.sqrt(units.shape[1])
    model = LogisticRegression(max_iter=500).fit(units[chosen] * scale, languages.codes[chosen])
    weights, offsets = model.coef_.T * scale, model.intercept_
    if len(offsets) == 1:  # two languages share one logit
        weights, offsets = np.hstack([-weights, weights]) / 2, np.append(-offsets, offsets) / 2
    kind = np.float32
    return LanguageClassifier(
        names=tuple(languages.names), weights=weights.astype(kind), offsets=offsets.astype(kind)
    )


def cohort_offsets(backend: Backend, speech: Speech, seed: int = 0) -> CohortOffsets:
    """Return the offsets by a cohort of all speakers of ``speech``.

    The weight comes from the cohort alone, so that it does not depend on the trials: utterances of
    its speakers are compared with the other speakers of each of two random halves. If c is the
    covariance of the halves' means and v their variances, r = c / sqrt(v_1 v_2) is the part of the
    variance of a half that is no chance, and 2 r / (1 + r) about that of the whole (Spearman,
    Brown; exact for means over all scores). Compare back ends on held-out speakers to see whether
    offsets help at all.
    """
    vectors, codes = speech.embeddings.vectors, speech.speakers.codes
    rng = np.random.Generator(np.random.PCG64(seed))
    sums, counts = speaker_sums(vectors, speech.speakers, speech.source)
    members = backend.compare((sums / counts[:, None]).astype(np.float32))
    rows = np.sort(rng.permutation(len(vectors))[:UTTERANCES])
    scores = backend.compare(vectors[rows]).scores(members)
    scores[np.arange(len(rows)), codes[rows]] = -np.inf
    covariance = np.zeros((2, 2))
    if len(members) >= 4:
        for _ in range(SPLITS):
            first = rng.permutation(len(members)) < len(members) // 2
            covariance += np.cov(highest_means(scores[:, first]), highest_means(scores[:, ~first]))
    common = max(covariance[0, 1], 0.0)
    agreement = common / np.sqrt(covariance[0, 0] * covariance[1, 1]) if common else 0.0
    means = highest_means(scores)
    return CohortOffsets(
        vectors=members.vectors,
        biases=members.biases,
        weight=2 * agreement / (1 + agreement),
        typical=float(means.mean()),
        spread=float(means.std()),
    )


def speaker_sums(
    vectors: np.ndarray, speakers: Groups, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each speaker's vectors, float64 [S x D], and their number [S]."""
    if len(speakers.names) < 2:
        name, fix = speakers.names[0], "Give embeddings of some hundred speakers."
        raise TidyVoiceError(f"{source}: speaker '{name}' alone is no cohort. {fix}")
    return _sums(vectors, speakers.codes)


def _sums(vectors: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each group's vectors, float64 [G x D], and its size [G]."""
    members = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    return members @ vectors, np.bincount(codes)


def _language_shifts(units: np.ndarray, speakers: np.ndarray, languages: np.ndarray) -> np.ndarray:
    """Return d of each pair of a speaker and a language, see ``language_complement``: [P x D]."""
    pairs, codes = np.unique(np.stack([speakers, languages]), axis=1, return_inverse=True)
    sums, counts = _sums(units, codes.ravel())
    means, speaker_of = sums / counts[:, None], pairs[0]
    of_speakers, number = _sums(means, speaker_of)
    return means - (of_speakers / number[:, None])[speaker_of]


def _covariances(
    vectors: np.ndarray, speakers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the covariances within speakers and of their means, the means, and their sizes."""
    sums, counts = _sums(vectors, speakers)
    means = sums / counts[:, None]
    if len(vectors) == len(counts):
        raise TidyVoiceError("every speaker has one utterance: give several of each speaker")
    rest = vectors - means[speakers]
    return rest.T @ rest / (len(vectors) - len(counts)), np.cov(means.T), (means, counts)


def _positive(covariance: np.ndarray) -> np.ndarray:
    """Return a covariance whose small or negative eigenvalues are raised."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, LEAST * values.max())) @ vectors.T


def _languages(speech: Speech) -> np.ndarray:
    if speech.languages is None:
        fix = "Give --utt2lang"
        raise TidyVoiceError(f"{speech.source}: the ids do not contain languages. {fix}.")
    return speech.languages.codes
