"""Audio files as samples at the rate that the models take."""

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
# What ffmpeg may read. It also knows playlists, by which a file has others read in its place.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,gsm,matroska,mov,mp3,mpeg,"
    "mpegts,ogg,tta,voc,w64,wav,wv"
)


def read_pcm16(path: str | Path) -> np.ndarray:
    """Samples int16 [S] of an audio file's first channel.

    What libsndfile does not read, such as the m4a files of VoxCeleb2, is decoded by ffmpeg, which
    also resamples it; a WAV at another rate than 16 kHz is refused.

    Raises:
        TidyVoiceError: the file is missing, unreadable, empty, or not at 16 kHz; there is no
            ffmpeg.
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
    """Samples int16 [count] of a file's first channel from ``start``, and how many it has in all.

    The file is read by seeking; what only ffmpeg reads is decoded whole. Fewer samples are
    returned where the file ends before.

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
    """What libsndfile reads: samples int16 of the first channel, and how many there are in all."""
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
    """Samples int16 [count] of an open file from where it stands (-1: all of it), contiguous."""
    if file.subtype in ("FLOAT", "DOUBLE"):
        # libsndfile would cut -1..1 down to the integers in it.
        samples = file.read(count, dtype="float32", always_2d=True)[:, 0]
        return np.rint(samples * 32768).clip(-32768, 32767).astype("<i2")
    return np.ascontiguousarray(file.read(count, dtype="int16", always_2d=True)[:, 0])


def _plain_samples(path: str | Path) -> np.ndarray | None:
    """Samples int16 [S] of a whole 16-bit, mono WAV at 16 kHz; None if it is anything else.

    Nearly every file is one, and is its samples: decoding would only copy them.
    """
    with open(path, "rb") as file:
        head = file.peek(12)[:12]
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        # Not bytes: samples that cannot be written to are what torch warns of.
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
    """Samples int16 [S] at 16 kHz of the first channel of what ffmpeg reads in ``FORMATS``."""
    return np.frombuffer(_converted(path, "-af", "pan=mono|c0=c0", "-f", "s16le"), dtype="<i2")


def decoded_channels(path: str | Path) -> np.ndarray:
    """The same of all channels, int16 [S x C]."""
    # AU, because its header says how many there are, and need not say how many samples.
    content = _converted(path, "-f", "au")
    _, start, _, _, _, channels = AU_HEADER.unpack_from(content)
    return np.frombuffer(content, ">i2", offset=start).reshape(-1, channels).astype(np.int16)


def _converted(path: str | Path, *output: str) -> bytes:
    """What ffmpeg makes of the first audio stream of a file, at 16 kHz."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise TidyVoiceError(f"{path} needs ffmpeg, which is not installed: apt install ffmpeg")
    # Several files are decoded at once, so that each gets one thread.
    command = [program, "-nostdin", "-v", "error", "-xerror", "-threads", "1"]
    command += ["-format_whitelist", FORMATS, "-protocol_whitelist", "file,pipe"]
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-ar", str(SAMPLE_RATE), *output, "-"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        if any("Format not on whitelist" in line for line in said):
            said.append("no format of sound that is read here")
        raise TidyVoiceError(
            f"{path} cannot be decoded ({said[-1] if said else 'no audio in it'}): restore it or "
            "leave it out"
        )
    return done.stdout


def wav_header(samples: int) -> bytes:
    """The 44 bytes before the samples of a 16-bit, mono WAV at 16 kHz."""
    size = 2 * samples
    return WAV_HEADER.pack(
        b"RIFF", WAV_HEADER.size - 8 + size, b"WAVE",
        b"fmt ", 16, *PLAIN_FORMAT,
        b"data", size,
    )  # fmt: skip


def wav_bytes(samples: np.ndarray) -> bytes:
    """A WAV file of int16 [S] samples: its header of 44 bytes, and they."""
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
