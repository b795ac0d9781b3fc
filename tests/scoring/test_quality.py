"""Quality measures: by hand, and refusing what says nothing."""

import numpy as np
import pytest

from tests.conftest import refused
from tidyvoice.scoring.backend import Backend, LanguageClassifier
from tidyvoice.scoring.calibration import Features
from tidyvoice.scoring.embeddings import save_embeddings
from tidyvoice.scoring.tables import Measures, Tables
from tidyvoice.scoring.trials import Trials

IDS = ["a/en/1.wav", "b/en/1", "c/fr/1"]
TRIALS = Trials(
    IDS, np.array([0, 1, 2, 2], dtype=np.int32), np.array([1, 0, 1, 2], dtype=np.int32), None, "L"
)


def tables(folder, seconds="a/en/1 1\nb/en/1.wav 2\nc/fr/1 4\nd 0\n", last=(6.0, 8.0)) -> Tables:
    """The measures of embeddings of lengths 10, 5 and 1."""
    table = [(3.0, 4.0), (0.0, 1.0), last]
    save_embeddings(folder / "e.npz", ["b/en/1", "c/fr/1", "a/en/1"], np.array(table))
    (folder / "utt2dur").write_text(seconds)
    measures = Measures(utt2dur=[folder / "utt2dur"], magnitude=True, languages="known")
    return Tables([folder / "e.npz"], measures=measures)


def test_measures_by_hand(tmp_path):
    features = Features(TRIALS, [np.arange(4.0)] * 2, *tables(tmp_path).measures(TRIALS))
    assert features.names == (
        "score 1", "score 2", "smaller log duration", "larger log duration",
        "smaller log magnitude", "larger log magnitude", "language similarity",
    )  # fmt: skip
    expected = [
        [0, 0, 0, np.log(2), np.log(5), np.log(10), 1],
        [1, 1, 0, np.log(2), np.log(5), np.log(10), 1],
        [2, 2, np.log(2), np.log(4), 0, np.log(5), 0],
        [3, 3, np.log(4), np.log(4), 0, 0, 1],
    ]
    for part in (slice(None), slice(2, 4), np.array([3, 1])):
        np.testing.assert_allclose(features.block(part), np.array(expected)[part], atol=1e-7)
    assert Features(TRIALS, [np.arange(4.0)]).names == ("score",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"seconds": "a/en/1 1\nc/fr/1 2\n"}, "L:1: no duration for 'b/en/1'"),
        ({"seconds": "a/en/1 1\nb/en/1 0\nc/fr/1 nan\n"}, "'b/en/1' is 0 (1 more such)"),
        ({"last": (0, 0)}, "L: the length of the embedding of 'a/en/1.wav' is 0"),
    ],
)
def test_what_cannot_be_measured_is_named(tmp_path, files, message):
    assert message in refused(tables(tmp_path, **files).measures, TRIALS)
    assert '["en"]): give seconds' in refused(tables, tmp_path, "a en\n")


def test_embeddings_of_another_size_are_refused(tmp_path):
    paths = [tmp_path / "two.npz", tmp_path / "three.npz"]
    for path, size in zip(paths, (2, 3), strict=True):
        save_embeddings(path, ["a/en/1"], np.ones((1, size)))
    cohort = paths[1], tmp_path / "utt2spk"
    for wrong in ([paths], [paths[:1], paths[1]], [paths[:1], None, None, cohort]):
        assert "are embeddings of different models" in refused(Tables, *wrong)
    save_embeddings(paths[0], ["b/en/1", "a/en/1"], np.ones((2, 3)))
    message = f"{paths[1]}: another table has an embedding of 'a/en/1'"
    assert message in refused(Tables, paths)


def test_languages_are_compared_by_their_embeddings(tmp_path):
    """In a table of language embeddings by cosines, guessed by the roots of probabilities."""
    tables(tmp_path)
    angles = {"a/en/1": 0.0, "b/en/1": np.pi / 3, "c/fr/1": np.pi / 2}
    vectors = 3 * np.stack([np.cos(list(angles.values())), np.sin(list(angles.values()))], axis=1)
    save_embeddings(tmp_path / "lid.npz", list(angles), vectors)
    classifier = LanguageClassifier(
        names=("en", "fr"), weights=np.array([[0.0, 3.0], [0.0, 0.0]]), offsets=np.zeros(2)
    )
    Backend(mean=np.zeros(2), languages=classifier).save(tmp_path / "b.json")
    given = Tables(measures=Measures(languages=str(tmp_path / "lid.npz")))
    np.testing.assert_allclose(given.measures(TRIALS)[1], [0.5, 0.5, np.sqrt(3) / 2, 1], atol=1e-6)
    files = [tmp_path / "e.npz"], None, tmp_path / "b.json"
    guessed = Tables(*files, measures=Measures(languages="guessed")).measures(TRIALS)[1]
    odds = np.exp([1.8, 1.8, 0.0])  # of "fr", for a, b and c
    p = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    expected = [np.sqrt(p[e] * p[t]).sum() for e, t in zip(TRIALS.enroll, TRIALS.test, strict=True)]
    np.testing.assert_allclose(guessed, expected, atol=1e-6)
