import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import refused, seeded, succeed

from tidyvoice.scoring.distribution import BINS, Distribution
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.scoring.trials import read_scores
from tidyvoice.verification.enrollment import Enrollment, Gallery
from tidyvoice.verification.fit import fit_verifier
from tidyvoice.verification.verifier import Verifier


def listed(targets=2000, nontargets=20_000, seed=1):
    rng = seeded(seed)
    scores = np.append(rng.normal(0.6, 0.1, targets), rng.normal(0.0, 0.1, nontargets))
    return scores, np.arange(len(scores)) < targets


@pytest.fixture(scope="module")
def verifier(voices):
    return Verifier.load(voices / "model")


@pytest.fixture(scope="module")
def fitted(voices, tmp_path_factory):
    """A verifier with a back end, which is in-sample, in its file."""
    path, table = tmp_path_factory.mktemp("backend") / "backend.json", voices / "known.npz"
    succeed(f"fit-backend --embeddings {table} --method plda --dimensions 4 --out {path}")
    return fit_verifier(table, voices / "trials", backend=path, allow_overlap=True), path


def test_scores_are_those_of_the_back_end(voices, fitted, tmp_path):
    made, path = fitted
    out, table = tmp_path / "scores", load_embeddings(voices / "known.npz")
    lists = f"--embeddings {voices}/known.npz --trials {voices}/trials --backend {path}"
    succeed(f"score {lists} --allow-overlap --out {out}")
    scored = read_scores(out)
    places, trials = scored.trials.places_in(table.ids, "embedding"), scored.trials
    sides = (table.vectors[places[side]] for side in (trials.enroll, trials.test))
    enroll, test = (made.prepare(side) for side in sides)
    np.testing.assert_allclose(made.scores(enroll, test), scored.scores, atol=1e-5)
    np.testing.assert_allclose(made.scores(enroll[:9], test[:1])[0], scored.scores[0], atol=1e-5)
    # The names of the speakers stay in the file of the back end.
    assert made.backend.speakers is None


@pytest.mark.parametrize("with_backend", [True, False])
def test_each_number_of_enrolment_recordings_has_its_calibration(verifier, fitted, with_backend):
    made = fitted[0] if with_backend else verifier
    # Of eight utterances four may enrol beside a test, eight may not.
    assert [scale.recordings for scale in made.scales] == [1, 2, 4]
    assert [made.scale(n).recordings for n in (1, 2, 3, 4, 20)] == [1, 2, 2, 4, 4]
    for scale in made.scales:
        known = scale.distribution
        llrs = scale.slope * np.linspace(*known.span, BINS) + scale.offset
        # A calibration that fits: targets cost little, and so do the others.
        cost = np.average(np.logaddexp(0, -llrs), weights=known.target)
        assert cost + np.average(np.logaddexp(0, llrs), weights=known.nontarget) < 2 * math.log(2)


@pytest.mark.parametrize("prior", [0.001, 0.5, 0.9])
def test_decision_llr_and_threshold_agree(verifier, prior):
    for score in np.linspace(-1, 1, 41):
        result = verifier.decide(float(score), prior)
        posterior = 1 / (1 + math.exp(-(result.llr + math.log(prior / (1 - prior)))))
        assert result.probability == pytest.approx(posterior)
        assert result.same_speaker == (result.score > result.threshold)
        assert result.same_speaker == (result.probability > 0.5)
    assert verifier.decide(0.0, prior / 2).threshold > result.threshold
    for wrong in (0, 1, math.nan):
        assert "between 0 and 1" in refused(verifier.decide, 0.5, wrong)


