"""Normalisation by language: against loops in double precision, and what holds of any cohort."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import seeded
from tests.scoring.support import refused
from tidyvoice.scoring import language_norm, normalization
from tidyvoice.scoring.cohort import Cohort
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.language_norm import (
    LanguageWeights,
    known_languages,
    language_match,
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


IDS = [f"u{n}" for n in range(25)]
UTT2LANG = {name: LANGUAGES[n % 5] for n, name in enumerate(IDS)}
TABLE = Embeddings(IDS, spoken(list(UTT2LANG.values())))
TRIALS = Trials(IDS[::-1], *RNG.integers(0, 25, (2, 150), dtype=np.int32), None, "list")
SCORES = ScoreTable(TRIALS, cosine_scores(TABLE, TRIALS))
COHORT_LANGUAGES = RNG.permutation([name for name, size in SIZES.items() for _ in range(size)])
VECTORS = spoken(COHORT_LANGUAGES.tolist())
COHORT = Cohort(
    VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True),
    [f"s{n}" for n in range(100)],
    COHORT_LANGUAGES.tolist(),
)
KNOWN = known_languages(languages_of(TRIALS, UTT2LANG))
GUESSED = LanguageWeights([*SIZES], RNG.dirichlet([0.5] * 4, len(IDS)).astype(np.float32))


def naive_norm(languages: LanguageWeights, top_n: int, shrinkage: float) -> list[float]:
    """The definition, one trial at a time, moments about zero."""
    unit = {
        name: vector / np.sqrt(vector @ vector)
        for name, vector in zip(IDS, TABLE.vectors.astype(np.float64), strict=True)
    }
    result = []
    for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True):
        score = unit[TRIALS.ids[e]] @ unit[TRIALS.ids[t]]
        zs = []
        for own, other in ((e, t), (t, e)):
            against = COHORT.vectors.astype(np.float64) @ unit[TRIALS.ids[own]]
            top = np.sort(against)[::-1][:top_n]
            mu = square = 0.0
            for p, language in zip(languages.weights[other], languages.languages, strict=True):
                inside = np.sort(against[language == COHORT_LANGUAGES])[::-1]
                n = max(round(top_n * len(inside) / len(against)), 1) if len(inside) else 0
                trust = n / (n + shrinkage)
                mu_l, square_l = (1 - trust) * top.mean(), (1 - trust) * (top**2).mean()
                if n:
                    mu_l += trust * inside[:n].mean()
                    square_l += trust * (inside[:n] ** 2).mean()
                mu, square = mu + p * mu_l, square + p * square_l
            zs.append((score - mu) / np.sqrt(square - mu**2))
        result.append(sum(zs) / 2)
    return result


@pytest.mark.parametrize("languages", [KNOWN, GUESSED], ids=["known", "guessed"])
@pytest.mark.parametrize("block", [512, 3])
@pytest.mark.parametrize("top_n", [TOP_N, 100])
def test_agrees_with_the_definition(monkeypatch, languages, block, top_n):
    for module in (normalization, language_norm):
        monkeypatch.setattr(module, "UTTERANCES", block)
        monkeypatch.setattr(module, "BLOCK", block)
    ours = normalize_by_language(SCORES, TABLE, COHORT, languages, top_n=top_n, shrinkage=SHRINKAGE)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, naive_norm(languages, top_n, SHRINKAGE), atol=1e-5)


def test_sides_are_measured_against_the_language_of_the_other():
    """With no trust in all languages, one trial by hand: a French and a German side."""
    pair = Trials(["u0", "u1"], np.array([0], np.int32), np.array([1], np.int32), None)
    table = ScoreTable(pair, cosine_scores(TABLE, pair))
    languages = known_languages(languages_of(pair, UTT2LANG))
    assert languages.languages == ["de", "fr"]
    u = TABLE.vectors[:2] / np.linalg.norm(TABLE.vectors[:2], axis=1, keepdims=True)
    german_against_french = COHORT.vectors[COHORT_LANGUAGES == "fr"] @ u[0]
    french_against_german = COHORT.vectors[COHORT_LANGUAGES == "de"] @ u[1]
    zs = [
        (table.scores[0] - s.mean()) / s.std()
        for s in (german_against_french, french_against_german)
    ]
    ours = normalize_by_language(table, TABLE, COHORT, languages, top_n=100, shrinkage=1e-9)
    np.testing.assert_allclose(ours, [sum(zs) / 2], rtol=1e-4)


def normalized(cohort, languages, table=SCORES, top_n=TOP_N, shrinkage=SHRINKAGE):
    return normalize_by_language(table, TABLE, cohort, languages, None, top_n, shrinkage)


def test_sides_and_the_order_of_the_cohort_have_no_influence():
    swapped = ScoreTable(replace(TRIALS, enroll=TRIALS.test, test=TRIALS.enroll), SCORES.scores)
    order = RNG.permutation(100)
    shuffled = Cohort(
        COHORT.vectors[order],
        [COHORT.speakers[n] for n in order],
        [COHORT.languages[n] for n in order],
    )
    for languages in (KNOWN, GUESSED):
        ours = normalized(COHORT, languages)
        np.testing.assert_array_equal(normalized(COHORT, languages, swapped), ours)
        np.testing.assert_allclose(normalized(shuffled, languages), ours, atol=1e-5)


def test_is_as_norm_where_the_languages_say_nothing():
    expected = normalize(SCORES, TABLE, COHORT, top_n=TOP_N)
    lacking = replace(COHORT, languages=["eo"] * 100)
    only = LanguageWeights(["eo"], np.ones((25, 1), dtype=np.float32))
    for cohort, languages, shrinkage in (
        (lacking, KNOWN, SHRINKAGE),
        (COHORT, KNOWN, 1e12),
        (lacking, only, 5.0),
    ):
        ours = normalized(cohort, languages, shrinkage=shrinkage)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_language_match(monkeypatch):
    same = [
        UTT2LANG[TRIALS.ids[e]] == UTT2LANG[TRIALS.ids[t]]
        for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True)
    ]
    monkeypatch.setattr(language_norm, "BLOCK", 7)
    np.testing.assert_array_equal(language_match(KNOWN, TRIALS), same)
    p = GUESSED.weights.astype(np.float64)
    expected = [sum(p[e] * p[t]) for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True)]
    np.testing.assert_allclose(language_match(GUESSED, TRIALS), expected, atol=1e-6)


def test_posteriors_find_the_languages_of_new_utterances():
    learnt = ["de", "fr", "it"]
    names = [f"c{n}" for n in range(300)]
    utt2lang = {name: learnt[n % 3] for n, name in enumerate(names)}
    cohort = Embeddings(names, spoken(list(utt2lang.values())))
    rows = [n for n, name in enumerate(TRIALS.ids) if UTT2LANG[name] in learnt]
    guesses = language_posteriors(TRIALS, TABLE, cohort, utt2lang, cohort.mean())
    assert guesses.languages == learnt
    assert guesses.weights.dtype == np.float32
    np.testing.assert_allclose(guesses.weights.sum(axis=1), 1, atol=1e-6)
    found = [learnt[k] for k in guesses.weights[rows].argmax(axis=1)]
    assert np.mean([UTT2LANG[TRIALS.ids[n]] == k for n, k in zip(rows, found, strict=True)]) > 0.9
    again = language_posteriors(TRIALS, TABLE, cohort, utt2lang, cohort.mean())
    np.testing.assert_array_equal(guesses.weights, again.weights)
    moved = [Embeddings(table.ids, table.vectors + 8) for table in (TABLE, cohort)]
    shifted = language_posteriors(TRIALS, *moved, utt2lang, cohort.mean() + 8)
    np.testing.assert_allclose(shifted.weights, guesses.weights, atol=1e-2)


def test_no_more_than_so_many_utterances_a_language_count():
    """Two languages that sound the same: what is left is the prior, that of the sample."""
    names = [f"c{n}" for n in range(440)]
    utt2lang = {name: "fr" if n < 40 else "de" for n, name in enumerate(names)}
    cohort = Embeddings(names, RNG.standard_normal((440, D), dtype=np.float32))
    for per_language, low, high in ((1000, 0.05, 0.15), (40, 0.35, 0.65)):
        guesses = language_posteriors(
            TRIALS, TABLE, cohort, utt2lang, TABLE.mean(), per_language=per_language
        )
        assert guesses.languages == ["de", "fr"]
        assert low < guesses.weights[:, 1].mean() < high


def test_wrong_inputs_are_refused():
    unknown, narrow = replace(COHORT, languages=None), Embeddings(IDS, TABLE.vectors[:, :5])
    one = dict.fromkeys(IDS, "de")
    for call, message in (
        (lambda: normalized(unknown, KNOWN), "Give their utt2lang"),
        (lambda: normalized(COHORT, replace(KNOWN, weights=KNOWN.weights[1:])), "of 24"),
        (lambda: normalized(COHORT, KNOWN, top_n=101), "from 2 to 100"),
        (lambda: normalized(COHORT, KNOWN, shrinkage=0.0), "shrinkage is 0"),
        (lambda: language_posteriors(TRIALS, TABLE, TABLE, one), "are in 'de'"),
        (lambda: language_posteriors(TRIALS, TABLE, narrow, UTT2LANG), "has 5 columns"),
    ):
        assert message in refused(call)
