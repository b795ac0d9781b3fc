"""Training batches: chunks of utterances with noise and room, as 16-bit samples.

All random numbers of an utterance are drawn here from (seed, pass over the data, utterance), so
that the number of threads or processes and interruptions do not change them.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tidyvoice.config import DataSettings, speed_fraction
from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.losses.languages import UNKNOWN_LANGUAGE
from tidyvoice.readahead import read_ahead
from tidyvoice.samplers.registry import Utterances, occurrences

# Signal-to-noise ratio in dB by kind of noise (the published baseline's ranges).
SNR_DB = {"noise": (0.0, 15.0), "speech": (10.0, 30.0), "music": (5.0, 15.0)}


@dataclass
class RawBatch:
    """One batch of B utterances, chunks of S samples, before any computation."""

    samples: Tensor  # int16 [B x longest source]; row b holds a chunk's source at its speed
    speed_rows: tuple[Tensor, ...]  # int64, rows of the batch at each speed of the settings
    labels: Tensor  # int64 [B], the class: speaker + speakers * speed index
    languages: Tensor  # int64 [B], index into the data's languages; -1 where it is unknown
    rows: Tensor  # int64 [B], the utterances' rows in the shards
    dither_seeds: Tensor  # int64 [B]
    noise: Tensor  # int16 [N x S]
    noise_rows: Tensor  # int64 [N], rows of the batch
    snr: Tensor  # float32 [N], in dB
    rirs: Tensor  # int16 [R x longest]
    rir_rows: Tensor  # int64 [R], rows of the batch
    drawn: tuple[Tensor, ...] = ()  # random numbers of each augmentation, float32 [B x ...]

    def to(self, device: torch.device) -> "RawBatch":
        """Return the batch on the device, but for ``rows``, which only the host reads."""
        # Only CUDA keeps the source until a non-blocking copy is over; MPS may read freed memory.
        non_blocking = device.type == "cuda"
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "RawBatch":
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "RawBatch":
        names = {field.name for field in fields(self)} - {"rows"}
        values = {name: getattr(self, name) for name in names}
        changed = {
            name: tuple(map(function, value)) if isinstance(value, tuple) else function(value)
            for name, value in values.items()
        }
        return replace(self, **changed)


class TrainingData:
    """Batches of data folders by index; a pass has ``batches_per_pass`` whole ones."""

    def __init__(self, settings: DataSettings, chunk_samples: int, seed: int):
        self.settings = settings
        self.chunk_samples = chunk_samples
        self.seed = seed
        self.reader = reader = ShardReader(*settings.train)
        self.noise = ShardReader(settings.noise) if settings.noise else None
        self.rirs = ShardReader(settings.rirs) if settings.rirs else None
        if self.noise is not None:
            self._snr = _snr_ranges(self.noise, settings.noise)
        self.speakers, self._speaker_of = _codes(reader.speakers)
        self.languages, self._language_of = _codes(reader.languages)
        shortest = int(settings.min_seconds * SAMPLE_RATE)
        eligible = np.flatnonzero(reader.samples >= shortest)
        self.num_utterances = len(eligible)
        self.batches_per_pass = len(eligible) // settings.batch_size
        if not self.batches_per_pass:
            few = f"{len(eligible)} utterances are long enough for"
            fix = f"data.batch_size {settings.batch_size}: reduce data.batch_size"
            raise TidyVoiceError(f"data.train: only {few} {fix}")
        self.augmentations = [chosen.build() for chosen in settings.augmentations]
        self._sampler = settings.sampler.build()
        if self._sampler.by_language and (self._language_of[eligible] == UNKNOWN_LANGUAGE).all():
            raise TidyVoiceError("data.sampler: no utterance has a language: add utt2lang")
        self._utterances = Utterances(
            eligible, reader.shard_of, self._speaker_of, self._language_of, settings.batch_size
        )
        self.sampling = self._sampler.describe(self._utterances)  # a line for the log, or None
        self._latest_pass = -1, eligible, eligible

    @property
    def num_classes(self) -> int:
        """Number of classes: each speaker at each speed."""
        return len(self.speakers) * len(self.settings.speeds)

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows [N] of a pass, and how often each came before in it."""
        # Bound once: another reading thread may be at another pass already.
        latest = self._latest_pass
        if latest[0] != number:
            order = self._sampler(self._utterances, np.random.default_rng([self.seed, number]))
            self._latest_pass = latest = number, order, occurrences(order)
        return latest[1:]

    def __getitem__(self, index: int) -> RawBatch:
        number, rest = divmod(index, self.batches_per_pass)
        size = self.settings.batch_size
        places = slice(rest * size, (rest + 1) * size)
        rows, repeats = (values[places] for values in self._order(number))
        chunks, speeds, dither = [], [], []
        noise, noise_rows, snrs, rirs, rir_rows = [], [], [], [], []
        drawn = [[] for _ in self.augmentations]
        kinds = ["reverb"] * (self.rirs is not None) + ["noise"] * (self.noise is not None)
        for position, row in enumerate(rows):
            random = np.random.default_rng([self.seed, number, int(row), int(repeats[position])])
            speed = int(random.integers(len(self.settings.speeds)))
            speeds.append(speed)
            dither.append(int(random.integers(2**62)))
            chunks.append(self._chunk(row, speed, random))
            kind = ""
            if kinds and random.random() < self.settings.augment_probability:
                kind = kinds[int(random.integers(len(kinds)))]
            if kind == "noise":
                segment, snr = self._noise(random)
                noise.append(segment)
                noise_rows.append(position)
                snrs.append(snr)
            elif kind == "reverb":
                rirs.append(self.rirs.read(int(random.integers(len(self.rirs)))))
                rir_rows.append(position)
            for numbers, augmentation in zip(drawn, self.augmentations, strict=True):
                numbers.append(augmentation.draw(random))
        speeds = np.array(speeds)
        return RawBatch(
            samples=_padded(chunks),
            speed_rows=tuple(
                torch.from_numpy(np.flatnonzero(speeds == index))
                for index in range(len(self.settings.speeds))
            ),
            labels=torch.from_numpy(self._speaker_of[rows] + len(self.speakers) * speeds),
            languages=torch.from_numpy(self._language_of[rows].astype(np.int64)),
            rows=torch.from_numpy(rows),
            dither_seeds=torch.tensor(dither),
            noise=_padded(noise),
            noise_rows=torch.tensor(noise_rows, dtype=torch.int64),
            snr=torch.tensor(snrs, dtype=torch.float32),
            rirs=_padded(rirs),
            rir_rows=torch.tensor(rir_rows, dtype=torch.int64),
            drawn=tuple(torch.from_numpy(np.stack(numbers)).float() for numbers in drawn),
        )

    def _chunk(self, row: int, speed: int, random: np.random.Generator) -> np.ndarray:
        """Read the samples that become one chunk at this speed; repeat short utterances."""
        total = int(self.reader.samples[row])
        needed = source_samples(self.chunk_samples, self.settings.speeds[speed])
        first = 0
        if self.settings.max_seconds is not None:
            longest = int(self.settings.max_seconds * SAMPLE_RATE)
            first = int(random.integers(max(total - longest, 0) + 1))
            total = min(total, longest)
        if total >= needed:
            start = first + int(random.integers(total - needed + 1))
            return self.reader.read(row, start, needed)
        return np.resize(self.reader.read(row, first, total), needed)

    def _noise(self, random: np.random.Generator) -> tuple[np.ndarray, float]:
        row = int(random.integers(len(self.noise)))
        snr = float(random.uniform(*self._snr[row]))
        spare = int(self.noise.samples[row]) - self.chunk_samples
        if spare < 0:
            return np.resize(self.noise.read(row), self.chunk_samples), snr
        return self.noise.read(row, int(random.integers(spare + 1)), self.chunk_samples), snr


