"""Time and peak memory of score normalisation: cohort, statistics, application.

    python benchmarks/normalization.py                     # 12 M trials of 60,000 utterances
    python benchmarks/normalization.py --trials 100000     # a quick look

The sizes are those of TidyVoiceX: a cohort of 3,666 speakers from 262,268 utterances, and a dev
list. For the forms by language every cohort speaker speaks two of 40 languages. The lists are made
in memory and every step runs in its own process; its peak includes the inputs, whose own comes
first. The plain reference takes one utterance at a time and sorts all its scores in full, on a
sample, multiplied up; both results must agree. On a busy machine set OMP_NUM_THREADS=1.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np

from tidyvoice.scoring.cohort import speaker_cohort
from tidyvoice.scoring.cosine import cosine_scores, pairwise_products, unit_vectors
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.language_norm import (
    LanguageWeights,
    known_languages,
    language_posteriors,
    language_statistics,
    normalize_by_language,
)
from tidyvoice.scoring.normalization import cohort_statistics, normalize
from tidyvoice.scoring.trials import ScoreTable, Trials

SPEAKERS, COHORT_UTTERANCES, LANGUAGES, TOP_N = 3_666, 262_268, 40, 300
PLAIN_SAMPLE = 2_000


class Inputs:
    """Random embeddings around a centre for each speaker and one for each language."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.rng = np.random.Generator(np.random.PCG64([2, options.trials]))
        self.centres = self.rng.standard_normal((LANGUAGES, options.dimensions), dtype=np.float32)
        self.cohort, self.cohort_speaker, self.cohort_language = self.spoken(
            "c", COHORT_UTTERANCES, options.dimensions
        )
        self.mean = self.cohort.mean()
        self.embeddings, _, self.language = self.spoken("u", options.utterances, options.dimensions)
        enroll, test = self.rng.integers(0, options.utterances, (2, options.trials), dtype=np.int32)
        self.trials = Trials(self.embeddings.ids, enroll, test, None)

    def spoken(
        self, letter: str, utterances: int, dimensions: int
    ) -> tuple[Embeddings, dict[str, str], dict[str, str]]:
        """Embeddings of ``utterances``, their speakers and their languages."""
        ids = [f"{letter}{n:07d}" for n in range(utterances)]
        speaker = self.rng.integers(0, SPEAKERS, utterances)
        language = (speaker + 7 * self.rng.integers(0, 2, utterances)) % LANGUAGES
        voices = self.rng.standard_normal((SPEAKERS, dimensions), dtype=np.float32)
        vectors = self.rng.standard_normal((utterances, dimensions), dtype=np.float32)
        # In parts, or making the inputs would be the peak of every step.
        for part in np.array_split(np.arange(utterances), 100):
            vectors[part] += voices[speaker[part]] + 0.5 * self.centres[language[part]]
        utt2spk = {name: f"s{number}" for name, number in zip(ids, speaker, strict=True)}
        utt2lang = {name: f"l{number}" for name, number in zip(ids, language, strict=True)}
        return Embeddings(ids, vectors), utt2spk, utt2lang

    def scored(self) -> ScoreTable:
        scores = cosine_scores(self.embeddings, self.trials, self.mean)
        return ScoreTable(self.trials, scores.astype(np.float64))


def given(options: argparse.Namespace) -> dict[str, float]:
    """Nothing but the inputs and the cosines, to compare the peaks with."""
    Inputs(options).scored()
    return {}


def as_norm(options: argparse.Namespace) -> dict[str, float]:
    inputs, seconds = Inputs(options), {}
    table = inputs.scored()
    cohort = timed(
        seconds, "cohort", speaker_cohort, inputs.cohort, inputs.cohort_speaker, inputs.mean
    )
    rows = np.arange(options.utterances)
    vectors = unit_vectors(inputs.embeddings, rows, inputs.mean)
    timed(seconds, "statistics", cohort_statistics, vectors, cohort, TOP_N)
    timed(
        seconds, "everything", normalize, table, inputs.embeddings, cohort, inputs.mean,
        top_n=TOP_N,
    )  # fmt: skip
    return seconds


