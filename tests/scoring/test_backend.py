"""Back ends: against references in float64, on data of known models, and safe with any cohort."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.conftest import refusal, refused, seeded, succeed
from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.evaluation.bootstrap import interval, resample
from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED
from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import trial_scores, voices_of
from tidyvoice.scoring.embeddings import Embeddings, save_embeddings
from tidyvoice.scoring.fitting import SMOOTHING, Speech, fit_backend, fit_languages, fit_plda
from tidyvoice.scoring.groups import Groups, speakers_of
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.metrics import cllr, sort_scores
from tidyvoice.scoring.trials import ScoreTable, Trials, read_scores

D = 32
LANGUAGES = 12


class World:
    """Speakers in languages: embeddings of a voice, a language, both together, and an utterance."""

    def __init__(self, seed: int):
        rng = seeded(seed)
        self.voice, self.both, self.utterance = (
            np.linalg.qr(rng.standard_normal((D, D)))[0] * scale * np.arange(1, D + 1) ** -power
            for scale, power in ((1.0, 0.4), (1.0, 0.8), (0.9, 0.5))
        )
        self.languages = 0.6 * rng.standard_normal((LANGUAGES, D))
        self.mean, self.elsewhere = rng.standard_normal((2, D)) / 4

    def speak(
        self,
        speakers: int,
        seed: int,
        first: int = 0,
        languages: range = range(LANGUAGES),
        unlike: bool = False,
    ) -> Embeddings:
        """Embeddings of speakers with four utterances in each of three languages.

        ``unlike`` speakers sit elsewhere and are noisier.
        """
        rng, ids, vectors = seeded(seed, 5), [], []
        for speaker in range(first, first + speakers):
            voice = self.voice @ rng.standard_normal(D)
            for language in rng.choice(languages, 3, replace=False):
                centre = voice + self.languages[language] + self.both @ rng.standard_normal(D)
                for number in range(4):
                    noise = self.utterance @ rng.standard_normal(D)
                    mean = self.elsewhere if unlike else self.mean
                    vectors.append(mean + centre + (1.5 if unlike else 1.0) * noise)
                    ids.append(f"id{speaker:04d}/l{chr(97 + language)}/{number}")
        return Embeddings(ids, np.array(vectors, np.float32))


def groups(embeddings: Embeddings, part: int) -> Groups:
    names, codes = np.unique([i.split("/")[part] for i in embeddings.ids], return_inverse=True)
    return Groups(codes, names.tolist())


def speech(embeddings: Embeddings) -> Speech:
    return Speech(embeddings, groups(embeddings, 0), groups(embeddings, 1))


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


WORLD = World(1)
TRAIN = WORLD.speak(60, 1)
TEST = WORLD.speak(10, 2, first=500)
OTHERS = WORLD.speak(10, 3, first=600)
UNITS = unit(TRAIN.vectors.astype(np.float64) - TRAIN.mean())
NEW = unit(TEST.vectors.astype(np.float64) - TRAIN.mean())
SPEAKERS = groups(TRAIN, 0).codes


def scores_of(backend: Backend) -> np.ndarray:
    voices = backend.prepare(TEST.vectors)
    return voices.scores(voices)


def test_nap_removes_the_directions_in_which_languages_differ():
    shifts = []
    for speaker in range(60):
        own = np.flatnonzero(speaker == SPEAKERS)
        spoken = groups(TRAIN, 1).codes[own]
        means = np.array([UNITS[own[spoken == code]].mean(axis=0) for code in set(spoken)])
        shifts.append(means - means.mean(axis=0))
    first = np.linalg.svd(np.concatenate(shifts))[2][:3]
    expected = unit(NEW - NEW @ first.T @ first)
    ours = scores_of(fit_backend(speech(TRAIN), "nap", 3, cohort=False))
    np.testing.assert_allclose(ours, expected @ expected.T, atol=1e-6)


def test_lda_is_whitening_with_all_but_the_least_dimensions():
    means = np.array([UNITS[speaker == SPEAKERS].mean(axis=0) for speaker in range(60)])
    rest = UNITS - means[SPEAKERS]
    within = rest.T @ rest / (len(rest) - 60)
    within = (1 - SMOOTHING) * within + SMOOTHING * np.eye(D) * np.trace(within) / D
    values, vectors = np.linalg.eigh(within)
    whiten = vectors / np.sqrt(values)
    between = np.cov((means @ whiten).T)
    projected = unit(NEW @ whiten @ np.linalg.eigh(between)[1][:, -7:])
    ours = scores_of(fit_backend(speech(TRAIN), "lda", 7, cohort=False))
    np.testing.assert_allclose(ours, projected @ projected.T, atol=2e-6)


def reference_plda(x: np.ndarray, codes: np.ndarray, steps: int):
    """The two-covariance model by EM with full matrices: mean, between, within."""
    means = np.array([x[codes == code].mean(axis=0) for code in range(codes.max() + 1)])
    counts = np.bincount(codes)
    mu, rest = means.mean(axis=0), x - means[codes]
    within = rest.T @ rest / (len(x) - len(means))
    values, vectors = np.linalg.eigh(np.cov(means.T) - within * (1 / counts).mean())
    between = (vectors * np.maximum(values, 1e-6 * values.max())) @ vectors.T
    for _ in range(steps):
        moments, residuals = np.zeros_like(within), rest.T @ rest
        for mean, n in zip(means - mu, counts, strict=True):
            covariance = np.linalg.inv(np.linalg.inv(between) + n * np.linalg.inv(within))
            y = covariance @ np.linalg.inv(within) @ (n * mean)
            moments += covariance + np.outer(y, y)
            residuals += n * (np.outer(mean - y, mean - y) + covariance)
        between, within = moments / len(means), residuals / len(x)
    return mu, between, within


def log_ratios(x: np.ndarray, mu: np.ndarray, between: np.ndarray, within: np.ndarray):
    """ln p(e, t | one speaker) - ln p(e, t | two speakers) of all pairs, by the densities."""
    total, zero = between + within, np.zeros_like(between)
    pairs = np.concatenate([np.repeat(x, len(x), axis=0), np.tile(x, (len(x), 1))], axis=1)
    same = np.block([[total, between], [between, total]])
    other = np.block([[total, zero], [zero, total]])
    mean = np.append(mu, mu)
    ratios = multivariate_normal(mean, same).logpdf(pairs)
    return (ratios - multivariate_normal(mean, other).logpdf(pairs)).reshape(len(x), len(x))


def test_plda_agrees_with_the_densities_of_a_reference():
    ours = scores_of(fit_backend(speech(TRAIN), "plda", cohort=False))
    expected = log_ratios(NEW, *reference_plda(UNITS, SPEAKERS, 20))
    np.testing.assert_allclose(ours, expected, atol=1e-6 * np.abs(expected).max())


def test_log_likelihood_ratios_of_plda_are_calibrated():
    """On vectors of a known two-covariance model: against the ratios of the model itself."""
    rng, size = seeded(3), 6
    between, within = np.diag(np.arange(1.0, size + 1)), np.eye(size) + 0.4
    mu = rng.standard_normal(size)

    def draw(speakers: int, each: int) -> tuple[np.ndarray, np.ndarray]:
        voices = rng.multivariate_normal(mu, between, speakers)
        codes = np.repeat(np.arange(speakers), each)
        return voices[codes] + rng.multivariate_normal(np.zeros(size), within, len(codes)), codes

    plda = fit_plda(*draw(400, 8))
    x, codes = draw(60, 6)
    pairs = np.triu_indices(len(x), 1)
    label = codes[pairs[0]] == codes[pairs[1]]
    voices = plda.compare(x)
    ours = cllr(sort_scores(voices.scores(voices)[pairs], label))
    best = cllr(sort_scores(log_ratios(x, mu, between, within)[pairs], label))
    assert best < 0.6
    assert abs(ours - best) < 0.02


def test_offsets_are_the_means_of_the_highest_cohort_scores():
    plain = fit_backend(speech(TRAIN), cohort=False)
    backend = fit_backend(speech(TRAIN))
    members = unit(
        np.array([TRAIN.vectors[speaker == SPEAKERS].mean(axis=0) for speaker in range(60)])
        - TRAIN.mean()
    )
    means = np.sort(NEW @ members.T)[:, -6:].mean(axis=1)
    lower = backend.cohort.weight * (means - backend.cohort.typical) / 2
    expected = NEW @ NEW.T - lower[:, None] - lower
    np.testing.assert_allclose(scores_of(backend), expected, atol=1e-6)
    own = np.sort(np.where(np.eye(60, dtype=bool)[SPEAKERS], -2, UNITS @ members.T))
    assert backend.cohort.typical == pytest.approx(own[:, -6:].mean(), abs=1e-6)
    np.testing.assert_array_equal(plain.prepare(TEST.vectors).biases, 0)


def test_the_weight_of_a_cohort_grows_with_its_size():
    weights = [fit_backend(speech(WORLD.speak(n, 4))).cohort.weight for n in (2, 20, 200, 800)]
    assert weights == sorted(weights)
    assert weights[0] == 0
    assert 0.6 < weights[-1] < 1


def listed(embeddings: Embeddings, seed: int) -> Trials:
    """Random trials: 1,000 targets and 8,000 non-targets."""
    codes, rng = groups(embeddings, 0).codes, seeded(seed, 6)
    sides = np.sort(rng.integers(0, len(codes), (2, 100_000)), axis=0)
    sides = np.unique(sides[:, sides[0] != sides[1]], axis=1)
    left, right = sides[:, rng.permutation(sides.shape[1])]
    same = codes[left] == codes[right]
    rows = np.append(np.flatnonzero(same)[:1000], np.flatnonzero(~same)[:8000])
    sides = left[rows].astype(np.int32), right[rows].astype(np.int32)
    return Trials(embeddings.ids, *sides, same[rows], "list")


def write(path: Path, embeddings: Embeddings, seed: int | None = None) -> None:
    """Write a table of embeddings, and random trials of them."""
    save_embeddings(path.with_suffix(".npz"), embeddings.ids, embeddings.vectors)
    if seed is not None:
        trials, kinds = listed(embeddings, seed), ("nontarget", "target")
        sides = zip(trials.enroll, trials.test, trials.label, strict=True)
        lines = [f"{trials.ids[e]} {trials.ids[t]} {kinds[int(same)]}\n" for e, t, same in sides]
        path.with_suffix(".trials").write_text("".join(lines))


@pytest.mark.parametrize("unlike", ["", "train", "train calib"])
@pytest.mark.parametrize("speakers", [10, 30, 100, 1000])
def test_the_choice_is_not_worse_than_the_centred_cosine(tmp_path, speakers, unlike):
    """Cohorts of any size, like the list or not: neither EER nor minDCF, beyond its interval."""
    world = World(7)
    other = {"unlike": True, "languages": range(LANGUAGES // 2)}
    for name, count, first, seed in (("train", speakers, 0, None), ("calib", 30, 2000, 10)):
        kind = other if name in unlike else {}
        write(tmp_path / name, world.speak(count, 8 + bool(first), first, **kind), seed)
    succeed(
        f"fit-backend --embeddings {tmp_path}/train.npz --method centre lda plda "
        f"--dimensions 12 24 --trials {tmp_path}/calib.trials "
        f"--held-out {tmp_path}/calib.npz --out {tmp_path}/b.json"
    )
    backend = Backend.load(tmp_path / "b.json")
    new = world.speak(40, 11, first=3000)
    trials = listed(new, 12)

    def draws(backend: Backend) -> np.ndarray:
        table = ScoreTable(trials, trial_scores(new, trials, backend))
        draws = resample(table, None, speakers_of(trials), OPERATING_POINTS)[POOLED]
        return np.stack([draws.eer, draws.min_dcf[0]])

    changes = draws(backend) - draws(Backend(mean=backend.mean))
    assert all(interval(change)[0] <= 0 for change in changes)
    if speakers == 1000:
        assert interval(changes[0])[1] < 0


def test_a_language_classifier_finds_the_languages_of_new_utterances():
    languages = fit_languages(speech(WORLD.speak(200, 13)))
    guesses = languages.posteriors(Backend(mean=TRAIN.mean()).centre(TEST.vectors))
    np.testing.assert_allclose(guesses.sum(axis=1), 1, atol=1e-6)
    best = np.array(languages.names)[guesses.argmax(axis=1)]
    assert np.mean(best == [i.split("/")[1] for i in TEST.ids]) > 0.3


def test_similarity_helps_with_languages_that_nobody_was_fitted_to(tmp_path, monkeypatch):
    """Languages of dev that are neither in the back end nor in the calibration."""
    monkeypatch.chdir(tmp_path)
    world, rng = World(1), seeded(20)
    directions = world.voice[:, -10:] / np.linalg.norm(world.voice[:, -10:], axis=0)
    world.languages = 1.2 * rng.standard_normal((24, 10)) @ directions.T
    world.utterance, world.both = world.utterance / 2, world.both / 2
    write(Path("train"), world.speak(200, 14, languages=range(16)))
    write(Path("calib"), world.speak(60, 15, first=1000, languages=range(16)), 16)
    write(Path("dev"), world.speak(40, 17, first=2000, languages=range(16, 24)), 18)
    succeed("fit-backend --embeddings train.npz --out b.json")
    for name in ("calib", "dev"):
        files = f"--embeddings {name}.npz --trials {name}.trials --out {name}.score"
        succeed(f"score --backend b.json {files}")
    more = "--languages guessed --backend b.json --embeddings calib.npz --embeddings dev.npz"
    results = []
    for out, options in (("without", ""), ("with", more)):
        succeed(f"calibrate --fit calib.score --apply dev.score --out {out} {options}")
        table = read_scores(out)
        results.append(cllr(sort_scores(table.scores, table.trials.label)))
    assert results[1] < 0.95 * results[0]


def test_a_file_gives_the_same_scores(tmp_path):
    for method, dimensions in (("centre", None), ("nap", 2), ("lda", 5), ("plda", 5)):
        backend = fit_backend(speech(TRAIN), method, dimensions)
        backend.save(tmp_path / "b.json")
        again = Backend.load(tmp_path / "b.json")
        np.testing.assert_array_equal(scores_of(again), scores_of(backend))
        assert (again.speakers, again.title) == (backend.speakers, backend.title)


def test_wrong_fits_are_refused():
    one = Embeddings(TRAIN.ids[:12], TRAIN.vectors[:12])
    few = Embeddings(TRAIN.ids[::12], TRAIN.vectors[::12])
    for arguments, message in (
        ((speech(TRAIN), "nap"), "--dimensions: --method nap needs a number from 1 to 31"),
        ((speech(TRAIN), "centre", 3), "--method centre needs none"),
        ((speech(TRAIN), "lda", D), "--method lda --dimensions 32: give 1 to 31"),
        ((speech(TRAIN), "pca"), "--method pca: use centre, nap, lda, plda"),
        ((speech(one),), "speaker 'id0000' alone is no cohort"),
        ((speech(few), "plda"), "every speaker has one utterance"),
        ((Speech(TRAIN, groups(TRAIN, 0)), "nap", 2), "Give --utt2lang"),
    ):
        assert message in refused(fit_backend, *arguments)


def test_a_choice_names_what_is_left_out_and_refuses_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("train"), TRAIN)
    write(Path("calib"), TEST, 21)
    fit = "fit-backend --embeddings train.npz --out b.json --held-out calib.npz"
    fit += " --trials calib.trials --json"
    result = json.loads(succeed(f"{fit} --method centre lda --dimensions 4 99").splitlines()[0])
    assert len(result["candidates"]) == 3  # the centred cosine without and with offsets, and LDA
    assert "lda, 99 dimensions: at most 31" in result["warnings"]
    alone = "fit-backend --embeddings train.npz --out b.json --method lda --dimensions 4 99"
    assert "lda, 99 dimensions: at most 31" in succeed(alone)
    assert "--method svm: use centre" in refusal(f"{fit} --method centre svm --dimensions 4")
    save_embeddings("calib.npz", TEST.ids, TEST.vectors, ["id0500"])
    assert "the training of the model of calib.npz share 1 speakers" in refusal(fit)
    assert "share 1 speakers" in succeed(f"{fit} --allow-overlap")


def test_a_list_that_chose_the_back_end_is_marked_and_other_lists_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, table, seed in (("train", TRAIN, 0), ("calib", TEST, 21), ("dev", OTHERS, 22)):
        write(Path(name), table, seed)
    choice = "--method centre lda --dimensions 4 --held-out calib.npz --trials calib.trials"
    succeed(f"fit-backend --embeddings train.npz --out b.json {choice}")
    for name in ("calib", "dev"):
        trials = f"--trials {name}.trials --backend b.json --out {name}.score"
        text = succeed(f"score --embeddings {name}.npz {trials}")
        assert ("SELECTED: the trials of calib.trials and the choice" in text) == (name == "calib")
    succeed("calibrate --fit calib.score --apply dev.score --out dev-llr.score")
    succeed("calibrate --cross-fit 3 --apply calib.score --out calib-llr.score")
    assert not read_lineage("dev-llr.score").flaws
    assert list(read_lineage("calib-llr.score").flaws) == ["selected"]


def test_a_cohort_unlike_the_list_is_reported():
    backend = fit_backend(speech(TRAIN))
    trials = listed(TEST, 23)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        voices_of(TEST, trials, backend)
    far = backend.cohort.typical + 5 * backend.cohort.spread  # of speakers that score higher
    unlike = backend.cohort.model_copy(update={"typical": far})
    with pytest.warns(TidyVoiceWarning, match="list: .* The cohort is unlike the list"):
        voices_of(TEST, trials, backend.model_copy(update={"cohort": unlike}))


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "b.json"
    fit_backend(speech(TRAIN), "lda", 5).model_copy(update={"mean": np.ones(D - 1)}).save(path)
    assert f"{path}: arrays of shapes that do not agree" in refused(Backend.load, path)
    classifier = fit_languages(speech(TRAIN))
    few = classifier.model_copy(update={"names": ("la", "lb")})
    Backend().model_copy(update={"languages": few}).save(path)
    assert f"{path}: languages: arrays of shapes that do not agree" in refused(Backend.load, path)
    Backend(mean=np.ones(D - 1)).model_copy(update={"languages": classifier}).save(path)
    assert f"{path}: arrays of shapes that do not agree" in refused(Backend.load, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mean": "AAAA"}))
    assert f"{path}: mean: not an array" in refused(Backend.load, path)
    fit_backend(speech(TRAIN)).save(path)
    wide = Embeddings(["a", "b"], np.ones((2, D + 1), np.float32))
    assert "33 dimensions, those of the back end 32" in refused(
        Backend.load(path).voices, wide, np.arange(2)
    )
