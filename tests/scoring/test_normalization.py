"""Cohort, S-norm and AS-norm: against published numbers, against loops in double precision."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import seeded
from tests.scoring.support import refused
from tidyvoice.scoring import normalization
from tidyvoice.scoring.cohort import Cohort, speaker_cohort
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.normalization import as_norm, cohort_statistics, normalize
from tidyvoice.scoring.trials import ScoreTable, Trials

RNG = seeded(8)
MEAN = RNG.standard_normal(16, dtype=np.float32)
# The table spells its ids without .wav, the list with it, in another order and not all of them.
IDS = [f"u{n}" for n in range(30)]
TABLE = Embeddings(IDS, MEAN + RNG.standard_normal((30, 16), dtype=np.float32))
LIST_IDS = [f"{name}.wav" for name in IDS[:0:-1]]
TRIALS = Trials(LIST_IDS, *RNG.integers(0, 29, (2, 200), dtype=np.int32), None, "list")
SCORES = ScoreTable(TRIALS, cosine_scores(TABLE, TRIALS, MEAN).astype(np.float64))

COHORT_IDS = [f"c{n}" for n in range(300)]
COHORT_TABLE = Embeddings(COHORT_IDS, MEAN + RNG.standard_normal((300, 16), dtype=np.float32))
UTT2SPK = {f"c{n}.wav": f"s{RNG.integers(40):02d}" for n in reversed(range(300))}
UTT2LANG = {f"c{n}": ["de", "fr", "it"][RNG.integers(3)] for n in range(300)}
COHORT = speaker_cohort(COHORT_TABLE, UTT2SPK, MEAN)


def naive_cohort(mean: np.ndarray, keys: dict[str, tuple[str, ...]]) -> dict[tuple, np.ndarray]:
    """The definition, one utterance at a time: key -> centred mean embedding at unit length."""
    members = defaultdict(list)
    for name, vector in zip(COHORT_IDS, COHORT_TABLE.vectors.astype(np.float64), strict=True):
        members[keys[name]].append(vector)
    centred = {key: sum(members[key]) / len(members[key]) - mean for key in sorted(members)}
    return {key: vector / np.sqrt(vector @ vector) for key, vector in centred.items()}


def naive_norm(cohort: list[np.ndarray], top_n: int) -> list[float]:
    """The definition, one trial at a time."""
    units = {}
    for name, vector in zip(IDS, TABLE.vectors.astype(np.float64) - MEAN, strict=True):
        units[f"{name}.wav"] = vector / np.sqrt(vector @ vector)
    result = []
    for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True):
        sides = units[LIST_IDS[e]], units[LIST_IDS[t]]
        zs = []
        for side in sides:
            top = sorted((float(side @ other) for other in cohort), reverse=True)[:top_n]
            mean = sum(top) / top_n
            deviation = (sum((score - mean) ** 2 for score in top) / top_n) ** 0.5
            zs.append((sides[0] @ sides[1] - mean) / deviation)
        result.append(sum(zs) / 2)
    return result


def test_as_norm_gives_the_published_numbers(golden):
    for case in golden["asnorm"]:
        rng = seeded(case["seed"], 31)
        units = []
        shapes = (case["n"], case["d"]), (case["cohort"], case["d"]), (case["d"],)
        e, c, mean = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        for x in (e, c):
            x = x - np.float32(0.1) * mean
            units.append(x / np.linalg.norm(x, axis=1, keepdims=True))
        enroll, test, cosine, expected = (
            np.array([trial[key] for trial in case["trials"]])
            for key in ("enroll", "test", "cosine", "asnorm")
        )
        cohort_scores = units[0] @ units[1].T
        scores = np.einsum("td,td->t", units[0][enroll], units[0][test])
        np.testing.assert_allclose(scores, cosine, atol=1e-6)
        ours = as_norm(scores, cohort_scores[enroll], cohort_scores[test], case["top_n"])
        np.testing.assert_allclose(ours, expected, atol=2e-4)

        # The same from tables of embeddings, each cohort utterance a speaker of its own.
        names, others = [f"e{n}" for n in range(len(e))], [f"c{n}" for n in range(len(c))]
        mean = np.float32(0.1) * mean
        trials = Trials(names, enroll.astype(np.int32), test.astype(np.int32), None)
        cohort = speaker_cohort(Embeddings(others, c), {name: name for name in others}, mean)
        table = ScoreTable(trials, cosine_scores(Embeddings(names, e), trials, mean))
        ours = normalize(table, Embeddings(names, e), cohort, mean, top_n=case["top_n"])
        np.testing.assert_allclose(ours, expected, atol=2e-4)


@pytest.mark.parametrize("by_language", [False, True], ids=["speakers", "languages"])
@pytest.mark.parametrize("block", [normalization.BLOCK, 7])
def test_cohort_agrees_with_the_definition(monkeypatch, block, by_language):
    monkeypatch.setattr(normalization, "BLOCK", block)
    keys = {
        name: (UTT2SPK[f"{name}.wav"], UTT2LANG[name]) if by_language else (UTT2SPK[f"{name}.wav"],)
        for name in COHORT_IDS
    }
    expected = naive_cohort(MEAN.astype(np.float64), keys)
    cohort = speaker_cohort(COHORT_TABLE, UTT2SPK, MEAN, UTT2LANG if by_language else None)
    assert cohort.vectors.dtype == np.float32
    assert cohort.speakers == [key[0] for key in expected]
    assert cohort.languages == ([key[1] for key in expected] if by_language else None)
    np.testing.assert_allclose(cohort.vectors, list(expected.values()), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "top_n", "counted"), [("asnorm", 15, 15), ("asnorm", 40, 40), ("snorm", 15, 40)]
)
@pytest.mark.parametrize("block", [512, 3])
def test_agrees_with_the_definition(monkeypatch, block, method, top_n, counted):
    monkeypatch.setattr(normalization, "UTTERANCES", block)
    monkeypatch.setattr(normalization, "BLOCK", block)
    keys = {name: (UTT2SPK[f"{name}.wav"],) for name in COHORT_IDS}
    cohort = list(naive_cohort(MEAN.astype(np.float64), keys).values())
    assert len(cohort) == 40
    ours = normalize(SCORES, TABLE, COHORT, MEAN, method, top_n)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, naive_norm(cohort, counted), atol=1e-5)


def test_s_norm_takes_the_whole_cohort():
    scores, e, t = RNG.random(9), RNG.random((9, 12)), RNG.random((9, 20))
    expected = ((scores - e.mean(1)) / e.std(1) + (scores - t.mean(1)) / t.std(1)) / 2
    np.testing.assert_allclose(as_norm(scores, e, t, None), expected)


def test_sides_and_the_order_of_cohort_and_embeddings_have_no_influence():
    ours = normalized()
    swapped = ScoreTable(replace(TRIALS, enroll=TRIALS.test, test=TRIALS.enroll), SCORES.scores)
    np.testing.assert_array_equal(normalized(swapped), ours)
    order = RNG.permutation(300)
    shuffled = Embeddings([COHORT_IDS[n] for n in order], COHORT_TABLE.vectors[order])
    other = speaker_cohort(shuffled, dict(sorted(UTT2SPK.items())), MEAN)
    assert other.speakers == COHORT.speakers
    order = RNG.permutation(40)
    other = Cohort(other.vectors[order], [other.speakers[n] for n in order], None)
    np.testing.assert_allclose(normalized(cohort=other), ours, atol=1e-5)


def normalized(table=SCORES, cohort=COHORT, mean=MEAN, method="asnorm", top_n=15):
    return normalize(table, TABLE, cohort, mean, method, top_n)


def test_wrong_cohorts_are_refused():
    some = {name: speaker for name, speaker in UTT2SPK.items() if name[1] != "9"}
    cancelled = np.ones((300, 16), dtype=np.float32)
    cancelled[0] = -1
    zero = Embeddings(COHORT_IDS, cancelled)
    pairs = {name: f"p{n // 2:03d}" for n, name in enumerate(COHORT_IDS)}
    for arguments, message in (
        ((COHORT_TABLE, some, None, None, "c.npz"), "c.npz:10: no speaker for 'c9', nor for 10 m"),
        ((COHORT_TABLE, UTT2SPK, None, {"c0": "de"}), "no language for 'c1'"),
        ((COHORT_TABLE, dict.fromkeys(COHORT_IDS, "alone")), "speaker 'alone' alone"),
        ((COHORT_TABLE, UTT2SPK, MEAN[:5]), "the mean has shape (5,)"),
        ((zero, pairs), "'p000' is zero"),
    ):
        assert message in refused(speaker_cohort, *arguments)


@pytest.mark.parametrize("top_n", [1, 41])
def test_a_top_n_that_the_cohort_lacks_is_refused(top_n):
    arrays = (np.zeros(3), np.zeros((3, 40)), np.zeros((3, 40)))
    for message in (refused(normalized, top_n=top_n), refused(as_norm, *arrays, top_n)):
        assert f"top_n is {top_n}" in message
        assert "from 2 to 40" in message


def test_cohort_scores_without_spread_are_refused():
    copies = replace(COHORT, vectors=np.repeat(COHORT.vectors[:1], 40, axis=0))
    assert cohort_statistics(COHORT.vectors, copies, 15)[1].max() < 1e-6
    message = refused(normalized, cohort=copies)
    assert f"scores of '{LIST_IDS[TRIALS.enroll[0]]}' are all equal" in message
    flat = RNG.random((3, 40))
    flat[1] = 0.5
    message = refused(as_norm, np.zeros(3), RNG.random((3, 40)), flat, 15)
    assert "the test side of trial 2" in message


def test_scores_that_are_not_the_cosines_are_refused():
    calibrated = ScoreTable(TRIALS, 10 * SCORES.scores)
    for wrong in ({"mean": None}, {"table": calibrated}):
        assert "list:1: the score is" in refused(normalized, **wrong)
    rounded = ScoreTable(TRIALS, SCORES.scores.round(4))
    assert np.isfinite(normalized(rounded)).all()


def test_shapes_and_methods_are_checked():
    narrow = replace(COHORT, vectors=COHORT.vectors[:, :8])
    assert "8 columns" in refused(normalized, cohort=narrow)
    assert "asnorm, snorm" in refused(normalized, method="znorm")
    message = refused(as_norm, np.zeros(3), RNG.random((3, 5)), RNG.random((2, 5)), 2)
    assert "one row for each trial" in message
