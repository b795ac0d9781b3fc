"""Normalisation by language: against its definition in float64, and what holds of any cohort."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import refused, seeded
from tidyvoice.scoring import normalization
from tidyvoice.scoring.cohort import Cohort
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.language_norm import (
    LanguageWeights,
    known_languages,
    language_posteriors,
    normalize_by_language,
)
from tidyvoice.scoring.normalization import normalize
from tidyvoice.scoring.trials import ScoreTable, Trials

RNG = seeded(9)
D, TOP_N, SHRINKAGE = 12, 20, 3.0
# A rare language, and "cy", which no cohort speaker speaks.
SIZES = {"de": 45, "fr": 30, "it": 24, "mt": 1}
LANGUAGES = [*SIZES, "cy"]
CENTRES = {name: RNG.standard_normal(D, dtype=np.float32) for name in LANGUAGES}


def spoken(languages: list[str]) -> np.ndarray:
    """Random embeddings around the centre of each one's language: float32 [n x D]."""
    noise = RNG.standard_normal((len(languages), D), dtype=np.float32)
    return np.array([CENTRES[name] for name in languages]) + noise


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


IDS = [f"u{n}" for n in range(25)]
UTT2LANG = {name: LANGUAGES[n % 5] for n, name in enumerate(IDS)}
TABLE = Embeddings(IDS, spoken(list(UTT2LANG.values())))
TRIALS = Trials(IDS[::-1], *RNG.integers(0, 25, (2, 150), dtype=np.int32), None, "list")
SCORES = ScoreTable(TRIALS, cosine_scores(TABLE, TRIALS))
COHORT_LANGUAGES = RNG.permutation([name for name, size in SIZES.items() for _ in range(size)])
COHORT = Cohort(
    unit(spoken(COHORT_LANGUAGES.tolist())),
    [f"s{n}" for n in range(100)],
    COHORT_LANGUAGES.tolist(),
)
KNOWN = known_languages(languages_of(TRIALS, UTT2LANG))
GUESSED = LanguageWeights([*SIZES], RNG.dirichlet([0.5] * 4, len(IDS)).astype(np.float32))


def definition(languages: LanguageWeights, top_n: int) -> np.ndarray:
    """The scores normalised with moments about zero, for one language after the other."""
    against = unit(TABLE.vectors[::-1].astype(np.float64)) @ COHORT.vectors.T

    def moments(cohort_scores: np.ndarray, n: int) -> np.ndarray:
        top = np.sort(cohort_scores)[:, ::-1][:, :n]
        return np.stack([top.mean(axis=1), (top**2).mean(axis=1)])

    by_language = []
    for language in languages.languages:
        inside, shrunk = against[:, language == COHORT_LANGUAGES], moments(against, top_n)
        if inside.shape[1]:
            n = max(round(top_n * inside.shape[1] / 100), 1)
            trust = n / (n + SHRINKAGE)
            shrunk = trust * moments(inside, n) + (1 - trust) * shrunk
        by_language.append(shrunk)
    total = 0.0
    for side, other in ((TRIALS.enroll, TRIALS.test), (TRIALS.test, TRIALS.enroll)):
        weights = languages.weights[other].T
        mean, square = np.einsum("ln,lmn->mn", weights, np.stack(by_language)[:, :, side])
        total += (SCORES.scores - mean) / np.sqrt(square - mean**2)
    return total / 2


def normalized(cohort, languages, top_n=TOP_N, shrinkage=SHRINKAGE):
    return normalize_by_language(SCORES, TABLE, cohort, languages, None, top_n, shrinkage)


@pytest.mark.parametrize("languages", [KNOWN, GUESSED], ids=["known", "guessed"])
@pytest.mark.parametrize(("block", "top_n"), [(512, TOP_N), (3, TOP_N), (512, 100)])
def test_agrees_with_the_definition(monkeypatch, languages, block, top_n):
    monkeypatch.setattr(normalization, "BLOCK", block)
    monkeypatch.setattr(normalization, "UTTERANCES", block)
    ours = normalized(COHORT, languages, top_n)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, definition(languages, top_n), atol=1e-5)


def test_is_as_norm_where_the_languages_say_nothing():
    expected = normalize(SCORES, TABLE, COHORT, top_n=TOP_N)
    lacking = replace(COHORT, languages=["eo"] * 100)
    only = LanguageWeights(["eo"], np.ones((25, 1), dtype=np.float32))
    for ours in (
        normalized(lacking, KNOWN),
        normalized(lacking, only),
        normalized(COHORT, KNOWN, shrinkage=1e12),
    ):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_posteriors_find_the_languages_of_new_utterances():
    names = [f"c{n}" for n in range(300)]
    utt2lang = {name: ["de", "fr", "it"][n % 3] for n, name in enumerate(names)}
    cohort = Embeddings(names, spoken(list(utt2lang.values())))
    guesses = language_posteriors(TRIALS, TABLE, cohort, utt2lang, cohort.mean())
    assert guesses.languages == ["de", "fr", "it"]
    np.testing.assert_allclose(guesses.weights.sum(axis=1), 1, atol=1e-6)
    best = np.array(guesses.languages)[guesses.weights.argmax(axis=1)]
    truth = np.array([UTT2LANG[name] for name in TRIALS.ids])
    assert np.mean((best == truth)[np.isin(truth, guesses.languages)]) > 0.9


def test_each_language_counts_equally():
    """Two languages that sound the same: what is left is the prior, that of the sample."""
    names = [f"c{n}" for n in range(440)]
    utt2lang = {name: "fr" if n < 40 else "de" for n, name in enumerate(names)}
    cohort = Embeddings(names, RNG.standard_normal((440, D), dtype=np.float32))
    arguments = TRIALS, TABLE, cohort, utt2lang, TABLE.mean()
    for per_language, low, high in ((1000, 0.05, 0.15), (40, 0.35, 0.65)):
        guesses = language_posteriors(*arguments, per_language=per_language)
        assert low < guesses.weights[:, 1].mean() < high


def test_wrong_inputs_are_refused():
    assert "from 2 to 100" in refused(normalized, COHORT, KNOWN, top_n=101)
    one = dict.fromkeys(IDS, "de")
    assert "are in 'de'" in refused(language_posteriors, TRIALS, TABLE, TABLE, one)
