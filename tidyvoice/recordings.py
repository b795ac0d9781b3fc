"""Recordings of any rate, channels and format, judged before a voice is read into them.

An embedding of silence is as long as that of a voice, and says nothing. What holds no voice is an
error here, what holds little of one is said.
"""

import shutil
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile

from tidyvoice.audio import decoded_channels, load_torchaudio
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE, cut_short

SHORTEST = 0.3  # seconds, of the recording and of the sound in it
FEW = 1.0  # seconds of sound, below which scores are known to suffer
SILENT = -65.0  # dB below full scale, a level that 16 bits just hold
STEADY = 6.0  # dB between pauses and sound; voices have more even in noise
CLIPPED = 0.005  # share of the samples at the very top
LOUDEST_FLOAT = 4.0  # what a float recording may overshoot; 16-bit numbers as floats are above
FRAME, SHIFT = 400, 160  # samples of 25 ms and 10 ms
BLOCK = 4096  # frames whose sums are held at once
TOP = 0.999


@dataclass(frozen=True)
class Recording:
    """What was recorded, as the models take it.

    Attributes:
        name: its path, or what it is called in messages.
        samples: float32 [S] in -1..1, one channel at 16 kHz.
        sound_seconds: how much of it is louder than its pauses.
        warnings: what makes it a poor witness, a line each.

    Example:
        >>> recording = Recording.load("ann-1.wav")
        >>> recording.seconds > 2, recording.warnings
        (True, ())
    """

    name: str
    samples: np.ndarray
    sound_seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @classmethod
    def load(
        cls,
        source: "str | Path | np.ndarray | Recording",
        sample_rate: int | None = None,
        channel: int = 1,
        name: str = "the recording",
    ) -> "Recording":
        """Read, resample to 16 kHz, and judge.

        Args:
            source: a file that libsndfile or ffmpeg reads, or samples: [S], or two-dimensional
                with the channels on the shorter side; floats in -1..1, or integers of 8, 16 or 32
                bits, of which the type's ends are full scale.
            sample_rate: of samples, in whole Hz; a file knows its own.
            channel: which one is taken, from 1 on. The first, as in the published recipe.
            name: of samples, in messages.

        Raises:
            TidyVoiceError: a file is missing or cannot be read, no such channel, samples without a
                rate or out of range; it lasts less than 0.3 s, is silent, or holds less than 0.3 s
                of sound.

        Example:
            >>> import numpy as np
            >>> Recording.load(np.zeros(48000), sample_rate=48000)
            Traceback (most recent call last):
            tidyvoice.errors.TidyVoiceError: the recording is silent: choose another microphone...
        """
        if isinstance(source, Recording):
            return source
        if isinstance(source, (str, Path)):
            name = str(source)
            if sample_rate is not None:
                raise TidyVoiceError(f"{name}: a file knows its rate; leave sample_rate out")
            samples, sample_rate = _read(Path(source))
        else:
            samples = _channels(np.asarray(source), name)
            if sample_rate is None or sample_rate < 1 or not float(sample_rate).is_integer():
                raise TidyVoiceError(
                    f"{name}: give sample_rate, the rate of its samples in whole Hz"
                )
        if not 1 <= channel <= samples.shape[1]:
            raise TidyVoiceError(
                f"{name}: there is no channel {channel} (channels: {samples.shape[1]})"
            )
        if len(samples) < SHORTEST * sample_rate:
            raise TidyVoiceError(
                f"{name} lasts {len(samples) / sample_rate:.2f} s, too short to identify "
                f"a speaker: record {3 * FEW:g} s or more"
            )
        taken = resampled(np.ascontiguousarray(samples[:, channel - 1]), int(sample_rate))
        return cls(name, taken, *_judged(name, taken, samples, channel))


def _read(path: Path) -> tuple[np.ndarray, int]:
    """Samples float32 [S x C] of a file, and their rate."""
    if not path.exists():
        raise TidyVoiceError(f"{path}: no such file")
    if path.is_dir():
        raise TidyVoiceError(f"{path} is a folder: give a file of sound")
    try:
        with soundfile.SoundFile(path) as file:
            samples, rate = file.read(dtype="float32", always_2d=True), file.samplerate
            if file.subtype not in ("FLOAT", "DOUBLE"):
                # Decoders of mp3 and ogg overshoot where the recording was clipped.
                np.clip(samples, -1, 1, out=samples)
    except soundfile.LibsndfileError as error:
        # What it does not know it calls a format error; ffmpeg knows more of them.
        if shutil.which("ffmpeg") is None:
            said = error.error_string.strip().rstrip(".")
            raise TidyVoiceError(
                f"{path} cannot be read ({said}), and ffmpeg, which reads more formats, is not "
                "installed: apt install ffmpeg"
            ) from None
        return decoded_channels(path) / np.float32(32768), SAMPLE_RATE
    if problem := cut_short(str(path)):
        raise TidyVoiceError(problem)
    _demand_finite(str(path), samples)
    return samples, rate


