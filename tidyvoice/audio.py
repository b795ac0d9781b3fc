"""Decoding of audio files to 16-bit samples at 16 kHz, and checks of the files."""

import io
import math
import os
import shutil
import subprocess
import wave
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
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
RESTORE = "restore it or prepare the data again"
FLOATS = ("FLOAT", "DOUBLE")
LOUDEST_FLOAT = 4.0  # overshoot allowed to floats; unscaled 16-bit samples lie above
BLOCK = 2**22  # samples decoded at once, so that a false length in a header takes no memory
# Samples that one byte may hold: FLAC stores 65,535 equal ones in about ten bytes.
MOST_SAMPLES = 2**13
UNSTATED = 2**63 - 1  # length of a FLAC without a length in its header
MP3_ERROR = 2304  # samples by which the length of an MP3 without a length in its header is wrong


def read_pcm16(path: str | Path) -> np.ndarray:
    """Return all samples int16 [S] of an audio file's first channel, see ``read_part``."""
    return read_part(path)[0]


def read_part(path: str | Path, start: int = 0, count: int = -1) -> tuple[np.ndarray, int]:
    """Return samples int16 [count] of the first channel from ``start``, and their total number.

    Files that libsndfile reads are read by seeking. ffmpeg decodes and resamples others, such as
    the m4a files of VoxCeleb2. ``count`` is -1 for all samples up to the end; fewer are returned if
    the file ends before. A file that libsndfile reads must have 16 kHz.
    """
    if not os.path.isfile(path):
        problem = "is not a file" if os.path.exists(path) else "is missing"
        raise TidyVoiceError(f"{path} {problem}: {RESTORE}")
    with open(path, "rb") as file:
        wav = wav_header(file)
        # Nearly every file is plain, and libsndfile takes twice as long to read it.
        if wav and wav.plain and start < (total := wav.length // 2):
            file.seek(wav.start + 2 * start)
            wanted = total - start if count < 0 else min(count, total - start)
            return np.frombuffer(file.read(2 * wanted), "<i2"), total
    if not has_header(path):
        samples = np.ascontiguousarray(decoded_channels(path)[:, 0])
        return samples[start:][: samples.size if count < 0 else count], samples.size
    with _audio(path), soundfile.SoundFile(path) as file:
        if file.samplerate != SAMPLE_RATE:
            raise TidyVoiceError(
                f"{path} has {file.samplerate} Hz, expected {SAMPLE_RATE}: resample it"
            )
        if not file.frames:
            raise TidyVoiceError(f"{path} holds no sample: {RESTORE}")
        start = min(start, file.frames)
        wanted = file.frames - start if count < 0 else min(count, file.frames - start)
        kind = "float32" if file.subtype in FLOATS else "int16"
        samples = read_frames(file, start, wanted, kind)[:, 0]
        if kind == "float32":  # libsndfile would round -1..1 to the integers -1, 0 and 1
            samples = np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
        return np.ascontiguousarray(samples), file.frames


@contextmanager
def _audio(path: str | Path) -> Iterator[None]:
    """Turn an error of libsndfile into a TidyVoiceError that names the file."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip()
        raise TidyVoiceError(f"{path} cannot be read as audio ({reason}): {RESTORE}") from None


def read_frames(file: soundfile.SoundFile, start: int, count: int, dtype: str) -> np.ndarray:
    """Return samples [count x C] of an open file from ``start``.

    A file that holds fewer than its header says, and floats that are no samples, are a
    TidyVoiceError.
    """
    if file.frames > MOST_SAMPLES * os.path.getsize(file.name):
        raise TidyVoiceError(
            f"{file.name} has a header of {file.frames:,} samples, too many for its size: {RESTORE}"
        )
    sizes = [min(BLOCK, count - done) for done in range(0, max(count, 1), BLOCK)]
    with _audio(file.name):
        if start:
            file.seek(start)
        parts = [file.read(size, dtype, always_2d=True) for size in sizes]
    samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
    error = MP3_ERROR if file.subtype.startswith("MPEG") else 0
    if len(samples) + error < count:
        raise TidyVoiceError(
            f"{file.name} is cut short: only {len(samples):,} of {count:,} samples from sample "
            f"{start:,} could be decoded: {RESTORE}"
        )
    if file.subtype in FLOATS:
        check_floats(file.name, samples)
    return samples


def check_floats(name: object, samples: np.ndarray) -> None:
    """Raise a TidyVoiceError for NaN, infinity, and 16-bit samples stored as floats unscaled."""
    peak = float(np.abs(samples).max(initial=0))
    if not math.isfinite(peak):
        raise TidyVoiceError(f"{name}: some samples are NaN or infinite: write the file again")
    if peak > LOUDEST_FLOAT:
        fix = "divide 16-bit samples by 32768"
        raise TidyVoiceError(f"{name}: samples reach {peak:g}, but floats lie in -1..1: {fix}")


def inspect_audio(path: str, minimum: float = 0.0, decode: bool = False) -> tuple[float, str]:
    """Return the duration in seconds, and the problem of the file ("" if there is none).

    The duration is NaN if the file has to be decoded to find it. With ``decode`` every file is,
    otherwise only floats, because only their values show whether they are samples.
    """
    if not os.path.isfile(path):
        return 0.0, f"{path} is {'not a file' if os.path.exists(path) else 'missing'}"
    if os.path.getsize(path) == 0:
        return 0.0, f"{path} is an empty file"
    try:
        with open(path, "rb") as file:
            wav = wav_header(file)
        rate = SAMPLE_RATE
        if decode:
            frames = read_part(path)[1]
        elif wav and wav.plain:
            frames = wav.length // 2
        elif not has_header(path):
            return math.nan, ""
        else:
            with _audio(path), soundfile.SoundFile(path) as file:
                rate, frames = file.samplerate, file.frames
                read_frames(file, 0, frames if file.subtype in FLOATS else 0, "float32")
    except TidyVoiceError as error:
        return 0.0, str(error)
    if rate != SAMPLE_RATE:
        return 0.0, f"{path} has {rate} Hz, expected {SAMPLE_RATE}. Resample it"
    seconds = frames / rate
    if frames == 0 or seconds < minimum:
        return 0.0, f"{path} lasts {seconds:.3f} s, under the minimum {minimum} s"
    return seconds, ""


def measure(
    paths: Sequence[str], minimum: float = 0.0, decode: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Return the seconds of each file, float64 [N], and its problem ("" if there is none) [N]."""
    inspect = partial(inspect_audio, minimum=minimum, decode=decode)
    with closing(read_ahead(inspect, paths, threads=8, ahead=64)) as results:
        what = "decoded" if decode else "headers"
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
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-ar", str(SAMPLE_RATE), "-f", "au", "-"]
    done = subprocess.run(command, capture_output=True)
    # The AU header has the number of channels and, unlike WAV, may leave the length open.
    start, channels = (int.from_bytes(done.stdout[at : at + 4], "big") for at in (4, 20))
    if done.returncode or len(done.stdout) <= start:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"]
        if any("Format not on whitelist" in line for line in lines):
            lines.append("not a supported audio format")
        raise TidyVoiceError(f"{path} cannot be decoded ({lines[-1]}): restore it or leave it out")
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
