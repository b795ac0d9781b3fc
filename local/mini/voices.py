"""Draw a synthetic speaker's voice, and make it speak."""

from dataclasses import dataclass, replace

import numpy as np

from local.mini.espeak import SAMPLE_RATE, Engine

FORMANTS = 5
# Pitch of the two groups of voices, in Hz, and its spread in octaves. They overlap, so that pitch
# alone does not identify speakers.
PITCH = ((122.0, 0.18), (174.0, 0.18))
FORMANT_SCALE = (100.0, 112.0)  # per cent, of the two groups
LANGUAGE_PITCH_SHIFT = 0.12  # standard deviation in octaves
LANGUAGE_FORMANT_SHIFT = 1.5  # standard deviation in per cent
UTTERANCE_PITCH_SHIFT = 5.0  # standard deviation in espeak-ng's units, of 100
FRAME = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Voice:
    """The parameters of an espeak-ng voice variant (its documentation: docs/voices.md)."""

    pitch: float  # Hz
    pitch_range: float  # ratio of the highest to the lowest pitch
    formants: tuple[tuple[float, float, float], ...]  # frequency, height, width in per cent
    voicing: int
    consonants: tuple[int, int]
    tone: tuple[int, ...]  # frequency in Hz, level, and so on
    breath: tuple[int, ...]  # level of each formant
    breath_width: tuple[int, ...]
    roughness: int  # 0 to 7
    klatt: int  # 0 for the harmonic synthesiser, else the glottal source of the Klatt one
    speed: int  # per cent

    def variant(self) -> str:
        """Return the text of a variant file."""
        low = self.pitch / np.sqrt(self.pitch_range)
        lines = [
            "language variant",
            f"pitch {low:.0f} {low * self.pitch_range:.0f}",
            *(
                f"formant {number} {frequency:.0f} {height:.0f} {width:.0f}"
                for number, (frequency, height, width) in enumerate(self.formants, start=1)
            ),
            f"voicing {self.voicing}",
            f"consonants {self.consonants[0]} {self.consonants[1]}",
            f"tone {' '.join(map(str, self.tone))}",
            f"roughness {self.roughness}",
            f"speed {self.speed}",
        ]
        if any(self.breath):
            lines.append(f"breath {' '.join(map(str, self.breath))}")
            lines.append(f"breathw {' '.join(map(str, self.breath_width))}")
        if self.klatt:
            lines.append(f"klatt {self.klatt}")
        return "\n".join(lines) + "\n"

    def in_language(
        self, own: np.random.Generator, common: np.random.Generator, shared: float
    ) -> "Voice":
        """Return the speaker in one language: register and vocal tract setting shift a little.

        ``shared`` is the part of the shifts' variance that all speakers of the language have in
        common, drawn from ``common``; the rest is drawn from the speaker's ``own`` stream.
        """
        spread = np.array([LANGUAGE_FORMANT_SHIFT] * (FORMANTS + 1) + [LANGUAGE_PITCH_SHIFT])
        parts = np.sqrt(shared), np.sqrt(1 - shared)
        streams = common, own
        *shifts, octaves = sum(
            part * stream.normal(0, spread) for part, stream in zip(parts, streams, strict=True)
        )
        return replace(
            self,
            pitch=self.pitch * 2**octaves,
            formants=tuple(
                (frequency + shifts[-1] + shift, height, width)
                for (frequency, height, width), shift in zip(
                    self.formants, shifts[:-1], strict=True
                )
            ),
        )


def draw_voice(rng: np.random.Generator) -> Voice:
    """Draw a speaker."""
    group = int(rng.integers(2))
    centre, octaves = PITCH[group]
    scale = rng.normal(FORMANT_SCALE[group], 4)
    breathy = rng.random() < 0.35
    return Voice(
        pitch=centre * 2 ** float(np.clip(rng.normal(0, octaves), -0.5, 0.5)),
        pitch_range=rng.uniform(1.2, 1.8),
        formants=tuple(
            (
                float(np.clip(scale + rng.normal(0, 7), 78, 140)),
                rng.uniform(65, 135),
                rng.uniform(75, 150),
            )
            for _ in range(FORMANTS)
        ),
        voicing=int(rng.integers(70, 131)),
        consonants=(int(rng.integers(50, 151)), int(rng.integers(50, 151))),
        tone=(
            *(600, int(rng.integers(110, 236))),
            *(1200, int(rng.integers(90, 200))),
            *(2000, int(rng.integers(70, 170))),
            *(3500, int(rng.integers(50, 150))),
        ),
        breath=tuple(int(level) for level in rng.integers(0, 40, 8) * breathy),
        breath_width=tuple(int(width) for width in rng.integers(80, 260, 8)),
        roughness=int(rng.integers(0, 6)),
        klatt=int(rng.choice([0, 0, 0, 2, 3, 4])),
        speed=int(rng.integers(85, 121)),
    )


def trim(audio: np.ndarray) -> np.ndarray:
    """Cut off both ends the frames of 10 ms that are 40 dB below the loudest."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 1e-4)
    return audio[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def speak(engine: Engine, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Read random numbers of one to five digits for exactly ``seconds``.

    The text is numbers because espeak-ng reads them natively in every language.
    """
    wanted = round(seconds * SAMPLE_RATE)
    pitch = round(float(np.clip(rng.normal(50, UTTERANCE_PITCH_SHIFT), 35, 65)))
    rate = int(rng.integers(160, 191))
    numbers: list[str] = []
    audio = np.zeros(0, np.float32)
    limit = seconds + 0.5  # trimming may remove this much silence
    while len(audio) < wanted:
        for digits in rng.integers(1, 6, 4):
            numbers.append(str(rng.integers(10 ** (digits - 1), 10**digits)))
        spoken = engine.say(", ".join(numbers), pitch, rate, limit)
        if len(spoken) >= limit * SAMPLE_RATE:
            limit += 0.5  # more silence was trimmed: let the next round be longer
        audio = trim(spoken)
    return audio[:wanted]
