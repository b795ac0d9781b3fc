"""Cosine scores: against the definition, in blocks, and refusing vectors without a direction."""

import numpy as np
import pytest

from tests.conftest import refused, seeded
from tidyvoice.scoring import cosine
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

RNG = seeded(3)
IDS = [f"u{n}" for n in range(20)]
TABLE = Embeddings(IDS, RNG.standard_normal((20, 16), dtype=np.float32))
# The list knows the ids in another order, with .wav, and not all of them.
LIST_IDS = [f"{name}.wav" for name in IDS[:0:-1]]
TRIALS = Trials(LIST_IDS, *RNG.integers(0, 19, (2, 333), dtype=np.int32), None, "list")


@pytest.mark.parametrize("mean", [None, TABLE.mean()], ids=["raw", "centred"])
@pytest.mark.parametrize("block", [2048, 7])
def test_agrees_with_the_definition(monkeypatch, block, mean):
    monkeypatch.setattr(cosine, "BLOCK", block)
    vectors = dict(zip(IDS, TABLE.vectors.astype(np.float64), strict=True))
    vectors["u0"] = np.zeros(16)  # no trial uses it
    m = 0.0 if mean is None else mean.astype(np.float64)
    expected = []
    for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True):
        x, y = vectors[LIST_IDS[e][:-4]] - m, vectors[LIST_IDS[t][:-4]] - m
        expected.append(x @ y / np.sqrt((x @ x) * (y @ y)))
    scores = cosine_scores(Embeddings(IDS, np.float32(list(vectors.values()))), TRIALS, mean)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize(("value", "mean"), [(0, None), (np.nan, None), (2, np.full(16, 2 + 2e-7))])
def test_vectors_without_direction_are_named(value, mean):
    vectors = TABLE.vectors.copy()
    vectors[4] = value
    assert "embedding of 'u4'" in refused(cosine_scores, Embeddings(IDS, vectors), TRIALS, mean)
