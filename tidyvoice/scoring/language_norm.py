"""Language-aware score normalisation: each side against cohort speakers of the other's language.

AS-norm compares a French enrolment with its nearest cohort speakers, who mostly speak French. All
its scores against German test utterances are lower, those of targets as well. This module compares
the enrolment with German cohort speakers, and the test utterance with French ones. If languages
are not known, they are guessed, and the moments are those of the mixture.

Reference:
    J. Thienpondt, B. Desplanques, K. Demuynck, "Tackling the score shift in cross-lingual speaker
        verification by exploiting language information", ICASSP 2022.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring import normalization
from tidyvoice.scoring.cohort import Cohort, every_id
from tidyvoice.scoring.cosine import in_blocks, unit_vectors
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import Groups, languages_of
from tidyvoice.scoring.trials import ScoreTable, Trials


@dataclass(frozen=True)
class LanguageWeights:
    """P(language | utterance) of the U ids of a list and L languages: float32 [U x L]."""

    languages: list[str]
    weights: np.ndarray


def known_languages(languages: Groups) -> LanguageWeights:
    """Return one-hot weights of the languages of a list's ids, see ``groups.languages_of``."""
    weights = np.eye(len(languages.names), dtype=np.float32)
    return LanguageWeights(languages.names, weights[languages.codes])


def language_posteriors(
    trials: Trials,
    embeddings: Embeddings,
    cohort_embeddings: Embeddings,
    utt2lang: Mapping[str, str],
    mean: np.ndarray | None = None,
    per_language: int = 500,
    seed: int = 0,
) -> LanguageWeights:
    """Guess languages by a multinomial logistic regression on embeddings at unit length.

    The fit takes at most ``per_language`` random utterances a language. An utterance in a language
    that the cohort lacks gets the probabilities of the cohort's languages that it resembles.

    ``utt2lang`` has the languages of the cohort; ``mean`` [D] is subtracted from all embeddings.
    """
    # Takes a second to import, and nothing else here needs it.
    from sklearn.linear_model import LogisticRegression

    unknown = unit_vectors(embeddings, trials.places_in(embeddings.ids, "embedding"), mean)
    languages = languages_of(every_id(cohort_embeddings, "cohort"), utt2lang)
    codes = languages.codes
    if len(languages.names) < 2:
        text = f"all utterances of the cohort are in '{languages.names[0]}'"
        raise TidyVoiceError(f"{text}: guessing languages needs a cohort of two or more")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    rank = np.arange(len(order)) - np.searchsorted(codes[order], codes[order])
    chosen = order[rank < per_language]
    vectors = unit_vectors(cohort_embeddings, chosen, mean)
    # Components of unit variance: the scale that scikit-learn's default penalty is meant for.
    scale = np.float32(np.sqrt(vectors.shape[1]))
    model = LogisticRegression(max_iter=500).fit(vectors * scale, codes[chosen])
    weights = model.predict_proba(unknown * scale).astype(np.float32)
    return LanguageWeights(languages.names, weights)


def language_statistics(
    vectors: np.ndarray, cohort: Cohort, languages: Sequence[str], top_n: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return moments of the cohort scores s within each language, shrunk towards those over all.

    Of a language with C_l of the C entries, the n_l = top_n C_l / C highest scores count (rounded,
    at least one), so that the moments of small and large languages describe the same tail. Their
    weight is n_l / (n_l + shrinkage); the rest goes to the ``top_n`` highest over all languages.

    ``vectors`` and ``top_n`` are as in ``cohort_statistics``; the cohort has one entry for each
    speaker and language. Return E[s] over all languages, float64 [U], and E_l[s − E[s]] and
    E_l[(s − E[s])²] of the L ``languages``, float32 [U x L].
    """
    normalization.check_top_n(top_n, len(cohort), cohort.source)

    names = np.array(cohort.languages)
    order = np.argsort(names, kind="stable")
    by_language, names = cohort.vectors[order], names[order]
    begin, end = (np.searchsorted(names, list(languages), side) for side in ("left", "right"))
    shares = np.rint((end - begin) * (top_n / len(cohort)))
    counts = np.where(end > begin, np.maximum(shares, 1), 0).astype(int)
    trust = counts / (counts + shrinkage)

    mean = np.empty(len(vectors))
    first, second = np.zeros((2, len(vectors), len(languages)), dtype=np.float32)

    def work(part: slice) -> None:
        scores = vectors[part] @ by_language.T
        mean[part], std = normalization.top_moments(scores, top_n)
        second[part] = np.outer(std**2, 1 - trust)
        for place in np.flatnonzero(counts):
            own = scores[:, begin[place] : end[place]]
            own_mean, own_std = normalization.top_moments(own, counts[place])
            shift = own_mean - mean[part]
            first[part, place] = trust[place] * shift
            second[part, place] += trust[place] * (own_std**2 + shift**2)

    in_blocks(work, len(vectors), normalization.UTTERANCES)
    return mean, first, second


def normalize_by_language(
    table: ScoreTable,
    embeddings: Embeddings,
    cohort: Cohort,
    languages: LanguageWeights,
    mean: np.ndarray | None = None,
    top_n: int = 300,
    shrinkage: float = 5.0,
) -> np.ndarray:
    """Return ½ [(s − μ_e|t) / σ_e|t + (s − μ_t|e) / σ_t|e], float64 [T]; see ``normalize``.

    μ_e|t and σ_e|t are those of the enrolment's cohort scores within the language of the test side
    (or over its languages, mixed by their probabilities), and the other way round.
    """
    weights = languages.weights
    vectors = normalization.vectors_of(table, embeddings, mean)
    mu, first, second = language_statistics(vectors, cohort, languages.languages, top_n, shrinkage)

    def mixture(side: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return μ = Σ_l p_l μ_l and σ² = Σ_l p_l (σ_l² + μ_l²) − μ² of n trials."""
        p = weights[other]
        mean = np.einsum("nl,nl->n", p, first[side])
        square = np.einsum("nl,nl->n", p, second[side])
        # Rounding may push a variance of zero below it.
        return mu[side] + mean, np.sqrt(np.maximum(square - mean**2, 0))

    return normalization.symmetric_z(table, mixture)