def by_language(options: argparse.Namespace) -> dict[str, float]:
    return _by_language(options, guessed=False)


def by_guessed_language(options: argparse.Namespace) -> dict[str, float]:
    return _by_language(options, guessed=True)


def _by_language(options: argparse.Namespace, guessed: bool) -> dict[str, float]:
    inputs, seconds = Inputs(options), {}
    table = inputs.scored()
    cohort = timed(
        seconds, "cohort", speaker_cohort, inputs.cohort, inputs.cohort_speaker, inputs.mean,
        inputs.cohort_language,
    )  # fmt: skip
    if guessed:
        languages = timed(
            seconds, "guesses", language_posteriors, inputs.trials, inputs.embeddings,
            inputs.cohort, inputs.cohort_language, inputs.mean,
        )  # fmt: skip
    else:
        languages = timed(seconds, "languages", known, inputs.trials, inputs.language)
    vectors = unit_vectors(inputs.embeddings, np.arange(options.utterances), inputs.mean)
    timed(
        seconds, "statistics", language_statistics, vectors, cohort, languages.languages, TOP_N, 5.0
    )
    timed(seconds, "match", pairwise_products, languages.weights, inputs.trials)
    timed(
        seconds, "everything", normalize_by_language, table, inputs.embeddings, cohort, languages,
        inputs.mean, TOP_N,
    )  # fmt: skip
    return seconds


def known(trials: Trials, utt2lang: dict[str, str]) -> LanguageWeights:
    """Look up the languages of a list."""
    return known_languages(languages_of(trials, utt2lang))


def plain(options: argparse.Namespace) -> dict[str, float]:
    """Statistics of a sample, both ways: seconds for all utterances."""
    inputs, seconds = Inputs(options), {}
    cohort = speaker_cohort(inputs.cohort, inputs.cohort_speaker, inputs.mean)
    rows = np.arange(min(PLAIN_SAMPLE, options.utterances))
    vectors = unit_vectors(inputs.embeddings, rows, inputs.mean)

    def one_by_one() -> list[tuple[float, float]]:
        moments = []
        for vector in vectors:
            top = np.sort(cohort.vectors @ vector)[::-1][:TOP_N]
            moments.append((np.mean(top), np.std(top)))
        return moments

    expected = timed(seconds, "plain", one_by_one)
    ours = timed(seconds, "ours", cohort_statistics, vectors, cohort, TOP_N)
    np.testing.assert_allclose(np.transpose(ours), expected, atol=1e-5)
    return {key: value * options.utterances / len(rows) for key, value in seconds.items()}


def timed(seconds: dict[str, float], key: str, call: Callable, *args: object, **kwargs: object):
    """The result of the call; its wall-clock seconds go to ``seconds[key]``."""
    start = time.perf_counter()
    result = call(*args, **kwargs)
    seconds[key] = time.perf_counter() - start
    return result


def measured(
    step: Callable[[argparse.Namespace], dict[str, float]], options: argparse.Namespace
) -> tuple[dict[str, float], float]:
    """The step's seconds and its peak memory in MiB, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (step, options))


def _measure(
    step: Callable[[argparse.Namespace], dict[str, float]], options: argparse.Namespace
) -> tuple[dict[str, float], float]:
    return step(options), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12_000_000)
    parser.add_argument("--utterances", type=int, default=60_000)
    parser.add_argument("--dimensions", type=int, default=256)
    options = parser.parse_args()
    for title, step in (
        ("inputs", given),
        ("AS-norm", as_norm),
        ("by language", by_language),
        ("by guessed language", by_guessed_language),
    ):
        seconds, peak = measured(step, options)
        said = ", ".join(f"{key} {value:.1f} s" for key, value in seconds.items())
        print(f"{title:<22}{peak:7,.0f} MiB   {said}", flush=True)
    seconds, _ = measured(plain, options)
    print(
        f"statistics of an utterance at a time, sorted in full: {seconds['plain']:.1f} s for all "
        f"(from {PLAIN_SAMPLE:,}), {seconds['plain'] / seconds['ours']:.1f} times ours in the same "
        f"process ({seconds['ours']:.1f} s)"
    )


if __name__ == "__main__":
    main()
