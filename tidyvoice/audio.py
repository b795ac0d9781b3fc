"""Decoding of audio files to 16-bit samples at 16 kHz."""

import io
import os
import shutil
import subprocess
import wave
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE, has_header
from tidyvoice.packages import install_command, installed_version

# Formats that ffmpeg may read: no playlists, through which one file makes it read others.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,"
    "mpegts,ogg,tta,voc,w64,wav,wv"
)
LARGEST = 2**31  # bytes from ffmpeg: 18 hours; a small file may hold weeks of silence
RESTORE = "restore it or prepare the data again"


def read_pcm16(path: str | Path) -> np.ndarray:
    """Return all samples int16 [S] of an audio file's first channel, see ``read_part``."""
    return read_part(path)[0]


def read_part(path: str | Path, start: int = 0, count: int = -1) -> tuple[np.ndarray, int]:
    """Return samples int16 [count] of the first channel from ``start``, and their total number.

    Files that libsndfile reads are read by seeking. ffmpeg decodes and resamples others, such as
    the m4a files of VoxCeleb2. ``count`` is -1 for all samples up to the end; fewer are returned if
    the file ends before. A file that libsndfile reads must have 16 kHz.
    """
    if not os.path.exists(path):
        raise TidyVoiceError(f"{path} is missing: {RESTORE}")
    if (plain := _plain_part(path, start, count)) is not None:
        return plain
    if not has_header(path):
        samples = np.ascontiguousarray(decoded_channels(path)[:, 0])
        return samples[start:][: samples.size if count < 0 else count], samples.size
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != SAMPLE_RATE:
                raise TidyVoiceError(
                    f"{path} has {file.samplerate} Hz, expected {SAMPLE_RATE}: resample it"
                )
            if not file.frames:
                raise TidyVoiceError(f"{path} holds no sample: {RESTORE}")
            if start:
                file.seek(min(start, file.frames))
            kind = "float32" if file.subtype in ("FLOAT", "DOUBLE") else "int16"
            samples = file.read(count, dtype=kind, always_2d=True)[:, 0]
            if kind == "float32":  # libsndfile would round -1..1 to the integers -1, 0 and 1
                samples = np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
            return np.ascontiguousarray(samples), file.frames
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip()
        raise TidyVoiceError(f"{path} cannot be read as audio ({reason}): {RESTORE}") from None


def _plain_part(path: str | Path, start: int, count: int) -> tuple[np.ndarray, int] | None:
    """Read a part of a complete 16-bit mono WAV at 16 kHz; None for another file.

    Nearly every file is of this kind, and libsndfile takes twice as long to read it.
    """
    try:
        with wave.open(str(path)) as file:
            total = file.getnframes()
            if file.getparams()[:3] != (1, 2, SAMPLE_RATE) or start >= total:
                return None
            file.setpos(start)
            wanted = total - start if count < 0 else min(count, total - start)
            samples = np.frombuffer(file.readframes(wanted), "<i2")
            return (samples, total) if samples.size == wanted else None
    except (wave.Error, EOFError):
        return None


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
    if done.returncode or len(done.stdout) <= start:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"]
        if any("Format not on whitelist" in line for line in lines):
            lines.append("not a supported audio format")
        raise TidyVoiceError(f"{path} cannot be decoded ({lines[-1]}): restore it or leave it out")
    if len(done.stdout) >= LARGEST:
        raise TidyVoiceError(f"{path} decodes to {LARGEST:,} bytes or more: cut it into pieces")
    return np.frombuffer(done.stdout, ">i2", offset=start).reshape(-1, channels).astype(np.int16)


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
