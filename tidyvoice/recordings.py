"""Recordings of any rate, format and number of channels, checked before a model embeds them.

An embedding of silence looks like any other, so silence is an error; poor quality gives warnings.
"""

from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view

from tidyvoice import audio
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.headers import SAMPLE_RATE, wav_header

SHORTEST = 0.3  # seconds, of the recording and of the sound in it
FEW = 1.0  # seconds of sound below which scores are uncertain
SILENT = -65.0  # dB below full scale, the limit of 16-bit recordings
STEADY = 6.0  # dB between pauses and sound; speech exceeds it even in noise
CLIPPED = 0.005  # share of samples at the maximum
FRAME, SHIFT = 400, 160  # 25 ms and 10 ms in samples
# Limits of what resampling computes: hertz, and numbers in the filter of two rates (1 GB).
LOWEST_RATE, LARGEST_FILTER = 1000, 250_000_000
BLOCK = 4096  # frames whose levels are computed at once
TOO_SHORT = f"too short to identify a speaker: record {3 * FEW:g} s of speech or more"


@dataclass(frozen=True)
class Recording:
    """Samples float32 [S] in -1..1 at 16 kHz, with the result of the quality checks.

    Attributes:
        name: path, or the name used in messages.
        sound_seconds: duration of what is louder than the pauses.
        warnings: one line for each quality problem.

    Example:
        >>> recording = Recording.load("ann-1.wav", start=0.5)
        >>> recording.seconds > 1.5, recording.warnings
        (True, ())
    """

    name: str
    samples: np.ndarray
    sound_seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / SAMPLE_RATE

    @classmethod
    def load(
        cls,
        source: "str | Path | np.ndarray | Recording",
        sample_rate: int | None = None,
        channel: int = 0,
        start: float = 0.0,
        end: float | None = None,
    ) -> "Recording":
        """Read a file or samples, resample to 16 kHz, and check the quality.

        Silence and less than 0.3 s of sound are errors, like a source that is no audio.

        Args:
            source: a file that libsndfile or ffmpeg reads, or samples: [S], or two-dimensional
                with the channels on the shorter side; floats in -1..1, or integers of 8, 16 or 32
                bits, scaled by their type's range.
            sample_rate: rate of samples in whole Hz; omit it for a file.
            channel: index of the channel to use, from 0.
            start, end: segment to use, in seconds; the whole recording by default.
        """
        if isinstance(source, Recording):
            return source
        name = str(source) if isinstance(source, (str, Path)) else "the recording"
        if isinstance(source, (str, Path)):
            if sample_rate is not None:
                raise TidyVoiceError(f"{name}: a file has its own rate; omit sample_rate")
            samples, sample_rate = _read(Path(source), start, end)
        else:
            samples = _channels(np.asarray(source), name)
            if sample_rate is None or sample_rate < 1 or not float(sample_rate).is_integer():
                raise TidyVoiceError(f"{name}: give sample_rate, the rate in whole Hz")
            samples = samples[_segment(len(samples), sample_rate, start, end, name)]
        if not 0 <= channel < samples.shape[1]:
            last = samples.shape[1] - 1
            raise TidyVoiceError(f"{name}: no channel {channel}; give a channel from 0 to {last}")
        if (seconds := len(samples) / sample_rate) < SHORTEST:
            raise TidyVoiceError(f"{name} lasts {seconds:.2f} s, {TOO_SHORT}")
        mono = resample(np.ascontiguousarray(samples[:, channel]), int(sample_rate), name)
        return cls(name, mono, *_quality(name, mono, samples, channel))


def _read(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """Read samples float32 [S x C] of a file's segment, and their rate."""
    if not path.is_file():
        raise TidyVoiceError(f"{path}: no such file: give the path of an audio file")
    with open(path, "rb") as file:
        wav_header(file)  # libsndfile would read a file that is cut short without an error
    # ffmpeg reads more formats, and to the end where the header does not state the length.
    try:
        file = None if path.suffix.lower() == ".mp3" else soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, TypeError):  # a name in .raw has no header
        file = None
    if file is None or file.frames == audio.UNSTATED or file.format == "MP3":
        samples = audio.decoded_channels(path) / np.float32(32768)
        return samples[_segment(len(samples), SAMPLE_RATE, start, end, str(path))], SAMPLE_RATE
    with reading(path, "audio file", audio.RESTORE), file:
        rate = file.samplerate
        part = _segment(file.frames, rate, start, end, str(path))
        file.seek(part.start)
        samples = audio.read_frames(file, part.stop - part.start, "float32")
        if file.subtype not in audio.FLOATS:
            # Decoders of ogg overshoot where the recording was clipped.
            np.clip(samples, -1, 1, out=samples)
    return samples, rate


