"""Time and peak memory of fitting a back end, scoring and evaluating, from files to files.

    python benchmarks/scoring.py                    # 1, 4, 12 and 50 million trials
    python benchmarks/scoring.py --millions 0.1     # a quick look

60,000 utterances of 256 dimensions; the list has the form of TidyVoiceX dev: ids
speaker/LANGUAGE/file, a third targets, no trial twice. The cohort has 3,666 speakers. Every step
runs in its own process, so that its peak memory is its own. The naive reference is one ``sklearn``
``cosine_similarity`` call a trial on a sample, multiplied up, against the whole of the first step:
reading the list, cosine, writing the scores.
"""

import argparse
import functools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tidyvoice.backend_choice import choose
from tidyvoice.evaluation.evaluate import ScoreFile, evaluate
from tidyvoice.evaluation.tables import categories_table
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.pipeline import score_list
from tidyvoice.scoring.trials import Trials, read_trials, write_trials

SPEAKERS, LANGUAGES = 808, ("en", "fr", "de", "zh-CN", "sv-SE", "ckb")
COHORT_SPEAKERS, COHORT_UTTERANCES, DIMENSIONS = 3666, 10, 100
NAIVE_SAMPLE = 5_000
RESAMPLES = 1000
COSINE = "cosine, files to file"


def make_embeddings(path: Path, first: int, speakers: int, utterances: int, dimensions: int) -> str:
    """Random embeddings around one centre a speaker, and their utt2spk."""
    rng = np.random.Generator(np.random.PCG64([1, first]))
    speaker = np.concatenate(
        [np.arange(speakers), rng.integers(0, speakers, utterances - speakers)]
    )
    language = rng.integers(0, len(LANGUAGES), utterances)
    centres = rng.standard_normal((speakers, dimensions), dtype=np.float32)
    noise = rng.standard_normal((utterances, dimensions), dtype=np.float32)
    ids = [
        f"id{first + s:06d}/{LANGUAGES[k]}/{LANGUAGES[k]}_{n:08d}.wav"
        for n, (s, k) in enumerate(zip(speaker, language, strict=True))
    ]
    save_embeddings(path, ids, centres[speaker] + 2.5 * noise)
    lines = (f"{i} {i.partition('/')[0]}\n" for i in ids)
    path.with_suffix(".utt2spk").write_text("".join(lines))
    return ""


def make_trials(folder: Path, trials: int) -> str:
    """Distinct pairs of utterances, a third of them of one speaker, with labels."""
    ids = load_embeddings(folder / "embeddings.npz").ids
    speaker = np.array([int(i[2:8]) for i in ids])
    rng = np.random.Generator(np.random.PCG64([2, trials]))
    by_speaker = np.argsort(speaker, kind="stable")
    begin, size = np.searchsorted(speaker[by_speaker], np.arange(SPEAKERS)), np.bincount(speaker)
    found = np.empty(0, dtype=np.int64)
    while len(found) < trials:
        wanted = int(1.1 * (trials - len(found))) + 1000
        enroll, test = rng.integers(0, len(speaker), (2, wanted))
        own = speaker[enroll[: wanted // 3]]
        test[: wanted // 3] = by_speaker[
            begin[own] + (rng.random(len(own)) * size[own]).astype(np.int64)
        ]
        enroll, test = enroll[enroll != test], test[enroll != test]
        found = np.unique(np.append(found, enroll * len(speaker) + test))
    pairs = rng.permutation(found)[:trials]
    enroll, test = (side.astype(np.int32) for side in np.divmod(pairs, len(speaker)))
    with open(folder / "trials", "wb") as file:
        write_trials(file, Trials(ids, enroll, test, speaker[enroll] == speaker[test]))
    return ""


def fit(folder: Path) -> str:
    options = ([folder / "cohort.utt2spk"], [], ["plda"], [DIMENSIONS], True, None, None)
    (fitted,), _ = choose(folder / "cohort.npz", *options)
    fitted.backend.save(folder / "backend.json")
    return ""


def score(folder: Path, out: str, **files: str) -> str:
    """Score with the mean or the back end in ``files``."""
    paths = {role: folder / name for role, name in files.items()}
    table, utt2spk = folder / "embeddings.npz", [folder / "embeddings.utt2spk"]
    score_list(table, folder / "trials", folder / out, utt2spk=utt2spk, **paths)
    return ""


def metrics(folder: Path) -> str:
    """EER, costs and Cllr, pooled and by category."""
    return categories_table(evaluate(ScoreFile(folder / "scores"))).to_text()


def intervals(folder: Path) -> str:
    """The same with confidence intervals."""
    evaluation = evaluate(ScoreFile(folder / "scores"), resamples=RESAMPLES)
    return categories_table(evaluation).to_text()


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


def measured(step: Callable[..., str], *arguments: object) -> tuple[str, float, float]:
    """Run a step in a new process; return its output, its seconds and its peak memory in MiB.

    The process starts with the peak of this one, which therefore does nothing itself.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (step, *arguments))


def _measure(step: Callable[..., str], *arguments: object) -> tuple[str, float, float]:
    start = time.perf_counter()
    said = step(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return said, time.perf_counter() - start, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 4, 12, 50])
    parser.add_argument("--utterances", type=int, default=60_000)
    parser.add_argument("--dimensions", type=int, default=256)
    options = parser.parse_args()
    steps = {
        COSINE: functools.partial(score, out="scores", mean="cohort.npz"),
        "back end, files to file": functools.partial(score, out="compared", backend="backend.json"),
        "metrics, four categories": metrics,
        f"with {RESAMPLES:,} resamples": intervals,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = (options.utterances, options.dimensions)
        measured(make_embeddings, folder / "embeddings.npz", 0, SPEAKERS, *size)
        cohort = (COHORT_SPEAKERS, COHORT_SPEAKERS * COHORT_UTTERANCES, options.dimensions)
        measured(make_embeddings, folder / "cohort.npz", SPEAKERS, *cohort)
        _, seconds, peak = measured(fit, folder)
        print(
            f"PLDA of {DIMENSIONS} dimensions fitted: {seconds:.1f} s, {peak:,.0f} MiB", flush=True
        )
        for millions in options.millions:
            trials = round(1e6 * millions)
            measured(make_trials, folder, trials)
            print(f"{trials:,} trials")
            for title, step in steps.items():
                said, seconds, peak = measured(step, folder)
                print(f"  {title:<36}{seconds:7.1f} s {peak:8,.0f} MiB", flush=True)
                if title == COSINE:
                    each = float(measured(naive, folder)[0])
                    print(
                        f"    one scikit-learn call a trial: {each * 1e6:.0f} us, so "
                        f"{each * trials:,.0f} s, {each * trials / seconds:,.0f} times as long"
                    )
        print(f"\n{said}")


if __name__ == "__main__":
    main()
