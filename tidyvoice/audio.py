"""Decoding of audio files to 16-bit samples at 16 kHz, and checks of the files."""

import io
import math
import os
import shutil
import subprocess
import wave
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.headers import SAMPLE_RATE, has_header, wav_header
from tidyvoice.packages import install_command, installed_version
from tidyvoice.readahead import read_ahead

# Formats that ffmpeg may read: no playlists, through which one file makes it read others.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,"
    "mpegts,ogg,tta,voc,w64,wav,wv"
)
LARGEST = 2**31  # bytes from ffmpeg: 18 hours; a small file may hold weeks of silence
RESTORE = "restore it or prepare the data again"
FLOATS = ("FLOAT", "DOUBLE")
LOUDEST_FLOAT = 4.0  # overshoot allowed to floats; unscaled 16-bit samples lie above
BLOCK = 2**22  # samples decoded at once, so that a false length in a header takes no memory
# Samples that one byte may hold: FLAC stores 65,535 equal ones in about ten bytes.
MOST_SAMPLES = 2**13
UNSTATED = 2**63 - 1  # length of a FLAC without a length in its header


def read_pcm16(path: str | Path) -> np.ndarray:
    """Return all samples int16 [S] of an audio file's first channel, see ``read_part``."""
    return read_part(path)[0]