def test_it_is_written_and_read(verifier, fitted, tmp_path):
    for one in (verifier, fitted[0]):
        path = one.save(tmp_path)
        again = Verifier.load(tmp_path)
        assert (again.scales, again.notes) == (one.scales, one.notes)
        assert again.save(tmp_path).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("false_alarm", "voices", "least", "most"),
    # Few trials tell little about a thousand voices; what they leave open must be on the safe side.
    [(0.2, 1, 0.15, 0.25), (0.01, 1, 0.007, 0.013), (0.05, 1000, 0.01, 0.06)],
)
def test_the_best_of_many_strangers_exceeds_a_threshold_as_often_as_asked(
    false_alarm, voices, least, most
):
    found = []
    for seed in range(10):
        threshold = Distribution.of(*listed(seed=seed)).threshold(false_alarm, voices)
        best = seeded(99, seed).normal(0.0, 0.1, (10_000_000 // (voices * 10), voices)).max(axis=1)
        found.append((best > threshold).mean())
    assert least < np.mean(found) < most


def test_scores_that_give_no_threshold_are_refused():
    assert "9 target trials are too few" in refused(Distribution.of, *listed(targets=9))
    assert "all equal" in refused(Distribution.of, np.zeros(2000), np.arange(2000) < 50)
    for false_alarm in (0, 1e-200, 1, math.nan):
        assert "give a probability" in refused(Distribution.of(*listed()).threshold, false_alarm)


def speakers(count, dimension=16, model="m"):
    vectors = seeded(1).standard_normal((count, dimension)).astype(np.float32)
    return [Enrollment(f"speaker {n}", row, 2, 3.5, model) for n, row in enumerate(vectors)]


def test_candidates_have_the_highest_scores(verifier):
    everyone = speakers(500)
    vectors = seeded(2).standard_normal((2, 16)).astype(np.float32)
    prepared = verifier.prepare(np.stack([speaker.vector for speaker in everyone]))
    found = Gallery(everyone).nearest(vectors, verifier, top=7)
    for vector, candidates in zip(vectors, found, strict=True):
        scores = prepared.vectors @ verifier.prepare(vector[None]).vectors[0]
        best = [f"speaker {n}" for n in np.argsort(-scores)[:7]]
        assert [one.name for one in candidates] == best
        assert [one.score for one in candidates] == pytest.approx(np.sort(scores)[::-1][:7])
    assert "top 0: ask for at least one" in refused(Gallery(everyone).nearest, vectors, verifier, 0)


def test_a_gallery_is_of_one_model():
    gallery = Gallery(speakers(3))
    for other in (speakers(9, model="other")[8], speakers(9, dimension=8)[8]):
        assert "another model than 'speaker 0'" in refused(gallery.add, other)
    unnamed = replace(speakers(1)[0], name=" ")
    assert "the name of the speaker is empty" in refused(gallery.add, unnamed)


@pytest.mark.parametrize("count", [0, 4])
def test_a_gallery_is_written_and_read(tmp_path, count):
    gallery = Gallery(speakers(count))
    gallery.save(tmp_path / "voices")
    again = Gallery.load(tmp_path / "voices")
    assert again.names == gallery.names
    for one, other in zip(gallery, again, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        assert (other.recordings, other.seconds, other.model) == (2, 3.5, "m")


@pytest.mark.parametrize("first", [True, False])
def test_a_speaker_who_is_removed_during_a_search_moves_no_name(verifier, monkeypatch, first):
    everyone = speakers(3)
    gallery, vectors = Gallery(everyone), np.stack([speaker.vector for speaker in everyone])
    if not first:
        gallery.nearest(vectors[2:], verifier)
    prepare, removed = Verifier.prepare, []

    def slow(self, embeddings):
        if not removed:  # as another thread might, in the middle of the search
            removed.append(True)
            gallery.remove("speaker 0")
        return prepare(self, embeddings)

    monkeypatch.setattr(Verifier, "prepare", slow)
    assert gallery.nearest(vectors[2:], verifier, 1)[0][0].name == "speaker 2"
    # What the search prepared is not kept.
    assert len(gallery.nearest(vectors[:1], verifier)[0]) == 2
