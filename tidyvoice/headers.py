"""Headers of audio files: the sizes that a WAV states, compared with each other and the file's."""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from tidyvoice.errors import TidyVoiceError

SAMPLE_RATE = 16000
INT16_SCALE = 32768.0  # waveforms lie in -1..1
# libsndfile reads these formats and finds rate and duration in the header. Of an MP3 it guesses the
# duration from the bit rate of the first frame.
WITH_HEADER = frozenset({".wav", ".flac", ".ogg", ".opus"})
# Lengths in the header of a WAV whose writer could not go back to fill them in; one is SoX's.
UNKNOWN = (0, 0x7FFFF000, 0xFFFFFFFF)
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # formats of a WAV's samples
MOST_CHUNKS = 1000  # before the samples; zeros in place of a header would be millions


def has_header(path: str | Path) -> bool:
    """Return True for names of ``WITH_HEADER``."""
    return os.path.splitext(path)[1].lower() in WITH_HEADER


def wav_header(file: BinaryIO) -> tuple[int, int] | None:
    """Check the header of a RIFF, RF64 or W64 file, and the end of an Ogg file.

    Return start and length of the samples in bytes if they are 16 bits, mono, at 16 kHz, else None.
    A file that is shorter than its header says, and sizes that contradict each other, which
    libsndfile would read without an error, are a TidyVoiceError.
    """
    begin, fmt, of_rf64 = file.read(40), b"", 0
    size = os.fstat(file.fileno()).st_size
    if begin[:4] in (b"RIFF", b"RF64") and begin[8:12] == b"WAVE":
        layout, in_length, alignment, place = "<4sI", 0, 2, 12
    elif begin[:4] == b"riff" and begin[24:28] == b"wave":
        # The length of a chunk of a W64 file includes that of its own header.
        layout, in_length, alignment, place = "<4s12xQ", 24, 8, 40
    else:
        _refuse_cut_ogg(file, begin, size)
        return None
    header = struct.Struct(layout)  # of a chunk, the first of which is at ``place``
    for _ in range(MOST_CHUNKS):
        if place + header.size > size:
            return None
        file.seek(place)
        kind, length = header.unpack(file.read(header.size))
        length, place = max(length - in_length, 0), place + header.size
        if kind == b"data":
            if length == 0xFFFFFFFF and begin[:2] == b"RF" and of_rf64:
                length = of_rf64
            return _checked(file, fmt, place, length)
        if kind == b"fmt ":
            fmt = file.read(40)
        elif kind == b"ds64":
            of_rf64 = int.from_bytes(file.read(16)[8:], "little")
        place += length + -length % alignment
    return None


def _refuse_cut_ogg(file: BinaryIO, begin: bytes, size: int) -> None:
    """Refuse an Ogg file without its last page, which libsndfile reads as a shorter one."""
    if begin[:4] == b"OggS":
        file.seek(max(size - 2**17, 0))  # a page has less than 2**16 bytes
        end = file.read()
        page = end[end.rfind(b"OggS") :]
        # Flags are byte 5, bit 2 the end; byte 26 and those after it give the length.
        if len(page) < 27 or not page[5] & 4 or sum(page[26 : 27 + page[26]]) > len(page) - 27:
            raise TidyVoiceError(f"{file.name} is cut short: it has no last page. Restore it")


def _checked(file: BinaryIO, fmt: bytes, start: int, length: int) -> tuple[int, int] | None:
    """Compare what the header of a WAV says with itself and with the size of the file."""
    gap = start + length - os.fstat(file.fileno()).st_size
    if length not in UNKNOWN and gap > 0:
        raise TidyVoiceError(f"{file.name} is cut short by {gap:,} of {length:,} bytes. Restore it")
    if len(fmt) < 16:
        return None
    tag, channels, rate, speed, align, bits = struct.unpack("<HHIIHH", fmt[:16])
    tag = int.from_bytes(fmt[24:26], "little") if tag == EXTENSIBLE else tag
    size = channels * -(-bits // 8)
    if tag in (PCM, FLOAT) and (not size or (align, speed) != (size, size * rate)):
        problem = f"{channels} x {bits} bits at {rate} Hz, {align} bytes a sample, {speed} a second"
        raise TidyVoiceError(f"{file.name} contradicts itself: {problem}. Convert it again")
    if tag in (PCM, FLOAT) and length not in UNKNOWN and length % size:
        raise TidyVoiceError(f"{file.name} has {length:,} bytes of {size}-byte samples. Restore it")
    plain = (tag, channels, bits, rate) == (PCM, 1, 16, SAMPLE_RATE)
    return (start, length) if plain and length not in UNKNOWN else None
