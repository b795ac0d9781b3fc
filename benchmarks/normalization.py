"""Time and peak memory of AS-norm and of cohort offsets: cohort, statistics, application.

    python benchmarks/normalization.py                     # 12 M trials of 60,000 utterances
    python benchmarks/normalization.py --trials 100000     # a quick look

The sizes are those of TidyVoiceX: a cohort of 3,666 speakers from 262,268 utterances, and a dev
list. The lists are made in memory and every step runs in its own process; its peak includes the
inputs, whose own comes first. The plain reference takes one utterance at a time and sorts all its
scores in full, on a sample, multiplied up; both results must agree. On a busy machine set
OMP_NUM_THREADS=1.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable

import numpy as np

from tidyvoice.scoring.backend import Backend
from tidyvoice.scoring.cosine import pair_scores, trial_scores, voices_of
from tidyvoice.scoring.embeddings import Embeddings, every_id
from tidyvoice.scoring.fitting import Speech, fit_backend
from tidyvoice.scoring.groups import speakers_of
from tidyvoice.scoring.normalization import cohort_statistics, normalize, speaker_cohort
from tidyvoice.scoring.trials import ScoreTable, Trials

SPEAKERS, COHORT_UTTERANCES, TOP_N = 3_666, 262_268, 300
PLAIN_SAMPLE = 2_000


class Inputs:
    """Random embeddings around a centre for each speaker."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.rng = np.random.Generator(np.random.PCG64([2, options.trials]))
        self.cohort, self.cohort_speaker = self.spoken("c", COHORT_UTTERANCES, options.dimensions)
        self.mean = self.cohort.mean()
        self.embeddings, _ = self.spoken("u", options.utterances, options.dimensions)
        enroll, test = self.rng.integers(0, options.utterances, (2, options.trials), dtype=np.int32)
        self.trials = Trials(self.embeddings.ids, enroll, test, None)

    def spoken(
        self, letter: str, utterances: int, dimensions: int
    ) -> tuple[Embeddings, dict[str, str]]:
        """Embeddings of ``utterances`` and their speakers."""
        ids = [f"{letter}{n:07d}" for n in range(utterances)]
        speaker = self.rng.integers(0, SPEAKERS, utterances)
        voices = self.rng.standard_normal((SPEAKERS, dimensions), dtype=np.float32)
        vectors = self.rng.standard_normal((utterances, dimensions), dtype=np.float32)
        # In parts, or making the inputs would be the peak of every step.
        for part in np.array_split(np.arange(utterances), 100):
            vectors[part] += voices[speaker[part]]
        utt2spk = {name: f"s{number}" for name, number in zip(ids, speaker, strict=True)}
        return Embeddings(ids, vectors), utt2spk

    def scored(self) -> ScoreTable:
        scores = trial_scores(self.embeddings, self.trials, Backend(mean=self.mean))
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
    vectors = Backend(mean=inputs.mean).compare(inputs.embeddings.vectors).vectors
    timed(seconds, "statistics", cohort_statistics, vectors, cohort.vectors, TOP_N)
    timed(
        seconds, "everything", normalize, table, inputs.embeddings, cohort, inputs.mean,
        top_n=TOP_N,
    )  # fmt: skip
    return seconds


def offsets(options: argparse.Namespace) -> dict[str, float]:
    inputs, seconds = Inputs(options), {}
    listed = every_id(inputs.cohort, "cohort")
    speech = Speech(inputs.cohort, speakers_of(listed, inputs.cohort_speaker))
    backend = timed(seconds, "fit", fit_backend, speech)
    cosines = backend.compare(inputs.embeddings.vectors)
    timed(seconds, "statistics", backend.cohort.means, cosines)
    voices = timed(seconds, "voices", voices_of, inputs.embeddings, inputs.trials, backend)
    timed(seconds, "scores", pair_scores, voices, inputs.trials)
    return seconds


def plain(options: argparse.Namespace) -> dict[str, float]:
    """Statistics of a sample, both ways: seconds for all utterances."""
    inputs, seconds = Inputs(options), {}
    cohort = speaker_cohort(inputs.cohort, inputs.cohort_speaker, inputs.mean)
    rows = np.arange(min(PLAIN_SAMPLE, options.utterances))
    vectors = Backend(mean=inputs.mean).compare(inputs.embeddings.vectors[rows]).vectors

    def one_by_one() -> list[tuple[float, float]]:
        moments = []
        for vector in vectors:
            top = np.sort(cohort.vectors @ vector)[::-1][:TOP_N]
            moments.append((np.mean(top), np.std(top)))
        return moments

    expected = timed(seconds, "plain", one_by_one)
    ours = timed(seconds, "ours", cohort_statistics, vectors, cohort.vectors, TOP_N)
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
    for title, step in (("inputs", given), ("AS-norm", as_norm), ("cohort offsets", offsets)):
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
