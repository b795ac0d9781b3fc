"""Decoding of audio files to 16-bit samples at 16 kHz."""

import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE, has_header
from tidyvoice.packages import install_command, installed_version

WAV_HEADER = struct.Struct("<4sI4s 4sIHHIIHH 4sI")
# PCM, channels, rate, bytes a second, bytes a frame, bits a sample.
PLAIN_FORMAT = (1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
AU_HEADER = struct.Struct(">4sIIIII")
# Formats that ffmpeg may read: no playlists, through which one file makes it read others.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,"
    "mpegts,ogg,tta,voc,w64,wav,wv"
)


def read_pcm16(path: str | Path) -> np.ndarray:
    """Return the samples int16 [S] of an audio file's first channel.

    ffmpeg decodes and resamples what libsndfile does not read, such as the m4a files of VoxCeleb2.

    Raises:
        TidyVoiceError: the file is missing, unreadable, empty, or (if libsndfile reads it) not at
            16 kHz; or ffmpeg is needed and not installed.
    """
    if not os.path.exists(path):
        raise TidyVoiceError(f"{path} is missing: restore it or prepare the data again")
    if not has_header(path):
        return decoded(path)
    plain = _plain_samples(path)
    if plain is not None:
        return plain
    samples, _ = _read(path)
    if not samples.size:
        raise TidyVoiceError(f"{path} holds no sample: restore it or prepare the data again")
    return samples


def read_part(path: str | Path, start: int, count: int) -> tuple[np.ndarray, int]:
    """Return samples int16 [count] of the first channel from ``start``, and their total number.

    Files that libsndfile reads are read by seeking; others are decoded as a whole. At the end of
    the file fewer samples are returned.

    Raises:
        TidyVoiceError: see ``read_pcm16``.
    """
    if not os.path.exists(path):
        raise TidyVoiceError(f"{path} is missing: restore it or prepare the data again")
    if not has_header(path):
        samples = decoded(path)
        return samples[start : start + count], samples.size
    return _read(path, start, count)


def _read(path: str | Path, start: int = 0, count: int = -1) -> tuple[np.ndarray, int]:
    """Return samples int16 of the first channel, and their total number, with libsndfile."""
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != SAMPLE_RATE:
                raise TidyVoiceError(
                    f"{path} has {file.samplerate} Hz, expected {SAMPLE_RATE}: resample it"
                )
            total = file.frames
            if start:
                file.seek(min(start, total))
            return _first_channel(file, count), total
    except soundfile.LibsndfileError as error:
        raise TidyVoiceError(
            f"{path} cannot be read as audio ({error.error_string.strip()}): restore it or "
            "prepare the data again"
        ) from None


def _first_channel(file: soundfile.SoundFile, count: int) -> np.ndarray:
    """Read contiguous samples int16 [count] from an open file (-1: to its end)."""
    if file.subtype in ("FLOAT", "DOUBLE"):
        # libsndfile would round -1..1 to the integers -1, 0 and 1.
        samples = file.read(count, dtype="float32", always_2d=True)[:, 0]
        return np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
    return np.ascontiguousarray(file.read(count, dtype="int16", always_2d=True)[:, 0])


def _plain_samples(path: str | Path) -> np.ndarray | None:
    """Return the samples int16 [S] of a complete 16-bit mono WAV at 16 kHz; None for other files.

    Nearly every file is of this kind, and its samples need no decoding.
    """
    with open(path, "rb") as file:
        head = file.peek(12)[:12]
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        # A bytearray, because torch warns of read-only samples.
        content = bytearray(os.fstat(file.fileno()).st_size)
        file.readinto(content)
    start, plain = 12, False
    while start + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, start)
        start += 8
        if kind == b"fmt " and length == 16 and start + 16 <= len(content):
            plain = struct.unpack_from("<HHIIHH", content, start) == PLAIN_FORMAT
        elif kind == b"data":
            whole = 0 < length <= len(content) - start and length % 2 == 0
            return np.frombuffer(content, "<i2", length // 2, start) if plain and whole else None
        start += length + length % 2
    return None


def decoded(path: str | Path) -> np.ndarray:
    """Return the first channel as samples int16 [S] at 16 kHz, with ffmpeg."""
    return np.frombuffer(_converted(path, "-af", "pan=mono|c0=c0", "-f", "s16le"), dtype="<i2")


def decoded_channels(path: str | Path) -> np.ndarray:
    """Return all channels as samples int16 [S x C] at 16 kHz, with ffmpeg."""
    # The AU header has the number of channels and, unlike WAV, may leave the length open.
    content = _converted(path, "-f", "au")
    _, start, _, _, _, channels = AU_HEADER.unpack_from(content)
    return np.frombuffer(content, ">i2", offset=start).reshape(-1, channels).astype(np.int16)


def _converted(path: str | Path, *output: str) -> bytes:
    """Convert the first audio stream of a file to 16 kHz, with ffmpeg."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise TidyVoiceError(f"{path} needs ffmpeg, which is not installed: apt install ffmpeg")
    # One thread each, because several files are decoded at once.
    command = [program, "-nostdin", "-v", "error", "-xerror", "-threads", "1"]
    command += ["-format_whitelist", FORMATS, "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-ar", str(SAMPLE_RATE), *output, "-"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no audio in it"]
        if any("Format not on whitelist" in line for line in lines):
            lines.append("not a supported audio format")
        raise TidyVoiceError(f"{path} cannot be decoded ({lines[-1]}): restore it or leave it out")
    return done.stdout


def wav_header(samples: int) -> bytes:
    """Return the 44-byte header of a 16-bit mono WAV at 16 kHz."""
    size = 2 * samples
    return WAV_HEADER.pack(
        b"RIFF", WAV_HEADER.size - 8 + size, b"WAVE",
        b"fmt ", 16, *PLAIN_FORMAT,
        b"data", size,
    )  # fmt: skip


def wav_bytes(samples: np.ndarray) -> bytes:
    """Return a WAV file with samples int16 [S]."""
    return wav_header(samples.size) + samples.astype("<i2", copy=False).tobytes()


def load_torchaudio() -> ModuleType:
    """Import torchaudio, which only resampling needs.

    Raises:
        TidyVoiceError: torchaudio is missing or does not match torch.
    """
    try:
        import torchaudio
    except (ImportError, OSError, RuntimeError) as error:
        installed = " and ".join(
            f"{name} {installed_version(name)}" for name in ("torch", "torchaudio")
        )
        raise TidyVoiceError(
            f"resampling needs torchaudio, which cannot be imported with {installed} "
            f"({' '.join(str(error).split())}). In the repository, run: {install_command()}"
        ) from None
    return torchaudio
