import numpy as np
import pytest
from conftest import seeded

from tidyvoice.errors import TidyVoiceError
from tidyvoice.verification.enrollment import Enrollment, Gallery
from tidyvoice.verification.verifier import Verifier


def speakers(count, dimension=16, model="m"):
    vectors = seeded(1).standard_normal((count, dimension)).astype(np.float32)
    return [Enrollment(f"speaker {n}", row, 2, 3.5, model) for n, row in enumerate(vectors)]


def test_candidates_have_the_highest_scores(voices):
    everyone, verifier = speakers(500), Verifier.load(voices / "model")
    vectors = seeded(2).standard_normal((2, 16)).astype(np.float32)
    prepared = verifier.prepare(np.stack([speaker.vector for speaker in everyone]))
    found = Gallery(everyone).nearest(vectors, verifier, top=7)
    for vector, candidates in zip(vectors, found, strict=True):
        scores = prepared.units @ verifier.prepare(vector[None]).units[0]
        best = [f"speaker {n}" for n in np.argsort(-scores)[:7]]
        assert [one.name for one in candidates] == best
        assert [one.score for one in candidates] == pytest.approx(np.sort(scores)[::-1][:7])
    assert len(Gallery(everyone[:3]).nearest(vectors, verifier, top=10)[0]) == 3
    with pytest.raises(TidyVoiceError, match="top 0: ask for at least one"):
        Gallery(everyone).nearest(vectors, verifier, 0)


def test_speakers_of_one_model_are_added_removed_and_replaced():
    everyone = speakers(3)
    gallery = Gallery(everyone)
    gallery.remove("speaker 1")
    assert gallery.names == ("speaker 0", "speaker 2")
    gallery.add(Enrollment("speaker 0", everyone[1].vector, 1, 1.0, "m"), overwrite=True)
    assert [speaker.recordings for speaker in gallery] == [1, 2]
    with pytest.raises(TidyVoiceError, match="'speaker 0' is enrolled already"):
        gallery.add(everyone[0])
    with pytest.raises(TidyVoiceError, match="'nobody' is not enrolled"):
        gallery.remove("nobody")
    for other in (speakers(9, model="other")[8], speakers(9, dimension=8)[8]):
        with pytest.raises(TidyVoiceError, match="another model than 'speaker 0'"):
            gallery.add(other)


@pytest.mark.parametrize("count", [0, 4])
def test_a_gallery_is_written_and_read(tmp_path, count):
    gallery = Gallery(speakers(count))
    gallery.save(tmp_path / "voices")
    again = Gallery.load(tmp_path / "voices")
    assert again.names == gallery.names
    for one, other in zip(gallery, again, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        assert (other.recordings, other.seconds, other.model) == (2, 3.5, "m")


@pytest.mark.parametrize("content", [b"PK\3\4 no archive", b""])
def test_an_unfit_file_is_named(tmp_path, content):
    path = tmp_path / "voices.npz"
    path.write_bytes(content)
    with pytest.raises(TidyVoiceError, match=r"voices\.npz is not a file of enrolled speakers"):
        Gallery.load(path)
