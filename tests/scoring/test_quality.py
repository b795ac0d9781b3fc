"""Quality measures: by hand, the same from both sides, and refusing what says nothing."""

import numpy as np
import pytest

from tests.scoring.support import refused
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.quality import Features, quality_measures
from tidyvoice.scoring.trials import Trials

IDS = ["a.wav", "b", "c"]
TRIALS = Trials(
    IDS, np.array([0, 1, 2, 2], dtype=np.int32), np.array([1, 0, 1, 2], dtype=np.int32), None, "L"
)
SECONDS = {"c": 4.0, "a": 1.0, "b.wav": 2.0, "unused": 0.0}
TABLE = Embeddings(["b", "c", "a"], np.array([[3, 4], [0, 1], [6, 8]], dtype=np.float32))
COHORT = np.array([0.3, 0.1, 0.2])
MATCH = np.array([True, False, False, True])


def features(trials: Trials = TRIALS, scores=()) -> Features:
    return Features(trials, scores, quality_measures(trials, SECONDS, TABLE, COHORT), MATCH)


def test_measures_by_hand():
    assert features().names == (
        "smaller log duration",
        "larger log duration",
        "smaller log magnitude",
        "larger log magnitude",
        "smaller cohort score",
        "larger cohort score",
        "language match",
    )
    expected = [
        [0, np.log(2), np.log(5), np.log(10), 0.1, 0.3, 1],
        [0, np.log(2), np.log(5), np.log(10), 0.1, 0.3, 0],
        [np.log(2), np.log(4), 0, np.log(5), 0.1, 0.2, 0],
        [np.log(4), np.log(4), 0, 0, 0.2, 0.2, 1],
    ]
    for part in (slice(None), slice(2, 4), np.array([3, 1])):
        np.testing.assert_allclose(features().block(part), np.array(expected)[part], atol=1e-15)


def test_it_does_not_matter_which_side_is_the_enrolment():
    swapped = Trials(IDS, TRIALS.test, TRIALS.enroll, None)
    every = slice(None)
    np.testing.assert_array_equal(features(swapped).block(every), features().block(every))


def test_features_are_scores_then_the_measures_that_are_given():
    scores = np.arange(4.0)
    assert quality_measures(TRIALS) == {}
    assert Features(TRIALS, [scores]).names == ("score",)
    measures, match = quality_measures(TRIALS, cohort=COHORT), np.array([0.25, 0, 1, 0.5])
    two = Features(TRIALS, [scores, 2 * scores], measures, match)
    assert two.names[:4] == ("score 1", "score 2", "smaller cohort score", "larger cohort score")
    assert two.block(slice(1, 3)).tolist() == [[1, 2, 0.1, 0.3, 0], [2, 4, 0.1, 0.2, 1]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seconds": {"a": 1.0, "c": 2.0}}, "L:1: no duration for 'b'"),
        ({"seconds": SECONDS | {"b.wav": 0.0}}, "L: the duration of 'b' is 0 (1 such ids)"),
        ({"seconds": SECONDS | {"c": np.nan}}, "L: the duration of 'c' is nan"),
        ({"seconds": SECONDS | {"c": np.inf}}, "L: the duration of 'c' is inf"),
        ({"embeddings": Embeddings(["a", "b"], np.ones((2, 2)))}, "L:3: no embedding for 'c'"),
        (
            {"embeddings": Embeddings(IDS, np.eye(3)[:, :2])},
            "L: the length of the embedding of 'c' is 0",
        ),
    ],
)
def test_what_cannot_be_measured_is_named(given, said):
    assert said in refused(quality_measures, TRIALS, **given)
