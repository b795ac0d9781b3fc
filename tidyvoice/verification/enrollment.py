"""Enrolled speakers, and the search for an unknown speaker among them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidyvoice.arrays import read_arrays, write_arrays
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.verification.verifier import Verifier

# Arrays of the file, with the attribute and the type of each.
COLUMNS = {
    "names": ("name", np.str_), "vectors": ("vector", np.float32),
    "recordings": ("recordings", np.int64), "seconds": ("seconds", np.float64),
}  # fmt: skip


@dataclass(frozen=True)
class Enrollment:
    """A speaker as a model represents them.

    Attributes:
        vector: mean raw embedding of the recordings, float32 [D].
        recordings: number of recordings.
        seconds: their total duration.
        model: the model of the embeddings, see ``SpeakerEncoder.weights``.
        warnings: quality problems of a recording that is compared; not saved.

    Example:
        >>> ann = encoder.enroll("Ann", ["ann-1.wav", "ann-2.wav"])
        >>> ann.recordings, encoder.verify(ann, "ann-3.wav").same_speaker
        (2, True)
    """

    name: str
    vector: np.ndarray
    recordings: int
    seconds: float
    model: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker who may have spoken.

    ``llr`` is the log-likelihood ratio of this speaker against another one, natural logarithm.
    """

    name: str
    score: float
    llr: float
    recordings: int


@dataclass(frozen=True)
class Identification:
    """Result of searching for the speaker of a recording.

    Attributes:
        name: the enrolled speaker; None if no score reaches the threshold.
        candidates: the best candidates, by decreasing log-likelihood ratio.
        threshold: the score that the first candidate had to reach.
        false_alarm: the target false-alarm rate. It holds for speech like that of ``fitted_to``.
        fitted_to: see ``Verifier.fitted_to``.
        warnings: quality problems of the recording, and a threshold above all known scores.

    Example:
        >>> gallery = Gallery([encoder.enroll("Ann", ["ann-1.wav"])])
        >>> result = encoder.identify("ann-2.wav", gallery, false_alarm=0.2)
        >>> result.name, result.candidates[0].score >= result.threshold
        ('Ann', True)
    """

    name: str | None
    candidates: tuple[Candidate, ...]
    threshold: float
    false_alarm: float
    fitted_to: str
    warnings: tuple[str, ...] = ()


class Gallery:
    """Enrolled speakers of one model, with distinct names; the arguments are as for ``add``.

    Example:
        >>> Gallery([encoder.enroll("Ann", ["ann-1.wav"])]).save("voices.npz")
        >>> Gallery.load("voices.npz").names
        ('Ann',)
    """

    def __init__(self, enrollments: Iterable[Enrollment] = ()):
        self._enrollments: dict[str, Enrollment] = {}
        # What one search prepares for the next: verifier, speakers, voices, slopes and offsets of
        # the LLRs. A change replaces the list, so a search in another thread fills the old one.
        self._prepared: list[Any] = []
        for enrollment in enrollments:
            self.add(enrollment)

    def __len__(self) -> int:
        return len(self._enrollments)

    def __iter__(self) -> Iterator[Enrollment]:
        return iter(self._enrollments.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of enrolment."""
        return tuple(self._enrollments)

    def add(self, enrollment: Enrollment, overwrite: bool = False) -> None:
        """Add a speaker of the same model as the others; ``overwrite`` allows a known name."""
        name = enrollment.name
        if not name.strip():
            raise TidyVoiceError("the name of the speaker is empty: give one")
        if name in self._enrollments and not overwrite:
            fix = "choose another name, or add --overwrite (overwrite=True)"
            raise TidyVoiceError(f"{name!r} is enrolled already: {fix}")
        first = next((speaker for speaker in self if speaker.name != name), enrollment)
        if (first.model, first.vector.shape) != (enrollment.model, enrollment.vector.shape):
            fix = "enroll all speakers with one model"
            raise TidyVoiceError(f"{name!r} has another model than {first.name!r}: {fix}")
        self._enrollments[name] = enrollment
        self._prepared = []

    def remove(self, name: str) -> None:
        """Remove a speaker, who must be enrolled."""
        if self._enrollments.pop(name, None) is None:
            raise TidyVoiceError(f"{name!r} is not enrolled: `tidyvoice voices` lists the names")
        self._prepared = []

    def nearest(
        self, embeddings: np.ndarray, verifier: Verifier, top: int = 5
    ) -> list[tuple[Candidate, ...]]:
        """Return the ``top`` best candidates for each of N raw embeddings [N x D], by their LLRs.

        Scores of speakers with different numbers of recordings have different scales.
        """
        if top < 1:
            raise TidyVoiceError(f"top {top}: ask for at least one candidate")
        prepared, results = self._prepared, []
        if not prepared or prepared[0] is not verifier:
            speakers = list(self)
            if not speakers:
                raise TidyVoiceError("nobody is enrolled: enroll speakers first")
            voices = verifier.prepare(np.stack([speaker.vector for speaker in speakers]))
            scales = [verifier.scale(speaker.recordings) for speaker in speakers]
            slopes = np.array([scale.slope for scale in scales])
            offsets = np.array([scale.offset for scale in scales])
            prepared[:] = [verifier, speakers, voices, slopes, offsets]
        _, speakers, voices, slopes, offsets = prepared
        for embedding in embeddings:
            scores = verifier.scores(voices, verifier.prepare(embedding[None]))
            llrs = slopes * scores + offsets
            places = np.argpartition(-llrs, min(top, len(llrs)) - 1)[:top]
            best = []
            for place in places[np.argsort(-llrs[places], kind="stable")]:
                speaker = speakers[place]
                numbers = float(scores[place]), float(llrs[place])
                best.append(Candidate(speaker.name, *numbers, speaker.recordings))
            results.append(tuple(best))
        return results

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file without pickles, atomically."""
        model = next((speaker.model for speaker in self), None)
        columns = {
            key: np.array([getattr(speaker, name) for speaker in self], dtype=kind)
            for key, (name, kind) in COLUMNS.items()
        }
        write_arrays(path, model=np.array(model or ""), **columns)

    @classmethod
    def load(cls, path: str | Path) -> "Gallery":
        """Read a file that ``save`` wrote."""
        content, fix = "file of enrolled speakers", "`tidyvoice enroll` writes one"
        wanted = {key: np.dtype(kind).kind for key, (_, kind) in COLUMNS.items()}
        arrays = read_arrays(path, {**wanted, "model": "U"}, content, fix)
        with reading(path, content, fix), np.errstate(over="ignore"):
            model = str(arrays.pop("model")[()]) or None
            names, vectors, recordings, seconds = arrays.values()
            names, vectors = names.tolist(), vectors.astype(np.float32, copy=False)
            if len(set(names)) < len(names) or not all(map(str.strip, names)):
                raise ValueError("a name is empty or occurs twice")
            if not (np.isfinite(vectors).all() and np.isfinite(seconds).all()):
                raise ValueError("NaN or infinity in vectors or seconds")
            if names and (vectors.ndim != 2 or min(vectors.size, *recordings, *seconds) <= 0):
                raise ValueError("a dimension, recordings or seconds are not above 0")
            rows = zip(names, vectors, recordings.tolist(), seconds.tolist(), strict=True)
            return cls(Enrollment(*row, model) for row in rows)