def _segment(total: int, rate: int, start: float, end: float | None, name: str) -> slice:
    """Convert a segment in seconds to one in samples."""
    last = total if end is None else np.rint(end * rate)  # unlike round, it accepts infinity
    first = np.rint(start * rate)
    if (start or end is not None) and not 0 <= first < last <= total:
        until = "the end" if end is None else f"{end:g} s"
        lasts = f"it lasts {total / rate:.2f} s"
        raise TidyVoiceError(f"{name}: no segment from {start:g} s to {until}: {lasts}")
    return slice(int(first), int(last))


def _channels(samples: np.ndarray, name: str) -> np.ndarray:
    """Convert samples of any type and layout to float32 [S x C]."""
    kind, size = samples.dtype.kind, samples.dtype.itemsize
    supported = kind == "f" or (kind in "iu" and size <= 4)
    if samples.ndim not in (1, 2) or samples.size == 0 or not supported:
        fix = "are no samples: give floats, int16 or int32, one or two-dimensional"
        raise TidyVoiceError(f"{name}: {samples.dtype} of shape {samples.shape} {fix}")
    if kind != "f":
        middle = 2.0 ** (8 * size - 1)
        samples = samples / middle - (1.0 if kind == "u" else 0.0)
    samples = samples.astype(np.float32)
    audio.check_floats(name, samples)
    samples = np.atleast_2d(samples)
    return samples.T if samples.shape[0] <= samples.shape[1] else samples


def resample(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
    """Resample float32 [S] to 16 kHz; ``name`` is that of the recording, for messages."""
    if rate == SAMPLE_RATE:
        return samples
    rates = (rate // gcd(rate, SAMPLE_RATE), SAMPLE_RATE // gcd(rate, SAMPLE_RATE))
    if rate < LOWEST_RATE or rates[0] * rates[1] > LARGEST_FILTER:
        raise TidyVoiceError(f"{name} has a rate of {rate:,} Hz: convert it to {SAMPLE_RATE:,} Hz")
    # Imported here, because most recordings need no resampling.
    import torch

    waveform = torch.from_numpy(samples)
    return audio.load_torchaudio().functional.resample(waveform, *rates).numpy()


def levels(samples: np.ndarray) -> np.ndarray:
    """Compute the level of each frame of 25 ms, every 10 ms, float64 [T] in dB below full scale.

    Each frame's mean is subtracted, so that a constant offset does not count as sound.
    """
    frames = sliding_window_view(samples, FRAME)[::SHIFT]
    # Block by block, because the variance takes a copy of the frames.
    blocks = (frames[first : first + BLOCK] for first in range(0, len(frames), BLOCK))
    power = np.concatenate([block.var(axis=1, dtype=np.float64) for block in blocks])
    return 10 * np.log10(np.maximum(power, 1e-12))


def _quality(
    name: str, samples: np.ndarray, channels: np.ndarray, channel: int
) -> tuple[float, tuple[str, ...]]:
    """Return the seconds of sound and the warnings."""
    level = levels(samples)
    loud, quiet = np.percentile(level, 99.5), np.percentile(level, 10)
    if loud < SILENT:
        rows = channels.T if len(channels) >= FRAME else ()
        loudest = [np.percentile(levels(row), 99.5) for row in rows]
        others = [number for number, level in enumerate(loudest) if level >= SILENT]
        fix = f"use channel {others[0]}" if others else "choose another microphone or recording"
        where = f" in channel {channel}" if channels.shape[1] > 1 else ""
        raise TidyVoiceError(f"{name} is silent{where}: {fix}")
    # Sound is louder than the pauses or, where there are no pauses, close to the loudest frames.
    edge = max(loud - 30, min(quiet + 6, loud - 6), SILENT)
    sound = float((level >= edge).sum() * SHIFT / SAMPLE_RATE)
    if sound < SHORTEST:
        seconds = len(samples) / SAMPLE_RATE
        raise TidyVoiceError(f"{name} holds {sound:.2f} s of sound in {seconds:.1f} s, {TOO_SHORT}")
    warnings = []
    if sound < FEW:
        warnings.append(f"{name} holds only {sound:.1f} s of sound: its scores are uncertain")
    size = np.abs(channels[:, channel])
    if (share := float((size >= 0.999 * max(size.max(), 0.5)).mean())) > CLIPPED:
        warnings.append(f"{name} is clipped ({share:.1%} of its samples): record at a lower level")
    if loud - quiet < STEADY:
        warnings.append(f"{name} has a constant level, like noise and unlike speech")
    return sound, tuple(warnings)
