"""Normalisation and back ends with cohorts of 10 to 1,000 speakers, like the list or not.

    python benchmarks/cohort_size.py                # about 3 min on two cores
    python benchmarks/cohort_size.py --worlds 1     # a quick look

The embeddings are synthetic: a voice, a language, what a language does to this voice, a channel,
and noise that differs between recordings, each Gaussian with a few strong directions. A cohort
unlike the list sits elsewhere, is noisier, and speaks half of the languages. Everything is fitted
to the cohort; 30 further speakers like the cohort choose between methods. Cells are EER in percent
and minDCF on 49 speakers, means over the worlds.
"""

import argparse
from collections.abc import Callable

import numpy as np

from tidyvoice.backend_choice import compare_on
from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import trial_scores
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.fitting import Speech, fit_backend
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import eer, min_dcf
from tidyvoice.scoring.normalization import normalize, speaker_cohort
from tidyvoice.scoring.trials import ScoreTable, Trials

SIZES = (10, 30, 100, 1000)
D, LANGUAGES, EACH, SPOKEN = 64, 20, 5, 3
TARGETS, NONTARGETS = 2000, 40_000


class World:
    """The parts of an embedding as matrices [D x D], and the languages [L x D]."""

    def __init__(self, seed: int):
        self.rng = np.random.Generator(np.random.PCG64(seed))
        sizes = {
            "voice": (1.0, 0.7),
            "both": (0.35, 1.0),
            "channel": (0.25, 1.0),
            "noise": (0.9, 0.5),
        }
        self.parts = {name: self._part(*size) for name, size in sizes.items()}
        self.languages = self.rng.standard_normal((LANGUAGES, D)) @ self._part(0.35, 1.0).T
        self.mean, self.elsewhere = self.rng.standard_normal((2, D)) / D**0.5

    def _part(self, scale: float, power: float) -> np.ndarray:
        variances = np.arange(1, D + 1) ** -power
        basis = np.linalg.qr(self.rng.standard_normal((D, D)))[0]
        return scale * basis * np.sqrt(variances / variances.sum())

    def speak(self, speakers: int, unlike: bool = False) -> Speech:
        """Embeddings of speakers, five recordings in each of three languages."""
        count = speakers * SPOKEN * EACH
        speaker = np.repeat(np.arange(speakers), SPOKEN * EACH)
        pools = self.rng.random((speakers, LANGUAGES // 2 if unlike else LANGUAGES))
        language = np.repeat(np.argsort(pools, axis=1)[:, :SPOKEN].ravel(), EACH)
        draws = {"voice": speakers, "both": speakers * SPOKEN, "channel": count, "noise": count}
        parts = {
            name: np.repeat(
                self.rng.standard_normal((n, D)) @ self.parts[name].T, count // n, axis=0
            )
            for name, n in draws.items()
        }
        quality = np.exp(np.repeat(0.3 * self.rng.standard_normal(speakers), SPOKEN * EACH))
        quality *= np.exp(0.2 * self.rng.standard_normal(count)) * (1.3 if unlike else 1.0)
        parts["noise"] *= quality[:, None]
        vectors = sum(parts.values()) + self.languages[language] + self.mean
        vectors += self.elsewhere if unlike else 0
        ids = [f"{s}/l{k}/{n}" for n, (s, k) in enumerate(zip(speaker, language, strict=True))]
        names = [[str(name) for name in np.unique(codes)] for codes in (speaker, language)]
        codes = np.unique(language, return_inverse=True)[1]
        table = Embeddings(ids, vectors.astype(np.float32))
        return Speech(table, Groups(speaker, names[0]), Groups(codes, names[1]))

    def trials(self, speech: Speech) -> Trials:
        """Random trials, none of them twice."""
        size, shape = len(speech.embeddings.ids), (2, 60 * NONTARGETS)
        sides = np.sort(self.rng.integers(size, size=shape, dtype=np.int32), axis=0)
        sides = np.unique(sides[:, sides[0] != sides[1]], axis=1)
        sides = sides[:, self.rng.permutation(sides.shape[1])]
        same = speech.speakers.codes[sides[0]] == speech.speakers.codes[sides[1]]
        rows = np.append(np.flatnonzero(same)[:TARGETS], np.flatnonzero(~same)[:NONTARGETS])
        return Trials(speech.embeddings.ids, *sides[:, rows], same[rows], "list")


def as_norm(cohort: Speech, trials: Trials, table: Embeddings) -> np.ndarray:
    """AS-norm with a third of the cohort."""
    mean, names = cohort.embeddings.mean(), cohort.speakers.names
    utt2spk = dict(
        zip(cohort.embeddings.ids, (names[c] for c in cohort.speakers.codes), strict=True)
    )
    members = speaker_cohort(cohort.embeddings, utt2spk, mean)
    scored = ScoreTable(trials, trial_scores(table, trials, Backend(mean=mean)).astype(float))
    return normalize(scored, table, members, mean, "asnorm", max(len(members.ids) // 3, 2))


def results(seed: int, size: int, unlike: bool) -> dict[str, tuple[float, float]]:
    """EER and minDCF of each method."""
    world = World(seed)
    cohort, others, new = world.speak(size, unlike), world.speak(30, unlike), world.speak(49)
    trials, table = world.trials(new), new.embeddings

    def scores(backend: Backend) -> np.ndarray:
        return trial_scores(table, trials, backend)

    possible = [number for number in (20, 40) if number < size]
    fitted = [(fit_backend(cohort, cohort=several), None) for several in (True, False)]
    fitted += [(fit_backend(cohort, m, d), d) for m in ("lda", "plda") for d in possible]
    best = compare_on(fitted, others.embeddings, world.trials(others))[0].backend
    methods: dict[str, Callable[[], np.ndarray]] = {
        "centred cosine": lambda: scores(Backend(mean=cohort.embeddings.mean())),
        "AS-norm": lambda: as_norm(cohort, trials, table),
        "cohort offsets": lambda: scores(fitted[0][0]),
        "the choice among centre, LDA and PLDA": lambda: scores(best),
    }
    made = {name: call() for name, call in methods.items()}
    return {n: (100 * eer(s, trials.label), min_dcf(s, trials.label)) for n, s in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=4)
    worlds = parser.parse_args().worlds
    cells: dict[str, list[str]] = {}
    for unlike in (False, True):
        for size in SIZES:
            runs = [results(seed, size, unlike) for seed in range(worlds)]
            for name in runs[0]:
                rate, cost = np.mean([run[name] for run in runs], axis=0)
                cells.setdefault(name, []).append(f"{rate:.2f} / {cost:.3f}")
    heads = [f"{size:,}{', unlike' * unlike}" for unlike in (False, True) for size in SIZES]
    print("| " + " | ".join(["cohort speakers", *heads]) + " |\n" + "|---" * 9 + "|")
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
