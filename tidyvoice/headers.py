"""Headers of audio files: sample rate, duration and completeness, without decoding the file."""

import math
import os
import struct
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from tidyvoice.readahead import read_ahead

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0  # waveforms lie in -1..1
# libsndfile reads these formats and finds rate and duration in the header.
WITH_HEADER = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
# Lengths in the header of a WAV whose writer could not go back to fill them in.
UNKNOWN = (0, 0xFFFFFFFF)


def has_header(path: str | Path) -> bool:
    """Return True if libsndfile reads files of this name."""
    return os.path.splitext(path)[1].lower() in WITH_HEADER


def inspect_audio(path: str, minimum: float = 0.0) -> tuple[float, str]:
    """Return the duration in seconds, and the problem of the file ("" if there is none).

    The duration is NaN if the file has to be decoded to find it.
    """
    if not os.path.exists(path):
        return 0.0, f"{path} is missing"
    if os.path.getsize(path) == 0:
        return 0.0, f"{path} is an empty file"
    if not has_header(path):
        return math.nan, ""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        return 0.0, f"{path} cannot be read as audio ({error.error_string.strip()})"
    if info.samplerate != SAMPLE_RATE:
        return 0.0, f"{path} has {info.samplerate} Hz, expected {SAMPLE_RATE}. Resample it"
    if info.frames == 0 or info.duration < minimum:
        return 0.0, f"{path} lasts {info.duration:.3f} s, under the minimum {minimum} s"
    return info.duration, cut_short(path)


def cut_short(path: str) -> str:
    """Describe how much of a WAV's samples is missing at its end; "" if none.

    libsndfile reads such a file without an error.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return ""
        while len(header := file.read(8)) == 8:
            kind, length = struct.unpack("<4sI", header)
            if kind == b"data":
                missing = file.tell() + length - size
                if length in UNKNOWN or missing <= 0:
                    return ""
                return f"{path} is cut short by {missing:,} of {length:,} bytes. Restore it"
            file.seek(length + length % 2, os.SEEK_CUR)
    return ""


def measure(paths: Sequence[str], minimum: float = 0.0) -> tuple[np.ndarray, list[str]]:
    """Return the seconds of each file, float64 [N], and its problem ("" if there is none) [N]."""
    inspect = partial(inspect_audio, minimum=minimum)
    with closing(read_ahead(inspect, paths, threads=8, ahead=64)) as results:
        rows = list(tqdm(results, "headers", len(paths), unit=" files", disable=None))
    return np.array([seconds for seconds, _ in rows]), [problem for _, problem in rows]