def source_samples(chunk: int, speed: float) -> int:
    """Return how many samples, played at ``speed``, last as long as ``chunk`` samples."""
    return math.ceil(chunk * speed_fraction(speed))


def _codes(names: pl.Series) -> tuple[list[str], np.ndarray]:
    """Return the distinct names, sorted, and the position of each row's name, int32 [N]."""
    codes = names.to_physical().cast(pl.Int32).fill_null(UNKNOWN_LANGUAGE)
    return names.dtype.categories.to_list(), codes.to_numpy()


def _snr_ranges(noise: ShardReader, folder: Path) -> list[tuple[float, float]]:
    kinds = noise.speakers.to_list()
    unknown = sorted(set(kinds) - set(SNR_DB))
    if unknown:
        problem = f"{folder}/utt2spk: unknown kind {unknown[0]!r}"
        raise TidyVoiceError(f"{problem}: set it to {', '.join(SNR_DB)}")
    return [SNR_DB[kind] for kind in kinds]


def _padded(rows: list[np.ndarray]) -> Tensor:
    """Stack rows of int16 samples, padded with zeros at the end."""
    stacked = np.zeros((len(rows), max(map(len, rows), default=0)), np.int16)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(stacked)


def load_batches(
    data: TrainingData, indexes: Iterable[int], pin: bool = False
) -> Iterator[RawBatch]:
    """Yield batches in order, read ahead by threads; ``pin`` makes copies to CUDA asynchronous."""
    load = (lambda index: data[index].pin_memory()) if pin else data.__getitem__
    return read_ahead(load, indexes, data.settings.num_workers)
