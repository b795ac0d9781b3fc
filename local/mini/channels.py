"""Channels between a speaker and the file: room, microphone, noise, level.

There are two families: A is distant and noisy, like a street video; B is a close, cheap microphone.
Each utterance has its own equaliser, so that the mean spectrum does not identify the speaker.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.interpolate import PchipInterpolator
from scipy.signal import fftconvolve

from local.mini.espeak import SAMPLE_RATE
from local.mini.rooms import impulse_response

EQUALISER_POINTS_HZ = np.geomspace(60, 8000, 7)


def decibels(value: float) -> float:
    """Convert a level in dB to a factor of amplitude."""
    return 10 ** (value / 20)


def _filter(audio: np.ndarray, gain_db: np.ndarray) -> np.ndarray:
    size = next_fast_len(len(audio) + SAMPLE_RATE // 10, real=True)  # room for the filter to ring
    spectrum = rfft(audio, size)
    grid = np.linspace(0, 1, len(gain_db))
    gains = np.interp(np.linspace(0, 1, len(spectrum)), grid, gain_db)
    return irfft(spectrum * 10 ** (gains / 20), size)[: len(audio)]


def equaliser(rng: np.random.Generator, spread_db: float, points: int = 513) -> np.ndarray:
    """Draw a smooth random frequency response in dB, at ``points`` frequencies from 0 to 8 kHz."""
    curve = PchipInterpolator(
        np.log(EQUALISER_POINTS_HZ), rng.normal(0, spread_db, len(EQUALISER_POINTS_HZ))
    )
    frequencies = np.linspace(0, SAMPLE_RATE / 2, points)
    return curve(np.log(np.clip(frequencies, EQUALISER_POINTS_HZ[0], EQUALISER_POINTS_HZ[-1])))


def coloured_noise(rng: np.random.Generator, samples: int, slope_db: float) -> np.ndarray:
    """Draw noise of unit power whose level changes by ``slope_db`` an octave."""
    size = next_fast_len(samples, real=True)
    spectrum = rfft(rng.standard_normal(size).astype(np.float32))
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    spectrum *= np.maximum(frequencies, 40.0) ** (slope_db / 20 / np.log10(2))
    noise = irfft(spectrum, size)[:samples]
    return noise / np.sqrt(np.square(noise).mean())


def hum(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Draw mains hum of unit power: 50 or 60 Hz and its overtones."""
    base = float(rng.choice([50.0, 60.0])) * rng.uniform(0.998, 1.002)
    overtones = np.arange(1, 9)
    levels = rng.uniform(0.1, 1, len(overtones)) / overtones
    phases = rng.uniform(0, 2 * np.pi, len(overtones))
    turns = base / SAMPLE_RATE * np.arange(samples) % 1
    # The overtones are powers of one rotation, which cost less than a sine each.
    rotation = np.exp(2j * np.pi * turns).astype(np.complex64)
    wave, sound = np.ones_like(rotation), np.zeros(samples, np.float32)
    for factor in (levels * np.exp(1j * phases)).astype(np.complex64):
        wave *= rotation
        sound += (factor * wave).imag
    return sound / np.sqrt(np.square(sound).mean())


def _at_snr(audio: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    power = np.square(audio).mean()
    return audio + noise * np.sqrt(power) * decibels(-snr_db)


def distant(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply family A: a room, a microphone, noise 5 to 25 dB below the speech."""
    room = impulse_response(rng, rt60=rng.uniform(0.15, 0.7))
    audio = fftconvolve(audio, room)[: len(audio)]
    audio = _filter(audio, equaliser(rng, spread_db=5.0))
    noise = coloured_noise(rng, len(audio), slope_db=rng.uniform(-7, 0))
    return _at_snr(audio, noise, rng.uniform(5, 25))


def close(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply family B: low cut, presence tilt, mild noise, and sometimes mains hum or clipping."""
    response = equaliser(rng, spread_db=5.0)
    frequencies = np.maximum(np.linspace(0, SAMPLE_RATE / 2, len(response)), 20.0)
    cut_hz, order = rng.uniform(60, 280), rng.integers(1, 4)
    response = response - 10 * order * np.log10(1 + (cut_hz / frequencies) ** 2)
    tilt_db = rng.uniform(-4, 4)  # an octave, above 1 kHz
    response = response + tilt_db * np.maximum(np.log2(frequencies / 1000), 0)
    audio = _filter(audio, response)
    audio = _at_snr(audio, coloured_noise(rng, len(audio), rng.uniform(-5, 1)), rng.uniform(14, 35))
    if rng.random() < 0.5:
        audio = _at_snr(audio, hum(rng, len(audio)), rng.uniform(15, 35))
    if rng.random() < 0.25:
        limit = np.abs(audio).max() * rng.uniform(0.25, 0.7)
        audio = np.clip(audio, -limit, limit)
    return audio


FAMILIES = {"A": distant, "B": close}


def record(audio: np.ndarray, family: str, rng: np.random.Generator) -> np.ndarray:
    """Pass speech through a channel drawn from family ``A`` or ``B``; return 16-bit samples.

    The peak is 1 to 24 dB below full scale.
    """
    return to_pcm16(FAMILIES[family](audio, rng), peak_db=rng.uniform(-24, -1))


def to_pcm16(audio: np.ndarray, peak_db: float) -> np.ndarray:
    """Return 16-bit samples whose peak is at ``peak_db`` (below 0) relative to full scale."""
    return np.round(audio * (32767 * decibels(peak_db) / np.abs(audio).max())).astype(np.int16)