def _demand_finite(name: str, samples: np.ndarray) -> None:
    if not np.isfinite(samples).all():
        raise TidyVoiceError(f"{name}: some samples are NaN or infinite: look at how it was made")


def _channels(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples float32 [S x C], whichever way they lay."""
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iuf" or samples.size == 0:
        raise TidyVoiceError(
            f"{name}: {samples.dtype} of shape {samples.shape} are no samples: give numbers, one "
            "or two-dimensional"
        )
    if samples.dtype.kind in "iu":
        if samples.dtype.itemsize > 4:
            raise TidyVoiceError(
                f"{name}: {samples.dtype} does not tell what full scale is: give int16, int32 or "
                "floats"
            )
        middle = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = samples / middle - (1.0 if samples.dtype.kind == "u" else 0.0)
    samples = samples.astype(np.float32)
    _demand_finite(name, samples)
    if np.abs(samples).max() > LOUDEST_FLOAT:
        raise TidyVoiceError(
            f"{name}: samples reach {np.abs(samples).max():g}; floats lie in -1..1, so divide 16-"
            "bit ones by 32768"
        )
    if samples.ndim == 1:
        return samples[:, None]
    return samples if samples.shape[0] > samples.shape[1] else samples.T


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples float32 [S] at 16 kHz."""
    if rate == SAMPLE_RATE:
        return samples
    # Imported here: most recordings do without it.
    import torch

    common = gcd(rate, SAMPLE_RATE)
    with torch.inference_mode():
        waveform = load_torchaudio().functional.resample(
            torch.from_numpy(samples), rate // common, SAMPLE_RATE // common
        )
    return waveform.numpy()


def levels(samples: np.ndarray) -> np.ndarray:
    """Level of each frame of 25 ms, every 10 ms, float64 [T], in dB below full scale.

    Each frame's mean is left out of it, so that an offset of the microphone is no sound.
    """
    level = np.empty(max(0, (len(samples) - FRAME) // SHIFT + 1))
    for first in range(0, len(level), BLOCK):
        last = min(first + BLOCK, len(level))
        block = samples[first * SHIFT : (last - 1) * SHIFT + FRAME]
        level[first:last] = _block_levels(block)
    return level


def _block_levels(samples: np.ndarray) -> np.ndarray:
    """The levels of few samples, whose running sums take 16 bytes each."""
    sums = np.cumsum(np.concatenate([[0.0], samples]), dtype=np.float64)
    squares = np.cumsum(np.concatenate([[0.0], np.square(samples, dtype=np.float64)]))
    starts = np.arange(0, len(samples) - FRAME + 1, SHIFT)
    mean = (sums[starts + FRAME] - sums[starts]) / FRAME
    power = (squares[starts + FRAME] - squares[starts]) / FRAME - mean**2
    return 10 * np.log10(np.maximum(power, 1e-12))


def _judged(
    name: str, samples: np.ndarray, channels: np.ndarray, channel: int
) -> tuple[float, tuple[str, ...]]:
    """Seconds of sound, and what is to be said against the recording."""
    level = levels(samples)
    loud, quiet = np.percentile(level, 99.5), np.percentile(level, 10)
    if loud < SILENT:
        other = [c + 1 for c in range(channels.shape[1]) if _loudest(channels[:, c]) >= SILENT]
        mend = f"take channel {other[0]}" if other else "choose another microphone or recording"
        where = f" in channel {channel}" if channels.shape[1] > 1 else ""
        raise TidyVoiceError(f"{name} is silent{where}: {mend}")
    # Sound is what rises out of the pauses, or, where there are none, what is near the loudest.
    edge = max(loud - 30, min(quiet + 6, loud - 6), SILENT)
    sound = float((level >= edge).sum() * SHIFT / SAMPLE_RATE)
    seconds = len(samples) / SAMPLE_RATE
    if sound < SHORTEST:
        raise TidyVoiceError(
            f"{name} holds {sound:.2f} s of sound in {seconds:.1f} s, too short to "
            f"identify a speaker: record {3 * FEW:g} s of speech or more"
        )
    said = []
    if sound < FEW:
        said.append(f"{name} holds only {sound:.1f} s of sound: scores of it are uncertain")
    top = np.abs(channels[:, channel - 1]) >= TOP * max(np.abs(channels[:, channel - 1]).max(), 0.5)
    if (share := float(top.mean())) > CLIPPED:
        said.append(f"{name} is clipped ({share:.1%} of its samples): record it less loudly")
    if loud - quiet < STEADY:
        said.append(f"{name} has one level throughout, as noise has and speech has not")
    return sound, tuple(said)


def _loudest(samples: np.ndarray) -> float:
    return float(np.percentile(levels(samples), 99.5)) if len(samples) >= FRAME else -np.inf