def read_part(path: str | Path, start: int = 0, count: int = -1) -> tuple[np.ndarray, int]:
    """Return samples int16 [count] of the first channel from ``start``, and their total number.

    Files that libsndfile reads are read by seeking. ffmpeg decodes and resamples others, such as
    the m4a files of VoxCeleb2. ``count`` is -1 for all samples up to the end; fewer are returned if
    the file ends before. For 0 only the header is read, but all of a file of floats, which may be
    no samples. A file that libsndfile reads must have 16 kHz.
    """
    _refuse_missing(path)
    with open(path, "rb") as file:
        plain = wav_header(file)
        # Nearly every file is plain, and libsndfile takes twice as long to read it.
        if plain and start < (total := plain[1] // 2):
            file.seek(plain[0] + 2 * start)
            wanted = total - start if count < 0 else min(count, total - start)
            return np.frombuffer(file.read(2 * wanted), "<i2"), total
    if not has_header(path):
        samples = np.ascontiguousarray(decoded_channels(path)[:, 0])
        return samples[start:][: samples.size if count < 0 else count], samples.size
    with reading(path, "audio file", RESTORE), soundfile.SoundFile(path) as file:
        if file.samplerate != SAMPLE_RATE:
            raise TidyVoiceError(f"{path} has {file.samplerate} Hz, not {SAMPLE_RATE}: resample it")
        if not file.frames:
            raise TidyVoiceError(f"{path} holds no sample: {RESTORE}")
        if file.format == "MP3":
            raise TidyVoiceError(f"{path} is an MP3: rename it to .mp3, which ffmpeg decodes")
        start, is_float = min(start, file.frames), file.subtype in FLOATS
        wanted = file.frames - start
        if count > 0 or (count == 0 and not is_float):
            wanted = min(count, wanted)
        if start:
            file.seek(start)
        samples = read_frames(file, wanted, "float32" if is_float else "int16")[:, 0]
        if is_float:  # libsndfile would round -1..1 to the integers -1, 0 and 1
            samples = np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
        return np.ascontiguousarray(samples), file.frames


def _refuse_missing(path: str | Path) -> None:
    """Raise a TidyVoiceError if the file is missing or empty, or a folder or a pipe."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        problem = "an empty file" if os.path.isfile(path) else "not a file"
        problem = f"is {problem if os.path.exists(path) else 'missing'}"
        raise TidyVoiceError(f"{path} {problem}: {RESTORE}")


def read_frames(file: soundfile.SoundFile, count: int, dtype: str) -> np.ndarray:
    """Return the next samples [count x C] of an open file, if they are there and plausible."""
    if file.frames > MOST_SAMPLES * os.path.getsize(file.name):
        raise TidyVoiceError(f"{file.name} states {file.frames:,} samples, too many: {RESTORE}")
    sizes = [min(BLOCK, count - done) for done in range(0, max(count, 1), BLOCK)]
    parts = [file.read(size, dtype, always_2d=True) for size in sizes]
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    if len(samples) < count:
        problem = f"is cut short: it has {len(samples):,} of {count:,} samples"
        raise TidyVoiceError(f"{file.name} {problem}: {RESTORE}")
    if file.subtype in FLOATS:
        check_floats(file.name, samples)
    return samples


def check_floats(name: object, samples: np.ndarray) -> None:
    """Raise a TidyVoiceError for NaN, infinity, and 16-bit samples stored as floats unscaled."""
    peak = max(float(samples.max(initial=0)), -float(samples.min(initial=0)))
    if not math.isfinite(peak):
        raise TidyVoiceError(f"{name}: some samples are NaN or infinite: write the file again")
    if peak > LOUDEST_FLOAT:
        raise TidyVoiceError(f"{name}: samples reach {peak:g}: divide 16-bit samples by 32768")


def inspect_audio(path: str, minimum: float = 0.0, decode: bool = False) -> tuple[float, str]:
    """Return the duration in seconds, and the problem of the file ("" if there is none).

    Without ``decode`` the duration is NaN if the file has to be decoded to find it.
    """
    try:
        if not decode and not has_header(path):
            _refuse_missing(path)
            return math.nan, ""
        seconds = read_part(path, 0, -1 if decode else 0)[1] / SAMPLE_RATE
    except TidyVoiceError as error:
        return 0.0, str(error)
    if seconds < minimum:
        return 0.0, f"{path} lasts {seconds:.3f} s, under the minimum {minimum} s"
    return seconds, ""


def measure(
    paths: Sequence[str], minimum: float = 0.0, decode: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Return the seconds of each file, float64 [N], and its problem ("" if there is none) [N]."""
    inspect = partial(inspect_audio, minimum=minimum, decode=decode)
    what = "decoding" if decode else "headers"
    with closing(read_ahead(inspect, paths, threads=8, ahead=64)) as results:
        rows = list(tqdm(results, what, len(paths), unit=" files", disable=None))
    return np.array([seconds for seconds, _ in rows]), [problem for _, problem in rows]


def decoded_channels(path: str | Path) -> np.ndarray:
    """Return the first audio stream as samples int16 [S x C] at 16 kHz, with ffmpeg."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise TidyVoiceError(f"{path} needs ffmpeg, which is not installed: apt install ffmpeg")
    # One thread each, because several files are decoded at once.
    command = [program, "-nostdin", "-v", "error", "-xerror", "-threads", "1"]
    command += ["-format_whitelist", FORMATS, "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-ar", str(SAMPLE_RATE), "-fs", str(LARGEST)]
    command += ["-f", "au", "-"]
    done = subprocess.run(command, capture_output=True)
    # The AU header has the number of channels and, unlike WAV, may leave the length open.
    start, channels = (int.from_bytes(done.stdout[at : at + 4], "big") for at in (4, 20))
    # ffmpeg reports a file that is cut short without a failure.
    if done.returncode or done.stderr or len(done.stdout) <= start:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"]
        if any("Format not on whitelist" in line for line in lines):
            lines.append("not a supported audio format")
        raise TidyVoiceError(f"{path} cannot be decoded ({lines[-1]}): restore it or leave it out")
    if len(done.stdout) >= LARGEST:
        raise TidyVoiceError(f"{path} decodes to {LARGEST:,} bytes or more: cut it into pieces")
    with reading(path, "audio file", RESTORE):
        samples = np.frombuffer(done.stdout, ">i2", offset=start).reshape(-1, channels)
    return samples.astype(np.int16)


def wav_bytes(samples: np.ndarray) -> bytes:
    """Return a WAV file with samples int16 [S]."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, samples.size, "NONE", ""))
        file.writeframes(samples.tobytes())
    return content.getvalue()


def load_torchaudio() -> ModuleType:
    """Import torchaudio, which only resampling needs; raise a TidyVoiceError if that fails."""
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        versions = [f"{name} {installed_version(name)}" for name in ("torch", "torchaudio")]
        raise TidyVoiceError(
            f"resampling needs torchaudio, which cannot be imported with {' and '.join(versions)} "
            f"({' '.join(str(error).split())}). In the repository, run: {install_command()}"
        ) from None
    return torchaudio
