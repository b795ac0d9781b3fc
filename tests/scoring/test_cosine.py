"""Cosine scores: against the definition, in blocks, and refusing vectors without a direction."""

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring import cosine
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

RNG = np.random.Generator(np.random.PCG64(3))
IDS = [f"u{n}" for n in range(20)]
TABLE = Embeddings(IDS, RNG.standard_normal((20, 16), dtype=np.float32))
# The list knows the ids in another order, with .wav, and not all of them.
LIST_IDS = [f"{name}.wav" for name in IDS[:0:-1]]
TRIALS = Trials(LIST_IDS, *RNG.integers(0, 19, (2, 333), dtype=np.int32), None, "list")


@pytest.mark.parametrize("mean", [None, TABLE.mean()], ids=["raw", "centred"])
@pytest.mark.parametrize(("portion", "group", "block"), [(2**21, 512, 2048), (100, 3, 7)])
def test_agrees_with_the_definition(monkeypatch, portion, group, block, mean):
    for name, size in (("PORTION", portion), ("GROUP", group), ("BLOCK", block)):
        monkeypatch.setattr(cosine, name, size)
    vectors = dict(zip(IDS, TABLE.vectors.astype(np.float64), strict=True))
    m = 0.0 if mean is None else mean.astype(np.float64)
    expected = []
    for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True):
        x, y = vectors[LIST_IDS[e][:-4]] - m, vectors[LIST_IDS[t][:-4]] - m
        expected.append(x @ y / np.sqrt((x @ x) * (y @ y)))
    scores = cosine_scores(TABLE, TRIALS, mean)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_both_directions_score_the_same():
    swapped = Trials(LIST_IDS, TRIALS.test, TRIALS.enroll, None)
    np.testing.assert_array_equal(cosine_scores(TABLE, TRIALS), cosine_scores(TABLE, swapped))


@pytest.mark.parametrize(
    ("value", "mean", "said"),
    [
        (0.0, None, "'u4' is zero"),
        (np.nan, None, "'u4' holds NaN or infinity"),
        (2.0, np.full(16, 2, dtype=np.float32), "'u4' equals the mean"),
        (2.0, np.full(16, 2 + 2e-7, dtype=np.float32), "'u4' equals the mean"),
        (1.0, np.zeros(15, dtype=np.float32), "the mean has shape (15,)"),
    ],
)
def test_vectors_without_direction_are_named(value, mean, said):
    vectors = TABLE.vectors.copy()
    vectors[4] = value
    with pytest.raises(TidyVoiceError) as error:
        cosine_scores(Embeddings(IDS, vectors), TRIALS, mean)
    assert said in str(error.value)
    if said.startswith("'u4'"):
        uses = [t for t in range(333) if "u4.wav" in
                (LIST_IDS[TRIALS.enroll[t]], LIST_IDS[TRIALS.test[t]])]  # fmt: skip
        assert str(error.value).startswith(f"list:{uses[0] + 1}: the embedding of")


def test_vectors_that_no_trial_uses_may_be_anything():
    vectors = TABLE.vectors.copy()
    vectors[0] = 0
    np.testing.assert_array_equal(
        cosine_scores(Embeddings(IDS, vectors), TRIALS), cosine_scores(TABLE, TRIALS)
    )
