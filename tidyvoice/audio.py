"""Audio files as samples at the rate that the models take."""

import io
import os
from pathlib import Path

import numpy as np
import soundfile

from tidyvoice.errors import TidyVoiceError
from tidyvoice.manifest import SAMPLE_RATE


def read_pcm16(path: str | Path) -> np.ndarray:
    """Samples int16 [S] of an audio file's first channel.

    Raises:
        TidyVoiceError: the file is missing, unreadable, empty, or not at 16 kHz.
    """
    if not os.path.exists(path):
        raise TidyVoiceError(f"{path} is missing: restore it or prepare the data again")
    try:
        samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise TidyVoiceError(
            f"{path} cannot be read as audio ({error.error_string.strip()}): restore it or "
            "prepare the data again"
        ) from None
    if rate != SAMPLE_RATE:
        raise TidyVoiceError(f"{path} has {rate} Hz, expected {SAMPLE_RATE}: resample it")
    if not samples.size:
        raise TidyVoiceError(f"{path} holds no sample: restore it or prepare the data again")
    return samples[:, 0]


def wav_bytes(samples: np.ndarray) -> bytes:
    """A WAV file of int16 [S] samples; written by the caller, who then sees a full disk as such."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return buffer.getvalue()
