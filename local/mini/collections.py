"""Collections for augmentation: noise, music, babble and room impulse responses.

Each function fills one folder. No sound comes from a speaker of the corpus.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from local.mini.channels import coloured_noise, hum, to_pcm16
from local.mini.espeak import SAMPLE_RATE, Engine
from local.mini.rooms import ROOMS, impulse_response
from local.mini.seeds import stream
from local.mini.voices import draw_voice, speak
from tidyvoice.audio import wav_bytes

SECONDS = (6.0, 10.0)  # shortest and longest file
VOICES_IN_BABBLE = 3
Sound = Callable[[np.random.Generator, int], np.ndarray]  # draws that many samples


def write_wav(path: Path, pcm16: np.ndarray) -> None:
    """Write 16-bit samples at 16 kHz as a mono WAV; create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(pcm16))


def _clicks(rng: np.random.Generator, samples: int) -> np.ndarray:
    sound = np.zeros(samples)
    count = rng.integers(3, 60)
    sound[rng.integers(0, samples, count)] = rng.normal(0, 1, count)
    ringing = np.arange(SAMPLE_RATE // 20) / SAMPLE_RATE
    resonance = np.sin(2 * np.pi * rng.uniform(300, 4000) * ringing)
    return fftconvolve(sound, resonance * np.exp(-ringing * rng.uniform(60, 400)))[:samples]


def _modulated(rng: np.random.Generator, samples: int) -> np.ndarray:
    time = np.arange(samples) / SAMPLE_RATE
    wave = np.sin(2 * np.pi * rng.uniform(0.2, 8) * time + rng.uniform(0, 2 * np.pi))
    return coloured_noise(rng, samples, rng.uniform(-9, 3)) * (1 + wave * rng.uniform(0.4, 1)) / 2


def _coloured(rng: np.random.Generator, samples: int) -> np.ndarray:
    return coloured_noise(rng, samples, rng.uniform(-9, 3))


def _chords(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Draw chords of three to four notes, each note with overtones, plucked or held."""
    sound = np.zeros(samples)
    beat = int(rng.uniform(0.25, 1.0) * SAMPLE_RATE)
    fade = rng.uniform(0.5, 6)
    overtones = np.arange(1, 7)
    for start in range(0, samples, beat):
        length = min(2 * beat, samples - start)
        time = np.arange(length) / SAMPLE_RATE
        for note in rng.integers(40, 77, rng.integers(3, 5)):  # MIDI numbers
            levels = rng.uniform(0.2, 1, len(overtones)) / overtones
            pitch = 440 * 2 ** ((note - 69) / 12)
            waves = levels[:, None] * np.sin(2 * np.pi * pitch * overtones[:, None] * time)
            sound[start : start + length] += waves.sum(axis=0) * np.exp(-fade * time)
    return sound


NOISES = {"coloured": _coloured, "hum": hum, "clicks": _clicks, "modulated": _modulated}


def write_noise(folder: Path, seed: int, kind: str, files: int) -> None:
    """Write noise of one kind of ``NOISES``."""
    _write(folder, seed, f"noise-{kind}", files, NOISES[kind])


def write_music(folder: Path, seed: int, files: int) -> None:
    """Write music: chords at a beat."""
    _write(folder, seed, "music-chords", files, _chords)


def _write(folder: Path, seed: int, name: str, files: int, sound: Sound) -> None:
    for index in range(files):
        rng = stream(seed, name, index)
        audio = sound(rng, round(rng.uniform(*SECONDS) * SAMPLE_RATE))
        write_wav(folder / f"{name}-{index:04d}.wav", to_pcm16(audio, peak_db=-3))


def write_babble(folder: Path, data: Path, seed: int, languages: list[str], files: int) -> None:
    """Write several voices at once, each in its own language, of speakers outside the splits."""
    engine = Engine(data, seed)
    for index in range(files):
        rng = stream(seed, "babble", index)
        seconds = rng.uniform(*SECONDS)
        sound = np.zeros(round(seconds * SAMPLE_RATE))
        for _ in range(VOICES_IN_BABBLE):
            engine.set_voice(str(rng.choice(languages)), draw_voice(rng).variant())
            sound += speak(engine, rng, seconds) * rng.uniform(0.4, 1)
        write_wav(folder / f"speech-babble-{index:04d}.wav", to_pcm16(sound, peak_db=-3))


def write_rooms(folder: Path, seed: int, size: str, rooms: int) -> None:
    """Write impulse responses of one of the sizes of ``ROOMS``, one a room."""
    for number in range(1, rooms + 1):
        rng = stream(seed, size, number)
        response = impulse_response(rng, rt60=rng.uniform(*ROOMS[size]))
        name = f"Room{number:03d}"
        write_wav(folder / name / f"{name}-00001.wav", to_pcm16(response, peak_db=-1))
