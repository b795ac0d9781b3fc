"""Quality measures: by hand, the same from both sides, and refusing what says nothing."""

import numpy as np
import pytest

from tidyvoice.embeddings import Embeddings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.quality import Features, Quality, quality_measures
from tidyvoice.scoring.trials import Trials

IDS = ["a.wav", "b", "c"]
TRIALS = Trials(
    IDS, np.array([0, 1, 2, 2], dtype=np.int32), np.array([1, 0, 1, 2], dtype=np.int32), None, "L"
)
SECONDS = {"c": 4.0, "a": 1.0, "b.wav": 2.0, "unused": 0.0}
TABLE = Embeddings(["b", "c", "a"], np.array([[3, 4], [0, 1], [6, 8]], dtype=np.float32))
COHORT = np.array([0.3, 0.1, 0.2])
MATCH = np.array([True, False, False, True])


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(TidyVoiceError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def measures(trials: Trials = TRIALS) -> Quality:
    return quality_measures(
        trials, seconds=SECONDS, embeddings=TABLE, cohort=COHORT, language_match=MATCH
    )


def test_measures_by_hand():
    quality = measures()
    assert quality.names == (
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
    np.testing.assert_allclose(quality.block(slice(None)), expected, atol=1e-15)
    for part in (slice(2, 4), np.array([3, 1])):
        np.testing.assert_allclose(quality.block(part), np.array(expected)[part], atol=1e-15)


def test_it_does_not_matter_which_side_is_the_enrolment():
    swapped = Trials(IDS, TRIALS.test, TRIALS.enroll, None)
    every = slice(None)
    np.testing.assert_array_equal(measures(swapped).block(every), measures().block(every))


def test_only_what_is_given_is_measured():
    assert quality_measures(TRIALS).names == ()
    assert quality_measures(TRIALS).block(slice(None)).shape == (4, 0)
    likely = quality_measures(TRIALS, language_match=np.array([0.25, 0, 1, 0.5]))
    assert likely.block(slice(None)).ravel().tolist() == [0.25, 0, 1, 0.5]


def test_features_are_scores_then_measures():
    scores = np.arange(4.0)
    assert Features(TRIALS, [scores]).names == ("score",)
    two = Features(TRIALS, [scores, 2 * scores], quality_measures(TRIALS, cohort=COHORT))
    assert two.names == ("score 1", "score 2", "smaller cohort score", "larger cohort score")
    assert two.block(slice(1, 2)).tolist() == [[1, 2, 0.1, 0.3]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seconds": {"a": 1.0, "c": 2.0}}, "L:1: no duration for 'b'"),
        ({"seconds": SECONDS | {"b.wav": 0.0}}, "L: the duration of 'b' is 0 (1 such ids)"),
        ({"seconds": SECONDS | {"c": np.nan}}, "L: the duration of 'c' is nan"),
        ({"seconds": SECONDS | {"c": np.inf}}, "L: log duration of 'c' is inf"),
        ({"embeddings": Embeddings(["a", "b"], np.ones((2, 2)))}, "L:3: no embedding for 'c'"),
        (
            {"embeddings": Embeddings(IDS, np.eye(3)[:, :2])},
            "L: the length of the embedding of 'c' is 0",
        ),
        ({"cohort": COHORT[:2]}, "L: cohort score has shape (2,) for 3 ids"),
        ({"cohort": np.array([0, np.nan, 0])}, "L: cohort score of 'b' is nan"),
        ({"language_match": MATCH[:3]}, "L: language match has shape (3,) for 4 trials"),
        ({"language_match": np.array([1, 0, 1.5, 0])}, "L:3: language match is 1.5"),
        ({"language_match": np.array([1, np.nan, 1, 0])}, "L:2: language match is nan"),
    ],
)
def test_what_cannot_be_measured_is_named(given, said):
    assert said in refusal(quality_measures, TRIALS, **given)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([], "L: no scores"),
        ([np.zeros(3)], "L: score has shape (3,) for 4 trials"),
        ([np.zeros(4), np.array([0, 0, np.inf, 0])], "L:3: score 2 is not finite (1 such trials)"),
    ],
)
def test_scores_that_do_not_fit_are_named(scores, said):
    assert said in refusal(Features, TRIALS, scores)
