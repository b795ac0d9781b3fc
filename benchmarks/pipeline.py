"""Chunks a second and core of the data pipeline, against the published design.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --utterances 200 --batches 4 --runs 1

The settings are those of the pretraining: chunks of 2 s, speeds 0.9, 1 and 1.1, noise or
reverberation with probability 0.6. The design that the challenge published, made anew here as its
baseline: each utterance is decoded whole, its speed changed whole (with torchaudio's resampler in
place of sox, which torchaudio no longer has), a chunk cut from it, convolved with a whole decoded
response or added to a noise decoded whole, and its filterbank computed by torchaudio, one utterance
at a time. Utterances last 4 to 20 s, as VoxCeleb2's do (8 s on average), noises 4 to 30 s.

One thread each, and seconds of its core's time: other programs on the machine count less than by
the clock. Runs alternate, and ratios are of the medians.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from scipy import signal

from tidyvoice.config import DataSettings
from tidyvoice.data.augment import Augmenter
from tidyvoice.data.batches import SNR_DB, TrainingData
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.frontends.fbank import Fbank

RATE, CHUNK_FRAMES, BATCH = 16000, 200, 64


def write_corpus(root: Path, utterances: int) -> None:
    """Speech, noise and responses, as noise of their lengths; and their data folders and shards."""
    rng = np.random.Generator(np.random.PCG64(1))

    def write(path: Path, seconds: float, decay: float = 0.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        time_axis = np.arange(int(seconds * RATE)) / RATE
        samples = 0.1 * rng.standard_normal(time_axis.size) * np.exp(-decay * time_axis)
        soundfile.write(path, samples, RATE)

    for number in range(utterances):
        seconds = float(np.clip(rng.lognormal(2.0, 0.4), 4, 20))
        write(root / f"speech/id{number % 50:03d}/en/{number}.wav", seconds)
    for number in range(60):
        kind = list(SNR_DB)[number % 3]
        write(root / f"noise/{kind}/made/{number}.wav", float(rng.uniform(4, 30)))
        write(root / f"rirs/smallroom/made/{number}.wav", float(rng.uniform(0.3, 1.0)), decay=8)
    for name in ("speech", "noise", "rirs"):
        scan(root / name, language_folder=name == "speech").write(root / f"data/{name}")
        write_shards(root / f"data/{name}")


class Published:
    """The published design: utterance by utterance, everything whole."""

    def __init__(self, root: Path, settings: DataSettings, samples: int):
        self.speech = sorted((root / "speech").rglob("*.wav"))
        self.noise = sorted((root / "noise").rglob("*.wav"))
        self.rirs = sorted((root / "rirs").rglob("*.wav"))
        self.settings, self.samples = settings, samples
        self.random = random.Random(1)

    def chunk(self) -> torch.Tensor:
        """Features [T x F] of one chunk."""
        waveform = self._read(self.random.choice(self.speech))
        speed = self.random.choice(self.settings.speeds)
        if speed != 1.0:
            rate = round(RATE * speed)
            tensor = torch.from_numpy(waveform).float()
            waveform = torchaudio.functional.resample(tensor, rate, RATE).numpy()
        waveform = self._cut(waveform)
        if self.random.random() < self.settings.augment_probability:
            waveform = self.random.choice((self._reverb, self._noisy))(waveform)
        scaled = torch.from_numpy(waveform).float()[None] * (1 << 15)
        features = torchaudio.compliance.kaldi.fbank(
            scaled, num_mel_bins=80, dither=1.0, sample_frequency=RATE, window_type="hamming"
        )
        return features - features.mean(dim=0)

    def _read(self, path: Path) -> np.ndarray:
        return soundfile.read(path, dtype="float32")[0]

    def _cut(self, waveform: np.ndarray) -> np.ndarray:
        spare = len(waveform) - self.samples
        if spare < 0:
            return np.resize(waveform, self.samples)
        start = self.random.randrange(spare + 1)
        return waveform[start : start + self.samples]

    def _reverb(self, waveform: np.ndarray) -> np.ndarray:
        response = self._read(self.random.choice(self.rirs))
        response = response / np.sqrt(np.sum(response**2))
        wet = signal.convolve(waveform, response, mode="full")[: self.samples]
        return wet / (np.max(np.abs(wet)) + 1e-4)

    def _noisy(self, waveform: np.ndarray) -> np.ndarray:
        path = self.random.choice(self.noise)
        noise = self._cut(self._read(path))
        low, high = SNR_DB[path.parents[1].name]
        level = 10 * np.log10(np.mean(waveform**2) + 1e-4)
        of_noise = 10 * np.log10(np.mean(noise**2) + 1e-4)
        gain = 10 ** ((level - of_noise - self.random.uniform(low, high)) / 20)
        loud = waveform + gain * noise
        return loud / (np.max(np.abs(loud)) + 1e-4)


def rate_of(function: Callable[[], object], chunks: int) -> float:
    start = time.process_time()
    function()
    return chunks / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--batches", type=int, default=20, help=f"of {BATCH} chunks, a run")
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=".") as name:
        root = Path(name)
        write_corpus(root, args.utterances)
        data = root / "data"
        settings = DataSettings(
            train=[data / "speech"], noise=data / "noise", rirs=data / "rirs",
            chunk_frames=CHUNK_FRAMES, max_seconds=None, batch_size=BATCH,
        )  # fmt: skip
        frontend = Fbank().train()
        samples = frontend.num_samples(CHUNK_FRAMES)
        ours, augment = TrainingData(settings, samples, 1), Augmenter(settings.speeds, samples)
        published = Published(root, settings, samples)
        position = iter(range(10**9))
        published_chunks = max(args.batches * BATCH // 10, 16)

        def whole() -> None:
            with torch.inference_mode():
                for _ in range(max(args.batches // 4, 1)):
                    raw = ours[next(position)]
                    frontend(augment(raw), raw.dither_seeds)

        rates: dict[str, list[float]] = {"published": [], "reading": [], "whole": []}
        for run in range(args.runs + 1):
            found = {
                "published": rate_of(
                    lambda: [published.chunk() for _ in range(published_chunks)], published_chunks
                ),
                "reading": rate_of(
                    lambda: [ours[next(position)] for _ in range(args.batches)],
                    args.batches * BATCH,
                ),
                "whole": rate_of(whole, max(args.batches // 4, 1) * BATCH),
            }
            for key, rate in found.items():
                if run:  # the first one fills the caches of all three
                    rates[key].append(rate)
        medians = {key: statistics.median(values) for key, values in rates.items()}
        print(f"published design, one thread: {medians['published']:,.0f} chunks/s")
        for key, what in (("reading", "reading side"), ("whole", "with augmentation and features")):
            ratio = medians[key] / medians["published"]
            print(f"{what}, one thread: {medians[key]:,.0f} chunks/s, {ratio:.1f} times as many")


if __name__ == "__main__":
    main()
