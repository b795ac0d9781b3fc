"""Cosines, cohort, S-norm and AS-norm: against published numbers and their definitions."""

from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import refused, seeded
from tidyvoice.scoring import cosine, normalization
from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.normalization import as_norm, normalize, speaker_cohort
from tidyvoice.scoring.trials import ScoreTable, Trials

RNG = seeded(8)
MEAN = RNG.standard_normal(16, dtype=np.float32)
# The table spells its ids without .wav, the list with it, in another order and not all of them.
IDS = [f"u{n}" for n in range(30)]
TABLE = Embeddings(IDS, MEAN + RNG.standard_normal((30, 16), dtype=np.float32))
LIST_IDS = [f"{name}.wav" for name in IDS[:0:-1]]
TRIALS = Trials(LIST_IDS, *RNG.integers(0, 29, (2, 200), dtype=np.int32), None, "list")
SCORES = ScoreTable(TRIALS, trial_scores(TABLE, TRIALS, Backend(mean=MEAN)).astype(np.float64))

COHORT_IDS = [f"c{n}" for n in range(300)]
COHORT_TABLE = Embeddings(COHORT_IDS, MEAN + RNG.standard_normal((300, 16), dtype=np.float32))
UTT2SPK = {f"c{n}.wav": f"s{RNG.integers(40):02d}" for n in reversed(range(300))}
COHORT = speaker_cohort(COHORT_TABLE, UTT2SPK, MEAN)


def unit(vectors: np.ndarray, mean: np.ndarray = MEAN) -> np.ndarray:
    centred = vectors.astype(np.float64) - mean
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def normalized(table=SCORES, cohort=COHORT, mean=MEAN, method="asnorm", top_n=15):
    return normalize(table, TABLE, cohort, mean, method, top_n)


@pytest.mark.parametrize("mean", [None, MEAN], ids=["raw", "centred"])
@pytest.mark.parametrize("block", [2048, 7])
def test_cosines_agree_with_the_definition(monkeypatch, block, mean):
    monkeypatch.setattr(cosine, "BLOCK", block)
    vectors = dict(zip(IDS, TABLE.vectors.astype(np.float64), strict=True))
    vectors["u0"] = np.zeros(16)  # no trial uses it
    m = 0.0 if mean is None else mean.astype(np.float64)
    expected = []
    for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True):
        x, y = vectors[LIST_IDS[e][:-4]] - m, vectors[LIST_IDS[t][:-4]] - m
        expected.append(x @ y / np.sqrt((x @ x) * (y @ y)))
    table = Embeddings(IDS, np.float32(list(vectors.values())))
    scores = trial_scores(table, TRIALS, Backend(mean=mean))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(("value", "mean"), [(0, None), (np.nan, None), (2, np.full(16, 2 + 2e-7))])
def test_vectors_without_direction_are_named(value, mean):
    vectors = TABLE.vectors.copy()
    vectors[4] = value
    arguments = Embeddings(IDS, vectors), TRIALS, Backend(mean=mean)
    assert "embedding of 'u4'" in refused(trial_scores, *arguments)


def test_as_norm_gives_the_published_numbers(golden):
    for case in golden["asnorm"]:
        rng = seeded(case["seed"], 31)
        shapes = (case["n"], case["d"]), (case["cohort"], case["d"]), (case["d"],)
        e, c, mean = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        mean = np.float32(0.1) * mean
        enroll, test, cosine, expected = (
            np.array([trial[key] for trial in case["trials"]])
            for key in ("enroll", "test", "cosine", "asnorm")
        )
        vectors, cohort_scores = unit(e, mean), unit(e, mean) @ unit(c, mean).T
        scores = np.einsum("td,td->t", vectors[enroll], vectors[test])
        np.testing.assert_allclose(scores, cosine, atol=1e-6)
        ours = as_norm(scores, cohort_scores[enroll], cohort_scores[test], case["top_n"])
        np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_cohort_agrees_with_the_definition():
    keys = [UTT2SPK[f"{c}.wav"] for c in COHORT_IDS]
    means = [
        np.mean([v for v, k in zip(COHORT_TABLE.vectors, keys, strict=True) if k == key], axis=0)
        for key in sorted(set(keys))
    ]
    assert COHORT.vectors.dtype == np.float32
    assert COHORT.ids == sorted(set(keys))
    np.testing.assert_allclose(COHORT.vectors, unit(np.array(means)), atol=1e-6)


@pytest.mark.parametrize(
    ("method", "top_n", "counted"), [("asnorm", 15, 15), ("asnorm", 40, 40), ("snorm", 15, None)]
)
@pytest.mark.parametrize("block", [512, 3])
def test_agrees_with_the_definition(monkeypatch, block, method, top_n, counted):
    monkeypatch.setattr(normalization, "UTTERANCES", block)
    monkeypatch.setattr(normalization, "BLOCK", block)
    vectors = unit(TABLE.vectors[:0:-1])
    sides = (vectors[side] @ COHORT.vectors.T for side in (TRIALS.enroll, TRIALS.test))
    ours = normalized(method=method, top_n=top_n)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, as_norm(SCORES.scores, *sides, counted), atol=1e-5)


def test_s_norm_takes_the_whole_cohort():
    scores, e, t = RNG.random(9), RNG.random((9, 12)), RNG.random((9, 20))
    expected = ((scores - e.mean(1)) / e.std(1) + (scores - t.mean(1)) / t.std(1)) / 2
    np.testing.assert_allclose(as_norm(scores, e, t, None), expected)


def test_wrong_cohorts_are_refused():
    some = {name: speaker for name, speaker in UTT2SPK.items() if name[1] != "9"}
    for arguments, message in (
        ((COHORT_TABLE, some, None, "c.npz"), "c.npz:10: no speaker for 'c9', nor for 10 m"),
        ((COHORT_TABLE, dict.fromkeys(COHORT_IDS, "alone")), "speaker 'alone' alone"),
    ):
        assert message in refused(speaker_cohort, *arguments)
    copies = replace(COHORT, vectors=np.repeat(COHORT.vectors[:1], 40, axis=0))
    assert "are all equal" in refused(normalized, cohort=copies)


@pytest.mark.parametrize("top_n", [1, 41])
def test_a_top_n_that_the_cohort_lacks_is_refused(top_n):
    arrays = (np.zeros(3), np.zeros((3, 40)), np.zeros((3, 40)))
    for message in (refused(normalized, top_n=top_n), refused(as_norm, *arrays, top_n)):
        assert f"top_n is {top_n}" in message


def test_scores_that_are_not_the_cosines_are_refused():
    for wrong in ({"mean": None}, {"table": ScoreTable(TRIALS, 10 * SCORES.scores)}):
        assert "list:1: the score is" in refused(normalized, **wrong)
