import numpy as np
import pytest
from conftest import seeded

from tidyvoice.enrolment import Enrolment, Gallery
from tidyvoice.errors import TidyVoiceError
from tidyvoice.verifier import Verifier


def enrolments(count, dimension=16, model="m", seed=1):
    vectors = seeded(seed).standard_normal((count, dimension)).astype(np.float32)
    return [Enrolment(f"speaker {n}", row, 2, 3.5, model) for n, row in enumerate(vectors)]


@pytest.fixture(scope="module")
def verifier(voices):
    return Verifier.load(voices / "model")


def test_the_nearest_are_those_of_all_scores(verifier):
    everyone = enrolments(500)
    asked = seeded(2).standard_normal(16).astype(np.float32)
    found = Gallery(everyone).nearest(asked, verifier, top=7)
    units = verifier.directions(np.stack([one.vector for one in everyone]))
    scores = units @ verifier.directions(asked[None])[0]
    assert [one.name for one in found] == [f"speaker {n}" for n in np.argsort(-scores)[:7]]
    assert [one.score for one in found] == pytest.approx(np.sort(scores)[::-1][:7])
    assert [one.llr for one in found] == pytest.approx(
        [verifier.slope * one.score + verifier.offset for one in found]
    )


def test_more_candidates_than_voices_are_all(verifier):
    assert len(Gallery(enrolments(3)).nearest(np.ones(16, np.float32), verifier, top=10)) == 3


def test_voices_come_go_and_are_replaced(verifier):
    everyone = enrolments(3)
    gallery = Gallery(everyone)
    asked = everyone[1].vector
    assert gallery.nearest(asked, verifier, 1)[0].name == "speaker 1"
    gallery.remove("speaker 1")
    assert gallery.names == ("speaker 0", "speaker 2")
    assert gallery.nearest(asked, verifier, 1)[0].name != "speaker 1"
    gallery.add(Enrolment("speaker 0", asked, 1, 1.0, "m"), replace=True)
    assert gallery.nearest(asked, verifier, 1)[0].name == "speaker 0"
    with pytest.raises(TidyVoiceError, match="'speaker 0' is enrolled already"):
        gallery.add(everyone[0])
    with pytest.raises(TidyVoiceError, match="'nobody' is not enrolled"):
        gallery.remove("nobody")


def test_all_are_of_one_model():
    gallery = Gallery(enrolments(2))
    for other in (enrolments(9, model="other")[8], enrolments(9, dimension=8)[8]):
        with pytest.raises(TidyVoiceError, match="another model than 'speaker 0'"):
            gallery.add(other)


def test_a_gallery_is_written_and_read(tmp_path):
    gallery = Gallery(enrolments(4))
    gallery.save(tmp_path / "voices")
    again = Gallery.load(tmp_path / "voices")
    assert again.names == gallery.names
    for one, other in zip(gallery, again, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        assert (one.recordings, one.seconds, one.model) == (2, 3.5, "m") == (
            other.recordings, other.seconds, other.model,
        )  # fmt: skip


def test_an_empty_gallery_too(tmp_path):
    Gallery().save(tmp_path / "voices.npz")
    assert len(Gallery.load(tmp_path / "voices.npz")) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"PK\3\4 no archive"), "is no gallery of voices"),
        (lambda path: path.write_bytes(b""), "is no gallery of voices"),
        (lambda path: np.savez(path, ids=np.zeros(1)), "is no gallery of voices"),
    ],
)
def test_an_unfit_file_is_named(tmp_path, make, message):
    path = tmp_path / "voices.npz"
    make(path)
    with pytest.raises(TidyVoiceError, match=message) as error:
        Gallery.load(path)
    assert str(path) in str(error.value)


def test_the_only_voice_is_replaced_by_one_of_another_model():
    gallery = Gallery(enrolments(1))
    gallery.add(enrolments(1, model="other")[0], replace=True)
    assert gallery.model == "other"


@pytest.mark.parametrize("top", [0, -1])
def test_at_least_one_candidate_is_asked_for(verifier, top):
    with pytest.raises(TidyVoiceError, match=f"top {top}: ask for at least one"):
        Gallery(enrolments(3)).nearest(np.ones(16, np.float32), verifier, top)


@pytest.mark.parametrize("first", [True, False])
def test_a_voice_that_leaves_during_a_search_moves_no_name(verifier, monkeypatch, first):
    everyone = enrolments(3)
    gallery = Gallery(everyone)
    if not first:
        gallery.nearest(everyone[2].vector, verifier)
    directions, left = Verifier.directions, []

    def slow(self, embeddings):
        if not left:  # as another thread might, in the middle of it
            left.append(True)
            gallery.remove("speaker 0")
        return directions(self, embeddings)

    monkeypatch.setattr(Verifier, "directions", slow)
    assert gallery.nearest(everyone[2].vector, verifier, 1)[0].name == "speaker 2"
    # What was prepared meanwhile is not kept.
    assert len(gallery.nearest(everyone[0].vector, verifier)) == 2
