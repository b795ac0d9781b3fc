"""Measure how hard the built-in corpus is: the EER of mean spectrum and mean pitch alone.

A corpus on which these do well would reward no learning. An utterance is embedded as its mean log
mel spectrum and the mean logarithm of its pitch, standardised with the train split; the score is
the cosine, or for pitch alone minus the distance.

    python benchmarks/trivial_baseline.py data/mini/corpus

Hardware: any CPU, about 15 s with two processes. Expected of conf/mini/corpus.yaml, all trials:
spectrum 46.5 %, pitch 29.3 %, both 34.8 %.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.fft import irfft, rfft
from torchaudio.compliance.kaldi import fbank

from tidyvoice.errors import TidyVoiceError, one_line_errors
from tidyvoice.scoring.metrics import eer

TRAIN = "TidyVoiceX_ASV/TidyVoiceX_Train"
DEV = "TidyVoiceX_ASV/TidyVoiceX_Dev"
TRIALS = "TidyVocieX_Dev_trialPairs.txt"
PITCH_HZ = (70.0, 350.0)
PITCH_WEIGHT = 1.0  # of pitch against the whole spectrum, in the score of both


def mean_log_pitch(audio: np.ndarray, rate: int) -> float:
    """Mean log2 of the pitch in Hz over the voiced half of the frames (40 ms every 20 ms).

    The pitch of a frame is the highest peak of its autocorrelation, the most periodic half counts.
    """
    length, hop = rate // 25, rate // 50
    frames = np.lib.stride_tricks.sliding_window_view(audio, length)[::hop]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(length)
    power = np.abs(rfft(frames, 2 * length)) ** 2
    window = irfft(np.abs(rfft(np.hanning(length), 2 * length)) ** 2)
    lags = np.arange(int(rate / PITCH_HZ[1]), int(rate / PITCH_HZ[0]))
    # Division by the window's own autocorrelation undoes its preference for short lags.
    periodic = irfft(power)[:, lags] / window[lags] * window[0]
    strength = periodic.max(axis=1) / (irfft(power)[:, 0] + 1e-9)
    best = lags[periodic.argmax(axis=1)]
    return float(np.log2(rate / best[strength >= np.median(strength)]).mean())


def describe(root: Path, utterance: str) -> np.ndarray:
    """Mean log mel spectrum (80 bins), then mean log2 pitch: [81]."""
    torch.set_num_threads(1)
    audio, rate = soundfile.read(root / utterance, dtype="float32")
    features = fbank(
        torch.from_numpy(audio)[None] * 32768,
        num_mel_bins=80,
        window_type="hamming",
        sample_frequency=rate,
    )
    return np.append(features.mean(dim=0).numpy(), mean_log_pitch(audio, rate))


def describe_all(root: Path, utterances: list[str], jobs: int) -> np.ndarray:
    """Describe utterances in ``jobs`` processes: [N x 81]."""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return np.stack(list(pool.map(partial(describe, root), utterances, chunksize=50)))


def read_trials(path: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Labels (True for targets), enrolment ids and test ids."""
    if not path.is_file():
        raise TidyVoiceError(f"{path}: no such file; make the corpus with python -m local.mini")
    labels, enroll, test = zip(*(line.split() for line in path.open()), strict=True)
    return np.array(labels) == "1", list(enroll), list(test)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of the rows of [N x D] and [N x D]."""
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the corpus")
    parser.add_argument("--jobs", type=int, default=2, help="processes [%(default)s]")
    arguments = parser.parse_args()

    is_target, enroll, test = read_trials(arguments.out / TRIALS)
    ids = sorted({*enroll, *test})
    dev = describe_all(arguments.out / DEV, ids, arguments.jobs)
    root = arguments.out / TRAIN
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.wav"))
    train = describe_all(root, files[::4], arguments.jobs)  # a quarter is plenty for a mean

    standard = (dev - train.mean(axis=0)) / train.std(axis=0)
    row = {name: index for index, name in enumerate(ids)}
    a = standard[[row[name] for name in enroll]]
    b = standard[[row[name] for name in test]]
    # A spectrum of 80 bins has a length of about sqrt(80): scaled, it weighs as much as pitch.
    weights = np.append(np.full(80, 80**-0.5), PITCH_WEIGHT)
    scores = {
        "spectrum": cosine(a[:, :80], b[:, :80]),
        "pitch": -np.abs(a[:, 80] - b[:, 80]),
        "both": cosine(a * weights, b * weights),
    }
    same_language = np.array(
        [x.split("/")[1] == y.split("/")[1] for x, y in zip(enroll, test, strict=True)]
    )
    print(f"{'EER %  targets / non-targets':<32}" + "".join(f"{name:>10}" for name in scores))
    groups = {"all / all": np.ones(len(is_target), bool)}
    names = {True: "same", False: "cross"}
    for targets, nontargets in product((False, True), repeat=2):
        chosen = np.where(is_target, same_language == targets, same_language == nontargets)
        groups[f"{names[targets]} / {names[nontargets]} language"] = chosen
    for name, chosen in groups.items():
        values = (100 * eer(score[chosen], is_target[chosen]) for score in scores.values())
        print(f"{name:<32}" + "".join(f"{value:>10.1f}" for value in values))


if __name__ == "__main__":
    with one_line_errors():
        main()
