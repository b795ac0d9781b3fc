import numpy as np
import pytest
from conftest import seeded

from tidyvoice.errors import TidyVoiceError
from tidyvoice.verification.enrollment import Enrollment, Gallery
from tidyvoice.verification.verifier import Verifier


def speakers(count, dimension=16, model="m"):
    vectors = seeded(1).standard_normal((count, dimension)).astype(np.float32)
    return [Enrollment(f"speaker {n}", row, 2, 3.5, model) for n, row in enumerate(vectors)]


@pytest.fixture(scope="module")
def verifier(voices):
    return Verifier.load(voices / "model")


def test_candidates_have_the_highest_scores(verifier):
    everyone = speakers(500)
    vectors = seeded(2).standard_normal((2, 16)).astype(np.float32)
    found = Gallery(everyone).nearest(vectors, verifier, top=7)
    voices = verifier.prepare(np.stack([speaker.vector for speaker in everyone]))
    for vector, candidates in zip(vectors, found, strict=True):
        scores = voices.units @ verifier.prepare(vector[None]).units[0]
        best = [f"speaker {n}" for n in np.argsort(-scores)[:7]]
        assert [one.name for one in candidates] == best
        assert [one.score for one in candidates] == pytest.approx(np.sort(scores)[::-1][:7])
        llrs = [verifier.scale(2).llr(one.score) for one in candidates]
        assert [one.llr for one in candidates] == pytest.approx(llrs)
    (few,) = Gallery(everyone[:3]).nearest(vectors[:1], verifier, top=10)
    assert len(few) == 3
    with pytest.raises(TidyVoiceError, match="top 0: ask for at least one"):
        Gallery(everyone).nearest(vectors, verifier, 0)


def test_speakers_are_added_removed_and_replaced(verifier):
    everyone = speakers(3)
    gallery = Gallery(everyone)
    vector = everyone[1].vector
    gallery.remove("speaker 1")
    assert gallery.names == ("speaker 0", "speaker 2")
    gallery.add(Enrollment("speaker 0", vector, 1, 1.0, "m"), overwrite=True)
    assert gallery.nearest(vector[None], verifier, 1)[0][0].name == "speaker 0"
    with pytest.raises(TidyVoiceError, match="'speaker 0' is enrolled already"):
        gallery.add(everyone[0])
    with pytest.raises(TidyVoiceError, match="'nobody' is not enrolled"):
        gallery.remove("nobody")


def test_all_speakers_are_of_one_model():
    gallery = Gallery(speakers(2))
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


@pytest.mark.parametrize("content", [None, b"PK\3\4 no archive", b""])
def test_an_unfit_file_is_named(tmp_path, content):
    path = tmp_path / "voices.npz"
    if content is not None:
        path.write_bytes(content)
    message = "no such file" if content is None else "is not a file of enrolled speakers"
    with pytest.raises(TidyVoiceError, match=message) as error:
        Gallery.load(path)
    assert str(path) in str(error.value)
