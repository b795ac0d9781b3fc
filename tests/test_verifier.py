import json
import math

import numpy as np
import pytest
from conftest import seeded

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.distribution import BINS, Distribution
from tidyvoice.scoring.embeddings import save_embeddings
from tidyvoice.scoring.normalization import as_norm
from tidyvoice.scoring.pipeline import CohortFiles
from tidyvoice.verification.fit import fit_verifier
from tidyvoice.verification.verifier import Verifier, unit_length


def listed(targets=2000, nontargets=20_000, seed=1):
    rng = seeded(seed)
    scores = np.append(rng.normal(0.6, 0.1, targets), rng.normal(0.0, 0.1, nontargets))
    return scores, np.arange(len(scores)) < targets


@pytest.fixture(scope="module")
def verifier(voices):
    return Verifier.load(voices / "model")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Embeddings of 12 speakers with 6 utterances each, their trials, and a cohort of 20."""
    folder, rng = tmp_path_factory.mktemp("corpus"), seeded(5)
    for name, speakers in (("list", 12), ("cohort", 20)):
        centres = rng.standard_normal((speakers, 1, 8))
        vectors = centres + 0.7 * rng.standard_normal((speakers, 6, 8)) + 1
        ids = [f"{name}{s}/en/{u}" for s in range(speakers) for u in range(6)]
        rows = vectors.reshape(-1, 8).astype(np.float32)
        save_embeddings(folder / f"{name}.npz", ids, rows, ["somebody"], "m")
        lines = [f"{one} {one.split('/')[0]}\n" for one in ids]
        (folder / f"{name}.utt2spk").write_text("".join(lines))
        trials = [
            f"{int(one.split('/')[0] == two.split('/')[0])} {one} {two}\n"
            for place, one in enumerate(ids)
            for two in ids[place + 1 :]
        ]
        (folder / f"{name}.trials").write_text("".join(trials))
    return folder


def fitted(corpus, cohort="cohort", **options):
    others = cohort and CohortFiles(corpus / f"{cohort}.npz", corpus / f"{cohort}.utt2spk", top_n=7)
    trials, mean = corpus / "list.trials", corpus / "cohort.npz"
    return fit_verifier(corpus / "list.npz", trials, mean, cohort=others, **options)


def test_scores_are_those_of_as_norm_with_the_cohort(corpus):
    made = fitted(corpus)
    with np.load(corpus / "cohort.npz") as table:
        vectors = table["embeddings"]
    mean = vectors.mean(axis=0)
    cohort = unit_length(vectors.reshape(20, 6, 8).mean(axis=1), mean)
    raw = seeded(6).standard_normal((2, 30, 8)).astype(np.float32)
    one, other = (unit_length(side, mean) for side in raw)
    # The cohort's order is that of names; the scores do not depend on it.
    expected = as_norm((one * other).sum(axis=1), one @ cohort.T, other @ cohort.T, 7)
    found = made.scores(*(made.prepare(side) for side in raw))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cohort", ["cohort", None])
def test_each_number_of_enrolment_recordings_has_its_calibration(corpus, cohort):
    made = fitted(corpus, cohort)
    # Of six utterances four may enrol beside a test, eight may not.
    assert [scale.recordings for scale in made.scales] == [1, 2, 4]
    assert [made.scale(n).recordings for n in (1, 2, 3, 4, 20)] == [1, 2, 2, 4, 4]
    for scale in made.scales:
        known = scale.distribution
        llrs = scale.slope * np.linspace(*known.span, BINS) + scale.offset
        # A calibration that fits: targets cost little, and so do the others.
        cost = np.average(np.logaddexp(0, -llrs), weights=known.target)
        assert cost + np.average(np.logaddexp(0, llrs), weights=known.nontarget) < 2 * math.log(2)
    # Scores of a mean of embeddings say more.
    assert made.scales[-1].slope > made.scales[0].slope


def test_speakers_of_the_cohort_are_not_those_of_the_list(corpus):
    with pytest.raises(TidyVoiceError, match="share 12 speakers"):
        fitted(corpus, "list")
    made = fitted(corpus, "list", allow_overlap=True)
    assert "the cohort" in made.notes["in_sample"][0]


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
        with pytest.raises(TidyVoiceError, match="between 0 and 1"):
            verifier.decide(0.5, wrong)


def test_it_is_written_and_read(corpus, verifier, tmp_path):
    for one in (verifier, fitted(corpus)):
        path = one.save(tmp_path)
        again = Verifier.load(tmp_path)
        np.testing.assert_array_equal(again.mean, one.mean)
        np.testing.assert_array_equal(again.cohort, one.cohort)
        assert (again.scales, again.top_n, again.notes) == (one.scales, one.top_n, one.notes)
        assert again.save(tmp_path).read_bytes() == path.read_bytes()
    assert Verifier.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v.update(format="other"), "format: "),
        (lambda v: v["scales"][0].pop("slope"), r"scales\.0\.slope is missing"),
        (lambda v: v["scales"][0].update(slope=-1.0), r"scales\.0\.slope: "),
        (lambda v: v["scales"][0]["distribution"].update(target=[1, 2]), r"distribution\.target: "),
        (lambda v: v.update(cohort="AAAA"), "cohort: "),
        (None, "not JSON"),
    ],
)
def test_a_damaged_file_is_named(corpus, tmp_path, spoil, message):
    path = fitted(corpus).save(tmp_path)
    values = json.loads(path.read_text())
    if spoil:
        spoil(values)
    path.write_text(json.dumps(values) if spoil else "{")
    with pytest.raises(TidyVoiceError, match=message) as error:
        Verifier.load(tmp_path)
    assert f"{path} (`tidyvoice fit-verifier` writes a new one)" in str(error.value)


@pytest.mark.parametrize(("factor", "span"), [(1, (-1, 1)), (10, (-4, 10))])
def test_histograms_hold_every_trial(factor, span):
    scores, is_target = listed()
    made = Distribution.of(factor * scores, is_target)
    assert (len(made.target), sum(made.target), sum(made.nontarget)) == (BINS, 2000, 20_000)
    assert made.span == span
    centres = (made.edges[1:] + made.edges[:-1]) / 2
    assert np.average(centres, weights=made.target) == pytest.approx(0.6 * factor, rel=0.02)
    scaled = Distribution.of(scores, is_target).threshold(0.001) * factor
    assert made.threshold(0.001) == pytest.approx(scaled)


@pytest.mark.parametrize(
    ("false_alarm", "voices", "least", "most"),
    # Few trials tell little about a thousand voices; what they leave open must be on the safe side.
    [
        (0.2, 1, 0.15, 0.25),
        (0.01, 1, 0.007, 0.013),
        (0.05, 10, 0.03, 0.06),
        (0.05, 1000, 0.01, 0.06),
    ],
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


def test_thresholds_rise_with_voices():
    made = Distribution.of(*listed())
    each = [made.threshold(0.01, voices) for voices in (1, 2, 5, 10, 100, 10_000, 10**7)]
    assert each == sorted(each)
    assert each[-1] < 2
    for false_alarm in (0, 1, math.nan):
        with pytest.raises(TidyVoiceError, match="give a probability"):
            made.threshold(false_alarm)


def test_scores_that_give_no_threshold_are_refused():
    with pytest.raises(TidyVoiceError, match="9 target trials are too few"):
        Distribution.of(*listed(targets=9))
    with pytest.raises(TidyVoiceError, match="all equal"):
        Distribution.of(np.zeros(2000), np.arange(2000) < 50)


def test_a_tail_of_known_shape_is_found():
    # Uniform scores have the shape -1, exponential ones 0.
    for scores, shape, score in (
        (seeded(1).random(1_000_000), -1, 1),
        (seeded(2).exponential(0.05, 1_000_000), 0, 0.05 * math.log(1e4)),
    ):
        made = Distribution.of(scores.clip(0, 1), np.arange(1_000_000) < 10)
        assert made.tail[3] == pytest.approx(shape, abs=0.1)
        assert made.threshold(1e-4) == pytest.approx(score, rel=0.03)
