"""Time and peak memory of scoring: reading a trial list, cosine, writing and reading, metrics.

    python benchmarks/scoring.py                     # 12 M trials on 60,000 x 256 embeddings
    python benchmarks/scoring.py --trials 100000     # a quick look

The list has the form of TidyVoiceX dev: ids speaker/LANGUAGE/file, a third targets. Every step
runs in its own process, so that its peak memory is its own. The naive reference is one ``sklearn``
``cosine_similarity`` call a trial on a sample, multiplied up.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tidyvoice.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.categories import evaluate, format_table, languages_of
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.trials import Trials, read_scores, read_trials, write_scores, write_trials

SPEAKERS, LANGUAGES = 800, ("en", "fr", "de", "zh-CN", "sv-SE", "ckb")
NAIVE_SAMPLE = 5_000


def make_inputs(folder: Path, trials: int, utterances: int, dimensions: int) -> None:
    """Random embeddings around one centre a speaker, and a list with labels."""
    rng = np.random.Generator(np.random.PCG64([1, trials]))
    speaker = rng.integers(0, SPEAKERS, utterances)
    language = rng.integers(0, len(LANGUAGES), utterances)
    centres = rng.standard_normal((SPEAKERS, dimensions), dtype=np.float32)
    noise = rng.standard_normal((utterances, dimensions), dtype=np.float32)
    ids = [
        f"id{s:06d}/{LANGUAGES[k]}/{LANGUAGES[k]}_{n:08d}.wav"
        for n, (s, k) in enumerate(zip(speaker, language, strict=True))
    ]
    save_embeddings(folder / "embeddings.npz", ids, centres[speaker] + 2.5 * noise)

    enroll = rng.integers(0, utterances, trials, dtype=np.int32)
    test = rng.integers(0, utterances, trials, dtype=np.int32)
    by_speaker = np.argsort(speaker, kind="stable")
    begin = np.searchsorted(speaker[by_speaker], np.arange(SPEAKERS))
    size = np.bincount(speaker, minlength=SPEAKERS)
    third = slice(0, trials // 3)
    own = speaker[enroll[third]]
    test[third] = by_speaker[begin[own] + (rng.random(len(own)) * size[own]).astype(np.int64)]
    order = rng.permutation(trials)
    enroll, test = enroll[order], test[order]
    made = Trials(ids, enroll, test, speaker[enroll] == speaker[test])
    with open(folder / "trials", "wb") as file:
        write_trials(file, made)


def read_list(folder: Path) -> str:
    return f"{len(read_trials(folder / 'trials')):,} trials"


def score(folder: Path) -> str:
    """Cosine alone: the list and the embeddings are read before the clock starts."""
    embeddings, trials = load_embeddings(folder / "embeddings.npz"), read_trials(folder / "trials")
    mean, start = embeddings.mean(), time.perf_counter()
    scores = cosine_scores(embeddings, trials, mean)
    seconds = time.perf_counter() - start
    write_scores(folder / "scores", trials, scores)
    return f"of which the cosines {seconds:.2f} s"


def metrics(folder: Path) -> str:
    """EER and minDCF, pooled and by category, the score file read before the clock starts."""
    table = read_scores(folder / "scores")
    start = time.perf_counter()
    rows = evaluate(table, languages_of(table.trials))
    return f"of which the metrics {time.perf_counter() - start:.2f} s\n\n{format_table(rows)}\n"


def naive(folder: Path) -> str:
    """Seconds a trial of one scikit-learn call a trial."""
    from sklearn.metrics.pairwise import cosine_similarity

    embeddings, trials = load_embeddings(folder / "embeddings.npz"), read_trials(folder / "trials")
    places = trials.places_in(embeddings.ids, "embedding")
    centred = embeddings.vectors - embeddings.mean()
    sample = min(NAIVE_SAMPLE, len(trials))
    start = time.perf_counter()
    for one, other in zip(trials.enroll[:sample], trials.test[:sample], strict=True):
        cosine_similarity(centred[places[one]][None], centred[places[other]][None])
    return f"{(time.perf_counter() - start) / sample}"


def measured(step: Callable[[Path], str], folder: Path) -> tuple[str, float, float]:
    """What the step says, its wall-clock seconds and its peak memory in MiB, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (step, folder))


def _measure(step: Callable[[Path], str], folder: Path) -> tuple[str, float, float]:
    start = time.perf_counter()
    said = step(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return said, time.perf_counter() - start, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12_000_000)
    parser.add_argument("--utterances", type=int, default=60_000)
    parser.add_argument("--dimensions", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, options.trials, options.utterances, options.dimensions)
        for title, step in (
            ("read the list", read_list),
            ("read, cosine, write", score),
            ("read scores, metrics", metrics),
        ):
            said, seconds, peak = measured(step, folder)
            print(f"{title:<22}{seconds:7.1f} s {peak:8,.0f} MiB   {said}", flush=True)
            if step is score:
                cosine_seconds = float(said.split()[-2])
        each = float(measured(naive, folder)[0])
        whole = each * options.trials
        print(
            f"one scikit-learn call a trial: {each * 1e6:.0f} us over the first {NAIVE_SAMPLE:,}, "
            f"so {whole:,.0f} s for all, {whole / cosine_seconds:,.0f} times the cosines here"
        )


if __name__ == "__main__":
    main()
