"""Room impulse responses: direct path, early reflections, an exponentially decaying tail."""

import numpy as np

from local.mini.espeak import SAMPLE_RATE

# Reverberation times in seconds, by the room's size.
ROOMS = {"smallroom": (0.1, 0.3), "mediumroom": (0.3, 0.6), "largeroom": (0.6, 1.2)}


def impulse_response(rng: np.random.Generator, rt60: float) -> np.ndarray:
    """Draw an impulse response at 16 kHz, of unit energy, with its direct path at sample 0.

    Args:
        rng: draws the reflections, and the balance of direct and diffuse sound (-3 to 12 dB).
        rt60: seconds until the sound has fallen by 60 dB.
    """
    samples = round(rt60 * SAMPLE_RATE)
    decay = 10 ** (-3 * np.arange(samples) / samples)
    tail = rng.standard_normal(samples) * decay
    # The diffuse part builds up over the first tens of milliseconds.
    tail *= 1 - np.exp(-np.arange(samples) / (0.01 * SAMPLE_RATE))
    early = rng.integers(16, min(samples, SAMPLE_RATE // 20), rng.integers(4, 10))
    tail[early] += rng.uniform(-4, 4, len(early)) * decay[early]
    tail *= 10 ** (-rng.uniform(-3, 12) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] += 1
    return tail / np.sqrt(np.square(tail).sum())
