"""Headers of audio files: rate, duration, and whether a file is whole, without decoding it."""

import math
import os
import struct
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from tidyvoice.readahead import read_ahead

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0  # waveforms lie in -1..1
# What libsndfile reads: the header tells rate and duration. The others take a decoder.
WITH_HEADER = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
# What stands for a length where the writer could not go back to fill it in.
UNKNOWN = (0, 0xFFFFFFFF)


def has_header(path: str | Path) -> bool:
    """Whether libsndfile reads files of this name."""
    return os.path.splitext(path)[1].lower() in WITH_HEADER


def inspect_audio(path: str, rate: int = SAMPLE_RATE, minimum: float = 0.0) -> tuple[float, str]:
    """Duration in seconds from the header, and what is wrong with the file ("" if nothing).

    The duration of what only a decoder can read is NaN.
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
    if info.samplerate != rate:
        return info.duration, f"{path} has {info.samplerate} Hz, expected {rate}: resample it"
    if info.frames == 0 or info.duration < minimum:
        return info.duration, f"{path} lasts {info.duration:.3f} s, under the minimum {minimum} s"
    return info.duration, cut_short(path)


def cut_short(path: str) -> str:
    """That a WAV ends before its samples do, which libsndfile passes over; "" if it does not."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return ""
        while len(header := file.read(8)) == 8:
            kind, length = struct.unpack("<4sI", header)
            if kind == b"data":
                lacking = file.tell() + length - size
                if length in UNKNOWN or lacking <= 0:
                    return ""
                return f"{path} is cut short by {lacking:,} of {length:,} bytes: restore it"
            file.seek(length + length % 2, os.SEEK_CUR)
    return ""


def measure(
    paths: Sequence[str], minimum: float = 0.0, threads: int = 8
) -> tuple[np.ndarray, list[str]]:
    """Seconds of each file, float64 [N], and one line for each file that is missing or unfit."""
    inspect: Callable[[str], tuple[float, str]] = partial(inspect_audio, minimum=minimum)
    with closing(read_ahead(inspect, paths, threads, ahead=64)) as results:
        seconds, problems = np.empty(len(paths)), []
        for number, found in enumerate(
            tqdm(results, "headers", len(paths), unit=" files", disable=None)
        ):
            seconds[number], problem = found
            problems += [problem] if problem else []
    return seconds, problems
